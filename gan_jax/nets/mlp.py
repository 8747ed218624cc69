"""Plain multilayer perceptrons, for points in the plane and as the smallest pair of players for anything else."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from gan_jax.layers.conditional import concat_label

he_uniform = nn.initializers.variance_scaling(2.0, "fan_in", "uniform")


class Generator(nn.Module):
    """z [B, Z] (and labels [B, K]) to samples [B, *shape].

    `squash` is the last nonlinearity: `jnp.tanh` for images in [-1, 1], None for points.
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (128, 128, 128)
    activation: Callable = nn.relu
    squash: Callable | None = None
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, label=None, *, train: bool):
        h = concat_label(z, label).astype(self.dtype)
        for width in self.widths:
            h = self.activation(nn.Dense(width, kernel_init=he_uniform, dtype=self.dtype)(h))
        x = nn.Dense(math.prod(self.shape), kernel_init=he_uniform, dtype=self.dtype)(h).astype(jnp.float32)
        x = self.squash(x) if self.squash else x
        return x.reshape(-1, *self.shape)


class Discriminator(nn.Module):
    """Samples [B, ...] (and labels [B, K]) to logits [B]."""

    widths: tuple[int, ...] = (128, 128, 128)
    activation: Callable = nn.relu
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label=None, *, train: bool):
        h = concat_label(x.reshape(x.shape[0], -1), label).astype(self.dtype)
        for width in self.widths:
            h = self.activation(nn.Dense(width, kernel_init=he_uniform, dtype=self.dtype)(h))
        return nn.Dense(1, kernel_init=he_uniform, dtype=self.dtype)(h).astype(jnp.float32)[:, 0]
