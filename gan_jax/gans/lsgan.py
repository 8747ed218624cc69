"""Least Squares Generative Adversarial Networks (Mao, Li, Xie, Lau, Wang, Smolley, 2016, arXiv:1611.04076).

The classical game with a linear discriminator that regresses fakes to `a` and reals to `b`, and a generator that wants
its fakes at `c`. A sample on the right side of the boundary but far from it still costs something, so gradients do not
vanish. With b - c = 1 and b - a = 2 the generator minimises a Pearson chi^2 divergence.

Networks of the paper, by `config.model.nets`:

    lsun         3x3 transposed convolutions, in pairs at low resolution, against DCGAN's discriminator (`vgg.py`)
    characters   conditional, for thousands of classes: a linear map takes the one-hot label to 256 numbers, which are
                 joined to several layers; each player has a map of its own (`mcgan.py`)
    stability    DCGAN's pair with a large latent, with or without batch norm in either player
    toy          two hidden layers of 128 hyperbolic tangents, for points
    mlp          the perceptrons that all of the library's toys share

Where we differ: the authors' code sums over the batch where we take the mean (`tf.nn.l2_loss`; Adam and RMSProp do not
mind) and its toy halves once more. The characters' generator ends in a sigmoid stretched to [-1, 1], as the
discriminator sees images in that range. The stability networks are the library's DCGAN: no bias before batch norm.

Numbers to expect: the paper has pictures only. On the ring 6 to 7 of 8 modes, with sharper samples than the
non-saturating game gives with the same networks.
"""

import math
from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from gan_jax import config as base
from gan_jax import losses
from gan_jax.contract import Stage
from gan_jax.errors import InputError, choose
from gan_jax.gans import dcgan
from gan_jax.gans.gan import labelled, two_player
from gan_jax.layers.conditional import concat_label
from gan_jax.layers.conv import Conv, ConvTranspose
from gan_jax.nets import mlp

weights = nn.initializers.normal(0.02)  # of dense and transposed layers (`ops.py`)
truncated = nn.initializers.truncated_normal(0.02)  # and of convolutions
orthogonal = nn.initializers.orthogonal(1.4)  # of the toy's (`mixture_gaussian/ls.py`)


def norm(train: bool, dtype) -> nn.BatchNorm:
    """Batch norm as in `ops.py`."""
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=dtype)


def divisible(shape: tuple[int, ...], by: int, nets: str) -> None:
    """Raises InputError where an image cannot be halved as often as these networks do."""
    if shape[0] % by or shape[1] % by:
        near = tuple(max(by, by * round(side / by)) for side in shape[:2])
        raise InputError(
            f"config.data.resolution=({shape[0]}, {shape[1]}): the networks '{nets}' (config.model.nets) need "
            f"multiples of {by}; the nearest are {near}"
        )


# ------------------------------------------------------------------------------------------- scenes (`vgg.py`)


class Generator(nn.Module):
    """z [B, 1024] to images [B, *shape] in [-1, 1]: two 3x3 layers at each of the two resolutions above the base, one
    at the others."""

    shape: tuple[int, int, int]
    width: int = 64  # the authors' gf_dim: a quarter of the channels near the base
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, *, train: bool):
        height, width, channels = self.shape
        deconv = partial(ConvTranspose, kernel_size=(3, 3), kernel_init=weights, dtype=self.dtype)
        wide, h = 4 * self.width, z.astype(self.dtype)
        h = nn.Dense(height // 16 * (width // 16) * wide, kernel_init=weights, dtype=self.dtype)(h)
        h = nn.relu(norm(train, self.dtype)(h.reshape(-1, height // 16, width // 16, wide)))
        layers = [(wide, 2), (wide, 1), (wide, 2), (wide, 1), (2 * self.width, 2), (self.width, 2)]
        for features, stride in layers:
            h = nn.relu(norm(train, self.dtype)(deconv(features, strides=(stride, stride))(h)))
        return jnp.tanh(deconv(channels)(h).astype(jnp.float32))


class Discriminator(nn.Module):
    """Images [B, H, W, C] to logits [B]: DCGAN's, with biases."""

    width: int = 64
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        h = x.astype(self.dtype)
        for level in range(4):
            h = downwards(self.width * 2**level, self.dtype)(h)
            h = nn.leaky_relu(norm(train, self.dtype)(h) if level else h, 0.2)
        h = h.reshape(h.shape[0], -1)
        self.sow("intermediates", "features", h)
        return nn.Dense(1, kernel_init=weights, dtype=self.dtype)(h).astype(jnp.float32)[:, 0]


def downwards(features: int, dtype) -> Conv:
    return Conv(features, (5, 5), strides=(2, 2), padding="SAME", kernel_init=truncated, dtype=dtype)


# --------------------------------------------------------------------- characters of many classes (`mcgan.py`)


class CharacterGenerator(nn.Module):
    """z [B, 1024] and labels [B, K] to images [B, *shape] in [-1, 1]; `coded` numbers say the class."""

    shape: tuple[int, int, int]
    width: int = 128
    coded: int = 256
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, label, *, train: bool):
        dense = partial(nn.Dense, kernel_init=weights, dtype=self.dtype)
        deconv = partial(ConvTranspose, kernel_size=(5, 5), strides=(2, 2), kernel_init=weights, dtype=self.dtype)
        height, width, channels = self.shape
        code = dense(self.coded, name="code")(label)
        h = dense(height // 4 * (width // 4) * self.width)(concat_label(z.astype(self.dtype), code))
        h = nn.relu(norm(train, self.dtype)(h)).reshape(-1, height // 4, width // 4, self.width)  # normed per unit
        h = nn.relu(norm(train, self.dtype)(deconv(self.width)(h)))
        return jnp.tanh(deconv(channels)(h).astype(jnp.float32) / 2)  # a sigmoid, stretched to [-1, 1]


class CharacterDiscriminator(nn.Module):
    """Images [B, H, W, C] and labels [B, K] to logits [B]: the class is told to every layer but the first."""

    width: int = 64
    hidden: int = 1024
    coded: int = 256
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label, *, train: bool):
        dense = partial(nn.Dense, kernel_init=weights, dtype=self.dtype)
        code = dense(self.coded, name="code")(label)
        h = nn.leaky_relu(downwards(x.shape[-1] + self.coded, self.dtype)(x.astype(self.dtype)), 0.2)
        h = downwards(self.width + self.coded, self.dtype)(concat_label(h, code))
        h = nn.leaky_relu(norm(train, self.dtype)(h), 0.2).reshape(x.shape[0], -1)
        h = nn.leaky_relu(norm(train, self.dtype)(dense(self.hidden)(concat_label(h, code))), 0.2)
        self.sow("intermediates", "features", h)
        return dense(1)(concat_label(h, code)).astype(jnp.float32)[:, 0]


# ------------------------------------------------------------------------------- points (`mixture_gaussian/ls.py`)


class ToyGenerator(nn.Module):
    """z [B, Z] to points [B, *shape]."""

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (128, 128)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, *, train: bool):
        h = z.astype(self.dtype)
        for width in self.widths:
            h = jnp.tanh(nn.Dense(width, kernel_init=orthogonal, dtype=self.dtype)(h))
        x = nn.Dense(math.prod(self.shape), kernel_init=orthogonal, dtype=self.dtype)(h)
        return x.astype(jnp.float32).reshape(-1, *self.shape)


class ToyDiscriminator(nn.Module):
    """Points [B, ...] to logits [B]."""

    widths: tuple[int, ...] = (128, 128)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        return ToyGenerator((1,), self.widths, self.dtype, name="points")(x.reshape(x.shape[0], -1), train=train)[:, 0]


# ----------------------------------------------------------------------------------------------- from a config


def stages(config) -> tuple[Stage, ...]:
    """One stage: the classical game with targets instead of probabilities."""
    model = config.model
    nets = choose(model.nets, NETS, "networks (config.model.nets)")
    loss = losses.build("least_squares", real_label=model.real_label, a=model.a, b=model.b, c=model.c)
    players = nets(config, base.example_shape(config.data), jnp.dtype(config.dtype))
    return (Stage("adversarial", two_player(config, *players, loss=loss), config.steps, config.batch_size),)


def pictured(config, conditional: bool) -> None:
    """Raises InputError where these networks cannot have such data."""
    nets, data = config.model.nets, config.data
    if data.domain != "image":
        raise InputError(
            f"the networks '{nets}' (config.model.nets) make images, and '{data.name}' holds {data.domain}s"
        )
    if config.model.conditional != conditional:
        raise InputError(f"config.model.conditional must be {conditional} with config.model.nets='{nets}'")


def scenes(config, shape, dtype):
    pictured(config, conditional=False)
    divisible(shape, 16, "lsun")
    return Generator(shape, config.model.g_width, dtype), Discriminator(config.model.d_width, dtype)


def characters(config, shape, dtype):
    pictured(config, conditional=True)
    divisible(shape, 4, "characters")
    labelled(config)
    model = config.model
    generator = CharacterGenerator(shape, model.g_width, model.coded, dtype)
    return generator, CharacterDiscriminator(model.d_width, model.hidden, model.coded, dtype)


def stability(config, shape, dtype):
    pictured(config, conditional=False)
    dcgan.levels(*shape[:2])
    g_norm, d_norm = (
        choose(config.model[key], dcgan.NORMS, f"norm (config.model.{key})") for key in ("g_norm", "d_norm")
    )
    generator = dcgan.Generator(shape, config.model.g_width, kernel=5, norm=g_norm, dtype=dtype)
    return generator, dcgan.Discriminator(config.model.d_width, kernel=5, norm=d_norm, dtype=dtype)


def toy(config, shape, dtype):
    widths = tuple(config.model.widths)
    return ToyGenerator(shape, widths, dtype), ToyDiscriminator(widths, dtype)


def perceptrons(config, shape, dtype):
    widths, squash = tuple(config.model.widths), jnp.tanh if config.data.domain == "image" else None
    return mlp.Generator(shape, widths, squash=squash, dtype=dtype), mlp.Discriminator(widths, dtype=dtype)


NETS = {"lsun": scenes, "characters": characters, "stability": stability, "toy": toy, "mlp": perceptrons}
