"""Normalisations with one signature, `norm()(x, condition, train=...)`, so that a network can take any as a value."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float


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
        def of_class(name, start):
            return nn.Dense(x.shape[-1], use_bias=False, kernel_init=start, dtype=self.dtype, name=name)(condition)

        normalised = statistics(self, x, condition is None, train)
        if condition is None:
            return normalised
        gain, bias = of_class("gain", nn.initializers.ones), of_class("bias", nn.initializers.zeros)
        return normalised * everywhere(gain, x) + everywhere(bias, x)


class ConditionalBatchNorm(nn.Module):
    """Batch norm of x [B, ..., C]; with a condition c [B, K] its gains are 1 + W c and its biases V c.

    What is told may be anything: an embedding of the class, a part of the latent, both (Brock et al., 2018,
    arXiv:1809.11096, section 3.1). `dense` makes W and V; they have no biases of their own.
    """

    dense: Callable = nn.Dense
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, condition=None, *, train: bool):
        def linear(name):
            return self.dense(x.shape[-1], use_bias=False, dtype=self.dtype, name=name)(condition)

        normalised = statistics(self, x, condition is None, train)
        if condition is None:
            return normalised
        return normalised * (1.0 + everywhere(linear("gain"), x)) + everywhere(linear("bias"), x)


def statistics(layer: nn.Module, x, plain: bool, train: bool):
    """x [B, ..., C] normalised per channel, within `layer`; a plain one has a gain and a bias for each channel too."""
    settings = {"momentum": layer.momentum, "epsilon": layer.epsilon, "dtype": layer.dtype}
    return nn.BatchNorm(not train, use_scale=plain, use_bias=plain, **settings, name="statistics")(x)


def everywhere(told, x):
    """What is told of each example, [B, C], as it applies to all places of x [B, ..., C]."""
    return told.reshape(x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])


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


def pixel_norm(x: Float[Array, "*shape channels"], epsilon: float = 1e-8) -> Float[Array, "*shape channels"]:
    """Each feature vector with a mean square of 1 (Karras et al., 2017, arXiv:1710.10196, section 4.2)."""
    h = x.astype(jnp.float32)
    return (h / jnp.sqrt(jnp.mean(h**2, axis=-1, keepdims=True) + epsilon)).astype(x.dtype)


def instance_norm(
    x: Float[Array, "batch height width channels"], epsilon: float = 1e-8
) -> Float[Array, "batch height width channels"]:
    """Each channel of each example with mean 0 and variance 1 over its positions (Ulyanov et al., 2016,
    arXiv:1607.08022)."""
    h = x.astype(jnp.float32)
    h = h - h.mean(axis=(1, 2), keepdims=True)
    return (h / jnp.sqrt(jnp.mean(h**2, axis=(1, 2), keepdims=True) + epsilon)).astype(x.dtype)


BY_NAME: dict[str, Callable] = {"batch": BatchNorm, "layer": LayerNorm, "none": Unchanged}
