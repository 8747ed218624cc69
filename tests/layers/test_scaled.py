"""Equalised layers: scales to the last digit, and fused forms that are the plain ones."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.layers import scaled
from gan_jax.layers.scaled import ScaledConv, ScaledDense


def images(*shape, key=0):
    return jax.random.normal(jax.random.key(key), shape)


def ones(module, x):
    """The output for parameters of 1 and biases of 0: the fan-in times the factor of the weights."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), x))
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
    params["params"]["bias"] = jnp.zeros_like(params["params"]["bias"])
    return module.apply(params, x)


@pytest.mark.parametrize(
    ("module", "shape", "factor"),
    [
        (ScaledConv(4), (1, 4, 4, 512), 0.0208333),
        (ScaledConv(4), (1, 4, 4, 513), 0.0208130),  # behind the minibatch standard deviation
        (ScaledDense(4, gain=2**0.5 / 4), (1, 512), 0.015625),  # the generator's first layer
        (ScaledDense(3, gain=1.0), (1, 2, 2, 16), 0.25),  # to RGB at 1024 pixels
        (ScaledDense(4), (1, 2, 2, 3), 0.8164966),  # from RGB
        (ScaledDense(4), (1, 8192), 0.015625),
        (ScaledDense(1, gain=1.0), (1, 512), 0.0441942),
        (ScaledDense(4, rate=0.01), (1, 512), 6.25e-4),  # StyleGAN's mapping
    ],
)
def test_the_factor_of_the_weights(module, shape, factor):
    fan_in = shape[-1] * (9 if isinstance(module, ScaledConv) else 1)
    made = np.asarray(ones(module, jnp.ones(shape)))
    inside = made[0, 1, 1, 0] if made.ndim == 4 else made[0, 0]
    assert float(inside) == pytest.approx(fan_in * factor, rel=1e-5)


@pytest.mark.parametrize("rate", [1.0, 0.01])
def test_the_rate_changes_the_steps_and_not_the_start(rate):
    """Stored weights have deviation 1 / rate, used ones gain / sqrt(fan_in); a gradient is `rate` times as large."""
    module, x = ScaledDense(256, rate=rate), images(4, 128)
    params = module.init(jax.random.key(1), x)["params"]
    assert float(params["kernel"].std()) * rate == pytest.approx(1.0, abs=0.02)  # four standard errors of 32,768
    plain = x @ (params["kernel"] * rate * math.sqrt(2 / 128))
    np.testing.assert_allclose(module.apply({"params": params}, x), plain, atol=1e-4)
    grads = jax.grad(lambda params: module.apply({"params": params}, x).sum())(params)
    np.testing.assert_allclose(grads["bias"], np.full(256, 4.0 * rate), rtol=1e-6)
    expected = x.sum(axis=0)[:, None] * rate * math.sqrt(2 / 128)
    np.testing.assert_allclose(grads["kernel"], np.broadcast_to(expected, (128, 256)), rtol=1e-4, atol=1e-7)


def test_a_kernel_of_ones_is_spread():
    made = scaled.spread(jnp.ones((3, 3, 1, 1))).reshape(4, 4)
    np.testing.assert_array_equal(made, [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]])


@pytest.mark.parametrize(("fused", "plain"), [(scaled.fused_up, scaled.up), (scaled.fused_down, scaled.down)])
def test_fused_forms_are_the_plain_ones(fused, plain):
    """In value, borders included, and in what a gradient penalty takes of them."""
    x, kernel = images(2, 6, 10, 3), images(3, 3, 3, 5, key=1)

    @jax.jit
    def everything(x, kernel):
        def slope(form, x, kernel):
            return jnp.sum(jax.grad(lambda x: jnp.sum(jnp.tanh(form(x, kernel))))(x) ** 2)

        forms = (fused, plain)
        return [(form(x, kernel), *jax.grad(slope, argnums=(1, 2))(form, x, kernel)) for form in forms]

    for a, b in zip(*everything(x, kernel), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6 * float(jnp.abs(b).max()))


@pytest.mark.parametrize("form", [scaled.plain, scaled.up, scaled.down, scaled.fused_up, scaled.fused_down])
def test_the_variance_of_the_input_is_kept(form):
    """A gain of 1 makes inner pixels of variance 1, where pixels are neither repeated nor averaged."""
    module, x = ScaledConv(64, form, gain=1.0), images(8, 16, 16, 64)
    made, variables = jax.jit(module.init_with_output)(jax.random.key(1), x)
    assert jax.tree.map(jnp.shape, variables["params"]) == {"kernel": (3, 3, 64, 64), "bias": (64,)}
    assert made.shape == {"up": (8, 32, 32, 64), "down": (8, 8, 8, 64)}.get(form.__name__.split("_")[-1], x.shape)
    inner = float(made[:, 2:-2, 2:-2].std())
    least, most = {"plain": (0.95, 1.05)}.get(form.__name__, (0.3, 1.7))
    assert least < inner < most


def test_dtype():
    x = images(1, 4, 4, 3).astype(jnp.bfloat16)
    for module in (ScaledConv(2, dtype=jnp.bfloat16), ScaledDense(2, dtype=jnp.bfloat16)):
        made, variables = module.init_with_output(jax.random.key(0), x)
        assert made.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
