"""Spectral Normalization for Generative Adversarial Networks (Miyato, Kataoka, Koyama, Yoshida, 2018,
arXiv:1802.05957), and cGANs with Projection Discriminator (Miyato, Koyama, 2018, arXiv:1802.05637).

Every kernel of the discriminator is divided by its largest singular value, estimated by a step of power iteration each
time, which keeps it about 1-Lipschitz without a penalty. Labels enter as an inner product of the discriminator's
features with an embedding of the label, and as gains and biases of the generator's batch norm.

The game is the classical one; the loss is "hinge" or "non_saturating" (the paper's BCE). Networks, by name in `NETS`:

    config.model.nets   g_widths             d_widths; d_plain       parameters G / D
    cnn                 512, 256, 128, 64    64, 128, 256; 512       3,812,355 / 2,935,873     table 3
    resnet              256 x 4              128, 128; 128, 128      4,276,739 / 1,053,824     table 4
      with 10 labels                                                 4,304,387 / 1,055,104
    mlp                 128 x 3              128 x 3                 for points

The residual pairs for 48x48 (table 5) and 128x128 (table 6) have other widths: `experiments/sngan.py`.

Where we differ from the authors' code:
  * The vectors of the power iteration move once for each step of the discriminator, in its pass over data: 5 times in
    an iteration of `rounds = 5`, where the code moves them in every pass of training, 11 times. They follow weights
    that change by steps of 2e-4; once is enough (the tests look at the singular values).
  * The generator moves after the `rounds` of the discriminator, where the code moves it in the first of them: the same
    sequence but for the very first step.
  * No uniform noise of one grey level on pixels.
  * Fakes have the labels of the minibatch of data, which are as uniform as the data's; the code draws them.

Sum pooling and the missing bias of the head for CIFAR-10 are the code's. What a 1-Lipschitz critic can tell apart
depends on the scale of the data: toys are ten times as large as elsewhere in this library, or it could not separate
their modes.

Numbers to expect on CIFAR-10, Inception score and FID of 5,000 samples against 10,000 test images (several points
above that of 50,000): 7.42 +- .08 and 29.3 for `cnn`; 8.22 +- .05 and 21.7 +- .21 for `resnet` with the hinge loss;
8.62 and 17.5 with labels. The mimicry reimplementation of `resnet` has FID 16.77 of 50,000 samples.
"""

from functools import partial

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from gan_jax import config as base
from gan_jax.contract import Stage
from gan_jax.errors import InputError, choose
from gan_jax.gans.gan import two_player
from gan_jax.layers.conv import Conv, ConvTranspose
from gan_jax.layers.norm import BatchNorm
from gan_jax.layers.spectral import SpectralConv, SpectralDense
from gan_jax.nets import mlp, resnet
from gan_jax.nets.resnet import ProjectionHead

weights = nn.initializers.normal(0.02)
norm = partial(BatchNorm, momentum=0.9, epsilon=2e-5)  # Chainer's
leaky = partial(nn.leaky_relu, negative_slope=0.1)


class Generator(nn.Module):
    """z [B,Z] (and labels [B,K], which set gains and biases) to images [B,*shape] in [-1,1] (table 3).

    `widths` are the channels of the base and after each of the transposed convolutions, which double the sides.
    """

    shape: tuple[int, int, int]
    widths: tuple[int, ...] = (512, 256, 128, 64)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, label=None, *, train: bool):
        height, width = resnet.base(self.shape, len(self.widths) - 1)
        up = partial(ConvTranspose, kernel_size=(4, 4), strides=(2, 2), kernel_init=weights, dtype=self.dtype)
        start = nn.Dense(height * width * self.widths[0], kernel_init=weights, dtype=self.dtype)
        h = start(z.astype(self.dtype)).reshape(-1, height, width, self.widths[0])
        for features in self.widths[1:]:
            h = nn.relu(norm(dtype=self.dtype)(up(features)(h), label, train=train))
        h = Conv(self.shape[-1], (3, 3), kernel_init=weights, dtype=self.dtype)(h)
        return jnp.tanh(h.astype(jnp.float32))


class Discriminator(nn.Module):
    """Images [B,H,W,C] (and labels [B,K]) to logits [B]: 3x3 and strided 4x4 convolutions in turn (table 3)."""

    widths: tuple[int, ...] = (64, 128, 256)  # channels of each pair, whose second convolution halves the sides
    plain: tuple[int, ...] = (512,)  # and of 3x3 convolutions after them
    head_bias: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label=None, *, train: bool):
        conv = partial(SpectralConv, kernel_init=weights, dtype=self.dtype)
        h = x.astype(self.dtype)
        for features in self.widths:
            h = leaky(conv(features, (3, 3))(h))
            h = leaky(conv(features, (4, 4), strides=(2, 2))(h))
        for features in self.plain:
            h = leaky(conv(features, (3, 3))(h))
        h = resnet.flat(h)
        self.sow("intermediates", "features", h)
        return ProjectionHead(SpectralDense, self.head_bias, weights, name="head")(h, label)


class Perceptron(nn.Module):
    """Samples [B,...] (and labels [B,K]) to logits [B]: dense layers of spectral norm 1."""

    widths: tuple[int, ...] = (128, 128, 128)
    head_bias: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label=None, *, train: bool):
        h = x.reshape(x.shape[0], -1).astype(self.dtype)
        for width in self.widths:
            h = leaky(SpectralDense(width, kernel_init=mlp.he_uniform, dtype=self.dtype)(h))
        h = h.astype(jnp.float32)
        self.sow("intermediates", "features", h)
        return ProjectionHead(SpectralDense, self.head_bias, mlp.he_uniform, name="head")(h, label)


def perceptrons(shape: tuple[int, ...], model, dtype) -> tuple[nn.Module, nn.Module]:
    squash = jnp.tanh if len(shape) == 3 else None
    generator = mlp.Generator(shape, tuple(model.g_widths), squash=squash, dtype=dtype)
    return generator, Perceptron((*model.d_widths, *model.d_plain), model.head_bias, dtype)


def convolutional(shape: tuple[int, ...], model, dtype) -> tuple[nn.Module, nn.Module]:
    generator = Generator(shape, tuple(model.g_widths), dtype)
    return generator, Discriminator(tuple(model.d_widths), tuple(model.d_plain), model.head_bias, dtype)


def residual(shape: tuple[int, ...], model, dtype) -> tuple[nn.Module, nn.Module]:
    generator = resnet.Generator(shape, tuple(model.g_widths), norm=norm, dtype=dtype)
    spectral = {"conv": SpectralConv, "dense": SpectralDense, "head_bias": model.head_bias}
    widths = (*model.d_widths, *model.d_plain)
    return generator, resnet.Discriminator(widths, down=len(model.d_widths), **spectral, dtype=dtype)


NETS = {"cnn": convolutional, "resnet": residual, "mlp": perceptrons}
FOR_POINTS = ("mlp",)


def stages(config) -> tuple[Stage, ...]:
    """One stage: the classical game, its discriminator spectrally normalised.

    Raises:
      InputError: for a name that is not in its table, or data that these networks cannot make.
    """
    model, shape = config.model, base.example_shape(config.data)
    build = choose(model.nets, NETS, "networks (config.model.nets)")
    if model.nets not in FOR_POINTS:
        check(config, shape)
    game = two_player(config, *build(shape, model, jnp.dtype(config.dtype)))
    return (Stage("adversarial", game, config.steps, config.batch_size),)


def check(config, shape: tuple[int, ...]) -> None:
    """Refuses data that the networks for images cannot make or halve."""
    model = config.model
    if config.data.domain != "image":
        raise InputError(
            f"config.model.nets='{model.nets}' makes images, and dataset '{config.data.name}' holds "
            f"{config.data.domain}s: use one of {', '.join(FOR_POINTS)}"
        )
    resnet.base(shape, len(model.g_widths) - 1)
    if any(side % 2 ** len(model.d_widths) for side in shape[:2]):
        raise InputError(
            f"config.model.d_widths={tuple(model.d_widths)} halve the sides {len(model.d_widths)} times, which "
            f"config.data.resolution={tuple(shape[:2])} cannot be: take fewer, or put some of them into d_plain"
        )
