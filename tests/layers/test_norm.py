"""Norms with one signature: what they normalise over, and what a class changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.layers.norm import BatchNorm, ConditionalBatchNorm, LayerNorm, Unchanged, instance_norm, pixel_norm
from gan_jax.layers.spectral import SpectralDense


def features(*shape):
    return 3.0 + 2.0 * jax.random.normal(jax.random.key(0), shape)


def made(norm, *inputs, params=None, train=True):
    """(output, variables) of a norm, as it starts or with other parameters."""
    variables = norm.init(jax.random.key(1), *inputs, train=True)
    variables = {**variables, "params": params or variables["params"]}
    output, moved = norm.apply(variables, *inputs, train=train, mutable=["batch_stats"])
    return output, {**variables, **moved}


LABELS = jnp.eye(3)[jnp.array([0, 1, 2, 0, 1, 2])]


def test_with_classes_it_starts_as_plain_batch_norm():
    x = features(6, 4, 5, 2)
    np.testing.assert_allclose(made(BatchNorm(), x, LABELS)[0], made(BatchNorm(), x)[0], atol=1e-6)


def test_each_class_has_gains_and_biases_of_its_own():
    """Statistics are shared: the output is the plain one, scaled and shifted by what the table says of the class."""
    x = features(6, 4, 5, 2)
    gain, bias = jnp.arange(6.0).reshape(3, 2), 10.0 * jnp.arange(6.0).reshape(3, 2)
    params = {"gain": {"kernel": gain}, "bias": {"kernel": bias}}
    plain = made(BatchNorm(), x)[0]
    for label in (LABELS, LABELS[::-1], 0.5 * (LABELS + LABELS[::-1])):  # a mixture of classes is one of their tables
        expected = plain * (label @ gain)[:, None, None] + (label @ bias)[:, None, None]
        np.testing.assert_allclose(made(BatchNorm(), x, label, params=params)[0], expected, atol=1e-4)


@pytest.mark.parametrize("label", [None, LABELS])
def test_running_averages(label):
    """A share of .1 of the batch's mean and variance from 0 and 1 on, in training; in evaluation they are used."""
    x = features(6, 4, 5, 2)
    _, variables = made(BatchNorm(), x, label)
    stats = variables["batch_stats"]["statistics"]
    np.testing.assert_allclose(stats["mean"], 0.1 * x.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * x.var(axis=(0, 1, 2)), rtol=1e-5)
    seen = BatchNorm().apply(variables, x, label, train=False)
    expected = (x - stats["mean"].reshape(1, 1, 1, 2)) / jnp.sqrt(stats["var"].reshape(1, 1, 1, 2) + 1e-5)
    np.testing.assert_allclose(seen, expected, atol=1e-5)


def test_flat_features_too():
    x = features(6, 8)
    np.testing.assert_allclose(made(BatchNorm(), x, LABELS)[0].mean(axis=0), np.zeros(8), atol=1e-5)


def test_gains_and_biases_are_linear_in_what_is_told():
    """1 + W c and V c; with zero weights exactly batch norm, and a plain one where nothing is told."""
    x, told = features(6, 4, 5, 2), features(6, 3)
    gain, bias = jnp.arange(6.0).reshape(3, 2), 10.0 - jnp.arange(6.0).reshape(3, 2)
    params = {"gain": {"kernel": gain}, "bias": {"kernel": bias}}
    plain, variables = made(ConditionalBatchNorm(), x)
    np.testing.assert_array_equal(plain, made(BatchNorm(), x)[0])
    assert set(variables["params"]["statistics"]) == {"scale", "bias"}
    expected = plain * (1.0 + told @ gain)[:, None, None] + (told @ bias)[:, None, None]
    np.testing.assert_allclose(made(ConditionalBatchNorm(), x, told, params=params)[0], expected, atol=1e-4)
    zeros = jax.tree.map(jnp.zeros_like, params)
    np.testing.assert_array_equal(made(ConditionalBatchNorm(), x, told, params=zeros)[0], plain)
    held = made(ConditionalBatchNorm(SpectralDense), x, told)[1]
    assert set(held["spectral"]) == {"gain", "bias"}


def test_layer_norm_is_over_everything_of_an_example():
    x = features(6, 4, 5, 2)
    output, variables = made(LayerNorm(), x)
    assert jax.tree.map(jnp.shape, variables["params"]) == {"LayerNorm_0": {"scale": (2,), "bias": (2,)}}
    np.testing.assert_allclose(output.mean(axis=(1, 2, 3)), np.zeros(6), atol=1e-5)
    np.testing.assert_allclose(output.std(axis=(1, 2, 3)), np.ones(6), atol=1e-4)
    others = made(LayerNorm(), x.at[1:].set(0.0))[0]  # examples do not see each other
    np.testing.assert_array_equal(others[0], output[0])


def test_a_constant_becomes_the_bias():
    params = {"LayerNorm_0": {"scale": jnp.array([5.0, 6.0]), "bias": jnp.array([-1.0, 2.0])}}
    output, _ = made(LayerNorm(), jnp.full((2, 3, 3, 2), 7.0), params=params)
    np.testing.assert_allclose(output, np.broadcast_to([-1.0, 2.0], (2, 3, 3, 2)), atol=1e-4)


def test_no_norm():
    x = features(2, 3, 3, 2)
    assert Unchanged().apply({}, x, LABELS, train=True) is x


@pytest.mark.parametrize("norm", [BatchNorm, ConditionalBatchNorm, LayerNorm])
def test_dtype(norm):
    x = features(6, 4, 4, 2).astype(jnp.bfloat16)
    with jax.numpy_dtype_promotion("standard"):  # Flax's own norms raise bfloat16 to float32 where it is not spelt out
        output, variables = made(norm(dtype=jnp.bfloat16), x, LABELS)
    assert output.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_pixel_norm():
    np.testing.assert_allclose(pixel_norm(jnp.array([[3.0, 4.0]])), [[0.8485281, 1.1313708]], rtol=1e-6)
    x = features(2, 3, 4, 5) * 1e-4  # small enough for epsilon to be seen
    squares = jnp.mean(x**2, axis=-1)
    np.testing.assert_allclose(jnp.mean(pixel_norm(x) ** 2, axis=-1), 1 - 1e-8 / (squares + 1e-8), rtol=1e-5)


def test_instance_norm_is_over_the_positions_of_a_channel():
    x = features(2, 6, 5, 3)
    x = x.at[0, ..., 1].multiply(1e-4)
    output = instance_norm(x)
    variance = x.var(axis=(1, 2))
    np.testing.assert_allclose(output.mean(axis=(1, 2)), np.zeros((2, 3)), atol=1e-5)
    np.testing.assert_allclose(output.var(axis=(1, 2)), variance / (variance + 1e-8), rtol=1e-4)
    np.testing.assert_array_equal(instance_norm(jnp.full((1, 4, 4, 2), 7.0)), np.zeros((1, 4, 4, 2)))
    assert pixel_norm(x.astype(jnp.bfloat16)).dtype == instance_norm(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
