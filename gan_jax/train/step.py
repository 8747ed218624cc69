"""From a paper's pure functions to compiled programs: born in place, compiled ahead of time, donated."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from gan_jax import parallel
from gan_jax.contract import GAN, Batch, Key, Metrics, PyTree, carry_over, grad_norms

INIT, PREVIEW = 2**32 - 1, 2**32 - 2  # folded into the root key; training folds in the step, which stays below


def root_key(seed: int, mesh: jax.sharding.Mesh) -> Key:
    """The one key of a run, on every device."""
    return jax.jit(lambda: jax.random.key(seed), out_shardings=parallel.replicated(mesh))()


def one_round(gan: GAN, batch: Batch) -> Batch:
    """The first round of the first step in a loader's batch `[steps, (rounds,) B, ...]`: what `init` sees."""
    return jax.tree.map(lambda leaf: leaf[0, 0] if gan.rounds > 1 else leaf[0], batch)


def abstract_state(gan: GAN, key: Key, batch_spec: Batch, mesh: jax.sharding.Mesh) -> PyTree:
    """Shapes, dtypes and shardings of the state, without computing it."""
    shapes = jax.eval_shape(lambda key, batch: gan.init(key, one_round(gan, batch)), key, batch_spec)
    shardings = parallel.state_sharding(shapes, mesh)
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes, shardings
    )


def begin(gan: GAN, key: Key, batch: Batch, step: int, mesh: jax.sharding.Mesh, previous: PyTree | None) -> PyTree:
    """The first state of a stage, each leaf made where it will live; parameters of `previous` are carried over.

    `batch` is the stage's first, as its loader gives it; `step` is the number of steps before the stage.
    """

    def start(key, batch, previous):
        init_key = jax.random.fold_in(jax.random.fold_in(key, INIT), step)
        state = gan.init(init_key, one_round(gan, batch))
        state = state.replace(step=jnp.full((), step, jnp.int32))
        return state if previous is None else carry_over(previous, state)

    shardings = parallel.state_sharding(jax.eval_shape(start, key, batch, previous), mesh)
    return jax.jit(start, out_shardings=shardings)(key, batch, previous)


def compile_step(gan: GAN, state: PyTree, batch_spec: Batch, key: Key, mesh: jax.sharding.Mesh) -> Callable:
    """`advance(state, batch, key) -> (state, metrics)`, compiled for these shapes and refusing others.

    `batch_spec` leaves are `[steps, (rounds,) B, ...]`: with more than one step the program runs them one after the
    other, with the results of as many calls. Metrics are `[steps]`. The state that goes in is donated. Randomness
    comes from `key` and `state.step` alone.
    """

    def one(key: Key, state: PyTree, batch: Batch) -> tuple[PyTree, Metrics]:
        state, metrics = gan.train_step(state, batch, jax.random.fold_in(key, state.step))
        return state, metrics | grad_norms(state)

    def advance(state: PyTree, batch: Batch, key: Key) -> tuple[PyTree, Metrics]:
        steps = jax.tree.leaves(batch)[0].shape[0]
        if steps > 1:
            return jax.lax.scan(partial(one, key), state, batch)
        state, metrics = one(key, state, jax.tree.map(lambda leaf: leaf[0], batch))
        return state, jax.tree.map(lambda value: value[None], metrics)

    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    jitted = jax.jit(advance, donate_argnums=(0,), out_shardings=(shardings, parallel.replicated(mesh)))
    return jitted.lower(state, batch_spec, key).compile()


def compile_preview(gan: GAN, state: PyTree, conditions: Batch, key: Key, mesh: jax.sharding.Mesh) -> Callable:
    """`preview(state, conditions, key) -> samples`, on every device, always from the same latents."""

    def preview(state: PyTree, conditions: Batch, key: Key):
        return gan.sample(state, conditions, jax.random.fold_in(key, PREVIEW))

    jitted = jax.jit(preview, out_shardings=parallel.replicated(mesh))
    return jitted.lower(state, conditions, key).compile()
