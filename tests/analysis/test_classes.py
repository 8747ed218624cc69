"""Mixtures of classes, told to a generator that shows what it was told."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import parallel
from gan_jax.analysis import classes
from gan_jax.errors import InputError
from tests import experiments


class Frank:
    """Samples [n, Z + K]: the latent, and what was told with it."""

    def generate(self, state, z, batch):
        return state + jnp.concatenate([z, batch["label"]], axis=-1)


def sampler(count=3):
    def labels(number, chosen=None):
        if chosen is not None and max(chosen) >= count:
            raise InputError(f"the classes of this GAN are 0 to {count - 1}")

    mesh = parallel.make_mesh({"data": 1}, jax.devices()[:1])
    config = SimpleNamespace(gan="frank")
    return SimpleNamespace(gan=Frank(), state=jnp.zeros(()), mesh=mesh, classes=count, config=config, labels=labels)


Z = np.array([[7.0, 8.0], [9.0, 10.0]], np.float32)


def test_a_walk_from_class_to_class():
    made = classes.breeding(sampler(), 2, 0, Z, frames=5)
    assert made.shape == (2, 5, 5)
    for row, z in zip(made, Z, strict=True):
        np.testing.assert_array_equal(row[:, :2], np.tile(z, (5, 1)))
        np.testing.assert_allclose(row[:, 2:], [[s, 0, 1 - s] for s in (0, 0.25, 0.5, 0.75, 1)], atol=1e-6)


def test_a_class_told_more_or_less():
    made = classes.zoom(sampler(), 1, Z, (0.5, 1.0, 2.0))
    np.testing.assert_array_equal(made[1, :, 2:], [[0, 0.5, 0], [0, 1, 0], [0, 2, 0]])


def test_a_class_among_others():
    made = classes.hallucination(sampler(4), 1, Z, number=5, weight=0.2)
    told = made[0, :, 2:]
    np.testing.assert_array_equal(told, made[1, :, 2:])  # the same surroundings for every latent
    np.testing.assert_array_equal(told[0], [0, 1, 0, 0])
    np.testing.assert_array_equal(told[:, 1], np.ones(5))
    np.testing.assert_allclose(told[1:].sum(axis=1), np.full(4, 1.2), rtol=1e-6)
    assert (told >= 0).all()
    assert np.ptp(told[1:, 0]) > 0.01
    np.testing.assert_array_equal(made, classes.hallucination(sampler(4), 1, Z, number=5, weight=0.2))
    assert not np.array_equal(made, classes.hallucination(sampler(4), 1, Z, number=5, weight=0.2, seed=1))


def test_what_is_refused():
    with pytest.raises(InputError, match="'frank' is not told a class"):
        classes.breeding(sampler(0), 0, 1, Z)
    with pytest.raises(InputError, match="0 to 2"):
        classes.zoom(sampler(), 3, Z)
    with pytest.raises(InputError, match="other classes"):
        classes.hallucination(sampler(1), 0, Z)
    with pytest.raises(InputError, match="2 frames"):
        classes.breeding(sampler(), 0, 1, Z, frames=1)


@pytest.mark.parametrize("name", ["cgan", "sngan", "sagan", "biggan"])
def test_who_can_be_told_a_mixture(name):
    """A label [B, K] reaches the players as it is."""
    gan = experiments.open_run(name, devices=1).stage.gan
    mixture = jnp.full((2, 10), 0.1)
    np.testing.assert_array_equal(gan.conditions({"label": mixture})[0], mixture)
