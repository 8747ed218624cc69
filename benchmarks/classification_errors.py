"""How many test images a semi-supervised run gets wrong.

    python benchmarks/classification_errors.py --workdir RUN
    python benchmarks/classification_errors.py --workdir RUN --step 60000

Counts over the test split of the run's data, or over a drawn world of another seed, by the run's own classifier
(`classify`, of experiments/improved_gan.py).
"""

from functools import partial

import jax
import numpy as np
from absl import flags, logging

from gan_jax import cli, parallel
from gan_jax.analysis import sampler as runs
from gan_jax.data import transforms
from gan_jax.errors import InputError
from gan_jax.metrics import populations

BATCH_SIZE = 500

WORKDIR = flags.DEFINE_string("workdir", None, "The run.", required=True)
STEP = flags.DEFINE_integer("step", None, "Which checkpoint; the newest if not given.")
EXAMPLES = flags.DEFINE_integer("examples", None, "How many; all of them if not given.")


def main(argv) -> None:
    logging.set_verbosity(logging.WARNING)
    parallel.initialize()
    sampler = runs.load(WORKDIR.value, STEP.value)
    print(report(sampler, EXAMPLES.value))


def report(sampler, examples: int | None = None) -> str:
    """One line: the step, how many test images are wrong, and of how many."""
    if not hasattr(sampler.gan, "classify"):
        raise InputError(f"config.gan='{sampler.config.gan}' classifies nothing")
    test = populations.held_out(sampler.config.data, sampler.mesh, examples)
    classify = jax.jit(partial(sampler.gan.classify, sampler.state))
    wrong = 0
    for images, labels, number in test.batches(test.whole(BATCH_SIZE)):
        found = np.asarray(classify(transforms.to_float(images)))
        wrong += int((found != labels)[:number].sum())
    return f"step {sampler.step}: {wrong} of {test.count} wrong ({100 * wrong / test.count:.2f} %), {test.source}"


if __name__ == "__main__":
    cli.run(main)
