"""Arithmetic with what latents mean: (smiling woman) - (woman) + (man) (Radford et al., 2015, arXiv:1511.06434,
section 6.3.2), and the direction of an attribute as the difference of two means.

A single latent means many things at once, so a concept is the mean over several samples that share nothing else;
three already give stable results in the paper. The sum of three means of three normal latents each is again a standard
normal: its image is as likely as any sample.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from gan_jax.contract import PyTree
from gan_jax.data import display
from gan_jax.errors import InputError

LEAST = 3  # samples of a class whose mean says something
BLOCK = 256  # samples that are in memory at once
SHOWN = 5  # examples of a concept in the picture
Images = Float[np.ndarray, "_ ..."]
Attribute = Callable[[np.ndarray], np.ndarray]  # samples [n, ...] -> bool [n]


class Arithmetic(NamedTuple):
    latent: PyTree  # positive - minus + plus
    means: Images  # [3, ...]: the samples of the three means
    result: Float[np.ndarray, "..."]  # that of `latent`
    variants: Images  # those of latents around it


class Direction(NamedTuple):
    vector: PyTree  # mean latent with the attribute, less that without
    positive: int  # samples that have it
    negative: int


def numbered(sampler, numbers: Sequence[int], seed: int = 0, *, truncation: float | None = None) -> PyTree:
    """The latents of the samples of these numbers, counted from 0 as everywhere.

    Raises:
      InputError: for a negative number, or none at all.
    """
    if not len(numbers) or min(numbers) < 0:
        raise InputError(f"numbers of samples begin with 0; got {list(numbers)}")
    z = sampler.latents(max(numbers) + 1, seed, truncation=truncation)
    return jax.tree.map(lambda leaf: leaf[np.asarray(numbers)], z)


def mean(z: PyTree) -> PyTree:
    """Of latents [n, ...] over n."""
    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), z)


def arithmetic(
    sampler,
    positive: PyTree,
    minus: PyTree,
    plus: PyTree,
    *,
    noise: float = 0.25,
    variants: int = 8,
    seed=0,
    labels=None,
) -> Arithmetic:
    """`positive - minus + plus` of three mean latents, and `variants` with uniform noise within `noise` of it.

    The paper draws eight variants with noise within 0.25. The result is not brought back into the box of uniform
    latents, nor to any length. labels: the class, of a conditional GAN.
    """
    latent = jax.tree.map(lambda a, b, c: a - b + c, positive, minus, plus)
    rng = np.random.default_rng(seed)

    def around(leaf):
        moves = rng.uniform(-noise, noise, (variants, *leaf.shape)).astype(np.float32)
        return leaf[None] + jnp.asarray(moves)

    everything = jax.tree.map(
        lambda a, b, c, d: jnp.concatenate([jnp.stack([a, b, c, d]), around(d)]), positive, minus, plus, latent
    )
    samples = sampler.generate(everything, labels)
    return Arithmetic(latent, samples[:3], samples[3], samples[4:])


def concept(sampler, attribute: Attribute, number: int = 1000, seed: int = 0, *, labels=None) -> PyTree:
    """The mean latent of those of `number` samples that have the attribute.

    Raises:
      InputError: if fewer than 3 have it, or `attribute` gives anything but bool [n].
    """
    z, has = _look(sampler, attribute, number, seed, labels)
    if has.sum() < LEAST:
        raise InputError(f"attribute: {has.sum()} of {number} samples have it; a mean needs at least {LEAST}")
    return mean(jax.tree.map(lambda leaf: leaf[has], z))


def attribute_direction(sampler, attribute: Attribute, number: int = 1000, seed: int = 0, *, labels=None) -> Direction:
    """The difference of the mean latents of samples with and without the attribute.

    attribute: samples float32 [n, ...] -> bool [n], e.g. what a classifier says.

    Raises:
      InputError: if fewer than 3 of the `number` samples are on either side, or `attribute` gives anything else.
    """
    z, has = _look(sampler, attribute, number, seed, labels)
    counts = int(has.sum()), int((~has).sum())
    if min(counts) < LEAST:
        raise InputError(
            f"attribute: {counts[0]} of {number} samples have it, {counts[1]} do not; each mean needs at least {LEAST}"
        )
    means = [mean(jax.tree.map(lambda leaf, side=side: leaf[side], z)) for side in (has, ~has)]
    return Direction(jax.tree.map(jnp.subtract, *means), *counts)


def _look(sampler, attribute: Attribute, number: int, seed: int, labels) -> tuple[PyTree, Bool[np.ndarray, "number"]]:
    """The latents of `number` samples, and which of these have the attribute."""
    z = sampler.latents(number, seed)
    conditional = sampler.classes or labels is not None
    answers = []
    for start in range(0, number, BLOCK):
        piece = jax.tree.map(lambda leaf, start=start: leaf[start : start + BLOCK], z)
        count = min(BLOCK, number - start)
        told = sampler.labels(count, labels, start) if conditional else None
        answer = np.asarray(attribute(sampler.generate(piece, told)))
        if answer.shape != (count,) or answer.dtype != bool:
            raise InputError(f"attribute: must give bool [{count}], gave {answer.dtype} {list(answer.shape)}")
        answers.append(answer)
    return z, np.concatenate(answers)


def picture(examples: Sequence[Images], computed: Arithmetic) -> np.ndarray:
    """The paper's figure: below the examples of each concept their mean's sample; the result among its variants."""
    terms = []
    for images, own in zip(examples, computed.means, strict=True):
        column = display.image_grid(images[:SHOWN], columns=1)
        terms.append(display.join([column, display.image_grid(own[None])], axis=0, gap=12))
    half = len(computed.variants) // 2
    around = np.concatenate([computed.variants[:half], computed.result[None], computed.variants[half:]])
    signs = [display.words(sign, 32) for sign in "-+="]
    parts = [part for term, sign in zip(terms, signs, strict=True) for part in (term, sign)]
    return np.pad(
        display.join([*parts, display.image_grid(around)], axis=1, gap=8),
        ((12, 12), (12, 12), (0, 0)),
        constant_values=255,
    )
