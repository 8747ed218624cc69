"""Improved Training of Wasserstein GANs (Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville, 2017, arXiv:1704.00028).

A Wasserstein critic is kept 1-Lipschitz not by clipping its weights but by a penalty on how far its slope is from 1 on
lines between data and samples. One setting then trains many architectures.

This is Algorithm 1 of the classical game with values: the loss "wasserstein", the penalty "wgan_gp" of weight lambda,
and `rounds` critic steps (n_critic) before each of the generator. `score/real - score/fake` is the critic's estimate of
the distance. What is new here are the networks, by name in `NETS`:

    config.model.nets  what it is                                                 width  parameters G / D
    mlp                three hidden layers, for points (`gan_toy.py`)             512    527,874 / 527,361
    mlp_fixed          the same critic, against data + N(0, 1) noise (figure 1)   512    1 / 527,361
    mnist              `gan_mnist.py`: sides of 4, 7, 14, 28                      64     1,554,177 / 1,030,145
    cifar10            `gan_cifar.py`                                             128    5,179,907 / 4,114,689
    cifar10_resnet     `gan_cifar_resnet.py`                                      128    1,204,483 / 1,053,825
    good               the residual pair of `gan_64x64.py`                        64     8,540,483 / 7,491,841
    dcgan              the zoo of `gan_64x64.py` (figure 2) from here on          64     5,364,739 / 4,316,545
    constant           as many filters in every layer of the generator, no norm   64     444,291 / 4,316,545
    mlp_generator      a generator of 4 x 512 units                               64     7,157,760 / 4,316,545
    gated              sigmoid(a) tanh(b) everywhere                              64     10,724,675 / 8,624,897
    tanh               tanh everywhere                                            64     5,364,739 / 4,316,545
    resnet101          bottleneck blocks, 101 layers each                         64     9,189,587 / 7,618,801

All of them build themselves for other sizes, too; "no normalisation anywhere" is `dcgan` with both norms "none".

Where we differ: batch norm uses running averages when sampling (the code uses those of the batch, always). The first
generator step follows five critic steps, which is what skipping it at iteration 0 does. Pixels get no uniform noise of
one grey level (`gan_cifar_resnet.py`). Digits are in [-1, 1], not [0, 1], so slopes count half; the output is the same
sigmoid, stretched. Labels, where asked for, set batch-norm gains in residual generators and are projected in their
critics (elsewhere they join the input); the paper's auxiliary classifier is `acgan`.

Numbers to expect: Inception score 7.86 +- .07 on CIFAR-10 without labels (table 3), 8.42 with them; FID 22.29 (the
mimicry reimplementation). Between two points at distance d the critic's estimate is d (1 + d / (2 lambda)).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer

from gan_jax import config as base
from gan_jax.contract import Batch, Key, Metrics, Stage, play
from gan_jax.errors import InputError, choose
from gan_jax.gans.gan import GameState, TwoPlayerGame, two_player
from gan_jax.layers.blocks import boosted, fan_average, glorot
from gan_jax.layers.conditional import concat_label
from gan_jax.layers.conv import Conv, ConvTranspose
from gan_jax.layers.norm import BY_NAME as NORMS
from gan_jax.layers.norm import BatchNorm, Unchanged
from gan_jax.nets import mlp, resnet

# ------------------------------------------------------------------------- the convolutional networks of the scripts


class Units(NamedTuple):
    """A nonlinearity, and how many channels it takes for each that it gives."""

    activation: Callable
    inputs: int = 1


RELU, TANH = Units(nn.relu), Units(jnp.tanh)
LEAKY = Units(partial(nn.leaky_relu, negative_slope=0.2))
GATED = Units(lambda x: nn.sigmoid(x[..., ::2]) * jnp.tanh(x[..., 1::2]), inputs=2)


class Weights(NamedTuple):
    """Initial kernels of dense, strided and transposed layers."""

    dense: Initializer = glorot
    down: Initializer = fan_average(2.0, down=2)
    up: Initializer = fan_average(2.0, up=2)


def uniform(deviation: float) -> Initializer:
    """Centred uniform kernels of this standard deviation."""
    bound = 3.0**0.5 * deviation
    return lambda rng, shape, dtype=jnp.float32: jax.random.uniform(rng, shape, dtype, -bound, bound)


SMALL = Weights(*[uniform(0.02)] * 3)  # `set_weights_stdev(0.02)`


def sizes(shape: tuple[int, ...], levels: int) -> list[tuple[int, int]]:
    """(height, width) from the base to the image: each is half of the next, rounded up."""
    return [tuple(-(-n // 2**level) for n in shape[:2]) for level in reversed(range(levels + 1))]


def halvings(shape: tuple[int, ...]) -> int:
    """How often the shorter side is halved, rounded up, until it is at most 4.

    Raises:
      InputError: if it is 4 or less already.
    """
    shorter, count = min(shape[:2]), 0
    while shorter > 4:
        shorter, count = -(-shorter // 2), count + 1
    if not count:
        raise InputError(f"config.data.resolution={tuple(shape[:2])}: both sides must be at least 5 pixels")
    return count


class Generator(nn.Module):
    """z [B,Z] to images [B,*shape] in [-1,1]: a dense base, then 5x5 transposed convolutions that double the sides.

    Where the next size is odd, what sticks out below and at the right is cut: 4, 7, 14, 28.
    """

    shape: tuple[int, int, int]
    widths: tuple[int, ...]  # filters of the base and after each layer but the last
    units: Units = RELU
    norm: Callable = BatchNorm
    norm_units: bool = False  # normalise the base per unit (before reshaping it) instead of per channel
    squash: Callable = jnp.tanh
    weights: Weights = Weights()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, label=None, *, train: bool):
        norm = partial(self.norm, dtype=self.dtype)
        up = partial(ConvTranspose, kernel_size=(5, 5), strides=(2, 2), kernel_init=self.weights.up, dtype=self.dtype)
        (height, width), *larger = sizes(self.shape, len(self.widths))
        filters = [self.units.inputs * count for count in self.widths]
        dense = nn.Dense(height * width * filters[0], kernel_init=self.weights.dense, dtype=self.dtype)
        h = dense(concat_label(z, label).astype(self.dtype))
        start = (-1, height, width, filters[0])
        h = norm()(h if self.norm_units else h.reshape(start), train=train).reshape(start)
        for count, (height, width) in zip(filters[1:], larger[:-1], strict=True):
            h = up(count)(self.units.activation(h))[:, :height, :width]
            h = norm()(h, train=train)
        h = up(self.shape[-1])(self.units.activation(h))[:, : self.shape[0], : self.shape[1]]
        return self.squash(h.astype(jnp.float32))


class Critic(nn.Module):
    """Images [B,H,W,C] to scores [B]: 5x5 convolutions of stride 2; no norm after the first."""

    widths: tuple[int, ...]
    units: Units = LEAKY
    norm: Callable = Unchanged
    weights: Weights = Weights()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label=None, *, train: bool):
        down = partial(Conv, kernel_size=(5, 5), strides=(2, 2), kernel_init=self.weights.down, dtype=self.dtype)
        h = concat_label(x, label).astype(self.dtype)
        for level, width in enumerate(self.widths):
            h = down(self.units.inputs * width)(h)
            h = self.units.activation(self.norm(dtype=self.dtype)(h, train=train) if level else h)
        h = h.astype(jnp.float32).reshape(h.shape[0], -1)
        self.sow("intermediates", "features", h)
        return nn.Dense(1, kernel_init=self.weights.dense)(h)[:, 0]


class DataPlusNoise(nn.Module):
    """Data and noise [B,2,D] to their sum [B,D]; the noise's deviation is this network's one parameter and stays 1."""

    @nn.compact
    def __call__(self, z, label=None, *, train: bool):
        return z[:, 0] + self.param("deviation", nn.initializers.ones, ()) * z[:, 1]


class FixedGeneratorGame(TwoPlayerGame):
    """Only the critic learns, so that the surface it finds can be looked at (figure 1; `FIXED_GENERATOR`)."""

    def train_step(self, state: GameState, batch: Batch, rng: Key) -> tuple[GameState, Metrics]:
        move = partial(self.discriminator_move, state.g, step=state.step)
        (d, memory), seen = play(self.rounds, move, (state.d, state.memory), batch, rng)
        return self.advance(state, state.g, d, memory), seen

    def latents(self, rng: Key, batch: Batch) -> jax.Array:
        data = batch[self.domain]
        return jnp.stack([data, self.latent(rng, *data.shape)], axis=1)


# ------------------------------------------------------------------------------------------------ the pairs, by name

Pair = tuple[nn.Module, nn.Module]


class Asked(NamedTuple):
    """What a pair is built from."""

    shape: tuple[int, ...]
    width: int
    g_norm: Callable
    d_norm: Callable
    dtype: Dtype


def doubled(width: int, levels: int) -> tuple[int, ...]:
    """Filters from the base on: twice as many for each halving."""
    return tuple(width * 2**level for level in reversed(range(levels)))


def constant(width: int, levels: int) -> tuple[int, ...]:
    return (width,) * levels


def perceptrons(asked: Asked) -> Pair:
    if (asked.g_norm, asked.d_norm) != (Unchanged, Unchanged):
        raise InputError("config.model.g_norm and d_norm must be 'none' with nets='mlp': perceptrons have no norm")
    widths, squash = (asked.width,) * 3, jnp.tanh if len(asked.shape) == 3 else None
    generator = mlp.Generator(asked.shape, widths, squash=squash, dtype=asked.dtype)
    return generator, mlp.Discriminator(widths, dtype=asked.dtype)


def fixed_generator(asked: Asked) -> Pair:
    return DataPlusNoise(), perceptrons(asked)[1]


def convolutional(
    asked: Asked,
    units: tuple[Units, Units] = (RELU, LEAKY),
    weights: Weights = SMALL,
    widths: Callable = doubled,
    **generator,
) -> Pair:
    """`units` of generator and critic; `widths` of the generator; further fields of the generator."""
    levels = halvings(asked.shape)
    layers = widths(asked.width, levels)
    made = Generator(asked.shape, layers, units[0], asked.g_norm, weights=weights, dtype=asked.dtype, **generator)
    return made, Critic(doubled(asked.width, levels)[::-1], units[1], asked.d_norm, weights, asked.dtype)


def mlp_generator(asked: Asked) -> Pair:
    return mlp.Generator(asked.shape, (512,) * 4, squash=jnp.tanh, dtype=asked.dtype), convolutional(asked)[1]


def residual(asked: Asked) -> Pair:
    """`gan_cifar_resnet.py`: as many filters everywhere, a mean pool in the critic."""
    widths = (asked.width,) * (resnet.halvings(asked.shape) + 1)
    generator = resnet.Generator(asked.shape, widths, norm=asked.g_norm, dtype=asked.dtype)
    ends = {"norm": asked.d_norm, "pool": resnet.rectified_mean}
    return generator, resnet.Discriminator((asked.width,) * 4, down=2, **ends, dtype=asked.dtype)


def good(asked: Asked) -> Pair:
    """`GoodGenerator` and `GoodDiscriminator`: filters double up to eight times, a dense layer ends the critic."""
    levels = resnet.halvings(asked.shape)
    widths = tuple(asked.width * min(2**level, 8) for level in range(levels + 1))
    shared = {"first_bias": False, "dtype": asked.dtype}
    generator = resnet.Generator(asked.shape, widths[::-1], norm=asked.g_norm, output_init=boosted, **shared)
    ends = {"norm": asked.d_norm, "stem": resnet.Stem, "pool": resnet.flat}
    return generator, resnet.Discriminator(widths, down=levels + 1, **ends, **shared)


def hundred_layers(asked: Asked) -> Pair:
    depths = (6,) * resnet.halvings(asked.shape) + (5,)
    generator = resnet.BottleneckGenerator(asked.shape, asked.width, depths, asked.g_norm, dtype=asked.dtype)
    return generator, resnet.BottleneckDiscriminator(asked.width, depths, asked.d_norm, dtype=asked.dtype)


def half_tanh(x):
    """A sigmoid, stretched to [-1, 1]."""
    return jnp.tanh(x / 2)


NETS: dict[str, Callable[[Asked], Pair]] = {
    "mlp": perceptrons,
    "mlp_fixed": fixed_generator,
    "mnist": partial(convolutional, weights=Weights(), squash=half_tanh),
    "cifar10": partial(convolutional, weights=Weights(), norm_units=True),
    "cifar10_resnet": residual,
    "good": good,
    "dcgan": convolutional,
    "constant": partial(convolutional, widths=constant, weights=Weights()),
    "mlp_generator": mlp_generator,
    "gated": partial(convolutional, units=(GATED, GATED), weights=Weights()),
    "tanh": partial(convolutional, units=(TANH, TANH)),
    "resnet101": hundred_layers,
}
GAMES = {"mlp_fixed": FixedGeneratorGame}  # where the game itself is another one
FOR_POINTS = ("mlp", "mlp_fixed")


def stages(config) -> tuple[Stage, ...]:
    """One stage: the classical game between the pair that `config.model.nets` names.

    Raises:
      InputError: for a name that is not in its table, or data that these networks cannot make.
    """
    model = config.model
    build = choose(model.nets, NETS, "networks (config.model.nets)")
    norms = {key: choose(model[key], NORMS, f"norm (config.model.{key})") for key in ("g_norm", "d_norm")}
    if config.data.domain != "image" and model.nets not in FOR_POINTS:
        raise InputError(
            f"config.model.nets='{model.nets}' makes images, and dataset '{config.data.name}' holds "
            f"{config.data.domain}s: use one of {', '.join(FOR_POINTS)}"
        )
    if norms["d_norm"] is BatchNorm and "wgan_gp" in model.penalty:
        raise InputError(
            "config.model.d_norm='batch' mixes the examples of a batch, but the penalty is about the slope at each: "
            "use 'layer' or 'none' (section 4 of the paper)"
        )
    asked = Asked(base.example_shape(config.data), model.width, **norms, dtype=jnp.dtype(config.dtype))
    game = two_player(config, *build(asked))
    game = GAMES.get(model.nets, type(game))(**vars(game))
    return (Stage("adversarial", game, config.steps, config.batch_size),)
