"""Optimisers by name, with one vocabulary, so that a player's optimiser can be exchanged from the command line.

Every section in a config has the same keys: `name`, `learning_rate`, `b1` (momentum, or the decay of the first moment)
and `b2` (the decay of the second moment); `l2`, added to the gradient as `l2 * parameter` before the optimiser sees it
(the penalty `l2 / 2 * |parameter|^2` of old code, not AdamW's decay); and `decay_begin` and `decay_steps`: from update
`decay_begin` on the rate falls linearly to 0 in so many updates, 0 for never. A key that an optimiser has no use for is
ignored.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from gan_jax.errors import InputError, choose


def adam(learning_rate, b1: float, b2: float) -> optax.GradientTransformation:
    return optax.adam(learning_rate, b1=b1, b2=b2, eps=1e-8)


def sgd(learning_rate, b1: float, b2: float) -> optax.GradientTransformation:
    return optax.sgd(learning_rate, momentum=b1)


def rmsprop(learning_rate, b1: float, b2: float) -> optax.GradientTransformation:
    """As PyTorch defines it: epsilon outside the root, accumulators from zero."""
    return optax.rmsprop(learning_rate, decay=b2, eps=1e-8, eps_in_sqrt=False, initial_scale=0.0, momentum=b1 or None)


def rmsprop_tf1(learning_rate, b1: float, b2: float) -> optax.GradientTransformation:
    """As TensorFlow 1 defines it: epsilon inside the root, accumulators from one."""
    return optax.rmsprop(learning_rate, decay=b2, eps=1e-10, eps_in_sqrt=True, initial_scale=1.0, momentum=b1 or None)


def goodfellow_sgd(learning_rate: float, b1: float, b2: float) -> optax.GradientTransformation:
    """The descent of Goodfellow's released `mnist.yaml`: momentum rises linearly from `b1` to `b2` over 250 epochs
    (of 500 updates), and the rate is divided by 1.000004 after every update, down to 1e-6.

    Velocity form, `v = momentum v - rate g; p = p + v`, so a falling rate does not rescale what is already moving.
    """

    def init(params):
        return optax.TraceState(jax.tree.map(jnp.zeros_like, params)), jnp.zeros((), jnp.int32)

    def update(grads, state, params=None):
        velocity, count = state
        momentum = b1 + (b2 - b1) * jnp.minimum(count / (250 * 500), 1.0)
        rate = jnp.maximum(learning_rate * 1.000004 ** -count.astype(jnp.float32), 1e-6)
        moved = jax.tree.map(lambda v, g: momentum * v - rate * g, velocity.trace, grads)
        return moved, (optax.TraceState(moved), count + 1)

    return optax.GradientTransformation(init, update)


BY_NAME: dict[str, Callable] = {
    "adam": adam,
    "sgd": sgd,
    "rmsprop": rmsprop,
    "rmsprop_tf1": rmsprop_tf1,
    "goodfellow_sgd": goodfellow_sgd,
}


def build(section, key: str = "optimizer") -> optax.GradientTransformation:
    """The optimiser that a config section describes; `key` names the section in errors."""
    make = choose(section.name, BY_NAME, f"optimiser (config.model.{key}.name)")
    rate, begin, steps = section.learning_rate, section.decay_begin, section.decay_steps
    if steps:
        if make is goodfellow_sgd:
            raise InputError(f"config.model.{key}.decay_steps must be 0: goodfellow_sgd has a decay of its own")
        rate = optax.linear_schedule(rate, 0.0, steps, begin)
    tx = make(rate, b1=section.b1, b2=section.b2)
    return optax.chain(optax.add_decayed_weights(section.l2), tx) if section.l2 else tx
