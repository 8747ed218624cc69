"""Maxout units (Goodfellow, Warde-Farley, Mirza, Courville, Bengio, 2013, arXiv:1302.4389)."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer


def uniform(bound: float) -> Initializer:
    """Weights uniform on [-bound, bound]; flax's own initialiser of that name starts at 0."""

    def init(rng, shape, dtype=jnp.float32):
        return jax.random.uniform(rng, shape, dtype, minval=-bound, maxval=bound)

    return init


class Maxout(nn.Module):
    """x [B, F] to [B, units]: each unit is the largest of `pieces` affine functions."""

    units: int
    pieces: int
    kernel_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        h = nn.Dense(self.units * self.pieces, kernel_init=self.kernel_init, dtype=self.dtype)(x)
        return h.reshape(*x.shape[:-1], self.units, self.pieces).max(axis=-1)
