"""Mode coverage against values that are known (sheet of the first GAN)."""

import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.metrics.modes import coverage, stacked_modes

ANGLES = 2 * np.pi * np.arange(8) / 8
CENTRES = 1.4144 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def test_everything_on_one_mode():
    result = coverage(np.repeat(CENTRES[:1], 2500, axis=0), CENTRES, 0.05)
    assert result[:3] == (1, 1, 1.0)
    assert result.kl == pytest.approx(np.log(8))  # 2.0794


def test_equal_shares():
    result = coverage(np.repeat(CENTRES, 100, axis=0), CENTRES, 0.05)
    assert result == (8, 8, 1.0, pytest.approx(0.0, abs=1e-12))


def test_real_samples_reach_the_ceiling():
    rng = np.random.default_rng(0)
    points = CENTRES[rng.integers(8, size=100_000)] + 0.05 * rng.standard_normal((100_000, 2))
    assert coverage(points, CENTRES, 0.05).high_quality == pytest.approx(0.9889, abs=0.001)


def test_one_stray_sample_is_coverage_only_in_the_weak_sense():
    points = np.concatenate([np.repeat(CENTRES[:1], 100, axis=0), CENTRES[1:]])
    assert coverage(points, CENTRES, 0.05)[:2] == (8, 1)


def test_nothing_near_any_mode():
    assert coverage(np.full((10, 2), 9.0), CENTRES, 0.05) == (0, 0, 0.0, float("inf"))


def test_every_stacked_digit_once():
    digits = np.stack(np.unravel_index(np.arange(1000), (10, 10, 10)), axis=1)
    assert stacked_modes(digits) == (1000, pytest.approx(0.0, abs=1e-12))


def test_stacked_digits_of_a_collapsed_generator():
    digits = np.array([[1, 2, 3], [1, 2, 3], [3, 2, 1], [3, 2, 1]])
    assert stacked_modes(digits) == (2, pytest.approx(np.log(500)))
    assert stacked_modes(digits[:1]) == (1, pytest.approx(np.log(1000)))


def test_stacked_digits_of_equal_shares():
    digits = np.random.default_rng(0).integers(10, size=(26_000, 3))
    result = stacked_modes(digits)
    assert result.found == 1000
    assert result.kl == pytest.approx(999 / 52_000, rel=0.15)  # what chance makes of so many


@pytest.mark.parametrize("digits", [np.zeros((0, 3), int), np.full((4, 3), 10)])
def test_stacked_digits_that_are_none(digits):
    with pytest.raises(InputError, match="digits 0 to 9"):
        stacked_modes(digits)
