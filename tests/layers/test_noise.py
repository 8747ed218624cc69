"""Noise inside networks: of the size that was asked for, in training alone, and nothing at all where it is 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.gans import dcgan
from gan_jax.layers.noise import Disturbance, GaussianNoise
from gan_jax.nets import mlp


def test_gaussian_noise_has_this_deviation():
    """Over 100,000 entries the deviation of a deviation is .5 / sqrt(50,000) = .0011."""
    x = jnp.full((100, 1000), 3.0)
    noise = GaussianNoise(0.5).apply({}, x, train=True, rngs={"dropout": jax.random.key(0)}) - x
    assert float(noise.std()) == pytest.approx(0.5, abs=0.005)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.008)


def test_it_is_there_in_training_alone():
    x = jnp.ones((4, 3))
    np.testing.assert_array_equal(GaussianNoise(0.5).apply({}, x, train=False), x)
    np.testing.assert_array_equal(GaussianNoise(0.0).apply({}, x, train=True), x)  # and asks for no key
    np.testing.assert_array_equal(Disturbance().apply({}, x, train=True), x)
    np.testing.assert_array_equal(Disturbance(0.5, 0.5).apply({}, x, train=False), x)


def test_it_keeps_the_type_of_its_input():
    x = jnp.ones((4, 3), jnp.bfloat16)
    made = Disturbance(0.5, 0.5).apply({}, x, train=True, rngs={"dropout": jax.random.key(0)})
    assert made.dtype == jnp.bfloat16


def test_dropout_comes_before_noise():
    """Half of the entries are noise alone, the others twice what they were, with noise of the same size."""
    x = jnp.full((200, 500), 10.0)
    made = np.asarray(Disturbance(0.5, 0.1).apply({}, x, train=True, rngs={"dropout": jax.random.key(0)}))
    dropped = np.abs(made) < 5
    assert dropped.mean() == pytest.approx(0.5, abs=0.01)
    for part, middle in ((made[dropped], 0.0), (made[~dropped], 20.0)):
        assert part.mean() == pytest.approx(middle, abs=0.005)
        assert part.std() == pytest.approx(0.1, abs=0.002)


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda **keys: mlp.Generator((2,), (8, 8), **keys), 2),
        (lambda **keys: dcgan.Generator((8, 8, 1), width=4, **keys), 4),
    ],
    ids=["mlp", "dcgan"],
)
def test_generators_disturb_their_hidden_layers(make, size):
    """Off, a generator is the very same network; on, two passes in training differ and two others do not."""
    z, rngs = jnp.ones((4, size)), {"dropout": jax.random.key(1)}
    plain, noisy = make(), make(dropout=0.5, noise=0.1)
    variables = plain.init(jax.random.key(0), z, train=False)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, noisy.init(jax.random.key(0), z, train=False))
    still = plain.apply(variables, z, train=False)
    np.testing.assert_array_equal(noisy.apply(variables, z, train=False), still)
    run = [
        module.apply(variables, z, train=True, rngs=rngs, mutable=["batch_stats"])[0]
        for module in (plain, noisy, noisy)
    ]
    assert not np.array_equal(run[0], run[1])
    np.testing.assert_array_equal(run[1], run[2])
    other = noisy.apply(variables, z, train=True, rngs={"dropout": jax.random.key(2)}, mutable=["batch_stats"])[0]
    assert not np.array_equal(run[1], other)
