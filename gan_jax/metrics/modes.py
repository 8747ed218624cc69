"""How well samples cover modes that are known: those of a mixture in the plane, those of Stacked MNIST.

The measures of VEEGAN (Srivastava et al., 2017, arXiv:1705.07761) and PacGAN (Lin et al., 2017, arXiv:1712.04086);
and whether the modes that a GAN has found by itself are the classes of the data (InfoGAN).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer
from scipy.optimize import linear_sum_assignment

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


class Matching(NamedTuple):
    accuracy: float  # share of the examples whose code is the partner of their label
    label: Integer[np.ndarray, "k"]  # the partner of every code


def matched_accuracy(codes: Integer[np.ndarray, "n"], labels: Integer[np.ndarray, "n"], k: int) -> Matching:
    """How well `codes` found without labels are the classes: every code gets one label, so that most examples agree.

    Chance is a little above 1 / k. Two codes that share a class, or two classes that share a code, cost what the second
    one holds: .1 of ten equal classes. Chen et al., 2016, arXiv:1606.03657, section 7.2.

    Raises:
      InputError: if there are no examples, or a code or label is not among 0 to k - 1.
    """
    both = np.stack([codes, labels])
    if not both.size or both.min() < 0 or both.max() >= k:
        raise InputError(f"codes are matched with labels from 0 to {k - 1}, both of one or more examples")
    confusion = np.bincount(both[0] * k + both[1], minlength=k * k).reshape(k, k)
    rows, partners = linear_sum_assignment(confusion, maximize=True)
    return Matching(float(confusion[rows, partners].sum() / len(codes)), partners)
