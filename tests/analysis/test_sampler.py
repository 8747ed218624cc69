"""Samplers: what tools and metrics see of a GAN."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gan_jax
from gan_jax import contract, parallel
from gan_jax.analysis import restore
from gan_jax.analysis import sampler as sampling
from gan_jax.errors import InputError
from tests import experiments
from tests.launch.test_sample import call, images, points  # noqa: F401  (fixtures)


@pytest.fixture(scope="module")
def faces():
    """A DCGAN before its first step."""
    run = experiments.open_run("dcgan")
    return sampling.of(run.stage.gan, run.begin(), run.config, 0, run.mesh, "average")


class Latents:
    """A GAN that shows its latents."""

    rounds = 1

    def init(self, rng, batch): ...

    def train_step(self, state, batch, rng): ...

    def latents(self, rng, batch):
        return jax.random.normal(rng, (contract.count(batch), 50))

    def generate(self, state, latents, batch):
        return latents

    def sample(self, state, batch, rng):
        return self.generate(state, self.latents(rng, batch), batch)


class Codes(Latents):
    """One that has noise, and codes beside it."""

    def latents(self, rng, batch):
        return {"noise": super().latents(rng, batch), "categorical": (jnp.full((contract.count(batch), 3), 9.0),)}

    def generate(self, state, latents, batch):
        return jnp.concatenate([latents["noise"], *latents["categorical"]], axis=-1)


class Noise:
    """One that has no latents to offer."""

    rounds, init, train_step = 1, Latents.init, Latents.train_step

    def sample(self, state, batch, rng):
        return jax.random.normal(rng, (contract.count(batch), 3))


class Translator(Noise):
    """One that makes its samples from the data."""

    def sample(self, state, batch, rng):
        return batch["point"] + jax.random.normal(rng, batch["point"].shape)


@pytest.fixture
def of(points):  # noqa: F811
    """A sampler of another GAN, which is otherwise that of a run on points."""
    run = restore.load(points)
    return lambda gan: sampling.of(gan, run.state, run.config, run.step, run.mesh, "average")


def test_three_lines_from_a_run_to_images(images):  # noqa: F811
    sampler = gan_jax.load(images)
    made = sampler.sample(5)
    assert (made.shape, made.dtype) == ((5, 8, 8, 3), np.float32)
    assert np.abs(made).max() <= 1
    assert sampler.shape == (8, 8, 3)
    assert (sampler.domain, sampler.classes, sampler.step, sampler.weights) == ("image", 3, 6, "average")


def test_samples_are_what_the_generator_makes_of_the_latents(faces):
    z = faces.latents(20, seed=3)
    assert z.shape == (20, 8)
    np.testing.assert_array_equal(z[:7], faces.latents(7, seed=3))
    np.testing.assert_allclose(faces.generate(z), faces.sample(20, seed=3), atol=1e-5)
    np.testing.assert_allclose(faces.generate(z, batch_size=8), faces.generate(z), atol=1e-5)


def test_samples_of_classes(images):  # noqa: F811
    sampler = gan_jax.load(images)
    assert sampler.classes == 3
    assert sampler.labels(5).tolist() == [0, 1, 2, 0, 1]
    assert sampler.labels(3, [2, 0], first=1).tolist() == [0, 2, 0]
    z = sampler.latents(6)
    np.testing.assert_allclose(sampler.generate(z, [2]), sampler.sample(6, labels=[2]), atol=1e-5)
    assert np.abs(sampler.generate(z, [2]) - sampler.generate(z, [1])).max() > 1e-4


def test_layers_and_what_they_give(faces):
    layers = faces.layers()
    assert layers["Norm_0"] == layers["Norm_0/BatchNorm_0"] == (4, 4, 8)
    assert next(iter(layers)) == "Dense_0"
    last = list(layers)[-1]
    z = faces.latents(10)
    seen = faces.activations(z, ["Dense_0", last], batch_size=4)
    assert set(seen) == {"Dense_0", last}
    kernel = faces.state.average.params["Dense_0"]["kernel"]
    np.testing.assert_allclose(seen["Dense_0"], np.asarray(z) @ np.asarray(kernel), atol=1e-5)
    np.testing.assert_allclose(np.tanh(seen[last]), faces.generate(z), atol=1e-5)
    with pytest.raises(InputError, match=r"unknown layer: 'Dense_9'.*Choices: .*Dense_0"):
        faces.activations(z, ["Dense_9"])


def test_an_edit_changes_what_follows(faces):
    z = faces.latents(6)
    last = list(faces.layers())[-1]
    np.testing.assert_allclose(faces.generate(z, edit={last: lambda h: h}), faces.generate(z), atol=1e-6)
    np.testing.assert_array_equal(faces.generate(z, edit={last: jnp.zeros_like}), 0)
    first = faces.generate(z, edit={"Dense_0": lambda h: jnp.broadcast_to(h[:1], h.shape)})
    np.testing.assert_allclose(first, np.broadcast_to(faces.generate(z)[:1], first.shape), atol=1e-5)
    with pytest.raises(InputError, match="unknown layer"):
        faces.generate(z, edit={"Nowhere": jnp.zeros_like})
    with pytest.raises(InputError, match="shape must stay"):
        faces.generate(z, edit={last: lambda h: h[..., :1]})


def test_truncation_draws_what_is_beyond_the_bound_again(of):
    whole, cut = of(Latents()).sample(200), of(Latents()).sample(200, truncation=0.7)
    assert np.abs(whole).max() > 3
    assert np.abs(cut).max() <= 0.7
    np.testing.assert_array_equal(cut[np.abs(whole) <= 0.7], whole[np.abs(whole) <= 0.7])
    np.testing.assert_allclose(whole.std(), 1, atol=0.03)  # 10,000 numbers
    np.testing.assert_allclose(cut.std(), 0.3867, atol=0.01)  # of a normal cut off at 0.7
    assert len(np.unique(cut)) > 0.99 * cut.size  # float32 has few numbers to spare
    np.testing.assert_array_equal(of(Latents()).latents(200, truncation=0.7), cut)


def test_truncation_leaves_codes_as_they_are(of):
    whole, cut = of(Codes()).sample(20), of(Codes()).sample(20, truncation=0.7)
    assert np.abs(cut[:, :50]).max() <= 0.7 < np.abs(whole[:, :50]).max()
    assert (cut[:, 50:] == 9.0).all()


def test_latents_do_not_depend_on_the_batch_at_all(of):
    small = np.concatenate([samples for samples, _ in of(Latents()).stream(50, batch_size=8)])
    np.testing.assert_array_equal(small, of(Latents()).sample(200)[:50])


def test_a_gan_without_latents(of):
    made = of(Noise()).sample(50)
    assert made.shape == (50, 3)
    np.testing.assert_array_equal(made[:20], of(Noise()).sample(20))
    assert len(np.unique(made)) == made.size
    with pytest.raises(InputError, match="has no latent"):
        of(Noise()).latents(3)


def test_truncation_is_refused_where_it_means_nothing(of):
    sampler = of(Latents())
    with pytest.raises(InputError, match="must be positive"):
        sampler.sample(4, truncation=0.0)
    uniform = dataclasses.replace(sampler, config=sampler.config.copy_and_resolve_references())
    uniform.config.model.latent = "uniform"
    with pytest.raises(InputError, match=r"normal latents.* are uniform"):
        uniform.sample(4, truncation=0.5)
    with pytest.raises(InputError, match="normal latents"):
        of(Noise()).sample(4, truncation=0.5)


def test_a_gan_that_needs_the_data_says_so(of, points, monkeypatch):  # noqa: F811
    sampler = of(Translator())
    assert sampler.conditions == {"point"}
    monkeypatch.setattr(sampling, "load", lambda *_, **__: sampler)
    with pytest.raises(InputError, match=r"from data \(point\), not from noise"):
        call("sample", "--workdir", points)


def test_unknown_weights(points):  # noqa: F811
    with pytest.raises(InputError, match="unknown weights: 'ema'"):
        gan_jax.load(points, weights="ema")


def test_every_device_makes_its_share(points):  # noqa: F811
    sampler = gan_jax.load(points)
    samples, _, count = next(sampler.batches(60))
    assert (samples.shape, count) == ((64, 2), 60)
    assert samples.sharding.shard_shape(samples.shape) == (64 // parallel.batch_shards(sampler.mesh), 2)
    arguments = np.uint32(0), np.arange(64, dtype=np.uint32), np.zeros(64, np.int32), np.float32(1)
    with jax.set_mesh(sampler.mesh):
        program = sampler.programs.sample.lower(sampler.state, *arguments).compile().as_text()
    assert "all-gather" not in program
