"""Kernels and MMD against values worked out by hand, and what float32 must not lose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.layers import kernels

X, Y = jnp.array([[0.0], [2.0]]), jnp.array([[1.0], [3.0]])
ALPHAS = (0.2, 0.5, 1.0, 2.0, 5.0)


@pytest.mark.parametrize(
    ("kernel", "x", "y", "biased"),
    [
        (kernels.mix_rbf((1.0,)), X[:1], Y[:1], 0.7869387),  # 2 - 2 exp(-1/2)
        (kernels.mix_rbf((1.0, 2.0, 4.0, 8.0, 16.0)), X[:1], Y[:1], 1.1029450),
        (kernels.mix_rbf((1.0,)), X, Y, 0.2199848),
        (kernels.mix_rq(ALPHAS), X, Y, 1.1334507),
    ],
)
def test_biased(kernel, x, y, biased):
    assert float(kernels.biased(kernel, x, y)) == pytest.approx(biased, abs=2e-6)


@pytest.mark.parametrize(
    ("kernel", "unbiased"), [(kernels.mix_rbf((1.0,)), -0.6446799), (kernels.mix_rq(ALPHAS), -2.0310240)]
)
def test_unbiased(kernel, unbiased):
    assert float(kernels.unbiased(kernel, X, Y)) == pytest.approx(unbiased, abs=3e-6)


def test_the_linear_part_compares_means():
    """With <x, y> alone the biased estimate is the squared distance of the means, wherever the origin is."""
    kernel = kernels.Kernel(lambda d2: jnp.zeros_like(d2), linear=1.0)
    x, y = jax.random.normal(jax.random.key(0), (2, 32, 3))
    wanted = float(jnp.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2))
    assert float(kernels.biased(kernel, x, y)) == pytest.approx(wanted, rel=1e-5)
    assert float(kernels.biased(kernel, x + 5.0, y + 5.0)) == pytest.approx(wanted, rel=1e-4)
    assert float(kernels.unbiased(kernel, x + 5.0, y + 5.0)) == pytest.approx(
        float(kernels.unbiased(kernel, x, y)), abs=1e-5
    )


def test_equal_sets_are_at_no_distance():
    x = jax.random.normal(jax.random.key(0), (16, 4))
    value, gradient = jax.value_and_grad(lambda y: kernels.biased(kernels.mix_rbf((1.0,)), x, y))(x)
    assert float(value) == 0.0
    assert np.isfinite(gradient).all()


def test_the_unbiased_estimate_is_unbiased():
    """Sets of 256 from one N(0, I): -.0012 +- .0013 over 200 draws on average, where the biased one has .033."""
    kernel = kernels.mix_rbf((1.0,))
    draws = jax.random.normal(jax.random.key(0), (200, 2, 256, 2))
    estimates = jax.jit(lambda pair: (kernels.unbiased(kernel, *pair), kernels.biased(kernel, *pair)))
    unbiased, biased = np.array([estimates(pair) for pair in draws]).T
    assert abs(unbiased.mean()) < 4 * unbiased.std() / 200**0.5
    assert biased.mean() > 10 * biased.std() / 200**0.5


def test_small_differences_far_from_the_origin():
    """Features within 1e-3 of each other, around 10: MMD^2 is near 4e-6, and float32 keeps it to a percent. As a
    difference of sums near 1 it would be noise."""
    x, y = 1e-3 * np.random.default_rng(0).standard_normal((2, 64, 4)) + np.array([[[10.0]], [[10.001]]])

    def reference(a, b):
        squares = ((a[:, None] - b[None]) ** 2).sum(-1)
        return np.exp(-squares / 2).mean()

    wanted = reference(x, x) + reference(y, y) - 2 * reference(x, y)
    found = kernels.biased(kernels.mix_rbf((1.0,)), jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    assert float(found) == pytest.approx(wanted, rel=0.01)


def test_order():
    """Means that differ by 1 and -2: only the second is out of order."""
    x, y = jnp.array([[1.0, -2.0]]), jnp.zeros((3, 2))
    assert float(kernels.order(x, y)) == pytest.approx(-1.0)


def test_repulsion():
    """Both pairs are at distance 2; cut to 1 and to 9 their squares give exp(-1/2) and exp(-9/2)."""
    kernel = kernels.mix_rbf((1.0,))
    assert float(kernels.repulsion(kernel, X, Y)) == pytest.approx(0.0, abs=1e-7)
    bounded = kernels.repulsion(kernel, X, Y, near=9.0, far=1.0)
    assert float(bounded) == pytest.approx(np.exp(-0.5) - np.exp(-4.5), abs=1e-6)
    gradient = jax.grad(lambda x: kernels.repulsion(kernel, x, Y, far=1.0))(X)
    np.testing.assert_array_equal(gradient, 0.0)  # far enough apart


def test_the_witness_is_the_difference_of_mean_kernels():
    kernel, t = kernels.mix_rbf((1.0,)), jnp.array([[0.0], [3.0]])
    wanted = [
        np.mean(np.exp(-((t_ - np.array([0.0, 2.0])) ** 2) / 2))
        - np.mean(np.exp(-((t_ - np.array([1.0, 3.0])) ** 2) / 2))
        for t_ in (0.0, 3.0)
    ]
    np.testing.assert_allclose(kernels.witness(kernel, t, X, Y), wanted, atol=1e-6)
