"""Layers with an equalised learning rate (Karras et al., 2017, arXiv:1710.10196, section 4.1).

Weights are stored with deviation 1 and multiplied by gain / sqrt(fan_in) wherever they are used. The outputs are those
of He's initialisation, but an optimiser that normalises its steps moves every weight at the same relative speed. Biases
start at 0.

A convolution may double or halve the sides of its input. Each way of doing so is a function of (x, kernel) and comes in
two forms of the same value: one operation after the other, or fused into a kernel that is larger by one, at about half
of the multiplications.
"""

import math
from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype
from jaxtyping import Array, Float

from gan_jax.layers.conv import conv
from gan_jax.layers.resample import average_pool, depth_to_space, nearest, space_to_depth

GAIN = 2.0**0.5  # of layers before a rectifier; 1 where none follows
Images = Float[Array, "batch height width channels"]
Kernel = Float[Array, "kh kw channels features"]
Resampled = Float[Array, "batch h w features"]


def plain(x: Images, kernel: Kernel) -> Resampled:
    """The convolution alone; zeros surround the image."""
    return conv(x, kernel)


def up(x: Images, kernel: Kernel) -> Resampled:
    """Every pixel becomes a square of four, then the convolution."""
    return plain(nearest(x), kernel)


def down(x: Images, kernel: Kernel) -> Resampled:
    """The convolution, then the mean of each square of four."""
    return average_pool(plain(x, kernel))


def fused_up(x: Images, kernel: Kernel) -> Resampled:
    """Equal to `up`, for kernels of 3x3: one convolution to the four phases of a pixel, which become a square.

    Squares are those between pixels: each depends on two pixels a side, so that there is one more of them.
    """
    cells = spread(kernel)[:, ::-1, :, ::-1].transpose(0, 2, 4, 1, 3, 5)
    cells = cells.reshape(2, 2, kernel.shape[2], -1)
    y = pairs(jnp.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0))), cells)
    return depth_to_space(y)[:, 1:-1, 1:-1]


def fused_down(x: Images, kernel: Kernel) -> Resampled:
    """Equal to `down`, for kernels of 3x3: one convolution of squares of four, as `fused_up` makes them."""
    cells = 0.25 * spread(kernel).transpose(0, 2, 1, 3, 4, 5)
    y = pairs(space_to_depth(jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))), cells.reshape(2, 2, -1, kernel.shape[3]))
    return y[:, :-1, :-1]


def pairs(x: Images, kernel: Kernel) -> Resampled:
    """The convolution of every pixel with those after it, as large as its input."""
    return conv(x, kernel, padding=((0, 1), (0, 1)))


def spread(kernel: Kernel) -> Float[Array, "2 2 2 2 channels features"]:
    """The sum of a 3x3 kernel's four shifts by 0 or 1 pixels along each side, 4x4, cut into squares of four: [square,
    row of it, square, column of it, ...]."""
    shifts = [((i, 1 - i), (j, 1 - j), (0, 0), (0, 0)) for i in (0, 1) for j in (0, 1)]
    return sum(jnp.pad(kernel, shift) for shift in shifts).reshape(2, 2, 2, 2, *kernel.shape[2:])


def biased(layer: nn.Module, x: Float[Array, "*shape"], rate: float = 1.0) -> Float[Array, "*shape"]:
    """`x` plus the layer's parameter `bias`, one for each channel, at this multiple of the learning rate."""
    bias = layer.param("bias", nn.initializers.zeros_init(), x.shape[-1:])
    return x + (rate * bias).astype(x.dtype).reshape(*[1] * (x.ndim - 1), -1)


class ScaledDense(nn.Module):
    """x [..., F] to [..., features]; of images, a convolution of one pixel.

    rate: multiplies the learning rate of this layer: weights are stored with deviation 1 / rate and scaled by rate, so
      the outputs at the start do not depend on it (Karras et al., 2018, arXiv:1812.04948, appendix C).
    """

    features: int
    gain: float = GAIN
    rate: float = 1.0
    use_bias: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.normal(1.0 / self.rate), (x.shape[-1], self.features))
        kernel = self.rate * self.gain / math.sqrt(x.shape[-1]) * kernel
        y = x.astype(self.dtype) @ kernel.astype(self.dtype)
        return biased(self, y, self.rate) if self.use_bias else y


class ScaledConv(nn.Module):
    """x [B,H,W,C] to [B,h,w,features] by one of the functions above, with a square kernel."""

    features: int
    form: Callable[[Array, Array], Array] = plain
    size: int = 3
    gain: float = GAIN
    use_bias: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.normal(1.0), shape)
        kernel = self.gain / math.sqrt(math.prod(shape[:-1])) * kernel
        y = self.form(x.astype(self.dtype), kernel.astype(self.dtype))
        return biased(self, y) if self.use_bias else y
