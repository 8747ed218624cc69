"""A history of generated samples, shown to the critic in place of some new ones (Shrivastava et al., 2016,
arXiv:1612.07828, section 2.3): a pytree and two functions."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Key

PyTree = Any


@struct.dataclass
class Pool:
    """Samples made some time ago. Slots from `filled` on are empty."""

    samples: PyTree  # [size, *shape] float32
    filled: PyTree  # int32 []


def empty(size: int, shape: tuple[int, ...]) -> Pool:
    """A pool of `size` slots for samples of this shape."""
    return Pool(samples=jnp.zeros((size, *shape)), filled=jnp.zeros((), jnp.int32))


def exchange(
    pool: Pool, fresh: Float[Array, "batch *shape"], rng: Key[Array, ""], share: float = 0.5
) -> tuple[Float[Array, "batch *shape"], Pool]:
    """`(shown, pool)`: the samples to show to the critic, and the pool that has taken in some of the fresh ones.

    While a slot is empty a fresh sample is stored there and shown. Afterwards each one is, with probability `share`,
    exchanged for the content of a slot. A batch larger than the pool comes in pieces of the pool's size, one after the
    other; within a piece the slots are different ones, so nothing is shown twice.
    """
    size, shown = len(pool.samples), []
    for first in range(0, len(fresh), size):
        rng, piece_rng = jax.random.split(rng)
        piece, pool = _exchange(pool, fresh[first : first + size], piece_rng, share)
        shown.append(piece)
    return jnp.concatenate(shown), pool


def _exchange(pool: Pool, fresh: Array, rng: Array, share: float) -> tuple[Array, Pool]:
    """The same of a batch that is no larger than the pool."""
    size, batch = len(pool.samples), len(fresh)
    slot_rng, coin_rng = jax.random.split(rng)
    number = jnp.arange(batch)
    entering = jnp.clip(size - pool.filled, 0, batch)  # how many of the fresh ones go to empty slots: the first ones
    filling: Bool[Array, "batch"] = number < entering
    full = jax.random.permutation(slot_rng, size)  # the slots of older samples, in any order, before all others
    full = full[jnp.argsort(full >= pool.filled, stable=True)]
    slots = jnp.where(filling, pool.filled + number, full[jnp.maximum(number - entering, 0)])
    swapped = ~filling & jax.random.bernoulli(coin_rng, share, (batch,))
    wide = (batch, *[1] * (fresh.ndim - 1))
    stored = pool.samples[slots]
    shown = jnp.where(swapped.reshape(wide), stored, fresh)
    kept = jnp.where((filling | swapped).reshape(wide), fresh, stored)
    filled = jnp.minimum(pool.filled + batch, size)
    return shown, Pool(samples=pool.samples.at[slots].set(kept), filled=filled)
