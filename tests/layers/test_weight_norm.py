"""Weight normalisation: each unit's length is its scale alone, and a start from a look at data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gan_jax import config as base
from gan_jax import contract, optimizers
from gan_jax.layers.conv import LAYOUT
from gan_jax.layers.weight_norm import WeightNormConv, WeightNormConvTranspose, WeightNormDense

LAYERS = {
    "dense": (WeightNormDense, (64, 7), {}),
    "conv": (WeightNormConv, (8, 6, 6, 3), {"kernel_size": (3, 3), "strides": (2, 2), "padding": ((1, 1), (1, 1))}),
    "transposed": (WeightNormConvTranspose, (8, 4, 4, 3), {"kernel_size": (5, 5), "strides": (2, 2)}),
}


def made(name, seed=0, **settings):
    """(layer, x, what it gives while it is initialised, its variables)."""
    layer, shape, sizes = LAYERS[name]
    x = 3.0 + 2.0 * jax.random.normal(jax.random.key(seed), shape)
    module = layer(5, **sizes, **settings)
    return module, x, *jax.jit(module.init_with_output)(jax.random.key(1), x)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("deviation", [1.0, 0.1])
def test_it_starts_with_mean_0_and_this_deviation_on_the_batch_it_has_seen(name, deviation):
    module, x, first, variables = made(name, deviation=deviation)
    for y in (first, jax.jit(module.apply)(variables, x)):
        units = np.asarray(y).reshape(-1, 5)
        np.testing.assert_allclose(units.mean(axis=0), 0.0, atol=1e-3 * deviation)
        np.testing.assert_allclose(units.std(axis=0), deviation, rtol=1e-3)


@pytest.mark.parametrize("name", LAYERS)
def test_without_a_look_the_scale_is_1_and_the_bias_0(name):
    variables = made(name, deviation=None, learn_scale=True)[-1]
    np.testing.assert_array_equal(variables["params"]["scale"], 1.0)
    np.testing.assert_array_equal(variables["params"]["bias"], 0.0)


def test_dense_by_hand():
    """Columns (3, 4) and (0, 2) have lengths 5 and 2; scales 10 and 1 make (6, 8) and (0, 1) of them."""
    params = {"kernel": jnp.array([[3.0, 0.0], [4.0, 2.0]]), "bias": jnp.array([1.0, -1.0])}
    frozen = {"params": params, "weight_norm": {"scale": jnp.array([10.0, 1.0])}}
    learned = {"params": params | {"scale": jnp.array([10.0, 1.0])}}
    x = jnp.array([[1.0, 2.0]])
    np.testing.assert_allclose(WeightNormDense(2).apply(frozen, x), [[23.0, 1.0]], rtol=1e-6)
    np.testing.assert_allclose(WeightNormDense(2, learn_scale=True).apply(learned, x), [[23.0, 1.0]], rtol=1e-6)


def test_convolution_by_hand():
    """The plain convolution with kernels of length 1 for each feature, times the scale, plus the bias."""
    module, x, _, variables = made("conv")
    kernel, scale = variables["params"]["kernel"], variables["weight_norm"]["scale"]
    unit = kernel / np.linalg.norm(np.asarray(kernel).reshape(-1, 5), axis=0).reshape(1, 1, 1, 5)
    y = lax.conv_general_dilated(x, unit, (2, 2), ((1, 1), (1, 1)), dimension_numbers=LAYOUT)
    expected = y * scale.reshape(1, 1, 1, 5) + variables["params"]["bias"].reshape(1, 1, 1, 5)
    np.testing.assert_allclose(jax.jit(module.apply)(variables, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_the_length_of_a_kernel_does_not_matter(name):
    """Neither in the output nor along the gradient: what an average from zero relies on."""
    module, x, _, variables = made(name)

    @jax.jit
    def output(kernel):
        return module.apply({**variables, "params": {**variables["params"], "kernel": kernel}}, x)

    kernel = variables["params"]["kernel"]
    np.testing.assert_allclose(output(1e-3 * kernel), output(kernel), rtol=1e-4, atol=1e-4)
    slope = np.asarray(jax.jit(jax.grad(lambda kernel: jnp.sum(output(kernel) ** 2)))(kernel))
    along = (slope * np.asarray(kernel)).reshape(-1, 5).sum(axis=0)
    assert np.abs(along).max() < 1e-3 * np.abs(slope).max()


@pytest.mark.parametrize("learn", [False, True])
def test_a_frozen_scale_is_no_parameter(learn):
    """Left out of the parameters, it is left alone by an optimiser, also by one that decays all it sees."""
    tx, x = optimizers.build(base.optimizer("sgd", 0.1, b1=0.0, l2=1.0)), jax.random.normal(jax.random.key(0), (16, 4))
    module = WeightNormDense(3, learn_scale=learn)
    net = contract.create(module, tx, jax.random.key(1), x)
    moved, _ = contract.descend(
        net, tx, lambda params: (jnp.sum(module.apply({"params": params, **net.stats}, x) ** 2), (net.stats, ()))
    )
    assert set(net.params) == {"kernel", "bias"} | ({"scale"} if learn else set())
    scales = [n.params["scale"] if learn else n.stats["weight_norm"]["scale"] for n in (net, moved)]
    assert np.array_equal(*scales) != learn


def test_a_unit_that_sees_nothing_starts_with_scale_1():
    """A batch of one, as shapes are asked for, or of equal examples has no deviation."""
    variables = jax.jit(WeightNormDense(3).init)(jax.random.key(0), jnp.ones((1, 4)))
    np.testing.assert_array_equal(variables["weight_norm"]["scale"], 1.0)
    assert np.isfinite(variables["params"]["bias"]).all()


def test_parameters_stay_float32():
    y, variables = made("dense", dtype=jnp.bfloat16)[2:]
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
