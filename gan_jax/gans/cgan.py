"""Conditional Generative Adversarial Nets (Mirza and Osindero, 2014, arXiv:1411.1784).

Both players are told the class: the generator draws from it, the discriminator judges the pair of a sample and its
class (eq. 2). Nothing classifies: a sample of another class is noticed only because no such pair is among the data.

The game is Goodfellow's, with `conditional = True`; new here are the perceptrons of section 4.1, in which the label has
a layer of its own before it meets the noise or the image. A convolutional pair that is told the class at every layer is
`experiments/dcgan.py:mnist_conditional`.

Where we differ from the paper, which has no published code:
  * What it leaves open is as in Goodfellow's code: the initial weights, an output bias that starts from the mean image,
    in `:mirza2014` also the order of the updates and the discriminator's factor 1/2.
  * "Dropout with probability of 0.5 was applied to both": in `:mirza2014` after every hidden layer, in training only.
    Elsewhere it is the discriminator's alone, and noise is normal. With dropout in the generator, noise from the unit
    hypercube and Adam, samples were one digit of each class (the spread of pixels within a class .03 of the data's).
  * The labels of samples are those of the minibatch of data.
  * Images are in [-1, 1], so the generator's sigmoid becomes the same curve on that range, tanh(x / 2).

Numbers to expect: the paper reports a Parzen-window log-likelihood of 132 +- 1.8 nats on MNIST (table 1), below the 225
of the unconditional GAN. 6.28 % nearest-neighbour test error from 50,000 conditional samples of perceptrons (Radford et
al., 2015, arXiv:1511.06434, table 3).
"""

import math

import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from gan_jax import config as base
from gan_jax.contract import Stage
from gan_jax.errors import InputError
from gan_jax.gans.gan import output_at_pixel_means, two_player
from gan_jax.layers.maxout import Maxout, uniform


class Generator(nn.Module):
    """z [B, Z] and one-hot labels [B, K] to images [B, *shape] in [-1, 1]: rectifiers for each, then for both."""

    shape: tuple[int, ...]
    units: tuple[int, int, int] = (200, 1000, 1200)  # of the noise, of the label, of both together
    dropout: float = 0.5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, z, label, *, train: bool):
        def hidden(units, x, name):
            h = nn.Dense(units, kernel_init=uniform(0.05), dtype=self.dtype, name=name)(x.astype(self.dtype))
            return nn.Dropout(self.dropout, deterministic=not train)(nn.relu(h))

        of_noise, of_label, of_both = self.units
        h = jnp.concatenate([hidden(of_noise, z, "noise"), hidden(of_label, label, "label")], axis=-1)
        h = hidden(of_both, h, "both")
        x = nn.Dense(math.prod(self.shape), kernel_init=uniform(0.05), dtype=self.dtype, name="output")(h)
        return jnp.tanh(x.astype(jnp.float32) / 2).reshape(-1, *self.shape)  # a sigmoid, stretched to [-1, 1]


class Discriminator(nn.Module):
    """Images [B, ...] and one-hot labels [B, K] to logits [B]: maxout units for each, then for both."""

    units: tuple[int, int, int] = (240, 50, 240)  # of the image, of the label, of both together
    pieces: tuple[int, int, int] = (5, 5, 4)
    dropout: float = 0.5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, label, *, train: bool):
        def hidden(layer, x, name):
            units, pieces = self.units[layer], self.pieces[layer]
            h = Maxout(units, pieces, kernel_init=uniform(0.005), dtype=self.dtype, name=name)(x.astype(self.dtype))
            return nn.Dropout(self.dropout, deterministic=not train)(h)

        image = hidden(0, x.reshape(x.shape[0], -1), "image")
        h = hidden(2, jnp.concatenate([image, hidden(1, label, "label")], axis=-1), "both")
        self.sow("intermediates", "features", h)
        return nn.Dense(1, kernel_init=uniform(0.005), dtype=self.dtype, name="output")(h).astype(jnp.float32)[:, 0]


def stages(config) -> tuple[Stage, ...]:
    """One stage: the classical game, in which both players are told the class."""
    model, dtype = config.model, jnp.dtype(config.dtype)
    if config.data.domain != "image":
        raise InputError(
            f"config.gan='cgan' makes images, and dataset '{config.data.name}' holds {config.data.domain}s; "
            "config.gan='gan' with conditional=True makes either"
        )
    if not model.conditional:
        raise InputError("config.model.conditional=False: these networks are told the class; use True, or another GAN")
    for key in ("g_dropout", "d_dropout"):
        if not 0.0 <= model[key] < 1.0:
            raise InputError(f"config.model.{key}={model[key]} is a probability: at least 0 and below 1")
    generator = Generator(base.example_shape(config.data), three(model, "g_units"), model.g_dropout, dtype)
    discriminator = Discriminator(three(model, "d_units"), dropout=model.d_dropout, dtype=dtype)
    game = two_player(config, generator, discriminator, start=output_at_pixel_means)
    return (Stage("adversarial", game, config.steps, config.batch_size),)


def three(model, key: str) -> tuple[int, int, int]:
    """The units of a network's three hidden layers."""
    units = tuple(model[key])
    if len(units) != 3 or min(units) < 1:
        raise InputError(f"config.model.{key}={units} must be three: units for the input, for the label, for both")
    return units
