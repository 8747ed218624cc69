"""Evolutionary Generative Adversarial Networks (Wang, Xu, Yao, Tao, 2018, arXiv:1803.00657).

One discriminator is the environment of a population of generators. In each step every parent is mutated by each of
several losses, one optimiser step each; the children are judged by how real their samples look and by how little the
discriminator could still gain from them; the fittest survive, with their optimisers, and the discriminator learns from
what they showed (algorithm 1).

A step brings `rounds` real minibatches, one for each move of the discriminator. All of them together are the data on
which children are judged, each by `showing` minibatches of its own samples; the discriminator then meets the first of
those, in which every survivor has an equal part.

Where we differ from the authors' Theano code: its lists of parents and of children are one object, so that its second
mutation starts from the first one's child; we mutate the parent, as the paper and the authors' PyTorch code do. There,
too, a child's optimiser comes from its parent. Its weight of the diversity, beta, is half of our gamma. Children are
judged on the reals of the step (96 on CIFAR-10), where the Theano code draws 256 others. The least-squares mutation
looks at the discriminator's probability, as in the paper; the PyTorch code's, at the logit, is `least_squares_logits`.

Numbers to expect: an inception score of 7.34 +- .07 on CIFAR-10 with eight survivors and a gradient penalty (as the
paper reports). On toys more modes than its mutations find alone are not to be expected: see `tests/gans/test_egan.py`.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from flax.typing import Dtype

from gan_jax import config as base
from gan_jax import latents, losses, optimizers, penalties
from gan_jax.contract import (
    Array,
    Batch,
    Key,
    Metrics,
    Net,
    PyTree,
    Stage,
    apply,
    count,
    create,
    descend,
    ema,
    ema_decay,
    play,
    split,
    still,
)
from gan_jax.errors import InputError, choices, choose
from gan_jax.gans import dcgan
from gan_jax.layers.conv import Conv, ConvTranspose
from gan_jax.nets import mlp

# -------------------------------------------------------------------------------- what generators are mutated by

MUTATIONS: dict[str, Callable[[Array], Array]] = {  # of the logits [B] of its samples to what a generator pays
    "heuristic": lambda a: losses.non_saturating().g(a, a),  # -E log D
    "minimax": lambda a: losses.minimax().g(a, a),  # E log(1 - D)
    "least_squares": lambda a: jnp.mean((jax.nn.sigmoid(a) - 1.0) ** 2),  # at the probability D
    "least_squares_logits": lambda a: jnp.mean((a - 1.0) ** 2),
}
NOISE = {  # (draw, rng, n) to the latents of n children: `draw(rng)` makes those of one
    "fresh": lambda draw, rng, n: [draw(key) for key in jax.random.split(rng, n)],
    "shared": lambda draw, rng, n: [draw(rng)] * n,  # children differ by their mutation alone
}


@struct.dataclass
class EGANState:
    """The survivors, the fittest first, and their environment."""

    step: PyTree  # int32 []
    population: tuple[Net, ...]
    d: Net
    average: Net  # of the fittest; in a larger population its lineage may change from one step to the next
    memory: PyTree  # of the discriminator's penalty

    @property
    def g(self) -> Net:
        return self.population[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EGAN:
    """Algorithm 1. `rounds` is the paper's n_D, `survivors` its mu, `gamma` the weight of diversity."""

    generator: nn.Module
    discriminator: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    latent: latents.Latent
    latent_size: int
    mutations: dict[str, Callable[[Array], Array]]
    noise: Callable
    penalty: penalties.Penalty
    gamma: float
    survivors: int = 1
    rounds: int = 1
    showing: int = 1  # minibatches of samples by which a child is judged
    domain: str = "image"
    decay: float = 0.0  # of the running average that is sampled
    d_loss: Callable[[Array, Array], Array] = losses.non_saturating().d  # -E log D(x) - E log(1 - D(G(z)))

    def init(self, rng: Key, batch: Batch) -> EGANState:
        g_rng, d_rng, z_rng = jax.random.split(rng, 3)
        z, keys = self.latents(z_rng, batch), jax.random.split(g_rng, self.survivors)
        population = tuple(create(self.generator, self.g_tx, key, z, train=False) for key in keys)
        d = create(self.discriminator, self.d_tx, d_rng, batch[self.domain], train=False)
        memory = self.penalty.memory
        return EGANState(jnp.zeros((), jnp.int32), population, d, still(population[0]), memory)

    def train_step(self, state: EGANState, batch: Batch, rng: Key) -> tuple[EGANState, Metrics]:
        variation_rng, evaluation_rng, learning_rng = jax.random.split(rng, 3)
        real = batch[self.domain] if self.rounds > 1 else batch[self.domain][None]  # [rounds, B, ...]
        births = list(product(state.population, self.mutations.values()))  # unrolled: nothing is mapped over kernels

        zs = self.noise(self.draw(real.shape[1]), variation_rng, len(births))
        born = [self.vary(g, cost, state.d, z) for (g, cost), z in zip(births, zs, strict=True)]
        children, costs = zip(*born, strict=True)

        zs = self.noise(self.draw(real.shape[1] * self.showing), evaluation_rng, len(births))
        shown = [apply(self.generator, g, z, train=True)[0] for g, z in zip(children, zs, strict=True)]
        marks = [self.fitness(state.d, together(real), fake) for fake in shown]

        _, fittest = jax.lax.top_k(jnp.stack([mark["fitness"] for mark in marks]), self.survivors)
        population = tuple(pick(i, children) for i in fittest)
        fake = self.deal([pick(i, shown) for i in fittest])
        (d, memory), seen = self.learn((state.d, state.memory), real, fake, learning_rng)

        average = ema(state.average, population[0], self.decay)
        state = EGANState(state.step + 1, population, d, average, memory)
        chosen = fittest % len(self.mutations)
        shares = {f"survived_{name}": jnp.mean(chosen == i, dtype=jnp.float32) for i, name in enumerate(self.mutations)}
        return state, seen | {"loss/g": pick(fittest[0], costs)} | pick(fittest[0], marks) | shares

    def vary(self, parent: Net, cost: Callable[[Array], Array], d: Net, z: Array) -> tuple[Net, Array]:
        """A child: one optimiser step from its parent down one of the mutations' costs."""

        def loss(params):
            fake, stats = apply(self.generator, parent, z, params=params, train=True)
            paid = cost(apply(self.discriminator, d, fake, train=True)[0])
            return paid, (stats, paid)

        return descend(parent, self.g_tx, loss)

    def fitness(self, d: Net, real: Array, fake: Array) -> Metrics:
        """F = F_q + gamma F_d: how real samples look, and minus the logarithm of the norm of the gradient that they
        would give the discriminator. Where that is large, the samples have collapsed and will soon be found out."""

        def loss(params):
            real_logits, fake_logits = (
                apply(self.discriminator, d, x, params=params, train=True)[0] for x in (real, fake)
            )
            return self.d_loss(real_logits, fake_logits), fake_logits

        gradient, fake_logits = jax.grad(loss, has_aux=True)(d.params)
        quality = jax.nn.sigmoid(fake_logits).mean()
        diversity = -jnp.log(optax.tree.norm(gradient) + 1e-12)
        return {"fitness": quality + self.gamma * diversity, "quality": quality, "diversity": diversity}

    def deal(self, samples: list[Array]) -> Array:
        """Of each survivor's samples [showing B, ...] an equal part to every minibatch: [rounds, B, ...]."""
        parts = jnp.stack([split(fake, self.showing * self.survivors) for fake in samples], axis=2)
        return parts.reshape(parts.shape[0], -1, *parts.shape[3:])[: self.rounds]

    def learn(self, players, real: Array, fake: Array, rng: Key):
        """The discriminator moves once for every pair of minibatches."""
        pairs = {"real": real, "fake": fake}
        pairs = pairs if self.rounds > 1 else jax.tree.map(lambda leaf: leaf[0], pairs)
        return play(self.rounds, self.discriminator_move, players, pairs, rng)

    def discriminator_move(self, players, pair: dict[str, Array], rng: Key):
        """One update on a minibatch of data and one of samples [B, ...]."""
        (d, memory), real, fake = players, pair["real"], pair["fake"]

        def loss(params):
            judge = partial(apply, self.discriminator, params=params, train=True)
            real_logits, stats = judge(d, real)
            seen = d.replace(stats=stats)  # data and samples are separate batches, one after the other
            fake_logits, stats = judge(seen, fake)
            evidence = penalties.Evidence(
                params, lambda x: judge(seen, x)[0], real, fake, real_logits, fake_logits, rng
            )
            price, paid, remembered = self.penalty.cost(evidence, memory)
            adversarial = self.d_loss(real_logits, fake_logits)
            metrics = {"loss/d": adversarial, "score/real": real_logits.mean(), "score/fake": fake_logits.mean()}
            return adversarial + price, (stats, (remembered, metrics | paid))

        moved, (memory, metrics) = descend(d, self.d_tx, loss)
        return (moved.replace(params=self.penalty.project(moved.params)), memory), metrics

    def draw(self, size: int) -> Callable[[Key], Array]:
        return lambda rng: self.latent(rng, size, self.latent_size)

    def latents(self, rng: Key, batch: Batch) -> Array:
        return self.draw(count(batch))(rng)

    def generate(self, state: EGANState, latents: Array, batch: Batch) -> Array:
        return apply(self.generator, state.average, latents, train=False)[0]

    def sample(self, state: EGANState, batch: Batch, rng: Key) -> Array:
        return self.generate(state, self.latents(rng, batch), batch)

    def score(self, state: EGANState, examples: Array, batch: Batch) -> Array:
        return apply(self.discriminator, state.d, examples, train=False)[0]


def pick(i: Array, candidates) -> PyTree:
    """The i-th of several equal pytrees."""
    return jax.tree.map(lambda *leaves: jax.lax.select_n(i, *leaves), *candidates)


def together(rounds: Array) -> Array:
    """[rounds, B, ...] to [B rounds, ...]: the examples of a device stay where they are."""
    return jnp.moveaxis(rounds, 0, 1).reshape(-1, *rounds.shape[2:])


# ---------------------------------------------------------------------- the authors' networks (`models_uncond.py`)

weights = nn.initializers.normal(0.02)


class Generator(nn.Module):
    """z [B, Z] to images [B, *shape] in [-1, 1], without batch norm."""

    shape: tuple[int, int, int]
    widths: tuple[int, ...]  # channels of the hidden layers, from the base on
    ups: int  # how often the base is doubled: as often as there are widths, or once less and a 3x3 layer follows
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, *, train: bool):
        same = {"kernel_init": weights, "dtype": self.dtype}
        up = partial(ConvTranspose, kernel_size=(4, 4), strides=(2, 2), **same)
        height, width = (side >> self.ups for side in self.shape[:2])
        h = nn.relu(nn.Dense(height * width * self.widths[0], **same)(z.astype(self.dtype)))
        h = h.reshape(-1, height, width, self.widths[0])
        for features in self.widths[1:]:
            h = nn.relu(up(features)(h))
        last = up(self.shape[2]) if self.ups == len(self.widths) else Conv(self.shape[2], (3, 3), **same)
        return jnp.tanh(last(h).astype(jnp.float32))


class Discriminator(nn.Module):
    """Images [B, H, W, C] to logits [B]: 4x4 layers whose channels double; batch norm in all but the first."""

    width: int
    downs: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        down = partial(Conv, kernel_size=(4, 4), strides=(2, 2), kernel_init=weights, dtype=self.dtype)
        h = nn.leaky_relu(down(self.width)(x.astype(self.dtype)), 0.2)
        for level in range(1, self.downs):
            h = down(self.width * 2**level, use_bias=False)(h)
            h = nn.leaky_relu(lasagne_norm(train, self.dtype)(h), 0.2)
        h = h.reshape(h.shape[0], -1)
        self.sow("intermediates", "features", h)
        return nn.Dense(1, kernel_init=weights, dtype=self.dtype)(h).astype(jnp.float32)[:, 0]


def lasagne_norm(train: bool, dtype) -> nn.BatchNorm:
    """Lasagne's batch norm; the layer before it has no bias."""
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-4, dtype=dtype)


class ToyGenerator(nn.Module):
    """z [B, Z] to points [B, *shape]."""

    shape: tuple[int, ...]
    width: int = 512
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, *, train: bool):
        dense = partial(nn.Dense, kernel_init=weights, dtype=self.dtype)
        h = z.astype(self.dtype)
        for _ in range(3):
            h = nn.relu(dense(self.width)(h))
        return dense(math.prod(self.shape))(h).astype(jnp.float32).reshape(-1, *self.shape)


class ToyDiscriminator(nn.Module):
    """Points [B, ...] to logits [B]: batch norm in the second of three hidden layers."""

    width: int = 512
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        dense = partial(nn.Dense, kernel_init=weights, dtype=self.dtype)
        h = nn.relu(dense(self.width)(x.reshape(x.shape[0], -1).astype(self.dtype)))
        h = nn.relu(lasagne_norm(train, self.dtype)(dense(self.width, use_bias=False)(h)))
        h = nn.relu(dense(self.width)(h))
        return dense(1)(h).astype(jnp.float32)[:, 0]


# ----------------------------------------------------------------------------------------------- from a config


def stages(config) -> tuple[Stage, ...]:
    """One stage: a population in the environment of one discriminator.

    Raises:
      InputError: for a name that is not in its table, a population that cannot be, or networks that do not go with the
        data.
    """
    model, shape, dtype = config.model, base.example_shape(config.data), jnp.dtype(config.dtype)
    generator, discriminator = choose(model.nets, NETS, "networks (config.model.nets)")(config, shape, dtype)
    names = tuple(model.mutations)
    mutations = {name: choose(name, MUTATIONS, "mutation (config.model.mutations)") for name in names}
    check_population(config, len(names))
    game = EGAN(
        generator=generator,
        discriminator=discriminator,
        g_tx=optimizers.build(model.g_optimizer, "g_optimizer"),
        d_tx=optimizers.build(model.d_optimizer, "d_optimizer"),
        latent=choose(model.latent, latents.BY_NAME, "latent (config.model.latent)"),
        latent_size=model.latent_size,
        mutations=mutations,
        noise=choose(model.noise, NOISE, "noise of the children (config.model.noise)"),
        penalty=penalties.build(model.penalty, model.penalty_weight),
        gamma=model.gamma,
        survivors=model.survivors,
        rounds=model.rounds,
        showing=model.showing,
        domain=config.data.domain,
        decay=ema_decay(model.half_life, config.batch_size),
    )
    return (Stage("evolution", game, config.steps, config.batch_size),)


def check_population(config, mutations: int) -> None:
    """Raises InputError where a generation cannot have these sizes."""
    model = config.model
    for key in ("survivors", "rounds", "showing"):
        if model[key] < 1:
            raise InputError(f"config.model.{key}={model[key]} must be at least 1")
    if mutations == 0:
        raise InputError(f"config.model.mutations is empty; name at least one of {choices(MUTATIONS)}")
    if config.batch_size % model.survivors:
        raise InputError(
            f"config.batch_size={config.batch_size} must be a multiple of config.model.survivors={model.survivors}: "
            "every survivor has an equal part in a minibatch"
        )
    if model.showing * model.survivors < model.rounds:
        raise InputError(
            f"config.model.showing={model.showing} minibatches from each of {model.survivors} survivors are too few "
            f"for config.model.rounds={model.rounds} discriminator moves; use {-(-model.rounds // model.survivors)}"
        )


def images(config, shape: tuple[int, ...]) -> int:
    """How often these images are halved; InputError where there are none."""
    if config.data.domain != "image":
        raise InputError(
            f"config.model.nets='{config.model.nets}' makes images, and dataset '{config.data.name}' holds "
            f"{config.data.domain}s; use 'mlp' or 'toy'"
        )
    return dcgan.levels(*shape[:2])


def small_images(config, shape, dtype):
    """`build_generator_32` and its opponent, for any number of levels."""
    k, model = images(config, shape), config.model
    widths = tuple(model.g_width * 2**level for level in reversed(range(k)))
    return Generator(shape, widths, k, dtype), Discriminator(model.d_width, k, dtype)


def large_images(config, shape, dtype):
    """`build_generator_64`: channels fall by half at every second level, and the last layer is a 3x3 convolution."""
    k, model = images(config, shape), config.model
    widths = tuple(model.g_width * 2 ** ((level + 1) // 2 + 1) for level in reversed(range(k + 1)))
    return Generator(shape, widths, k, dtype), Discriminator(model.d_width, k, dtype)


def toy(config, shape, dtype):
    return ToyGenerator(shape, config.model.g_width, dtype), ToyDiscriminator(config.model.d_width, dtype)


def perceptrons(config, shape, dtype):
    widths, squash = tuple(config.model.widths), jnp.tanh if config.data.domain == "image" else None
    return mlp.Generator(shape, widths, squash=squash, dtype=dtype), mlp.Discriminator(widths, dtype=dtype)


NETS = {"small": small_images, "large": large_images, "toy": toy, "mlp": perceptrons}
