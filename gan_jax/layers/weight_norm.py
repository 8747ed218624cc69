"""Weight normalisation with data-dependent initialisation (Salimans and Kingma, 2016, arXiv:1602.07868).

A layer computes `scale * (x * kernel / |kernel|) + bias`, the length taken over each unit's own weights, so that an
update of the kernel turns its direction and leaves its length to `scale`. At the start, scale and bias are chosen so
that on the batch that the module is initialised with every unit has mean 0 and the standard deviation `deviation`: an
`init` of a network is a look at data, layer after layer.

The scale is a parameter (`learn_scale`) or stands still in a collection of its own, "weight_norm", which no optimiser
sees, as in the code of Salimans et al., 2016 (arXiv:1606.03498), where only a network's last layer learns it.
"""

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from gan_jax.layers.conv import Padding, conv, conv_transpose


class WeightNormDense(nn.Module):
    """x [B, F] to [B, features]. A `deviation` of None starts from scale 1 and bias 0, whatever the data."""

    features: int
    learn_scale: bool = False
    deviation: float | None = 1.0
    kernel_init: Initializer = nn.initializers.normal(0.05)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        return _normalised(self, x, jnp.matmul, (x.shape[-1], self.features))


class WeightNormConv(nn.Module):
    """x [B,H,W,C] to [B,h,w,features], one scale and one bias for each feature."""

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Padding = "SAME"
    learn_scale: bool = False
    deviation: float | None = 1.0
    kernel_init: Initializer = nn.initializers.normal(0.05)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        def product(x, kernel):
            return conv(x, kernel, self.strides, self.padding)

        return _normalised(self, x, product, (*self.kernel_size, x.shape[-1], self.features))


class WeightNormConvTranspose(nn.Module):
    """The same of a transposed convolution, padded as `lax.conv_transpose` understands it."""

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Padding = "SAME"
    learn_scale: bool = False
    deviation: float | None = 1.0
    kernel_init: Initializer = nn.initializers.normal(0.05)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        def product(x, kernel):
            return conv_transpose(x, kernel, self.strides, self.padding)

        return _normalised(self, x, product, (*self.kernel_size, x.shape[-1], self.features))


def _normalised(layer: nn.Module, x, product, shape: tuple[int, ...]):
    """The layer's output for `product(x, kernel)`, a linear map of both whose last axis is the layer's features."""
    kernel, x = layer.param("kernel", layer.kernel_init, shape), x.astype(layer.dtype)
    squares = jnp.sum(kernel**2, axis=tuple(range(kernel.ndim - 1)), keepdims=True)
    direction = kernel / jnp.sqrt(jnp.maximum(squares, 1e-12))

    def wide(vector, ndim):
        return vector.reshape(*[1] * (ndim - 1), -1)

    scale, bias = jnp.ones(layer.features), jnp.zeros(layer.features)
    if layer.is_initializing() and layer.deviation is not None:
        seen = product(x, direction.astype(layer.dtype)).astype(jnp.float32).reshape(-1, layer.features)
        spread = seen.std(axis=0)
        scale = layer.deviation / jnp.where(spread > 1e-6, spread, 1.0)  # a unit that nothing moves keeps its length
        bias = -seen.mean(axis=0) * scale
    if layer.learn_scale:
        scale = layer.param("scale", lambda rng, start=scale: start)
    else:
        scale = layer.variable("weight_norm", "scale", lambda start=scale: start).value
    bias = layer.param("bias", lambda rng, start=bias: start)
    y = product(x, (direction * wide(scale, kernel.ndim)).astype(layer.dtype))
    return y + wide(bias, y.ndim).astype(layer.dtype)
