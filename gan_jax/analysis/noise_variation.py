"""What a style-based generator leaves to its noise: the same styles under many noises (Karras et al., 2018,
arXiv:1812.04948, figures 4 and 5)."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from gan_jax.data import display


class Variation(NamedTuple):
    """Over the noises, of each of N samples of one style."""

    samples: Float[np.ndarray, "number shown height width channels"]  # under some of the noises
    mean: Float[np.ndarray, "number height width channels"]
    deviation: Float[np.ndarray, "number height width"]  # of each pixel, the mean over its channels


def variation(
    sampler, number: int = 4, draws: int = 100, shown: int = 4, *, seed: int = 0, psi: float = 1.0
) -> Variation:
    """Samples 0 to `number - 1` of a seed, each under `draws` noises, those of the samples that follow them.

    Raises:
      InputError: for a GAN without styles.
    """
    whole = sampler.styles(sampler.latents(number + draws, seed), psi)
    noises = {name: jax.tree.map(lambda leaf: leaf[number:], leaf) for name, leaf in whole.items() if name != "w"}
    samples, means, deviations = [], [], []
    for w in whole["w"][:number]:
        made = sampler.generate({"w": np.broadcast_to(w, (draws, *w.shape)), **noises})
        samples.append(made[:shown])
        means.append(made.mean(axis=0, dtype=np.float64).astype(np.float32))
        deviations.append(made.astype(np.float64).std(axis=0).mean(axis=-1).astype(np.float32))
    return Variation(np.stack(samples), np.stack(means), np.stack(deviations))


def picture(made: Variation) -> np.ndarray:
    """A row for each sample: some of the images, their mean, and the deviation, white where it is largest of all:
    uint8 [height, width, 3]."""
    largest = max(float(made.deviation.max()), 1e-12)
    maps = np.broadcast_to(2 * made.deviation[..., None] / largest - 1, made.mean.shape)
    rows = np.concatenate([made.samples, made.mean[:, None], maps[:, None]], axis=1)
    grid = display.image_grid(rows.reshape(-1, *rows.shape[2:]), rows.shape[1])
    text = f"{made.samples.shape[1]} noises, mean, deviation (white is {largest / 2:.3f} of the range)"
    return display.join([display.words(text, 16), grid], axis=0)
