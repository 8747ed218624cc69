"""launch/sample.py, and what it stands on: a run that is only looked at, on other devices and without its data."""

import contextlib
import dataclasses
import importlib.util
import pathlib
import shutil
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from ml_collections import ConfigDict
from PIL import Image

from gan_jax import config as base
from gan_jax import contract
from gan_jax.analysis import restore
from gan_jax.analysis import sampler as sampling
from gan_jax.data import datasets
from gan_jax.errors import InputError, TrainingFailure
from gan_jax.train import loop, workdir
from tests import experiments
from tests.launch import test_scripts


@contextlib.contextmanager
def program(name):
    """A module of launch/, whose flags are forgotten afterwards."""
    before = set(flags.FLAGS)
    spec = importlib.util.spec_from_file_location(name, experiments.ROOT / "launch" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        yield module
    finally:
        for flag in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, flag)


def call(name, *arguments):
    """What `python launch/<name>.py <arguments>` does, in this process."""
    command = [name, *map(str, arguments)]
    with program(name) as module, mock.patch.object(sys, "argv", command):  # overrides of a config are looked up there
        module.main(flags.FLAGS(command))


def train(place, config):
    config = datasets.resolve(config)
    workdir.prepare(place, config)
    loop.train(config, contract.load(config), place)
    return place


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """Points, unconditional, checkpoints 3 and 6."""
    return train(tmp_path_factory.mktemp("points"), experiments.get_config("gan"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Images of a folder that is no longer there, with three classes, and a running average of the generator."""
    place = tmp_path_factory.mktemp("images")
    for number in range(48):
        path = place / "data" / "abc"[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 5 * number, np.uint8)).save(path)
    config = experiments.get_config("gan")
    config.data = base.data(name="folder", path=str(place / "data"))
    config.model.update(conditional=True, half_life=500.0)
    train(place / "run", config)
    shutil.rmtree(place / "data")
    return place / "run"


def arrays(run, path, *arguments):
    """The NPZ file that sampling gives, as a dict."""
    call("sample", "--workdir", run, "--format=npz", "--output", path, *arguments)
    return dict(np.load(path))


def contents(folder):
    """Every file, when it was changed and what is in it."""
    return {path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes()) for path in folder.rglob("*")}


@experiments.every(pytest.mark.battery)
def test_the_resolved_config_tells_what_the_loader_gives(name):
    run = experiments.open_run(name)
    assert restore.batch_spec(run.config, run.stage, run.mesh) == run.loader.spec(1)


def test_rounds_and_stages_show_in_the_batch():
    run = experiments.open_run("dcgan")
    stage = run.stage._replace(gan=dataclasses.replace(run.stage.gan, rounds=3), data={"resolution": 8})
    spec = restore.batch_spec(run.config, stage, run.mesh)
    assert spec["image"].shape == (1, 3, 16, 8, 8, 3)
    assert spec == loop.open_loader(run.config, stage, run.mesh).spec(1)


def test_a_run_is_restored_and_left_alone(points):
    before = contents(points)
    run = restore.load(points)
    assert run.step == int(run.state.step) == 6
    assert int(restore.load(points, 3).state.step) == 3
    assert contents(points) == before
    opened = experiments.open_run("gan")
    trained, _ = loop.Checkpoints(points / "checkpoints", 9).restore(6, opened.abstract())
    jax.tree.map(np.testing.assert_array_equal, run.state, trained)


def test_a_damaged_checkpoint_is_passed_over_and_stays_where_it_is(points, tmp_path, caplog):
    shutil.copytree(points, tmp_path / "run")
    for path in (tmp_path / "run/checkpoints/6/state").rglob("*"):
        if path.is_file() and path.stat().st_size > 200:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = contents(tmp_path / "run")
    assert restore.load(tmp_path / "run").step == 3
    assert "checkpoint 6" in caplog.text
    with pytest.raises(InputError, match="checkpoint 6 cannot be read"):
        restore.load(tmp_path / "run", 6)
    assert contents(tmp_path / "run") == before


def test_what_is_no_run_or_no_checkpoint_is_refused(points, tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        restore.load(tmp_path)
    with pytest.raises(InputError, match=r"--step=5: .* Choices: 3, 6"):
        restore.load(points, 5)
    shutil.copy(points / "config.json", tmp_path)
    with pytest.raises(InputError, match="no checkpoints yet"):
        restore.load(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(("axes", "parts"), [((-1, 1), 1), ((2, 4), 4), ((1, -1), 8), ((1, 16), 8), ((1, 3), 1)])
def test_the_mesh_here_splits_the_state_as_far_as_it_can(axes, parts):
    mesh = restore.local_mesh(ConfigDict({"mesh": {"data": axes[0], "fsdp": axes[1]}}))
    assert dict(mesh.shape) == {"data": 8 // parts, "fsdp": parts}


def test_conditions_are_what_samples_depend_on(points, images):
    assert sampling.load(points).conditions == set()
    assert sampling.load(images).conditions == {"label"}


def test_standing_statistics_are_asked_of_those_that_have_them(points, tmp_path):
    with pytest.raises(InputError, match="'gan' has no standing statistics; BigGAN has"):
        call("sample", "--workdir", points, "--output", tmp_path / "a.npz", "--standing=2")
    assert not list(tmp_path.iterdir())


def test_arrays_of_points(points, tmp_path):
    made = arrays(points, tmp_path / "a.npz", "--number=100", "--batch_size=48")
    assert made.keys() == {"samples"}
    assert (made["samples"].shape, made["samples"].dtype) == ((100, 2), np.float32)
    assert len(np.unique(made["samples"], axis=0)) == 100


def test_arrays_of_images_without_the_data(images, tmp_path):
    made = arrays(images, tmp_path / "a.npz", "--number=20")
    assert (made["samples"].shape, made["samples"].dtype) == ((20, 8, 8, 3), np.uint8)
    assert made["samples"].std() > 1
    np.testing.assert_array_equal(made["labels"], np.arange(20) % 3)
    assert made["labels"].dtype == np.int32


@pytest.mark.parametrize(("name", "rounding"), [("points", 1e-5), ("images", 1)])
def test_a_sample_depends_on_the_seed_and_its_index_alone(name, rounding, tmp_path, request):
    run = request.getfixturevalue(name)
    large = arrays(run, tmp_path / "large.npz", "--number=40", "--batch_size=40")["samples"].astype(float)
    small = arrays(run, tmp_path / "small.npz", "--number=21", "--batch_size=8")["samples"].astype(float)
    other = arrays(run, tmp_path / "other.npz", "--number=40", "--seed=1")["samples"].astype(float)
    np.testing.assert_allclose(large[:21], small, atol=rounding)
    assert np.abs(large[:21] - small).mean() < 0.01 * np.abs(large - other).mean()


def test_on_one_device(images, tmp_path):
    here = arrays(images, tmp_path / "8.npz", "--number=12")["samples"]
    command = [sys.executable, "launch/sample.py", f"--workdir={images}", "--number=12", "--format=npz"]
    answer = test_scripts.run(*command, f"--output={tmp_path}/1.npz", JAX_NUM_CPU_DEVICES="1")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == f"12 samples of step 6, average weights, seed 0: {tmp_path}/1.npz\n"
    np.testing.assert_allclose(np.load(tmp_path / "1.npz")["samples"].astype(float), here.astype(float), atol=1)


def test_files_hold_the_same_images(images, tmp_path):
    made = arrays(images, tmp_path / "a.npz", "--number=10")["samples"]
    call("sample", "--workdir", images, "--number=10", "--format=png", "--output", tmp_path / "faces", "--batch_size=8")
    files = sorted((tmp_path / "faces").iterdir())
    assert [path.name for path in files] == [f"{number:06d}.png" for number in range(10)]
    read = np.stack([np.asarray(Image.open(path)) for path in files])
    np.testing.assert_allclose(read.astype(float), made.astype(float), atol=1)


def test_a_shorter_series_replaces_a_longer_one(images, tmp_path):
    arguments = ("sample", "--workdir", images, "--format=png", "--output", tmp_path)
    (tmp_path / "notes.txt").write_text("")
    call(*arguments, "--number=3")
    with pytest.raises(InputError, match=r"000000\.png exists; --overwrite"):
        call(*arguments, "--number=2")
    call(*arguments, "--number=2", "--overwrite")
    assert {path.name for path in tmp_path.iterdir()} == {"000000.png", "000001.png", "notes.txt"}


def test_a_grid_in_the_run_by_default(points, images, capsys):
    for run in (points, images):
        call("sample", "--workdir", run)
        (path,) = (run / "sampled").iterdir()
        assert path.name == "step_00000006_average_seed_0.png"
        assert f"of step 6, average weights, seed 0: {path}" in capsys.readouterr().out
        assert np.asarray(Image.open(path)).std() > 1
        with pytest.raises(InputError, match=r"exists; --overwrite"):
            call("sample", "--workdir", run)
        call("sample", "--workdir", run, "--overwrite")
        shutil.rmtree(run / "sampled")


def test_where_outputs_go(tmp_path):
    with program("sample") as sample:
        assert sample.destination(None, tmp_path, "name", "npz", False) == tmp_path / "name.npz"
        assert sample.destination(None, tmp_path, "name", "png", False) == tmp_path / "name"
        assert sample.destination("x/y.png", tmp_path, "name", "grid", False) == pathlib.Path("x/y.png")
        assert sample.destination("x", tmp_path, "name", "grid", False) == pathlib.Path("x/name.png")
        with pytest.raises(InputError, match=r"--format=npz writes a name in \.npz"):
            sample.destination("x.png", tmp_path, "name", "npz", False)
        with pytest.raises(InputError, match="--format=png writes a folder"):
            sample.destination("x.png", tmp_path, "name", "png", False)


def test_labels(images, points, tmp_path):
    only = arrays(images, tmp_path / "a.npz", "--number=6", "--labels=2")
    turns = arrays(images, tmp_path / "b.npz", "--number=6", "--labels=1,2")
    np.testing.assert_array_equal(only["labels"], [2] * 6)
    np.testing.assert_array_equal(turns["labels"], [1, 2, 1, 2, 1, 2])
    difference = np.abs(only["samples"].astype(int) - turns["samples"].astype(int)).max(axis=(1, 2, 3))
    assert (difference[1::2] <= 1).all()  # the same class, the same latent
    assert (difference[::2] > 1).all()  # another class
    for wrong in ("3", "0,5", "-1"):
        with pytest.raises(InputError, match="the classes of this GAN are 0 to 2"):
            arrays(images, tmp_path / "c.npz", f"--labels={wrong}")
    for wrong in ("cat", ""):
        with pytest.raises(InputError, match="must be classes as 3 or 0,1,2"):
            arrays(images, tmp_path / "c.npz", f"--labels={wrong}")
    with pytest.raises(InputError, match="unconditional GAN"):
        arrays(points, tmp_path / "c.npz", "--labels=0")
    assert not (tmp_path / "c.npz").exists()


def test_raw_weights_are_others_than_the_average(images, tmp_path, capsys):
    average = arrays(images, tmp_path / "average.npz", "--number=8")["samples"]
    raw = arrays(images, tmp_path / "raw.npz", "--number=8", "--weights=raw")["samples"]
    earlier = arrays(images, tmp_path / "3.npz", "--number=8", "--step=3")["samples"]
    assert "8 samples of step 3, average weights" in capsys.readouterr().out
    assert (average != raw).any()
    assert (average != earlier).any()


def test_samples_that_are_no_numbers_are_refused(points, tmp_path, monkeypatch):
    run = restore.load(points)
    average = run.state.average
    lost = average.replace(params=jax.tree.map(lambda leaf: leaf * jnp.nan, average.params))
    broken = dataclasses.replace(run, state=run.state.replace(average=lost))
    monkeypatch.setattr(restore, "load", lambda *_: broken)
    with pytest.raises(TrainingFailure, match="step 6 are not finite"):
        call("sample", "--workdir", points, "--format=npz", "--output", tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


def test_wrong_formats_and_places(points, images, tmp_path):
    with pytest.raises(InputError, match="--format=png is for images"):
        call("sample", "--workdir", points, "--format=png", "--output", tmp_path / "new")
    with pytest.raises(InputError, match="--number=0 must be at least 1"):
        call("sample", "--workdir", points, "--number=0")
    (tmp_path / "file").write_text("")
    for form in ("npz", "grid"):
        with pytest.raises(InputError, match="cannot be written"):
            call("sample", "--workdir", points, f"--format={form}", "--output", tmp_path / "file" / "below")
    with pytest.raises(InputError, match="cannot be written"):
        call("sample", "--workdir", images, "--format=png", "--output", tmp_path / "file" / "below")


def test_a_mistake_is_one_line(tmp_path):
    command = [sys.executable, "launch/sample.py", f"--workdir={tmp_path}"]
    answer = test_scripts.run(*command)
    assert answer.returncode == 2
    assert answer.stderr == f"error: --workdir={tmp_path} is not a run directory: it has no config.json\n"
