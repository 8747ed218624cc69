"""Several processes of a training on this machine, on CPU devices: what a cluster does, without a cluster.

    python launch/cluster.py --processes 2 --devices 2 -- --config experiments/gan.py:smoke --workdir runs/x

Everything after `--` goes to launch/main.py, or to the program that `--program` names. Every line of output begins with
the number of its process. SIGINT and SIGTERM are passed on. If a process fails the others are stopped, and its exit
status is that of this program.
"""

import argparse
import math
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).parent
GRACE = 15.0  # seconds that processes have to end by themselves, as they may be waiting for one that will not answer


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=positive, default=2, help="how many")
    parser.add_argument("--devices", type=positive, default=1, help="CPU devices of each")
    parser.add_argument("--program", choices=("main", "evaluate"), default="main", help="which one of launch/")
    parser.add_argument("arguments", nargs="*", metavar="-- ARGUMENTS", help="of that program")
    options = parser.parse_args(arguments)
    if not options.arguments:
        parser.error("name a training after --, e.g. -- --config experiments/gan.py:smoke --workdir runs/x")
    cluster = Cluster()
    for number in (signal.SIGINT, signal.SIGTERM):  # before there is a process that could outlive us
        signal.signal(number, lambda number, frame: cluster.forward(number))
    for command in commands(options.processes, options.arguments, options.program):
        cluster.start(command, {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(options.devices)})
    return cluster.wait()


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number, at least 1")
    return int(text)


def commands(processes: int, arguments: list[str], program: str = "main") -> list[list[str]]:
    """The command line of each process."""
    joined = ["--distributed", f"--coordinator=127.0.0.1:{free_port()}", f"--processes={processes}"]
    return [
        [sys.executable, str(HERE / f"{program}.py"), *arguments, *joined, f"--process={i}"] for i in range(processes)
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """Processes that end together."""

    def __init__(self):
        self.processes, self.printers, self.deadline = [], [], math.inf

    def start(self, command: list[str], environment: dict[str, str]) -> None:
        """One more, in a session of its own: Ctrl-C on a terminal reaches it through us, and only once."""
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        printer = threading.Thread(target=relay, args=(len(self.processes), process), daemon=True)
        printer.start()
        self.processes.append(process)
        self.printers.append(printer)

    def forward(self, number: int) -> None:
        """Passes a signal on. SIGTERM asks to save and leave, which takes its time; SIGINT does not."""
        if number == signal.SIGINT:
            self.deadline = min(self.deadline, time.monotonic() + GRACE)
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)

    def wait(self) -> int:
        """Until all have ended; the first exit status that is not 0, or 0."""
        status = 0
        while running := [process for process in self.processes if process.poll() is None]:
            if not status and (status := self.failure()):
                self.deadline = min(self.deadline, time.monotonic() + GRACE)
                self.forward(signal.SIGTERM)
            if time.monotonic() > self.deadline:
                for process in running:
                    process.kill()
            time.sleep(0.05)
        for printer in self.printers:
            printer.join(timeout=GRACE)  # a child of a process may hold its output open
        return status or self.failure()

    def failure(self) -> int:
        """The exit status of a process that has failed, as a shell gives it; 0 if none has."""
        code = next((process.returncode for process in self.processes if process.poll()), 0)
        return 128 - code if code < 0 else code  # -9 is "killed by signal 9", in a shell 137


def relay(number: int, process: subprocess.Popen) -> None:
    """Prints what a process says, line by line."""
    for line in process.stdout:
        print(f"[{number}] {line}", end="" if line.endswith("\n") else "\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
