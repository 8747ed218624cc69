"""Latents: their distributions, and the paths between them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import latents


@pytest.mark.parametrize(
    ("name", "variance", "bound"),
    [("normal", 1.0, np.inf), ("uniform", 1 / 3, 1.0), ("uniform_unit_variance", 1.0, 3**0.5), ("sphere", 1.0, 8.0)],
)
def test_moments(name, variance, bound):
    z = latents.BY_NAME[name](jax.random.key(0), 4096, 64)
    assert z.shape == (4096, 64)
    assert z.dtype == jnp.float32
    assert abs(float(z.mean())) < 0.01  # 262,144 draws: five standard errors
    assert float(z.var()) == pytest.approx(variance, rel=0.02)
    assert float(jnp.abs(z).max()) <= bound + 1e-6


def test_sphere_has_one_radius():
    z = latents.sphere(jax.random.key(0), 16, 100)
    np.testing.assert_allclose(jnp.linalg.norm(z, axis=-1), 10.0, rtol=1e-5)


def test_truncation_draws_again_what_is_beyond():
    z = latents.normal(jax.random.key(0), 1000, 16)
    cut = latents.truncate(z, jax.random.key(1), 0.5)
    assert float(jnp.abs(cut).max()) <= 0.5
    kept = jnp.abs(z) <= 0.5
    np.testing.assert_array_equal(cut[kept], z[kept])
    assert float(jnp.abs(cut[~kept]).max()) > 0.4  # spread over the interval, not clipped to its ends
    assert float(jnp.abs(cut[~kept]).mean()) < 0.4


def test_slerp_values():
    a, b = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])
    np.testing.assert_allclose(latents.slerp(a, b, 0.5), [0.5**0.5, 0.5**0.5], atol=1e-6)
    np.testing.assert_allclose(latents.lerp(a, b, 0.5), [0.5, 0.5])
    np.testing.assert_allclose(latents.slerp(a, b, 0.0), a, atol=1e-6)
    np.testing.assert_allclose(latents.slerp(a, b, 1.0), b, atol=1e-6)
    np.testing.assert_allclose(latents.slerp(a, a, 0.3), a, atol=1e-6)


def test_latents_are_born_sharded():
    from gan_jax import parallel

    mesh = parallel.make_mesh({"data": -1, "fsdp": 1})
    with jax.set_mesh(mesh):
        z = jax.jit(latents.normal, static_argnums=(1, 2))(jax.random.key(0), 64, 8)
    assert z.sharding.shard_shape(z.shape) == (8, 8)
    np.testing.assert_array_equal(np.asarray(z), np.asarray(jax.random.normal(jax.random.key(0), (64, 8))))


def test_one_hot_values_are_equally_probable():
    c = latents.one_hot(jax.random.key(0), 10_000, 10)
    assert c.shape == (10_000, 10)
    assert c.dtype == jnp.float32
    np.testing.assert_array_equal(c.sum(axis=1), 1.0)
    np.testing.assert_allclose(c.mean(axis=0), 0.1, atol=0.015)  # five standard errors


def test_codes_are_arrays_of_their_own():
    codes = latents.codes(jax.random.key(0), 2000, (10, 3), 2)
    assert [c.shape for c in codes["categorical"]] == [(2000, 10), (2000, 3)]
    assert [c.shape for c in codes["continuous"]] == [(2000, 1), (2000, 1)]
    first, second = codes["continuous"]
    assert float(jnp.abs(first).max()) <= 1.0
    assert float(first.var()) == pytest.approx(1 / 3, rel=0.1)
    assert abs(float(np.corrcoef(first[:, 0], second[:, 0])[0, 1])) < 0.12  # drawn from keys of their own


def test_codes_of_one_kind():
    assert latents.codes(jax.random.key(0), 4, (), 5)["categorical"] == ()
    assert latents.codes(jax.random.key(0), 4, (2,), 0)["continuous"] == ()
