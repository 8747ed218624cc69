"""KID against values worked out by hand and torch-fidelity."""

import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.metrics.kernel import kernel_distance, mmd2

X = np.array([[1.0, 0.0], [0.0, 1.0]])
Y = np.array([[1.0, 1.0], [1.0, 0.0]])


def test_worked_example():
    """Within X 1, within Y 1.5^3 = 3.375, between (1.5^3 + 1.5^3 + 1.5^3 + 1) / 4 = 2.78125."""
    assert mmd2(X, Y) == pytest.approx(-1.1875, abs=1e-12)
    assert mmd2(Y, X) == pytest.approx(-1.1875, abs=1e-12)


def test_a_subset_of_everything_is_everything():
    assert kernel_distance(X, Y, subsets=3, size=2) == (pytest.approx(-1.1875, abs=1e-12), pytest.approx(0, abs=1e-12))


def test_unbiased_mean_over_subsets():
    """0 on average between draws of one distribution, and well above its spread between different ones."""
    rng = np.random.default_rng(0)
    same = rng.standard_normal((2, 2000, 8)).astype(np.float32)
    mean, std = kernel_distance(*same, subsets=40, size=200)
    assert abs(mean) < 0.3 * std
    shifted, spread = kernel_distance(same[0], same[1] + np.float32(0.5), subsets=40, size=200)
    assert shifted > 5 * spread


def test_the_seed_decides():
    features = np.random.default_rng(1).standard_normal((2, 50, 4))
    assert kernel_distance(*features, 5, 20, seed=3) == kernel_distance(*features, 5, 20, seed=3)
    assert kernel_distance(*features, 5, 20, seed=3) != kernel_distance(*features, 5, 20, seed=4)


def test_mistakes():
    with pytest.raises(InputError, match="generated set: 2 examples, but at least 1000 are needed for a subset"):
        kernel_distance(np.zeros((1000, 2)), Y)
    with pytest.raises(InputError, match="at least 1 subset of at least 2"):
        kernel_distance(X, Y, size=1)
    with pytest.raises(InputError, match="first set: 1 examples"):
        mmd2(X[:1], Y)
    with pytest.raises(InputError, match="2 and of 1 dimensions"):
        mmd2(X, Y[:, :1])
    with pytest.raises(InputError, match="not finite"):
        mmd2(X * np.nan, Y)


def test_against_torch_fidelity():
    torch = pytest.importorskip("torch")
    peer = pytest.importorskip("torch_fidelity.metric_kid", exc_type=(ImportError, RuntimeError))
    real, fake = np.random.default_rng(2).standard_normal((2, 100, 16))
    options = {"kid_subsets": 1, "kid_subset_size": 100, "rng_seed": 0, "verbose": False}
    found = peer.kid_features_to_metric(torch.from_numpy(real), torch.from_numpy(fake), **options)
    assert mmd2(real, fake) == pytest.approx(found["kernel_inception_distance_mean"], rel=1e-9)
