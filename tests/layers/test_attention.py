"""Self-attention, written out pixel by pixel, and what it does before it has learned anything."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gan_jax.errors import InputError
from gan_jax.layers.attention import SelfAttention
from gan_jax.layers.spectral import SpectralConv


def images(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def drawn(layer, x, gamma):
    made, rng = jax.eval_shape(lambda: layer.init(jax.random.key(0), x)["params"]), np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0.0, 0.3, leaf.shape), jnp.float32), made)
    return {**params, "gamma": jnp.float32(gamma)}


def test_at_first_images_pass_as_they_are_and_gamma_learns():
    x, layer = images(2, 4, 6, 16), SelfAttention()
    variables = jax.jit(layer.init)(jax.random.key(0), x)
    assert float(variables["params"]["gamma"]) == 0.0

    def total(params):
        made = layer.apply({"params": params}, x)
        return jnp.sum(made * x), made

    gradient, made = jax.jit(jax.grad(total, has_aux=True))(variables["params"])
    np.testing.assert_array_equal(made, x)
    assert abs(float(gradient["gamma"])) > 1e-3
    assert float(jnp.abs(gradient["output"]["kernel"]).max()) == 0.0  # nothing else moves until gamma has


def test_every_pixel_written_out():
    x, layer = images(2, 4, 6, 16), SelfAttention()
    params = drawn(layer, x, gamma=0.7)
    kernel = {name: np.asarray(params[name]["kernel"])[0, 0] for name in ("query", "key", "value", "output")}
    expected = np.array(x)
    for b, image in enumerate(np.asarray(x)):
        squares = [image[i : i + 2, j : j + 2] for i in range(0, 4, 2) for j in range(0, 6, 2)]
        keys, values = (np.stack([(s @ kernel[name]).max(axis=(0, 1)) for s in squares]) for name in ("key", "value"))
        for i in range(4):
            for j in range(6):
                weights = np.exp(keys @ (image[i, j] @ kernel["query"]))
                expected[b, i, j] += 0.7 * (weights / weights.sum() @ values) @ kernel["output"]
    np.testing.assert_allclose(layer.apply({"params": params}, x), expected, atol=1e-4)


def test_where_all_keys_are_equal_the_mean_is_gathered():
    x, layer = images(1, 4, 4, 8), SelfAttention()
    params = drawn(layer, x, gamma=1.0)
    params["query"] = {"kernel": jnp.zeros_like(params["query"]["kernel"])}
    values = np.asarray(x[0] @ params["value"]["kernel"][0, 0])
    pooled = values.reshape(2, 2, 2, 2, 4).max(axis=(1, 3)).mean(axis=(0, 1))
    expected = x + (pooled @ params["output"]["kernel"][0, 0]).reshape(1, 1, 1, -1)
    np.testing.assert_allclose(layer.apply({"params": params}, x), expected, atol=1e-5)


@pytest.mark.parametrize(("channels", "held"), [(256, 81_921), (128, 20_481), (64, 5_121)])
def test_what_it_holds(channels, held):
    made = jax.eval_shape(lambda: SelfAttention(SpectralConv).init(jax.random.key(0), jnp.zeros((1, 4, 4, channels))))
    assert sum(leaf.size for leaf in jax.tree.leaves(made["params"])) == held
    assert set(made["spectral"]) == {"query", "key", "value", "output"}


def test_few_channels_odd_sides_and_bfloat16():
    layer = SelfAttention(SpectralConv, jnp.bfloat16)
    made, variables = jax.eval_shape(
        lambda: layer.init_with_output(jax.random.key(0), jnp.zeros((1, 4, 4, 4), jnp.bfloat16))
    )
    assert made.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    with pytest.raises(InputError, match="3 x 4"):
        SelfAttention(nn.Conv).init(jax.random.key(0), jnp.zeros((1, 3, 4, 8)))
