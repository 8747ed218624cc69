"""Self-Attention Generative Adversarial Networks (Zhang, Goodfellow, Metaxas, Odena, 2018, arXiv:1805.08318).

Convolutions see neighbourhoods; a layer of self-attention in the middle of either network lets any two places of an
image agree. Besides, spectral normalisation tames the generator too, and the players learn at two rates, one move each.

The game is the classical one, with the hinge loss, a projected label and class-conditional batch norm. Networks of
`nets/resnet.py`, with parameters for 128x128, a width of 64 and 1,000 classes:

                     generator     discriminator
    no attention     41,996,931    39,443,137
    at 32x32         42,078,852    39,463,618

Where we differ from the authors' code, which we follow where it differs from the paper (values of half the channels,
keys and values pooled; Adam's b2 .999):
  * The estimate of the largest singular value lets no gradient through its vectors, as in later code. The value is the
    same; the gradient while vectors have not settled is not.
  * Batch norm is over the whole batch, wherever it is computed, not over the 64 images of each device.
  * The generator's vectors move once for each of its own moves, not in the discriminator's as well.
  * Fakes have the labels of the minibatch of data, which are as uniform as the data's; the code draws them.

Numbers to expect on ImageNet at 128x128: an Inception score of 52.52 and FID 18.65, after a million steps.
"""

from functools import partial

import jax.numpy as jnp
from flax import linen as nn

from gan_jax import config as base
from gan_jax.contract import Stage
from gan_jax.errors import InputError
from gan_jax.gans.gan import two_player
from gan_jax.layers.blocks import glorot, initialised
from gan_jax.layers.norm import BatchNorm
from gan_jax.layers.spectral import SpectralConv, SpectralDense
from gan_jax.nets import resnet

conv, dense = initialised(SpectralConv, glorot), initialised(SpectralDense, glorot)


def generator(shape: tuple[int, ...], model, dtype) -> nn.Module:
    """z [B,Z] and labels [B,K] to images [B,*shape] in [-1,1]: every block doubles the sides."""
    norm = partial(BatchNorm, momentum=model.norm_decay)
    layers = {"conv": conv, "dense": dense, "norm": norm, "attention": tuple(model.attention)}
    return resnet.Generator(shape, tuple(model.g_widths), **layers, dtype=dtype)


def discriminator(model, dtype) -> nn.Module:
    """Images [B,H,W,C] and labels [B,K] to logits [B]: the blocks of `d_widths` halve the sides, those of `d_plain` do
    not; features are summed over what is left of the image."""
    widths, down = (*model.d_widths, *model.d_plain), len(model.d_widths)
    layers = {"conv": conv, "dense": dense, "wide": True, "attention": tuple(model.attention)}
    return resnet.Discriminator(widths, down, **layers, dtype=dtype)


def stages(config) -> tuple[Stage, ...]:
    """One stage: the classical game, both players spectrally normalised and attentive.

    Raises:
      InputError: for data that these networks cannot make or halve, or attention at a size that they do not have.
    """
    model, shape, dtype = config.model, base.example_shape(config.data), jnp.dtype(config.dtype)
    check(config, shape, len(model.d_widths))
    game = two_player(config, generator(shape, model, dtype), discriminator(model, dtype))
    return (Stage("adversarial", game, config.steps, config.batch_size),)


def check(config, shape: tuple[int, ...], halvings: int) -> None:
    """Refuses what the two networks cannot be built for; the discriminator halves the sides so many times."""
    model = config.model
    if config.data.domain != "image":
        raise InputError(f"'{config.gan}' makes images, and dataset '{config.data.name}' holds {config.data.domain}s")
    doublings = len(model.g_widths) - 1
    height, _ = resnet.base(shape, doublings)
    if any(side % 2**halvings for side in shape[:2]):
        raise InputError(
            f"config.model.d_widths={tuple(model.d_widths)} halve the sides {halvings} times, which "
            f"config.data.resolution={tuple(shape[:2])} cannot be: take fewer, or put some of them into d_plain"
        )
    made = {height * 2**level for level in range(1, doublings + 1)}
    seen = {shape[0] // 2**level for level in range(1, halvings + 1)}
    unknown = [size for size in model.attention if size not in made | seen or size % 2]
    if unknown:
        raise InputError(
            f"config.model.attention={tuple(model.attention)}: no block ends at {unknown}. The generator's make "
            f"images of heights {sorted(made)}, the discriminator's of {sorted(seen)}; those that are even can attend"
        )
