"""The networks of LAPGAN's levels (Denton et al., 2015, arXiv:1506.05751), as the authors' scripts have them.

Generators take noise, the low-pass image [B, H, W, C] and perhaps a one-hot label [B, K], and give what is to be added
to that image; discriminators take the whole image. All outputs are linear.

    coarsest    dense, from a vector of noise; there is no low-pass image to look at
    conv        three convolutions against two: CIFAR-10, and LSUN's `small` with 128 and 64 channels
    grouped     LSUN's `large`
    dense       LSUN's `full`, for levels that are too small for the others
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from gan_jax.errors import InputError, choose
from gan_jax.layers.conditional import concat_label
from gan_jax.layers.conv import conv as convolve
from gan_jax.layers.maxout import uniform


class Named(nn.Module):
    """A network whose parameters lie under `level`: stages carry parameters over by their path, and each level is to
    start afresh."""

    level: str
    make: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, *inputs, train: bool):
        return self.make(name=self.level)(*inputs, train=train)


class Dense(nn.Module):
    """`flax.linen.Dense` that starts as Torch's: weights and biases uniform within 1 / sqrt(fan-in); or, given the
    deviation of its weights, from normal ones and biases of zero."""

    features: int
    deviation: float | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        kernel, bias = uniform(x.shape[-1] ** -0.5), uniform(x.shape[-1] ** -0.5)
        if self.deviation is not None:
            kernel, bias = nn.initializers.normal(self.deviation), nn.initializers.zeros_init()
        return nn.Dense(self.features, kernel_init=kernel, bias_init=bias, dtype=self.dtype)(x)


class Conv(nn.Module):
    """A convolution, x [B, H, W, C] to [B, h, w, features], in `groups`, that starts as Torch's.

    The groups are convolutions of their own: where a batch is split over devices, a grouped one would be gathered.
    """

    features: int
    size: int
    stride: int = 1
    groups: int = 1
    padding: str = "SAME"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        fan_in = self.size**2 * x.shape[-1] // self.groups
        start: Initializer = uniform(fan_in**-0.5)
        kernel = self.param("kernel", start, (self.size, self.size, x.shape[-1] // self.groups, self.features))
        bias = self.param("bias", start, (self.features,)).astype(self.dtype)
        pieces = zip(
            jnp.split(x.astype(self.dtype), self.groups, axis=-1),
            jnp.split(kernel.astype(self.dtype), self.groups, axis=-1),
            strict=True,
        )
        strides = (self.stride, self.stride)
        made = [convolve(a, k, strides, self.padding) for a, k in pieces]
        return jnp.concatenate(made, axis=-1) + bias.reshape(1, 1, 1, -1)


def class_plane(label, size: tuple[int, int], dtype: Dtype):
    """One-hot labels [B, K] to one learned map each, [B, H, W, 1]. To be called inside a compact module."""
    return nn.relu(Dense(math.prod(size), dtype=dtype)(label)).reshape(-1, *size, 1)


def with_plane(x, label, dtype: Dtype):
    """x [B, H, W, C] with a map of the label as a further channel; without a label, x itself."""
    x = x.astype(dtype)
    return x if label is None else jnp.concatenate([x, class_plane(label, x.shape[1:3], dtype)], axis=-1)


class DenseGenerator(nn.Module):
    """Noise, with what there is of a low-pass image and a label, through dense layers."""

    shape: tuple[int, int, int]
    widths: tuple[int, ...]
    activations: tuple[Callable, ...]
    sees_low: bool
    dropout: float = 0.0
    deviation: float | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, low, label=None, *, train: bool):
        seen = [z, low] if self.sees_low else [z]
        h = jnp.concatenate([part.reshape(part.shape[0], -1) for part in seen], axis=-1)
        h = concat_label(h, label).astype(self.dtype)
        for width, activation in zip(self.widths, self.activations, strict=True):
            h = activation(Dense(width, self.deviation, self.dtype)(h))
            h = nn.Dropout(self.dropout, deterministic=not train)(h)
        return Dense(math.prod(self.shape), self.deviation, self.dtype)(h).astype(jnp.float32).reshape(-1, *self.shape)


class DenseDiscriminator(nn.Module):
    """The image through dense layers."""

    widths: tuple[int, ...]
    dropout: tuple[float, ...]
    deviation: float | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label=None, *, train: bool):
        h = concat_label(x.reshape(x.shape[0], -1), label).astype(self.dtype)
        for width, dropout in zip(self.widths, self.dropout, strict=True):
            h = nn.relu(Dense(width, self.deviation, self.dtype)(h))
            h = nn.Dropout(dropout, deterministic=not train)(h)
        return Dense(1, self.deviation, self.dtype)(h).astype(jnp.float32)[:, 0]


class ConvGenerator(nn.Module):
    """Noise map, low-pass image and a map of the label through 7x7, 7x7 and 5x5 convolutions."""

    channels: int
    width: int = 64
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, low, label=None, *, train: bool):
        h = with_plane(jnp.concatenate([z, low], axis=-1), label, self.dtype)
        for _ in range(2):
            h = nn.relu(Conv(self.width, 7, dtype=self.dtype)(h))
        return Conv(self.channels, 5, dtype=self.dtype)(h).astype(jnp.float32)


class ConvDiscriminator(nn.Module):
    """The image and a map of the label through two 5x5 convolutions without padding, the second of stride 2."""

    width: int = 64
    dropout: float = 0.5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label=None, *, train: bool):
        h = with_plane(x, label, self.dtype)
        h = nn.relu(Conv(self.width, 5, padding="VALID", dtype=self.dtype)(h))
        h = nn.relu(Conv(self.width, 5, stride=2, padding="VALID", dtype=self.dtype)(h)).reshape(x.shape[0], -1)
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        return Dense(1, dtype=self.dtype)(h).astype(jnp.float32)[:, 0]


class GroupedGenerator(nn.Module):
    """Five convolutions, three of them grouped; batch norm without gains after each rectifier and on the output."""

    channels: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, low, label=None, *, train: bool):
        def normed(h):
            norm = nn.BatchNorm(not train, momentum=0.9, use_scale=False, use_bias=False, dtype=self.dtype)
            return norm(h)

        def dropped(h):  # whole channels
            return nn.Dropout(0.5, broadcast_dims=(1, 2), deterministic=not train)(h)

        h = with_plane(jnp.concatenate([z, low], axis=-1), label, self.dtype)
        h = normed(nn.relu(Conv(64, 7, dtype=self.dtype)(h)))
        h = dropped(normed(nn.relu(Conv(368, 7, groups=4, dtype=self.dtype)(h))))
        h = normed(nn.relu(Conv(128, 7, groups=4, dtype=self.dtype)(h)))
        h = jnp.sqrt(jnp.sum(h.reshape(*h.shape[:3], 64, 2) ** 2, axis=-1) + 1e-8)  # the root of 0 has no gradient
        h = dropped(normed(nn.relu(Conv(224, 5, groups=2, dtype=self.dtype)(h))))
        return normed(Conv(self.channels, 7, dtype=self.dtype)(h)).astype(jnp.float32)


class GroupedDiscriminator(nn.Module):
    """Three convolutions without padding, two of them grouped."""

    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label=None, *, train: bool):
        h = with_plane(x, label, self.dtype)
        for features, size, groups in ((48, 3, 1), (448, 5, 4), (416, 7, 16)):
            h = nn.relu(Conv(features, size, groups=groups, padding="VALID", dtype=self.dtype)(h))
        return Dense(1, dtype=self.dtype)(h.reshape(x.shape[0], -1)).astype(jnp.float32)[:, 0]


# ------------------------------------------------------------------------------------------------- pairs by name


class Pair(NamedTuple):
    """The two players of a level, as functions of `name`, and the shape of one example's noise."""

    generator: Callable[..., nn.Module]
    discriminator: Callable[..., nn.Module]
    noise: tuple[int, ...]


COARSEST = {  # the generator's second activation, and the deviations of both players' weights
    "sigmoid": (nn.sigmoid, 0.05, 0.005),  # `train_cifar.lua`
    "relu": (nn.relu, None, None),  # `train_cifar_classcond.lua`, and `small_18` of LSUN
}


def _named(module: type[nn.Module], **fields) -> Callable[..., nn.Module]:
    return lambda name: module(**fields, name=name)


def coarsest(shape, model, dtype: Dtype) -> Pair:
    """The pair that makes the smallest images [H, W, C] from noise alone."""
    last, g_std, d_std = choose(model.coarsest, COARSEST, "coarsest networks (config.model.coarsest)")
    g_widths, d_widths = tuple(model.g_hidden), tuple(model.d_hidden)
    shared = {"activations": (*[nn.relu] * (len(g_widths) - 1), last), "sees_low": False, "dtype": dtype}
    drop = (model.dropout,) * len(d_widths)
    return Pair(
        _named(DenseGenerator, shape=shape, widths=g_widths, deviation=g_std, **shared),
        _named(DenseDiscriminator, widths=d_widths, dropout=drop, deviation=d_std, dtype=dtype),
        (model.latent_size,),
    )


def dense(shape, model, dtype: Dtype) -> Pair:
    widths = tuple(model.dense_width // half for half in (1, 2) for _ in range(3))
    shared = {"activations": (nn.relu,) * 3, "sees_low": True, "dropout": 0.5, "dtype": dtype}
    return Pair(
        _named(DenseGenerator, shape=shape, widths=widths[:3], **shared),
        _named(DenseDiscriminator, widths=widths[3:], dropout=(0.0, 0.5, 0.5), dtype=dtype),
        (*shape[:2], 1),
    )


def conv(shape, model, dtype: Dtype) -> Pair:
    _check_side(shape, 9, "conv")
    return Pair(
        _named(ConvGenerator, channels=shape[-1], width=model.g_width, dtype=dtype),
        _named(ConvDiscriminator, width=model.d_width, dropout=model.dropout_conv, dtype=dtype),
        (*shape[:2], 1),
    )


def grouped(shape, model, dtype: Dtype) -> Pair:
    _check_side(shape, 13, "grouped")
    return Pair(
        _named(GroupedGenerator, channels=shape[-1], dtype=dtype),
        _named(GroupedDiscriminator, dtype=dtype),
        (*shape[:2], 1),
    )


def _check_side(shape, smallest: int, name: str) -> None:
    if min(shape[:2]) < smallest:
        raise InputError(
            f"config.model.nets: '{name}' convolves without padding and needs sides of at least {smallest} pixels, and "
            f"a level has {shape[0]}x{shape[1]}; use 'dense' there"
        )


BY_NAME: dict[str, Callable] = {"conv": conv, "grouped": grouped, "dense": dense}
