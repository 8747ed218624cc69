"""The U-Net of pix2pix: an encoder down to a pixel or a few, a decoder back, and skips between layers of one size
(Ronneberger et al., 2015, arXiv:1505.04597; Isola et al., 2016, arXiv:1611.07004, sections 3.2.1 and 6.1.1)."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from gan_jax.errors import InputError
from gan_jax.layers.conv import Conv, ConvTranspose
from gan_jax.nets.patchgan import SLOPE, BatchNorm, weights

SKIPS: dict[str, Callable] = {  # what a decoder's layer goes on with, from what it made and the encoder's of that size
    "concat": lambda made, met: jnp.concatenate([made, met], axis=-1),
    "none": lambda made, met: made,
}
DROPOUTS: dict[str, Callable[[int], Sequence[int]]] = {  # of so many levels: which layers of the decoder drop half
    "paper": lambda levels: range(min(3, levels - 1)),  # the first three, as the authors' Lua code
    "pytorch": lambda levels: range(1, levels - 4),  # their later port; none of 5 levels or fewer
    "none": lambda levels: (),
}


def levels(height: int, width: int) -> int:
    """How often an image is halved: as often as both sides are even, until the shorter one has 1 to 7 pixels. That is
    8 times for 256x256, down to a single pixel as in the paper, and 5 times for 96x160, down to 3x5.

    Raises:
      InputError: for sides that become odd before, or that are halved less than twice.
    """
    found = (math.gcd(height, width) & -math.gcd(height, width)).bit_length() - 1
    if found < 2 or min(height, width) >> found > 7:
        unit = 2 ** max(2, round(math.log2(min(height, width))) - 2)
        near = tuple(max(1, round(side / unit)) * unit for side in (height, width))
        raise InputError(
            f"config.data.resolution=({height}, {width}): a U-Net halves images at least twice, and until the shorter "
            f"side has 7 pixels at most; take sides that can be, e.g. {near}"
        )
    return found


class UNet(nn.Module):
    """Images [B, H, W, C] to images [B, H, W, channels] in [-1, 1]; both sides are multiples of 2^levels.

    Noise is dropout alone, where `train` says so. There is no norm in the first layer, in the last, and at the
    bottleneck, which a norm over a single pixel of a single image would make zero.
    """

    channels: int
    levels: int = 8
    width: int = 64  # channels of the first layer; they double at every level, up to 8 times this
    norm: type[nn.Module] = BatchNorm
    skip: Callable = SKIPS["concat"]
    dropout: Sequence[int] = (0, 1, 2)  # which layers of the decoder drop half of their units
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        settings = {"kernel_size": (4, 4), "strides": (2, 2), "kernel_init": weights, "dtype": self.dtype}
        down = partial(Conv, padding=((1, 1), (1, 1)), use_bias=self.norm.bias, **settings)
        up = partial(ConvTranspose, padding="SAME", **settings)
        h, met = x.astype(self.dtype), []
        for level in range(self.levels):
            h = down(self.width * min(2**level, 8))(nn.leaky_relu(h, SLOPE) if level else h)
            h = self.norm(self.dtype)(h, train=train) if 0 < level < self.levels - 1 else h
            met.append(h)
        for number, level in enumerate(reversed(range(self.levels - 1))):
            h = up(self.width * min(2**level, 8), use_bias=self.norm.bias)(nn.relu(h))
            h = self.norm(self.dtype)(h, train=train)
            h = nn.Dropout(0.5, deterministic=not train)(h) if number in self.dropout else h
            h = self.skip(h, met[level])
        return jnp.tanh(up(self.channels)(nn.relu(h)).astype(jnp.float32))
