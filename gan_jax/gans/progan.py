"""Progressive Growing of GANs for Improved Quality, Stability, and Variation (Karras, Aila, Laine, Lehtinen, 2017,
arXiv:1710.10196).

Both networks begin with small images. Whenever they have learned a resolution, a level for the next one is added to
each and fades in, while everything below goes on learning. Growing, an equalised learning rate, pixel-wise
normalisation in the generator and the minibatch standard deviation in the discriminator keep the game stable without
batch norm.

Every resolution is a stage: at first the new level has no share in images and features, then more and more, then all.
What is played is the classical game, by default with the Wasserstein loss, a gradient penalty and a small `drift`.
Networks of `width` 8192, `most_width` 512 and latents of 512 have, with all layers from and to RGB:

    side    4           8            16           32           64           128          256          1024
    G       6,556,163   11,277,318   15,998,473   20,719,628   22,490,383   22,933,394   23,044,309   23,079,115
    D       6,561,793   11,283,457   16,005,121   20,726,785   22,498,049   22,941,313   23,052,353   23,087,249

The pair of CIFAR-10 (width 4096, at most 128, latents of 128) has 1,296,908 and 1,298,689.

Where we differ from the authors' TensorFlow code (github.com/tkarras/progressive_growing_of_gans):
  * Data of a resolution are what the dataset gives at that resolution; the code averages squares of four.
  * The running average moves after the generator, as in their Theano code; in TensorFlow, before it.
  * A step with an infinite gradient is not left out: the loop stops and says so. No auxiliary classifier of labels.
  * Any base of 4 to 7 pixels a side, so that images need be neither square nor a power of two.

Numbers to expect: on CIFAR-10 an Inception score of 8.56 +- .06 (best 8.80); FID 7.30 on CelebA-HQ at 1024 x 1024 and
8.34 on LSUN bedrooms at 256 x 256; sliced Wasserstein distance .00296 on CelebA at 128 x 128 (table 1, row h).
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from flax.typing import Dtype

from gan_jax import config as base
from gan_jax import optimizers, penalties
from gan_jax.contract import Array, Batch, Key, Metrics, PyTree, Stage
from gan_jax.errors import InputError, choose
from gan_jax.gans.gan import GameState, TwoPlayerGame, two_player
from gan_jax.layers import scaled
from gan_jax.layers.blocks import same
from gan_jax.layers.norm import pixel_norm
from gan_jax.layers.resample import average_pool, nearest
from gan_jax.layers.scaled import ScaledConv, ScaledDense, biased
from gan_jax.layers.statistics import minibatch_stddev

leaky = partial(nn.leaky_relu, negative_slope=0.2)


class Level(NamedTuple):
    """What both networks have for one resolution."""

    size: tuple[int, int]  # height and width of its images
    width: int  # channels of its features
    fused: bool  # how sides are doubled and halved: the same function, of other speed

    @property
    def name(self) -> str:
        return f"{self.size[0]}x{self.size[1]}"

    @property
    def up(self) -> Callable:
        return scaled.fused_up if self.fused else scaled.up

    @property
    def down(self) -> Callable:
        return scaled.fused_down if self.fused else scaled.down


# ------------------------------------------------------------------------------------------------------ the networks


def blend(new: Array, old: Array, share: Array) -> Array:
    """`new` [B, ...] with a share [B] in [0, 1] of `old`; exact at both ends."""
    share = share.astype(new.dtype).reshape(-1, *[1] * (new.ndim - 1))
    return (1.0 - share) * new + share * old


def newest(images: Sequence[Array], fade: Array) -> Array:
    """The last of the levels' images [B,h,w,C], with a share of the one before it, enlarged."""
    return images[-1] if len(images) == 1 else blend(images[-1], nearest(images[-2]), fade)


def at_half(images: Array) -> Array:
    """Images [B,H,W,C] with the detail of half their sides."""
    return nearest(average_pool(images))


class Base(nn.Module):
    """z [B,Z] to the features of the first level [B,h,w,F]."""

    level: Level
    norm: Callable
    dtype: Dtype

    @nn.compact
    def __call__(self, z):
        (height, width), features = self.level.size, self.level.width
        gain = math.sqrt(2.0 / (height * width))  # as if z were an image of one pixel and the kernel h x w
        dense = ScaledDense(height * width * features, gain=gain, use_bias=False, dtype=self.dtype)
        h = dense(z).reshape(-1, height, width, features)
        h = self.norm(leaky(biased(self, h)))
        return self.norm(leaky(ScaledConv(features, dtype=self.dtype)(h)))


class Up(nn.Module):
    """Features [B,h,w,E] to those of the next level [B,2h,2w,F]."""

    level: Level
    norm: Callable
    dtype: Dtype

    @nn.compact
    def __call__(self, h):
        for form in (self.level.up, scaled.plain):
            h = self.norm(leaky(ScaledConv(self.level.width, form, dtype=self.dtype)(h)))
        return h


class Generator(nn.Module):
    """z [B,Z] and the share [B] of the level before the last to images [B,H,W,C] around [-1,1]: no squashing."""

    levels: tuple[Level, ...]
    channels: int
    norm: Callable = pixel_norm
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, fade, *, train: bool):
        h, images = pixel_norm(z), []
        for i, level in enumerate(self.levels):
            grow = Up if i else Base
            h = grow(level, self.norm, self.dtype, name=level.name)(h)
            to_rgb = ScaledDense(self.channels, gain=1.0, dtype=self.dtype, name=f"rgb_{level.name}")
            images.append(to_rgb(h).astype(jnp.float32))
        return newest(images, fade)


class Down(nn.Module):
    """Features of a level [B,2h,2w,F] to those of the level below [B,h,w,E].

    smooth: applied before sides are halved.
    """

    level: Level
    features: int
    smooth: Callable
    dtype: Dtype

    @nn.compact
    def __call__(self, h):
        h = leaky(ScaledConv(self.level.width, dtype=self.dtype)(h))
        return leaky(ScaledConv(self.features, self.level.down, dtype=self.dtype)(self.smooth(h)))


class Discriminator(nn.Module):
    """Images [B,H,W,C] and the share [B] of the level before the last to logits [B].

    hidden: units of the dense layer before the last. group: of the minibatch standard deviation; 0 is the whole batch,
      None does without.
    """

    levels: tuple[Level, ...]
    hidden: int
    group: int | None = 4
    smooth: Callable = same
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, fade, *, train: bool):
        def from_rgb(level, x):
            return leaky(ScaledDense(level.width, dtype=self.dtype, name=f"rgb_{level.name}")(x))

        h = from_rgb(self.levels[-1], x)
        for coarse, level in reversed(list(itertools.pairwise(self.levels))):
            h, x = Down(level, coarse.width, self.smooth, self.dtype, name=level.name)(h), average_pool(x)
            old = from_rgb(coarse, x)
            h = blend(h, old, fade) if level is self.levels[-1] else h
        h = h.astype(jnp.float32)
        h = h if self.group is None else minibatch_stddev(h, self.group)
        h = leaky(ScaledConv(self.levels[0].width)(h)).reshape(h.shape[0], -1)
        h = leaky(ScaledDense(self.hidden)(h))
        self.sow("intermediates", "features", h)
        return ScaledDense(1, gain=1.0)(h)[:, 0]


# -------------------------------------------------------------------------------------------------------- the growing


@struct.dataclass
class GrowingState(GameState):
    """The classical game, and how many images of data this resolution has seen."""

    images: PyTree  # int32 []


@dataclasses.dataclass(frozen=True, kw_only=True)
class Growing:
    """A game at one resolution, whose newest level fades in over `fade_images` images of data; 0 is at once.

    Data fade with it: what they show at the resolution before, enlarged, gives way to what they are.
    """

    game: TwoPlayerGame
    fade_images: float = 0.0

    @property
    def rounds(self) -> int:
        return self.game.rounds

    def init(self, rng: Key, batch: Batch) -> GrowingState:
        start = self.game.init(rng, faded(batch, jnp.zeros(())))
        return GrowingState(**vars(start), images=jnp.zeros((), jnp.int32))

    def train_step(self, state: GrowingState, batch: Batch, rng: Key) -> tuple[GrowingState, Metrics]:
        fade = self.fade(state)
        shown = faded({**batch, "image": self.shown(batch["image"], fade)}, fade)
        moved, metrics = self.game.train_step(state, shown, rng)
        average = moved.average.replace(stats=moved.g.stats)  # statistics are copied, not averaged
        return moved.replace(average=average, images=state.images + shown["fade"].size), metrics | {"fade": fade}

    def shown(self, images: Array, fade: Array) -> Array:
        """Images [(rounds,) B,H,W,C] with a share of what they were at the resolution before."""
        if not self.fade_images:
            return images
        before = at_half if self.rounds == 1 else jax.vmap(at_half)
        return (1.0 - fade) * images + fade * before(images)

    def fade(self, state: GrowingState) -> Array:
        """The share of the level before, from 1 to 0."""
        left = self.fade_images - state.images.astype(jnp.float32)
        return jnp.clip(left / max(self.fade_images, 1.0), 0.0, 1.0)

    def latents(self, rng: Key, batch: Batch) -> PyTree:
        return self.game.latents(rng, batch)

    def generate(self, state: GrowingState, latents: PyTree, batch: Batch) -> Array:
        return jnp.clip(self.game.generate(state, latents, faded(batch, self.fade(state))), -1.0, 1.0)

    def sample(self, state: GrowingState, batch: Batch, rng: Key) -> Array:
        return self.generate(state, self.latents(rng, batch), batch)

    def score(self, state: GrowingState, examples: Array, batch: Batch) -> Array:
        """Of examples as they are: data are not faded here."""
        return self.game.score(state, examples, faded(batch, self.fade(state)))


def faded(batch: Batch, fade: Array) -> Batch:
    """The batch with the share of the level before, one number for each example, as a condition of the game."""
    return {**batch, "fade": jnp.broadcast_to(fade, batch["image"].shape[:-3])}


# ------------------------------------------------------------------------------------------------------ from a config

NORMS = {"pixel": pixel_norm, "none": same}


def levels(config) -> tuple[Level, ...]:
    """All levels of a network for the data, from a base of 4 to 7 pixels on.

    Keys: width, most_width, fused_from.

    Raises:
      InputError: if the data are no images, or have sides that are no base x 2^k.
    """
    model, shape = config.model, base.example_shape(config.data)
    if config.data.domain != "image":
        raise InputError(
            f"config.gan='{config.gan}' makes images, and dataset '{config.data.name}' holds {config.data.domain}s"
        )
    sizes = [shape[:2]]
    while min(sizes[-1]) >= 8 and not any(side % 2 for side in sizes[-1]):
        sizes.append(tuple(side // 2 for side in sizes[-1]))
    if not 4 <= min(sizes[-1]) < 8:
        raise InputError(
            f"config.data.resolution={tuple(shape[:2])}: images grow from a shorter side of 4 to 7 pixels, doubling; "
            f"these would grow from {sizes[-1]}; take a power of two"
        )
    return tuple(
        Level(size, features(model, i + 1), min(size) >= model.fused_from) for i, size in enumerate(reversed(sizes))
    )


def features(model, halvings: int) -> int:
    return min(model.width >> halvings, model.most_width)


class Growth(NamedTuple):
    """How one resolution is learned."""

    levels: tuple[Level, ...]  # up to this resolution
    batch_size: int
    steps: int
    fade_images: float
    rate: float  # multiple of the learning rates
    ramp_images: float


def growth(config, levels: Sequence[Level]) -> list[Growth]:
    """One for each resolution from `first_side` on, together `config.steps` steps.

    Each fades in for `fade_images` images of data (the first does not) and goes on for `steady_images`, the last one
    for `last_images`; if that makes another number of steps, all of them are stretched alike.

    Keys: first_side, fade_images, steady_images, last_images, batch_multiples, rate_multiples, ramp_images.

    Raises:
      InputError: for a first side that is none, a list of another length, or too few steps.
    """
    model = config.model
    shown = [i + 1 for i, level in enumerate(levels) if min(level.size) >= model.first_side]
    if not shown:
        raise InputError(f"config.model.first_side={model.first_side} must be at most {min(levels[-1].size)}")
    count = len(shown)
    multiples = {}
    for key in ("batch_multiples", "rate_multiples"):
        multiples[key] = tuple(model[key]) or (1.0,) * count
        if len(multiples[key]) != count:
            names = ", ".join(level.name for level in levels[-count:])
            raise InputError(f"config.model.{key}={model[key]} must be (), or one for each of {names}")
    batches = [max(1, round(config.batch_size * multiple)) for multiple in multiples["batch_multiples"]]
    fades = [0.0, *[float(model.fade_images)] * (count - 1)]
    steady = [*[float(model.steady_images)] * (count - 1), float(model.last_images)]
    natural = [(a + b) / (size * model.rounds) for a, b, size in zip(fades, steady, batches, strict=True)]
    stretch = config.steps / sum(natural)
    ends = [round(stretch * end) for end in itertools.accumulate(natural)]
    steps = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    if min(steps) < 1:
        raise InputError(f"config.steps={config.steps} leaves no step to one of {count} resolutions; take more")
    return [
        Growth(tuple(levels[:n]), size, length, stretch * fade, rate, stretch * model.ramp_images)
        for n, size, length, fade, rate in zip(shown, batches, steps, fades, multiples["rate_multiples"], strict=True)
    ]


def grow(config, networks: Callable, decay: Callable[[int], float], make: Callable = Growing, **values):
    """The stages of a growing pair; everything else is read from `config.model`, as `two_player` does.

    networks: the levels of a resolution to its `generator` and `discriminator`, and further fields of the game that
      depend on it. decay: a batch size to the decay of the running average. values: other fields of the game.

    Keys: those of `growth`, penalty, penalty_weight, slope, drift, and those of `two_player` that are not among them.
    """
    model, found = config.model, []
    known = penalties.BY_NAME | {"wgan_gp": partial(penalties.relative_slopes, target=model.slope)}
    penalty = choose(model.penalty, known, "penalty (config.model.penalty)")(model.penalty_weight)
    values |= {"conditions": lambda batch: (batch["fade"],), "penalty": penalties.drifting(penalty, model.drift)}
    for plan in growth(config, levels(config)):
        txs = {"g_tx": optimizer(config, "g_optimizer", plan, 1)}
        txs |= {"d_tx": optimizer(config, "d_optimizer", plan, model.rounds)}
        game = two_player(config, **networks(plan.levels), decay=decay(plan.batch_size), **txs, **values)
        gan, newest = make(game=game, fade_images=plan.fade_images), plan.levels[-1]
        found.append(Stage(newest.name, gan, plan.steps, plan.batch_size, {"resolution": newest.size}))
    return tuple(found)


def optimizer(config, key: str, plan: Growth, moves: int) -> optax.GradientTransformation:
    """Of the player that moves so many times a step. It begins anew with every resolution, and where that has faded in;
    each time its rate rises over the first `ramp_images`."""
    updates = moves / (plan.batch_size * config.model.rounds)  # for each image of data
    rate = optax.scale_by_schedule(optimizers.ramp(plan.rate, plan.ramp_images * updates))
    tx = optax.chain(optimizers.build(config.model[key], key), rate)
    return optimizers.restarted(tx, math.ceil(plan.fade_images * updates))


def stages(config) -> tuple[Stage, ...]:
    """One stage for each resolution."""
    model, dtype, channels = config.model, jnp.dtype(config.dtype), config.data.channels
    norm = choose(model.norm, NORMS, "norm (config.model.norm)")

    def networks(levels):
        discriminator = Discriminator(levels, features(model, 0), model.stddev_group, dtype=dtype)
        return {"generator": Generator(levels, channels, norm, dtype), "discriminator": discriminator}

    return grow(config, networks, decay=lambda batch_size: model.average)
