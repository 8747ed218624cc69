"""Truncation: better samples for less variety, as a picture and as a number.

Two operations share the name and are never mixed. A bound draws the entries of a normal latent beyond it again (Brock
et al., 2018, arXiv:1809.11096); psi moves the styles w of a generator that has them towards their mean, mean + psi (w -
mean), in its first `cutoff` layers (Karras et al., 2018, arXiv:1812.04948), and for others the latent itself, which if
it is normal becomes psi z. A bound of infinity and a psi of 1 are none.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from gan_jax.analysis.neighbours import pixels
from gan_jax.data import display
from gan_jax.errors import InputError, choose

BOUNDS = (0.25, 0.5, 1.0, 2.0, math.inf)
PSIS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Sweep(NamedTuple):
    kind: str  # "bound" or "psi"
    values: tuple[float, ...]
    samples: Float[np.ndarray, "values number ..."]  # of the same latents in every row
    distances: tuple[float, ...]  # between two samples, on average


def sweep(
    sampler,
    values: Sequence[float] = BOUNDS,
    kind: str = "bound",
    *,
    number: int = 8,
    measured: int = 256,
    seed: int = 0,
    labels=None,
) -> Sweep:
    """Samples of the same latents at every bound or psi, and `mean_distance` of the first `measured` ones.

    Labels come in turn, so that among all classes the distance is also that between classes; name one for its own.

    Raises:
      InputError: for latents that are not normal, a bound that is not positive, or fewer than 2 samples to measure.
    """
    choose(kind, dict.fromkeys(("bound", "psi")), "kind of truncation")
    styled = kind == "psi" and sampler.styled
    if not styled:
        sampler.check_truncation(1.0)
    count = max(number, measured)
    made = []
    distances = []
    for value in values:
        if styled:
            z = sampler.styles(sampler.latents(count, seed), value, labels)
        elif kind == "psi":
            z = jax.tree.map(lambda leaf, psi=value: float(psi) * leaf, sampler.latents(count, seed))
        else:
            z = sampler.latents(count, seed, truncation=None if value == math.inf else value)
        samples = sampler.generate(z, labels)
        made.append(samples[:number])
        distances.append(mean_distance(samples[:measured]))
    return Sweep(kind, tuple(values), np.stack(made), tuple(distances))


def mean_distance(samples: Float[np.ndarray, "n ..."]) -> float:
    """Over all pairs, the mean root-mean-square difference, of images at 64 pixels a side at most; 0 if all are equal.

    Raises:
      InputError: for fewer than 2 samples.
    """
    if len(samples) < 2:
        raise InputError(f"a distance needs at least 2 samples, got {len(samples)}")
    x = pixels(samples).astype(np.float64)
    x -= x.mean(axis=0)
    squares = (x**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * x @ x.T, 0))
    return float(distances[np.triu_indices(len(x), 1)].mean())


def picture(made: Sweep) -> np.ndarray:
    """One row for each value, which stands on its left above the mean distance: uint8 [height, width, 3].

    Points [number, D] are drawn as one cloud for each value, over that of the last.
    """
    texts, shown = [], []
    for value, samples, distance in zip(made.values, made.samples, made.distances, strict=True):
        said = ["no bound" if value == math.inf else f"{made.kind} {value:g}", f"distance {distance:.3f}"]
        texts.append(display.join([display.words(line, 16) for line in said], axis=0))
        cloud = samples.ndim == 2
        shown.append(
            display.point_scatter(samples, made.samples[-1]) if cloud else display.image_grid(samples, len(samples))
        )
    width = max(text.shape[1] for text in texts)
    texts = [np.pad(text, ((0, 0), (0, width - text.shape[1]), (0, 0)), constant_values=255) for text in texts]
    return display.join([display.join(row, axis=1) for row in zip(texts, shown, strict=True)], axis=0)
