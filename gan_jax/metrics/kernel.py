"""Kernel distance between features: KID on Inception features (Bińkowski et al., 2018, "Demystifying MMD GANs",
arXiv:1801.01401, section 4)."""

import numpy as np
from tqdm import tqdm

from gan_jax.errors import InputError
from gan_jax.metrics import checks
from gan_jax.metrics.checks import Features


def kernel_distance(
    real: Features, fake: Features, subsets: int = 100, size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Mean and standard deviation of `mmd2` over random subsets, drawn without replacement. Often quoted times 1000.

    The standard deviation is that of one subset's value; subsets overlap, so it is no standard error of the mean.

    Args:
      real, fake: features `[N, D]` and `[M, D]`.
      subsets, size: 100 subsets of 1000 of each set, which is the usual protocol (the paper's script takes 50).

    Raises:
      InputError: if a set has fewer than `size` examples, the dimensions differ, or a feature is not finite.
    """
    if subsets < 1 or size < 2:
        raise InputError(f"KID: needs at least 1 subset of at least 2 examples, got {subsets} of {size}")
    checks.features("KID, real set", real, size, "for a subset")
    checks.features("KID, generated set", fake, size, "for a subset")
    checks.same_width(real, fake)
    rng = np.random.default_rng(seed)
    values = [
        _mmd2(real[rng.choice(len(real), size, replace=False)], fake[rng.choice(len(fake), size, replace=False)])
        for _ in tqdm(range(subsets), "KID", unit="subset", disable=None, leave=False)
    ]
    return float(np.mean(values)), float(np.std(values))


def mmd2(x: Features, y: Features) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy with the kernel `(x.y / D + 1)^3`; may be negative.

    Computes in float64 and holds the three kernel matrices one after the other. Source: Gretton et al., 2012,
    "A Kernel Two-Sample Test", lemma 6.

    Raises:
      InputError: for fewer than 2 examples, different dimensions, or a feature that is not finite.
    """
    checks.features("MMD, first set", x, 2)
    checks.features("MMD, second set", y, 2)
    checks.same_width(x, y)
    return _mmd2(x, y)


def _mmd2(x: Features, y: Features) -> float:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return _within(x) + _within(y) - 2 * float(_kernel(x, y).mean())


def _kernel(x: Features, y: Features) -> np.ndarray:
    base = x @ y.T / x.shape[1] + 1
    return base * base * base  # eight times as fast as ** 3


def _within(x: Features) -> float:
    """Mean of the kernel over pairs of different examples."""
    kernel = _kernel(x, x)
    return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))
