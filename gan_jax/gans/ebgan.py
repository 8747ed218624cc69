"""Energy-based Generative Adversarial Network (Zhao, Mathieu, LeCun, 2016, arXiv:1609.03126).

The discriminator is an energy: low on data, high elsewhere. Here it is how badly an autoencoder reconstructs its input,
D(x) = |Dec(Enc(x)) - x|, the Euclidean norm over all pixels of an example. It lifts the energy of samples up to a
margin m and no further; the generator lowers the energy of what it makes (equations 1 and 2):

    L_D = D(x) + max(0, m - D(G(z)))        L_G = D(G(z))

This is the classical game with another loss: the logit of an example is minus its energy, so that a high one still says
"data". EBGAN-PT adds the pulling-away term, the mean squared cosine between the codes Enc(G(z)) of a minibatch
(equation 3): `tricks.g_penalty = "pulling_away"`, with a weight of .1 in the paper.

The margin is a length in the space of examples. With the norm, 10 suits digits (section 4.1), 20 faces and 80 bedrooms
at 64x64. With a mean over pixels, as in some other implementations, no energy ever comes near such a margin. If
`monitor/hinge_active` stays at 1 while `monitor/energy_fake` is far below m, the margin is too wide; at 0 it is too
narrow for the discriminator to say anything.

Where we differ: MNIST keeps its 28x28 pixels. The paper does not say what the decoder ends in nor where the code is
taken: here it ends linearly, and the code is the encoder's last layer before its nonlinearity. Other implementations
charge the hinge on the minibatch's mean energy, forget the square of the pulling-away term, or hold the target of the
reconstruction still in the generator's step; the paper does none of this. Its semi-supervised experiments (a ladder
network as the energy, section 4.2) are not part of this file.

Numbers to expect: no single figure. The paper compares histograms of a modified inception score over a grid of 512
settings on MNIST: EBGAN's lie above GAN's, EBGAN-PT's above both (section 4.1).
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from gan_jax import config as base
from gan_jax import losses, penalties
from gan_jax.contract import Stage
from gan_jax.errors import InputError, choose
from gan_jax.gans.dcgan import Norm
from gan_jax.gans.gan import two_player
from gan_jax.layers.conv import Conv, ConvTranspose
from gan_jax.nets import mlp

# ---------------------------------------------------------------------------------------------------- the energy


def energy(x: jax.Array, made: jax.Array) -> jax.Array:
    """[B] float32: the Euclidean distance of each example from its reconstruction, at least 1e-6: the root of 0 has no
    gradient."""
    gap = (x.astype(jnp.float32) - made.astype(jnp.float32)).reshape(x.shape[0], -1)
    return jnp.sqrt(jnp.sum(gap**2, axis=1) + 1e-12)


def margin(m: float) -> losses.Loss:
    """Equations (1) and (2), of logits that are minus an energy; the hinge is charged example by example."""
    return losses.additive(lambda a: -a, lambda a: nn.relu(m + a), lambda a: -a)


def watched(penalty: penalties.Penalty, m: float) -> penalties.Penalty:
    """The same penalty, with metrics: both mean energies, and the share of samples whose energy is still lifted."""

    def cost(evidence, memory):
        price, metrics, memory = penalty.cost(evidence, memory)
        metrics = metrics | {
            "monitor/energy_real": -evidence.real_logits.mean(),
            "monitor/energy_fake": -evidence.fake_logits.mean(),
            "monitor/hinge_active": jnp.mean((evidence.fake_logits > -m).astype(jnp.float32)),
        }
        return price, metrics, memory

    return dataclasses.replace(penalty, cost=cost)


# --------------------------------------------------------------------------------------- what its networks share


class Shift(nn.Module):
    """What stands in the place of batch norm in networks without it: only its biases."""

    dtype: Dtype

    @nn.compact
    def __call__(self, h, *, train: bool):
        bias = self.param("bias", nn.initializers.zeros_init(), (h.shape[-1],)).astype(self.dtype)
        return h + bias.reshape(*[1] * (h.ndim - 1), -1)


class Style(NamedTuple):
    """How layers are made: their initial kernels, and what follows all but the first and the last."""

    init: Initializer
    norm: Callable[..., nn.Module]
    dtype: Dtype = jnp.float32

    def inner(self, layer: type[nn.Module]) -> Callable[..., nn.Module]:
        """Layers that `norm` follows, whose biases it brings."""
        return partial(layer, use_bias=False, kernel_init=self.init, dtype=self.dtype)

    def outer(self, layer: type[nn.Module]) -> Callable[..., nn.Module]:
        """Layers that stand alone: the first and the last of a discriminator, the last of a generator."""
        return partial(layer, kernel_init=self.init, dtype=self.dtype)

    def normalised(self, h: jax.Array, train: bool) -> jax.Array:
        return self.norm(dtype=self.dtype)(h, train=train)


NORMS = {"batch": partial(Norm, True, 1e-5), "none": Shift}
INITS = {  # of the generator, of the discriminator
    "paper": (nn.initializers.normal(0.02), nn.initializers.normal(0.002)),  # appendix; biases start at 0
    "he_uniform": (mlp.he_uniform, mlp.he_uniform),
}

# ------------------------------------------------------------------------- fully connected, for the grid on MNIST


class Generator(nn.Module):
    """z [B, Z] to samples [B, *shape]: rectified hidden layers of these widths (nLayerG - 1 times sizeG)."""

    shape: tuple[int, ...]
    widths: tuple[int, ...]
    style: Style
    squash: Callable = jnp.tanh  # images are in [-1, 1]

    @nn.compact
    def __call__(self, z, *, train: bool):
        h = z.astype(self.style.dtype)
        for width in self.widths:
            h = nn.relu(self.style.normalised(self.style.inner(nn.Dense)(width)(h), train))
        x = self.style.outer(nn.Dense)(math.prod(self.shape))(h).astype(jnp.float32)
        return self.squash(x).reshape(-1, *self.shape)


class Autoencoder(nn.Module):
    """Samples [B, ...] to minus their energies [B]: an encoder of these widths (nLayerD - 1 times sizeD), with dropout,
    and a decoder that is always a single layer."""

    widths: tuple[int, ...]
    style: Style
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, *, train: bool):
        flat, style = x.reshape(x.shape[0], -1), self.style
        h = style.outer(nn.Dense)(self.widths[0])(flat.astype(style.dtype))
        for width in self.widths[1:]:
            h = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(h))
            h = style.normalised(style.inner(nn.Dense)(width)(h), train)
        self.sow("intermediates", "features", h)  # the code, on which the pulling-away term is charged
        h = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(h))
        return -energy(flat, style.outer(nn.Dense)(flat.shape[1])(h))


# ------------------------------------------------------------------------------- convolutional, for 64x64 and more


class ConvGenerator(nn.Module):
    """z [B, noise_size] to images [B, *shape]: 4x4 transposed convolutions of stride 2 and these widths, from a base
    that a dense layer makes, as in DCGAN.

    `planes` are the channels of noise at the input of each layer: the first number is that of the usual z, all others
    are of maps, joined to the features (appendix, ImageNet). `last` is (kernel, stride) of the layer that makes the
    image: (4, 2), or (3, 1) for ImageNet.
    """

    shape: tuple[int, int, int]
    widths: tuple[int, ...]
    style: Style
    planes: tuple[int, ...] = (100,)
    last: tuple[int, int] = (4, 2)

    @property
    def doublings(self) -> int:
        return len(self.widths) - 1 + (self.last[1] == 2)

    @property
    def noises(self) -> list[tuple[int, ...]]:
        """The shape of the noise at the input of each layer that has some."""
        height, width = (side >> self.doublings for side in self.shape[:2])
        maps = enumerate(self.planes[1:])
        return [(self.planes[0],), *((height << level, width << level, planes) for level, planes in maps)]

    @property
    def noise_size(self) -> int:
        return sum(math.prod(noise) for noise in self.noises)

    def cut(self, z: jax.Array) -> list[jax.Array]:
        """The noise of each layer that has some, out of one latent."""
        sizes = [math.prod(noise) for noise in self.noises]
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
        pieces = jnp.split(z.astype(self.style.dtype), ends, axis=1)
        return [piece.reshape(-1, *noise) for piece, noise in zip(pieces, self.noises, strict=True)]

    @nn.compact
    def __call__(self, z, *, train: bool):
        style, first = self.style, [side >> self.doublings for side in self.shape[:2]]
        up = partial(style.inner(ConvTranspose), kernel_size=(4, 4), strides=(2, 2))
        noise = self.cut(z)
        h = style.inner(nn.Dense)(math.prod(first) * self.widths[0])(noise[0]).reshape(-1, *first, self.widths[0])
        h = nn.relu(style.normalised(h, train))
        for level, width in enumerate(self.widths[1:], 1):
            h = jnp.concatenate([h, *noise[level : level + 1]], axis=-1)
            h = nn.relu(style.normalised(up(width)(h), train))
        h = jnp.concatenate([h, *noise[len(self.widths) :]], axis=-1)
        (kernel, stride), image = self.last, style.outer(ConvTranspose)
        x = image(self.shape[2], kernel_size=(kernel, kernel), strides=(stride, stride))(h)
        return jnp.tanh(x.astype(jnp.float32))


class ConvAutoencoder(nn.Module):
    """Images [B, H, W, C] to minus their energies [B]: 4x4 convolutions of stride 2 and these widths, with dropout,
    then as many transposed ones back; leaky rectifiers."""

    widths: tuple[int, ...]
    style: Style
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x, *, train: bool):
        style, halves = self.style, {"kernel_size": (4, 4), "strides": (2, 2)}
        h = style.outer(Conv)(self.widths[0], **halves)(x.astype(style.dtype))
        for width in self.widths[1:]:
            h = nn.Dropout(self.dropout, deterministic=not train)(nn.leaky_relu(h, 0.2))
            h = style.normalised(style.inner(Conv)(width, **halves)(h), train)
        self.sow("intermediates", "features", h)
        h = nn.Dropout(self.dropout, deterministic=not train)(nn.leaky_relu(h, 0.2))
        for width in reversed(self.widths[:-1]):
            h = nn.leaky_relu(style.normalised(style.inner(ConvTranspose)(width, **halves)(h), train), 0.2)
        return -energy(x, style.outer(ConvTranspose)(x.shape[-1], **halves)(h))


# ----------------------------------------------------------------------------------------------- from a config


def stages(config) -> tuple[Stage, ...]:
    """One stage: the classical game with the margin loss.

    Raises:
      InputError: for a margin that is not positive, networks that the data does not fit, or an unknown name.
    """
    model, dtype = config.model, jnp.dtype(config.dtype)
    if model.margin <= 0.0:
        raise InputError(f"config.model.margin={model.margin} must be positive: samples are lifted up to it")
    if model.conditional:
        raise InputError("config.model.conditional=True: EBGAN's networks are told no labels; it must be False")
    if not 0.0 <= model.d_dropout < 1.0:
        raise InputError(f"config.model.d_dropout={model.d_dropout} must be at least 0 and below 1")
    for key in ("g_widths", "d_widths"):
        if not tuple(model[key]) or min(model[key]) < 1:
            raise InputError(f"config.model.{key}={tuple(model[key])} must name the width of at least one layer")
    inits = choose(model.init, INITS, "initialisation (config.model.init)")
    norms = [choose(model[key], NORMS, f"norm (config.model.{key})") for key in ("g_norm", "d_norm")]
    g_style, d_style = (Style(init, norm, dtype) for init, norm in zip(inits, norms, strict=True))
    nets = choose(model.nets, NETS, "networks (config.model.nets)")
    values = nets(model, base.example_shape(config.data), g_style, d_style)
    penalty = watched(penalties.build(model.penalty, model.penalty_weight), model.margin)
    game = two_player(config, loss=margin(model.margin), penalty=penalty, **values)
    return (Stage("adversarial", game, config.steps, config.batch_size),)


def fully_connected(model, shape: tuple[int, ...], g_style: Style, d_style: Style) -> dict[str, Any]:
    """For images and for points."""
    if tuple(model.noise_planes):
        raise InputError(
            f"config.model.noise_planes={tuple(model.noise_planes)} must be () with nets='fully_connected': these have "
            "no maps that noise could be joined to"
        )
    squash = jnp.tanh if len(shape) == 3 else lambda x: x
    generator = Generator(shape, tuple(model.g_widths), g_style, squash)
    discriminator = Autoencoder(tuple(model.d_widths), d_style, model.d_dropout)
    return {"generator": generator, "discriminator": discriminator, "latent_size": model.latent_size}


def convolutional(model, shape: tuple[int, ...], g_style: Style, d_style: Style) -> dict[str, Any]:
    """For images whose sides can be halved as often as either network does."""
    if len(shape) != 3:
        raise InputError("config.model.nets='convolutional' makes images, and this dataset holds points")
    planes, last = (
        (model.latent_size, *model.noise_planes),
        choose(model.output, OUTPUTS, "output (config.model.output)"),
    )
    generator = ConvGenerator(shape, tuple(model.g_widths), g_style, planes, last)
    if len(planes) > len(generator.widths) + 1:
        raise InputError(
            f"config.model.noise_planes={planes[1:]}: {len(generator.widths)} layers (config.model.g_widths) have room "
            "for as many maps of noise"
        )
    multiple = 2 ** max(generator.doublings, len(model.d_widths))
    if shape[0] % multiple or shape[1] % multiple:
        raise InputError(
            f"config.data.resolution={shape[:2]} must be a multiple of {multiple}: g_widths and d_widths "
            f"(config.model) halve both sides {generator.doublings} and {len(model.d_widths)} times"
        )
    discriminator = ConvAutoencoder(tuple(model.d_widths), d_style, model.d_dropout)
    return {"generator": generator, "discriminator": discriminator, "latent_size": generator.noise_size}


OUTPUTS = {"4c2s": (4, 2), "3c": (3, 1)}  # the paper's notation: kernel 4 and stride 2, kernel 3 and stride 1
NETS = {"fully_connected": fully_connected, "convolutional": convolutional}
