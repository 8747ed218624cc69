"""A run that is stopped and continued is the run that was not, bit for bit."""

import json
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from gan_jax import contract
from gan_jax.data import datasets
from gan_jax.train import loop
from gan_jax.train.checkpoint import Checkpoints
from gan_jax.train.workdir import load_config
from tests import experiments


def prepared(name="gan", **changes):
    config = experiments.get_config(name)
    config.update({"sample_every": 0, "log_every": 2, "save_every": 3, **changes})
    return datasets.resolve(config)


def final(config, workdir, stages=None, devices=8):
    """Trains and returns (the last state, every line of metrics)."""
    stages = stages or contract.load(config)
    loop.train(config, stages, workdir)
    return leaves(config, workdir, stages), lines(workdir)


def leaves(config, workdir, stages):
    mesh = loop.parallel.make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        key = loop.compiled.root_key(config.seed, mesh)
        loader = loop.open_loader(config, stages[-1], mesh)
        abstract = loop.compiled.abstract_state(stages[-1].gan, key, loader.spec(1), mesh)
        saved = Checkpoints(workdir / "checkpoints", keep=9)
        return jax.device_get(saved.restore(saved.steps()[-1], abstract)[0])


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one[0], other[0])
    assert one[1] == other[1]


def stopped(config, stages, workdir, calls):
    """The same training, told to stop after so many calls."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Checkpoints, "preempted", lambda self: (setattr(self, "_calls", self._calls + 1), self._calls)[1] >= calls
        )
        loop.train(config, stages, workdir)


@experiments.every(pytest.mark.battery)
def test_a_stopped_run_continues_as_if_it_had_not(name, tmp_path):
    check_continues(prepared(name, steps=6, log_every=2), tmp_path)


@pytest.mark.battery
def test_pools_of_old_images_continue(tmp_path):
    """Full ones, of which some images are shown again: they fill up in two steps of six."""
    config = experiments.get_config("cyclegan")
    config.update({"steps": 6, "sample_every": 0, "save_every": 3, "log_every": 2})
    config.model.pool = 2 * config.batch_size
    check_continues(datasets.resolve(config), tmp_path)


def check_continues(config, tmp_path):
    """Stopped after three steps, and not stopped: the same."""
    stages = contract.load(config)
    straight = final(config, tmp_path / "straight")
    stopped(config, stages, tmp_path / "parts", calls=3)  # in the middle of a line of the log
    assert [line["step"] for line in lines(tmp_path / "parts")] == [2]
    assert_same(straight, final(config, tmp_path / "parts"))


@pytest.mark.parametrize("name", ["gan", pytest.param("dcgan", marks=pytest.mark.battery)])
def test_steps_per_call_changes_nothing(name, tmp_path):
    one = final(prepared(name, steps=12, steps_per_call=1), tmp_path / "one")
    four = final(prepared(name, steps=12, steps_per_call=4, log_every=2, save_every=4), tmp_path / "four")
    assert_same(one, four)


def two_stages(config):
    """The second stage learns on other data at another batch size, and keeps the networks of the first."""
    (stage,) = contract.load(config)
    return (stage._replace(name="first", steps=4), stage._replace(name="second", steps=4, batch_size=32))


def test_stages_follow_each_other_and_resume(tmp_path):
    config = prepared(save_every=3, log_every=1)
    straight = final(config, tmp_path / "straight", two_stages(config))
    assert [line["step"] for line in straight[1]] == list(range(1, 9))
    for stop in (3, 4, 6):  # within the first, on the boundary, within the second
        stopped(config, two_stages(config), tmp_path / str(stop), calls=stop)
        assert_same(straight, final(config, tmp_path / str(stop), two_stages(config)))


def test_parameters_are_carried_from_stage_to_stage(tmp_path):
    config = prepared(save_every=1)
    stages = two_stages(config)
    mesh = loop.parallel.make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        key = loop.compiled.root_key(0, mesh)
        batch = next(iter(loop.open_loader(config, stages[0], mesh).calls([(0, 1)])))
        first = loop.compiled.begin(stages[0].gan, key, batch, 0, mesh, None)
        second = loop.compiled.begin(stages[1].gan, key, batch, 4, mesh, first)
    assert int(second.step) == 4
    jax.tree.map(np.testing.assert_array_equal, first.g.params, second.g.params)


MAIN = [sys.executable, "launch/main.py", "--config", "experiments/gan.py"]
LONG = ["--config.steps=3000", "--config.save_every=200", "--config.log_every=50", "--config.sample_every=0"]


@pytest.mark.processes
def test_kill_and_the_same_command_again(tmp_path):
    straight, killed = [*MAIN, *LONG, f"--workdir={tmp_path / 'a'}"], [*MAIN, *LONG, f"--workdir={tmp_path / 'b'}"]
    subprocess.run(straight, check=True, cwd=experiments.ROOT, capture_output=True)
    process = subprocess.Popen(killed, cwd=experiments.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: any((tmp_path / "b/checkpoints").glob("[1-9]*00")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = lines_whole(tmp_path / "b")
    assert done < 3000, "it was over before it was killed: no test"
    subprocess.run(killed, check=True, cwd=experiments.ROOT, capture_output=True)
    assert (tmp_path / "a/metrics.jsonl").read_bytes() == (tmp_path / "b/metrics.jsonl").read_bytes()
    assert_same_checkpoints(tmp_path / "a", tmp_path / "b", 3000)


def wait_for(happened, process, seconds=120):
    start = time.monotonic()
    while not happened():
        assert process.poll() is None, f"ended with {process.returncode} before it happened"
        assert time.monotonic() - start < seconds, "did not happen"
        time.sleep(0.02)


def lines_whole(workdir):
    """The last step in a log whose last line may be torn."""
    text = (workdir / "metrics.jsonl").read_text()
    return json.loads(text[: text.rfind("\n")].splitlines()[-1])["step"]


def assert_same_checkpoints(one, other, step):
    config = datasets.resolve(load_config(one))
    stages = contract.load(config)
    a, b = leaves(config, one, stages), leaves(config, other, stages)
    assert int(a.step) == int(b.step) == step
    jax.tree.map(np.testing.assert_array_equal, a, b)
