"""How fast a population goes through an extractor, beside the extractor alone on a batch that is on the device already.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --images 50000 --extractor classifier

Images have the size of CIFAR's. Both take turns in one run; the ratio is the time of a whole pass (reading, transfer,
features back to the host) over that of the bare calls on as many batches. The aim is 1.
"""

import argparse
import datetime
import os
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--extractor", choices=("inception", "vgg", "classifier", "pixels"), default="inception")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    os.environ["GAN_JAX_CACHE"] = tempfile.mkdtemp()

    import jax
    import numpy as np

    from gan_jax import parallel
    from gan_jax.metrics import extractors, populations

    rng = np.random.default_rng(0)
    file = pathlib.Path(os.environ["GAN_JAX_CACHE"]) / "images.npz"
    images = rng.integers(0, 256, (options.images, 32, 32, 3), np.uint8)
    np.savez(file, image=images, label=rng.integers(0, 10, options.images).astype(np.int32))
    mesh = parallel.make_mesh({"data": -1, "fsdp": 1})
    population = populations.folder(file, mesh)
    needs = extractors.Needs(population, population, None, inception="random", vgg="random")
    extractor = extractors.build(options.extractor, needs)

    size = population.whole(options.batch_size)
    examples = next(population.batches(size))[0]
    params = parallel.replicate(extractor.params, mesh)
    run = jax.jit(extractor.apply, out_shardings=parallel.replicated(mesh))
    jax.block_until_ready(run(params, examples, np.int32(0)))
    extractors.collect(population, [extractor], options.batch_size, "warm")
    bare, whole = [], []
    for _ in range(options.turns):
        start = time.perf_counter()
        for _ in range(0, options.images, size):
            jax.block_until_ready(run(params, examples, np.int32(0)))
        bare.append(time.perf_counter() - start)
        start = time.perf_counter()
        extractors.collect(population, [extractor], options.batch_size, "timed")
        whole.append(time.perf_counter() - start)
    bare, whole = statistics.median(bare), statistics.median(whole)
    print(f"{datetime.date.today()}  {os.cpu_count()} cores, {jax.device_count()} x {jax.devices()[0].device_kind}")
    print(f"{options.extractor}, {options.images} images of 32x32, batches of {size}")
    print(f"bare extractor   {options.images / bare:10.1f} images/s")
    print(f"one pass         {options.images / whole:10.1f} images/s   {whole / bare:.3f} of the bare time")


if __name__ == "__main__":
    main()
