"""Whether samples are of the class that was asked for, in the eyes of a good classifier, and how much they vary in it.

    python benchmarks/recognised.py --workdir runs/x,runs/y

The classifier is trained on the data of the first run for --steps steps, six times as many as that of
`--metrics=tstr`, whose own errors on digits are as many as those to be counted. Beside the share that is recognised
stands the standard deviation within a class over the data's, as one template of each class has all of the first.
"""

import numpy as np
from absl import flags, logging

from gan_jax import cli, parallel
from gan_jax.analysis import sampler as runs
from gan_jax.errors import InputError
from gan_jax.metrics import classifier, populations, tstr

BATCH_SIZE = 500

WORKDIR = flags.DEFINE_list("workdir", None, "One run or several of the same data.", required=True)
SAMPLES = flags.DEFINE_integer("samples", 10_000, "How many of each run.", lower_bound=10)
STEPS = flags.DEFINE_integer("steps", 6_000, "Of the classifier.", lower_bound=1)


def main(argv) -> None:
    logging.set_verbosity(logging.WARNING)
    parallel.initialize()
    samplers = [runs.load(workdir) for workdir in WORKDIR.value]
    for sampler in samplers:
        if not sampler.classes:
            raise InputError(f"config.gan='{sampler.config.gan}' is not told classes")
        if sampler.config.data.name != samplers[0].config.data.name or sampler.shape != samplers[0].shape:
            raise InputError(f"--workdir={','.join(WORKDIR.value)}: these runs are not of the same data")
    first = samplers[0]
    real = arrays(populations.real(first.config.data, first.mesh))
    test = arrays(populations.held_out(first.config.data, first.mesh))
    params = classifier.fit(*real, first.classes, STEPS.value)
    print(f"classifier: {classifier.accuracy(params, *test)[0]:.4f} of {len(test[0])} held-out images")
    for workdir, sampler in zip(WORKDIR.value, samplers, strict=True):
        samples = arrays(populations.generated(sampler, SAMPLES.value))
        recognised, of_class = classifier.accuracy(params, *samples)
        variety = tstr.within_classes(*samples) / tstr.within_classes(*real)
        shares = " ".join(f"{share:.3f}" for share in of_class)
        print(f"{workdir}, step {sampler.step}: {recognised:.4f} recognised ({shares}), variety {variety:.3f}")


def arrays(population: populations.Population) -> tuple[np.ndarray, np.ndarray]:
    """All images, uint8 [n, H, W, C], and their labels [n]."""
    batches = population.batches(population.whole(BATCH_SIZE))
    found = [(np.asarray(images)[:number], labels[:number]) for images, labels, number in batches]
    images, labels = zip(*found, strict=True)
    return np.concatenate(images), np.concatenate(labels)


if __name__ == "__main__":
    cli.run(main)
