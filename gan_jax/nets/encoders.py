"""Networks from examples to feature vectors, for critics that compare sets of them (MMD GAN).

Called on x [B, ...] they give the activations of all of their layers, of which the last are the features [B, k].
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from gan_jax.layers.conv import Conv
from gan_jax.layers.norm import Unchanged
from gan_jax.layers.spectral import SpectralConv, SpectralDense
from gan_jax.nets import mlp

Layers = tuple[jax.Array, ...]


class Perceptron(nn.Module):
    """Samples [B, ...] to features: for points."""

    features: int
    widths: tuple[int, ...] = (128, 128, 128)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool) -> Layers:
        dense = partial(nn.Dense, kernel_init=mlp.he_uniform, dtype=self.dtype)
        layers = [x.reshape(x.shape[0], -1).astype(self.dtype)]
        for width in self.widths:
            layers.append(nn.relu(dense(width)(layers[-1])))
        return (*layers[1:], dense(self.features)(layers[-1]))


class Convolutional(nn.Module):
    """Images [B, H, W, C] to features: a strided convolution for each width, then one product with all that is left.

    All layers but the first and the last are normalised.
    """

    features: int
    widths: tuple[int, ...] = (64, 128, 256)
    kernel: int = 4
    norm: Callable = Unchanged
    bias: bool = False
    kernel_init: Initializer = nn.initializers.normal(0.02)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool) -> Layers:
        options = {"use_bias": self.bias, "kernel_init": self.kernel_init, "dtype": self.dtype}
        down = partial(Conv, kernel_size=(self.kernel, self.kernel), strides=(2, 2), padding="SAME", **options)
        layers = [x.astype(self.dtype)]
        for level, width in enumerate(self.widths):
            h = down(width)(layers[-1])
            h = self.norm(dtype=self.dtype)(h, train=train) if level else h
            layers.append(nn.leaky_relu(h, 0.2))
        flat = layers[-1].reshape(x.shape[0], -1)
        return (*layers[1:], nn.Dense(self.features, **options)(flat))


class Spectral(nn.Module):
    """Images [B, H, W, C] to features: the standard critic of Miyato et al. (2018, arXiv:1802.05957, table 3), every
    layer spectrally normalised, with `features` outputs instead of one."""

    features: int
    width: int = 64
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool) -> Layers:
        conv = partial(SpectralConv, dtype=self.dtype)
        layers = [x.astype(self.dtype)]
        for width in (self.width, 2 * self.width, 4 * self.width):
            layers.append(nn.leaky_relu(conv(width, (3, 3))(layers[-1]), 0.1))
            layers.append(nn.leaky_relu(conv(width, (4, 4), strides=(2, 2))(layers[-1]), 0.1))
        layers.append(nn.leaky_relu(conv(8 * self.width, (3, 3))(layers[-1]), 0.1))
        flat = layers[-1].reshape(x.shape[0], -1)
        return (*layers[1:], SpectralDense(self.features, dtype=self.dtype)(flat))


class Look(NamedTuple):
    """What a critic made of a batch."""

    features: jax.Array  # [B, k] float32
    layers: Layers
    rebuilt: jax.Array  # the batch, decoded from its features; the batch itself where there is no decoder


class Critic(nn.Module):
    """Examples [B, ...] to a `Look`, by an encoder and, where there is one, a decoder z [B, k] to [B, ...]."""

    encoder: nn.Module
    decoder: nn.Module | None = None

    def __call__(self, x, *, train: bool) -> Look:
        layers = self.encoder(x, train=train)
        features = layers[-1].astype(jnp.float32)
        rebuilt = x if self.decoder is None else self.decoder(features, train=train)
        return Look(features, layers, rebuilt)
