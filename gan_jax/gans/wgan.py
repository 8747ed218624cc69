"""Wasserstein GAN (Arjovsky, Chintala, Bottou, 2017, arXiv:1701.07875).

The critic has no sigmoid and estimates, up to a factor, the earth mover's distance between data and samples: it
maximises E f(x) - E f(G(z)) over functions whose slope is bounded, which every weight in [-c, c] sees to. It is trained
almost to its optimum before each step of the generator, and its estimate says how good the samples are.

The classical game (`gan.py`) with other values and one more: how many moves the critic makes depends on the step. A
step brings `rounds` real minibatches, the paper's n_critic; where the critic moves more often it goes through the same
minibatches again, each time against fresh samples. The averages that a long step logs are those of its last move.

                        the paper, algorithm 1                the authors' code (`:lsun`)
    config.model        (the default here)
    schedule            constant: `rounds` moves              released: 100 moves in steps 0 to 24, then in every 500th
    clip_order          after: each critic update             before: so that the generator meets weights up to a step
                                                              outside of the box

Where we differ: the authors' code flips the sign of the critic; ours is the paper's, high for data. Its long steps draw
new real minibatches, and its critic's rounds stop at the end of an epoch.

Numbers to expect: the paper has curves and pictures only; Miyato et al. (2018, table 2) report for weight clipping an
inception score of 6.41 and a FID of 42.6 on CIFAR-10, with other networks. On the ring all 8 modes, with diffuse
samples, as is usual under clipping.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from gan_jax import config as base
from gan_jax import losses, penalties
from gan_jax.contract import Batch, Key, Metrics, PyTree, Stage, last_round, play
from gan_jax.errors import InputError, choose
from gan_jax.gans import dcgan
from gan_jax.gans.gan import GameState, TwoPlayerGame, two_player, unconditional
from gan_jax.layers.conv import Conv, ConvTranspose
from gan_jax.layers.maxout import uniform
from gan_jax.nets import mlp

# -------------------------------------------------------------------------------------------------- the game


def constant(rounds: int) -> Callable[[jax.Array], jax.Array]:
    """The same number of critic moves in every step (algorithm 1)."""
    return lambda step: jnp.full((), rounds, jnp.int32)


def released(rounds: int) -> Callable[[jax.Array], jax.Array]:
    """A hundred moves in the first 25 steps and in every 500th, to keep the critic near its optimum (`main.py`)."""
    return lambda step: jnp.where((step < 25) | (step % 500 == 0), max(100, rounds), rounds)


SCHEDULES = {"constant": constant, "released": released}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WGAN(TwoPlayerGame):
    """Algorithm 1. With a constant schedule it is the classical game, to the last bit."""

    critic_moves: Callable[[jax.Array], jax.Array]  # of the step: at least `rounds`
    bound: float  # c
    admit: Callable[[PyTree], PyTree] = lambda params: params  # to the critic's parameters before each of its moves

    def train_step(self, state: GameState, batch: Batch, rng: Key) -> tuple[GameState, Metrics]:
        d_rng, g_rng, more_rng = jax.random.split(rng, 3)
        move = partial(self.discriminator_move, state.g, step=state.step)

        def again(i, carry):
            players, _ = carry
            return move(players, nth_round(self.rounds, batch, i), jax.random.fold_in(more_rng, i))

        carry = play(self.rounds, move, (state.d, state.memory), batch, d_rng)
        (d, memory), seen = jax.lax.fori_loop(self.rounds, self.critic_moves(state.step), again, carry)
        g, made = self.generator_move(state.g, d, last_round(self.rounds, batch), g_rng, state.step)
        watched = {
            "monitor/wasserstein": seen["score/real"] - seen["score/fake"],  # K times the distance, K unknown
            "monitor/at_bound": share_beyond(0.99 * self.bound, d.params),  # clipping drives weights to -c and c
        }
        return self.advance(state, g, d, memory), seen | made | watched

    def discriminator_move(self, g, players, batch: Batch, rng: Key, step=0):
        d, memories = players
        return super().discriminator_move(g, (d.replace(params=self.admit(d.params)), memories), batch, rng, step)


def nth_round(rounds: int, batch: Batch, i: jax.Array) -> Batch:
    """The minibatch for the critic's move number `i`: after the last one the first again."""
    return batch if rounds == 1 else jax.tree.map(lambda leaf: leaf[i % rounds], batch)


def share_beyond(bound: float, params: PyTree) -> jax.Array:
    """How many of all parameters are at least so large, as a share, float32."""
    leaves = jax.tree.leaves(params)
    return sum(jnp.sum(jnp.abs(leaf) >= bound, dtype=jnp.float32) for leaf in leaves) / sum(map(jnp.size, leaves))


# ------------------------------------------------------------------------------- the authors' networks (`models/`)

weights = nn.initializers.normal(0.02)


class Generator(nn.Module):
    """z [B, Z] to images [B, *shape] in [-1, 1]: DCGAN's, with what `models/dcgan.py` and section 4.3 vary."""

    shape: tuple[int, int, int]
    widths: tuple[int, ...]  # channels of the hidden layers, from the base on: the image is 2^len(widths) bases large
    extra: int = 0  # 3x3 layers before the last one
    norm: type[nn.Module] = dcgan.Norm
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, *, train: bool):
        norm = partial(self.norm, True, 1e-5, self.dtype)
        same = {"use_bias": False, "kernel_init": weights, "dtype": self.dtype}
        up = partial(ConvTranspose, kernel_size=(4, 4), strides=(2, 2), **same)
        height, width = (side >> len(self.widths) for side in self.shape[:2])
        h = nn.Dense(height * width * self.widths[0], **same)(z.astype(self.dtype))
        h = nn.relu(norm()(h.reshape(-1, height, width, self.widths[0]), train=train))
        for features in self.widths[1:]:
            h = nn.relu(norm()(up(features)(h), train=train))
        for _ in range(self.extra):
            h = nn.relu(norm()(Conv(self.widths[-1], (3, 3), **same)(h), train=train))
        return jnp.tanh(up(self.shape[2])(h).astype(jnp.float32))


class Critic(nn.Module):
    """Images [B, H, W, C] to values [B]: DCGAN's, with extra layers after the first one."""

    widths: tuple[int, ...]
    extra: int = 0
    norm: type[nn.Module] = dcgan.Norm
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        norm = partial(self.norm, True, 1e-5, self.dtype)
        same = {"use_bias": False, "kernel_init": weights, "dtype": self.dtype}
        down = partial(Conv, kernel_size=(4, 4), strides=(2, 2), **same)
        h = nn.leaky_relu(down(self.widths[0])(x.astype(self.dtype)), 0.2)
        for _ in range(self.extra):
            h = nn.leaky_relu(norm()(Conv(self.widths[0], (3, 3), **same)(h), train=train), 0.2)
        for features in self.widths[1:]:
            h = nn.leaky_relu(norm()(down(features)(h), train=train), 0.2)
        h = h.reshape(h.shape[0], -1)
        self.sow("intermediates", "features", h)
        return nn.Dense(1, **same)(h).astype(jnp.float32)[:, 0]


class Perceptron(nn.Module):
    """x [B, ...] to [B, outputs]: hidden layers of rectifiers, drawn as PyTorch draws its own (`models/mlp.py`)."""

    outputs: int
    widths: tuple[int, ...] = (512, 512, 512)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        def linear(features, h):
            drawn = uniform(h.shape[-1] ** -0.5)
            return nn.Dense(features, kernel_init=drawn, bias_init=drawn, dtype=self.dtype)(h)

        h = x.reshape(x.shape[0], -1).astype(self.dtype)
        for width in self.widths:
            h = nn.relu(linear(width, h))
        return linear(self.outputs, h).astype(jnp.float32)


class MLPGenerator(nn.Module):
    """z [B, Z] to images [B, *shape], with no bound on the pixels."""

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (512, 512, 512)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, *, train: bool):
        return Perceptron(math.prod(self.shape), self.widths, self.dtype)(z, train=train).reshape(-1, *self.shape)


class MLPCritic(nn.Module):
    """Images [B, ...] to values [B]."""

    widths: tuple[int, ...] = (512, 512, 512)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        return Perceptron(1, self.widths, self.dtype)(x, train=train)[:, 0]


# ----------------------------------------------------------------------------------------------- from a config


def stages(config) -> tuple[Stage, ...]:
    """One stage: the classical game with a clipped critic, whose number of moves is a function of the step.

    Raises:
      InputError: for a bound that is not positive, an order of updates that has no critic rounds, or networks that do
        not go with the data.
    """
    model, shape, dtype = config.model, base.example_shape(config.data), jnp.dtype(config.dtype)
    generator = choose(model.generator, GENERATORS, "generator (config.model.generator)")(config, shape, dtype)
    critic = choose(model.critic, CRITICS, "critic (config.model.critic)")(config, shape, dtype)
    moves = choose(model.schedule, SCHEDULES, "schedule of the critic (config.model.schedule)")(model.rounds)
    if model.clip <= 0.0:
        raise InputError(f"config.model.clip={model.clip}, the bound of the critic's weights, must be above 0")
    penalty, admit = choose(model.clip_order, ORDERS, "order of clipping (config.model.clip_order)")(model.clip)
    values = {"loss": losses.build("wasserstein"), "penalty": penalty, "conditions": unconditional}
    game = two_player(config, generator, critic, **values)
    if type(game) is not TwoPlayerGame:
        raise InputError(f"config.model.updates='{model.updates}' must be 'sequential': the critic moves ahead")
    game = WGAN(**vars(game), critic_moves=moves, bound=model.clip, admit=admit)
    return (Stage("adversarial", game, config.steps, config.batch_size),)


def clip_after(bound: float) -> tuple[penalties.Penalty, Callable]:
    """Algorithm 1: the critic is inside of the box whenever a move is over."""
    return penalties.build("clip", bound), lambda params: params


def clip_before(bound: float) -> tuple[penalties.Penalty, Callable]:
    """`main.py`: it is inside whenever a move begins."""
    return penalties.build("none", 0.0), partial(penalties.clip, bound=bound)


ORDERS = {"after": clip_after, "before": clip_before}
FILTERS = {  # channels of k hidden layers, from the base to the image
    "halving": lambda width, k: tuple(width * 2**level for level in reversed(range(k))),
    "constant": lambda width, k: (width,) * k,
}


def depth(config, shape: tuple[int, ...]) -> int:
    """How often convolutions halve these images.

    Raises:
      InputError: if there are no images, or they cannot be halved.
    """
    if config.data.domain != "image":
        raise InputError(
            f"convolutions (config.model.generator and .critic 'dcgan') work on images, and dataset "
            f"'{config.data.name}' holds {config.data.domain}s; use 'toy'"
        )
    return dcgan.levels(*shape[:2])


def normalised(config, key: str) -> type[nn.Module]:
    return choose(config.model[key], dcgan.NORMS, f"norm (config.model.{key})")


def convolutional_generator(config, shape, dtype):
    model, k = config.model, depth(config, shape)
    widths = choose(model.filters, FILTERS, "filters of the generator (config.model.filters)")(model.g_width, k)
    return Generator(shape, widths, model.extra, normalised(config, "g_norm"), dtype)


def convolutional_critic(config, shape, dtype):
    model, k = config.model, depth(config, shape)
    widths = tuple(reversed(FILTERS["halving"](model.d_width, k)))
    return Critic(widths, model.extra, normalised(config, "d_norm"), dtype)


GENERATORS = {
    "dcgan": convolutional_generator,
    "mlp": lambda config, shape, dtype: MLPGenerator(shape, tuple(config.model.hidden), dtype),
    "toy": lambda config, shape, dtype: mlp.Generator(shape, tuple(config.model.widths), dtype=dtype),
}
CRITICS = {
    "dcgan": convolutional_critic,
    "mlp": lambda config, shape, dtype: MLPCritic(tuple(config.model.hidden), dtype),
    "toy": lambda config, shape, dtype: mlp.Discriminator(tuple(config.model.widths), dtype=dtype),
}
