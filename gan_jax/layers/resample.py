"""Doubling and halving the sides of images by the simplest filters, as residual networks do."""

import jax.numpy as jnp
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
    batch, height, width, channels = x.shape
    if height % 2 or width % 2:
        raise InputError(f"images of {height} x {width} pixels cannot be halved by 2x2 averages: both must be even")
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def every_other(x: Images) -> Float[Array, "batch h w channels"]:
    """[B,H,W,C] to the pixels at even places: what a 1x1 convolution of stride 2 sees."""
    return x[:, ::2, ::2]


def depth_to_space(x: Images) -> Float[Array, "batch h w features"]:
    """[B,H,W,4C] to [B,2H,2W,C]: the channels of a pixel become a square of four, row by row (Shi et al., 2016)."""
    batch, height, width, channels = x.shape
    squares = x.reshape(batch, height, width, 2, 2, channels // 4).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(batch, 2 * height, 2 * width, channels // 4)
