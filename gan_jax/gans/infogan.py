"""InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial Nets (Chen, Duan,
Houthooft, Schulman, Sutskever, Abbeel, 2016, arXiv:1606.03657).

The latent is noise z and a code c of a few categorical and continuous variables; a network Q tells the code from the
sample, and the generator is paid for being told from. Nobody says what the codes mean: on MNIST a ten-way code becomes
the digit, two continuous ones its slant and its width.

Q shares all its layers with the discriminator but a small head. As in the authors' code it is the discriminator's
optimiser that moves it, on fakes; data does not enter the information. Both players descend `V - lambda L_I(G, Q)`.

Where we differ:
  * Images are in [-1, 1], so the generator's sigmoid becomes the same curve on that range, tanh(x / 2), and the
    discriminator sees data of twice the scale.
  * Losses are computed from logits; the code adds 1e-8 inside logarithms.
  * The generator's step leaves the running statistics of the discriminator alone. Samples, and `recognise`, take those.
  * Values of the code are the defaults: leaky rectifiers of slope .01 (the paper's are .1), deviations of Q held at 1
    (learned in the paper: `std="learned"`). But lambda is .1 for continuous codes, which the paper has smaller too:
    with the code's 1 they held half of what a digit is (one seed, 5,000 updates: the categorical code matched 58 %;
    with .1, after 2,000 updates, 91 %; networks of half the width).

Numbers to expect: the categorical code of MNIST matches the digit in 95 % of the cases (paper, section 7.2), and its
information comes near ln 10 = 2.30 nats (figure 1).
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.typing import Dtype

from gan_jax import config as base
from gan_jax import latents, losses, optimizers
from gan_jax.contract import (
    Array,
    Batch,
    Key,
    Metrics,
    Net,
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
from gan_jax.gans.dcgan import Norm
from gan_jax.layers.conv import Conv, ConvTranspose
from gan_jax.reconstruction import mutual_information_categorical, mutual_information_gaussian

dense_weights = nn.initializers.normal(0.02)
conv_weights = nn.initializers.truncated_normal(0.02)
Latents = dict[str, Any]  # noise [B, Z]; categorical, a tuple of one-hots [B, K]; continuous, a tuple of [B, 1]

OUTPUTS = {"sigmoid": lambda x: jnp.tanh(x / 2), "tanh": jnp.tanh}  # a sigmoid, stretched to [-1, 1]
DEVIATIONS = {"fixed": jnp.zeros_like, "learned": lambda log_std: log_std}


class Posterior(NamedTuple):
    """Q(c|x): a logit [B, K] for each value of the categorical codes, a normal [B, 1] for each continuous one."""

    categorical: tuple[Array, ...]
    mean: tuple[Array, ...]
    log_std: tuple[Array, ...]


class Generator(nn.Module):
    """Latents to images [B, *shape] in [-1, 1]: dense layers, then one transposed convolution per doubling."""

    shape: tuple[int, int, int]
    hidden: tuple[int, ...] = (1024,)
    widths: tuple[int, ...] = (128, 64)  # channels of the maps, from the smallest; each is half of the next in size
    normed: int = 2  # so many of the maps, from the smallest, have batch norm
    output: Callable = OUTPUTS["sigmoid"]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z: Latents, *, train: bool):
        height, width, channels = self.shape
        norm = partial(Norm, True, 1e-5, self.dtype)
        dense = partial(nn.Dense, kernel_init=dense_weights, dtype=self.dtype)
        up = partial(
            ConvTranspose, kernel_size=(4, 4), strides=(2, 2), kernel_init=dense_weights, dtype=self.dtype
        )  # in the authors' code these are not truncated
        h = jnp.concatenate([z["noise"], *z["categorical"], *z["continuous"]], axis=-1).astype(self.dtype)
        for units in self.hidden:
            h = nn.relu(norm()(dense(units)(h), train=train))
        base = (height >> len(self.widths), width >> len(self.widths), self.widths[0])
        h = nn.relu(norm()(dense(math.prod(base))(h), train=train)).reshape(-1, *base)  # normalised per unit
        for level, features in enumerate(self.widths[1:], start=1):
            h = up(features)(h)
            h = nn.relu(norm()(h, train=train) if level < self.normed else h)
        return self.output(up(channels)(h).astype(jnp.float32))


class Discriminator(nn.Module):
    """Images [B, H, W, C] to logits [B] and the posterior of their codes: one trunk, two heads."""

    categorical: tuple[int, ...]  # values of each code
    continuous: int  # how many codes
    widths: tuple[int, ...] = (64, 128)
    hidden: tuple[int, ...] = (1024,)
    head: int = 128  # units of Q's own hidden layer
    slope: float = 0.01
    std: Callable = DEVIATIONS["fixed"]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        norm = partial(Norm, True, 1e-5, self.dtype)
        dense = partial(nn.Dense, kernel_init=dense_weights, dtype=self.dtype)
        h = x.astype(self.dtype)
        for level, features in enumerate(self.widths):
            h = Conv(features, (4, 4), (2, 2), kernel_init=conv_weights, dtype=self.dtype)(h)
            h = nn.leaky_relu(norm()(h, train=train) if level else h, self.slope)
        h = h.reshape(h.shape[0], -1)
        for units in self.hidden:
            h = nn.leaky_relu(norm()(dense(units)(h), train=train), self.slope)
        self.sow("intermediates", "features", h)
        logits = dense(1, name="verdict")(h).astype(jnp.float32)[:, 0]
        q = nn.leaky_relu(norm(name="q_norm")(dense(self.head, name="q_hidden")(h), train=train), self.slope)
        return logits, self.posterior(dense(sum(self.categorical) + 2 * self.continuous, name="q_output")(q))

    def posterior(self, flat) -> Posterior:
        """The parts of Q's output [B, sum of K + 2 n]: logits, then means, then logarithms of deviations."""
        sizes = [*self.categorical, *[1] * (2 * self.continuous)]
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
        parts = jnp.split(flat.astype(jnp.float32), ends, axis=-1)
        logits, normal = parts[: len(self.categorical)], parts[len(self.categorical) :]
        mean, log_std = normal[: self.continuous], normal[self.continuous :]
        return Posterior(tuple(logits), tuple(mean), tuple(self.std(part) for part in log_std))


@dataclasses.dataclass(frozen=True, kw_only=True)
class InfoGAN:
    """The information-regularised game, eq. 6. The discriminator's `Net` holds the trunk, D and Q."""

    generator: nn.Module
    discriminator: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    loss: losses.Loss
    latent: latents.Latent
    latent_size: int  # of the noise
    categorical: tuple[int, ...]
    continuous: int
    categorical_weight: float = 1.0  # lambda
    continuous_weight: float = 1.0
    decay: float = 0.0  # of the running average that is sampled; 0 samples the generator itself
    rounds: int = 1

    def init(self, rng: Key, batch: Batch) -> State:
        g_rng, d_rng, z_rng = jax.random.split(rng, 3)
        g = create(self.generator, self.g_tx, g_rng, self.latents(z_rng, batch), train=False)
        d = create(self.discriminator, self.d_tx, d_rng, batch["image"], train=False)
        return State(step=jnp.zeros((), jnp.int32), g=g, d=d, average=still(g))

    def train_step(self, state: State, batch: Batch, rng: Key) -> tuple[State, Metrics]:
        d_rng, g_rng = jax.random.split(rng)
        d, seen = self.discriminator_move(state.g, state.d, batch, d_rng)
        g, made = self.generator_move(state.g, d, batch, g_rng)
        average = ema(state.average, g, self.decay)
        return state.replace(step=state.step + 1, g=g, d=d, average=average), seen | made

    def discriminator_move(self, g: Net, d: Net, batch: Batch, rng: Key) -> tuple[Net, Metrics]:
        """D learns to tell data from samples, Q to tell the codes of the samples; the trunk learns from both."""
        z = self.latents(rng, batch)
        fake, _ = apply(self.generator, g, z, train=True)  # its statistics are dropped

        def loss(params):
            judge = partial(apply, self.discriminator, params=params, train=True)
            (real_logits, _), stats = judge(d, batch["image"])  # data and samples are separate batches
            (fake_logits, posterior), stats = judge(d.replace(stats=stats), fake)
            adversarial, (information, _) = self.loss.d(real_logits, fake_logits), self.information(z, posterior)
            metrics = {"loss/d": adversarial, "score/real": real_logits.mean(), "score/fake": fake_logits.mean()}
            return adversarial - information, (stats, metrics)

        return descend(d, self.d_tx, loss)

    def generator_move(self, g: Net, d: Net, batch: Batch, rng: Key) -> tuple[Net, Metrics]:
        """The generator learns, from fresh latents, to pass for data and to show its codes to Q, which stands still."""
        z = self.latents(rng, batch)

        def loss(params):
            fake, stats = apply(self.generator, g, z, params=params, train=True)
            (fake_logits, posterior), _ = apply(self.discriminator, d, fake, train=True)  # D's statistics are dropped
            adversarial, (information, shares) = self.loss.g(fake_logits, fake_logits), self.information(z, posterior)
            return adversarial - information, (stats, {"loss/g": adversarial, "information": information} | shares)

        return descend(g, self.g_tx, loss)

    def information(self, z: Latents, posterior: Posterior) -> tuple[Array, Metrics]:
        """lambda L_I(G, Q) of eq. 5, and what each code adds to L_I, in nats."""
        categorical = list(map(mutual_information_categorical, z["categorical"], posterior.categorical))
        continuous = list(map(mutual_information_gaussian, z["continuous"], posterior.mean, posterior.log_std))
        shares = {f"monitor/info_categorical_{i}": value for i, value in enumerate(categorical)}
        shares |= {f"monitor/info_continuous_{i}": value for i, value in enumerate(continuous)}
        weights = [self.categorical_weight] * len(categorical) + [self.continuous_weight] * len(continuous)
        total = sum(weight * value for weight, value in zip(weights, shares.values(), strict=True))
        return total, shares

    def latents(self, rng: Key, batch: Batch) -> Latents:
        noise_rng, code_rng = jax.random.split(rng)
        noise = self.latent(noise_rng, count(batch), self.latent_size)
        return {"noise": noise} | latents.codes(code_rng, count(batch), self.categorical, self.continuous)

    def generate(self, state: State, latents: Latents, batch: Batch) -> Array:
        return apply(self.generator, state.average, latents, train=False)[0]

    def sample(self, state: State, batch: Batch, rng: Key) -> Array:
        return self.generate(state, self.latents(rng, batch), batch)

    def score(self, state: State, examples: Array, batch: Batch) -> Array:
        return apply(self.discriminator, state.d, examples, train=False)[0][0]

    def recognise(self, state: State, images: Array) -> Posterior:
        """What Q believes of the codes of these images [B, H, W, C], whatever else is in the batch."""
        return apply(self.discriminator, state.d, images, train=False)[0][1]


def stages(config) -> tuple[Stage, ...]:
    """One stage: the game between the paper's networks, for codes of any number and kind."""
    model, dtype = config.model, jnp.dtype(config.dtype)
    check(config)
    categorical, continuous = tuple(model.categorical), model.continuous
    generator = Generator(
        base.example_shape(config.data),
        hidden=tuple(model.g_hidden),
        widths=tuple(model.g_widths),
        normed=model.g_normed,
        output=choose(model.output, OUTPUTS, "output (config.model.output)"),
        dtype=dtype,
    )
    discriminator = Discriminator(
        categorical,
        continuous,
        widths=tuple(model.d_widths),
        hidden=tuple(model.d_hidden),
        head=model.q_hidden,
        slope=model.slope,
        std=choose(model.std, DEVIATIONS, "deviation of continuous codes (config.model.std)"),
        dtype=dtype,
    )
    game = InfoGAN(
        generator=generator,
        discriminator=discriminator,
        g_tx=optimizers.build(model.g_optimizer, "g_optimizer"),
        d_tx=optimizers.build(model.d_optimizer, "d_optimizer"),
        loss=losses.non_saturating(),
        latent=choose(model.latent, latents.BY_NAME, "latent (config.model.latent)"),
        latent_size=model.latent_size,
        categorical=categorical,
        continuous=continuous,
        categorical_weight=model.categorical_weight,
        continuous_weight=model.continuous_weight,
        decay=ema_decay(model.half_life, config.batch_size),
    )
    return (Stage("adversarial", game, config.steps, config.batch_size),)


def check(config) -> None:
    """Raises InputError for data that the networks cannot make, or codes that are none."""
    model = config.model
    if config.data.domain != "image":
        raise InputError(
            f"config.gan='infogan' makes images, and dataset '{config.data.name}' holds {config.data.domain}s"
        )
    height, width, _ = base.example_shape(config.data)
    factor = 2 ** len(model.g_widths)
    if not model.g_widths or height % factor or width % factor:
        raise InputError(
            f"config.model.g_widths={tuple(model.g_widths)} doubles {len(model.g_widths)} times, so each side of "
            f"config.data.resolution=({height}, {width}) must be a multiple of {factor}"
        )
    if any(values < 2 for values in model.categorical):
        raise InputError(f"config.model.categorical={tuple(model.categorical)}: a code has at least 2 values")
    if model.continuous < 0 or not (model.categorical or model.continuous):
        raise InputError(
            f"config.model.continuous={model.continuous} must not be negative, nor 0 where there is no categorical code"
        )
    if model.latent_size < 1:
        raise InputError(f"config.model.latent_size={model.latent_size} must be at least 1")
