"""From images to images of one size through a few residual blocks, as CycleGAN translates (Zhu et al., 2017,
arXiv:1703.10593, section 4 and appendix; Johnson et al., 2016, arXiv:1603.08155), and networks in pairs, one for each
of two domains."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from gan_jax.errors import InputError
from gan_jax.layers.conv import Conv, ConvTranspose
from gan_jax.nets.patchgan import InstanceNorm, weights


def reflected(x: Float[Array, "batch height width channels"], margin: int) -> Float[Array, "batch h w channels"]:
    """With a margin at each side that mirrors the image; its border pixels are not repeated."""
    return jnp.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")


def check_size(height: int, width: int) -> None:
    """Raises InputError for images that a `ResNet` cannot halve twice, or not reflect after that."""
    if height % 4 or width % 4 or min(height, width) < 8:
        near = tuple(max(8, 4 * round(side / 4)) for side in (height, width))
        raise InputError(
            f"config.data.resolution=({height}, {width}): a residual translator takes multiples of 4 from 8 on, e.g. "
            f"{near}"
        )


class ResNet(nn.Module):
    """Images [B, H, W, C] to images [B, H, W, channels] in [-1, 1]; both sides are multiples of 4.

    Two layers halve, `blocks` residual blocks work on a quarter of each side, two layers double. The stem, the blocks
    and the head pad by reflection; every convolution but the head's is followed by instance norm.
    """

    channels: int
    width: int = 64  # channels of the stem, doubled by each halving
    blocks: int = 9  # 6 for 128x128 and below
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        settings = {"kernel_init": weights, "dtype": self.dtype}
        conv = partial(Conv, padding="VALID", **settings)
        norm = partial(InstanceNorm(self.dtype), train=train)
        h = conv(self.width, (7, 7))(reflected(x.astype(self.dtype), 3))
        h = nn.relu(norm(h))
        for level in (1, 2):
            down = Conv(self.width * 2**level, (3, 3), (2, 2), padding=((1, 1), (1, 1)), **settings)
            h = nn.relu(norm(down(h)))
        for _ in range(self.blocks):
            inner = nn.relu(norm(conv(h.shape[-1], (3, 3))(reflected(h, 1))))
            h = h + norm(conv(h.shape[-1], (3, 3))(reflected(inner, 1)))
        for level in (1, 0):
            up = ConvTranspose(self.width * 2**level, (3, 3), (2, 2), padding=((1, 2), (1, 2)), **settings)
            h = nn.relu(norm(up(h)))
        return jnp.tanh(conv(self.channels, (7, 7))(reflected(h, 3)).astype(jnp.float32))


class Both(nn.Module):
    """Two networks as one: what comes under a name goes through the network of that name."""

    a: nn.Module
    b: nn.Module

    def __call__(self, inputs: Mapping[str, Array], *, train: bool) -> dict[str, Any]:
        return {name: getattr(self, name)(x, train=train) for name, x in inputs.items()}
