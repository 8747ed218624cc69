"""Mode coverage against values that are known (sheet of the first GAN)."""

import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.metrics.modes import coverage, matched_accuracy, stacked_modes

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


def test_codes_that_are_the_labels_under_other_names():
    labels = np.random.default_rng(0).integers(10, size=1000)
    names = np.random.default_rng(1).permutation(10)
    result = matched_accuracy(names[labels], labels, 10)
    assert result.accuracy == 1.0
    np.testing.assert_array_equal(result.label[names], np.arange(10))


def test_two_classes_that_share_a_code():
    labels = np.repeat(np.arange(10), 100)
    codes = np.where(labels == 9, 0, labels)
    assert matched_accuracy(codes, labels, 10).accuracy == pytest.approx(0.9)


def test_each_label_has_one_code():
    """Greedily code 0 would take label 0 (4 of its 7), and code 1 is left with label 1, of which it has none."""
    codes, labels = np.array([0] * 7 + [1] * 4), np.array([0] * 4 + [1] * 3 + [0] * 4)
    result = matched_accuracy(codes, labels, 2)
    assert result.accuracy == pytest.approx(7 / 11)
    np.testing.assert_array_equal(result.label, [1, 0])


def test_codes_of_chance():
    rng = np.random.default_rng(0)
    result = matched_accuracy(rng.integers(10, size=10_000), rng.integers(10, size=10_000), 10)
    assert result.accuracy == pytest.approx(0.1, abs=0.015)


@pytest.mark.parametrize("codes", [np.zeros(0, int), np.full(4, 10), np.full(4, -1)])
def test_codes_that_are_none(codes):
    with pytest.raises(InputError, match="from 0 to 9"):
        matched_accuracy(codes, np.zeros_like(codes), 10)
