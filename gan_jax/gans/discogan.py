"""DiscoGAN: Learning to Discover Cross-Domain Relations with Generative Adversarial Networks (Kim, Cha, Kim, Lee, Kim,
2017, arXiv:1703.05192).

Two autoencoders, G_AB and G_BA, translate between domains whose images know nothing of each other. A discriminator in
each domain judges whole images; an image that was translated and translated back should be what it was, so that the
relation that is found is one to one:

    D in A and B:   1/2 BCE(D(real), 1) + 1/2 BCE(D(made), 0)
    A -> B -> A:    (1 - r) (.1 BCE(D_B(G_AB(A)), 1) + .9 FM_B) + r mean (G_BA(G_AB(A)) - A)^2, and so for B -> A -> B

FM, feature matching, is the squared distance between the mean features of images and of translations, summed over the
discriminator's layers. r is .01 for 10,000 minibatches, in which each domain is learned, and .5 from then on. Of three
minibatches, which are one step here, the first is the discriminators', two are the translators'.

What is related to what is found out and not told. Unlike CycleGAN's, these networks have no reason to leave things
where they are: any one-to-one relation of places is as good as another.

In a batch the domains are `a` and `b`; everything that comes in twos is named as in `cyclegan.py`, by the domain of the
images that are made or judged. Values choose the paper's ablations:

    directions                          "both", or "a_to_b": only A -> B -> A and D_B ("GAN with reconstruction loss")
    starting_rate, rate                 0, 0 with "a_to_b" is the plain GAN of A -> B
    features                            share of FM, .9; 0 leaves the adversarial loss, as in the paper's equations
    code                                100 for a bottleneck of one vector, as in the authors' script for angles

We follow the authors' code where it differs from the paper: the paper has no feature matching and no r. Where we
differ from it: images are in [-1, 1] outside the networks, which work on [0, 1], as do the squared errors; running
statistics of the translators are those of images, not of translations, and samples are made with them, so that a
translation does not depend on its neighbours (`samples_as = "training"` is the code's way).

Numbers to expect: pictures. The paper compares the azimuths of cars and faces before and after.
"""

import dataclasses
from functools import partial
from operator import itemgetter
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from flax.typing import Dtype

from gan_jax import losses, optimizers, penalties
from gan_jax.contract import Batch, Key, Metrics, Net, PyTree, Stage, apply, create, descend, mean
from gan_jax.errors import InputError, choose
from gan_jax.gans.cyclegan import Images, both, crossed, domains
from gan_jax.gans.pix2pix import SAMPLES_AS
from gan_jax.layers.conv import Conv, ConvTranspose
from gan_jax.layers.norm import BatchNorm
from gan_jax.nets.translator import Both

weights = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # within 1 / sqrt(fan-in), as Torch's of 2017
DIRECTIONS = {"both": ("a", "b"), "a_to_b": ("b",)}  # the domains that translations are made for
SOURCE = {"a": "b", "b": "a"}


# -------------------------------------------------------------------------------------------------------- networks


def levels(height: int, width: int) -> int:
    """How often both sides can be halved without falling below 4: 4 times for 64.

    Raises:
      InputError: if not twice, as features are matched from the second layer on.
    """
    k = 0
    while height % 2 ** (k + 1) == 0 and width % 2 ** (k + 1) == 0 and min(height, width) >> (k + 1) >= 4:
        k += 1
    if k < 2:
        near = tuple(max(16, 8 * round(side / 8)) for side in (height, width))
        raise InputError(
            f"config.data.resolution=({height}, {width}): DiscoGAN halves images at least twice, to no less than 4 "
            f"pixels a side; the nearest it can take is {near}"
        )
    return k


class Encoder(nn.Module):
    """Images [B, H, W, C] in [-1, 1] to the activations of all layers, each half as large as the one before."""

    width: int = 64  # channels of the first layer; they double at every level, up to 8 times this
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool) -> tuple[jax.Array, ...]:
        settings = {"use_bias": False, "kernel_init": weights, "dtype": self.dtype}
        layers = [((x + 1.0) / 2.0).astype(self.dtype)]
        for level in range(levels(*x.shape[1:3])):
            down = Conv(self.width * min(2**level, 8), (4, 4), (2, 2), padding=((1, 1), (1, 1)), **settings)
            h = down(layers[-1])
            h = BatchNorm(dtype=self.dtype)(h, train=train) if level else h
            layers.append(nn.leaky_relu(h, 0.2))
        return tuple(layers[1:])


class Autoencoder(nn.Module):
    """Images [B, H, W, C] to images [B, H, W, channels], both in [-1, 1], by way of some 4x4 pixels of many channels,
    or, with `code` units, of a single vector. There are no skips."""

    channels: int
    width: int = 64
    code: int = 0  # units of a further bottleneck; 0 is none
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        settings = {"use_bias": False, "kernel_init": weights, "dtype": self.dtype}
        norm = partial(BatchNorm, dtype=self.dtype)
        up = partial(ConvTranspose, **settings)
        h = Encoder(self.width, self.dtype)(x, train=train)[-1]
        if self.code:
            base, channels = h.shape[1:3], h.shape[-1]
            code = Conv(self.code, base, padding="VALID", **settings)(h)
            code = nn.leaky_relu(norm()(code, train=train), 0.2)
            h = up(channels, base, padding=[(side - 1, side - 1) for side in base])(code)
            h = nn.relu(norm()(h, train=train))
        for level in reversed(range(levels(*x.shape[1:3]) - 1)):
            h = up(self.width * min(2**level, 8), (4, 4), (2, 2))(h)
            h = nn.relu(norm()(h, train=train))
        return 2.0 * nn.sigmoid(up(self.channels, (4, 4), (2, 2))(h).astype(jnp.float32)) - 1.0


class Opinion(NamedTuple):
    """What a discriminator says of images, and what it looked at."""

    logits: jax.Array  # [B] float32
    features: tuple[jax.Array, ...]  # of all layers but the first [B, h, w, c]


class Discriminator(nn.Module):
    """Images [B, H, W, C] in [-1, 1] to an `Opinion`."""

    width: int = 64
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool) -> Opinion:
        _, *features = Encoder(self.width, self.dtype)(x, train=train)
        settings = {"use_bias": False, "kernel_init": weights, "dtype": self.dtype}
        last = Conv(1, features[-1].shape[1:3], padding="VALID", **settings)
        return Opinion(last(features[-1]).astype(jnp.float32).reshape(-1), tuple(features))


# ------------------------------------------------------------------------------------------------------- algorithm


@struct.dataclass
class DiscoGANState:
    step: PyTree  # int32 []
    g: Net  # both translators
    d: Net  # both discriminators


def reconstruction(again: jax.Array, real: jax.Array) -> jax.Array:
    """The mean squared difference of images in [-1, 1] [B, H, W, C], as if they were in [0, 1]."""
    return jnp.mean((again - real) ** 2) / 4.0


def matching(real: Opinion, fake: Opinion) -> jax.Array:
    """Feature matching, summed over layers: in each the mean over features of (E f(real) - E f(fake))^2."""
    return sum(map(penalties.feature_matching, real.features, fake.features))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscoGAN:
    """Section 2, as the authors' code plays it. `rate` is its r from minibatch `curriculum` on, `starting_rate` before.

    Of the `rounds` minibatches of a step the first is the discriminators', the others are the translators'. Moves are
    not chosen by `lax.cond`, within which convolutions are ten times slower on CPUs.
    """

    translators: nn.Module
    critics: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    loss: losses.Loss
    features: float = 0.9
    starting_rate: float = 0.01
    rate: float = 0.5
    curriculum: int = 10_000
    directions: tuple[str, ...] = DIRECTIONS["both"]
    sampled_in_training: bool = False
    rounds: int = 3
    deterministic = True  # nothing is drawn in a step

    def init(self, rng: Key, batch: Batch) -> DiscoGANState:
        g_rng, d_rng = jax.random.split(rng)
        g = create(self.translators, self.g_tx, g_rng, crossed(both(batch)), train=False)
        d = create(self.critics, self.d_tx, d_rng, both(batch), train=False)
        return DiscoGANState(step=jnp.zeros((), jnp.int32), g=g, d=d)

    def train_step(self, state: DiscoGANState, batch: Batch, rng: Key) -> tuple[DiscoGANState, Metrics]:
        first, *others = (both(jax.tree.map(itemgetter(number), batch)) for number in range(self.rounds))
        d, seen = descend(state.d, self.d_tx, partial(self.discriminator_loss, state, first))
        state, moves = state.replace(d=d), []
        for number, real in enumerate(others, 1):
            r = self.rate_at(state.step * self.rounds + number)
            g, moved = descend(state.g, self.g_tx, partial(self.generator_loss, state, real, r))
            state, moves = state.replace(g=g), [*moves, moved]
        metrics = seen | mean(jax.tree.map(lambda *values: jnp.stack(values), *moves))
        return state.replace(step=state.step + 1), metrics

    def discriminator_loss(self, state: DiscoGANState, real: Images, params: PyTree):
        """What the discriminators pay together; with it, their statistics and metrics."""
        made, _ = apply(self.translators, state.g, crossed(real), train=True)
        of_real, stats = apply(self.critics, state.d, real, params=params, train=True)
        of_made, stats = apply(self.critics, state.d.replace(stats=stats), made, params=params, train=True)
        loss = sum(self.loss.d(of_real[name].logits, of_made[name].logits) for name in self.directions)
        metrics = {"loss/d": loss}
        for kind, opinions in (("real", of_real), ("fake", of_made)):
            metrics |= {f"score/{kind}_{name}": opinions[name].logits.mean() for name in self.directions}
        return loss, (stats, metrics)

    def generator_loss(self, state: DiscoGANState, real: Images, r: jax.Array, params: PyTree):
        """What the translators pay together for images of which the way back has a share r; with it, their statistics,
        those of the images alone, and metrics."""
        translate = partial(apply, self.translators, state.g, params=params, train=True)
        made, stats = translate(crossed(real))
        again, _ = translate(crossed(made))
        of_real, of_made = (apply(self.critics, state.d, images, train=True)[0] for images in (real, made))
        adversarial = sum(self.loss.g(of_real[name].logits, of_made[name].logits) for name in self.directions)
        matched = sum(matching(of_real[name], of_made[name]) for name in self.directions)
        lost = sum(reconstruction(again[SOURCE[name]], real[SOURCE[name]]) for name in self.directions)
        belonging = (1.0 - self.features) * adversarial + self.features * matched
        metrics = {"loss/g": adversarial, "loss/features": matched, "loss/reconstruction": lost}
        return (1.0 - r) * belonging + r * lost, (stats, metrics)

    def rate_at(self, number: jax.Array) -> jax.Array:
        """The share r of the reconstruction in what the translators pay for this minibatch, counted from 0."""
        return jnp.where(number < self.curriculum, jnp.float32(self.starting_rate), jnp.float32(self.rate))

    def sample(self, state: DiscoGANState, batch: Batch, rng: Key) -> dict[str, jax.Array]:
        """Translations both ways: under "b" those of the batch's `a`, under "a" those of its `b`."""
        return apply(self.translators, state.g, crossed(both(batch)), train=self.sampled_in_training)[0]


# -------------------------------------------------------------------------------------------------- from the config


def stages(config) -> tuple[Stage, ...]:
    """One stage: the game of two autoencoders and two discriminators.

    Raises:
      InputError: for data of one domain, a size that the networks cannot take, or a value out of range.
    """
    model, dtype = config.model, jnp.dtype(config.dtype)
    shapes = domains(config)
    levels(*shapes["b"][:2])
    check(model)
    translate = partial(Autoencoder, width=model.g_width, code=model.code, dtype=dtype)
    judge = partial(Discriminator, model.d_width, dtype)
    game = DiscoGAN(
        translators=Both(**{name: translate(shape[-1]) for name, shape in shapes.items()}),
        critics=Both(a=judge(), b=judge()),
        g_tx=optimizers.build(model.g_optimizer, "g_optimizer"),
        d_tx=optimizers.build(model.d_optimizer, "d_optimizer"),
        loss=losses.scaled(losses.build(model.loss), d=model.d_loss_scale),
        features=model.features,
        starting_rate=model.starting_rate,
        rate=model.rate,
        curriculum=model.curriculum,
        directions=choose(model.directions, DIRECTIONS, "directions (config.model.directions)"),
        sampled_in_training=choose(model.samples_as, SAMPLES_AS, "mode of sampling (config.model.samples_as)"),
        rounds=model.rounds,
    )
    return (Stage("adversarial", game, config.steps, config.batch_size),)


def check(model) -> None:
    """Refuses numbers that the game cannot be played with."""
    for key in ("features", "starting_rate", "rate"):
        if not 0.0 <= model[key] <= 1.0:
            raise InputError(f"config.model.{key}={model[key]} is a share: from 0 to 1")
    for key, least in (("curriculum", 0), ("code", 0), ("rounds", 2)):
        if model[key] < least:
            raise InputError(f"config.model.{key}={model[key]} must be at least {least}")
