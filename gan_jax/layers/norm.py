"""Normalisations with one signature, `norm()(x, condition, train=...)`, so that a network can take any as a value."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype


class BatchNorm(nn.Module):
    """Batch norm of x [B, ..., C]; with a condition [B, K] each class has gains and biases of its own.

    The statistics are those of the whole batch, whatever the classes. A condition is a one-hot label, or any mixture of
    classes, whose gains and biases are then mixed (Dumoulin et al., 2016, arXiv:1610.07629; de Vries et al., 2017,
    arXiv:1707.00683). At the start all classes are alike: gains 1, biases 0.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, condition=None, *, train: bool):
        plain = condition is None
        settings = {"momentum": self.momentum, "epsilon": self.epsilon, "dtype": self.dtype}
        normalised = nn.BatchNorm(not train, use_scale=plain, use_bias=plain, **settings, name="statistics")(x)
        if plain:
            return normalised

        def of_class(name, start):
            table = nn.Dense(x.shape[-1], use_bias=False, kernel_init=start, dtype=self.dtype, name=name)
            return table(condition).reshape(x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])

        return normalised * of_class("gain", nn.initializers.ones) + of_class("bias", nn.initializers.zeros)


class LayerNorm(nn.Module):
    """Each example of x [B, ..., C] normalised over all of its axes, then a gain and a bias for each channel.

    For critics under a gradient penalty, which batch norm is not compatible with (Gulrajani et al., 2017, section 4). A
    condition is not used.
    """

    epsilon: float = 1e-5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, condition=None, *, train: bool):
        axes = tuple(range(1, x.ndim))
        return nn.LayerNorm(
            self.epsilon, reduction_axes=axes, feature_axes=-1, use_fast_variance=False, dtype=self.dtype
        )(x)


class Unchanged(nn.Module):
    """What stands in the place of a norm in a network without one."""

    dtype: Dtype = jnp.float32

    def __call__(self, x, condition=None, *, train: bool):
        return x


BY_NAME: dict[str, Callable] = {"batch": BatchNorm, "layer": LayerNorm, "none": Unchanged}
