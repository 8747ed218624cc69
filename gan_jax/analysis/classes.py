"""What a class-conditional generator makes of things that are no class: mixtures of classes, and more or less of one.

Labels enter BigGAN, SNGAN or cGAN as one-hot vectors, of which only linear functions are taken. Any other vector [K]
may be told instead:

    breeding        a walk from one class to another with the latent held: what do they have in common?
    zoom            one class, told more or less strongly than in training: its object comes nearer, or recedes
    hallucination   one class among the faint voices of others: the object stays and its surroundings change

Breeding is that of Brock et al., 2018, arXiv:1809.11096, figure 8; the other two are what users of its released
generators found.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float

from gan_jax import parallel
from gan_jax.analysis.interpolation import path
from gan_jax.errors import InputError

Latents = Float[Array | np.ndarray, "rows size"]
STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)


def generate(sampler, z: Latents, told: Float[Array | np.ndarray, "rows classes"]) -> Float[np.ndarray, "rows ..."]:
    """Samples of the latents `z`, each told a vector of its own in place of a one-hot label.

    Raises:
      InputError: for a GAN that is not told a class.
    """
    check(sampler)
    make = jax.jit(lambda state, z, told: sampler.gan.generate(state, z, {"label": told}))
    with jax.set_mesh(sampler.mesh):
        return parallel.fetch(make(sampler.state, z, np.asarray(told, np.float32)))


def check(sampler, *labels: int) -> None:
    """Raises InputError if there are no classes, or not these."""
    if not sampler.classes:
        raise InputError(f"'{sampler.config.gan}' is not told a class, so that none can be mixed")
    sampler.labels(0, labels or None)


def one_hot(sampler, label: int) -> Float[np.ndarray, "classes"]:
    return np.eye(sampler.classes, dtype=np.float32)[label]


def breeding(sampler, first: int, second: int, z: Latents, frames: int = 9) -> Float[np.ndarray, "rows frames ..."]:
    """Samples on the straight line from class `first` to class `second`, for each latent; the ends are the classes.

    Raises:
      InputError: for a class that does not exist, or fewer than 2 frames.
    """
    check(sampler, first, second)
    ends = [one_hot(sampler, label)[None] for label in (first, second)]
    return _rows(sampler, z, np.asarray(path(*ends, frames, "linear")[0]))


def zoom(
    sampler, label: int, z: Latents, strengths: Sequence[float] = STRENGTHS
) -> Float[np.ndarray, "rows strengths ..."]:
    """Samples of one class, told at these strengths; 1 is what training knew.

    Raises:
      InputError: for a class that does not exist.
    """
    check(sampler, label)
    return _rows(sampler, z, np.float32(strengths)[:, None] * one_hot(sampler, label))


def hallucination(
    sampler, label: int, z: Latents, number: int = 6, weight: float = 0.3, seed: int = 0
) -> Float[np.ndarray, "rows number ..."]:
    """Samples of one class at full strength, with others drawn at random that share `weight` among them; in the first
    column none.

    Raises:
      InputError: for a class that does not exist, or where there are no others.
    """
    check(sampler, label)
    if sampler.classes < 2:
        raise InputError("background hallucination needs other classes than the one that stays")
    drawn = np.random.default_rng(seed).dirichlet(np.ones(sampler.classes - 1), number).astype(np.float32)
    others = np.insert(drawn, label, 0.0, axis=1)
    others[0] = 0.0
    return _rows(sampler, z, one_hot(sampler, label) + np.float32(weight) * others)


def _rows(sampler, z, told: Float[np.ndarray, "columns classes"]) -> np.ndarray:
    """Every latent told every vector: [rows, columns, ...]."""
    rows, columns = len(z), len(told)
    samples = generate(sampler, np.repeat(np.asarray(z), columns, axis=0), np.tile(told, (rows, 1)))
    return samples.reshape(rows, columns, *samples.shape[1:])
