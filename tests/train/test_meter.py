"""Means of metrics: over windows, across an interruption, and values that are no numbers."""

import jax.numpy as jnp
import pytest

from gan_jax.errors import TrainingFailure
from gan_jax.train.meter import Meter


def test_means_since_the_last_reading():
    meter = Meter()
    meter.add(0, {"loss/d": jnp.array([1.0, 3.0])})
    meter.add(2, {"loss/d": jnp.array([5.0])})
    assert meter.read() == {"loss/d": 3.0}
    meter.add(3, {"loss/d": jnp.array([7.0])})
    assert meter.read() == {"loss/d": 7.0}


def test_an_interrupted_window_has_the_same_mean():
    values = jnp.array([0.1, 0.2, 0.3, 0.7, 1e-8, 0.123456])
    whole = Meter()
    whole.add(0, {"a": values})
    first = Meter()
    first.add(0, {"a": values[:4]})
    second = Meter(**first.unread())
    second.add(4, {"a": values[4:]})
    assert whole.read() == second.read()  # not nearly: the same double


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_what_is_no_number_is_named(bad):
    meter = Meter()
    meter.add(10, {"loss/d": jnp.array([1.0, 1.0]), "loss/g": jnp.array([1.0, bad])})
    with pytest.raises(TrainingFailure, match=r"loss/g is .* at step 12"):
        meter.read()
