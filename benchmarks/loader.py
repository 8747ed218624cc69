"""How fast batches arrive, against how fast a training step eats them.

    python benchmarks/loader.py --step_ms=25 --batch_size=64
    python benchmarks/loader.py --step_ms=25 --data_dir=/where/mnist/lies

Every line streams from one kind of data through the whole loader, onto the devices. `ratio` is supply over demand:
below 1 the step waits for data. Compare lines of one run only.
"""

import math
import pathlib
import tempfile
import time

import jax
import numpy as np
from absl import flags, logging
from PIL import Image

from gan_jax import cli, parallel
from gan_jax import config as base
from gan_jax.data import datasets
from gan_jax.data.loader import Loader

BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Examples per step.")
STEP_MS = flags.DEFINE_float("step_ms", 25.0, "What a training step takes, in milliseconds.")
RESOLUTION = flags.DEFINE_integer("resolution", 64, "Of the images, except those of MNIST.")
RECORDS = flags.DEFINE_integer("records", 2_000, "Size of the datasets that are made.")
WORKERS = flags.DEFINE_integer("workers", 8, "Threads.")
SECONDS = flags.DEFINE_float("seconds", 3.0, "How long each line is measured.")
DATA_DIR = flags.DEFINE_string("data_dir", "", "Where TFDS has prepared MNIST; without it that line is left out.")


def rate(section) -> float:
    """Examples per second on the devices, after the first call (which compiles, and fills what is kept on them)."""
    config = base.defaults(gan="gan")
    config.data = section
    mesh = parallel.make_mesh(config.mesh)
    section = datasets.resolve(config).data
    loader = Loader(section, seed=0, batch_size=BATCH_SIZE.value, rounds=1, mesh=mesh)
    calls = loader.calls([(step, 1) for step in range(1_000_000)])
    jax.block_until_ready(next(calls))
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS.value:
        jax.block_until_ready(next(calls))
        steps += 1
    seconds = time.perf_counter() - start
    calls.close()
    return steps * BATCH_SIZE.value / seconds


def write_datasets(folder: pathlib.Path) -> None:
    """The same smooth noise as PNG files and as one array."""
    size, coarse = RESOLUTION.value, max(2, RESOLUTION.value // 8)
    small = np.random.default_rng(0).integers(0, 256, (RECORDS.value, coarse, coarse, 3), np.uint8)
    images = [np.asarray(Image.fromarray(image).resize((size, size))) for image in small]
    (folder / "images").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / "images" / f"{number:06d}.png")
    np.savez(folder / "images.npz", image=np.stack(images))


def lines(folder: pathlib.Path):
    size = RESOLUTION.value
    png, npz = str(folder / "images"), str(folder / "images.npz")
    records = RECORDS.value
    yield f"shapes {size}x{size}", base.data(name="shapes", resolution=size)
    yield f"faces {size}x{size}", base.data(name="faces", resolution=size)
    yield f"faces {size}x{size}, on device", base.data(name="faces", resolution=size, size=records, on_device=True)
    yield f"folder of PNG {size}x{size}", base.data(name="folder", path=png)
    yield f"folder of PNG, to {size // 2}x{size // 2}", base.data(name="folder", path=png, resolution=size // 2)
    yield f"memory {size}x{size}", base.data(name="memory", path=npz)
    yield f"memory {size}x{size}, on device", base.data(name="memory", path=npz, on_device=True)
    yield "gaussians", base.data(name="gaussians")
    yield "gaussians, on device", base.data(name="gaussians", on_device=True)
    if DATA_DIR.value:
        yield "mnist, TFDS", base.data(name="mnist", path=DATA_DIR.value)
        yield "mnist, on device", base.data(name="mnist", path=DATA_DIR.value, size=10_000, on_device=True)


def main(_):
    logging.set_verbosity(logging.WARNING)
    demand = BATCH_SIZE.value / STEP_MS.value * 1000
    print(f"{jax.device_count()} x {jax.devices()[0].device_kind}; a step of {STEP_MS.value:g} ms with a batch of "
          f"{BATCH_SIZE.value} eats {demand:,.0f} examples per second\n")  # fmt: skip
    print(f"{'data':<32}{'examples/s':>14}{'ratio':>10}")
    with tempfile.TemporaryDirectory() as folder:
        write_datasets(pathlib.Path(folder))
        for name, section in lines(pathlib.Path(folder)):
            section.workers = WORKERS.value
            supply = rate(section)
            digits = max(0, 2 - math.floor(math.log10(supply / demand)))
            print(f"{name:<32}{supply:>14,.0f}{supply / demand:>10.{digits}f}", flush=True)


if __name__ == "__main__":
    cli.run(main)
