"""Several processes of a training on this machine, on CPU devices: what a cluster does, without a cluster.

    python launch/cluster.py --processes 2 --devices 2 -- --config experiments/gan.py:smoke --workdir runs/x

Everything after `--` goes to launch/main.py. Every line of output begins with the number of its process. SIGINT and
SIGTERM are passed on. If a process fails the others are stopped, and its exit status is that of this program.
"""

import argparse
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

MAIN = pathlib.Path(__file__).with_name("main.py")
GRACE = 15.0  # seconds between asking the others to stop and stopping them: they may wait for the one that failed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=positive, default=2, help="how many")
    parser.add_argument("--devices", type=positive, default=1, help="CPU devices of each")
    parser.add_argument("arguments", nargs="*", metavar="-- ARGUMENTS", help="of launch/main.py")
    options = parser.parse_args(arguments)
    if not options.arguments:
        parser.error("name a training after --, e.g. -- --config experiments/gan.py:smoke --workdir runs/x")
    started = []  # the processes; known to the handler of signals before the first of them exists
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: forward(number, started))
    start(options.processes, options.devices, options.arguments, started)
    return watch(started)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number, at least 1")
    return int(text)


def start(processes: int, devices: int, arguments: list[str], started: list[subprocess.Popen]) -> None:
    """Starts them all, in sessions of their own: Ctrl-C on a terminal reaches them through us, and only once."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
    joined = ["--distributed", f"--coordinator=127.0.0.1:{free_port()}", f"--processes={processes}"]
    for process in range(processes):
        command = [sys.executable, str(MAIN), *arguments, *joined, f"--process={process}"]
        started.append(
            subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def watch(started: list[subprocess.Popen]) -> int:
    """Prints what they say until all have ended; the first exit status that is not 0, or 0."""
    printers = [threading.Thread(target=relay, args=item) for item in enumerate(started)]
    for printer in printers:
        printer.start()
    status, deadline = 0, None
    while running := [process for process in started if process.poll() is None]:
        if deadline is None and (status := failure(started)):
            forward(signal.SIGTERM, started)
            deadline = time.monotonic() + GRACE
        if deadline is not None and time.monotonic() > deadline:
            for process in running:
                process.kill()
        time.sleep(0.05)
    for printer in printers:
        printer.join()
    return status or failure(started)


def forward(number: int, started: list[subprocess.Popen]) -> None:
    for process in started:
        if process.poll() is None:
            process.send_signal(number)


def failure(started: list[subprocess.Popen]) -> int:
    """The exit status of a process that has failed, as a shell gives it; 0 if none has."""
    codes = [process.poll() for process in started]
    code = next((code for code in codes if code), 0)
    return 128 - code if code < 0 else code  # -9 is "killed by signal 9", in a shell 137


def relay(number: int, process: subprocess.Popen) -> None:
    for line in process.stdout:
        print(f"[{number}] {line}", end="" if line.endswith("\n") else "\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
