"""Large Scale GAN Training for High Fidelity Natural Image Synthesis: BigGAN and BigGAN-deep (Brock, Donahue, Simonyan,
2018, arXiv:1809.11096).

SAGAN made large: eight times the batch, half as much again of the width. The class is embedded once and told to every
block, together with a part of the latent; what is sampled is a running average, with moments of batch norm of its own;
and latents cut off at a bound trade variety for fidelity, which kernels with orthogonal filters bear well.

Parameters with 1,000 classes, and config.model.skip_z, by which z and the embedding c reach the blocks:

                                     generator     discriminator
    128x128, width 96   "chunks"     70,433,988    87,982,370
    256x256, width 96   "chunks"     82,235,844    99,225,890
    deep 128, width 128 "all"        50,244,484    34,590,210
    deep 256, width 128 "all"        55,736,708    38,247,426
    CIFAR-10, width 64  "none"        4,304,387     4,207,361

Layers are those of the author's PyTorch code, numbers those of the paper where they differ (two moves of the
discriminator, rates 5e-5 and 2e-4, batches of 2048). Where we differ from both:
  * Data and samples are two batches for the discriminator, not one: it has no batch norm, and its vectors of the power
    iteration move with the first of the two, so the gradient is the same.
  * Fakes have the labels of the minibatch of data, which are as uniform as the data's; the code draws them.
  * The generator's vectors move once for each of its own moves, not in the discriminator's as well.
  * Adam's epsilon is 1e-8; the code's for ImageNet is 1e-6.

Batch norm is over a whole microbatch, wherever it is computed. So a gradient that is accumulated over `pieces` is that
of the large batch for a discriminator, and for a generator but for these moments, as in the code.

Numbers to expect on ImageNet at 128x128: an Inception score of 98.8 and FID 8.7, and 166.3 and 9.6 with truncation;
124.5 and 5.7 for BigGAN-deep. On CIFAR-10 9.22 and 14.73. Training collapses in the end, and the best state before it
counts: `monitor/` has the first singular values by which it is seen coming (section 4).
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from flax.typing import Dtype, Initializer

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
    last_round,
    mean,
    play,
    split,
    still,
)
from gan_jax.errors import InputError, choose
from gan_jax.gans import sagan
from gan_jax.gans.gan import by_label, labelled
from gan_jax.layers.attention import SelfAttention
from gan_jax.layers.blocks import DeepBlock, FirstBlock, ResidualBlock, glorot, initialised
from gan_jax.layers.norm import BatchNorm, ConditionalBatchNorm, Unchanged
from gan_jax.layers.spectral import SpectralConv, SpectralDense, first_singular_values
from gan_jax.nets import resnet

# ----------------------------------------------------------------------------------- how z and c reach the blocks


def class_alone(z, c, blocks: int):
    """z makes the base, the blocks are told c."""
    return z, [c] * blocks


def chunks(z, c, blocks: int):
    """Every block is told c and a part of z of its own (skip-z, hierarchical latents)."""
    first, *others = jnp.split(z, blocks + 1, axis=-1)
    return first, [jnp.concatenate([chunk, c], axis=-1) for chunk in others]


def everything(z, c, blocks: int):
    """Base and blocks are told both (BigGAN-deep)."""
    both = jnp.concatenate([z, c], axis=-1)
    return both, [both] * blocks


SKIPS = {"none": class_alone, "chunks": chunks, "all": everything}
INITIALISERS = {
    "orthogonal": nn.initializers.orthogonal(),
    "normal": nn.initializers.normal(0.02),
    "glorot": glorot,
}

# ------------------------------------------------------------------------------------------------------- networks


class Generator(nn.Module):
    """z [B,Z] and labels [B,K], or mixtures of them, to images [B,*shape] in [-1,1].

    `widths` are the channels of the base and after each size; the last of the `depth` blocks of a size doubles it. With
    an embedding of size 0 labels are told as they are, to a table in each norm.
    """

    shape: tuple[int, int, int]
    widths: tuple[int, ...]
    block: Callable = ResidualBlock
    depth: int = 1
    skip: Callable = chunks
    embedding: int = 128
    attention: tuple[int, ...] = ()  # heights of the images that self-attention follows
    momentum: float = 0.9  # of the moving averages of batch norm
    kernel_init: Initializer = INITIALISERS["orthogonal"]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, label, *, train: bool):
        conv, dense = initialised(SpectralConv, self.kernel_init), initialised(SpectralDense, self.kernel_init)
        plain = partial(BatchNorm, momentum=self.momentum)
        shared = partial(ConditionalBatchNorm, dense, self.momentum)
        block = partial(self.block, conv=conv, norm=shared if self.embedding else plain, dtype=self.dtype)
        start, told = self.skip(z, self._embedded(label), len(self.widths) - 1)
        height, width = resnet.base(self.shape, len(self.widths) - 1)
        h = dense(height * width * self.widths[0], dtype=self.dtype, name="base")(start)
        h = h.reshape(-1, height, width, self.widths[0])
        for level, (features, c) in enumerate(zip(self.widths[1:], told, strict=True)):
            for number in range(self.depth - 1):
                h = block(h.shape[-1], name=f"block_{level}_{number}")(h, c, train=train)
            h = block(features, "up", name=f"block_{level}")(h, c, train=train)
            h = attend(self, conv, h)
        h = nn.relu(plain(dtype=self.dtype, name="norm")(h, train=train))
        h = conv(self.shape[-1], (3, 3), dtype=self.dtype, name="output")(h)
        return jnp.tanh(h.astype(jnp.float32))

    def _embedded(self, label):
        """[B,K] to [B, embedding]: shared by all blocks, and not spectrally normalised."""
        if not self.embedding:
            return label
        return label @ self.param("embedding", self.kernel_init, (label.shape[-1], self.embedding))


class Discriminator(nn.Module):
    """Images [B,H,W,C] and labels [B,K] to logits [B].

    `widths` are the channels of the stem and of the `depth` blocks at each size after it, the first of which halves the
    sides; `plain` those of blocks after them. Features are summed over what is left of the image.
    """

    widths: tuple[int, ...]
    plain: tuple[int, ...] = ()
    stem: Callable = FirstBlock
    block: Callable = ResidualBlock
    depth: int = 1
    attention: tuple[int, ...] = ()
    kernel_init: Initializer = INITIALISERS["orthogonal"]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label=None, *, train: bool):
        conv, dense = initialised(SpectralConv, self.kernel_init), initialised(SpectralDense, self.kernel_init)
        block = partial(self.block, conv=conv, norm=Unchanged, dtype=self.dtype)
        h = self.stem(self.widths[0], conv=conv, dtype=self.dtype, name="stem")(x.astype(self.dtype))
        h = attend(self, conv, h)
        for level, features in enumerate(self.widths[1:]):
            h = block(features, "down", name=f"block_{level}")(h, train=train)
            for number in range(self.depth - 1):
                h = block(features, name=f"block_{level}_{number}")(h, train=train)
            h = attend(self, conv, h)
        for number, features in enumerate(self.plain):
            h = block(features, name=f"plain_{number}")(h, train=train)
        h = resnet.rectified_sum(h)
        self.sow("intermediates", "features", h)
        return resnet.ProjectionHead(dense, name="head")(h, label)


def attend(network, conv: Callable, h):
    """Self-attention, if the network has it for images of this height."""
    if h.shape[1] not in network.attention:
        return h
    return SelfAttention(conv, network.dtype, name=f"attention_{h.shape[1]}")(h)


NETS = {  # of both networks, and of the discriminator alone
    "biggan": ({"block": ResidualBlock, "depth": 1}, {"stem": FirstBlock}),
    "deep": ({"block": DeepBlock, "depth": 2}, {"stem": resnet.Stem}),
}
HALVED_BY_STEM = {"biggan": 1, "deep": 0}


def networks(shape: tuple[int, ...], model, dtype) -> tuple[Generator, Discriminator]:
    both, of_discriminator = choose(model.nets, NETS, "networks (config.model.nets)")
    kernel_init = choose(model.init, INITIALISERS, "initialiser (config.model.init)")
    both = {**both, "attention": tuple(model.attention), "kernel_init": kernel_init, "dtype": dtype}
    skip = choose(model.skip_z, SKIPS, "way of z to the blocks (config.model.skip_z)")
    told = {"skip": skip, "embedding": model.embedding, "momentum": model.norm_decay}
    generator = Generator(shape, tuple(model.g_widths), **told, **both)
    return generator, Discriminator(tuple(model.d_widths), tuple(model.d_plain), **of_discriminator, **both)


# ------------------------------------------------------------------------------------------------------- the game


def any_kernels(params: PyTree) -> tuple[jax.Array, Metrics]:
    """Kernels cost nothing."""
    return jnp.zeros(()), {}


def orthogonality(beta: float) -> Callable[[PyTree], tuple[jax.Array, Metrics]]:
    """What the generator pays for filters that are not orthogonal, with the gradient of the code: 2 beta (W W^T less
    its diagonal) W, half of that of the paper's equation 3."""

    def cost(params):
        overlap = penalties.orthogonal(params)
        return beta / 2 * overlap, {"penalty/orthogonal": overlap}

    return cost if beta else any_kernels


@struct.dataclass
class BigGANState(State):
    """The two players, the average, and what the penalty remembers."""

    memory: PyTree


@dataclasses.dataclass(frozen=True, kw_only=True)
class BigGAN:
    """In each step the discriminator moves `rounds` times, then the generator once, each down a gradient that is
    accumulated over `pieces` microbatches."""

    generator: nn.Module
    discriminator: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    loss: losses.Loss
    latent: latents.Latent
    latent_size: int
    conditions: Callable[[Batch], tuple]
    penalty: penalties.Penalty
    kernels: Callable[[PyTree], tuple[jax.Array, Metrics]] = any_kernels  # what the generator pays for its own
    rounds: int = 2
    pieces: int = 1
    decay: float = 0.9999  # of the average that is sampled
    average_from: int = 0  # the step before which it is a copy

    def init(self, rng: Key, batch: Batch) -> BigGANState:
        g_rng, d_rng, z_rng = jax.random.split(rng, 3)
        told = self.conditions(batch)
        g = create(self.generator, self.g_tx, g_rng, self.latents(z_rng, batch), *told, train=False)
        d = create(self.discriminator, self.d_tx, d_rng, batch["image"], *told, train=False)
        return BigGANState(step=jnp.zeros((), jnp.int32), g=g, d=d, average=still(g), memory=self.penalty.memory)

    def train_step(self, state: BigGANState, batch: Batch, rng: Key) -> tuple[BigGANState, Metrics]:
        d_rng, g_rng = jax.random.split(rng)
        move = partial(self.discriminator_move, state.g)
        (d, memory), seen = play(self.rounds, move, (state.d, state.memory), batch, d_rng)
        g, made = self.generator_move(state.g, d, last_round(self.rounds, batch), g_rng)
        average = ema(state.average, g, jnp.where(state.step < self.average_from, 0.0, self.decay))
        watched = singular_values("g", g) | singular_values("d", d)
        state = state.replace(step=state.step + 1, g=g, d=d, average=average, memory=memory)
        return state, seen | made | watched

    def discriminator_move(self, g: Net, players, batch: Batch, rng: Key):
        """One round: down the loss and the penalty, on data and on samples of the same classes.
        `players` are the discriminator and what the penalty remembers, and are given back with metrics."""
        d, memory = players
        z_rng, penalty_rng = jax.random.split(rng)

        def loss(params, piece):
            (real, z, told), rng = piece
            judge = partial(apply, self.discriminator, params=params, train=True)
            fake, _ = apply(self.generator, g, z, *told, train=True)  # its statistics are dropped
            real_logits, stats = judge(d, real, *told)
            seen = d.replace(stats=stats)

            def score(x):
                return judge(seen, x, *told, hold=("spectral",))[0]

            fake_logits = score(fake)
            evidence = penalties.Evidence(params, score, real, fake, real_logits, fake_logits, rng)
            price, paid, remembered = self.penalty.cost(evidence, memory)
            value = self.loss.d(real_logits, fake_logits)
            metrics = {"loss/d": value, "score/real": real_logits.mean(), "score/fake": fake_logits.mean()}
            return value + price, (stats, (remembered, metrics | paid))

        inputs = (batch["image"], self.latents(z_rng, batch), self.conditions(batch))
        d, (memory, metrics) = self.accumulated(d, self.d_tx, loss, inputs, penalty_rng)
        return (d.replace(params=self.penalty.project(d.params)), memory), metrics

    def generator_move(self, g: Net, d: Net, batch: Batch, rng: Key) -> tuple[Net, Metrics]:
        """The generator's step, against a discriminator that stands still, with what its own kernels cost."""
        z_rng, piece_rng = jax.random.split(rng)
        judge = partial(apply, self.discriminator, d, train=True, hold=("spectral",))

        def loss(params, piece):
            (real, z, told), _ = piece
            fake, stats = apply(self.generator, g, z, *told, params=params, train=True)
            value = self.loss.g(judge(real, *told)[0], judge(fake, *told)[0])  # most losses do not look at data here
            price, paid = self.kernels(params)
            return value + price, (stats, {"loss/g": value} | paid)

        inputs = (batch["image"], self.latents(z_rng, batch), self.conditions(batch))
        return self.accumulated(g, self.g_tx, loss, inputs, piece_rng)

    def accumulated(self, net: Net, tx, loss: Callable, inputs: PyTree, rng: Key) -> tuple[Net, PyTree]:
        """One step down `loss(params, (inputs, rng))`, or down its mean over `pieces` of the inputs."""
        if self.pieces == 1:
            return descend(net, tx, lambda params: loss(params, (inputs, rng)))
        return descend(net, tx, loss, (split(inputs, self.pieces), jax.random.split(rng, self.pieces)))

    def stand(self, state: BigGANState, z: PyTree, batch: Batch) -> BigGANState:
        """The state whose average has standing statistics: moments of batch norm that are the means over N passes, for
        latents z [N,B,Z] and labels [N,B] of the kind that will be sampled.

        Moments averaged in training lag behind, and are wrong for truncated latents: each bound wants its own.
        """
        watchful = self.generator.clone(momentum=0.0)  # remembers the last batch alone

        def moments(inputs):
            z, batch = inputs
            return apply(watchful, state.average, z, *self.conditions(batch), train=True)[1]["batch_stats"]

        stats = state.average.stats | {"batch_stats": mean(jax.lax.map(moments, (z, batch)))}
        return state.replace(average=state.average.replace(stats=stats))

    def latents(self, rng: Key, batch: Batch) -> jax.Array:
        return self.latent(rng, count(batch), self.latent_size)

    def generate(self, state: BigGANState, latents: jax.Array, batch: Batch) -> jax.Array:
        return apply(self.generator, state.average, latents, *self.conditions(batch), train=False)[0]

    def sample(self, state: BigGANState, batch: Batch, rng: Key) -> jax.Array:
        return self.generate(state, self.latents(rng, batch), batch)

    def score(self, state: BigGANState, examples: jax.Array, batch: Batch) -> jax.Array:
        return apply(self.discriminator, state.d, examples, *self.conditions(batch), train=False)[0]


def singular_values(player: str, net: Net) -> Metrics:
    """`monitor/<player>_<block>`: the largest first singular value among the kernels of each block. Those of the
    generator's early layers leap when training collapses (section 4.1, figure 3)."""
    found = first_singular_values(net.params, net.stats["spectral"])
    blocks = dict.fromkeys(path[0] for path in found)
    return {
        f"monitor/{player}_{block.lower()}": jnp.stack(
            [value for path, value in found.items() if path[0] == block]
        ).max()
        for block in blocks
    }


def stages(config) -> tuple[Stage, ...]:
    """One stage.

    Raises:
      InputError: for a name that is not in its table, data without labels, or networks that do not fit the data.
    """
    model, shape = config.model, base.example_shape(config.data)
    generator, discriminator = networks(shape, model, jnp.dtype(config.dtype))
    sagan.check(config, shape, len(model.d_widths) - 1 + HALVED_BY_STEM[model.nets])
    check(config)
    game = BigGAN(
        generator=generator,
        discriminator=discriminator,
        g_tx=optimizers.build(model.g_optimizer, "g_optimizer"),
        d_tx=optimizers.build(model.d_optimizer, "d_optimizer"),
        loss=losses.build(model.loss),
        latent=choose(model.latent, latents.BY_NAME, "latent (config.model.latent)"),
        latent_size=model.latent_size,
        conditions=by_label(labelled(config)),
        penalty=penalties.build(model.penalty, model.penalty_weight),
        kernels=orthogonality(model.orthogonal),
        rounds=model.rounds,
        pieces=model.pieces,
        decay=ema_decay(model.half_life, config.batch_size),
        average_from=model.average_from,
    )
    return (Stage("adversarial", game, config.steps, config.batch_size),)


def check(config) -> None:
    """Refuses numbers that do not divide, and chunks of z that no norm would hear."""
    model, parts = config.model, len(config.model.g_widths)
    if model.rounds < 1:
        raise InputError(f"config.model.rounds={model.rounds} must be at least 1")
    if model.pieces < 1 or config.batch_size % model.pieces:
        raise InputError(f"config.model.pieces={model.pieces} must divide config.batch_size={config.batch_size}")
    if model.skip_z != "none" and not model.embedding:
        raise InputError(f"config.model.skip_z='{model.skip_z}' needs an embedding: config.model.embedding=128")
    if model.skip_z == "chunks" and model.latent_size % parts:
        raise InputError(
            f"config.model.latent_size={model.latent_size} must divide into {parts} chunks, as skip_z says"
        )
