"""What the training loop costs over the bare compiled step.

    python benchmarks/loop_overhead.py

Both are timed in this one run, in turns, so that a machine that slows down slows both. The loop reads data, keeps the
metrics, writes its log and checks for preemption; pictures and checkpoints are off. Bare is the same compiled program
on one batch, again and again. Time is read where a line of the log is written, because there the device has been waited
for; the first lines, which contain compilation, are left out. The aim is a ratio of at most 1.05.
"""

import contextlib
import datetime
import importlib.util
import io
import itertools
import os
import pathlib
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from unittest import mock

import jax
from absl import flags
from ml_collections import ConfigDict

from gan_jax import contract, parallel
from gan_jax.data import datasets
from gan_jax.train import loop
from gan_jax.train import step as compiled

EXPERIMENTS = pathlib.Path(__file__).parents[1] / "experiments"
TURNS = 3
WARM = 2  # lines of the log that are not timed
LINES = 5  # that are, in each turn
SETTINGS = {  # steps between two lines of the log: about a second
    "gan": {"log_every": 1_000},
    "dcgan": {"log_every": 20, "data": {"size": 2_048}},
}


def configure(name: str, **changes) -> ConfigDict:
    """The default config of an experiment without pictures and checkpoints, resolved."""
    spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config()
    config.update({"sample_every": 0, "save_every": 0, "preview": 4, **changes})
    config.steps = (WARM + LINES) * config.log_every
    return datasets.resolve(config)


def loop_times(config: ConfigDict) -> list[float]:
    """Seconds per step between the lines of the log of a training."""
    clock = []

    class Timed(loop.Writer):
        def scalars(self, step, values):
            super().scalars(step, values)
            clock.append(time.perf_counter())

    silence = contextlib.redirect_stdout(io.StringIO())
    with mock.patch.object(loop, "Writer", Timed), tempfile.TemporaryDirectory() as folder, silence:
        loop.train(config, contract.load(config), pathlib.Path(folder))
    return [(after - before) / config.log_every for before, after in itertools.pairwise(clock[WARM - 1 :])]


def bare_times(config: ConfigDict) -> Iterator[list[float]]:
    """The same of the compiled step alone, as often as asked."""
    (stage,) = contract.load(config)
    mesh = parallel.make_mesh(config.mesh)
    size = config.steps_per_call
    with jax.set_mesh(mesh):
        key = compiled.root_key(config.seed, mesh)
        loader = loop.open_loader(config, stage, mesh)
        batch = next(iter(loader.calls([(0, size)])))
        state = compiled.begin(stage.gan, key, batch, 0, mesh, None)
        advance = compiled.compile_step(stage.gan, state, loader.spec(size), key, mesh)
    while True:
        times = []
        for _ in range(LINES + 1):
            begin = time.perf_counter()
            for _ in range(config.log_every // size):
                state, metrics = advance(state, batch, key)
            jax.block_until_ready(metrics)
            times.append((time.perf_counter() - begin) / config.log_every)
        yield times[1:]


def compare(config: ConfigDict) -> tuple[float, float]:
    """Median seconds per step, of the loop and bare, in turns."""
    looped, bare, alone = [], [], bare_times(config)
    for _ in range(TURNS):
        bare += next(alone)
        looped += loop_times(config)
    bare += next(alone)
    return statistics.median(looped), statistics.median(bare)


def heading() -> str:
    """Where, with what and when."""
    device = f"{jax.device_count()} x {jax.devices()[0].device_kind}, {os.cpu_count()} cores of {processor()}"
    versions = f"jax {jax.__version__}, Python {platform.python_version()}"
    return f"{device}\n{versions}, {datetime.date.today().isoformat()}\n"


def processor() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def main() -> None:
    flags.FLAGS.mark_as_parsed()  # grain reads one
    parallel.initialize()  # as launch/main.py does: with it comes the preemption service, whose cost is the loop's
    print(heading())
    print(f"{'experiment':<12}{'bare step':>12}{'in the loop':>14}{'ratio':>8}")
    for name, changes in SETTINGS.items():
        looped, bare = compare(configure(name, **changes))
        print(f"{name:<12}{1e3 * bare:>9.3f} ms{1e3 * looped:>11.3f} ms{looped / bare:>8.3f}", flush=True)


if __name__ == "__main__":
    main()
