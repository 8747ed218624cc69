"""Which steps are run together, and what stands in a run directory."""

import json
import pathlib

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from gan_jax import contract
from gan_jax.data import datasets
from gan_jax.errors import InputError, TrainingFailure
from gan_jax.train import loop, workdir
from tests import experiments


def smoke(name="gan", **changes):
    config = experiments.get_config(name)
    config.update(changes)
    return datasets.resolve(config)


def go(config, place):
    workdir.prepare(place, config)
    return loop.train(config, contract.load(config), place)


def test_no_call_runs_over_what_is_due():
    config = ConfigDict({"steps_per_call": 4, "log_every": 10, "sample_every": 0, "save_every": 15, "eval_every": 0})
    plan = list(loop.plan(3, 33, config))
    assert plan[0] == (3, 4)
    reached = [step + size for step, size in plan]
    assert {10, 15, 20, 30, 33} <= set(reached)
    assert [step for step, _ in plan] == [3, *reached[:-1]]  # every step once, in order
    assert {size for _, size in plan} == {1, 4}


def test_a_run_directory(tmp_path):
    config = smoke()
    assert go(config, tmp_path) == 6
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "environment.json",
        "metrics.jsonl",
        "samples",
        "checkpoints",
    }
    assert workdir.load_config(tmp_path).to_dict() == config.to_dict()
    (session,) = json.loads((tmp_path / "environment.json").read_text())
    assert {"commit", "packages", "devices", "command", "python"} <= session.keys()
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [2, 4, 6]
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["step_00000006.png"]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()) == ["3", "6"]


def test_another_run_is_not_resumed(tmp_path):
    go(smoke(), tmp_path)
    other = smoke()
    other.model.loss = "hinge"
    with pytest.raises(InputError, match=r"model\.loss: non_saturating -> hinge"):
        workdir.prepare(tmp_path, other)
    with pytest.raises(InputError, match="gan: gan -> dcgan"):
        workdir.prepare(tmp_path, smoke("dcgan"))
    workdir.prepare(tmp_path, smoke(steps=12, log_every=3))  # a longer run, another log: the same run


def test_a_finished_run_is_left_as_it_is(tmp_path):
    go(smoke(), tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    assert go(smoke(), tmp_path) == 6
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    config = smoke(steps=400, log_every=400, save_every=1)
    config.model.loss = "least_squares"  # whose gradient grows with what it has made grow
    config.model.d_optimizer.update(name="sgd", learning_rate=2.0)
    with pytest.raises(TrainingFailure, match=r"(loss|score)/\w+ is -?(nan|inf) at step \d+"):
        go(config, tmp_path)
    kept = [int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()]
    assert kept
    assert max(kept) < 400


def test_a_full_disk_ends_the_run_with_one_line(tmp_path):
    if not pathlib.Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(TrainingFailure, match=r"No space left"):
        go(smoke(), tmp_path)


def test_a_place_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        workdir.prepare(tmp_path / "file" / "run", smoke())


def test_bfloat16_trains_with_a_float32_state():
    with jax.numpy_dtype_promotion("standard"):  # flax's batch norm multiplies bfloat16 by its float32 statistics
        run = experiments.open_run("dcgan", dtype="bfloat16")
        state = run.begin()
        assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} <= {"float32", "int32"}
        advance = run.compile(state)
        assert "bf16" in advance.as_text()
        state, metrics = advance(state, run.batch(0), run.key)
    assert all(value.dtype == "float32" and jnp.isfinite(value).all() for value in metrics.values())
