"""Checkpoints that are damaged, unfinished or cannot be written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import InputError, TrainingFailure
from gan_jax.train.checkpoint import Checkpoints

STATE = {"step": jnp.int32(3), "w": jnp.arange(2000.0)}
ABSTRACT = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), STATE)


def saved(folder, *steps, keep=3):
    checkpoints = Checkpoints(folder, keep)
    for step in steps:
        state = {"step": jnp.int32(step), "w": STATE["w"] + step}
        checkpoints.save(step, state, {"totals": {"a": 0.1 + 0.2}, "steps": 1})
    checkpoints.close()
    return folder


def damage(folder, step):
    """Cuts every data file of a checkpoint in half."""
    files = [path for path in (folder / str(step) / "state").rglob("*") if path.is_file() and path.stat().st_size > 200]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_the_newest_is_read(tmp_path):
    step, state, unread = Checkpoints(saved(tmp_path / "c", 3, 6), 3).newest(lambda _: ABSTRACT)
    assert step == int(state["step"]) == 6
    np.testing.assert_array_equal(state["w"], STATE["w"] + 6)
    assert unread == {"totals": {"a": 0.1 + 0.2}, "steps": 1}


def test_none_is_none(tmp_path):
    assert Checkpoints(tmp_path / "c", 3).newest(lambda _: ABSTRACT) is None


def test_old_ones_are_removed(tmp_path):
    assert Checkpoints(saved(tmp_path / "c", 1, 2, 3, 4, keep=2), 2).steps() == [3, 4]


def test_a_damaged_one_is_said_aloud_and_the_one_before_is_used(tmp_path, caplog):
    folder = saved(tmp_path / "c", 3, 6)
    damage(folder, 6)
    checkpoints = Checkpoints(folder, 3)
    step, state, _ = checkpoints.newest(lambda _: ABSTRACT)
    assert step == int(state["step"]) == 3
    assert "checkpoint 6 cannot be read" in caplog.text
    assert (tmp_path / "damaged/6").is_dir()  # nothing is lost
    checkpoints.save(6, STATE, {"totals": {}, "steps": 0})  # and its place is free again
    checkpoints.close()
    assert Checkpoints(folder, 3).steps() == [3, 6]


def test_a_checkpoint_that_was_not_finished_is_not_seen(tmp_path):
    folder = saved(tmp_path / "c", 3)
    (folder / "6.orbax-checkpoint-tmp").mkdir()
    assert Checkpoints(folder, 3).newest(lambda _: ABSTRACT)[0] == 3


def test_a_run_does_not_start_over_when_no_checkpoint_can_be_read(tmp_path):
    folder = saved(tmp_path / "c", 3)
    damage(folder, 3)
    with pytest.raises(InputError, match="none of the checkpoints"):
        Checkpoints(folder, 3).newest(lambda _: ABSTRACT)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((TrainingFailure, InputError), match="file"):
        saved(tmp_path / "file" / "c", 3)


def test_a_restored_state_can_be_donated(tmp_path):
    _, state, _ = Checkpoints(saved(tmp_path / "c", 3), 3).newest(lambda _: ABSTRACT)
    moved = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=(0,))(state)
    assert state["w"].is_deleted()
    np.testing.assert_array_equal(moved["w"], STATE["w"] + 4)
