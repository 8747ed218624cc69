"""f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization (Nowozin, Cseke, Tomioka, 2016,
arXiv:1606.00709).

Every f-divergence is the largest value of a game. A variational function V, made into T by an activation of the
divergence's own, is to maximise F = E_data T(x) - E_model f*(T(x)), f* being the convex conjugate of f; the generator
is to minimise it. Goodfellow's game is the case of one f. The formulas stand in `gan_jax/divergences.py`, the pair of
costs in `losses.fgan`, and the game is the classical one.

The paper's Algorithm 1 is a single step: one graph, from which both players move at once (`updates = "simultaneous"`);
`updates = "sequential"` is the inner loop of Goodfellow et al. (2014), with `rounds` moves of V.

Networks of the paper, by `config.model.nets`:

    nowozin2016    digits: batch-normalised rectifiers in G, exponential linear units in V, which has no norm
    convolutional  scenes at 96x96: DCGAN's pair, with exponential linear units in V
    gaussian       one line in G, mu + sigma z, to see which Gaussian each divergence makes of a mixture
    mlp            the perceptrons that all of the library's toys share

Metrics: `divergence` is F, an estimate of the divergence from below, on the minibatch. "jensen_shannon" is twice the
usual one; "gan" is that less log 4. `accuracy/real` and `accuracy/fake` are the shares of examples on their side of the
threshold T = f'(1), where data and model are equally dense (section 3.2).

Where we differ: `clip` can cut the logits, which "kl", "reverse_kl", "neyman" and "squared_hellinger" exponentiate; the
paper does not. Images are in [-1, 1], so the generator's sigmoid becomes the same curve on that range, tanh(x / 2).

Numbers to expect: the paper's Parzen-window log-likelihoods on MNIST (section 4) are 416 nats for "kl", 319 for
"reverse_kl", 429 "pearson", 300 "neyman", 367 "jensen_shannon", 305 "gan" and -708 "squared_hellinger"; such numbers
say little.
On the mixture, "kl" gives the Gaussian of the same moments and "reverse_kl" one of the two modes.
"""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from gan_jax import config as base
from gan_jax import divergences, losses, penalties
from gan_jax.contract import Stage
from gan_jax.divergences import Divergence
from gan_jax.errors import InputError, choose
from gan_jax.gans import dcgan
from gan_jax.gans.gan import two_player, unconditional
from gan_jax.layers.conv import Conv
from gan_jax.layers.maxout import uniform
from gan_jax.nets import mlp

# -------------------------------------------------------------------------------------- the paper's networks for MNIST


class Generator(nn.Module):
    """z [B, 100] to samples [B, *shape] in [-1, 1]."""

    shape: tuple[int, ...]
    widths: tuple[int, ...] = (1200, 1200)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, *, train: bool):
        h = z.astype(self.dtype)
        for width in self.widths:
            h = nn.Dense(width, kernel_init=uniform(0.05), dtype=self.dtype)(h)
            h = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=self.dtype)(h))
        x = nn.Dense(math.prod(self.shape), kernel_init=uniform(0.05), dtype=self.dtype)(h)
        return jnp.tanh(x.astype(jnp.float32) / 2).reshape(-1, *self.shape)  # a sigmoid, stretched to [-1, 1]


class Variational(nn.Module):
    """Samples [B, ...] to V [B], any real number: high says data."""

    widths: tuple[int, ...] = (240, 240)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        h = x.reshape(x.shape[0], -1).astype(self.dtype)
        for width in self.widths:
            h = nn.elu(nn.Dense(width, kernel_init=uniform(0.005), dtype=self.dtype)(h))
        self.sow("intermediates", "features", h)
        return nn.Dense(1, kernel_init=uniform(0.005), dtype=self.dtype)(h).astype(jnp.float32)[:, 0]


# -------------------------------------------------------------------------------------- for scenes, and for a Gaussian


class ConvolutionalVariational(nn.Module):
    """Images [B, H, W, C] to V [B]: DCGAN's discriminator with exponential linear units."""

    width: int = 64  # channels of the first layer; they double at every level, up to 8 times this
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        down = partial(
            Conv,
            kernel_size=(4, 4),
            strides=(2, 2),
            padding=dcgan.DOWN[4],
            use_bias=False,
            kernel_init=dcgan.weights,
            dtype=self.dtype,
        )
        h = x.astype(self.dtype)
        for level in range(dcgan.levels(*x.shape[1:3])):
            h = down(self.width * min(2**level, 8))(h)
            h = nn.elu(dcgan.Norm(True, 1e-5, self.dtype)(h, train=train) if level else h)
        h = h.reshape(h.shape[0], -1)
        self.sow("intermediates", "features", h)
        return nn.Dense(1, kernel_init=dcgan.weights, dtype=self.dtype)(h).astype(jnp.float32)[:, 0]


class Gaussian(nn.Module):
    """z [B, D] to mu + sigma z [B, D]: a model that cannot be right about a mixture."""

    @nn.compact
    def __call__(self, z, *, train: bool):
        mean = self.param("mean", nn.initializers.ones, (1, z.shape[-1]))
        log_deviation = self.param("log_deviation", nn.initializers.zeros, (1, z.shape[-1]))
        return mean + jnp.exp(log_deviation) * z


# ---------------------------------------------------------------------------------------------------- from a config


def reporting(penalty: penalties.Penalty, loss: losses.Loss, divergence: Divergence) -> penalties.Penalty:
    """The same penalty, with this paper's metrics of what the discriminator said."""

    def cost(evidence, memory):
        price, paid, memory = penalty.cost(evidence, memory)
        real, fake = (divergence.activation(v) for v in (evidence.real_logits, evidence.fake_logits))
        seen = {
            "divergence": -loss.d(evidence.real_logits, evidence.fake_logits),
            "accuracy/real": jnp.mean(real > divergence.threshold, dtype=jnp.float32),
            "accuracy/fake": jnp.mean(fake <= divergence.threshold, dtype=jnp.float32),
        }
        return price, paid | jax.lax.stop_gradient(seen), memory

    return dataclasses.replace(penalty, cost=cost)


def stages(config) -> tuple[Stage, ...]:
    """One stage: the game whose value is the divergence that the config names."""
    model = config.model
    if not model.clip > 0:
        raise InputError(f"config.model.clip={model.clip} must be positive; float('inf') leaves the logits as they are")
    divergence = choose(model.divergence, divergences.BY_NAME, "divergence (config.model.divergence)")
    loss = losses.fgan(divergence, generator_cost=model.generator_cost, clip=model.clip)
    penalty = reporting(penalties.build(model.penalty, model.penalty_weight), loss, divergence)
    nets = choose(model.nets, NETS, "networks (config.model.nets)")
    widths = tuple(model.g_widths), tuple(model.d_widths)
    players = nets(config, base.example_shape(config.data), *widths, jnp.dtype(config.dtype))
    game = two_player(config, *players, loss=loss, penalty=penalty, conditions=unconditional)
    return (Stage("adversarial", game, config.steps, config.batch_size),)


def nowozin2016(config, shape, g_widths, d_widths, dtype) -> tuple[nn.Module, nn.Module]:
    return Generator(shape, g_widths, dtype), Variational(d_widths, dtype)


def convolutional(config, shape, g_widths, d_widths, dtype) -> tuple[nn.Module, nn.Module]:
    """DCGAN's networks, for images [H, W, C] of this shape."""
    if config.data.domain != "image":
        raise InputError(
            f"config.model.nets='convolutional' makes images, and dataset '{config.data.name}' holds "
            f"{config.data.domain}s; use 'mlp'"
        )
    if (len(g_widths), len(d_widths)) != (1, 1):
        raise InputError(
            f"config.model.g_widths={g_widths} and d_widths={d_widths} must each be one number with "
            "nets='convolutional': the channels next to the image, as (64,)"
        )
    dcgan.levels(*shape[:2])
    return dcgan.Generator(shape, g_widths[0], dtype=dtype), ConvolutionalVariational(d_widths[0], dtype)


def gaussian(config, shape, g_widths, d_widths, dtype) -> tuple[nn.Module, nn.Module]:
    if config.data.domain == "image" or shape != (config.model.latent_size,):
        raise InputError(
            f"config.model.nets='gaussian' makes points of latent_size={config.model.latent_size} numbers, "
            f"and the examples of '{config.data.name}' are {shape}"
        )
    return Gaussian(), mlp.Discriminator(d_widths, activation=jnp.tanh, dtype=dtype)


def perceptrons(config, shape, g_widths, d_widths, dtype) -> tuple[nn.Module, nn.Module]:
    squash = jnp.tanh if config.data.domain == "image" else None
    return mlp.Generator(shape, g_widths, squash=squash, dtype=dtype), mlp.Discriminator(d_widths, dtype=dtype)


NETS = {"nowozin2016": nowozin2016, "convolutional": convolutional, "gaussian": gaussian, "mlp": perceptrons}
