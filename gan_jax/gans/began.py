"""BEGAN: Boundary Equilibrium Generative Adversarial Networks (Berthelot, Schumm, Metz, 2017, arXiv:1703.10717).

The discriminator is an autoencoder, and what the game matches are not samples but how well they are reconstructed. A
proportional controller keeps the two errors at a chosen ratio gamma (section 3.4), with L(v) = |v - D(v)|:

    L_D = L(x) - k_t L(G(z_D))        L_G = L(G(z_G))        k_{t+1} = k_t + lambda_k (gamma L(x) - L(G(z_G)))

k_t starts at 0 and stays in [0, 1]. Both players move from where they stood, then k does, by the errors that were
measured before they moved. Convergence is measured by M = L(x) + |gamma L(x) - L(G(z_G))| (section 3.4.1).

A small gamma buys fidelity with diversity, and M does not notice when all of it is gone: a single image that is
reconstructed as well as gamma asks is perfect. `diversity/fake` (the standard deviation of a pixel over a minibatch)
beside `diversity/real` shows it.

There is no official code. Where the paper and carpedm20's widely used implementation ("the code" below) disagree,
both are values in `config.model`:

                    the code (`:celeba`)              the paper (`:celeba_paper`)
    skip            none                              concat: the first tensor of a decoder, at every level (3.5.1)
    residual_steps  0                                 16,000: vanishing residuals, from all carried to none (3.5.1)
    noise           shared: z_D is z_G                separate
    lr_rule         step: halved every 100,000        plateau: halved where M stalls (3.5)

The paper does not say when M has stalled; here, where its mean over `lr_every` steps is not below that of every such
span before. The images of the generator are not bounded while it learns, as in both; a sample is cut to [-1, 1].

Numbers to expect: an Inception score of 5.62 on CIFAR-10 (paper, table 1).
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct
from flax.typing import Dtype

from gan_jax import config as base
from gan_jax import latents, optimizers
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
from gan_jax.layers.conv import Conv

glorot = nn.initializers.glorot_uniform()  # what the code's layers start from; biases from 0

# ------------------------------------------------------------------------------------------------- networks (3.5.1)


def groups(height: int, width: int) -> int:
    """How many groups of convolutions a network has: sides are halved between them while the shorter is 16 or more.

    Raises:
      InputError: unless that ends with a shorter side of 8 to 15.
    """
    halvings = max(0, math.floor(math.log2(min(height, width) / 8)))
    nearest = tuple(max(8, round(side / 2**halvings)) * 2**halvings for side in (height, width))
    if nearest != (height, width):
        raise InputError(
            f"config.data.resolution=({height}, {width}): BEGAN halves both sides while the shorter is 16 or more, "
            f"down to 8 to 15; the nearest it can make is {nearest}"
        )
    return halvings + 1


def carried(carry: jax.Array | float, before: jax.Array, after: jax.Array) -> jax.Array:
    """`carry * before + (1 - carry) * after` where a layer keeps its shape, else `after` (vanishing residuals)."""
    if before.shape != after.shape:
        return after
    carry = jnp.asarray(carry, after.dtype)
    return carry * before + (1 - carry) * after


def doubled(h: jax.Array) -> jax.Array:
    """Nearest-neighbour upsampling: [B, H, W, C] to [B, 2H, 2W, C]."""
    return jnp.repeat(jnp.repeat(h, 2, axis=1), 2, axis=2)


SKIPS = {  # what a decoder goes on with, from what it has at a level and from its first tensor, of that size
    "none": lambda h, first: h,
    "concat": lambda h, first: jnp.concatenate([h, first], axis=-1),
}


class Decoder(nn.Module):
    """z [B, Z] to images [B, *shape], not bounded: the generator, and the second half of the autoencoder."""

    shape: tuple[int, int, int]
    width: int = 128  # channels: the paper's n
    skip: Callable = SKIPS["none"]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, carry=0.0, *, train: bool):
        conv = partial(Conv, kernel_size=(3, 3), kernel_init=glorot, dtype=self.dtype)
        levels = groups(*self.shape[:2])
        small = [side >> (levels - 1) for side in self.shape[:2]]
        h = nn.Dense(math.prod(small) * self.width, kernel_init=glorot, dtype=self.dtype)(z.astype(self.dtype))
        h = first = h.reshape(-1, *small, self.width)
        for level in range(levels):
            if level > 0:
                first = doubled(first)
                h = self.skip(doubled(h), first)
            for _ in range(2):
                h = carried(carry, h, nn.elu(conv(self.width)(h)))
        return conv(self.shape[2])(h).astype(jnp.float32)


class Encoder(nn.Module):
    """Images [B, H, W, C] to codes [B, hidden]: channels grow by `width` from group to group."""

    width: int = 128
    hidden: int = 64
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, carry=0.0, *, train: bool):
        conv = partial(Conv, kernel_size=(3, 3), kernel_init=glorot, dtype=self.dtype)
        levels = groups(*x.shape[1:3])
        h = nn.elu(conv(self.width)(x.astype(self.dtype)))
        for level in range(1, levels + 1):
            for _ in range(2):
                h = carried(carry, h, nn.elu(conv(level * self.width)(h)))
            if level < levels:
                h = nn.elu(conv(level * self.width, strides=(2, 2))(h))
        return nn.Dense(self.hidden, kernel_init=glorot, dtype=self.dtype)(h.reshape(h.shape[0], -1))


class Autoencoder(nn.Module):
    """Images [B, H, W, C] to their reconstructions, float32."""

    encoder: nn.Module
    decoder: nn.Module

    @nn.compact
    def __call__(self, x, *told, train: bool):
        code = self.encoder(x, *told, train=train)
        self.sow("intermediates", "features", code)
        return self.decoder(code, *told, train=train)


class Perceptron(nn.Module):
    """x [B, ...] to [B, *shape], float32: hidden layers of these widths. For images too small for convolutions."""

    widths: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        h = x.reshape(x.shape[0], -1).astype(self.dtype)
        for width in self.widths:
            h = nn.elu(nn.Dense(width, kernel_init=glorot, dtype=self.dtype)(h))
        h = nn.Dense(math.prod(self.shape), kernel_init=glorot, dtype=self.dtype)(h)
        return h.astype(jnp.float32).reshape(-1, *self.shape)


# ------------------------------------------------------------------------------------------- what varies by config

DISTANCES = {"l1": jnp.abs, "l2": jnp.square}  # of a pixel from its reconstruction: the paper's eta is 1 or 2
NOISES = {  # z_D, from z_G and from a function that draws
    "shared": lambda z, draw: z,
    "separate": lambda z, draw: draw(),
}


def vanishing_residuals(steps: int) -> Callable[[jax.Array], tuple]:
    """What networks are told: the share of its input that a layer carries, from 1 to 0 in so many steps."""
    return lambda step: (jnp.maximum(0.0, 1.0 - step.astype(jnp.float32) / steps),)


class Rule(NamedTuple):
    """How learning rates fall."""

    memory: PyTree  # before the first step
    share: Callable[[PyTree, jax.Array], jax.Array]  # of the first rate, from the memory and the step
    following: Callable[[PyTree, jax.Array, jax.Array], PyTree]  # memory, from the last, the step and its measure M


def step_rule(every: int, floor: float) -> Rule:
    """Halved every so many steps, down to a floor."""

    def share(memory, step):
        return jnp.maximum(0.5 ** (step // every).astype(jnp.float32), floor)

    return Rule((), share, lambda memory, step, measure: ())


class Plateau(NamedTuple):
    share: PyTree  # of the first rate; all three are float32 scalars
    total: PyTree  # of the measure, over the span that runs
    best: PyTree  # mean of a span so far


def plateau_rule(every: int, floor: float) -> Rule:
    """Halved where the mean measure of a span of so many steps is not below the best before, down to a floor."""

    def following(memory: Plateau, step, measure):
        total, ends = memory.total + measure, (step + 1) % every == 0
        mean = total / every  # where a span ends
        lower = jnp.where(mean >= memory.best, jnp.maximum(0.5 * memory.share, floor), memory.share)
        return Plateau(
            share=jnp.where(ends, lower, memory.share),
            total=jnp.where(ends, 0.0, total),
            best=jnp.where(ends, jnp.minimum(mean, memory.best), memory.best),
        )

    start = Plateau(np.float32(1.0), np.float32(0.0), np.finfo(np.float32).max)
    return Rule(start, lambda memory, step: memory.share, following)


RULES = {"step": step_rule, "plateau": plateau_rule}


def at_share(tx: optax.GradientTransformation, share: jax.Array | float) -> optax.GradientTransformation:
    """The same optimiser at a share of its learning rate."""
    return optax.chain(tx, optax.scale(share))


def controlled(
    k: jax.Array, real: jax.Array, fake: jax.Array, gamma: float, gain: float
) -> tuple[jax.Array, jax.Array]:
    """The next k, and the measure of convergence M, from the errors L(x) and L(G(z_G)); all float32 scalars."""
    balance = gamma * real - fake
    return jnp.clip(k + gain * balance, 0.0, 1.0), real + jnp.abs(balance)


# ------------------------------------------------------------------------------------------------------- the game


@struct.dataclass
class BEGANState(State):
    """`d` is the autoencoder."""

    k: PyTree  # float32 [] in [0, 1]: how much of the error of samples the autoencoder is to keep up
    pace: PyTree  # what the rule of the learning rates remembers


@dataclasses.dataclass(frozen=True, kw_only=True)
class BEGAN:
    """The algorithm of section 3.4; `gain` is lambda_k."""

    generator: nn.Module
    autoencoder: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    latent: latents.Latent
    latent_size: int
    rule: Rule
    gamma: float = 0.5
    gain: float = 1e-3
    distance: Callable = jnp.abs
    noise: Callable = NOISES["shared"]
    told: Callable[[jax.Array], tuple] = lambda step: ()  # what networks are told besides their input
    decay: float = 0.0  # of the running average that is sampled; 0 samples the generator itself
    rounds: int = 1

    def init(self, rng: Key, batch: Batch) -> BEGANState:
        g_rng, d_rng, z_rng = jax.random.split(rng, 3)
        g = create(self.generator, at_share(self.g_tx, 1.0), g_rng, self.latents(z_rng, batch), train=False)
        d = create(self.autoencoder, at_share(self.d_tx, 1.0), d_rng, batch["image"], train=False)
        pace = jax.tree.map(jnp.array, self.rule.memory)
        return BEGANState(step=jnp.zeros((), jnp.int32), g=g, d=d, average=still(g), k=jnp.zeros(()), pace=pace)

    def train_step(self, state: BEGANState, batch: Batch, rng: Key) -> tuple[BEGANState, Metrics]:
        g_rng, d_rng = jax.random.split(rng)
        x, told = batch["image"], self.told(state.step)
        z_g = self.latents(g_rng, batch)
        z_d = self.noise(z_g, partial(self.latents, d_rng, batch))

        def generator_loss(params):
            fake, stats = apply(self.generator, state.g, z_g, *told, params=params, train=True)
            error = self.errors(state.d, fake, *told).mean()  # the sample is input and target, both with their gradient
            return error, (stats, (error, fake))

        def autoencoder_loss(params):
            fake, _ = apply(self.generator, state.g, z_d, *told, train=True)
            real_error = self.errors(state.d, x, *told, params=params).mean()
            fake_error = self.errors(state.d, fake, *told, params=params).mean()
            loss = real_error - state.k * fake_error
            return loss, (state.d.stats, (loss, real_error, fake_error))

        share = self.rule.share(state.pace, state.step)
        g, (g_error, fake) = descend(state.g, at_share(self.g_tx, share), generator_loss)
        d, (loss, real_error, fake_error) = descend(state.d, at_share(self.d_tx, share), autoencoder_loss)
        k, measure = controlled(state.k, real_error, g_error, self.gamma, self.gain)
        pace, average = self.rule.following(state.pace, state.step, measure), ema(state.average, g, self.decay)
        metrics = {"loss/d": loss, "loss/g": g_error, "score/real": -real_error, "score/fake": -fake_error}
        metrics |= {"convergence": measure, "k": k, "monitor/rate": share}
        metrics |= {"diversity/real": spread(x), "diversity/fake": spread(fake)}
        return state.replace(step=state.step + 1, g=g, d=d, average=average, k=k, pace=pace), metrics

    def errors(self, d: Net, x: jax.Array, *told, params: PyTree | None = None) -> jax.Array:
        """L of each example [B]: the mean distance of its pixels from their reconstruction."""
        made, _ = apply(self.autoencoder, d, x, *told, params=params, train=True)
        return self.distance(x - made).mean(axis=tuple(range(1, x.ndim)))

    def latents(self, rng: Key, batch: Batch) -> jax.Array:
        return self.latent(rng, count(batch), self.latent_size)

    def generate(self, state: BEGANState, latents: jax.Array, batch: Batch) -> jax.Array:
        made, _ = apply(self.generator, state.average, latents, *self.told(state.step), train=False)
        return jnp.clip(made, -1.0, 1.0)

    def sample(self, state: BEGANState, batch: Batch, rng: Key) -> jax.Array:
        return self.generate(state, self.latents(rng, batch), batch)

    def score(self, state: BEGANState, examples: jax.Array, batch: Batch) -> jax.Array:
        return -self.errors(state.d, examples, *self.told(state.step))


def spread(x: jax.Array) -> jax.Array:
    """The standard deviation of a pixel over the examples, averaged over pixels; near 0 where all examples are one."""
    return x.std(axis=0).mean()


# ----------------------------------------------------------------------------------------------- from a config


def stages(config) -> tuple[Stage, ...]:
    """One stage: the game between a decoder and an autoencoder.

    Raises:
      InputError: for data that holds no images, sides that cannot be halved, or a value out of range.
    """
    model, shape = config.model, base.example_shape(config.data)
    if len(shape) != 3:
        raise InputError(f"config.gan='began' makes images, and dataset '{config.data.name}' holds points")
    check(model)
    nets = choose(model.nets, NETS, "networks (config.model.nets)")(model, shape, jnp.dtype(config.dtype))
    game = BEGAN(
        **nets,
        g_tx=optimizers.build(model.g_optimizer, "g_optimizer"),
        d_tx=optimizers.build(model.d_optimizer, "d_optimizer"),
        latent=choose(model.latent, latents.BY_NAME, "latent (config.model.latent)"),
        latent_size=model.latent_size,
        rule=choose(model.lr_rule, RULES, "learning-rate rule (config.model.lr_rule)")(model.lr_every, model.lr_floor),
        gamma=model.gamma,
        gain=model.gain,
        distance=choose(model.distance, DISTANCES, "distance (config.model.distance)"),
        noise=choose(model.noise, NOISES, "noise (config.model.noise)"),
        decay=ema_decay(model.half_life, config.batch_size),
    )
    return (Stage("adversarial", game, config.steps, config.batch_size),)


def check(model) -> None:
    """Refuses numbers that the game cannot be played with."""
    for key in ("gamma", "gain", "width", "latent_size", "hidden", "lr_every"):
        if model[key] <= 0:
            raise InputError(f"config.model.{key}={model[key]} must be positive")
    if not 0.0 <= model.lr_floor <= 1.0:
        raise InputError(f"config.model.lr_floor={model.lr_floor} is a share of the first rates: between 0 and 1")
    if model.residual_steps < 0:
        raise InputError(f"config.model.residual_steps={model.residual_steps} must be 0 (no residuals) or more")


def convolutional(model, shape: tuple[int, ...], dtype) -> dict[str, Any]:
    """The paper's networks."""
    groups(*shape[:2])
    skip = choose(model.skip, SKIPS, "skip connections (config.model.skip)")
    encoder = Encoder(model.width, model.hidden, dtype)
    generator, decoder = (Decoder(shape, model.width, skip, dtype) for _ in range(2))
    told = {"told": vanishing_residuals(model.residual_steps)} if model.residual_steps else {}
    return {"generator": generator, "autoencoder": Autoencoder(encoder, decoder), **told}


def perceptrons(model, shape: tuple[int, ...], dtype) -> dict[str, Any]:
    """Not the paper's."""
    if (model.skip, model.residual_steps) != ("none", 0):
        raise InputError(
            f"config.model.skip='{model.skip}' and residual_steps={model.residual_steps} must be 'none' and 0 with "
            "nets='mlp': these have neither"
        )
    generator = Perceptron((model.width, model.width), shape, dtype)
    encoder, decoder = (Perceptron((model.width,), made, dtype) for made in ((model.hidden,), shape))
    return {"generator": generator, "autoencoder": Autoencoder(encoder, decoder)}


NETS = {"convolutional": convolutional, "mlp": perceptrons}
