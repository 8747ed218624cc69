"""How well samples cover modes that are known: those of a mixture in the plane, those of Stacked MNIST.

The measures of VEEGAN (Srivastava et al., 2017, arXiv:1705.07761) and PacGAN (Lin et al., 2017, arXiv:1712.04086).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from gan_jax.errors import InputError


class Coverage(NamedTuple):
    covered: int  # modes with at least one high-quality sample
    covered_well: int  # modes with at least 20 of them: one stray sample is not coverage
    high_quality: float  # share of the samples within 3 standard deviations of a mode
    kl: float  # KL(shares of the modes among the assigned samples || equal shares), nats


def coverage(
    points: Float[np.ndarray, "n d"], centres: Float[np.ndarray, "k d"], std: float, radius: float | None = None
) -> Coverage:
    """Coverage of a mixture of equal isotropic Gaussians. Published figures take 2,500 samples.

    Real samples have a `high_quality` of .9889 in the plane; more than that means modes that are too narrow.

    Args:
      radius: how near to its mode a sample must be to count for `kl`; 3 `std` by default. A quarter of the smallest
        distance between modes tells which modes are served when samples are still blurred.
    """
    distances = np.linalg.norm(points[:, None] - centres[None], axis=-1)
    nearest, distance = distances.argmin(axis=1), distances.min(axis=1)
    good = distance < 3 * std
    counts = np.bincount(nearest[good], minlength=len(centres))
    assigned = np.bincount(nearest[distance < (radius or 3 * std)], minlength=len(centres))
    shares = assigned / max(assigned.sum(), 1)
    served = shares > 0
    kl = float(np.sum(shares[served] * np.log(shares[served] * len(centres)))) if served.any() else float("inf")
    return Coverage(int((counts > 0).sum()), int((counts >= 20).sum()), float(good.mean()), kl)


class StackedModes(NamedTuple):
    found: int  # of the 1000 combinations of three digits, how many occur
    kl: float  # KL(shares of the combinations || equal shares of all 1000), nats


def stacked_modes(predictions: Integer[np.ndarray, "n 3"]) -> StackedModes:
    """Coverage of Stacked MNIST (Metz et al., 2017, arXiv:1611.02163), from the digit 0..9 that a classifier of MNIST
    sees in each channel of a sample.

    Published figures take 25,600 or, after VEEGAN, 26,000 samples; of so many draws from equal shares, all
    1000 modes are found and the divergence is .02, as some come more often than others by chance.

    Raises:
      InputError: if there are no predictions, or one is not a digit.
    """
    if not predictions.size or predictions.min() < 0 or predictions.max() > 9:
        raise InputError("modes of Stacked MNIST are counted from digits 0 to 9, three for each of one or more samples")
    counts = np.bincount(predictions @ np.array([100, 10, 1]), minlength=1000)
    shares = counts[counts > 0] / counts.sum()
    return StackedModes(len(shares), float(np.sum(shares * np.log(shares * 1000))))
