"""Fréchet distance against its closed form, NumPy's covariance and torch-fidelity."""

from functools import reduce

import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.metrics.frechet import Moments, combine, distance, moments


@pytest.mark.parametrize(("d", "scale"), [(1, 3.0), (5, 0.5), (64, 1.2)])
def test_gaussians_whose_distance_is_known(d, scale):
    mean = np.linspace(-1, 1, d)
    a = Moments(1000, np.zeros(d), np.eye(d))
    b = Moments(1000, mean, scale**2 * np.eye(d))
    expected = mean @ mean + d * (1 - scale) ** 2
    assert distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_covariances_that_do_not_commute():
    """The closed form of two dimensions: tr (S1 S2)^(1/2) = sqrt(tr S1 S2 + 2 sqrt(det S1 S2))."""
    s1, s2 = np.array([[2.0, 0.6], [0.6, 0.5]]), np.array([[1.0, -0.8], [-0.8, 1.5]])
    product = s1 @ s2
    trace = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    a, b = Moments(9, np.zeros(2), s1), Moments(9, np.array([3.0, -4.0]), s2)
    assert distance(a, b) == pytest.approx(25 + np.trace(s1) + np.trace(s2) - 2 * trace, rel=1e-12)


@pytest.mark.parametrize("d", [256, pytest.param(2048, marks=pytest.mark.slow)])
def test_identical_statistics(d):
    features = np.random.default_rng(0).standard_normal((d // 2, d)).astype(np.float32)  # singular on purpose
    stats = moments(features * np.linspace(0.01, 10, d, dtype=np.float32)[None])
    assert 0 <= distance(stats, stats) < 1e-3


def test_moments_are_those_of_numpy_however_they_are_cut(monkeypatch):
    features = 100 + np.random.default_rng(1).standard_normal((1000, 7)).astype(np.float32)
    whole = moments(features)
    parts = reduce(combine, [moments(part) for part in np.split(features, [1, 2, 400, 401])])
    monkeypatch.setattr("gan_jax.metrics.frechet.ROWS", 64)
    for stats in (whole, parts, moments(features)):
        assert stats.count == 1000
        np.testing.assert_allclose(stats.mean, features.astype(np.float64).mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(stats.covariance, np.cov(features.astype(np.float64), rowvar=False), atol=1e-12)


def test_two_points():
    """Means 1 and 5, variances 2 and 8 with N - 1: 16 + (sqrt 2 - sqrt 8)^2."""
    a, b = moments(np.array([[0.0], [2.0]])), moments(np.array([[3.0], [7.0]]))
    assert distance(a, b) == pytest.approx(16 + 2, rel=1e-12)


def test_sets_that_do_not_vary():
    a, b = moments(np.zeros((5, 3))), moments(np.ones((4, 3)))
    assert distance(a, b) == 3
    assert distance(a, Moments(9, np.zeros(3), np.eye(3))) == 3


def test_mistakes():
    two, wide = moments(np.eye(2)), moments(np.eye(3))
    with pytest.raises(InputError, match="second set has 1 examples, but 2 are needed"):
        distance(two, moments(np.ones((1, 2))))
    with pytest.raises(InputError, match="2 and 3 dimensions"):
        distance(two, wide)
    with pytest.raises(InputError, match="first set are not finite"):
        distance(two._replace(mean=np.array([np.nan, 0.0])), two)
    with pytest.raises(InputError, match=r"negative eigenvalue such as -1"):
        distance(two._replace(covariance=-np.eye(2)), two)
    with pytest.raises(InputError, match=r"negative eigenvalue such as -0\.5"):
        distance(Moments(9, np.zeros(2), np.eye(2)), two._replace(covariance=np.diag([1.0, -0.5])))
    with pytest.raises(InputError, match="0 examples, but at least 1"):
        moments(np.zeros((0, 3)))
    with pytest.raises(InputError, match="example 1 are not finite"):
        moments(np.array([[0.0], [np.inf]]))


def test_against_torch_fidelity():
    torch = pytest.importorskip("torch")
    peer = pytest.importorskip("torch_fidelity.metric_fid", exc_type=(ImportError, RuntimeError))
    rng = np.random.default_rng(2)
    real = rng.standard_normal((300, 32)) @ rng.standard_normal((32, 32))
    fake = rng.standard_normal((200, 32)) @ rng.standard_normal((32, 32)) + 0.3
    stats = [peer.fid_features_to_statistics(torch.from_numpy(x)) for x in (real, fake)]
    expected = peer.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert distance(moments(real), moments(fake)) == pytest.approx(expected, rel=1e-9)
