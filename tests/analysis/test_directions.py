"""Directions: closed forms, planted directions that have to be found, and edits that have to mean something."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.analysis import directions
from gan_jax.errors import InputError

SIZE, FACTORS = 64, 3


def orthonormal(rng, size, number):
    return np.linalg.qr(rng.standard_normal((size, number)))[0].T


def angle(a, b):
    """The largest angle between two subspaces given by orthonormal rows, degrees."""
    cosine = np.linalg.svd(np.linalg.qr(a.T)[0].T @ b.T, compute_uv=False).min()
    return np.degrees(np.arccos(min(cosine, 1.0)))


class World:
    """A generator whose first layer hears three directions of z, and whose factors are those three, bent.

    Of its outputs 48, 32 and 16 listen to one direction each, with gains of 2, 1.5 and 1, and a little to everything
    else: noise of length 0.04 sqrt(64) = 0.32 on a planted part of length 1.
    """

    def __init__(self):
        rng = np.random.default_rng(0)
        self.planted = orthonormal(rng, SIZE, FACTORS)
        owner = np.repeat(np.arange(FACTORS), (48, 32, 16))
        gain = np.array([2.0, 1.5, 1.0])[owner]
        sign = rng.choice([-1.0, 1.0], len(owner))
        self.weights = gain * (self.planted[owner].T * sign + 0.04 * rng.standard_normal((SIZE, len(owner))))
        self.bias = rng.standard_normal(len(owner))
        self.z = rng.standard_normal((500, SIZE)).astype(np.float32)

    def factors(self, z):
        return np.tanh(0.5 * z @ self.planted.T)


class Sampler:
    """What the tools see of that generator."""

    def __init__(self, world, classes=0):
        self.world, self.classes, self.labelled = world, classes, []

    def layers(self):
        return {"Dense_0": (96,), "relu": (96,), "constant": (2,)}

    def labels(self, number, chosen=None):
        return np.resize(np.asarray(0 if chosen is None else chosen, np.int32), number)

    def latents(self, number, seed=0, *, truncation=None):
        return jnp.asarray(np.random.default_rng(seed).standard_normal((number, SIZE)), jnp.float32)

    def activations(self, z, layers, labels=None):
        self.labelled.append(labels)
        y = np.asarray(z) @ self.world.weights + self.world.bias
        known = {"Dense_0": y, "relu": np.maximum(y, 0), "constant": np.ones((len(z), 2))}
        return {layer: known[layer].astype(np.float32) for layer in layers}


@pytest.fixture(scope="module")
def world():
    return World()


def test_unit_columns_make_equal_outputs_equal():
    found = directions.sefa([np.diag([3.0, 2.0, 1.0])], 3)
    np.testing.assert_allclose(found.values, 1.0, rtol=1e-6)


def test_repeated_columns_are_counted():
    a = np.repeat(np.eye(3), (5, 2, 1), axis=1)
    found = directions.sefa([a[:, 4:], a[:, :4] * 0.01], 3)  # the constant of an equalised rate cancels
    np.testing.assert_allclose(found.values, [5, 2, 1], rtol=1e-6)
    np.testing.assert_allclose(found.vectors, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(found.explained, [5 / 8, 2 / 8, 1 / 8], rtol=1e-6)
    np.testing.assert_allclose(found.scales, 1.0)


def test_the_largest_entry_is_positive():
    for vectors in (directions.sefa([-np.repeat(np.eye(3), (5, 2, 1), axis=1)], 3).vectors, _cloud().vectors):
        largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
        assert (largest > 0).all()


def test_an_output_that_ignores_the_latent_has_no_say():
    found = directions.sefa([np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])], 2)
    np.testing.assert_allclose(found.values, [2, 0], atol=1e-7)


def test_a_kernel_has_one_column_for_each_output():
    kernel = np.arange(4 * 4 * 3 * 2, dtype=np.float32).reshape(4, 4, 3, 2)
    made = directions.columns(kernel)
    assert made.shape == (3, 32)
    np.testing.assert_array_equal(made[1], kernel[:, :, 1].ravel())
    np.testing.assert_array_equal(directions.columns(kernel[0, 0]), kernel[0, 0])


def _cloud(number=3):
    x = np.random.default_rng(1).standard_normal((10_000, 3)) * [1.0, 3.0, 2.0] + 7.0
    return directions.principal(x.astype(np.float32), number)


def test_principal_components_of_a_known_covariance():
    found = _cloud()
    cosines = np.abs(np.sum(found.vectors * np.eye(3)[[1, 2, 0]], axis=1))
    assert (cosines > 0.99).all()
    np.testing.assert_allclose(found.values, [9, 4, 1], rtol=0.05)  # 3.5 standard errors, sqrt(2 / 10,000)
    np.testing.assert_allclose(found.explained, np.array([9, 4, 1]) / 14, atol=0.01)
    np.testing.assert_allclose(found.scales, np.sqrt(found.values), rtol=1e-6)
    np.testing.assert_allclose(found.step(0), found.vectors[0] * found.scales[0])
    np.testing.assert_allclose(_cloud(1).explained, found.explained[:1], rtol=1e-6)  # of all, not of what is shown


def test_components_agree_with_the_eigenvectors_of_the_covariance():
    x = np.random.default_rng(2).standard_normal((300, 40)) @ np.diag(np.linspace(3, 1, 40))
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    found = directions.principal(x, 5)
    np.testing.assert_allclose(found.values, values[::-1][:5], rtol=1e-5)
    np.testing.assert_allclose(np.abs(np.sum(found.vectors * vectors.T[::-1][:5], axis=1)), 1.0, rtol=1e-5)


def test_many_dimensions_give_the_same_by_a_subspace(monkeypatch):
    monkeypatch.setattr(directions, "DENSE", 50)
    rng = np.random.default_rng(3)
    deviations = np.concatenate([[9.0, 7.0, 5.0], np.full(77, 0.5)])
    x = (rng.standard_normal((200, 80)) * deviations) @ orthonormal(rng, 80, 80)
    _, singular, vectors = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    found = directions.principal(x, 3)
    np.testing.assert_allclose(found.values, singular[:3] ** 2 / 200, rtol=1e-4)
    assert angle(found.vectors, vectors[:3]) < 0.1
    np.testing.assert_allclose(found.explained, singular[:3] ** 2 / np.sum(singular**2), rtol=1e-4)


def test_regression_finds_the_directions_of_a_linear_generator():
    rng = np.random.default_rng(4)
    right = orthonormal(rng, 6, 6)
    m = orthonormal(rng, 20, 6).T @ np.diag([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]) @ right
    z = rng.standard_normal((10_000, 6)).astype(np.float32)
    found = directions.regressed(z, (z @ m.T + 3.0).reshape(-1, 4, 5).astype(np.float32), 6)
    assert (np.abs(np.sum(found.vectors * right, axis=1)) > 0.99).all()
    np.testing.assert_allclose(found.values, np.array([6, 5, 4, 3, 2, 1]) ** 2, rtol=0.05)
    np.testing.assert_allclose(found.explained.sum(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(found.scales, 1.0)


FINDERS = {
    "sefa": lambda world: directions.sefa([world.weights], FACTORS),
    "sefa_of_a_sampler": lambda world: directions.sefa([directions.affine_weights(Sampler(world))], FACTORS),
    "ganspace": lambda world: directions.ganspace(Sampler(world), number=FACTORS, count=4000),
}


@pytest.mark.parametrize("finder", FINDERS)
def test_planted_directions_are_found_and_their_edits_mean_something(world, finder):
    found = FINDERS[finder](world)
    assert angle(found.vectors.astype(float), world.planted) < 10
    assert angle(directions.random_directions(FACTORS, SIZE).astype(float), world.planted) > 60  # what chance gives

    change = partial(directions.effect, world.factors, world.z, strength=2.0)
    chance = np.mean([change(direction) for direction in directions.random_directions(20, SIZE)], axis=0)
    for factor, direction in enumerate(found.vectors):
        changed = change(direction)
        assert changed[factor] > 3 * np.delete(changed, factor).max()
        assert changed[factor] > 3 * chance[factor]


def test_an_edit_is_a_step_along_the_direction(world):
    direction = world.planted[0].astype(np.float32)
    for z in (world.z[:4], jnp.asarray(world.z[:4]), world.z[0]):
        moved = directions.edit(z, direction, -1.5)
        assert moved.dtype == np.float32
        np.testing.assert_allclose(np.asarray(moved - z), np.broadcast_to(-1.5 * direction, z.shape), atol=1e-5)


def test_effect_is_the_mean_change(world):
    changed = directions.effect(lambda z: z[:, :2] * [1.0, -2.0], world.z, np.eye(SIZE, dtype=np.float32)[1], 3.0)
    np.testing.assert_allclose(changed, [0.0, 6.0], rtol=1e-5)


def test_random_directions_have_no_preference():
    vectors = directions.random_directions(4000, 8, seed=5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(vectors.T @ vectors / 4000, np.eye(8) / 8, atol=0.02)  # standard error 0.003
    assert not np.array_equal(vectors, directions.random_directions(4000, 8, seed=6))


def test_weights_are_read_off_one_class(world):
    sampler = Sampler(world, classes=4)
    np.testing.assert_allclose(directions.affine_weights(sampler, "Dense_0", 2), world.weights, atol=1e-4)
    np.testing.assert_array_equal(sampler.labelled[0], [2])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda w: directions.sefa([np.eye(3), np.eye(4)]), r"sizes \[3, 4\]"),
        (lambda w: directions.sefa([np.eye(3)], 4), "there can be 1 to 3"),
        (lambda w: directions.principal(w.z[:6], 6), "there can be 1 to 5"),
        (lambda w: directions.principal(w.z[:, :1] * np.ones((1, 5), np.float32), 2), "vary along 1 only"),
        (lambda w: directions.regressed(w.z, w.z[:7]), "500 latents and 7 activations"),
        (lambda w: directions.regressed(w.z[:, :2], w.z, 3), "there can be 1 to 2"),
        (lambda w: directions.affine_weights(Sampler(w), "relu"), "'relu' is not affine"),
        (lambda w: directions.affine_weights(Sampler(w), "constant"), "does not depend on the latent"),
        (lambda w: directions.ganspace(Sampler(w), "Dense_1"), "Did you mean 'Dense_0'"),
    ],
)
def test_what_cannot_be_done_is_said(world, ask, message):
    with pytest.raises(InputError, match=message):
        ask(world)
