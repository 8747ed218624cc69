"""Mutual information against values that are known (sheet of InfoGAN)."""

import math

import jax
import jax.numpy as jnp
import pytest

from gan_jax.reconstruction import log_normal, mutual_information_categorical, mutual_information_gaussian


def test_a_q_that_knows_nothing_has_no_information():
    codes = jax.nn.one_hot(jnp.arange(64) % 10, 10)
    assert float(mutual_information_categorical(codes, jnp.zeros((64, 10)))) == pytest.approx(0.0, abs=1e-6)
    assert float(mutual_information_categorical(codes, jnp.full((64, 10), 3.0))) == pytest.approx(0.0, abs=1e-6)


def test_a_q_that_is_sure_has_all_of_it():
    codes = jax.nn.one_hot(jnp.arange(64) % 10, 10)
    assert float(mutual_information_categorical(codes, 100.0 * codes)) == pytest.approx(2.302585, abs=1e-5)


def test_a_q_that_is_sure_and_wrong_has_less_than_nothing():
    codes = jax.nn.one_hot(jnp.arange(64) % 2, 2)
    assert float(mutual_information_categorical(codes, -5.0 * codes)) < -4.0


def test_log_density_of_the_normal():
    zero = jnp.zeros(())
    assert float(log_normal(zero, zero, zero)) == pytest.approx(-0.9189385)
    assert float(log_normal(zero + 1.0, zero, zero)) == pytest.approx(-1.4189385)
    assert float(log_normal(zero + 2.0, zero, zero + math.log(2.0))) == pytest.approx(-1.4189385 - math.log(2.0))


def test_the_most_that_two_codes_can_have():
    """Half of E c^2 each, 1/3 for two that are uniform on [-1, 1]: here on a fine grid."""
    codes = jnp.stack([jnp.linspace(-1.0, 1.0, 2001)] * 2, axis=1)
    zero = jnp.zeros_like(codes)
    assert float(mutual_information_gaussian(codes, codes, zero)) == pytest.approx(1 / 3, abs=1e-3)
    assert float(mutual_information_gaussian(codes, zero, zero)) == pytest.approx(0.0, abs=1e-6)


def test_a_learned_deviation_has_its_best_where_the_errors_are():
    """Of errors of deviation s, the best Q has the deviation s; both sides of it have less."""
    codes = jax.random.uniform(jax.random.key(0), (4096, 1), minval=-1.0)
    errors = 0.3 * jax.random.normal(jax.random.key(1), (4096, 1))
    values = [
        float(mutual_information_gaussian(codes, codes + errors, jnp.full((4096, 1), math.log(s))))
        for s in (0.2, 0.3, 0.45)
    ]
    assert values[1] > max(values[0], values[2])
