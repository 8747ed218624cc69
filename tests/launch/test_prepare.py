"""launch/prepare.py: what it says, and that what it writes can be read."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from gan_jax.data.sources import TFDS

ROOT = pathlib.Path(__file__).parents[2]
TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
DATASET = '''
import runpy, sys
import numpy as np
import tensorflow_datasets as tfds

class TinyShades(tfds.core.GeneratorBasedBuilder):
    """Flat pictures."""
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"image": tfds.features.Image(shape=(4, 6, 3)), "label": tfds.features.ClassLabel(num_classes=2)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(10)}

    def _generate_examples(self, count):
        for i in range(count):
            yield i, {"image": np.full((4, 6, 3), i, np.uint8), "label": i % 2}

runpy.run_path(sys.argv[0], run_name="__main__")
'''


def run(*arguments, program=("launch/prepare.py",)):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *program, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_a_prepared_dataset_is_reported(real_data):
    folder = str(real_data / "tensorflow_datasets")
    done = run("--name", "mnist", "--data_dir", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"already prepared: mnist/3.0.1 (train 60000, test 10000 examples) in {folder}/mnist/3.0.1",
        f"use it with: --config.data.name=mnist --config.data.path={folder}",
    ]
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name=mnits"], "unknown dataset 'mnits'. Did you mean mnist"),
        (["--name=a b"], "'a b' is not a dataset's name"),
        ([], "--name is missing"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(TENSORFLOW, reason="TensorFlow is installed")
def test_without_tensorflow_it_says_what_to_install(tmp_path):
    done = run("--name=fashion_mnist", f"--data_dir={tmp_path}")
    assert done.returncode == 2
    assert done.stderr == 'error: preparing fashion_mnist needs TensorFlow: pip install "gan-jax[prepare]"\n'


@pytest.mark.skipif(not TENSORFLOW, reason='needs TensorFlow: pip install "gan-jax[prepare]"')
def test_what_it_writes_can_be_read(tmp_path):
    arguments = ("--name=tiny_shades", f"--data_dir={tmp_path}")
    program = ("-c", f"import sys; sys.argv[0] = 'launch/prepare.py'\n{DATASET}")
    done = run(*arguments, program=program)
    assert done.returncode == 0, done.stderr
    assert f"prepared: tiny_shades/1.0.0 (train 10 examples) in {tmp_path}/tiny_shades/1.0.0" in done.stdout
    assert run(*arguments, program=program).stdout.startswith("already prepared: tiny_shades/1.0.0")
    source = TFDS("tiny_shades", "train", str(tmp_path))
    batch = source.read(np.arange(10))
    assert sorted(batch["image"][:, 0, 0, 0]) == list(range(10))
    np.testing.assert_array_equal(batch["label"], batch["image"][:, 0, 0, 0] % 2)
