"""Improved Techniques for Training GANs (Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen, 2016, arXiv:1606.03498).

A bag of tricks, and a discriminator that learns to classify from few labels since it must also tell data from samples.
This file is the semi-supervised game of section 5. The discriminator names one of K classes; the class "generated" has
the logit 0, and "data" the logarithm of the sum of exponentials of the others. The generator matches mean features.

The tricks of section 3 belong to every game, by a value of its config:

    feature matching (3.1)             tricks.g_penalty="feature_matching", tricks.g_loss_scale=0.0
    minibatch discrimination (3.2)     d_statistics="minibatch_discrimination"
    historical averaging (3.3)         g_optimizer.historical, d_optimizer.historical
    one-sided label smoothing (3.4)    real_label=0.9
    virtual batch norm (3.5)           g_norm="virtual"
    the Inception score (4)            config.metrics=("is",)

Where we differ from the authors' code:
  * Labelled examples are drawn like unlabelled ones; of 100 digits the code has each once in a minibatch of 100.
  * Layers are initialised from a look at the first minibatch of data; the code looks at 500 labelled examples.
  * Images are in [-1, 1]; the networks for digits shift them to [0, 1] and back.
  * Samples are made with running averages of the batch statistics (or virtual batch norm); the code uses the batch's.

Numbers to expect: 93 +- 6.5 wrong of MNIST's 10,000 test digits from 100 labels (221 +- 136 from 50, 1677 +- 452 from
20, 90 +- 4.2 from 200); 18.63 +- 2.32 % errors on CIFAR-10 from 4,000, 8.11 +- 1.3 % on SVHN from 1,000; an Inception
score of 8.09 +- .07 on CIFAR-10 with minibatch discrimination (tables 1 to 3, figure 5).
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
from flax import struct
from flax.typing import Dtype

from gan_jax import config as base
from gan_jax import latents, losses, optimizers, penalties
from gan_jax.contract import (
    Batch,
    Key,
    Metrics,
    Net,
    PyTree,
    Stage,
    State,
    apply,
    count,
    create,
    descend,
    ema,
    ema_decay,
    still,
)
from gan_jax.errors import InputError, choose
from gan_jax.gans.gan import observe
from gan_jax.layers import statistics
from gan_jax.layers.conv import ConvTranspose
from gan_jax.layers.noise import Disturbance
from gan_jax.layers.virtual_batch_norm import VirtualBatchNorm, WithReference
from gan_jax.layers.weight_norm import WeightNormConv, WeightNormConvTranspose, WeightNormDense

# --------------------------------------------------------------------------------------------------- the generators


class BatchNorm(nn.Module):
    """Batch norm with a learned bias and no gain."""

    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, h, *, train: bool):
        settings = {"momentum": 0.9, "epsilon": 1e-6, "use_scale": False, "use_fast_variance": False}
        return nn.BatchNorm(use_running_average=not train, dtype=self.dtype, **settings)(h)


NORMS = {"batch": BatchNorm, "virtual": partial(VirtualBatchNorm, use_scale=False)}
AROUND = {"virtual": partial(WithReference, place=latents.constrain)}  # what a generator with this norm is put into


class DigitGenerator(nn.Module):
    """z [B, 100] to images [B, *shape] in [-1, 1]: two hidden layers of softplus units."""

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (500, 500)
    norm: Callable = BatchNorm
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, *, train: bool):
        h = z.astype(self.dtype)
        for width in self.widths:
            h = nn.Dense(width, use_bias=False, kernel_init=nn.initializers.glorot_uniform(), dtype=self.dtype)(h)
            h = nn.softplus(self.norm(dtype=self.dtype)(h, train=train))
        start = {"deviation": None, "kernel_init": nn.initializers.glorot_uniform()}
        x = WeightNormDense(math.prod(self.shape), learn_scale=True, dtype=self.dtype, **start)(h)
        return jnp.tanh(x.astype(jnp.float32) / 2).reshape(-1, *self.shape)  # a sigmoid, stretched to [-1, 1]


class PhotoGenerator(nn.Module):
    """z [B, 100] to images [B, H, W, C] in [-1, 1]: each width is a layer of twice the side of the one before."""

    shape: tuple[int, int, int]
    widths: tuple[int, ...] = (512, 256, 128)
    norm: Callable = BatchNorm
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, *, train: bool):
        height, width, channels = self.shape
        halvings = len(self.widths)
        first = (height >> halvings, width >> halvings, self.widths[0])
        shared = {"kernel_init": nn.initializers.normal(0.05), "dtype": self.dtype}
        double = {"kernel_size": (5, 5), "strides": (2, 2), "padding": ((2, 3), (2, 3))}
        h = nn.Dense(math.prod(first), use_bias=False, **shared)(z.astype(self.dtype))
        h = nn.relu(self.norm(dtype=self.dtype)(h, train=train)).reshape(-1, *first)  # normalised unit by unit
        for features in self.widths[1:]:
            h = ConvTranspose(features, **double, use_bias=False, **shared)(h)
            h = nn.relu(self.norm(dtype=self.dtype)(h, train=train))
        x = WeightNormConvTranspose(channels, **double, learn_scale=True, deviation=0.1, **shared)(h)
        return jnp.tanh(x.astype(jnp.float32))


# ----------------------------------------------------------------------------------------------- the discriminators


class DigitClassifier(nn.Module):
    """Images [B, ...] in [-1, 1] to the logits of their classes [B, K]: Gaussian noise before every layer."""

    classes: int
    widths: tuple[int, ...] = (1000, 500, 250, 250, 250)
    disturb_input: tuple[float, float] = (0.0, 0.3)  # dropout, and the deviation of noise on pixels in [0, 1]
    disturb_hidden: tuple[float, float] = (0.0, 0.5)
    statistics: Callable = statistics.BY_NAME["none"]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        dense = partial(WeightNormDense, kernel_init=nn.initializers.normal(0.1), dtype=self.dtype)
        h = ((x.reshape(x.shape[0], -1) + 1.0) / 2.0).astype(self.dtype)
        h = Disturbance(*self.disturb_input)(h, train=train)
        for width in self.widths[:-1]:
            h = Disturbance(*self.disturb_hidden)(nn.relu(dense(width)(h)), train=train)
        h = self.statistics()(nn.relu(dense(self.widths[-1])(h)))
        self.sow("intermediates", "features", h)
        h = Disturbance(*self.disturb_hidden)(h, train=train)
        return dense(self.classes, learn_scale=True)(h).astype(jnp.float32)


class PhotoClassifier(nn.Module):
    """Images [B, H, W, C] to the logits of their classes [B, K].

    For each width three convolutions, the last of which halves the side; then three more without padding, and the mean
    over all positions.
    """

    classes: int
    widths: tuple[int, ...] = (96, 192)
    disturb_input: tuple[float, float] = (0.2, 0.0)  # dropout, and the deviation of noise
    disturb_hidden: tuple[float, float] = (0.5, 0.0)
    statistics: Callable = statistics.BY_NAME["none"]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        def conv(h, width, size, stride=1, pad=0):
            layer = WeightNormConv(width, (size, size), (stride, stride), [(pad, pad)] * 2, dtype=self.dtype)
            return nn.leaky_relu(layer(h), 0.2)

        h = Disturbance(*self.disturb_input)(x.astype(self.dtype), train=train)
        for width in self.widths:
            h = conv(conv(h, width, 3, pad=1), width, 3, pad=1)
            h = Disturbance(*self.disturb_hidden)(conv(h, width, 3, stride=2, pad=1), train=train)
        for size in (3, 1, 1):
            h = conv(h, self.widths[-1], size)
        h = self.statistics()(h.mean(axis=(1, 2)))
        self.sow("intermediates", "features", h)
        return WeightNormDense(self.classes, learn_scale=True, deviation=0.1, dtype=self.dtype)(h).astype(jnp.float32)


# ------------------------------------------------------------------------------------------------------- the game


class Verdict(NamedTuple):
    """What a discriminator says of a batch."""

    logits: jax.Array  # [B, K]
    features: jax.Array  # [B, F], of its last hidden layer


def data_logit(logits: jax.Array) -> jax.Array:
    """[B]: the logit of "data, of whatever class" against "generated" (section 5), from those of the classes [B, K]."""
    return jax.nn.logsumexp(logits, axis=-1)


def supervised(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The cross-entropy of the K classes, given that it is data: L_supervised of section 5."""
    return jnp.mean(data_logit(logits) - jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0])


def unsupervised(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """-1/2 [E log D(x) + E log(1 - D(G(z)))], the discriminator of a plain GAN; the half is the code's."""
    return 0.5 * losses.minimax().d(data_logit(real_logits), data_logit(fake_logits))


def match_features(real: Verdict, fake: Verdict, power: int) -> jax.Array:
    """Section 3.1. The best generator for a classifier, not the one whose samples look best."""
    return penalties.feature_matching(real.features, fake.features, power=power)


def fool(real: Verdict, fake: Verdict) -> jax.Array:
    """E log(1 - D(G(z))), as in the code with minibatch discrimination."""
    return losses.minimax().g(data_logit(real.logits), data_logit(fake.logits))


G_COSTS: dict[str, Callable[[Verdict, Verdict], jax.Array]] = {
    "feature_matching": partial(match_features, power=2),  # the code's for MNIST
    "feature_matching_l1": partial(match_features, power=1),  # and for CIFAR-10 and SVHN
    "minimax": fool,
}


def as_it_is(params: PyTree, step: jax.Array, rate: float) -> PyTree:
    """Weight normalisation makes up for kernels that are too short; biases are too small for some 1 / rate steps."""
    return params


def unbiased(params: PyTree, step: jax.Array, rate: float) -> PyTree:
    """Divided by the weight that the average from zero has come to."""
    weight = 1.0 - (1.0 - rate) ** jnp.maximum(step.astype(jnp.float32), 1.0)
    return jax.tree.map(lambda leaf: leaf / weight, params)


READINGS: dict[str, Callable] = {"from_zero": as_it_is, "unbiased": unbiased}  # of the discriminator's average


@struct.dataclass
class SemiSupervisedState(State):
    """The two players, and the average of the discriminator that classifies."""

    d_average: Net


@dataclasses.dataclass(frozen=True, kw_only=True)
class SemiSupervisedGAN:
    """Section 5: in each step the discriminator moves on labelled, unlabelled and generated examples, then the
    generator, which sees unlabelled examples of its own."""

    generator: nn.Module
    discriminator: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    g_cost: Callable[[Verdict, Verdict], jax.Array]
    latent: latents.Latent
    latent_size: int
    g_moves: int = 1
    weight: float = 1.0  # of the discriminator's unsupervised loss
    average_rate: float = 1e-4
    reading: Callable[[PyTree, jax.Array, float], PyTree] = as_it_is
    decay: float = 0.0  # of the averaged generator; 0 samples the generator itself
    rounds: int = 2  # one minibatch for each player

    def init(self, rng: Key, batch: Batch) -> SemiSupervisedState:
        g_rng, g_noise, d_rng, d_noise, z_rng = jax.random.split(rng, 5)
        z = self.latents(z_rng, batch)
        g = create(self.generator, self.g_tx, {"params": g_rng, "dropout": g_noise}, z, train=True)
        noisy = {"params": d_rng, "dropout": d_noise}
        d = create(self.discriminator, self.d_tx, noisy, batch["image"], train=True)  # looks at the data, noise and all
        zero = still(d).replace(params=jax.tree.map(jnp.zeros_like, d.params))
        return SemiSupervisedState(step=jnp.zeros((), jnp.int32), g=g, d=d, average=still(g), d_average=zero)

    def train_step(self, state: SemiSupervisedState, batch: Batch, rng: Key) -> tuple[SemiSupervisedState, Metrics]:
        first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], batch) for i in (0, 1))
        d_rng, *g_rngs = jax.random.split(rng, 1 + self.g_moves)
        d, seen = self.discriminator_move(state.g, state.d, first, d_rng)
        g = state.g
        for g_rng in g_rngs:
            g, made = self.generator_move(g, d, second, g_rng)
        average = ema(state.average, g, self.decay)
        d_average = ema(state.d_average, d, 1.0 - self.average_rate).replace(stats=d.stats)  # frozen scales stay whole
        state = state.replace(step=state.step + 1, g=g, d=d, average=average, d_average=d_average)
        return state, seen | made

    def discriminator_move(self, g: Net, d: Net, batch: Batch, rng: Key) -> tuple[Net, Metrics]:
        """Descends the gradient of both losses. Each of the three passes has noise of its own."""
        z_rng, g_noise, known_rng, real_rng, fake_rng = jax.random.split(rng, 5)
        fake, _ = apply(self.generator, g, self.latents(z_rng, batch), train=True, rngs={"dropout": g_noise})
        labels = batch["labelled_label"]

        def loss(params):
            net = d.replace(params=params)
            known = self.judge(net, batch["labelled_image"], known_rng).logits
            real, said = self.judge(net, batch["image"], real_rng).logits, self.judge(net, fake, fake_rng).logits
            named, told_apart = supervised(known, labels), unsupervised(real, said)
            metrics = {
                "loss/d": named + self.weight * told_apart,
                "loss/supervised": named,
                "loss/unsupervised": told_apart,
                "score/real": data_logit(real).mean(),
                "score/fake": data_logit(said).mean(),
                "accuracy/labelled": jnp.mean((known.argmax(axis=-1) == labels).astype(jnp.float32)),
            }
            return metrics["loss/d"], (d.stats, metrics)

        return descend(d, self.d_tx, loss)

    def generator_move(self, g: Net, d: Net, batch: Batch, rng: Key) -> tuple[Net, Metrics]:
        """One update of the generator against a discriminator that rests."""
        z_rng, g_noise, real_rng, fake_rng = jax.random.split(rng, 4)
        z, real = self.latents(z_rng, batch), self.judge(d, batch["image"], real_rng)

        def loss(params):
            fake, stats = apply(self.generator, g, z, params=params, train=True, rngs={"dropout": g_noise})
            cost = self.g_cost(real, self.judge(d, fake, fake_rng))
            return cost, (stats, {"loss/g": cost})

        return descend(g, self.g_tx, loss)

    def judge(self, d: Net, x: jax.Array, rng: Key) -> Verdict:
        """The discriminator as it trains, under noise."""
        return Verdict(*observe(self.discriminator, d, x, rngs={"dropout": rng}))

    def classify(self, state: SemiSupervisedState, images: jax.Array) -> jax.Array:
        """The class of each image, int32 [B], by the averaged discriminator without noise."""
        averaged = state.d_average.replace(params=self.reading(state.d_average.params, state.step, self.average_rate))
        return apply(self.discriminator, averaged, images, train=False)[0].argmax(axis=-1).astype(jnp.int32)

    def score(self, state: SemiSupervisedState, examples: jax.Array, batch: Batch) -> jax.Array:
        return data_logit(apply(self.discriminator, state.d, examples, train=False)[0])

    def latents(self, rng: Key, batch: Batch) -> jax.Array:
        return self.latent(rng, count(batch), self.latent_size)

    def generate(self, state: SemiSupervisedState, latents: jax.Array, batch: Batch) -> jax.Array:
        return apply(self.generator, state.average, latents, train=False)[0]

    def sample(self, state: SemiSupervisedState, batch: Batch, rng: Key) -> jax.Array:
        return self.generate(state, self.latents(rng, batch), batch)


# ----------------------------------------------------------------------------------------------- from a config


def stages(config) -> tuple[Stage, ...]:
    """One stage: the semi-supervised game on images of which few are labelled."""
    model, data = config.model, config.data
    if data.domain != "image" or not data.classes or data.labels_per_class is None:
        raise InputError(
            f"config.data.labels_per_class={data.labels_per_class} must say how many labels of each class are known; "
            f"dataset '{data.name}' holds {data.domain}s of {data.classes} classes"
        )
    nets, shape = choose(model.nets, NETS, "networks (config.model.nets)"), base.example_shape(data)
    nets.check(shape, model)
    norm, dtype = choose(model.g_norm, NORMS, "norm (config.model.g_norm)"), jnp.dtype(config.dtype)
    generator = nets.generator(shape, tuple(model.g_widths), norm=norm, dtype=dtype)
    discriminator = nets.discriminator(
        data.classes,
        tuple(model.d_widths),
        disturb_input=tuple(model.d_input),
        disturb_hidden=tuple(model.d_hidden),
        statistics=choose(model.d_statistics, statistics.BY_NAME, "statistics (config.model.d_statistics)"),
        dtype=dtype,
    )
    game = SemiSupervisedGAN(
        generator=AROUND.get(model.g_norm, lambda network: network)(generator),
        discriminator=discriminator,
        g_tx=optimizers.build(model.g_optimizer, "g_optimizer"),
        d_tx=optimizers.build(model.d_optimizer, "d_optimizer"),
        g_cost=choose(model.g_cost, G_COSTS, "cost of the generator (config.model.g_cost)"),
        latent=choose(model.latent, latents.BY_NAME, "latent (config.model.latent)"),
        latent_size=model.latent_size,
        g_moves=model.g_moves,
        weight=model.unsupervised_weight,
        average_rate=model.average_rate,
        reading=choose(model.average, READINGS, "reading of the average (config.model.average)"),
        decay=ema_decay(model.half_life, config.batch_size),
    )
    return (Stage("semi-supervised", game, config.steps, config.batch_size),)


def halves(shape: tuple[int, ...], model) -> None:
    """Convolutions halve the sides; the last ones of the discriminator need three pixels."""
    step, least = 2 ** len(model.g_widths), 3 * 2 ** len(model.d_widths)
    if any(side % step or side < least for side in shape[:2]):
        raise InputError(
            f"config.data.resolution={shape[:2]} must be multiples of {step} and at least {least} with nets='photos': "
            f"the generator has {len(model.g_widths)} widths, the discriminator {len(model.d_widths)}, each a halving"
        )


class Nets(NamedTuple):
    generator: type[nn.Module]
    discriminator: type[nn.Module]
    check: Callable = lambda shape, model: None  # raises InputError for a shape that they cannot make or see


NETS = {"digits": Nets(DigitGenerator, DigitClassifier), "photos": Nets(PhotoGenerator, PhotoClassifier, halves)}
