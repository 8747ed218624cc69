"""What a person sees who makes a mistake: one line, a status that is not 0, and nothing half-written."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests import experiments

GAN, DCGAN = "experiments/gan.py:smoke", "experiments/dcgan.py:smoke"


def launch(*arguments, devices=1, cwd=experiments.ROOT):
    """(exit status, stdout, stderr) of launch/main.py."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, experiments.ROOT / "launch/main.py", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=300)
    return done.returncode, done.stdout, done.stderr


def refused(*arguments, status=2, **settings):
    """The one line of a command that was refused."""
    code, out, error = launch(*arguments, **settings)
    assert code == status, (out, error)
    assert "Traceback" not in error + out
    said = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(said) == 1, error
    return said[0]


def pictures(folder, *modes, size=(16, 16)):
    folder.mkdir()
    for i, mode in enumerate(modes):
        channels = {"L": (), "RGB": (3,)}[mode]
        pixels = np.random.default_rng(i).integers(0, 255, (*size, *channels), dtype=np.uint8)
        Image.fromarray(pixels, mode).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", DCGAN, "--config.model.lss=hinge"], ["lss", "loss"]),
        (["--config", DCGAN, "--config.model.loss=hing"], ["hing", "hinge", "config.model.loss", "wasserstein"]),
        (["--config", DCGAN, "--config.data.name=facs"], ["facs", "faces", "shapes", "folder"]),
        (["--config", "experiments/dcgan.py:smok"], ["smok", "smoke"]),
        (["--config", DCGAN, "--config.data.resolution=33"], ["33", "base x 2^k"]),
        (
            ["--config", DCGAN, "--config.model.conditional=True", "--config.data.options={'fields':('image',)}"],
            ["labels"],
        ),
    ],
)
def test_wrong_names_and_values(arguments, said, tmp_path):
    line = refused(*arguments, f"--workdir={tmp_path / 'run'}")
    for word in said:
        assert word in line
    assert not (tmp_path / "run").exists()


def test_a_batch_that_does_not_divide(tmp_path):
    line = refused("--config", DCGAN, "--config.batch_size=18", f"--workdir={tmp_path / 'run'}", devices=4)
    assert "config.batch_size=18" in line
    assert "multiple of 4" in line
    assert not (tmp_path / "run").exists()


FOLDER = ["--config", "experiments/dcgan.py:folder", "--config.steps=6", "--config.batch_size=4", "--config.preview=4"]


@pytest.mark.processes
def test_folders_that_cannot_be_used(tmp_path):
    (tmp_path / "empty").mkdir()
    mixed = pictures(tmp_path / "mixed", "RGB", "RGB", "L")
    broken = pictures(tmp_path / "broken", "RGB", "RGB")
    (broken / "2.png").write_bytes((broken / "1.png").read_bytes()[:20])
    folder = [*FOLDER, f"--workdir={tmp_path / 'run'}"]
    assert "empty" in refused(*folder, f"--config.data.path={tmp_path / 'empty'}")
    assert "config.data.channels" in refused(*folder, f"--config.data.path={mixed}")
    assert "2.png" in refused(*folder, f"--config.data.path={broken}")
    assert not (tmp_path / "run").exists()


@pytest.mark.processes
def test_grey_images_that_are_not_square(tmp_path):
    folder = pictures(tmp_path / "scans", *["L"] * 8, size=(24, 40))
    code, _, error = launch(
        *FOLDER, f"--config.data.path={folder}", "--config.model.d_width=4", f"--workdir={tmp_path / 'run'}"
    )
    assert code == 0, error
    with Image.open(tmp_path / "run/samples/step_00000006.png") as grid:
        assert grid.width > grid.height


@pytest.mark.processes
def test_the_workdir_of_another_model_and_a_place_that_cannot_be_written(tmp_path):
    assert launch("--config", GAN, f"--workdir={tmp_path / 'run'}")[0] == 0
    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*"))
    line = refused("--config", DCGAN, f"--workdir={tmp_path / 'run'}")
    assert "holds another run" in line
    assert "gan: gan -> dcgan" in line
    assert sorted(path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")) == before
    assert "cannot be written" in refused("--config", GAN, "--workdir=/proc/run")


@pytest.mark.processes
def test_a_full_disk(tmp_path):
    if not pathlib.Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    assert "No space left" in refused("--config", GAN, f"--workdir={tmp_path}", status=1)


@pytest.mark.processes
def test_a_damaged_checkpoint_and_a_loss_that_is_no_number(tmp_path):
    six = ["--config", GAN, f"--workdir={tmp_path}"]
    assert launch(*six)[0] == 0
    for path in (tmp_path / "checkpoints/6/state").rglob("*"):
        if path.is_file() and path.stat().st_size > 200:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, _, error = launch(*six)
    assert code == 0
    assert "checkpoint 6 cannot be read" in error

    diverging = ["--config", GAN, "--config.model.loss=least_squares", "--config.model.d_optimizer.name=sgd"]
    diverging += ["--config.model.d_optimizer.learning_rate=2.0", "--config.steps=400", "--config.save_every=1"]
    line = refused(*diverging, f"--workdir={tmp_path / 'nan'}", status=1)
    assert " at step " in line
    assert any(path.name.isdigit() for path in (tmp_path / "nan/checkpoints").iterdir())


def test_without_a_workdir_one_is_made_and_printed(tmp_path):
    code, out, error = launch("--config", experiments.ROOT / "experiments/gan.py:smoke", cwd=tmp_path)
    assert code == 0, error
    (made,) = (tmp_path / "runs").iterdir()
    assert str(made.relative_to(tmp_path)) in out
    assert (made / "samples/step_00000006.png").exists()
