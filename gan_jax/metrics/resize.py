"""How images come to the size that a feature network takes: it is part of a metric's definition.

FID as published resizes with TensorFlow 1's bilinear filter, which aliases when it makes images smaller; clean-FID
(Parmar et al., 2022, arXiv:2104.11222) with Pillow's bicubic one, which does not. Figures of the two do not compare.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from gan_jax.data.transforms import cubic
from gan_jax.nets.inception import tf1_bilinear

__all__ = ["clean", "tf1_bilinear"]  # the latter is part of the network's graph, and defined there

HIGHEST = jax.lax.Precision.HIGHEST


def clean(images: Num[Array | np.ndarray, "b h w c"], size: tuple[int, int]) -> Float[Array, "b height width c"]:
    """Images in 0..255 of any size to `size` (height, width): Pillow's antialiased bicubic, clipped to 0..255.

    As Pillow computes it in mode 'F', each channel for itself, without rounding to bytes: along rows, then columns.
    """
    x = jnp.asarray(images, jnp.float32)
    across = jnp.asarray(bicubic(x.shape[2], size[1]))
    down = jnp.asarray(bicubic(x.shape[1], size[0]))
    x = jnp.einsum("bhwc,vw->bhvc", x, across, precision=HIGHEST)
    x = jnp.einsum("bhvc,uh->buvc", x, down, precision=HIGHEST)
    return x.clip(0, 255)


@functools.cache
def bicubic(length: int, out: int) -> Float[np.ndarray, "out length"]:
    """Weights of the pixels of a row of `length` in each pixel of one of `out`; they sum to 1.

    Keys's cubic with a = -1/2, widened by the ratio of sizes where it is above 1, cut at the borders and normalised.
    """
    ratio = length / out
    width = max(ratio, 1.0)
    centres = (np.arange(out) + 0.5) * ratio
    first = np.maximum((centres - 2 * width + 0.5).astype(int), 0)
    last = np.minimum((centres + 2 * width + 0.5).astype(int), length)
    pixels = np.arange(length)
    kernel = cubic((pixels + 0.5 - centres[:, None]) / width)
    kernel *= (pixels >= first[:, None]) & (pixels < last[:, None])
    return (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32)
