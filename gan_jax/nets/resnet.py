"""Residual generators and critics: those of WGAN-GP and SNGAN, on which cGANs with projection, SAGAN and BigGAN build.

`Generator` starts from a small base and doubles its sides with every block; `Discriminator` halves them in its first
blocks and ends in a pool and one linear function. Convolutions, norms, stem and pool are values; the experiments'
tables say which paper takes which.
"""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from gan_jax.errors import InputError
from gan_jax.layers.attention import SelfAttention
from gan_jax.layers.blocks import BottleneckBlock, FirstBlock, ResidualBlock, glorot
from gan_jax.layers.conditional import concat_label
from gan_jax.layers.conv import Conv
from gan_jax.layers.norm import BatchNorm, LayerNorm, Unchanged


def halvings(shape: tuple[int, ...]) -> int:
    """How often both sides of an image [H,W,C] can be halved without falling below 4.

    Raises:
      InputError: if not even once.
    """
    height, width, count = *shape[:2], 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) >= 8:
        height, width, count = height // 2, width // 2, count + 1
    if not count:
        raise InputError(
            f"config.data.resolution={tuple(shape[:2])}: a residual network needs sides that can be halved to 4 "
            "pixels or more, such as (32, 32), (48, 48) or (64, 96)"
        )
    return count


def base(shape: tuple[int, ...], doublings: int) -> tuple[int, int]:
    """(height, width) from which so many doublings make images [H,W,C].

    Raises:
      InputError: if there is none.
    """
    side = 2**doublings
    if any(n % side for n in shape[:2]):
        raise InputError(
            f"config.data.resolution={tuple(shape[:2])}: a generator of {doublings} blocks makes multiples of {side} "
            "pixels a side; change the resolution or the number of widths"
        )
    return shape[0] // side, shape[1] // side


class Generator(nn.Module):
    """z [B,Z] to images [B,*shape] in [-1,1]; labels [B,K], if given, set gains and biases of the blocks' batch norms.

    `widths` are the channels of the base and after each of the blocks, every one of which doubles the sides.
    """

    shape: tuple[int, int, int]
    widths: tuple[int, ...] = (256, 256, 256, 256)
    conv: Callable = Conv
    dense: Callable = nn.Dense
    norm: Callable = BatchNorm
    first_bias: bool = True  # of the first convolution of each block
    output_init: Initializer = glorot
    attention: tuple[int, ...] = ()  # self-attention follows the blocks that make images of these heights
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, label=None, *, train: bool):
        height, width = base(self.shape, len(self.widths) - 1)
        block = partial(ResidualBlock, resample="up", conv=self.conv, norm=self.norm, first_bias=self.first_bias)
        start = self.dense(height * width * self.widths[0], kernel_init=glorot, dtype=self.dtype)
        h = start(z.astype(self.dtype)).reshape(-1, height, width, self.widths[0])
        for features in self.widths[1:]:
            h = block(features, dtype=self.dtype)(h, label, train=train)
            if h.shape[1] in self.attention:
                h = SelfAttention(self.conv, self.dtype)(h)
        h = nn.relu(self.norm(dtype=self.dtype)(h, train=train))
        h = self.conv(self.shape[-1], (3, 3), kernel_init=self.output_init, dtype=self.dtype)(h)
        return jnp.tanh(h.astype(jnp.float32))


class Stem(nn.Module):
    """A plain 3x3 convolution of the images: the other way to begin."""

    features: int
    conv: Callable = Conv
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        return self.conv(self.features, (3, 3), kernel_init=glorot, dtype=self.dtype)(x)


def rectified_sum(h):
    """[B,H,W,C] to [B,C] float32, the sum over the image: sixty-four times as much of 8x8 pixels as their mean."""
    return nn.relu(h).astype(jnp.float32).sum(axis=(1, 2))


def rectified_mean(h):
    """[B,H,W,C] to [B,C] float32, the mean over the image."""
    return nn.relu(h).astype(jnp.float32).mean(axis=(1, 2))


def flat(h):
    """[B,H,W,C] to [B,HWC] float32, as it is."""
    return h.astype(jnp.float32).reshape(h.shape[0], -1)


class ProjectionHead(nn.Module):
    """Features [B,F] to logits [B]: a linear function, plus, given labels [B,K], the product with an embedding of them.

    psi(h) + <e(y), h> (Miyato and Koyama, 2018, arXiv:1802.05637, eq. 3). A dense layer without bias of a one-hot label
    is its embedding, so a spectrally normalised `dense` normalises the table.
    """

    dense: Callable = nn.Dense
    bias: bool = True
    kernel_init: Initializer = glorot

    @nn.compact
    def __call__(self, h, label=None):
        logits = self.dense(1, use_bias=self.bias, kernel_init=self.kernel_init, name="linear")(h)[:, 0]
        if label is None:
            return logits
        embedding = self.dense(h.shape[-1], use_bias=False, kernel_init=self.kernel_init, name="embedding")
        return logits + jnp.sum(embedding(label) * h, axis=-1)


class Discriminator(nn.Module):
    """Images [B,H,W,C] (and labels [B,K], projected on what was pooled) to logits [B], or to what another `head` makes.

    `widths` are the channels after each of the blocks; the stem is the first of them.
    """

    widths: tuple[int, ...] = (128, 128, 128, 128)
    down: int = 2  # so many of the first blocks halve the sides (a plain stem does not, but counts)
    stem: Callable = FirstBlock
    conv: Callable = Conv
    dense: Callable = nn.Dense
    norm: Callable = Unchanged
    first_bias: bool = True  # of the first convolution of each block
    pool: Callable = rectified_sum
    head: Callable = ProjectionHead
    head_bias: bool = True
    wide: bool = False  # hidden channels of a block are those that go out; else, those that come in
    attention: tuple[int, ...] = ()  # self-attention follows the blocks that halve images to these heights
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label=None, *, train: bool):
        block = partial(ResidualBlock, conv=self.conv, norm=self.norm, first_bias=self.first_bias, dtype=self.dtype)
        h = x.astype(self.dtype)
        for number, features in enumerate(self.widths):
            height = h.shape[1]
            if number == 0:
                h = self.stem(features, conv=self.conv, dtype=self.dtype)(h)
            else:
                resample, hidden = "down" if number < self.down else "none", features if self.wide else h.shape[-1]
                h = block(features, resample=resample, hidden=hidden)(h, train=train)
            if h.shape[1] in self.attention and h.shape[1] < height:
                h = SelfAttention(self.conv, self.dtype)(h)
        h = self.pool(h)
        self.sow("intermediates", "features", h)
        return self.head(self.dense, self.head_bias, name="head")(h, label)


# ---------------------------------------------------------------------------------- a hundred layers (WGAN-GP, 4.1)

DEPTHS = (6, 6, 6, 6, 5)  # blocks at each size, from the base on; with the blocks between sizes they make 101 layers


class BottleneckGenerator(nn.Module):
    """z [B,Z] (and labels [B,K], joined to it) to images [B,*shape] in [-1,1]: bottleneck blocks at each size, and one
    between sizes that doubles the sides.

    Channels fall from `width` times 8 to a half of `width` in five sizes.
    """

    shape: tuple[int, int, int]
    width: int = 64
    depths: tuple[int, ...] = DEPTHS
    norm: Callable = BatchNorm
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, label=None, *, train: bool):
        height, width = base(self.shape, len(self.depths) - 1)
        block = partial(BottleneckBlock, norm=self.norm, dtype=self.dtype)
        widths = bottleneck_widths(self.width, self.depths)
        start = nn.Dense(height * width * widths[0], kernel_init=glorot, dtype=self.dtype)
        h = start(concat_label(z, label).astype(self.dtype)).reshape(-1, height, width, widths[0])
        for level, (features, depth) in enumerate(zip(widths, self.depths, strict=True)):
            if level:
                h = block(features, "up")(h, train=train)
            for _ in range(depth):
                h = block(features)(h, train=train)
        h = Conv(self.shape[-1], (1, 1), kernel_init=glorot, dtype=self.dtype)(h)
        return jnp.tanh(h.astype(jnp.float32) / 5.0)


class BottleneckDiscriminator(nn.Module):
    """Images [B,H,W,C] (and labels [B,K], as further channels) to logits [B]: the generator's blocks in reverse, then
    one linear function."""

    width: int = 64
    depths: tuple[int, ...] = DEPTHS
    norm: Callable = LayerNorm
    conv: Callable = Conv
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label=None, *, train: bool):
        block = partial(BottleneckBlock, conv=self.conv, norm=self.norm, dtype=self.dtype)
        widths = bottleneck_widths(self.width, self.depths)[::-1]
        x = concat_label(x, label).astype(self.dtype)
        h = self.conv(widths[0], (1, 1), kernel_init=glorot, dtype=self.dtype)(x)
        for level, (features, depth) in enumerate(zip(widths, self.depths[::-1], strict=True)):
            if level:
                h = block(features, "down")(h, train=train)
            for _ in range(depth):
                h = block(features)(h, train=train)
        h = flat(h)
        self.sow("intermediates", "features", h)
        return nn.Dense(1, kernel_init=glorot)(h)[:, 0] / 5.0


def bottleneck_widths(width: int, depths: tuple[int, ...]) -> list[int]:
    """Channels at each size, from the base on: 8, 4, 2, 1 and 1/2 times `width` for five sizes."""
    return [max(2, width * 2 ** (len(depths) - 1 - level) // 2) for level in range(len(depths))]
