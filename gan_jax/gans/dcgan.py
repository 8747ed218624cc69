"""Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks (Radford, Metz,
Chintala, 2015, arXiv:1511.06434).

The classical game between two all-convolutional networks: strides instead of pooling, batch norm in both (not on the
generator's output, not on the discriminator's input), no hidden dense layers, rectifiers in the generator and leaky
ones in the discriminator.

The pair builds itself for any image size that is base x 2^k: height and width are halved while both are even and
stay at least 4. Values choose the variant:

                      released PyTorch port   the authors' Theano code     the authors' conditional MNIST
    config.model      (the default here)      (`:radford2015`)             (`:mnist_conditional`)
    width, kernel     64, 4                   128, 5                       64, 5
    norm              affine                  affine, first one per unit   plain, first one per unit
    hidden            ()                      ()                           (1024,)
    latent            normal                  uniform                      uniform
    updates           sequential              alternating                  alternating

Where we differ: the generator's step draws fresh noise (Algorithm 1 of Goodfellow et al.); the PyTorch port reuses the
discriminator's fakes. Samples are drawn with running averages of the batch statistics; the Theano code uses those of
the batch. The conditional generator ends in tanh on [-1, 1] instead of a sigmoid on [0, 1].

Numbers to expect: FID 28.95 on CIFAR-10 (the mimicry reimplementation); 2.98 % nearest-neighbour test error from
50,000 conditional MNIST samples (paper, table 3).
"""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from gan_jax import config as base
from gan_jax import latents
from gan_jax.contract import Stage
from gan_jax.errors import InputError, choose
from gan_jax.gans.gan import two_player
from gan_jax.layers import statistics
from gan_jax.layers.conditional import concat_label
from gan_jax.layers.conv import Conv, ConvTranspose
from gan_jax.layers.noise import Disturbance
from gan_jax.layers.virtual_batch_norm import VirtualBatchNorm, WithReference

weights = nn.initializers.normal(0.02)
UP = {4: "SAME", 5: ((2, 3), (2, 3))}  # transposed convolutions that exactly double a side, as PyTorch and Theano pad
DOWN = {4: "SAME", 5: ((2, 2), (2, 2))}  # and convolutions that exactly halve it


def gains(rng, shape, dtype=jnp.float32):
    """Batch-norm gains N(1, 0.02)."""
    return 1.0 + weights(rng, shape, dtype)


def levels(height: int, width: int) -> int:
    """How often both sides can be halved without falling below 4.

    Raises:
      InputError: if not even once.
    """
    k = 0
    while height % 2 ** (k + 1) == 0 and width % 2 ** (k + 1) == 0 and min(height, width) >> (k + 1) >= 4:
        k += 1
    if k == 0:
        raise InputError(
            f"config.data.resolution=({height}, {width}): DCGAN makes base x 2^k pixels a side, with a base of at "
            f"least 4 and k of at least 1; the nearest it can make is ({_nearest(height)}, {_nearest(width)})"
        )
    return k


def _nearest(side: int) -> int:
    return max(8, 8 * round(side / 8))


class Norm(nn.Module):
    """Batch norm with this paper's settings; `affine` says whether gains and biases are learned."""

    affine: bool
    epsilon: float
    dtype: Dtype

    @nn.compact
    def __call__(self, h, *, train: bool):
        return nn.BatchNorm(
            use_running_average=not train,
            momentum=0.9,
            epsilon=self.epsilon,
            use_scale=self.affine,
            use_bias=self.affine,
            scale_init=gains,
            dtype=self.dtype,
        )(h)


class Unchanged(nn.Module):
    """What stands in the place of batch norm in a network without it, as later papers try."""

    affine: bool
    epsilon: float
    dtype: Dtype

    def __call__(self, h, *, train: bool):
        return h


class VirtualNorm(nn.Module):
    """Virtual batch norm with this paper's gains, for the generator (Salimans et al., 2016, section 3.5)."""

    affine: bool
    epsilon: float
    dtype: Dtype

    @nn.compact
    def __call__(self, h, *, train: bool):
        settings = {"use_scale": self.affine, "use_bias": self.affine, "epsilon": self.epsilon, "dtype": self.dtype}
        return VirtualBatchNorm(scale_init=gains, **settings)(h, train=train)


NORMS = {"batch": Norm, "none": Unchanged}
G_NORMS = NORMS | {"virtual": VirtualNorm}
AROUND = {"virtual": partial(WithReference, place=latents.constrain)}  # what a generator with this norm is put into


class Generator(nn.Module):
    """z [B, Z] (and labels [B, K], joined to the input of every layer) to images [B, *shape] in [-1, 1]."""

    shape: tuple[int, int, int]
    width: int = 64  # channels of the last hidden layer; they double towards the base, up to 8 times this
    kernel: int = 4
    hidden: tuple[int, ...] = ()  # dense layers before the base
    norm_units: bool = False  # normalise the base per unit (before reshaping it) instead of per channel
    norm: type[nn.Module] = Norm
    affine: bool = True
    epsilon: float = 1e-5
    dropout: float = 0.0  # of the hidden layers in training
    noise: float = 0.0  # added to them in training
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, label=None, *, train: bool):
        height, width, channels = self.shape
        k = levels(height, width)
        norm = partial(self.norm, self.affine, self.epsilon, self.dtype)
        disturb = partial(Disturbance, self.dropout, self.noise)
        dense = partial(nn.Dense, use_bias=False, kernel_init=weights, dtype=self.dtype)
        up = partial(
            ConvTranspose,
            kernel_size=(self.kernel, self.kernel),
            strides=(2, 2),
            padding=UP[self.kernel],
            use_bias=False,
            kernel_init=weights,
            dtype=self.dtype,
        )
        h = z.astype(self.dtype)
        for units in self.hidden:
            h = nn.relu(norm()(dense(units)(concat_label(h, label)), train=train))
        base = (height >> k, width >> k, self.width * min(2 ** (k - 1), 8))
        h = dense(base[0] * base[1] * base[2])(concat_label(h, label))
        h = norm()(h if self.norm_units else h.reshape(-1, *base), train=train)
        h = disturb()(nn.relu(h.reshape(-1, *base)), train=train)
        for level in reversed(range(k - 1)):
            h = up(self.width * min(2**level, 8))(concat_label(h, label))
            h = disturb()(nn.relu(norm()(h, train=train)), train=train)
        return jnp.tanh(up(channels)(concat_label(h, label)).astype(jnp.float32))


class Discriminator(nn.Module):
    """Images [B, H, W, C] (and labels [B, K], joined to the input of every layer) to logits [B]."""

    width: int = 64  # channels of the first layer; they double at every level, up to 8 times this
    kernel: int = 4
    hidden: tuple[int, ...] = ()  # dense layers after the last convolution
    norm: type[nn.Module] = Norm
    affine: bool = True
    epsilon: float = 1e-5
    statistics: Callable = statistics.BY_NAME["none"]  # makes what is applied to the flat features
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label=None, *, train: bool):
        norm = partial(self.norm, self.affine, self.epsilon, self.dtype)
        dense = partial(nn.Dense, use_bias=False, kernel_init=weights, dtype=self.dtype)
        down = partial(
            Conv,
            kernel_size=(self.kernel, self.kernel),
            strides=(2, 2),
            padding=DOWN[self.kernel],
            use_bias=False,
            kernel_init=weights,
            dtype=self.dtype,
        )
        h = x.astype(self.dtype)
        for level in range(levels(*x.shape[1:3])):
            h = down(self.width * min(2**level, 8))(concat_label(h, label))
            h = nn.leaky_relu(norm()(h, train=train) if level else h, 0.2)
        h = h.reshape(h.shape[0], -1)
        for units in self.hidden:
            h = nn.leaky_relu(norm()(dense(units)(concat_label(h, label)), train=train), 0.2)
        h = self.statistics()(h)
        self.sow("intermediates", "features", h)
        return dense(1)(concat_label(h, label)).astype(jnp.float32)[:, 0]


def stages(config) -> tuple[Stage, ...]:
    """One stage: the classical game between the convolutional pair."""
    model, dtype = config.model, jnp.dtype(config.dtype)
    if config.data.domain != "image":
        raise InputError(
            f"config.gan='dcgan' makes images, and dataset '{config.data.name}' holds {config.data.domain}s"
        )
    if model.kernel not in UP:
        raise InputError(f"config.model.kernel={model.kernel} must be 4 or 5")
    shape = base.example_shape(config.data)
    levels(*shape[:2])
    shared = {"kernel": model.kernel, "hidden": tuple(model.hidden)}
    shared |= {"affine": model.affine, "epsilon": model.epsilon, "dtype": dtype}
    norms = {"g_norm": G_NORMS, "d_norm": NORMS}
    norms = {key: choose(model[key], table, f"norm (config.model.{key})") for key, table in norms.items()}
    seen = choose(model.d_statistics, statistics.BY_NAME, "minibatch statistics (config.model.d_statistics)")
    disturbed = {"dropout": model.g_dropout, "noise": model.g_noise}
    generator = Generator(
        shape, model.g_width, norm=norms["g_norm"], norm_units=model.norm_units, **disturbed, **shared
    )
    generator = AROUND.get(model.g_norm, lambda network: network)(generator)
    discriminator = Discriminator(model.d_width, norm=norms["d_norm"], statistics=seen, **shared)
    return (Stage("adversarial", two_player(config, generator, discriminator), config.steps, config.batch_size),)
