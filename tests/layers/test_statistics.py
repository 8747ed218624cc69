"""Minibatch features against hand-computed values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.layers.conditional import concat_label
from gan_jax.layers.maxout import Maxout, uniform
from gan_jax.layers.statistics import MinibatchDiscrimination, minibatch_stddev


def test_stddev_of_constant_maps():
    """Maps of 0 to 7: groups {0, 2, 4, 6} and {1, 3, 5, 7} have a variance of 5; neighbours {0..3} one of 5/4."""
    x = jnp.broadcast_to(jnp.arange(8.0).reshape(8, 1, 1, 1), (8, 4, 4, 2))
    strided, neighbours = minibatch_stddev(x), minibatch_stddev(x, neighbours=True)
    assert strided.shape == (8, 4, 4, 3)
    np.testing.assert_array_equal(strided[..., :2], x)
    np.testing.assert_allclose(strided[..., 2], 5**0.5, rtol=1e-6)
    np.testing.assert_allclose(neighbours[..., 2], 1.25**0.5, rtol=1e-6)


def test_stddev_goes_to_its_own_group():
    x = (
        jnp.zeros((8, 1, 1, 1)).at[jnp.array([1, 3])].set(1.0)
    )  # both in the second strided group, and the first quarter
    np.testing.assert_allclose(minibatch_stddev(x)[:, 0, 0, 1], jnp.tile(jnp.array([1e-4, 0.5]), 4), atol=1e-6)
    expected = jnp.repeat(jnp.array([0.5, 1e-4]), 4)
    np.testing.assert_allclose(minibatch_stddev(x, neighbours=True)[:, 0, 0, 1], expected, atol=1e-6)


def test_stddev_of_equal_examples_is_small_and_has_a_gradient():
    x = jnp.ones((4, 2, 2, 1))
    np.testing.assert_allclose(minibatch_stddev(x)[..., -1], 1e-4, rtol=1e-5)
    assert np.isfinite(jax.grad(lambda x: minibatch_stddev(x).sum())(x)).all()


def discrimination(x, params, **settings):
    """What the layer appends to x, with some of its parameters given and the others at no scale and no bias."""
    layer = MinibatchDiscrimination(**settings)
    drawn = layer.init(jax.random.key(0), x)["params"]
    neutral = {"log_scale": jnp.zeros_like(drawn["log_scale"]), "bias": jnp.zeros_like(drawn["bias"])}
    made = layer.apply({"params": {**drawn, **neutral, **params}}, x)
    np.testing.assert_array_equal(made[:, : x.shape[1]], x)
    return made[:, x.shape[1] :]


def test_minibatch_discrimination_by_hand():
    """Columns of length 1 make of x the maps x and -x, whose scales are 1 and 2: distances are 3 |x_i - x_j|."""
    x = jnp.array([[0.0], [1.0], [3.0]])
    params = {"tensor": jnp.array([[[5.0, -0.1]]]), "log_scale": jnp.log(jnp.array([[1.0, 2.0]]))}
    params["bias"] = jnp.array([-1.0])
    e = np.exp
    expected = np.array([e(-3) + e(-9), e(-3) + e(-6), e(-9) + e(-6)]) - 1
    np.testing.assert_allclose(discrimination(x, params, kernels=1, dims=2)[:, 0], expected, rtol=1e-5)


def test_minibatch_discrimination_of_two_equal_examples_and_another():
    """The example itself is left out: at L1 distance d, o = [1 + e^-d, 1 + e^-d, 2 e^-d]."""
    x, far = jnp.array([[1.0, 2.0], [1.0, 2.0], [1.5, 2.0]]), np.exp(-0.5)
    made = discrimination(x, {"tensor": jnp.array([[[7.0]], [[0.0]]])}, kernels=1, dims=1)
    np.testing.assert_allclose(made[:, 0], [1 + far, 1 + far, 2 * far], rtol=1e-6)


def test_minibatch_discrimination_starts_from_a_look_at_the_batch():
    """Half the mean distance to the nearest other is 1, and what is appended has mean 0."""
    layer, x = MinibatchDiscrimination(kernels=3, dims=2), 5.0 * jax.random.normal(jax.random.key(1), (16, 7))
    made, variables = layer.init_with_output(jax.random.key(0), x)
    assert made.shape == (16, 10)
    np.testing.assert_allclose(made[:, 7:].mean(axis=0), 0.0, atol=1e-5)
    params = variables["params"]
    assert {name: leaf.shape for name, leaf in params.items()} == {
        "tensor": (7, 3, 2),
        "log_scale": (3, 2),
        "bias": (3,),
    }
    columns = params["tensor"] / np.linalg.norm(params["tensor"], axis=0, keepdims=True)
    maps = np.einsum("bf,fkd->bkd", x, columns) * np.exp(params["log_scale"])[None]
    distances = np.abs(maps[:, None] - maps[None]).sum(-1) + np.where(np.eye(16), np.inf, 0.0)[..., None]
    np.testing.assert_allclose(distances.min(axis=1).mean(axis=0) / 2, 1.0, rtol=1e-4)


def test_minibatch_discrimination_of_equal_examples_is_finite():
    x = jnp.ones((4, 7))
    layer = MinibatchDiscrimination()
    variables = layer.init(jax.random.key(0), x)
    assert layer.apply(variables, x).shape == (4, 107)
    np.testing.assert_allclose(variables["params"]["bias"], -3.0)  # three equal others
    slopes = jax.grad(lambda params: layer.apply({"params": params}, x).sum())(variables["params"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_maxout():
    layer = Maxout(2, 3)
    kernel = jnp.array([[1.0, -1.0, 2.0, 0.5, 0.0, -3.0]])
    params = {"Dense_0": {"kernel": kernel, "bias": jnp.zeros(6)}}
    np.testing.assert_allclose(layer.apply({"params": params}, jnp.array([[1.0], [-1.0]])), [[2.0, 0.5], [1.0, 3.0]])
    drawn = uniform(0.05)(jax.random.key(0), (10_000,))
    assert float(drawn.min()) == pytest.approx(-0.05, abs=1e-4)
    assert float(drawn.max()) == pytest.approx(0.05, abs=1e-4)


def test_labels_are_appended():
    x, label = jnp.zeros((2, 3, 3, 1)), jnp.eye(2)
    made = concat_label(x, label)
    assert made.shape == (2, 3, 3, 3)
    np.testing.assert_array_equal(made[1, 2, 0], [0.0, 0.0, 1.0])
    np.testing.assert_array_equal(concat_label(jnp.ones((2, 1)), label), [[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    assert concat_label(x) is x


def test_groups_that_do_not_divide_the_batch():
    with pytest.raises(InputError, match="6 examples do not divide into groups of 4"):
        minibatch_stddev(jnp.zeros((6, 2, 2, 3)))


def test_stddev_of_a_whole_batch():
    """Maps of 0 to 7 have a variance of 21/4."""
    x = jnp.broadcast_to(jnp.arange(8.0).reshape(8, 1, 1, 1), (8, 4, 4, 2))
    for made in (minibatch_stddev(x, group=0), minibatch_stddev(x, group=100)):
        np.testing.assert_allclose(made[..., 2], 5.25**0.5, rtol=1e-6)
