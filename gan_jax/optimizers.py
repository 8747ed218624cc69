"""Optimisers by name, with one vocabulary, so that a player's optimiser can be exchanged from the command line.

Every section in a config has the same keys: `name`, `learning_rate`, `b1` (momentum, or the decay of the first moment)
and `b2` (the decay of the second moment); `l2`, added to the gradient as `l2 * parameter` before the optimiser sees it
(the penalty `l2 / 2 * |parameter|^2` of old code, not AdamW's decay); `historical`, the weight of historical averaging;
and `decay_begin` and `decay_steps`: from update `decay_begin` on the rate falls linearly to 0 in so many updates, 0 for
never. A key that an optimiser has no use for is ignored.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gan_jax.errors import InputError, choose

PyTree = Any


def adam(learning_rate, b1: float, b2: float) -> optax.GradientTransformation:
    return optax.adam(learning_rate, b1=b1, b2=b2, eps=1e-8)


def adam_inside_root(learning_rate, b1: float, b2: float) -> optax.GradientTransformation:
    """With epsilon inside the root, m / sqrt(v + 1e-8), as in the code of Salimans et al., 2016 (arXiv:1606.03498)."""
    return optax.adam(learning_rate, b1=b1, b2=b2, eps=0.0, eps_root=1e-8)


def sgd(learning_rate, b1: float, b2: float) -> optax.GradientTransformation:
    return optax.sgd(learning_rate, momentum=b1)


def rmsprop(learning_rate, b1: float, b2: float) -> optax.GradientTransformation:
    """As PyTorch defines it: epsilon outside the root, accumulators from zero."""
    return optax.rmsprop(learning_rate, decay=b2, eps=1e-8, eps_in_sqrt=False, initial_scale=0.0, momentum=b1 or None)


def rmsprop_tf1(learning_rate, b1: float, b2: float) -> optax.GradientTransformation:
    """As TensorFlow 1 defines it: epsilon inside the root, accumulators from one."""
    return optax.rmsprop(learning_rate, decay=b2, eps=1e-10, eps_in_sqrt=True, initial_scale=1.0, momentum=b1 or None)


def goodfellow_sgd(
    learning_rate: float, b1: float, b2: float, divisor: float = 1.000004
) -> optax.GradientTransformation:
    """The descent of Goodfellow's released `mnist.yaml`: momentum rises linearly from `b1` to `b2` over 250 epochs
    (of 500 updates), and the rate is divided by `divisor` after every update, down to 1e-6.

    Velocity form, `v = momentum v - rate g; p = p + v`, so a falling rate does not rescale what is already moving.
    """

    def init(params):
        return optax.TraceState(jax.tree.map(jnp.zeros_like, params)), jnp.zeros((), jnp.int32)

    def update(grads, state, params=None):
        velocity, count = state
        momentum = b1 + (b2 - b1) * jnp.minimum(count / (250 * 500), 1.0)
        rate = jnp.maximum(learning_rate * jnp.exp(-math.log(divisor) * count.astype(jnp.float32)), 1e-6)
        moved = jax.tree.map(lambda v, g: momentum * v - rate * g, velocity.trace, grads)
        return moved, (optax.TraceState(moved), count + 1)

    return optax.GradientTransformation(init, update)


def mirza_sgd(learning_rate: float, b1: float, b2: float) -> optax.GradientTransformation:
    """Goodfellow's descent with a rate that falls ten times as fast: it is divided by 1.00004 after every update (Mirza
    and Osindero, 2014, arXiv:1411.1784, section 4.1), and reaches 1e-6 from 0.1 after 288,000."""
    return goodfellow_sgd(learning_rate, b1, b2, divisor=1.00004)


class HistoricalState(NamedTuple):
    mean: PyTree  # of the parameters before each update so far
    count: jax.Array


def historical_averaging(weight: float) -> optax.GradientTransformation:
    """Adds the gradient of `weight |theta - mean of past theta|^2`, the mean itself held still.

    The past includes the present, so the first update is left alone. Salimans et al., 2016, arXiv:1606.03498, section
    3.3.
    """

    def init(params):
        return HistoricalState(jax.tree.map(jnp.copy, params), jnp.zeros((), jnp.int32))

    def update(grads, state, params):
        count = optax.safe_increment(state.count)
        share = 1.0 / count.astype(jnp.float32)
        mean = jax.tree.map(lambda old, now: old + share * (now - old), state.mean, params)
        grads = jax.tree.map(lambda grad, now, past: grad + 2.0 * weight * (now - past), grads, params, mean)
        return grads, HistoricalState(mean, count)

    return optax.GradientTransformation(init, update)


class Restart(NamedTuple):
    inner: PyTree
    count: jax.Array


def restarted(tx: optax.GradientTransformation, at: int) -> optax.GradientTransformation:
    """The optimiser, which forgets everything before update `at`: where the game has changed, what it knew may be
    wrong."""

    def init(params):
        return Restart(tx.init(params), jnp.zeros((), jnp.int32))

    def update(grads, state, params=None):
        fresh = tx.init(params)
        inner = jax.tree.map(lambda new, old: jnp.where(state.count == at, new, old), fresh, state.inner)
        updates, inner = tx.update(grads, inner, params)
        return updates, Restart(inner, optax.safe_increment(state.count))

    return optax.GradientTransformation(init, update)


def ramp(rate: float, updates: float) -> optax.Schedule:
    """Rises to `rate` in so many updates, as rate exp(-5 (1 - t)^2) (Laine and Aila, 2016, arXiv:1610.02242); 0 is at
    once."""

    def schedule(count):
        t = jnp.minimum(count.astype(jnp.float32) / updates, 1.0) if updates else jnp.ones(())
        return rate * jnp.exp(-5.0 * (1.0 - t) ** 2)

    return schedule


BY_NAME: dict[str, Callable] = {
    "adam": adam,
    "adam_inside_root": adam_inside_root,
    "sgd": sgd,
    "rmsprop": rmsprop,
    "rmsprop_tf1": rmsprop_tf1,
    "goodfellow_sgd": goodfellow_sgd,
    "mirza_sgd": mirza_sgd,
}


def build(section, key: str = "optimizer") -> optax.GradientTransformation:
    """The optimiser that a config section describes; `key` names the section in errors."""
    make = choose(section.name, BY_NAME, f"optimiser (config.model.{key}.name)")
    rate, begin, steps = section.learning_rate, section.decay_begin, section.decay_steps
    if steps:
        if make in (goodfellow_sgd, mirza_sgd):
            raise InputError(f"config.model.{key}.decay_steps must be 0: {section.name} has a decay of its own")
        rate = optax.linear_schedule(rate, 0.0, steps, begin)
    tx = make(rate, b1=section.b1, b2=section.b2)
    before = [optax.add_decayed_weights(section.l2)] if section.l2 else []
    before += [historical_averaging(section.historical)] if section.historical else []
    return optax.chain(*before, tx) if before else tx
