"""LAPGAN: Deep Generative Image Models using a Laplacian Pyramid of Adversarial Networks (Denton, Chintala, Szlam,
Fergus, 2015, arXiv:1506.05751).

A chain of conditional GANs, one for each level of a Laplacian pyramid. The coarsest draws a small image; every finer
one is shown that image enlarged, and draws what is missing: I_k = u(I_k+1) + G_k(z_k, u(I_k+1)). The levels learn
independently, each from true images of the level below, so they are stages here, the coarsest first; in the stages
before the last, samples are enlarged images of the finest level that there is.

A step takes two minibatches: one of images to be taken for real, one of other images whose coarse versions are the
conditions of the fakes. Discriminators see full images, low-pass plus residual, real or generated.

Where we differ from the authors' code (github.com/facebook/eyescream):
  * Images are standardised for each pixel and channel, as there, but by statistics of the first minibatch instead of
    the training set. Any would do, so long as they are kept; no deviation is taken as less than .1 of [-1, 1].
  * Images shrink with antialiasing, as the paper's blur and decimation, and grow by the same operator everywhere; the
    code's bilinear scaling has no blur. Samples are clipped to [-1, 1].
  * The generator's step meets the coarse images of both minibatches again, with fresh noise; the code draws others.
  * Adam by default; the code's descent, whose momentum grows by the epoch, is the optimiser `eyescream_sgd`.

Numbers to expect: no score of the samples that could be reproduced. Of CIFAR-10 the paper's volunteers took 40 % of the
class-conditional samples for real, 10 % of a plain GAN's, and over 90 % of the real images (section 5.3).
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from gan_jax import config as base
from gan_jax import latents, losses, optimizers, tricks
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
)
from gan_jax.errors import InputError, choose
from gan_jax.gans.gan import by_label, labelled, unconditional
from gan_jax.nets import pyramid as nets

UP = {"linear": "linear", "nearest": "nearest"}


def resize(images: Array, size: tuple[int, int], method: str = "linear") -> Array:
    """Images [B, H, W, C] to [B, *size, C]; shrinking is antialiased, and the same size is the same image."""
    return jax.image.resize(images, (images.shape[0], *size, images.shape[-1]), method, antialias=True)


class Level(NamedTuple):
    """One generator and its discriminator."""

    name: str  # "level_0" is the coarsest
    size: tuple[int, int]  # of its images
    noise: tuple[int, ...]  # shape of the noise of one example
    generator: nn.Module  # (noise, low-pass image, *label) to what is added to that image
    discriminator: nn.Module  # (image, *label) to logits [B]


@struct.dataclass
class PyramidState:
    step: PyTree
    g: Net  # of the level in training
    d: Net
    pyramid: dict[str, Net]  # what is sampled, for every level so far: all collections of a generator, under `params`
    frozen: dict[str, Net]  # "pixels": mean and deviation [H, W, C] of the images


class LevelKeys(NamedTuple):
    noise: Key
    generator: Key  # dropout of the generator
    real: Key  # dropout of the discriminator on data
    fake: Key  # and on samples


@dataclasses.dataclass(frozen=True, kw_only=True)
class LAPGAN:
    """Algorithm 1 for the last of `levels`, and samples from the chain of all of them."""

    levels: tuple[Level, ...]  # from the coarsest to the one in training
    shape: tuple[int, int, int]  # of the data, and of the samples
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    loss: losses.Loss
    conditions: Callable[[Batch], tuple] = unconditional
    pixels: Callable[[Array], tuple[Array, Array]]
    up: str = "linear"
    gate: tricks.Gate
    decay: float = 0.0  # of the running average that is sampled; 0 samples the generator itself
    rounds: int = 2  # images that are to be taken for real, and images whose coarse versions are conditions

    @property
    def level(self) -> Level:
        return self.levels[-1]

    def init(self, rng: Key, batch: Batch) -> PyramidState:
        g_rng, d_rng, z_rng = jax.random.split(rng, 3)
        told, z = self.conditions(batch), self.latents(z_rng, batch)
        mean, std = self.pixels(batch["image"])
        made = {}
        for level, key in zip(self.levels, jax.random.split(g_rng, len(self.levels)), strict=True):
            low = jnp.zeros((count(batch), *level.size, self.shape[-1]))
            made[level.name] = create(level.generator, self.g_tx, key, z[level.name], low, *told, train=False)
        return PyramidState(
            step=jnp.zeros((), jnp.int32),
            g=made[self.level.name],
            d=create(self.level.discriminator, self.d_tx, d_rng, low, *told, train=False),
            pyramid={name: jax.tree.map(jnp.copy, whole(net)) for name, net in made.items()},
            frozen={"pixels": Net(params={"mean": mean, "std": std}, stats={})},
        )

    def train_step(self, state: PyramidState, batch: Batch, rng: Key) -> tuple[PyramidState, Metrics]:
        d_rng, g_rng = jax.random.split(rng)
        taken, others = (jax.tree.map(lambda leaf, i=i: leaf[i], batch) for i in (0, 1))
        d, seen = self.discriminator_move(state, taken, others, d_rng)
        g, made = self.generator_move(state, d, together(batch), g_rng)
        g = tricks.keep(g, self.gate.g(seen), state.g)
        average = ema(state.pyramid[self.level.name], whole(g), self.decay)
        pyramid = state.pyramid | {self.level.name: average}
        return state.replace(step=state.step + 1, g=g, d=d, pyramid=pyramid), seen | made

    def discriminator_move(self, state: PyramidState, taken: Batch, others: Batch, rng: Key) -> tuple[Net, Metrics]:
        """True images of this level against fakes that were made upon the coarse versions of other images."""
        keys, told, other_told = LevelKeys(*jax.random.split(rng, 4)), self.conditions(taken), self.conditions(others)
        real, (_, low) = self.bands(state, taken)[0], self.bands(state, others)
        fake, _ = self.made(state.g, low, other_told, keys)  # its statistics are dropped

        def loss(params):
            judge = partial(apply, self.level.discriminator, params=params, train=True)
            real_logits, stats = judge(state.d, real, *told, rngs={"dropout": keys.real})
            fake_logits, stats = judge(state.d.replace(stats=stats), fake, *other_told, rngs={"dropout": keys.fake})
            adversarial = self.loss.d(real_logits, fake_logits)
            metrics = {"loss/d": adversarial, "score/real": real_logits.mean(), "score/fake": fake_logits.mean()}
            return adversarial, (stats, metrics | verdicts(real_logits, fake_logits))

        moved, metrics = descend(state.d, self.d_tx, loss)
        return tricks.keep(moved, self.gate.d(metrics), state.d), metrics

    def generator_move(self, state: PyramidState, d: Net, batch: Batch, rng: Key) -> tuple[Net, Metrics]:
        """One update of this level's generator, given the coarse images of the batch."""
        keys, told = LevelKeys(*jax.random.split(rng, 4)), self.conditions(batch)
        _, low = self.bands(state, batch)

        def loss(params):
            fake, stats = self.made(state.g, low, told, keys, params=params)
            logits, _ = apply(self.level.discriminator, d, fake, *told, train=True, rngs={"dropout": keys.fake})
            adversarial = self.loss.g(logits, logits)
            return adversarial, (stats, {"loss/g": adversarial})

        return descend(state.g, self.g_tx, loss)

    def made(self, g: Net, low: Array, told: tuple, keys: LevelKeys, params=None) -> tuple[Array, PyTree]:
        """Generated images of the level in training upon their low-pass versions, and the generator's statistics."""
        z = noise(self.level, keys.noise, low.shape[0])
        rngs = {"dropout": keys.generator}
        residual, stats = apply(self.level.generator, g, z, low, *told, params=params, train=True, rngs=rngs)
        return low + residual, stats

    def bands(self, state: PyramidState, batch: Batch) -> tuple[Array, Array]:
        """Standardised images at the size of this level, I_k, and their low-pass part l_k: zero for the coarsest."""
        pixels = state.frozen["pixels"].params
        image = (batch["image"] - pixels["mean"][None]) / pixels["std"][None]
        fine = resize(image, self.level.size)
        if len(self.levels) == 1:
            return fine, jnp.zeros_like(fine)
        return fine, resize(resize(image, self.levels[-2].size), self.level.size, self.up)

    def latents(self, rng: Key, batch: Batch) -> dict[str, Array]:
        keys = jax.random.split(rng, len(self.levels))
        return {level.name: noise(level, key, count(batch)) for level, key in zip(self.levels, keys, strict=True)}

    def generate(self, state: PyramidState, latents: dict[str, Array], batch: Batch) -> Array:
        """The chain of all levels so far (eq. 4), enlarged to the size of the data where finer ones are to come."""
        image, told = jnp.zeros((count(batch), *self.levels[0].size, self.shape[-1])), self.conditions(batch)
        for level in self.levels:
            low, variables = resize(image, level.size, self.up), state.pyramid[level.name].params
            image = low + level.generator.apply(variables, latents[level.name], low, *told, train=False)
        pixels = state.frozen["pixels"].params
        image = resize(image, self.shape[:2], self.up) * pixels["std"][None] + pixels["mean"][None]
        return jnp.clip(image, -1.0, 1.0)

    def sample(self, state: PyramidState, batch: Batch, rng: Key) -> Array:
        return self.generate(state, self.latents(rng, batch), batch)

    def score(self, state: PyramidState, examples: Array, batch: Batch) -> Array:
        """What the discriminator of the level in training says of full images, at its size."""
        fine, _ = self.bands(state, {"image": examples})
        return apply(self.level.discriminator, state.d, fine, *self.conditions(batch), train=False)[0]


def noise(level: Level, rng: Key, count: int) -> Array:
    """Uniform on [-1, 1], one map for each image or, for the coarsest level, a vector."""
    return latents.uniform(rng, count, math.prod(level.noise)).reshape(count, *level.noise)


def whole(net: Net) -> Net:
    """All collections of a net where stages carry them over: under `params`."""
    return Net(params={"params": net.params, **net.stats}, stats={})


def together(batch: Batch) -> Batch:
    """[rounds, B, ...] to [rounds B, ...], so that on a mesh each device keeps its own examples."""
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1).reshape(-1, *leaf.shape[2:]), batch)


def verdicts(real_logits: Array, fake_logits: Array) -> Metrics:
    """The cross-entropy of each half of the discriminator's batch, and the share of the batch that it gets right."""
    right = [verdict.astype(jnp.float32).mean() for verdict in (real_logits > 0, fake_logits < 0)]
    halves = {"loss/d_real": nn.softplus(-real_logits).mean(), "loss/d_fake": nn.softplus(fake_logits).mean()}
    return halves | {"accuracy/d": 0.5 * (right[0] + right[1])}


# ------------------------------------------------------------------------------------------------- values to choose


def standardised(images: Array) -> tuple[Array, Array]:
    """Mean and deviation [H, W, C] of every pixel and channel; a pixel that rests in these images may move in others,
    so no deviation is less than .1."""
    return images.mean(axis=0), jnp.maximum(images.std(axis=0), 0.1)


def unchanged(images: Array) -> tuple[Array, Array]:
    """Images stay in [-1, 1]."""
    return jnp.zeros(images.shape[1:]), jnp.ones(images.shape[1:])


PIXELS = {"standardised": standardised, "unchanged": unchanged}


def behind(metrics: Metrics) -> Array:
    """Whether the discriminator is so much worse on fakes that the generator has to wait (`lsun/train.lua`)."""
    return metrics["loss/d_fake"] > metrics["loss/d_real"] + 0.3


GATES = {
    "none": tricks.Gate(),
    "lsun": tricks.Gate(  # one player at a time, and the discriminator also where it does not know its data
        d=lambda metrics: behind(metrics) | (metrics["loss/d_real"] > 0.7), g=lambda metrics: ~behind(metrics)
    ),
}


def eyescream_sgd(section, epoch: float) -> optax.GradientTransformation:
    """The descent of the authors' scripts: momentum grows from `b1` by .0008 an epoch, to `b2` at most; the rate is
    divided by 1.000004 after each. As in Torch, whose dampening is the momentum, v = m v + (1 - m) g.

    epoch: updates in one.
    """

    def init(params):
        return optax.TraceState(jax.tree.map(jnp.zeros_like, params)), jnp.zeros((), jnp.int32)

    def update(grads, state, params=None):
        trace, count = state
        epochs = jnp.floor(count.astype(jnp.float32) / epoch)
        momentum = jnp.minimum(section.b1 + 0.0008 * epochs, section.b2)
        share = jnp.where(count == 0, 1.0, 1.0 - momentum)  # the first velocity is the gradient itself
        velocity = jax.tree.map(lambda v, g: momentum * v + share * g, trace.trace, grads)
        rate = section.learning_rate * jnp.exp(-math.log(1.000004) * epochs)
        return jax.tree.map(lambda v: -rate * v, velocity), (optax.TraceState(velocity), count + 1)

    return optax.GradientTransformation(init, update)


def optimizer(section, key: str, epoch: float) -> optax.GradientTransformation:
    """One of the library's optimisers, or the authors'."""
    recipes: dict[str, Any] = dict.fromkeys(optimizers.BY_NAME, lambda: optimizers.build(section, key))
    recipes["eyescream_sgd"] = lambda: eyescream_sgd(section, epoch)
    return choose(section.name, recipes, f"optimiser (config.model.{key}.name)")()


# ----------------------------------------------------------------------------------------------------- from a config


def stages(config) -> tuple[Stage, ...]:
    """One stage for each level, the coarsest first; they share `config.steps` equally."""
    model, shape = config.model, base.example_shape(config.data)
    levels = pyramid(config, shape)
    epoch = max(config.data.examples / config.batch_size, 1.0)
    fields = {
        "shape": shape,
        "g_tx": optimizer(model.g_optimizer, "g_optimizer", epoch),
        "d_tx": optimizer(model.d_optimizer, "d_optimizer", epoch),
        "loss": losses.scaled(losses.non_saturating(), d=0.5),  # the mean over one batch of both
        "conditions": by_label(labelled(config)) if model.conditional else unconditional,
        "pixels": choose(model.pixels, PIXELS, "scale of the images (config.model.pixels)"),
        "up": choose(model.up, UP, "enlargement (config.model.up)"),
        "gate": choose(model.gate, GATES, "gate (config.model.gate)"),
        "decay": ema_decay(model.half_life, config.batch_size),
    }
    if config.steps < len(levels):
        raise InputError(f"config.steps={config.steps} must be at least {len(levels)}, one for each level")
    ends = [config.steps * (i + 1) // len(levels) for i in range(len(levels))]
    return tuple(
        Stage(level.name, LAPGAN(levels=levels[: i + 1], **fields), end - start, config.batch_size)
        for i, (level, start, end) in enumerate(zip(levels, [0, *ends[:-1]], ends, strict=True))
    )


def pyramid(config, shape: tuple[int, int, int]) -> tuple[Level, ...]:
    """All levels, from the coarsest to that of the data."""
    model, dtype = config.model, jnp.dtype(config.dtype)
    names, sizes = tuple(model.nets), level_sizes(config, shape)
    if len(names) != len(sizes) - 1:
        raise InputError(
            f"config.model.nets={names} must name the networks of {len(sizes) - 1} finer levels: "
            f"{', '.join(f'{a}x{b}' for a, b in sizes[1:])}"
        )
    makers = [nets.coarsest, *(choose(name, nets.BY_NAME, "networks (config.model.nets)") for name in names)]
    levels = []
    for i, (size, make) in enumerate(zip(sizes, makers, strict=True)):
        pair = make((*size, shape[-1]), model, dtype)
        players = [nets.Named(f"level_{i}", player) for player in (pair.generator, pair.discriminator)]
        levels.append(Level(f"level_{i}", size, pair.noise, *players))
    return tuple(levels)


def level_sizes(config, shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Height and width of every level; `config.model.coarser` gives the heights below that of the data."""
    if config.data.domain != "image":
        raise InputError(
            f"config.gan='lapgan' makes images, and dataset '{config.data.name}' holds {config.data.domain}s"
        )
    height, width, _ = shape
    heights = (*config.model.coarser, height)
    if any(a >= b for a, b in itertools.pairwise(heights)) or any(h * width % height for h in heights):
        raise InputError(
            f"config.model.coarser={tuple(config.model.coarser)} must be heights that rise and stay below that of "
            f"config.data.resolution=({height}, {width}), whose widths in proportion are whole numbers"
        )
    return [(h, h * width // height) for h in heights]
