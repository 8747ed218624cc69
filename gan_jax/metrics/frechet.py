"""Fréchet distance between Gaussians fitted to features: FID on Inception features (Heusel et al., 2017, "GANs
Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", arXiv:1706.08500, equation 6)."""

from functools import reduce
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from gan_jax.errors import InputError
from gan_jax.metrics import checks
from gan_jax.metrics.checks import Features

ROWS = 4096  # of float64 features held at once


class Moments(NamedTuple):
    count: int
    mean: Float64[np.ndarray, "d"]
    covariance: Float64[np.ndarray, "d d"]  # divided by count - 1, as the paper's code does; zero for one example


def moments(features: Features) -> Moments:
    """Count, mean and covariance of features `[N, D]`, in float64.

    Raises:
      InputError: if there is no example, or one is not finite.
    """
    checks.features("moments", features)
    return reduce(combine, (_of_block(features[i : i + ROWS]) for i in range(0, len(features), ROWS)))


def combine(a: Moments, b: Moments) -> Moments:
    """Moments of the union of two sets from theirs, with no loss but rounding (Chan, Golub, LeVeque, 1979)."""
    count = a.count + b.count
    apart = b.mean - a.mean
    scatter = (a.count - 1) * a.covariance + (b.count - 1) * b.covariance
    scatter += a.count * b.count / count * np.outer(apart, apart)
    return Moments(count, a.mean + b.count / count * apart, scatter / (count - 1))


def distance(a: Moments, b: Moments) -> float:
    """`|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))`, at least 0, in squared units of the features.

    The trace of the root is the sum of the roots of the eigenvalues of `R^T S2 R` with `S1 = R R^T`, which is symmetric
    and has the eigenvalues of `S1 S2` but for zeros: no complex arithmetic, and singular covariances (fewer examples
    than dimensions) need no offset. The distance of samples falls with their number: compare equal numbers only.

    Raises:
      InputError: for fewer than 2 examples, different dimensions, or moments that are not those of any data.
    """
    for which, given in (("first", a), ("second", b)):
        if given.count < 2:
            raise InputError(f"Fréchet distance: the {which} set has {given.count} examples, but 2 are needed")
        if not (np.isfinite(given.mean).all() and np.isfinite(given.covariance).all()):
            raise InputError(f"Fréchet distance: the moments of the {which} set are not finite numbers")
    if a.mean.shape != b.mean.shape:
        raise InputError(
            f"Fréchet distance: {len(a.mean)} and {len(b.mean)} dimensions cannot be compared: "
            "use one extractor for both"
        )
    values, vectors = np.linalg.eigh(a.covariance)
    # Without the directions in which the first set does not vary: each would add the root of a rounding error.
    varied = values > len(values) * np.finfo(np.float64).eps * values[-1]
    root = vectors[:, varied] * _roots(values)[varied]
    product = root.T @ b.covariance @ root
    trace = _roots(np.linalg.eigvalsh((product + product.T) / 2)).sum()
    apart = a.mean - b.mean
    value = apart @ apart + np.trace(a.covariance) + np.trace(b.covariance) - 2 * trace
    return max(float(value), 0.0)  # a distance: below zero there is only the rounding of a difference of large traces


def _roots(eigenvalues: Float64[np.ndarray, "d"]) -> Float64[np.ndarray, "d"]:
    """Square roots of the eigenvalues, in rising order, of a matrix without negative ones but for rounding."""
    if eigenvalues.size and eigenvalues[0] < -1e-6 * max(eigenvalues[-1], 0.0):
        raise InputError(f"Fréchet distance: no covariance has a negative eigenvalue such as {eigenvalues[0]:.3g}")
    return np.sqrt(eigenvalues.clip(0))


def _of_block(block: Features) -> Moments:
    block = np.asarray(block, np.float64)
    mean = block.mean(axis=0)
    centred = block - mean[None]
    return Moments(len(block), mean, centred.T @ centred / max(len(block) - 1, 1))
