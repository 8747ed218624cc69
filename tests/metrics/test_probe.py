"""The probe of a discriminator's features: poolings with known values, SVMs with known solutions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gan_jax.errors import InputError
from gan_jax.gans import dcgan
from gan_jax.metrics import probe

RNG = np.random.default_rng(0)
IDENTITY = probe.Scale(np.zeros(3, np.float32), np.ones(3, np.float32))


@pytest.fixture(scope="module")
def blobs():
    """Three classes in six dimensions that overlap a little, 300 to train and 600 to test, offset and badly scaled."""
    labels = RNG.integers(3, size=900)
    x = 2.0 * np.eye(6)[labels] + RNG.standard_normal((900, 6))
    return (100 + x * np.array([1, 10, 0.1, 1, 1, 1])).astype(np.float32), labels


def test_pooled_takes_the_maxima_of_a_grid():
    image = np.arange(64, dtype=np.float32).reshape(1, 8, 8, 1)
    small = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    uneven = np.full((1, 7, 5, 2), 3.0, np.float32)
    found = jax.jit(probe.pooled)([image, small, uneven])[0]
    np.testing.assert_array_equal(found[:16], image[0, 1::2, 1::2, 0].ravel())
    np.testing.assert_array_equal(found[16:32].reshape(4, 4), small[0, :, :, 0].repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(found[32:], np.full(32, 3.0))


def test_pooled_joins_all_layers():
    maps = [jax.ShapeDtypeStruct((2, s, s, channels), jnp.float32) for s, channels in ((16, 256), (8, 512), (4, 1024))]
    assert jax.eval_shape(probe.pooled, maps).shape == (2, 28_672)  # the paper's number for images of 32x32


def test_feature_maps_of_dcgan_are_its_layers():
    net = dcgan.Discriminator(width=2)
    images = RNG.integers(256, size=(4, 16, 16, 3)).astype(np.uint8)
    variables = jax.jit(partial(net.init, train=True))(jax.random.key(0), jnp.zeros((4, 16, 16, 3)))
    first, second = jax.jit(partial(probe.feature_maps, net))(variables, images)
    assert (first.shape, second.shape) == ((4, 8, 8, 2), (4, 4, 4, 4))
    x = images.astype(np.float32) / 127.5 - 1
    kernels = [variables["params"][f"Conv_{i}"]["kernel"] for i in range(2)]
    h = jax.lax.conv_general_dilated(x, kernels[0], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(first, nn.leaky_relu(h, 0.2), atol=1e-6)
    h = nn.leaky_relu(h, 0.2)
    h = jax.lax.conv_general_dilated(h, kernels[1], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    norm = variables["params"]["Norm_0"]["BatchNorm_0"]
    h = h / np.sqrt(1 + 1e-5) * norm["scale"].reshape(1, 1, 1, -1)  # statistics of evaluation: mean 0, variance 1
    np.testing.assert_allclose(second, nn.leaky_relu(h, 0.2), atol=1e-6)


def test_feature_maps_need_convolutions():
    class Linear(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            return nn.Dense(1)(x.reshape(len(x), -1))[:, 0]

    x = jnp.zeros((1, 4, 4, 1))
    with pytest.raises(InputError, match="convolutions"):
        probe.feature_maps(Linear(), Linear().init(jax.random.key(0), x, False), x)


def test_scale_standardises_and_ignores_constants():
    x = np.concatenate([RNG.normal(1000, 5, (3000, 2)), np.full((3000, 1), 7.1)], axis=1).astype(np.float32)
    use = np.arange(3000) % 3 > 0
    scale = probe.scale_of(x, use)
    scaled = (x - scale.mean) * scale.factor
    np.testing.assert_allclose(scaled[use].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled[use].std(0), [0.5**0.5, 0.5**0.5, 0], atol=1e-4)


def test_weak_svm_is_ridge_regression():
    """Where every margin is below 1 the squared hinge is the squared error of the targets +-1."""
    x = RNG.standard_normal((60, 3)).astype(np.float32)
    y = np.arange(60) % 3
    strength = 0.002
    weights = probe.fit_svm(x, y, 3, strength, IDENTITY)
    ones = np.concatenate([x, np.ones((60, 1))], axis=1)
    targets = 2 * np.eye(3)[y] - 1
    ridge = np.diag([1.0, 1.0, 1.0, 0.0]) + 2 * strength * ones.T @ ones
    expected = np.linalg.solve(ridge, 2 * strength * ones.T @ targets)
    assert (ones @ expected * targets).max() < 1  # the condition above
    np.testing.assert_allclose(weights, expected, atol=2e-4)


def test_svm_agrees_with_liblinear(blobs):
    svm = pytest.importorskip("sklearn.svm")
    x, y = blobs[0][:300], blobs[1][:300]
    scale = probe.scale_of(x)
    weights = probe.fit_svm(x, y, 3, 1.0, scale)
    peer = svm.LinearSVC(loss="squared_hinge", C=1.0, intercept_scaling=1000, tol=1e-10, max_iter=10_000, dual=False)
    peer.fit(((x - scale.mean) * scale.factor).astype(np.float64), y)
    np.testing.assert_allclose(weights[:-1].T, peer.coef_, atol=2e-3)
    np.testing.assert_allclose(weights[-1], peer.intercept_, atol=2e-3)


def test_examples_that_do_not_count(blobs, monkeypatch):
    x, y = blobs
    use = np.arange(900) % 2 == 0
    scale = probe.scale_of(x, use)
    alone = probe.fit_svm(x[use], y[use], 3, 1.0, probe.scale_of(x[use]))
    monkeypatch.setattr(probe, "BLOCK", 256)  # several blocks, the last one filled up
    np.testing.assert_allclose(probe.fit_svm(x, y, 3, 1.0, scale, use=use), alone, atol=2e-3)


def test_probe_reaches_what_can_be_reached(blobs):
    x, y = blobs
    result = probe.linear_probe(x[:300], y[:300], x[300:], y[300:], strengths=(1e-6, 1.0))
    best = np.mean(((x[300:] - 100) / [1, 10, 0.1, 1, 1, 1])[:, :3].argmax(1) == y[300:])  # Bayes' rule
    assert best - 0.04 < result.test_accuracy <= best + 0.01
    assert result.train_accuracy > result.test_accuracy - 0.05
    assert result.strength in (1e-6, 1.0)


def test_probe_chooses_the_strength_that_fits():
    """The class is a difference of two features that share a nuisance: a weak SVM only compares means."""
    y, nuisance = np.arange(400) % 2, 3 * RNG.standard_normal(400)
    x = np.stack([y - 0.5 + nuisance, nuisance], axis=1).astype(np.float32)
    weak = probe.linear_probe(x[:200], y[:200], x[200:], y[200:], strengths=(1e-5,))
    chosen = probe.linear_probe(x[:200], y[:200], x[200:], y[200:], strengths=(1e-5, 1000.0))
    assert weak.test_accuracy < 0.75
    assert chosen == (1.0, 1.0, 1000.0)


def test_probe_prefers_the_simplest_among_equals():
    x = np.repeat([[0.0], [1.0]], 20, axis=0).astype(np.float32)
    y = np.repeat([0, 1], 20)
    assert probe.linear_probe(x, y, x, y, strengths=(10.0, 1.0)) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_y": np.zeros(20, int)}, "two classes"),
        ({"test_x": np.zeros((4, 5), np.float32)}, "dimensions"),
        ({"train_y": np.arange(19) % 2}, "one label per example"),
        ({"strengths": (0.0, 1.0)}, "above 0"),
        ({"validation": 1.0}, "validation|share"),
    ],
)
def test_mistakes(change, message):
    good = {
        "train_x": np.zeros((20, 2), np.float32),
        "train_y": np.arange(20) % 2,
        "test_x": np.zeros((4, 2), np.float32),
        "test_y": np.arange(4) % 2,
    }
    with pytest.raises(InputError, match=message):
        probe.linear_probe(**(good | change))
