"""Plain multilayer perceptrons, for points in the plane and as the smallest pair of players for anything else."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from gan_jax.layers import statistics
from gan_jax.layers.conditional import concat_label
from gan_jax.layers.noise import Disturbance

he_uniform = nn.initializers.variance_scaling(2.0, "fan_in", "uniform")


class Generator(nn.Module):
    """z [B, Z] (and labels [B, K]) to samples [B, *shape].

    `squash` is the last nonlinearity: `jnp.tanh` for images in [-1, 1], None for points. Dropout and Gaussian noise
    disturb the hidden layers in training.
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (128, 128, 128)
    activation: Callable = nn.relu
    squash: Callable | None = None
    dropout: float = 0.0
    noise: float = 0.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, label=None, *, train: bool):
        h = concat_label(z, label).astype(self.dtype)
        for width in self.widths:
            h = self.activation(nn.Dense(width, kernel_init=he_uniform, dtype=self.dtype)(h))
            h = Disturbance(self.dropout, self.noise)(h, train=train)
        x = nn.Dense(math.prod(self.shape), kernel_init=he_uniform, dtype=self.dtype)(h).astype(jnp.float32)
        x = self.squash(x) if self.squash else x
        return x.reshape(-1, *self.shape)


class Discriminator(nn.Module):
    """Samples [B, ...] (and labels [B, K]) to logits [B].

    `statistics` makes what is applied to the last hidden layer: see `layers.statistics.BY_NAME`.
    """

    widths: tuple[int, ...] = (128, 128, 128)
    activation: Callable = nn.relu
    statistics: Callable = statistics.BY_NAME["none"]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label=None, *, train: bool):
        h = concat_label(x.reshape(x.shape[0], -1), label).astype(self.dtype)
        for width in self.widths:
            h = self.activation(nn.Dense(width, kernel_init=he_uniform, dtype=self.dtype)(h))
        h = self.statistics()(h)
        self.sow("intermediates", "features", h)
        return nn.Dense(1, kernel_init=he_uniform, dtype=self.dtype)(h).astype(jnp.float32)[:, 0]
