"""Generative Adversarial Nets (Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio, 2014,
arXiv:1406.2661).

A generator maps noise to samples; a discriminator says which samples are data; each learns from the other.

This file is also the classical two-player game of the library: Algorithm 1 with exchangeable networks, loss, penalty,
optimisers and number of critic rounds. A paper that only brings other values imports `two_player` and supplies them.

Where we differ from the paper and its code:
  * The generator maximises log D(G(z)) by default, as the authors' code does and section 3 advises; Algorithm 1 as
    printed is `loss = "minimax"`.
  * The discriminator's loss has no factor 1/2; the code's has (`d_loss_scale = 0.5`).
  * The code takes both gradients at the same point, from the same noise and dropout masks: `updates = "simultaneous"`.
  * Images are in [-1, 1], so the generator's sigmoid becomes the same curve on that range, tanh(x / 2).

Numbers to expect: the paper reports a Parzen-window log-likelihood of 225 +- 2 nats on MNIST (table 1).
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
from gan_jax import latents, losses, optimizers, penalties, tricks
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
    last_round,
    play,
    still,
)
from gan_jax.errors import InputError, choose
from gan_jax.layers import statistics
from gan_jax.layers.conditional import concat_label
from gan_jax.layers.maxout import Maxout, uniform
from gan_jax.nets import mlp

# ------------------------------------------------------------------------------------ the paper's networks for MNIST


class Generator(nn.Module):
    """z [B, 100] to samples [B, *shape] in [-1, 1]: two hidden layers of rectifiers (`mnist.yaml`)."""

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (1200, 1200)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, label=None, *, train: bool):
        h = concat_label(z, label).astype(self.dtype)
        for width in self.widths:
            h = nn.relu(nn.Dense(width, kernel_init=uniform(0.05), dtype=self.dtype)(h))
        x = nn.Dense(math.prod(self.shape), kernel_init=uniform(0.05), dtype=self.dtype, name="output")(h)
        return jnp.tanh(x.astype(jnp.float32) / 2).reshape(-1, *self.shape)  # a sigmoid, stretched to [-1, 1]


class Discriminator(nn.Module):
    """Samples [B, ...] to logits [B]: two maxout layers, dropout on the input and on the hidden units."""

    units: tuple[int, ...] = (240, 240)
    pieces: int = 5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label=None, *, train: bool):
        h = concat_label(x.reshape(x.shape[0], -1), label).astype(self.dtype)
        h = nn.Dropout(0.2, deterministic=not train)(h)
        for units in self.units:
            h = Maxout(units, self.pieces, kernel_init=uniform(0.005), dtype=self.dtype)(h)
            h = nn.Dropout(0.5, deterministic=not train)(h)
        self.sow("intermediates", "features", h)
        return nn.Dense(1, kernel_init=uniform(0.005), dtype=self.dtype)(h).astype(jnp.float32)[:, 0]


def output_at_pixel_means(params: PyTree, images: jax.Array) -> PyTree:
    """`Generator` parameters whose output bias makes the mean image, as the code starts from. We take the mean over the
    first minibatch, the code over the training set; means are kept within 1 % of black and white."""
    means = jnp.clip(images.mean(axis=0).ravel(), -0.98, 0.98)
    return {**params, "output": {**params["output"], "bias": 2 * jnp.arctanh(means)}}


# ------------------------------------------------------------------------------------------------------- the game


def unconditional(batch: Batch) -> tuple:
    """Neither player is told anything about the sample."""
    return ()


def by_label(classes: int) -> Callable[[Batch], tuple]:
    """Both players are told the class, one-hot [B, classes]. A label of that shape, as a mixture, is told as it is."""

    def told(batch: Batch) -> tuple:
        label = batch["label"]
        return (label if label.ndim == 2 else jax.nn.one_hot(label, classes),)

    return told


@struct.dataclass
class GameState(State):
    """The two players, and what the penalty and the replay of old fakes remember."""

    memory: PyTree


class Keys(NamedTuple):
    """One key for each thing in a move that is random. The first five are those of a game without tricks."""

    latent: Key
    real: Key  # dropout of the discriminator on data
    fake: Key  # and on samples
    penalty: Key
    mask: Key  # dropout inside a penalty
    generator: Key
    see_real: Key
    see_fake: Key
    label: Key
    flip: Key
    replay: Key


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoPlayerGame:
    """Algorithm 1: in each step the discriminator moves `rounds` times (the paper's k), then the generator once."""

    generator: nn.Module
    discriminator: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    loss: losses.Loss
    penalty: penalties.Penalty
    latent: latents.Latent
    latent_size: int
    conditions: Callable[[Batch], tuple] = unconditional
    domain: str = "image"  # the key of the batch that the discriminator sees
    rounds: int = 1
    start: Callable[[PyTree, jax.Array], PyTree] = lambda params, real: params  # of the generator, from a look at data
    decay: float = 0.0  # of the running average that is sampled; 0 samples the generator itself
    g_batches: int = 1  # the generator's step sees so many times the discriminator's batch
    g_penalty: penalties.GeneratorPenalty = penalties.nothing_more
    see: Callable = tricks.nothing_seen
    labels: Callable = tricks.hard_labels
    flip: Callable = tricks.no_flips
    replay: tricks.Replay = tricks.NO_REPLAY
    gate: tricks.Gate = tricks.BOTH_MOVE

    def init(self, rng: Key, batch: Batch) -> GameState:
        g_rng, d_rng, z_rng = jax.random.split(rng, 3)
        told, real = self.conditions(batch), batch[self.domain]
        g = create(self.generator, self.g_tx, g_rng, self.latents(z_rng, batch), *told, train=False)
        g = g.replace(params=self.start(g.params, real))
        d = create(self.discriminator, self.d_tx, d_rng, real, *told, train=False)
        memory = (self.penalty.memory, self.replay.memory(real.shape[1:]))
        return GameState(step=jnp.zeros((), jnp.int32), g=g, d=d, average=still(g), memory=memory)

    def train_step(self, state: GameState, batch: Batch, rng: Key) -> tuple[GameState, Metrics]:
        d_rng, g_rng = jax.random.split(rng)
        move = partial(self.discriminator_move, state.g, step=state.step)
        (d, memory), seen = play(self.rounds, move, (state.d, state.memory), batch, d_rng)
        g, made = self.generator_move(state.g, d, last_round(self.rounds, batch), g_rng, state.step)
        return self.advance(state, g, d, memory), seen | made

    def discriminator_move(self, g: Net, players, batch: Batch, rng: Key, step=0):
        """Ascends the gradient of the discriminator on one minibatch of data and one of samples."""
        d, (memory, pool) = players
        keys, real, told = split_keys(rng), batch[self.domain], self.conditions(batch)
        z, rngs = self.latents(keys.latent, batch), {"dropout": keys.generator}
        fake, _ = apply(self.generator, g, z, *told, train=True, rngs=rngs)  # its statistics are dropped
        fake, pool = self.replay.exchange(pool, fake, keys.replay)
        real, fake = self.see(real, keys.see_real, step), self.see(fake, keys.see_fake, step)

        def loss(params):
            """What the discriminator pays, with its statistics, what its penalty remembers, and metrics."""
            judge = partial(apply, self.discriminator, params=params, train=True)
            of_real = partial(judge, d, rngs={"dropout": keys.real})
            real_logits, pull, stats = jax.vjp(lambda x: of_real(x, *told), real, has_aux=True)
            seen = d.replace(stats=stats)  # data and samples are separate batches, one after the other
            fake_logits, stats = judge(seen, fake, *told, rngs={"dropout": keys.fake}, hold=("spectral",))

            def score(x):
                return judge(seen, x, *told, rngs={"dropout": keys.mask}, hold=("spectral",))[0]

            logits = (real_logits, fake_logits)
            evidence = penalties.Evidence(params, score, real, fake, *logits, keys.penalty, pull)
            price, paid, remembered = self.penalty.cost(evidence, memory)
            told_apart = self.flip(*logits, keys.flip)
            adversarial = self.loss.d(*told_apart, **self.labels(keys.label, count(batch)))
            metrics = {"loss/d": adversarial, "score/real": real_logits.mean(), "score/fake": fake_logits.mean()}
            return adversarial + price, (stats, (remembered, metrics | paid))

        moved, (memory, metrics) = descend(d, self.d_tx, loss)
        moved = tricks.keep(moved.replace(params=self.penalty.project(moved.params)), self.gate.d(metrics), d)
        return (moved, (memory, pool)), metrics

    def generator_move(self, g: Net, d: Net, batch: Batch, rng: Key, step=0) -> tuple[Net, Metrics]:
        """Descends the gradient of the generator; the discriminator and its statistics stay as they are."""
        batch = enlarged(batch, self.g_batches)
        keys, told = split_keys(rng), self.conditions(batch)
        z = self.latents(keys.latent, batch)
        # Only relativistic losses and feature matching look at the data here; elsewhere the compiler drops this pass.
        real = self.see(batch[self.domain], keys.see_real, step)
        real_logits, real_features = observe(self.discriminator, d, real, *told, rngs={"dropout": keys.real})

        def loss(params):
            rngs = {"dropout": keys.generator}
            fake, stats = apply(self.generator, g, z, *told, params=params, train=True, rngs=rngs)
            fake = self.see(fake, keys.see_fake, step)
            fake_logits, features = observe(self.discriminator, d, fake, *told, rngs={"dropout": keys.fake})
            adversarial = self.loss.g(real_logits, fake_logits)
            price, paid = self.g_penalty(real_features, features)
            return adversarial + price, (stats, {"loss/g": adversarial} | paid)

        moved, metrics = descend(g, self.g_tx, loss)
        return tricks.keep(moved, self.gate.g(metrics), g), metrics

    def advance(self, state: GameState, g: Net, d: Net, memory: PyTree) -> GameState:
        average = ema(state.average, g, self.decay)
        return state.replace(step=state.step + 1, g=g, d=d, average=average, memory=memory)

    def latents(self, rng: Key, batch: Batch) -> PyTree:
        return self.latent(rng, count(batch), self.latent_size)

    def generate(self, state: GameState, latents: PyTree, batch: Batch) -> jax.Array:
        return apply(self.generator, state.average, latents, *self.conditions(batch), train=False)[0]

    def sample(self, state: GameState, batch: Batch, rng: Key) -> jax.Array:
        return self.generate(state, self.latents(rng, batch), batch)

    def score(self, state: GameState, examples: jax.Array, batch: Batch) -> jax.Array:
        return apply(self.discriminator, state.d, examples, *self.conditions(batch), train=False)[0]


def split_keys(rng: Key) -> Keys:
    return Keys(*jax.random.split(rng, len(Keys._fields)))


def enlarged(batch: Batch, times: int) -> Batch:
    """Every example `times` times, one after the other."""
    return batch if times == 1 else jax.tree.map(lambda leaf: jnp.repeat(leaf, times, axis=0), batch)


def observe(discriminator: nn.Module, d: Net, x: jax.Array, *told, rngs) -> tuple[jax.Array, jax.Array]:
    """The logits of a discriminator in training, and its last features, which networks sow as `features`: the logits
    themselves where one sows nothing. Its statistics stay as they are."""
    mutable = [*(name for name in d.stats if name != "spectral"), "intermediates"]
    logits, seen = discriminator.apply(
        {"params": d.params, **d.stats}, x, *told, train=True, rngs=rngs, mutable=mutable
    )
    return logits, seen.get("intermediates", {}).get("features", (logits,))[0]


class SimultaneousGame(TwoPlayerGame):
    """As in Goodfellow's code: one graph, so both players move from where they stood, on the same noise and masks."""

    def train_step(self, state: GameState, batch: Batch, rng: Key) -> tuple[GameState, Metrics]:
        (d, memory), seen = self.discriminator_move(state.g, (state.d, state.memory), batch, rng, state.step)
        g, made = self.generator_move(
            state.g, state.d, batch, jax.random.clone(rng), state.step
        )  # the same, on purpose
        return self.advance(state, g, d, memory), seen | made


class AlternatingGame(TwoPlayerGame):
    """As in Radford's code: minibatches go to the generator and the discriminator in turn, two to a step."""

    def train_step(self, state: GameState, batch: Batch, rng: Key) -> tuple[GameState, Metrics]:
        g_rng, d_rng = jax.random.split(rng)
        first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], batch) for i in (0, 1))
        g, made = self.generator_move(state.g, state.d, first, g_rng, state.step)
        (d, memory), seen = self.discriminator_move(g, (state.d, state.memory), second, d_rng, state.step)
        return self.advance(state, g, d, memory), seen | made


UPDATES = {"sequential": TwoPlayerGame, "simultaneous": SimultaneousGame, "alternating": AlternatingGame}
ROUNDS = {"simultaneous": 1, "alternating": 2}  # what these orders fix

# ----------------------------------------------------------------------------------------------- from a config


def two_player(config, generator: nn.Module, discriminator: nn.Module, **values) -> TwoPlayerGame:
    """The classical game between these networks, with everything else as `config.model` says; `values` are fields of
    the game that a paper sets itself, and whose keys are then not read.

    Keys: updates, rounds, loss, real_label, d_loss_scale, penalty, penalty_weight, latent, latent_size, conditional,
    half_life, g_optimizer, d_optimizer, tricks.

    Raises:
      InputError: for a name that is not in its table, rounds that the order of updates does not allow, or labels
        asked of a dataset that has none.
    """
    model = config.model
    made = {
        "g_tx": lambda: optimizers.build(model.g_optimizer, "g_optimizer"),
        "d_tx": lambda: optimizers.build(model.d_optimizer, "d_optimizer"),
        "loss": lambda: losses.build(model.loss, real_label=model.real_label),
        "penalty": lambda: penalties.build(model.penalty, model.penalty_weight),
        "latent": lambda: choose(model.latent, latents.BY_NAME, "latent (config.model.latent)"),
        "latent_size": lambda: model.latent_size,
        "conditions": lambda: by_label(labelled(config)) if model.conditional else unconditional,
        "rounds": lambda: model.rounds,
        "decay": lambda: ema_decay(model.half_life, config.batch_size),
    }
    fields = {name: make() for name, make in made.items() if name not in values} | values
    choose(model.updates, UPDATES, "order of updates (config.model.updates)")
    if fields["rounds"] != ROUNDS.get(model.updates, max(fields["rounds"], 1)):
        needed = ROUNDS.get(model.updates, "at least 1")
        raise InputError(f"config.model.rounds={fields['rounds']} must be {needed} when updates='{model.updates}'")
    section = model.tricks
    if section.replay and fields["conditions"] is not unconditional:
        raise InputError("config.model.tricks.replay must be 0 if conditional=True: old fakes have labels of their own")
    fields |= tricks.build(section, fields["loss"])
    fields["loss"] = losses.scaled(fields["loss"], d=model.d_loss_scale, g=section.g_loss_scale)
    return UPDATES[model.updates](
        generator=generator,
        discriminator=discriminator,
        domain=config.data.domain,
        g_batches=section.g_batches,
        g_penalty=penalties.build_for_generator(section.g_penalty, section.g_penalty_weight),
        **fields,
    )


def labelled(config) -> int:
    """How many classes the data has.

    Raises:
      InputError: if it has none.
    """
    if not config.data.classes:
        raise InputError(f"config.model.conditional=True needs labels, and dataset '{config.data.name}' has none")
    return config.data.classes


def stages(config) -> tuple[Stage, ...]:
    """One stage: the classical game between perceptrons, on images or points."""
    nets = choose(config.model.nets, NETS, "networks (config.model.nets)")
    game = two_player(config, **nets(config, base.example_shape(config.data), jnp.dtype(config.dtype)))
    return (Stage("adversarial", game, config.steps, config.batch_size),)


def goodfellow2014(config, shape: tuple[int, ...], dtype) -> dict:
    generator = Generator(shape, tuple(config.model.widths), dtype)
    return {"generator": generator, "discriminator": Discriminator(dtype=dtype), "start": output_at_pixel_means}


def perceptrons(config, shape: tuple[int, ...], dtype) -> dict:
    model = config.model
    widths, squash = tuple(model.widths), jnp.tanh if config.data.domain == "image" else None
    disturbed = {"dropout": model.g_dropout, "noise": model.g_noise}
    generator = mlp.Generator(shape, widths, squash=squash, dtype=dtype, **disturbed)
    seen = choose(model.d_statistics, statistics.BY_NAME, "minibatch statistics (config.model.d_statistics)")
    return {"generator": generator, "discriminator": mlp.Discriminator(widths, statistics=seen, dtype=dtype)}


NETS = {"goodfellow2014": goodfellow2014, "mlp": perceptrons}
