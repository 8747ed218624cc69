"""Parzen-window log-likelihood against its closed form, its definition and scikit-learn."""

import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.metrics.parzen import bandwidth, log_likelihood


def test_one_gaussian_in_784_dimensions():
    sample = np.random.default_rng(0).uniform(size=(1, 784)).astype(np.float32)
    assert log_likelihood(sample, sample, 0.2) == (pytest.approx(541.3515, abs=1e-4), 0)
    moved = sample.astype(np.float64)
    moved[0, 5] += 1
    assert log_likelihood(sample, moved, 0.2) == (pytest.approx(528.8515, abs=1e-4), 0)


def test_definition(monkeypatch):
    monkeypatch.setattr("gan_jax.metrics.parzen.ROWS", 7)  # the last block is not full
    rng = np.random.default_rng(1)
    samples, test, sigma = rng.standard_normal((20, 3)), rng.standard_normal((17, 3)), 0.7
    squares = np.square(test[:, None] - samples[None]).sum(axis=-1)
    densities = np.log(np.exp(-squares / (2 * sigma**2)).mean(axis=1) / (2 * np.pi * sigma**2) ** 1.5)
    expected = (densities.mean(), densities.std() / np.sqrt(17))
    assert log_likelihood(samples, test, sigma) == pytest.approx(expected, rel=1e-12)


def test_far_points_have_a_finite_likelihood():
    """exp(-5e5) is 0 in float64: the sum must be taken of logarithms."""
    mean, _ = log_likelihood(np.zeros((2, 1)), np.full((1, 1), 1000.0), 1.0)
    assert mean == pytest.approx(-5e5 - 0.5 * np.log(2 * np.pi), rel=1e-12)


def test_bandwidth_of_one_sample_is_the_distance_per_dimension():
    """-r^2 / (2 s^2) - d log s is largest at s = r / sqrt d."""
    validation = np.full((3, 16), 0.25)
    assert bandwidth(np.zeros((1, 16)), validation, np.array([0.1, 0.2, 0.25, 0.3, 0.5])) == 0.25
    assert bandwidth(np.zeros((1, 16)), 2 * validation) == pytest.approx(0.4641589)  # of the paper's ten, for .5


def test_mistakes():
    ones = np.ones((2, 3))
    for sigma in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="must be positive"):
            log_likelihood(ones, ones, sigma)
    with pytest.raises(InputError, match="must be positive"):
        bandwidth(ones, ones, np.array([]))
    with pytest.raises(InputError, match="3 and of 2 dimensions"):
        log_likelihood(ones, ones[:, :2], 1.0)
    with pytest.raises(InputError, match="test points: 0 examples"):
        log_likelihood(ones, ones[:0], 1.0)


def test_against_scikit_learn():
    peer = pytest.importorskip("sklearn.neighbors")
    rng = np.random.default_rng(2)
    samples, test = rng.uniform(size=(50, 20)), rng.uniform(size=(300, 20))
    densities = peer.KernelDensity(bandwidth=0.3).fit(samples).score_samples(test)
    assert log_likelihood(samples, test, 0.3)[0] == pytest.approx(densities.mean(), rel=1e-6)
