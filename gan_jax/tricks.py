"""What practitioners add to the classical game, as values that do nothing unless they are asked to (`config.tricks()`).

The list is that of "How to train a GAN?" (Chintala, Denton, Arjovsky, Mathieu, 2016, github.com/soumith/ganhacks);
numbers in parentheses are those of its tips. The other tips are values of the game already: the generator's cost (2),
the latent (3), separate batches (4), optimisers and rates of each player (9), labels (12), critic rounds (14).
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from gan_jax import pools
from gan_jax.errors import InputError
from gan_jax.losses import Loss

PyTree = Any


def nothing_seen(x: Array, rng: Array, step: Array | int) -> Array:
    """The critic sees examples as they are."""
    return x


def instance_noise(deviation: float, steps: int) -> Callable[[Array, Array, Array | int], Array]:
    """Gaussian noise on whatever the critic sees, real or fake, in both players' moves (13).

    Args:
      deviation: at step 0.
      steps: it falls linearly to 0 in so many steps; 0 keeps it.

    Sonderby et al., 2016, arXiv:1610.04490; Arjovsky and Bottou, 2017, arXiv:1701.04862.
    """

    def see(x: Float[Array, "batch *shape"], rng: Key[Array, ""], step) -> Float[Array, "batch *shape"]:
        left = jnp.maximum(0.0, 1.0 - jnp.asarray(step, jnp.float32) / steps) if steps else 1.0
        return x + (deviation * left) * jax.random.normal(rng, x.shape)

    return see


def hard_labels(rng: Array, count: int) -> dict[str, Array]:
    """Real is 1 and fake is 0: what losses take without being told."""
    return {}


def soft_labels(
    real: tuple[float, float] | None, fake: tuple[float, float] | None
) -> Callable[[Array, int], dict[str, Array]]:
    """Labels drawn anew for every example, uniform on these ranges, for the discriminator's move (6). None leaves a
    label to the loss, whose real one may be smoothed.

    The tip is .7 to 1.2 and 0 to .3. Above 1 the cross-entropy of a real example has no lower bound; Salimans et al.
    (2016) advise against labels of fakes above 0, which reward the generator for staying where it is.
    """

    def draw(rng: Key[Array, ""], count: int) -> dict[str, Array]:
        ranges = {"real_label": real, "fake_label": fake}
        return {
            name: jax.random.uniform(key, (count,), minval=bounds[0], maxval=bounds[1])
            for key, (name, bounds) in zip(jax.random.split(rng), ranges.items(), strict=True)
            if bounds is not None
        }

    return draw


def no_flips(real_logits: Array, fake_logits: Array, rng: Array) -> tuple[Array, Array]:
    """Every logit stands where it belongs."""
    return real_logits, fake_logits


def flips(probability: float) -> Callable:
    """The labels of a pair (real i, fake i) are exchanged with this probability, in the discriminator's move (6)."""

    def swap(real_logits: Float[Array, "batch"], fake_logits: Float[Array, "batch"], rng: Key[Array, ""]):
        chosen: Bool[Array, "batch"] = jax.random.bernoulli(rng, probability, real_logits.shape)
        return jnp.where(chosen, fake_logits, real_logits), jnp.where(chosen, real_logits, fake_logits)

    return swap


@dataclasses.dataclass(frozen=True)
class Replay:
    """Old fakes shown to the discriminator again (8)."""

    memory: Callable[[tuple[int, ...]], PyTree] = lambda shape: ()  # of samples of this shape, before the first step
    exchange: Callable[[PyTree, Array, Array], tuple[Array, PyTree]] = lambda memory, fake, rng: (fake, memory)


def replay(size: int, share: float) -> Replay:
    """A pool of `size` fakes, from which a share of every minibatch comes once it is full."""

    def swap(pool, fake, rng):
        return pools.exchange(pool, fake, rng, share)

    return Replay(lambda shape: pools.empty(size, shape), swap)


@dataclasses.dataclass(frozen=True)
class Gate:
    """Whether a player's move is kept, from the metrics of the move: functions to a bool. The tip is not to (11)."""

    d: Callable[[dict], Any] = lambda metrics: True
    g: Callable[[dict], Any] = lambda metrics: True


NO_REPLAY, BOTH_MOVE = Replay(), Gate()


def move_above(d: float | None, g: float | None) -> Gate:
    """A player whose loss is not above its bound stays where it is, and so does its optimiser; None has no bound."""

    def above(name, bound):
        return (lambda metrics: True) if bound is None else (lambda metrics: metrics[name] > bound)

    return Gate(above("loss/d", d), above("loss/g", g))


def keep(moved: PyTree, wanted: Any, before: PyTree) -> PyTree:
    """`moved` where it is wanted, else `before`."""
    return jax.tree.map(lambda new, old: jnp.where(wanted, new, old), moved, before)


def build(section, loss: Loss) -> dict[str, Any]:
    """The fields of the classical game that a `tricks` section describes.

    Raises:
      InputError: for a value out of range, or labels of single examples with a loss that has none.
    """
    real, fake = tuple(section.soft_real), tuple(section.soft_fake)
    for key in ("flip", "replay_share"):
        if not 0.0 <= section[key] <= 1.0:
            raise InputError(f"config.model.tricks.{key}={section[key]} is a probability: between 0 and 1")
    for key in ("instance_noise", "instance_noise_steps", "replay"):
        if section[key] < 0:
            raise InputError(f"config.model.tricks.{key}={section[key]} must not be negative")
    for key, bounds in (("soft_real", real), ("soft_fake", fake)):
        if len(bounds) != 2 or bounds[0] > bounds[1]:
            raise InputError(f"config.model.tricks.{key}={bounds} must be (lowest, highest)")
    ranges = (None if real == (1.0, 1.0) else real, None if fake == (0.0, 0.0) else fake)
    soft = ranges != (None, None)
    if soft and "real_label" not in inspect.signature(loss.d).parameters:
        raise InputError(
            "config.model.tricks.soft_real and soft_fake must be (1.0, 1.0) and (0.0, 0.0) with a relativistic loss "
            "(config.model.loss): it compares reals with fakes and has no label of either"
        )
    noise = section.instance_noise
    return {
        "see": instance_noise(noise, section.instance_noise_steps) if noise else nothing_seen,
        "labels": soft_labels(*ranges) if soft else hard_labels,
        "flip": flips(section.flip) if section.flip else no_flips,
        "replay": replay(section.replay, section.replay_share) if section.replay else NO_REPLAY,
        "gate": move_above(section.d_moves_above, section.g_moves_above),
    }
