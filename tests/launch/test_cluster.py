"""launch/cluster.py: processes that are one training, and that end together."""

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from tests import experiments
from tests.launch.test_sample import program
from tests.launch.test_scripts import ENVIRONMENT, run

COMMAND = [sys.executable, "launch/cluster.py", "--processes=2", "--devices=2", "--"]
LISTEN = "while :; do sleep 0.05; done"
ENDLESS = ["--config.steps=1000000", "--config.save_every=0", "--config.log_every=5", "--config.sample_every=0"]


@pytest.mark.processes
def test_two_processes_are_one_training(tmp_path):
    answer = run(*COMMAND, "--config=experiments/gan.py:smoke", f"--workdir={tmp_path}")
    assert answer.returncode == 0, answer.stdout
    lines = answer.stdout.splitlines()
    assert {line[:4] for line in lines} <= {"[0] ", "[1] "}
    assert f"[0] gan on gaussians, 4 x cpu: {tmp_path}" in lines  # 2 x 2 devices
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [2, 4, 6]


@pytest.mark.processes
def test_a_mistake_of_the_training_is_the_status_of_the_cluster(tmp_path):
    answer = run(*COMMAND, "--config=experiments/gan.py:smoke", "--config.batch_size=6", f"--workdir={tmp_path}")
    assert answer.returncode == 2
    assert "not divisible by the 4 devices" in answer.stdout


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_every_process(tmp_path, number):
    command = [*COMMAND, "--config=experiments/gan.py:smoke", *ENDLESS, f"--workdir={tmp_path}"]
    cluster = subprocess.Popen(command, cwd=experiments.ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    began = time.monotonic()
    while not (tmp_path / "metrics.jsonl").exists():
        assert cluster.poll() is None, cluster.stdout.read()
        assert time.monotonic() - began < 120
        time.sleep(0.1)
    cluster.send_signal(number)
    said = cluster.communicate(timeout=120)[0]
    if number == signal.SIGTERM:
        assert cluster.returncode == 0, said
        (saved,) = [path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()]
        assert f"[0] told to stop: saved step {saved} of 1000000" in said
    else:
        assert cluster.returncode in (130, 137)  # one may wait for the other until it is killed
        assert "interrupted" in said


def watched(capsys, *scripts):
    """Exit status, output and processes of a cluster of shell scripts."""
    with program("cluster") as module:
        module.GRACE = 1.0
        cluster = module.Cluster()
        for script in scripts:
            cluster.start(["bash", "-c", script], {})
        return cluster.wait(), capsys.readouterr().out, cluster.processes


def test_the_first_failure_is_the_status_and_ends_the_others(capsys):
    status, said, started = watched(capsys, f"trap 'echo told; exit 0' TERM; {LISTEN}", "sleep 0.3; exit 7")
    assert status == 7
    assert said == "[0] told\n"
    assert started[0].returncode == 0


def test_who_does_not_listen_is_killed(capsys):
    status, _, started = watched(capsys, f"trap '' TERM; {LISTEN}", "sleep 0.3; exit 7")
    assert status == 7
    assert started[0].returncode == -signal.SIGKILL


def test_a_process_that_is_killed_counts_as_failed(capsys):
    assert watched(capsys, "kill -9 $$", "true")[0] == 137
    assert watched(capsys, "true", "true")[0] == 0


def test_every_line_bears_the_number_of_its_process(capsys):
    _, said, _ = watched(capsys, "echo a; echo; printf b", "printf 'c\\nd\\n'")
    assert sorted(said.splitlines()) == ["[0] ", "[0] a", "[0] b", "[1] c", "[1] d"]
    assert said.endswith("\n")


@pytest.mark.parametrize("arguments", [["--processes=0", "--", "x"], ["--devices=two", "--", "x"], [], ["--"]])
def test_mistakes(arguments):
    answer = run(sys.executable, "launch/cluster.py", *arguments)
    assert answer.returncode == 2
    assert "error:" in answer.stderr


def test_flags_of_the_processes():
    with program("cluster") as cluster:
        first, second = cluster.commands(2, ["--config=x.py", "--workdir=y"])
    assert first[:-1] == second[:-1]
    assert (first[-1], second[-1]) == ("--process=0", "--process=1")
    assert first[1] == str(experiments.ROOT / "launch/main.py")
    assert first[2:5] == ["--config=x.py", "--workdir=y", "--distributed"]
    (port,) = [re.fullmatch(r"--coordinator=127\.0\.0\.1:(\d+)", word)[1] for word in first if "coord" in word]
    assert 0 < int(port) < 2**16
    assert "--processes=2" in first
