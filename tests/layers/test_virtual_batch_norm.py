"""Virtual batch norm: an example depends on itself and on a fixed reference batch, and on nothing else."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gan_jax import contract
from gan_jax.data import datasets
from gan_jax.errors import InputError
from gan_jax.layers.virtual_batch_norm import VirtualBatchNorm, WithReference
from tests import experiments


class Normed(nn.Module):
    """A dense layer, the norm, a second layer."""

    @nn.compact
    def __call__(self, z, *, train: bool):
        h = nn.relu(VirtualBatchNorm()(nn.Dense(6)(z), train=train))
        return nn.Dense(2)(h)


class Alone(nn.Module):
    """The norm and nothing else."""

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x, *, train: bool):
        return VirtualBatchNorm(epsilon=self.epsilon)(x, train=train)


def referred(inner, reference):
    """(module, variables) with this reference batch."""
    module = WithReference(inner)
    return module, jax.jit(partial(module.init, train=True))(jax.random.key(0), reference)


def run(module, variables, x, train=True):
    return jax.jit(partial(module.apply, train=train))(variables, x)


def draw(seed, *shape):
    return 1.0 + 2.0 * jax.random.normal(jax.random.key(seed), shape)


def with_affine(variables, scale, bias):
    norm = {"VirtualBatchNorm_0": {"scale": jnp.array(scale), "bias": jnp.array(bias)}}
    return {**variables, "params": {"network": norm}}


def test_an_example_like_the_mean_of_a_constant_reference_gives_the_bias():
    module, variables = referred(Alone(), jnp.full((8, 2), 3.0))
    variables = with_affine(variables, [5.0, 6.0], [0.25, -4.0])
    made = module.apply(variables, jnp.full((3, 2), 3.0), train=True)
    np.testing.assert_allclose(made, [[0.25, -4.0]] * 3, atol=1e-5)


def test_units_by_hand():
    """R = 3 references 0, 1, 5: mean 2, mean square 26/3. The example 6 weighs 1/4: mean 3, mean square 15.5."""
    module, variables = referred(Alone(epsilon=0.0), jnp.array([[0.0], [1.0], [5.0]]))
    made = run(module, variables, jnp.array([[6.0], [2.0]]), train=True)
    np.testing.assert_allclose(made[0, 0], (6.0 - 3.0) / np.sqrt(15.5 - 9.0), rtol=1e-5)
    np.testing.assert_allclose(made[1, 0], 0.0, atol=1e-6)


def test_channels_take_the_moments_of_the_examples_positions():
    reference, x = draw(1, 5, 3, 4, 2), draw(2, 7, 3, 4, 2)
    module, variables = referred(Alone(epsilon=0.0), reference)
    own = x.mean((1, 2)), (x**2).mean((1, 2))
    seen = reference.mean((0, 1, 2)).reshape(1, 2), (reference**2).mean((0, 1, 2)).reshape(1, 2)
    mean, square = (a / 6 + 5 * b / 6 for a, b in zip(own, seen, strict=True))
    expected = (x - mean[:, None, None]) / jnp.sqrt(square - mean**2)[:, None, None]
    np.testing.assert_allclose(run(module, variables, x, train=True), expected, rtol=1e-4, atol=1e-5)


def test_examples_do_not_depend_on_each_other():
    module, variables = referred(Normed(), draw(1, 16, 3))
    x = draw(2, 8, 3)
    whole = run(module, variables, x, train=True)
    np.testing.assert_allclose(whole[2:3], run(module, variables, x[2:3], train=False), rtol=1e-5, atol=1e-6)


def test_the_reference_stays_and_its_statistics_follow_the_weights():
    """After a step of descent the reference is the same, and doubling the first layer changes nothing that is seen."""
    reference, x = draw(1, 16, 3), draw(2, 8, 3)
    module, variables = referred(Normed(), reference)
    assert set(variables) == {"params", "reference"}
    np.testing.assert_array_equal(variables["reference"]["0"], reference)
    _, moved = module.apply(variables, x, train=True, mutable=["reference"])
    np.testing.assert_array_equal(moved["reference"]["0"], reference)
    inner = variables["params"]["network"]
    doubled = {**inner, "Dense_0": jax.tree.map(lambda leaf: 2 * leaf, inner["Dense_0"])}
    again = run(module, {**variables, "params": {"network": doubled}}, x)
    np.testing.assert_allclose(again, run(module, variables, x), rtol=1e-3, atol=1e-4)


def test_gradients_pass_through_the_reference_too():
    """The derivative along the first bias of a shift of all units alike is that of the example's share alone: 0, for
    the reference moves with it."""
    module, variables = referred(Normed(), draw(1, 16, 3))

    def output(shift):
        inner = variables["params"]["network"]
        dense = {**inner["Dense_0"], "bias": inner["Dense_0"]["bias"] + shift}
        moved = {**variables, "params": {"network": {**inner, "Dense_0": dense}}}
        return module.apply(moved, draw(2, 8, 3), train=True)

    slope = jax.jit(jax.jacfwd(output))(jnp.zeros(()))
    assert float(jnp.abs(slope).max()) < 1e-4


def test_outside_of_a_reference_it_says_so():
    with pytest.raises(ValueError, match="WithReference"):
        Normed().apply(
            {"params": Normed().init(jax.random.key(0), draw(1, 4, 3), train=True)["params"]}, draw(1, 4, 3), train=True
        )


def dcgan(**changes):
    config = experiments.get_config("dcgan")
    config.model.update(changes)
    return contract.load(datasets.resolve(config))[0].gan


def test_dcgans_generator_takes_it_as_a_norm():
    """It plays, a sample does not depend on the others, and the reference is not moved by playing."""
    game = dcgan(g_norm="virtual")
    batch = {"image": jax.random.uniform(jax.random.key(0), (8, 16, 16, 3), minval=-1.0)}
    state = jax.jit(game.init)(jax.random.key(1), batch)
    after, metrics = jax.jit(game.train_step)(state, batch, jax.random.key(2))
    assert all(np.isfinite(value) for value in metrics.values())
    jax.tree.map(np.testing.assert_array_equal, state.g.stats, after.g.stats)
    z = game.latents(jax.random.key(3), batch)
    generate = jax.jit(game.generate)
    whole = generate(after, z, batch)
    assert whole.shape == (8, 16, 16, 3)
    np.testing.assert_allclose(generate(after, z[:1], batch), whole[:1], atol=1e-5)
    assert float(jnp.abs(whole[0] - whole[1]).max()) > 1e-3


def test_it_is_for_generators():
    with pytest.raises(InputError, match="d_norm"):
        dcgan(d_norm="virtual")
