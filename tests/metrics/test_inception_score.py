"""Inception score against its exact values and torch-fidelity."""

import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.metrics.inception_score import score


@pytest.mark.parametrize("certain", [50.0, np.inf])
def test_every_class_equally_and_certainly(certain):
    logits = np.where(np.eye(10) > 0, 0.0, -certain)
    assert score(np.tile(logits, (20, 1)), splits=2) == (pytest.approx(10, rel=1e-9), pytest.approx(0, abs=1e-9))


def test_identical_rows():
    logits = np.tile(np.random.default_rng(0).standard_normal((1, 1008)).astype(np.float32), (100, 1))
    assert score(logits) == (pytest.approx(1, abs=1e-12), pytest.approx(0, abs=1e-12))


def test_worked_example():
    """p = (3/4, 1/4) and (1/4, 3/4): each is ln 2 - H from the marginal, whatever is added to a row."""
    logits = np.log([[0.75, 0.25], [0.25, 0.75]]) + np.array([[1000.0], [-1000.0]])
    entropy = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    assert score(logits, splits=1)[0] == pytest.approx(2 * np.exp(-entropy), rel=1e-12)


def test_splits_are_consecutive_and_uneven_ones_differ_by_one():
    """Seven examples in two splits are the first three and the other four: scores 1 and 2, population deviation."""
    classes = [0, 0, 0, 0, 0, 1, 1]
    logits = np.where(np.eye(2)[classes] > 0, 0.0, -np.inf)
    assert score(logits, splits=2) == (pytest.approx(1.5), pytest.approx(0.5))


def test_mistakes():
    with pytest.raises(InputError, match="9 examples cannot be cut into 10 splits"):
        score(np.zeros((9, 3)))
    with pytest.raises(InputError, match="cut into 0 splits"):
        score(np.zeros((9, 3)), splits=0)
    for bad in ([[np.nan, 0.0]], [[-np.inf, -np.inf]], [[np.inf, 0.0]]):
        with pytest.raises(InputError, match="not numbers"):
            score(np.array(bad), splits=1)


def test_against_torch_fidelity():
    torch = pytest.importorskip("torch")
    peer = pytest.importorskip("torch_fidelity.metric_isc", exc_type=(ImportError, RuntimeError))
    logits = 3 * np.random.default_rng(1).standard_normal((203, 50)).astype(np.float32)
    found = peer.isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=False)
    expected = (found["inception_score_mean"], found["inception_score_std"])
    assert score(logits) == pytest.approx(expected, rel=1e-9)
