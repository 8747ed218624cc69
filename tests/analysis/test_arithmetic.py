"""Arithmetic with mean latents on a linear generator, where what it should give is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.analysis import arithmetic
from gan_jax.errors import InputError
from tests.analysis.linear import Linear, circle, images, red

SAMPLER = Linear()


def blue_circles(size: int, trials: int = 60) -> float:
    """How often (red circle) - (red) + (blue), means of `size` samples each, is a blue circle."""
    z = np.asarray(SAMPLER.latents(2000))
    drawn = images(z)
    pools = [np.flatnonzero(mask) for mask in (red(drawn) & circle(drawn), red(drawn), ~red(drawn))]
    rng = np.random.default_rng(0)
    results = []
    for _ in range(trials):
        terms = [jnp.asarray(z[rng.choice(pool, size, replace=False)]) for pool in pools]
        results.append(arithmetic.arithmetic(SAMPLER, *map(arithmetic.mean, terms), variants=0).result)
    results = np.stack(results)
    return float((~red(results) & circle(results)).mean())


def test_red_circle_less_red_plus_blue_is_a_blue_circle():
    assert blue_circles(10) >= 0.8
    assert blue_circles(1) < 0.8  # single samples mean too many things


def test_concepts_by_attribute():
    terms = [lambda x: red(x) & circle(x), red, lambda x: ~red(x)]
    made = arithmetic.arithmetic(SAMPLER, *(arithmetic.concept(SAMPLER, term, 400) for term in terms))
    assert not red(made.result[None])[0]
    assert circle(made.result[None])[0]
    assert made.means.shape == (3, 8, 8, 3)
    assert made.variants.shape == (8, 8, 8, 3)


def test_the_result_is_the_sum_and_variants_are_within_the_noise_of_it():
    z = SAMPLER.latents(9)
    terms = [arithmetic.mean({"z": z[i : i + 3]}) for i in (0, 3, 6)]
    made = arithmetic.arithmetic(SAMPLER, *terms, noise=0.1, variants=5)
    expected = z[:3].mean(0) - z[3:6].mean(0) + z[6:].mean(0)
    np.testing.assert_allclose(made.latent["z"], expected, atol=1e-6)
    np.testing.assert_allclose(made.result, images(expected[None])[0], atol=1e-6)
    np.testing.assert_allclose(made.means[1], images(z[3:6].mean(0)[None])[0], atol=1e-6)
    away = np.abs(made.variants - made.result).max(axis=(1, 2, 3))
    assert (away > 0).all()
    assert (away < 0.1 * np.abs(images(np.ones((1, 6)))).max() + 0.05).all()


def test_numbers_are_those_of_samples():
    np.testing.assert_array_equal(arithmetic.numbered(SAMPLER, [7, 2], seed=3), SAMPLER.latents(8, 3)[np.array([7, 2])])
    with pytest.raises(InputError, match="begin with 0"):
        arithmetic.numbered(SAMPLER, [3, -1])


def test_the_direction_of_an_attribute_is_that_of_the_factor():
    found = arithmetic.attribute_direction(SAMPLER, red, 1000)
    assert found.positive + found.negative == 1000
    vector = np.asarray(found.vector)
    assert vector[0] / np.linalg.norm(vector) > 0.97
    assert vector[0] == pytest.approx(2 * (2 / np.pi) ** 0.5, abs=0.15)  # twice the mean of |normal|
    z = SAMPLER.latents(200, seed=1)
    assert red(images(z + 2 * found.vector[None])).mean() > 0.95
    assert abs(circle(images(z + 2 * found.vector[None])).mean() - circle(images(z)).mean()) < 0.15


def test_labels_come_in_turn_over_the_blocks(monkeypatch):
    monkeypatch.setattr(arithmetic, "BLOCK", 4)
    sampler = Linear(classes=3)
    arithmetic.concept(sampler, lambda x: x.mean(axis=(1, 2, 3)) > -9, 10)
    assert np.concatenate(sampler.calls).tolist() == [i % 3 for i in range(10)]


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        (lambda x: np.arange(len(x)) < 2, "2 of 100 samples have it, 98 do not; each mean needs at least 3"),
        (lambda x: np.arange(len(x)) > 0, "99 of 100 samples have it, 1 do not"),
        (lambda x: x.mean(axis=(1, 2, 3)), r"must give bool \[100\], gave float32 \[100\]"),
        (lambda x: x > 0, r"must give bool \[100\], gave bool \[100, 8, 8, 3\]"),
    ],
)
def test_attributes_that_say_nothing(attribute, message):
    with pytest.raises(InputError, match=message):
        arithmetic.attribute_direction(SAMPLER, attribute, 100)


def test_a_concept_that_nothing_has():
    with pytest.raises(InputError, match="0 of 100 samples have it; a mean needs at least 3"):
        arithmetic.concept(SAMPLER, lambda x: np.zeros(len(x), bool), 100)


def test_the_figure():
    z = SAMPLER.latents(9)
    groups = [z[:2], z[2:4], z[4:9]]
    made = arithmetic.arithmetic(SAMPLER, *map(arithmetic.mean, groups))
    picture = arithmetic.picture([np.clip(images(group), -1, 1) for group in groups], made)
    assert picture.dtype == np.uint8
    assert picture.shape[0] >= 6 * 66  # five examples, and their mean below
    assert picture.shape[1] >= 6 * 66  # three columns, and three of the result
    tree = jax.tree.structure(made.latent)
    assert tree == jax.tree.structure(z)
