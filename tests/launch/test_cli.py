"""Every mistake on the command line is one line on stderr and status 2, without a stack trace; bugs keep theirs."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = '''
"""A program with a config."""
import os, signal
from absl import flags
from ml_collections import config_flags
from gan_jax import cli
from gan_jax.errors import InputError, TrainingFailure

CONFIG = config_flags.DEFINE_config_file("config")
MODE = flags.DEFINE_enum("mode", "print", ["print", "mistake", "failure", "bug", "interrupt"], "What to do.")
flags.mark_flag_as_required("config")

def main(arguments):
    if MODE.value == "mistake":
        raise InputError("config.steps is wrong,\\nvery wrong")
    if MODE.value == "failure":
        raise TrainingFailure("loss/d is nan at step 7")
    if MODE.value == "bug":
        raise ValueError("a bug")
    if MODE.value == "interrupt":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
        os.kill(os.getpid(), signal.SIGINT)
    print(CONFIG.value.steps, CONFIG.value.model.rate, CONFIG.value.data.options.to_dict())

cli.run(main)
'''
EXPERIMENT = """
from gan_jax import config as base

def get_config(variant="default"):
    config = base.defaults(gan="gan")
    config.model = base.dict(rate=0.5, width=64)
    config.data = base.data(name="shapes")
    match variant:
        case "default":
            pass
        case "table":
            config.steps = {"small": 1}[variant]
        case "bug":
            raise ValueError("a bug in the experiment")
        case "typo":
            config.modle.rate = 1.0
        case _:
            raise base.unknown_variant(variant, "mnist", "smoke")
    return config
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "wgan.py").write_text(EXPERIMENT)
    (folder / "plain.py").write_text(
        EXPERIMENT.replace('variant="default"', "").replace("match variant", "match 'default'")
    )
    (folder / "empty.py").write_text("def get_config():\n    pass\n")
    return folder


def run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "program.py", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_a_right_command_runs(folder):
    done = run(folder, "--config=wgan.py", "--config.steps=7", "--config.model.rate", "0.25", "--mode=print")
    assert (done.returncode, done.stdout, done.stderr) == (0, "7 0.25 {}\n", "")
    done = run(folder, "--config=wgan.py", "--config.data.options={'kind': 'ring'}")
    assert (done.returncode, done.stdout) == (0, "10000 0.5 {'kind': 'ring'}\n")
    done = run(folder, "--help")
    assert done.returncode == 0
    assert "A program with a config." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        # a key that is not there
        (
            ["--config=wgan.py", "--config.modle.rate=1"],
            ["'modle'", "Did you mean 'model'?", "Choices: batch_size, best, data,"],
        ),
        (["--config=wgan.py", "--config.model.widht=1"], ["key of config.model", "'width'?", "Choices: rate, width"]),
        (["--config=wgan.py", "--config.stpes", "3"], ["--config.stpes", "Did you mean 'steps'?"]),
        (["--config=wgan.py", "--noconfig.data.flop"], ["key of config.data", "Did you mean 'flip'?"]),
        (["--config=wgan.py", "--config.steps.more=3"], ["config.steps is a value, not a section"]),
        (["--config=wgan.py", "--config.data.options.kind=1"], ["config.data.options is empty; set it as a whole"]),
        # a value that is wrong
        (["--config=wgan.py", "--config.steps=many"], ["--config.steps=many", "invalid literal for int()"]),
        (["--config=wgan.py", "--config.model.rate=fast"], ["--config.model.rate=fast", "to float"]),
        (["--config=wgan.py", "--config.data.flip=maybe"], ["--config.data.flip=maybe", "boolean"]),
        (["--config=wgan.py", "--config.model=3"], ["--config.model=3", "is not a dict"]),
        (["--config=wgan.py", "--mode=dance"], ["--mode=dance", "<print|mistake|failure|bug|interrupt>"]),
        # a file or a variant that is not there
        (["--config=wgna.py"], ["'wgna.py' is not a file.", "Did you mean wgan.py?"]),
        (["--config=wgna.py", "--config.steps=3"], ["'wgna.py' is not a file.", "Did you mean wgan.py?"]),
        (["--config", "nowhere/wgan.py"], ["'nowhere/wgan.py' is not a file."]),
        (["--config=wgan.py:smok"], ["unknown variant ':smok'", "Choices: mnist, smoke"]),
        (["--config=wgan.py:smok", "--config.steps=3"], ["unknown variant ':smok'"]),
        (["--config=wgan.py:table"], ["wgan.py has no variant 'table'"]),
        (["--config=plain.py:smoke"], ["plain.py has no variants; leave out ':smoke'"]),
        (["--config=empty.py"], ["get_config() in empty.py returned nothing"]),
        # flags
        ([], ["--config is missing"]),
        (["--config"], ["Missing value for flag --config"]),
        (["--config.steps=3"], ["--config.steps needs a --config=FILE.py before it"]),
        (["--config.steps=3", "--config=wgan.py"], ["before a value for --config"]),
        (["--config=wgan.py", "--mod=print"], ["Unknown command line flag 'mod'", "mode"]),
        (["--config=wgan.py", "config.steps=3"], ["unexpected argument 'config.steps=3'"]),
        # raised by main
        (["--config=wgan.py", "--mode=mistake"], ["config.steps is wrong, very wrong"]),
    ],
)
def test_a_mistake_is_one_line(folder, arguments, parts):
    done = run(folder, *arguments)
    *warnings, line = done.stderr.splitlines()
    assert done.returncode == 2
    assert done.stdout == ""
    assert line.startswith("error: ")
    assert all(part in line for part in parts), line
    assert "Traceback" not in done.stderr
    assert not warnings or "empty.py" in arguments[0]  # of which ml_collections has its own opinion


def test_a_failed_run_is_one_line_and_status_1(folder):
    done = run(folder, "--config=wgan.py", "--mode=failure")
    assert (done.returncode, done.stderr) == (1, "error: loss/d is nan at step 7\n")


def test_an_interrupt_is_one_line_and_status_130(folder):
    done = run(folder, "--config=wgan.py", "--mode=interrupt")
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "last"),
    [
        (["--config=wgan.py", "--mode=bug"], "ValueError: a bug"),
        (["--config=wgan.py:bug"], "ValueError: a bug in the experiment"),
        (["--config=wgan.py:typo"], "AttributeError: "),
    ],
)
def test_bugs_keep_their_stack_trace(folder, arguments, last):
    done = run(folder, *arguments)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert f"\n{last}" in done.stderr
