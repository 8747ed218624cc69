"""Conditional Image Synthesis with Auxiliary Classifier GANs (Odena, Olah, Shlens, 2016, arXiv:1610.09585).

The generator is told the class it has to make; the discriminator is not, and finds it out with a second head. Both
players want the classes of data and of samples to be recognised, and fight over the source alone (eqs. 2 and 3).

Values choose the variant:

                            the paper        keras-acgan        WGAN-GP's labelled form (Gulrajani et al., 2017,
                                             (`:mnist`)         arXiv:1704.00028, authors' code; `:cifar10_wgan_gp`)
    config.model.nets       odena2016        lukedeo            gulrajani2017: its residual pair
    loss, penalty           non_saturating   non_saturating     wasserstein, wgan_gp
    real_class_weight       1                1/2                1
    fake_class_weight       1                1/2                0: the critic learns classes from data only
    g_class_weight          1                1                  0.1
    latent                  normal           uniform            normal

Where we differ:
  * The paper's table gives 768 maps after the linear layer, four doublings and no sides; here the maps lie on a base
    that these doublings take to the image: 4x4 for 64 pixels. At 128 we add a layer of 96 maps that it does not print.
  * The generator's cost of the source is the non-saturating one, as in keras-acgan; eq. 2 as printed is "minimax".
  * Adam's beta2 is .999: the .001 that the first version of the paper prints would leave the signs of gradients.
  * keras-acgan shows data and samples to the discriminator in one batch; it has no batch norm, so two are the same.

Numbers to expect: an Inception score of 8.25 +- .07 on CIFAR-10, the best of 27 settings (paper); 8.42 +- .10 for
WGAN-GP's residual networks with both heads (its table 3). Classes can collapse to a few images each: look at
the spread within a class beside the accuracy.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.typing import Dtype, Initializer

from gan_jax import config as base
from gan_jax import latents, losses, optimizers, penalties
from gan_jax.contract import (
    Batch,
    Key,
    Metrics,
    Net,
    Stage,
    apply,
    count,
    create,
    descend,
    ema,
    ema_decay,
    last_round,
    play,
    still,
)
from gan_jax.errors import InputError, choose
from gan_jax.gans.dcgan import NORMS, Norm, weights
from gan_jax.gans.gan import GameState, enlarged
from gan_jax.layers.conditional import concat_label
from gan_jax.layers.conv import Conv, ConvTranspose
from gan_jax.layers.noise import Disturbance
from gan_jax.nets import resnet

glorot_normal = nn.initializers.glorot_normal()
glorot_uniform = nn.initializers.glorot_uniform()


def base_of(shape: tuple[int, int, int], doublings: int) -> tuple[int, int]:
    """(height, width) that so many doublings take to the image.

    Raises:
      InputError: if there is none.
    """
    height, width, _ = shape
    unit = 2**doublings
    if height % unit or width % unit:
        raise InputError(
            f"config.data.resolution=({height}, {width}): the {doublings} doublings of config.model.g_widths need "
            f"multiples of {unit}; leave out or add a width, or resize"
        )
    return height // unit, width // unit


class Generator(nn.Module):
    """z [B, Z] and one-hot labels [B, K] to images [B, *shape] in [-1, 1]: transposed convolutions (table 1)."""

    shape: tuple[int, int, int]
    widths: tuple[int, ...] = (768, 384, 256, 192)  # maps of the base, and of every convolution but the last
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, label, *, train: bool):
        start = base_of(self.shape, len(self.widths))
        up = partial(ConvTranspose, kernel_size=(5, 5), strides=(2, 2), kernel_init=weights, dtype=self.dtype)
        h = nn.Dense(math.prod(start) * self.widths[0], kernel_init=weights, dtype=self.dtype)(concat_label(z, label))
        h = nn.relu(h).reshape(-1, *start, self.widths[0])
        for width in self.widths[1:]:
            h = up(width, use_bias=False)(h)
            h = nn.relu(Norm(affine=True, epsilon=1e-5, dtype=self.dtype)(h, train=train))
        return jnp.tanh(up(self.shape[-1])(h).astype(jnp.float32))


class UpsamplingGenerator(nn.Module):
    """z [B, Z] and one-hot labels [B, K] to images [B, *shape] in [-1, 1]: repeated pixels, then a convolution; the
    label scales every entry of the noise (keras-acgan)."""

    shape: tuple[int, int, int]
    widths: tuple[int, ...] = (1024, 128, 256, 128)  # units of the hidden layer; maps of the base and convolutions
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, label, *, train: bool):
        hidden, first, *maps = self.widths
        start = base_of(self.shape, len(maps))
        dense = partial(nn.Dense, kernel_init=glorot_uniform, dtype=self.dtype)
        conv = partial(Conv, kernel_init=glorot_normal, dtype=self.dtype)
        scale = nn.Dense(z.shape[-1], use_bias=False, kernel_init=glorot_normal, dtype=self.dtype, name="embedding")
        h = nn.relu(dense(hidden)(z.astype(self.dtype) * scale(label)))
        h = nn.relu(dense(math.prod(start) * first)(h)).reshape(-1, *start, first)
        for width in maps:
            h = nn.relu(conv(width, (5, 5))(h.repeat(2, axis=1).repeat(2, axis=2)))
        return jnp.tanh(conv(self.shape[-1], (2, 2))(h).astype(jnp.float32))


class Discriminator(nn.Module):
    """Images [B, H, W, C] to logits of the source [B] and of the classes [B, K]: every other convolution halves."""

    classes: int
    widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    norm: type[nn.Module] = Norm  # of all layers but the first
    slope: float = 0.2
    dropout: float = 0.5
    noise: float = 0.0  # the paper's "activation noise", in training
    kernel_init: Initializer = weights
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        shared = {"kernel_init": self.kernel_init, "dtype": self.dtype}
        h = x.astype(self.dtype)
        for layer, width in enumerate(self.widths):
            normalised = layer > 0 and self.norm is Norm
            stride = 1 if layer % 2 else 2
            # a bias before batch norm would do nothing
            h = Conv(width, (3, 3), strides=(stride, stride), use_bias=not normalised, **shared)(h)
            h = self.norm(affine=True, epsilon=1e-5, dtype=self.dtype)(h, train=train) if layer else h
            h = Disturbance(self.dropout, self.noise)(nn.leaky_relu(h, self.slope), train=train)
        h = h.reshape(h.shape[0], -1)
        self.sow("intermediates", "features", h)
        source, classes = nn.Dense(1, name="source", **shared)(h), nn.Dense(self.classes, name="classes", **shared)(h)
        return source.astype(jnp.float32)[:, 0], classes.astype(jnp.float32)


class TwoHeads(nn.Module):
    """Features [B, F] to logits of the source [B] and of the classes [B, K]: the head of a residual critic."""

    dense: Callable
    bias: bool
    classes: int

    @nn.compact
    def __call__(self, h, label=None):
        head = partial(self.dense, use_bias=self.bias, kernel_init=glorot_uniform)
        return head(1, name="source")(h)[:, 0], head(self.classes, name="classes")(h)


# ------------------------------------------------------------------------------------------------------- the game


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """-L_C (eq. 3): mean over examples, of logits and one-hot labels [B, K]."""
    return -jnp.sum(label * jax.nn.log_softmax(logits), axis=-1).mean()


def accuracy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """The share of examples whose largest logit [B, K] is that of their label."""
    return (logits.argmax(axis=-1) == label.argmax(axis=-1)).astype(jnp.float32).mean()


class Keys(NamedTuple):
    """One key for each thing in a move that is random."""

    latent: Key
    label: Key  # of the samples
    real: Key  # dropout and noise of the discriminator on data
    fake: Key  # and on samples
    penalty: Key
    mask: Key  # dropout inside a penalty


@dataclasses.dataclass(frozen=True, kw_only=True)
class ACGAN:
    """In each step the discriminator moves `rounds` times up L_S + L_C, then the generator once up L_C - L_S."""

    generator: nn.Module
    discriminator: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    loss: losses.Loss  # of the source: -L_S
    penalty: penalties.Penalty
    latent: latents.Latent
    latent_size: int
    classes: int
    real_class_weight: float = 1.0  # in the discriminator's loss
    fake_class_weight: float = 1.0  # 0 teaches it classes from data only
    g_class_weight: float = 1.0
    g_batches: int = 1  # the generator's step sees so many times the discriminator's batch
    rounds: int = 1
    decay: float = 0.0  # of the running average that is sampled; 0 samples the generator itself

    def init(self, rng: Key, batch: Batch) -> GameState:
        g_rng, d_rng, z_rng = jax.random.split(rng, 3)
        told = self.one_hot(batch["label"])
        g = create(self.generator, self.g_tx, g_rng, self.latents(z_rng, batch), told, train=False)
        d = create(self.discriminator, self.d_tx, d_rng, batch["image"], train=False)
        return GameState(step=jnp.zeros((), jnp.int32), g=g, d=d, average=still(g), memory=self.penalty.memory)

    def train_step(self, state: GameState, batch: Batch, rng: Key) -> tuple[GameState, Metrics]:
        d_rng, g_rng = jax.random.split(rng)
        move = partial(self.discriminator_move, state.g)
        (d, memory), seen = play(self.rounds, move, (state.d, state.memory), batch, d_rng)
        g, made = self.generator_move(state.g, d, last_round(self.rounds, batch), g_rng)
        average = ema(state.average, g, self.decay)
        return state.replace(step=state.step + 1, g=g, d=d, average=average, memory=memory), seen | made

    def discriminator_move(self, g: Net, players, batch: Batch, rng: Key):
        """Ascends the gradient of L_S + L_C on one minibatch of data and one of samples."""
        d, memory = players
        keys, real, told = split_keys(rng), batch["image"], self.one_hot(batch["label"])
        z, asked = self.draw(keys, count(batch))
        fake, _ = apply(self.generator, g, z, asked, train=True)  # its statistics are dropped

        def loss(params):
            """What the discriminator pays, with its statistics, what its penalty remembers, and metrics."""
            judge = partial(apply, self.discriminator, params=params, train=True)
            (real_logits, of_real), stats = judge(d, real, rngs={"dropout": keys.real})
            seen = d.replace(stats=stats)  # data and samples are separate batches, one after the other
            (fake_logits, of_fake), stats = judge(seen, fake, rngs={"dropout": keys.fake})

            def score(x):
                return judge(seen, x, rngs={"dropout": keys.mask})[0][0]

            evidence = penalties.Evidence(params, score, real, fake, real_logits, fake_logits, keys.penalty)
            price, paid, remembered = self.penalty.cost(evidence, memory)
            real_class, fake_class = cross_entropy(of_real, told), cross_entropy(of_fake, asked)
            value = self.loss.d(real_logits, fake_logits)
            value = value + self.real_class_weight * real_class + self.fake_class_weight * fake_class
            metrics = {"loss/d": value, "score/real": real_logits.mean(), "score/fake": fake_logits.mean()}
            metrics |= {"loss/class_real": real_class, "loss/class_fake": fake_class}
            metrics |= {"accuracy/real": accuracy(of_real, told), "accuracy/fake": accuracy(of_fake, asked)}
            return value + price, (stats, (remembered, metrics | paid))

        moved, (memory, metrics) = descend(d, self.d_tx, loss)
        return (moved.replace(params=self.penalty.project(moved.params)), memory), metrics

    def generator_move(self, g: Net, d: Net, batch: Batch, rng: Key) -> tuple[Net, Metrics]:
        """Ascends the gradient of L_C - L_S; the discriminator and its statistics stay as they are."""
        keys, batch = split_keys(rng), enlarged(batch, self.g_batches)
        z, asked = self.draw(keys, count(batch))
        judge = partial(apply, self.discriminator, d, train=True)
        # Only relativistic losses look at the data here; elsewhere the compiler drops this pass.
        (real_logits, _), _ = judge(batch["image"], rngs={"dropout": keys.real})

        def loss(params):
            fake, stats = apply(self.generator, g, z, asked, params=params, train=True)
            (fake_logits, of_fake), _ = judge(fake, rngs={"dropout": keys.fake})
            value = self.loss.g(real_logits, fake_logits) + self.g_class_weight * cross_entropy(of_fake, asked)
            return value, (stats, {"loss/g": value})

        return descend(g, self.g_tx, loss)

    def draw(self, keys: Keys, number: int) -> tuple[jax.Array, jax.Array]:
        """What samples are made of: noise [number, Z], and one-hot classes [number, K], each as likely as any other."""
        asked = latents.labels(keys.label, number, self.classes)
        return self.latent(keys.latent, number, self.latent_size), self.one_hot(asked)

    def one_hot(self, label: jax.Array) -> jax.Array:
        return jax.nn.one_hot(label, self.classes)

    def latents(self, rng: Key, batch: Batch) -> jax.Array:
        return self.latent(rng, count(batch), self.latent_size)

    def generate(self, state: GameState, latents: jax.Array, batch: Batch) -> jax.Array:
        return apply(self.generator, state.average, latents, self.one_hot(batch["label"]), train=False)[0]

    def sample(self, state: GameState, batch: Batch, rng: Key) -> jax.Array:
        return self.generate(state, self.latents(rng, batch), batch)

    def score(self, state: GameState, examples: jax.Array, batch: Batch) -> jax.Array:
        return apply(self.discriminator, state.d, examples, train=False)[0][0]

    def classify(self, state: GameState, examples: jax.Array) -> jax.Array:
        """Logits [B, K] of the auxiliary classifier."""
        return apply(self.discriminator, state.d, examples, train=False)[0][1]


def split_keys(rng: Key) -> Keys:
    return Keys(*jax.random.split(rng, len(Keys._fields)))


# ----------------------------------------------------------------------------------------------- from a config


def stages(config) -> tuple[Stage, ...]:
    """One stage: the game with two heads."""
    model = config.model
    classes = check(config)
    nets = choose(model.nets, NETS, "networks (config.model.nets)")
    generator, discriminator = nets(config, base.example_shape(config.data), classes, jnp.dtype(config.dtype))
    game = ACGAN(
        generator=generator,
        discriminator=discriminator,
        g_tx=optimizers.build(model.g_optimizer, "g_optimizer"),
        d_tx=optimizers.build(model.d_optimizer, "d_optimizer"),
        loss=losses.scaled(losses.build(model.loss, real_label=model.real_label), d=model.d_loss_scale),
        penalty=penalties.build(model.penalty, model.penalty_weight),
        latent=choose(model.latent, latents.BY_NAME, "latent (config.model.latent)"),
        latent_size=model.latent_size,
        classes=classes,
        decay=ema_decay(model.half_life, config.batch_size),
        **{key: model[key] for key in (*WEIGHTS, *COUNTS)},
    )
    return (Stage("adversarial", game, config.steps, config.batch_size),)


WEIGHTS = ("real_class_weight", "fake_class_weight", "g_class_weight")
COUNTS = ("g_batches", "rounds")


def check(config) -> int:
    """The number of classes.

    Raises:
      InputError: for data that is not labelled images, or a value out of range.
    """
    model, data = config.model, config.data
    if data.domain != "image":
        raise InputError(f"config.gan='acgan' makes images, and dataset '{data.name}' holds {data.domain}s")
    if not data.classes:
        raise InputError(f"config.data.name='{data.name}' has no labels; config.gan='acgan' learns classes from them")
    for key in WEIGHTS:
        if model[key] < 0:
            raise InputError(f"config.model.{key}={model[key]} must not be negative")
    for key in COUNTS:
        if model[key] < 1:
            raise InputError(f"config.model.{key}={model[key]} must be at least 1")
    if not 0.0 <= model.d_dropout < 1.0:
        raise InputError(f"config.model.d_dropout={model.d_dropout} is a probability: at least 0 and below 1")
    return data.classes


def odena2016(config, shape: tuple[int, int, int], classes: int, dtype) -> tuple[nn.Module, nn.Module]:
    """The paper's pair (table 1)."""
    generator = Generator(shape, some(config.model, "g_widths", 1), dtype)
    base_of(shape, len(generator.widths))
    return generator, Discriminator(classes, **judging(config.model), dtype=dtype)


def lukedeo(config, shape: tuple[int, int, int], classes: int, dtype) -> tuple[nn.Module, nn.Module]:
    """The pair of keras-acgan."""
    generator = UpsamplingGenerator(shape, some(config.model, "g_widths", 2), dtype)
    base_of(shape, len(generator.widths) - 2)
    keras = {"slope": 0.3, "kernel_init": glorot_uniform}  # the defaults of its time
    return generator, Discriminator(classes, **judging(config.model), **keras, dtype=dtype)


def gulrajani2017(config, shape: tuple[int, int, int], classes: int, dtype) -> tuple[nn.Module, nn.Module]:
    """The residual pair of `gan_cifar_resnet.py`: classes set the gains of the generator's norms."""
    model = config.model
    if (model.d_norm, model.d_dropout, model.d_noise) != ("none", 0.0, 0.0):
        raise InputError(
            "config.model.nets='gulrajani2017' has a critic without batch norm, dropout and noise: use d_norm='none', "
            "d_dropout=0 and d_noise=0"
        )
    generator = resnet.Generator(shape, some(model, "g_widths", 2), dtype=dtype)
    resnet.base(shape, len(generator.widths) - 1)
    ends = {"pool": resnet.rectified_mean, "head": partial(TwoHeads, classes=classes)}
    return generator, resnet.Discriminator(some(model, "d_widths", 2), down=2, **ends, dtype=dtype)


def judging(model) -> dict:
    """The fields of the plain pairs' discriminators."""
    norm = choose(model.d_norm, NORMS, "norm (config.model.d_norm)")
    widths = some(model, "d_widths", 1)
    return {"widths": widths, "norm": norm, "dropout": model.d_dropout, "noise": model.d_noise}


def some(model, key: str, least: int) -> tuple[int, ...]:
    widths = tuple(model[key])
    if len(widths) < least or min(widths) < 1:
        raise InputError(f"config.model.{key}={widths} must be at least {least} positive number(s)")
    return widths


NETS = {"odena2016": odena2016, "lukedeo": lukedeo, "gulrajani2017": gulrajani2017}
