"""Residual blocks of generators and critics, of which other networks are stacks.

Layers are values: `conv` takes the arguments of `flax.linen.Conv`, `norm` those of `layers.norm`. So WGAN-GP stacks
these blocks with plain convolutions that are fast under a gradient penalty, SNGAN with spectrally normalised ones.

The 1x1 convolution of a shortcut commutes with averaging and with doubling. It stands where the image is small,
wherever the authors' code has it: the same function, a quarter of the work.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from gan_jax.layers.conv import Conv, ConvTranspose
from gan_jax.layers.norm import BatchNorm, Unchanged
from gan_jax.layers.resample import average_pool, depth_to_space, every_other, nearest


def fan_average(scale: float, down: int = 1, up: int = 1) -> Initializer:
    """Kernels uniform, of variance `scale` over the mean of fan-in and fan-out: 1 is Glorot's, 2 a gain of sqrt(2).

    A convolution of stride `down` has its fan-out divided by the square of that, a transposed one of stride `up` its
    fan-in (the authors' code of WGAN-GP).
    """

    def init(rng, shape, dtype=jnp.float32):
        taps = math.prod(shape[:-2])
        fans = taps * (shape[-2] / up**2 + shape[-1] / down**2)
        bound = math.sqrt(6.0 * scale / fans)
        return jax.random.uniform(rng, shape, dtype, minval=-bound, maxval=bound)

    return init


glorot, boosted = fan_average(1.0), fan_average(2.0)


def initialised(layer: Callable, kernel_init: Initializer) -> Callable:
    """The layer with these kernels, whatever a network asks for: papers that share blocks differ in them."""
    return lambda *args, **settings: layer(*args, **{**settings, "kernel_init": kernel_init})


def same(x):
    return x


RESAMPLE = {  # before the first convolution, after the second, and on the shortcut before and after its own
    "none": (same, same, same, same),
    "up": (nearest, same, same, nearest),
    "down": (same, average_pool, average_pool, same),
}


class ResidualBlock(nn.Module):
    """x [B,H,W,C] to [B,h,w,features]: norm, rectifier and 3x3 convolution, twice, added to a shortcut.

    The sides are doubled before the first convolution ("up") or halved after the second ("down"). The shortcut is x
    itself where neither sides nor channels change, else a 1x1 convolution of it.
    """

    features: int
    resample: str = "none"
    hidden: int | None = None  # channels between the convolutions; None: `features`
    conv: Callable = Conv
    norm: Callable = BatchNorm
    first_bias: bool = True  # of the first convolution, after which a norm may make it idle
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, condition=None, *, train: bool):
        before, after, first, last = RESAMPLE[self.resample]
        conv, norm = partial(self.conv, dtype=self.dtype), partial(self.norm, dtype=self.dtype)
        h = before(nn.relu(norm()(x, condition, train=train)))
        h = conv(self.hidden or self.features, (3, 3), use_bias=self.first_bias, kernel_init=boosted)(h)
        h = nn.relu(norm()(h, condition, train=train))
        h = after(conv(self.features, (3, 3), kernel_init=boosted)(h))
        if self.resample == "none" and x.shape[-1] == self.features:
            return x + h
        return last(conv(self.features, (1, 1), kernel_init=glorot, name="shortcut")(first(x))) + h


class FirstBlock(nn.Module):
    """Images [B,H,W,C] to [B,H/2,W/2,features]: the block that a critic begins with.

    No norm and no rectifier stand before the first convolution: pixels are not to be rectified.
    """

    features: int
    conv: Callable = Conv
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        conv = partial(self.conv, self.features, dtype=self.dtype)
        h = nn.relu(conv((3, 3), kernel_init=boosted)(x))
        h = average_pool(conv((3, 3), kernel_init=boosted)(h))
        return conv((1, 1), kernel_init=glorot, name="shortcut")(average_pool(x)) + h


class BottleneckBlock(nn.Module):
    """x [B,H,W,C] to [B,h,w,features]: convolutions of 1x1, 3x3 and 1x1 with half of the channels in between.

    A rectifier stands before each and a norm after the last; the sum is damped by 0.3 so that a hundred layers start
    tamely. Sides are halved by a strided convolution and doubled by a transposed one; the shortcut takes every other
    pixel, or makes four of each (the authors' code of WGAN-GP, `BottleneckResidualBlock`).
    """

    features: int
    resample: str = "none"
    conv: Callable = Conv
    norm: Callable = Unchanged
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        conv = partial(self.conv, dtype=self.dtype)
        middle = {
            "none": partial(conv, kernel_init=boosted),
            "down": partial(conv, strides=(2, 2), kernel_init=fan_average(2.0, down=2)),
            "up": partial(ConvTranspose, strides=(2, 2), kernel_init=fan_average(2.0, up=2), dtype=self.dtype),
        }[self.resample]
        h = conv(x.shape[-1] // 2, (1, 1), kernel_init=boosted)(nn.relu(x))
        h = middle(self.features // 2, (3, 3))(nn.relu(h))
        h = conv(self.features, (1, 1), use_bias=False, kernel_init=boosted)(nn.relu(h))
        return self._shortcut(x) + 0.3 * self.norm(dtype=self.dtype)(h, train=train)

    def _shortcut(self, x):
        if self.resample == "none" and x.shape[-1] == self.features:
            return x
        before, after, features, kernel_init = {
            "none": (same, same, self.features, glorot),
            "down": (every_other, same, self.features, fan_average(1.0, down=2)),
            "up": (same, depth_to_space, 4 * self.features, glorot),
        }[self.resample]
        return after(self.conv(features, (1, 1), kernel_init=kernel_init, dtype=self.dtype, name="shortcut")(before(x)))


class DeepBlock(nn.Module):
    """x [B,H,W,C] to [B,h,w,features]: convolutions of 1x1, 3x3, 3x3 and 1x1, a norm and a rectifier before each.

    The inner ones have a quarter of the channels of the wider end. Sides are doubled before the second convolution
    ("up") or halved before the last ("down"). The shortcut keeps x: surplus channels are dropped, and those that lack
    are made by a 1x1 convolution of it (BigGAN-deep; Brock et al., 2018, arXiv:1809.11096, appendix B).
    """

    features: int
    resample: str = "none"
    conv: Callable = Conv
    norm: Callable = BatchNorm
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, condition=None, *, train: bool):
        conv, norm = partial(self.conv, dtype=self.dtype), partial(self.norm, dtype=self.dtype)
        double = nearest if self.resample == "up" else same
        halve = average_pool if self.resample == "down" else same
        hidden = max(x.shape[-1], self.features, 4) // 4

        def rectified(h):
            return nn.relu(norm()(h, condition, train=train))

        h = conv(hidden, (1, 1))(rectified(x))
        h = conv(hidden, (3, 3))(double(rectified(h)))
        h = conv(hidden, (3, 3))(rectified(h))
        h = conv(self.features, (1, 1))(halve(rectified(h)))
        x = double(halve(x[..., : self.features]))
        lacking = self.features - x.shape[-1]
        if lacking:
            x = jnp.concatenate([x, conv(lacking, (1, 1), name="shortcut")(x)], axis=-1)
        return x + h
