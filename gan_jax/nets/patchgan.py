"""A discriminator that judges patches: fully convolutional, one logit for each overlapping window of the image (Isola
et al., 2016, arXiv:1611.07004, sections 3.2 and 6.1.2), and the norms that its generators share with it.

    side of a window    1    16    34    70   142   286
    layers              0     1     2     3     4     5
"""

from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from gan_jax.errors import InputError
from gan_jax.layers.conv import Conv
from gan_jax.layers.norm import instance_norm

PATCHES = {"1": 0, "16": 1, "34": 2, "70": 3, "142": 4, "286": 5}  # `layers`, by the side of a window
SLOPE = 0.2
weights = nn.initializers.normal(0.02)


def gains(rng, shape, dtype=jnp.float32):
    """Batch-norm gains N(1, 0.02)."""
    return 1.0 + weights(rng, shape, dtype)


class BatchNorm(nn.Module):
    """Batch norm as in these papers; what precedes it has no bias."""

    dtype: Dtype = jnp.float32
    bias = False

    @nn.compact
    def __call__(self, h, *, train: bool):
        settings = {"momentum": 0.9, "epsilon": 1e-5, "scale_init": gains, "dtype": self.dtype}
        return nn.BatchNorm(use_running_average=not train, **settings)(h)


class InstanceNorm(nn.Module):
    """Instance norm without parameters; what precedes it has a bias, though it has no effect."""

    dtype: Dtype = jnp.float32
    bias = True

    def __call__(self, h, *, train: bool):
        return instance_norm(h, epsilon=1e-5)


class Unchanged(nn.Module):
    """What stands in the place of a norm in a network without one."""

    dtype: Dtype = jnp.float32
    bias = True

    def __call__(self, h, *, train: bool):
        return h


NORMS: dict[str, type[nn.Module]] = {"batch": BatchNorm, "instance": InstanceNorm, "none": Unchanged}


def strides(layers: int) -> list[tuple[int, int]]:
    """(kernel, stride) of every convolution, from the image to the logits."""
    if layers == 0:
        return [(1, 1)] * 3
    return [(4, 2)] * layers + [(4, 1)] * 2


def window(layers: int) -> int:
    """The side of the square of pixels that one logit depends on."""
    side = 1
    for kernel, stride in reversed(strides(layers)):
        side = (side - 1) * stride + kernel
    return side


def check_size(layers: int, height: int, width: int) -> None:
    """Raises InputError for images of which no logit would be left."""
    fitting = [int(side) for side, depth in PATCHES.items() if not depth or min(height, width) >> depth >= 3]
    if window(layers) not in fitting:
        raise InputError(
            f"config.model.patch={window(layers)} is for larger images than {height}x{width}: at most {max(fitting)}"
        )


class PatchGAN(nn.Module):
    """Images [B, H, W, C] to logits [B, h, w], one for each window of `window(layers)` pixels a side.

    Channels start at `width` and double from one convolution to the next, up to 8 times this. No norm after the first
    and the last.
    """

    layers: int = 3
    width: int = 64
    norm: type[nn.Module] = BatchNorm
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        *hidden, last = strides(self.layers)
        settings = {"kernel_init": weights, "dtype": self.dtype}
        conv = partial(Conv, **settings)
        h = x.astype(self.dtype)
        for level, (kernel, stride) in enumerate(hidden):
            size = {"kernel_size": (kernel, kernel), "strides": (stride, stride), "padding": padding(kernel)}
            h = conv(self.width * min(2**level, 8), use_bias=level == 0 or self.norm.bias, **size)(h)
            h = self.norm(self.dtype)(h, train=train) if level else h
            h = nn.leaky_relu(h, SLOPE)
        self.sow("intermediates", "features", h)
        return conv(1, (last[0],) * 2, padding=padding(last[0]))(h).astype(jnp.float32)[..., 0]


def padding(kernel: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """One pixel at each side, also where the stride is 1 and an image shrinks by one; none around single pixels."""
    return ((kernel // 4, kernel // 4),) * 2
