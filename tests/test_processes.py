"""Several processes: the numbers of one, and leaving together when one of them is told to."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests import experiments

pytestmark = pytest.mark.processes

SETTINGS = [
    "--config.steps=6",
    "--config.log_every=1",
    "--config.save_every=3",
    "--config.sample_every=0",
]


def start(workdir, processes=1, devices=1, experiment="experiments/dcgan.py:smoke", settings=SETTINGS):
    """`processes` processes of launch/main.py with `devices` CPU devices each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "launch/main.py", "--config", experiment, *settings, f"--workdir={workdir}"]
    started = []
    for process in range(processes):
        joined = [
            "--distributed",
            f"--coordinator=127.0.0.1:{port}",
            f"--processes={processes}",
            f"--process={process}",
        ]
        started.append(
            subprocess.Popen(
                command + (joined if processes > 1 else []),
                cwd=experiments.ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return started


def finish(started, seconds=300):
    """Waits for all; their outputs. Every exit status must be 0."""
    outputs = [process.communicate(timeout=seconds)[0] for process in started]
    assert [process.returncode for process in started] == [0] * len(started), outputs
    return outputs


def metrics(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def assert_close(one, other):
    assert [line["step"] for line in one] == [line["step"] for line in other]
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-5, atol=1e-5)


def test_two_processes_with_two_devices_are_one_with_four(tmp_path):
    finish(start(tmp_path / "one", processes=1, devices=4))
    finish(start(tmp_path / "two", processes=2, devices=2))
    assert_close(metrics(tmp_path / "one"), metrics(tmp_path / "two"))


def test_a_run_moves_to_other_devices_and_processes(tmp_path):
    """Six steps on 8 devices; three on 8, then three more on 4, on 1, and in two processes."""
    three = [*SETTINGS, "--config.steps=3"]
    finish(start(tmp_path / "8", devices=8))
    for processes, devices in ((1, 4), (1, 1), (2, 2)):
        workdir = tmp_path / f"{processes}x{devices}"
        finish(start(workdir, devices=8, settings=three))
        finish(start(workdir, processes, devices))
        assert_close(metrics(tmp_path / "8"), metrics(workdir))


def test_sigterm_to_one_makes_both_save_the_same_step(tmp_path):
    endless = ["--config.steps=100000", "--config.save_every=0", "--config.log_every=5", "--config.sample_every=0"]
    running = start(tmp_path, 2, 1, "experiments/gan.py:smoke", endless)
    began = time.monotonic()
    while not (tmp_path / "metrics.jsonl").exists():
        assert all(process.poll() is None for process in running), [process.communicate()[0] for process in running]
        assert time.monotonic() - began < 120
        time.sleep(0.1)
    running[1].send_signal(signal.SIGTERM)
    outputs = finish(running)
    (saved,) = [int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()]
    assert f"saved step {saved} of 100000" in outputs[0]

    more = [f"--config.steps={saved + 10}", *endless[1:]]
    finish(start(tmp_path, 2, 1, "experiments/gan.py:smoke", more))
    steps = [line["step"] for line in metrics(tmp_path)]
    assert steps[-1] == saved + 10
    assert steps == sorted(set(steps))
    assert [step for step in steps if step % 5 == 0] == list(range(5, saved + 11, 5))


def test_sigterm_to_a_run_of_one_process(tmp_path):
    (running,) = start(tmp_path, 1, 1, "experiments/gan.py:smoke", ["--config.steps=100000", "--config.save_every=0"])
    while not (tmp_path / "metrics.jsonl").exists():
        assert running.poll() is None
        time.sleep(0.1)
    running.send_signal(signal.SIGTERM)
    (output,) = finish([running])
    assert "told to stop: saved step" in output


def test_a_run_of_one_process_sleeps_and_goes_on(tmp_path):
    """As on a laptop whose lid was closed. JAX's own runtime ends processes that were silent for 100 seconds."""
    (running,) = start(tmp_path, 1, 1, "experiments/gan.py:smoke", ["--config.steps=100000", "--config.save_every=0"])
    while not (tmp_path / "metrics.jsonl").exists():
        assert running.poll() is None
        time.sleep(0.1)
    running.send_signal(signal.SIGSTOP)
    time.sleep(150)
    before = len(metrics(tmp_path))
    running.send_signal(signal.SIGCONT)
    while len(metrics(tmp_path)) < before + 10:
        assert running.poll() is None
        time.sleep(0.1)
    time.sleep(10)  # the runtime would notice late
    running.send_signal(signal.SIGTERM)
    (output,) = finish([running])
    assert "told to stop: saved step" in output
