"""Codes of structured latents: one is moved and all else held, and what a recogniser makes of labelled examples."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import latents, parallel
from gan_jax.analysis import codes
from gan_jax.errors import InputError
from gan_jax.metrics import populations
from tests.analysis.linear import Linear


class Coded(Linear):
    """Images [8,8,1]: pixel k of the first row is lit by value k of the categorical code, the second row tells the
    continuous code, all others the noise."""

    def latents(self, number, seed=0, *, truncation=None):
        noise_rng, code_rng = jax.random.split(jax.random.key(seed))
        return {"noise": jax.random.normal(noise_rng, (number, 6))} | latents.codes(code_rng, number, (4,), 1)

    def generate(self, z, labels=None):
        made = np.zeros((len(z["noise"]), 8, 8, 1), np.float32)
        made[:, 0, :4, 0] = z["categorical"][0]
        made[:, 1, :, 0] = z["continuous"][0]
        made[:, 2:, :, 0] = np.asarray(z["noise"])[:, :, None]
        return made


def test_one_code_is_moved_and_all_else_held():
    made = codes.traverse(Coded(), number=3, steps=5, reach=2.0)
    assert {name: samples.shape for name, samples in made.items()} == {
        "categorical_0": (3, 4, 8, 8, 1), "continuous_0": (3, 5, 8, 8, 1)
    }  # fmt: skip
    one, other = made["categorical_0"], made["continuous_0"]
    np.testing.assert_array_equal(one[:, :, 0, :4, 0], np.broadcast_to(np.eye(4), (3, 4, 4)))
    np.testing.assert_array_equal(other[:, :, 1, 0, 0], np.broadcast_to(np.linspace(-2, 2, 5), (3, 5)))
    np.testing.assert_array_equal(one[:, 0, 1:], one[:, 3, 1:])
    np.testing.assert_array_equal(other[:, 0, 2:], other[:, 4, 2:])
    np.testing.assert_array_equal(one[:, 0, 2:], other[:, 0, 2:])  # the same latents in both panels
    assert not np.array_equal(one[0, 0, 2:], one[1, 0, 2:])
    picture = codes.picture(made)
    assert picture.shape[1] == 5 * 66 + 2
    assert picture.std() > 1


def test_latents_without_codes_are_refused():
    sampler = SimpleNamespace(config=SimpleNamespace(gan="dcgan"))
    with pytest.raises(InputError, match="'dcgan' have no codes; those of infogan do"):
        codes.check(sampler, Linear().latents(2))


def test_a_code_is_matched_with_the_classes_of_examples():
    """The recogniser sees the class in a pixel, under other names: all right, until it takes two classes for one."""
    labels = np.arange(10) % 4
    images = np.zeros((10, 8, 8, 1), np.uint8)
    images[np.arange(10), 0, labels] = 255

    def batches(size):
        for start in range(0, 10, size):
            rows = np.minimum(np.arange(start, start + size), 9)
            yield jnp.asarray(images[rows]), labels[rows], min(size, 10 - start)

    mesh = parallel.make_mesh({"data": 1, "fsdp": 1}, jax.devices()[:1])
    examples = populations.Population("drawn", 10, (8, 8, 1), 4, True, mesh, batches)

    def sampler(order):
        def recognise(state, x):
            return SimpleNamespace(categorical=[x[:, 0, :4, 0] @ jnp.eye(4)[:, order]])

        config = SimpleNamespace(model=SimpleNamespace(categorical=(4,)))
        return SimpleNamespace(gan=SimpleNamespace(recognise=recognise), state=None, mesh=mesh, config=config)

    found = codes.matched(sampler(jnp.array([2, 0, 3, 1])), examples)["categorical_0"]
    assert found.accuracy == 1.0
    assert found.label.tolist() == [2, 0, 3, 1]
    found = codes.matched(sampler(jnp.array([0, 1, 2, 2])), examples)["categorical_0"]
    assert found.accuracy == pytest.approx(0.8)  # the two examples of class 3 are lost
