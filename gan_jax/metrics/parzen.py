"""Parzen-window log-likelihood, how the first GAN paper scored a generator (Goodfellow et al., 2014, "Generative
Adversarial Nets", arXiv:1406.2661, section 5; the estimate of Breuleux et al., 2011).

Published values take 10,000 samples, `bandwidth` on 1,000 validation images, and quote the test set. Pixels of MNIST
are in [0, 1]. The estimate is poor in many dimensions (Theis et al., 2016, arXiv:1511.01844): a historical number.
"""

import numpy as np
from jaxtyping import Float64
from scipy.special import logsumexp
from tqdm import tqdm

from gan_jax.errors import InputError
from gan_jax.metrics import checks
from gan_jax.metrics.checks import Features

ROWS = 256  # test points at once: 8 * ROWS * N bytes for each matrix of distances, 20 MB for 10,000 samples


def log_likelihood(samples: Features, test: Features, sigma: float) -> tuple[float, float]:
    """Mean log-density of the test points, in nats, and its standard error.

    The density is the mean of Gaussians of standard deviation `sigma` around the samples. Computes on the host in
    float64: the squared distances are divided by `2 sigma^2`, which makes a float32 error of 1e-4 one of .005 nats.

    Args:
      samples, test: `[N, D]` and `[M, D]`, images flattened, in the same units.

    Raises:
      InputError: if `sigma` is not positive, the dimensions differ, or a value is not a finite number.
    """
    densities = _log_densities(samples, test, _checked([sigma]))[0]
    return float(densities.mean()), float(densities.std() / np.sqrt(len(test)))


def bandwidth(samples: Features, validation: Features, candidates: np.ndarray | None = None) -> float:
    """The candidate under which the validation points are the most likely; the smallest index of equal ones.

    Args:
      candidates: standard deviations; by default the 10 between .1 and 1 of the paper's code, evenly in logarithm.

    Raises:
      InputError: as `log_likelihood`.
    """
    sigmas = _checked(np.logspace(-1, 0, 10) if candidates is None else candidates)
    return float(sigmas[_log_densities(samples, validation, sigmas).mean(axis=1).argmax()])


def _checked(sigmas: list[float] | np.ndarray) -> Float64[np.ndarray, "s"]:
    sigmas = np.asarray(sigmas, np.float64)
    if sigmas.ndim != 1 or not sigmas.size or not (np.isfinite(sigmas) & (sigmas > 0)).all():
        raise InputError(f"Parzen window: standard deviations must be positive numbers, got {sigmas.tolist()}")
    return sigmas


def _log_densities(samples: Features, points: Features, sigmas: np.ndarray) -> Float64[np.ndarray, "s m"]:
    checks.features("Parzen window, samples", samples)
    checks.features("Parzen window, test points", points)
    checks.same_width(samples, points)
    centre = samples.mean(axis=0, dtype=np.float64)[None]
    samples = samples - centre
    norms = np.square(samples).sum(axis=1)[None]
    densities = np.empty((len(sigmas), len(points)))
    for start in tqdm(range(0, len(points), ROWS), "Parzen window", unit="block", disable=None, leave=False):
        block = points[start : start + ROWS] - centre
        squares = (np.square(block).sum(axis=1)[:, None] + norms - 2 * block @ samples.T).clip(0)
        for i, sigma in enumerate(sigmas):
            densities[i, start : start + ROWS] = logsumexp(squares / (-2 * sigma**2), axis=1)
    dimension = samples.shape[1]
    return densities - np.log(len(samples)) - dimension * np.log(sigmas * np.sqrt(2 * np.pi))[:, None]
