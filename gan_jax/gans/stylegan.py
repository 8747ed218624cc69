"""A Style-Based Generator Architecture for Generative Adversarial Networks (Karras, Laine, Aila, 2018,
arXiv:1812.04948).

The latent z is mapped to a style w. Every layer of the generator, which begins with a learned constant, is normalised
and takes gain and bias of each channel from w (AdaIN); what is left to chance, such as where single hairs lie, comes
from noise maps. Networks grow as in ProGAN, whose discriminator, schedule and game are imported. The configurations of
table 1 are values:

    config.model     A ProGAN       B tuning         C styles     D no input   E noise      F mixing
    smooth           none           binomial         =            =            =            =
    first_side       4              8                =            =            =            =
    mapping_layers   0              0                8            =            =            =
    norm, style      pixel, none    pixel, none      instance, adain           =            =
    start            dense          dense            dense        constant     =            =
    noise            none           none             none         none         pixel        =
    mixing           0              0                0            0            0            0.9

Parameters at 1024 x 1024: 23,079,115 of a generator of A and B, 26,219,627 of F (2,101,248 of them map z to w),
23,087,249 of the discriminator.

A latent is {"z": [B, Z], "noise": maps}, or with "w" [B, L, D] in the place of "z": one style for each layer, two
layers for each resolution. The running mean of w is a statistic of the generator; samples are a share `psi` of the way
from it in the first `cutoff` layers.

Where we differ from the authors' code (github.com/NVlabs/stylegan), besides what `progan.py` lists: labels are not
supported. As there, and unlike the paper's text, images are enlarged by repeating pixels and the filter follows the
convolution; half of gamma is charged; gains are 1 plus what w says.

Numbers to expect: FID 4.40 on FFHQ and 5.06 (E) on CelebA-HQ at 1024 x 1024; FFHQ of configurations A to F: 8.04, 5.25,
4.85, 4.88, 4.42, 4.40 (table 1), without truncation. Precision and recall there .72 and .39; with psi .7, .81 and .22.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype

from gan_jax import latents as drawing
from gan_jax.contract import Array, Batch, PyTree, Stage, ema_decay
from gan_jax.errors import choose
from gan_jax.gans.progan import NORMS, Discriminator, Growing, GrowingState, Level, features, grow, leaky, newest
from gan_jax.layers import scaled, styles
from gan_jax.layers.blocks import same
from gan_jax.layers.noise import PixelNoise
from gan_jax.layers.norm import instance_norm, pixel_norm
from gan_jax.layers.resample import smooth
from gan_jax.layers.scaled import ScaledConv, ScaledDense, biased

MEAN_DECAY = 0.995  # per step, of the running mean of w


class Mapping(nn.Module):
    """z [B,Z] to w [B,D]: dense layers, whose learning rate is `rate` of the others'."""

    layers: int = 8
    size: int = 512
    rate: float = 0.01

    @nn.compact
    def __call__(self, z):
        w = pixel_norm(z)
        for _ in range(self.layers):
            w = leaky(ScaledDense(self.size, rate=self.rate)(w))
        return w


class Style(nn.Module):
    """AdaIN: gain and bias of every channel of x [B,H,W,C] from w [B,D] (eq. 1); norms come before."""

    @nn.compact
    def __call__(self, x, w):
        gain, bias = jnp.split(ScaledDense(2 * x.shape[-1], gain=1.0)(w), 2, axis=-1)
        gain, bias = (part.astype(x.dtype).reshape(-1, 1, 1, x.shape[-1]) for part in (gain, bias))
        return x * (1.0 + gain) + bias


class Constant(nn.Module):
    """The learned features [B,h,w,F] that every image begins with."""

    level: Level
    dtype: Dtype

    @nn.compact
    def __call__(self, w):
        constant = self.param("constant", nn.initializers.ones_init(), (1, *self.level.size, self.level.width))
        return jnp.broadcast_to(constant.astype(self.dtype), (w.shape[0], *constant.shape[1:]))


class Dense(nn.Module):
    """w [B,D] to the first features [B,h,w,F], as in ProGAN."""

    level: Level
    dtype: Dtype

    @nn.compact
    def __call__(self, w):
        (height, width), count = self.level.size, self.level.width
        gain = (2.0 / (height * width)) ** 0.5
        dense = ScaledDense(height * width * count, gain=gain, use_bias=False, dtype=self.dtype)
        return dense(w).reshape(-1, height, width, count)


class Parts(NamedTuple):
    """What a synthesis network is made of; each has a value that does nothing."""

    start: Callable = Constant
    noise: Callable = PixelNoise
    norm: Callable = instance_norm
    style: Callable = Style
    smooth: Callable = smooth


class Layer(nn.Module):
    """What follows a convolution h [B,H,W,C]: noise, bias, rectifier, norm, style."""

    parts: Parts

    @nn.compact
    def __call__(self, h, w, noise):
        h = biased(self, self.parts.noise()(h, noise))
        return self.parts.style()(self.parts.norm(leaky(h)), w)


class Block(nn.Module):
    """The two layers of a resolution: features [B,h,w,E] of the one before it, or none, to [B,H,W,F]."""

    level: Level
    parts: Parts
    dtype: Dtype

    @nn.compact
    def __call__(self, h, w, noise):
        def conv(form):
            return ScaledConv(self.level.width, form, use_bias=False, dtype=self.dtype)

        if h is None:
            h = self.parts.start(self.level, self.dtype)(w[:, 0])
        else:
            h = self.parts.smooth(conv(self.level.up)(h))
        h = Layer(self.parts)(h, w[:, 0], noise[0])
        return Layer(self.parts)(conv(scaled.plain)(h), w[:, 1], noise[1])


class Synthesis(nn.Module):
    """Styles w [B,L,D], noise maps and the share [B] of the level before the last to images [B,H,W,C]."""

    levels: tuple[Level, ...]
    channels: int
    parts: Parts = Parts()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, w, noise, fade):
        h, images = None, []
        for i, level in enumerate(self.levels):
            two = slice(2 * i, 2 * i + 2)
            h = Block(level, self.parts, self.dtype, name=level.name)(h, w[:, two], noise[two])
            to_rgb = ScaledDense(self.channels, gain=1.0, dtype=self.dtype, name=f"rgb_{level.name}")
            images.append(to_rgb(h).astype(jnp.float32))
        return newest(images, fade)


class Generator(nn.Module):
    """A latent and the share [B] of the level before the last to images [B,H,W,C] around [-1, 1].

    mixing: the probability that in training the layers from a random one on take their style from another z (section
      3.1). psi, cutoff: of the truncation of samples; a psi of 1 is none, a cutoff of None is all layers.
    """

    mapping: nn.Module
    synthesis: nn.Module
    layers: int
    mixing: float = 0.9
    psi: float = 1.0
    cutoff: int | None = 8

    def setup(self):
        self.mean = self.variable("style", "mean", jnp.zeros, (self.mapping.size,))

    def __call__(self, latent, fade, *, train: bool):
        w = self.learning(latent["z"]) if train else self.styles(latent, self.psi)["w"]
        return self.synthesis(w, latent["noise"], fade)

    def styles(self, latent, psi):
        """The latent with styles w [B,L,D], truncated, in the place of z."""
        if "w" in latent:
            return latent
        w, cutoff = self.mapping(latent["z"]), self.layers if self.cutoff is None else min(self.cutoff, self.layers)
        w = styles.truncate(styles.broadcast(w, self.layers), self.mean.value, psi, cutoff)
        return {"w": w, "noise": latent["noise"]}

    def learning(self, z):
        """Styles in training: mixed, and their mean remembered."""
        chance, layer, other = jax.random.split(self.make_rng("dropout"), 3)
        w = self.mapping(z)
        if self.is_mutable_collection("style"):
            self.mean.value = MEAN_DECAY * self.mean.value + (1.0 - MEAN_DECAY) * w.mean(axis=0)
        second = self.mapping(drawing.normal(other, *z.shape))
        mixed = jax.random.uniform(chance) < self.mixing
        crossover = jnp.where(mixed, jax.random.randint(layer, (), 1, self.layers), self.layers)
        return styles.mix(*(styles.broadcast(each, self.layers) for each in (w, second)), crossover)


class StyleGAN(Growing):
    """A growing game whose generator has styles."""

    def styles(self, state: GrowingState, latents: PyTree, batch: Batch, psi: float | Array = 1.0) -> PyTree:
        """Latents with styles `w` [B,L,D] in the place of `z`, a share `psi` of the way from the mean style."""
        variables = {"params": state.average.params, **state.average.stats}
        return self.game.generator.apply(variables, latents, psi, method="styles")


def with_noise(levels: tuple[Level, ...]) -> drawing.Latent:
    """Normal z, and two noise maps [B,h,w,1] for each level."""
    sizes = [level.size for level in levels for _ in range(2)]

    def draw(rng, count, size):
        z_rng, *rngs = jax.random.split(rng, 1 + len(sizes))
        maps = (
            drawing.normal(key, count, h * w).reshape(count, h, w, 1) for key, (h, w) in zip(rngs, sizes, strict=True)
        )
        return {"z": drawing.normal(z_rng, count, size), "noise": tuple(maps)}

    return draw


# ------------------------------------------------------------------------------------------------------ from a config

STARTS = {"constant": Constant, "dense": Dense}
NOISES = {"pixel": PixelNoise, "none": lambda: lambda h, noise: h}
STYLES = {"adain": Style, "none": lambda: lambda h, w: h}
SMOOTH = {"binomial": smooth, "none": same}


def stages(config) -> tuple[Stage, ...]:
    """One stage for each resolution."""
    model, dtype = config.model, jnp.dtype(config.dtype)
    tables = {"start": STARTS, "noise": NOISES, "norm": NORMS | {"instance": instance_norm}}
    tables |= {"style": STYLES, "smooth": SMOOTH}
    parts = Parts(**{key: choose(model[key], table, f"{key} (config.model.{key})") for key, table in tables.items()})

    def networks(levels):
        mapping = Mapping(model.mapping_layers, model.latent_size, model.mapping_rate)
        generator = Generator(
            mapping,
            Synthesis(levels, config.data.channels, parts, dtype),
            layers=2 * len(levels),
            mixing=model.mixing,
            psi=model.psi,
            cutoff=model.cutoff,
        )
        discriminator = Discriminator(levels, features(model, 0), model.stddev_group, parts.smooth, dtype)
        return {"generator": generator, "discriminator": discriminator, "latent": with_noise(levels)}

    return grow(config, networks, lambda batch_size: ema_decay(model.half_life, batch_size), StyleGAN)
