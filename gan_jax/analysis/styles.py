"""What the layers of a style-based generator have learned: some take their styles from other images (Karras et al.,
2018, arXiv:1812.04948, figure 3).

Layer 0 is the coarsest. Of the 18 layers at 1024 x 1024 the paper calls 0 to 3 coarse, 4 to 7 middle and the others
fine; smaller generators are divided in proportion. The operations on latents w [..., L, D] are `layers/styles.py`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from gan_jax.contract import PyTree
from gan_jax.data import display
from gan_jax.errors import InputError
from gan_jax.layers.styles import broadcast, edit, mix, truncate

__all__ = ["broadcast", "edit", "mix", "mixing", "picture", "ranges", "truncate"]


class Mixing(NamedTuple):
    ranges: Mapping[str, tuple[int, int]]  # the layers, from the first to before the second, that sources decide
    sources: Float[np.ndarray, "sources ..."]
    destinations: Float[np.ndarray, "destinations ..."]
    samples: Float[np.ndarray, "ranges destinations sources ..."]


def ranges(layers: int) -> dict[str, tuple[int, int]]:
    """Which layers are coarse, middle and fine: their first and the one after their last; at least the two of a
    resolution each, as far as there are any."""
    middle = min(max(2, 2 * round(layers / 9)), layers)
    fine = min(max(middle + 2, 2 * round(2 * layers / 9)), layers)
    found = {"coarse": (0, middle), "middle": (middle, fine), "fine": (fine, layers)}
    return {name: (start, end) for name, (start, end) in found.items() if start < end}


def mixing(
    sampler,
    sources: PyTree,
    destinations: PyTree,
    chosen: Mapping[str, tuple[int, int]] | None = None,
    *,
    psi: float = 1.0,
) -> Mixing:
    """Every destination [D, ...] with the styles of every source [S, ...] in each of these ranges of layers.

    All else is the destination's, its noise too. Latents are those of `sampler.latents`.

    Args:
      chosen: {name: (first layer, the one after the last)}; those of `ranges` by default.
      psi: of the truncation of all styles.

    Raises:
      InputError: for a GAN without styles, or layers that do not exist.
    """
    sources, destinations = (sampler.styles(z, psi) for z in (sources, destinations))
    layers = sources["w"].shape[1]
    chosen = ranges(layers) if chosen is None else dict(chosen)
    across, down = len(sources["w"]), len(destinations["w"])
    every = jax.tree.map(lambda leaf: np.repeat(leaf, across, axis=0), destinations)  # [D S, ...]
    made = []
    for name, (start, end) in chosen.items():
        if not 0 <= start < end <= layers:
            raise InputError(f"{name} layers {start} to {end - 1}: this generator has layers 0 to {layers - 1}")
        w = every["w"].copy()
        w[:, start:end] = np.tile(sources["w"][:, start:end], (down, 1, 1))
        images = sampler.generate({**every, "w": w})
        made.append(images.reshape(down, across, *images.shape[1:]))
    return Mixing(chosen, sampler.generate(sources), sampler.generate(destinations), np.stack(made))


def picture(made: Mixing) -> np.ndarray:
    """Sources above, destinations on the left of the rows that they change in, one block for each range of layers:
    uint8 [height, width, 3]."""
    blank = np.ones_like(made.sources[:1])
    shown = [display.image_grid(np.concatenate([blank, made.sources]), 1 + len(made.sources))]
    for (name, (start, end)), block in zip(made.ranges.items(), made.samples, strict=True):
        shown.append(display.words(f"{name}: layers {start} to {end - 1} of the images above", 16))
        images = np.concatenate([made.destinations[:, None], block], axis=1)
        shown.append(display.image_grid(images.reshape(-1, *images.shape[2:]), images.shape[1]))
    return display.join(shown, axis=0)
