"""Doubling and halving the sides of images by the simplest filters, as residual networks do."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from gan_jax.errors import InputError

Images = Float[Array, "batch height width channels"]


def nearest(x: Images) -> Float[Array, "batch h w channels"]:
    """[B,H,W,C] to [B,2H,2W,C]: every pixel becomes a square of four."""
    batch, height, width, channels = x.shape
    squares = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return squares.reshape(batch, 2 * height, 2 * width, channels)


def average_pool(x: Images) -> Float[Array, "batch h w channels"]:
    """[B,2H,2W,C] to [B,H,W,C]: the mean of each square of four.

    Raises:
      InputError: if a side is odd.
    """
    return _squares(x).mean(axis=(2, 4))


def max_pool(x: Images) -> Float[Array, "batch h w channels"]:
    """[B,2H,2W,C] to [B,H,W,C]: the largest of each square of four, channel by channel; equal ones share its gradient.

    Raises:
      InputError: if a side is odd.
    """
    return _squares(x).max(axis=(2, 4))


def _squares(x):
    """[B,2H,2W,C] to [B,H,2,W,2,C]."""
    batch, height, width, channels = x.shape
    if height % 2 or width % 2:
        raise InputError(f"images of {height} x {width} pixels cannot be halved by 2x2 squares: both must be even")
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels)


def every_other(x: Images) -> Float[Array, "batch h w channels"]:
    """[B,H,W,C] to the pixels at even places: what a 1x1 convolution of stride 2 sees."""
    return x[:, ::2, ::2]


def depth_to_space(x: Images) -> Float[Array, "batch h w features"]:
    """[B,H,W,4C] to [B,2H,2W,C]: the channels of a pixel become a square of four, row by row (Shi et al., 2016)."""
    batch, height, width, channels = x.shape
    squares = x.reshape(batch, height, width, 2, 2, channels // 4).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(batch, 2 * height, 2 * width, channels // 4)


def space_to_depth(x: Images) -> Float[Array, "batch h w features"]:
    """[B,2H,2W,C] to [B,H,W,4C]: the inverse of `depth_to_space`.

    Raises:
      InputError: if a side is odd.
    """
    squares = _squares(x).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(*squares.shape[:3], -1)


def smooth(x: Images, taps: Sequence[float] = (1.0, 2.0, 1.0)) -> Images:
    """Each side filtered by an odd number of taps, which are divided by their sum; zeros surround the image.

    The taps are binomial by default, as in StyleGAN (Karras et al., 2018, arXiv:1812.04948, section 2). Shifted images
    are added up, which fuses with its neighbours and whose second derivatives are as cheap.
    """
    reach = len(taps) // 2
    for axis in (1, 2):
        around = [(reach, reach) if i == axis else (0, 0) for i in range(x.ndim)]
        padded, length = jnp.pad(x, around), x.shape[axis]
        x = sum(tap / sum(taps) * lax.slice_in_dim(padded, i, i + length, axis=axis) for i, tap in enumerate(taps))
    return x
