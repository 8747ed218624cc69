"""Photographs made smaller and enlarged again: by a trained network, and by what it must be better than."""

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.analysis.translation import Translator
from gan_jax.data import display, transforms
from gan_jax.data.sources import Folder, decode
from gan_jax.errors import InputError
from gan_jax.metrics import similarity

PROTOCOL = "on Y of bytes, without a border as wide as the factor; made smaller by MATLAB's bicubic filter"
WINDOW = 96  # pixels of an image that a picture shows
BICUBIC, NETWORK = "bicubic", "network"
_measure = jax.jit(similarity.super_resolution, static_argnums=2)


class Enlarged(NamedTuple):
    """One photograph, uint8 [H,W,C], the small image that was made of it, and what became of that."""

    name: str
    truth: np.ndarray
    small: np.ndarray
    made: Mapping[str, np.ndarray]  # by the method
    scores: Mapping[str, tuple[float, float]]  # PSNR in dB, and SSIM


def enlarged(translator: Translator, path: str, seed: int = 0) -> Iterator[Enlarged]:
    """Every image below a folder, of any size: cut to a multiple of the factor, made smaller, and enlarged again.

    Raises:
      InputError: for a run that does not enlarge, no such folder, or an image too small to be measured.
    """
    factor = translator.factor
    if factor < 2:
        raise InputError(f"'{translator.sampler.config.gan}' translates images and does not enlarge them")
    source = Folder(path, translator.resolution, translator.channels)
    least = similarity.WINDOW + 2 * factor
    for file in source.files:
        truth = transforms.Fit(channels=translator.channels)(decode(file, file))
        height, width = (side // factor * factor for side in truth.shape[:2])
        if min(height, width) < least:
            raise InputError(f"{file}: {height}x{width} is too small for PSNR and SSIM; it takes {least} pixels a side")
        truth = truth[:height, :width]
        small = transforms.bicubic(truth[None], (height // factor, width // factor))
        network = transforms.to_uint8(translator(np.asarray(transforms.to_float(jnp.asarray(small))), seed))
        made = {BICUBIC: transforms.bicubic(small, (height, width))[0], NETWORK: np.asarray(network[0])}
        scores = {name: measure(image, truth, factor) for name, image in made.items()}
        yield Enlarged(os.path.relpath(file, source.path), truth, small[0], made, scores)


def measure(made: np.ndarray, truth: np.ndarray, border: int) -> tuple[float, float]:
    """PSNR and SSIM of one image."""
    psnr, ssim = _measure(made[None], truth[None], border)
    return float(psnr[0]), float(ssim[0])


def means(found: Sequence[Enlarged]) -> dict[str, tuple[float, float]]:
    """Over images, of each method."""
    scores = {name: np.mean([one.scores[name] for one in found], axis=0) for name in found[0].scores}
    return {name: (float(psnr), float(ssim)) for name, (psnr, ssim) in scores.items()}


def picture(found: Sequence[Enlarged], window: int = WINDOW) -> np.ndarray:
    """A row for each: the middle of the small image, its pixels as squares, of every method's, and of the truth."""
    rows = []
    for one in found:
        factor = len(one.truth) // len(one.small)
        squares = one.small.repeat(factor, axis=0).repeat(factor, axis=1)
        cut = functools.partial(middle, side=window // factor * factor, step=factor)
        shown = np.stack([cut(image) for image in (squares, *one.made.values(), one.truth)])
        rows.append(display.image_grid(shown.astype(np.float32) / 127.5 - 1.0, len(shown)))
    return display.join(rows, axis=0)


def middle(image: np.ndarray, side: int, step: int) -> np.ndarray:
    """At most side x side pixels from the middle, which begin at a multiple of `step`."""
    starts = [max(0, (length - side) // 2) // step * step for length in image.shape[:2]]
    return image[starts[0] : starts[0] + side, starts[1] : starts[1] + side]
