"""How well samples cover a mixture whose modes are known (the measures of VEEGAN, Srivastava et al., 2017,
arXiv:1705.07761, and PacGAN, Lin et al., 2017, arXiv:1712.04086)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


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
