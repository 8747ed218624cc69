"""Walks between latents: where they begin and end, what lies on them, and the box that they stay in."""

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.analysis import interpolation
from gan_jax.errors import InputError
from tests.analysis.linear import Linear

RNG = np.random.default_rng(0)
START, END = (jnp.asarray(RNG.standard_normal((3, 50)), jnp.float32) for _ in range(2))


@pytest.mark.parametrize("kind", ["linear", "spherical"])
def test_a_walk_ends_at_the_ends_exactly(kind):
    walk = interpolation.path({"z": START}, {"z": END}, 5, kind)["z"]
    assert walk.shape == (3, 5, 50)
    np.testing.assert_array_equal(walk[:, 0], START)
    np.testing.assert_array_equal(walk[:, -1], END)


def test_the_middle_of_a_straight_line_is_short_and_that_of_a_great_circle_is_not():
    a, b = jnp.eye(2)[:1], jnp.eye(2)[1:]
    lengths = {kind: np.linalg.norm(interpolation.path(a, b, 3, kind)[0, 1]) for kind in interpolation.PATHS}
    assert lengths == pytest.approx({"linear": 0.5**0.5, "spherical": 1.0}, abs=1e-6)


def test_between_equal_latents_there_is_nothing_else():
    walk = interpolation.path(START, START, 4, "spherical")
    np.testing.assert_allclose(walk, np.broadcast_to(START[:, None], walk.shape), atol=1e-6)


def test_a_latent_of_several_axes_is_one_vector():
    flat = interpolation.path(START, END, 4, "spherical")
    folded = interpolation.path(START.reshape(3, 5, 10), END.reshape(3, 5, 10), 4, "spherical")
    np.testing.assert_array_equal(folded.reshape(flat.shape), flat)


@pytest.mark.parametrize(
    ("latent", "kind"), [("normal", "spherical"), ("sphere", "spherical"), ("uniform", "linear"), (None, "linear")]
)
def test_the_natural_walk_stays_where_latents_are(latent, kind):
    sampler = Linear(latent=latent)
    assert interpolation.natural_path(sampler) == kind
    z = sampler.latents(4)
    made = interpolation.interpolate(sampler, z[::2], z[1::2], 5)
    same = interpolation.interpolate(sampler, z[::2], z[1::2], 5, kind=kind)
    assert made.shape == (2, 5, 8, 8, 3)
    np.testing.assert_array_equal(made, same)
    np.testing.assert_allclose(made[:, -1], sampler.generate(z[1::2]), atol=1e-6)


def test_steps_of_a_great_circle_are_equally_long_and_keep_the_length():
    start, end = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (START, END))
    walk = interpolation.path(start, end, 9, "spherical")
    np.testing.assert_allclose(np.linalg.norm(walk, axis=-1), 1, atol=1e-5)
    steps = np.linalg.norm(np.diff(walk, axis=1), axis=-1)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1], steps.shape), rtol=1e-3)


def test_a_walk_has_one_class():
    sampler = Linear(classes=3)
    z = sampler.latents(8)
    interpolation.interpolate(sampler, z[::2], z[1::2], 3)
    assert sampler.calls[-1].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [0] * 3
    interpolation.interpolate(sampler, z[:2], z[2:4], 2, labels=[2, 1])
    assert sampler.calls[-1].tolist() == [2, 2, 1, 1]


def test_mistakes():
    z = Linear().latents(2)
    with pytest.raises(InputError, match=r"at least 2 frames.* got 1"):
        interpolation.interpolate(Linear(), z[:1], z[1:], 1)
    with pytest.raises(InputError, match=r"unknown path: 'spheric'.*spherical"):
        interpolation.path(z[:1], z[1:], 3, "spheric")
    with pytest.raises(InputError, match="leaves the box of uniform latents"):
        interpolation.interpolate(Linear(latent="uniform"), z[:1], z[1:], 3, kind="spherical")


def test_a_picture_has_a_row_for_each_walk_and_an_animation_goes_there_and_back():
    walks = RNG.uniform(-1, 1, (2, 4, 64, 64, 3)).astype(np.float32)
    picture = interpolation.picture(walks)
    assert picture.shape == (2 * 66 + 2, 4 * 66 + 2, 3)
    frames = interpolation.animation(walks)
    assert frames.shape == (6, 66 + 2, 2 * 66 + 2, 3)
    np.testing.assert_array_equal(frames[1], frames[5])
    np.testing.assert_array_equal(frames[0][2:66, 2:66], picture[2:66, 2:66])
    np.testing.assert_array_equal(frames[3][2:66, 2:66], picture[2:66, 3 * 66 + 2 : 4 * 66])


def test_walks_of_points_are_drawn_over_other_samples():
    walks = RNG.uniform(-0.5, 0.5, (2, 3, 2)).astype(np.float32)
    cloud = RNG.uniform(-1, 1, (100, 2)).astype(np.float32)
    assert interpolation.picture(walks, cloud).shape == (512, 512, 3)
    assert interpolation.animation(walks, cloud).shape == (4, 512, 512, 3)
