"""Sweeps of truncation on a linear generator, whose distances are in proportion to those of latents."""

import math

import numpy as np
import pytest

from gan_jax.analysis import truncation
from gan_jax.errors import InputError
from tests.analysis.linear import Linear, images


def test_mean_distance_is_that_over_all_pairs():
    x = np.random.default_rng(0).standard_normal((7, 3, 4, 2)).astype(np.float32)
    pairs = [np.sqrt(np.mean((a - b) ** 2)) for i, a in enumerate(x) for b in x[:i]]
    assert truncation.mean_distance(x) == pytest.approx(np.mean(pairs), rel=1e-5)
    assert truncation.mean_distance(np.repeat(x[:1], 5, axis=0)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(InputError, match="at least 2 samples, got 1"):
        truncation.mean_distance(x[:1])


def test_tighter_bounds_leave_less_variety():
    made = truncation.sweep(Linear(), number=3, measured=50)
    assert made.samples.shape == (5, 3, 8, 8, 3)
    assert list(made.distances) == sorted(made.distances)
    assert made.distances[0] < 0.4 * made.distances[-1]
    np.testing.assert_array_equal(made.samples[-1], images(Linear().latents(3)))
    np.testing.assert_array_equal(made.samples[1], images(Linear().latents(3, truncation=0.5)))


def test_psi_goes_to_the_mean_and_beyond():
    made = truncation.sweep(Linear(), (-1.0, 0.0, 0.5, 1.0), "psi", number=4, measured=20)
    np.testing.assert_allclose(made.samples[0], -made.samples[3], atol=1e-6)
    np.testing.assert_allclose(made.samples[1], 0, atol=1e-6)
    whole = made.distances[3]
    np.testing.assert_allclose(made.distances, [whole, 0, whole / 2, whole], rtol=1e-4, atol=1e-6)


def test_a_class_of_its_own_is_less_various_than_all():
    sampler = Linear(classes=2)
    apart = truncation.sweep(sampler, (math.inf,), measured=40).distances[0]
    alone = truncation.sweep(sampler, (math.inf,), measured=40, labels=[1]).distances[0]
    assert alone < apart
    assert set(sampler.calls[-1]) == {1}


def test_latents_that_are_not_normal_are_refused():
    for kind in ("bound", "psi"):
        with pytest.raises(InputError, match="for normal latents"):
            truncation.sweep(Linear(latent="uniform"), (1.0,), kind)


@pytest.mark.parametrize(("number", "shape"), [(3, (8, 8, 3)), (200, (2,))])
def test_a_row_for_every_value(number, shape):
    samples = np.random.default_rng(0).uniform(-1, 1, (2, number, *shape)).astype(np.float32)
    picture = truncation.picture(truncation.Sweep("bound", (0.5, math.inf), samples, (0.1, 0.2)))
    side = 66 + 2 if len(shape) == 3 else 512
    assert picture.shape[0] == 2 * side
    row = 3 * 66 + 2 if len(shape) == 3 else 512
    assert picture.shape[1] > row + 40
    assert (picture[:side, :-row] < 100).any()  # words on the left
