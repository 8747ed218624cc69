"""Standing statistics: which latents and labels they are taken over, and where they go."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import parallel
from gan_jax.analysis.standing import standing
from gan_jax.errors import InputError
from tests import experiments


class Witness:
    """Its standing statistics are what it was shown."""

    def stand(self, state, z, batch):
        return {"weights": state["weights"], "z": z, "label": batch["label"].astype(jnp.float32)}


@dataclasses.dataclass(frozen=True)
class Sampler:
    gan: object
    state: dict
    mesh: jax.sharding.Mesh
    config: object = None
    weights: str = "average"

    def latents(self, number, seed, truncation=None):
        z = np.random.default_rng(seed).standard_normal((number, 2))
        return jnp.asarray(z if truncation is None else np.clip(z, -truncation, truncation), jnp.float32)

    def labels(self, number, chosen=None):
        return np.resize(np.arange(3) if chosen is None else np.asarray(chosen), number).astype(np.int32)


def sampler(gan):
    mesh = parallel.make_mesh({"data": 8}, jax.devices()[:8])
    empty = {"weights": jnp.ones(3), "z": jnp.zeros(()), "label": jnp.zeros(())}
    return Sampler(gan, parallel.replicate(empty, mesh), mesh, experiments.get_config("dcgan"))


def test_so_many_batches_of_what_will_be_sampled():
    before = sampler(Witness())
    after = standing(before, passes=3, batch_size=12, seed=4, truncation=0.5, labels=[2])
    assert after.state["z"].shape == (3, 16, 2)  # as many as eight devices can share
    drawn = {tuple(z) for z in np.asarray(before.latents(48, 4, truncation=0.5)).tolist()}
    assert {tuple(z) for z in np.asarray(after.state["z"]).reshape(48, 2).tolist()} == drawn
    np.testing.assert_array_equal(after.state["label"], np.full((3, 16), 2.0))
    np.testing.assert_array_equal(after.state["weights"], before.state["weights"])
    assert (after.gan, after.mesh) == (before.gan, before.mesh)
    assert after.weights == "average_standing3"


def test_every_batch_has_all_classes():
    labels = np.asarray(standing(sampler(Witness()), passes=4, batch_size=24).state["label"])
    assert all(np.bincount(row.astype(int), minlength=3).min() >= 6 for row in labels)


def test_a_gan_without_them_says_so():
    with pytest.raises(InputError, match="'dcgan' has no standing statistics"):
        standing(sampler(object()))
