"""What the training loop costs over the bare compiled step.

    python benchmarks/loop_overhead.py

The loop reads data, keeps the metrics, writes its log and looks for preemption; pictures and checkpoints are off. Bare
is the same compiled program on one batch, again and again. They take turns within one training: whenever a line of the
log is written, where the device has been waited for, as many bare steps follow. So a machine that is slow for a while
is slow for both, and the ratio is the median of the ratios of neighbours. The first lines, which hold compilation, are
left out. The aim is at most 1.05.
"""

import contextlib
import datetime
import importlib.util
import io
import os
import pathlib
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from unittest import mock

import jax
from absl import flags
from ml_collections import ConfigDict

from gan_jax import contract, parallel
from gan_jax.data import datasets
from gan_jax.train import loop
from gan_jax.train import step as compiled

EXPERIMENTS = pathlib.Path(__file__).parents[1] / "experiments"
WARM = 2  # lines of the log that are not timed
LINES = 12  # that are
SETTINGS = {  # steps between two lines of the log: a second or two on two cores
    "gan": {"log_every": 500},
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


def loop_times(config: ConfigDict, between: Callable = lambda: None) -> list[tuple[float, object]]:
    """Seconds per step for every line of the log of a training, each with what `between()` gave after it.

    Raises:
      SystemExit: if the training was told to stop before all was measured.
    """
    times = []

    class Timed(loop.Writer):
        since = 0.0

        def scalars(self, step, values):
            super().scalars(step, values)
            seconds = (time.perf_counter() - self.since) / config.log_every
            times.append((seconds, between()))
            self.since = time.perf_counter()

    silence = contextlib.redirect_stdout(io.StringIO())
    with mock.patch.object(loop, "Writer", Timed), tempfile.TemporaryDirectory() as folder, silence:
        steps = loop.train(config, contract.load(config), pathlib.Path(folder))
    if steps < config.steps:
        raise SystemExit(f"told to stop at step {steps} of {config.steps}: nothing is measured")
    return times[WARM:]


def bare_step(config: ConfigDict) -> Callable[[], float]:
    """A function that runs as many bare steps as lie between two lines of the log, and gives the seconds of one."""
    (stage,) = contract.load(config)
    mesh = parallel.make_mesh(config.mesh)
    size = config.steps_per_call
    with jax.set_mesh(mesh):
        key = compiled.root_key(config.seed, mesh)
        loader = loop.open_loader(config, stage, mesh)
        batch = next(iter(loader.calls([(0, size)])))
        state = compiled.begin(stage.gan, key, batch, 0, mesh, None)
        advance = compiled.compile_step(stage.gan, state, loader.spec(size), key, mesh)

    def seconds() -> float:
        nonlocal state
        begin = time.perf_counter()
        for _ in range(config.log_every // size):
            state, metrics = advance(state, batch, key)
        jax.block_until_ready(metrics)
        return (time.perf_counter() - begin) / config.log_every

    return seconds


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
    print(
        f"{'experiment':<12}{'bare step':>12}{'in the loop':>14}{'ratio':>8}   quarter to three quarters of the ratios"
    )
    for name, changes in SETTINGS.items():
        config = configure(name, **changes)
        times = loop_times(config, bare_step(config))
        looped, bare = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
        low, ratio, high = statistics.quantiles([inside / alone for inside, alone in times], n=4)
        print(f"{name:<12}{bare:>9.3f} ms{looped:>11.3f} ms{ratio:>8.3f}   {low:.3f} to {high:.3f}", flush=True)


if __name__ == "__main__":
    main()
