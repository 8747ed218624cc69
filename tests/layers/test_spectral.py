"""Spectral normalisation: the singular value it finds, where its gradient goes, and when its vector moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gan_jax.layers.spectral import SpectralConv, SpectralDense, first_singular_values, unit


def diagonal(*values):
    """A dense layer with this diagonal matrix, starting from u = (1, ..., 1) / sqrt(n)."""
    n = len(values)
    layer = SpectralDense(n, use_bias=False)
    return layer, {"params": {"kernel": jnp.diag(jnp.array(values))}, "spectral": {"u": unit(jnp.ones(n))}}


def sigma(layer, variables, **kwargs):
    made, moved = layer.apply(variables, jnp.eye(2), mutable=["spectral"], **kwargs)
    return float(variables["params"]["kernel"][0, 0] / made[0, 0]), {**variables, **moved}


def test_one_iteration_and_many():
    layer, variables = diagonal(3.0, 1.0)
    first, variables = sigma(layer, variables)
    assert first == pytest.approx(8.2**0.5, rel=1e-6)  # 2.8635642
    for _ in range(20):
        last, variables = sigma(layer, variables)
    assert last == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize("layer", [SpectralDense(6), SpectralConv(6, (3, 3))])
def test_the_first_singular_value_becomes_one(layer):
    x = jax.random.normal(jax.random.key(0), (2, 5, 5, 4))
    variables = layer.init(jax.random.key(1), x)
    kernel = variables["params"]["kernel"]
    step = jax.jit(lambda variables: {**variables, **layer.apply(variables, x, mutable=["spectral"])[1]})
    for _ in range(200):
        variables = step(variables)
    expected = np.linalg.svd(np.asarray(kernel).reshape(-1, 6), compute_uv=False)[0]
    u = variables["spectral"]["u"]
    assert float(jnp.linalg.norm(kernel.reshape(-1, 6) @ u)) == pytest.approx(expected, rel=1e-4)
    scaled = {**variables, "params": {**variables["params"], "kernel": 7.0 * kernel}}
    np.testing.assert_allclose(layer.apply(scaled, x), layer.apply(variables, x), atol=1e-5)  # blind to scale


def test_first_singular_values_of_a_network():
    """Of every layer, by its path; once a vector has settled, the value that linear algebra gives."""
    network = nn.Sequential([SpectralConv(6, (3, 3)), SpectralDense(5)])
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 3))
    variables = jax.jit(network.init)(jax.random.key(1), x)
    step = jax.jit(lambda variables: {**variables, **network.apply(variables, x, mutable=["spectral"])[1]})
    for _ in range(200):
        variables = step(variables)
    found = first_singular_values(variables["params"], variables["spectral"])
    assert set(found) == {("layers_0",), ("layers_1",)}
    for (name,), value in found.items():
        kernel = np.asarray(variables["params"][name]["kernel"])
        expected = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]
        assert float(value) == pytest.approx(expected, rel=1e-4)


def test_a_dense_layer_does_not_stretch():
    layer = SpectralDense(8)
    a, b = jax.random.normal(jax.random.key(0), (2, 100, 5))
    variables = layer.init(jax.random.key(1), a)
    for _ in range(100):
        variables = {**variables, **layer.apply(variables, a, mutable=["spectral"])[1]}
    made = jnp.linalg.norm(layer.apply(variables, a) - layer.apply(variables, b), axis=-1)
    assert float((made / jnp.linalg.norm(a - b, axis=-1)).max()) <= 1.0 + 1e-4


def test_the_vector_moves_only_where_it_may():
    layer, variables = diagonal(3.0, 1.0)
    still = layer.apply(variables, jnp.eye(2))
    moving, moved = layer.apply(variables, jnp.eye(2), mutable=["spectral"])
    np.testing.assert_array_equal(still, moving)  # the same normalisation, whether or not it is remembered
    assert not np.array_equal(moved["spectral"]["u"], variables["spectral"]["u"])
    np.testing.assert_array_equal(layer.init(jax.random.key(0), jnp.eye(2))["spectral"]["u"].shape, (2,))


def test_a_shrunken_vector_is_as_good():
    layer, variables = diagonal(3.0, 1.0)
    shrunken = {**variables, "spectral": {"u": 0.1 * variables["spectral"]["u"]}}
    np.testing.assert_allclose(layer.apply(shrunken, jnp.eye(2)), layer.apply(variables, jnp.eye(2)), atol=1e-6)


def test_gradients_pass_through_the_kernel_alone():
    """With u and v fixed, the normalised kernel does not change along the kernel: its gradient is orthogonal to it."""
    layer = SpectralDense(4, use_bias=False)
    x = jax.random.normal(jax.random.key(0), (8, 5))
    variables = layer.init(jax.random.key(1), x)
    target = jax.random.normal(jax.random.key(2), (5, 4))

    def along(kernel):
        made = layer.apply({**variables, "params": {"kernel": kernel}}, jnp.eye(5))
        return jnp.sum(made * target)

    kernel = variables["params"]["kernel"]
    gradient = jax.grad(along)(kernel)
    assert abs(float(jnp.sum(gradient * kernel))) < 1e-5
    u = unit(variables["spectral"]["u"])
    v = unit(kernel @ u)
    u = unit(v @ kernel)
    s = v @ kernel @ u
    expected = target / s - jnp.sum(target * kernel) / s**2 * jnp.outer(v, u)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_it_takes_the_place_of_flaxs_layers():
    x = jnp.ones((2, 8, 8, 3))
    for ours, theirs in (
        (SpectralConv(4, (3, 3), (2, 2), use_bias=True), nn.Conv(4, (3, 3), (2, 2))),
        (SpectralDense(4), nn.Dense(4)),
    ):
        a, b = ours.init(jax.random.key(0), x)["params"], theirs.init(jax.random.key(0), x)["params"]
        assert jax.tree.map(jnp.shape, a) == jax.tree.map(jnp.shape, b)
        assert ours.apply(ours.init(jax.random.key(0), x), x).shape == theirs.apply({"params": b}, x).shape
