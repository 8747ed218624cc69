"""Path length of generators whose path lengths are known."""

from types import SimpleNamespace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import parallel
from gan_jax.analysis.sampler import Sampler
from gan_jax.errors import InputError
from gan_jax.metrics import catalogue, path_length
from gan_jax.metrics.extractors import Needs

SIDE, SIZE = 8, 64
RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((SIZE, SIDE * SIDE * 3)).astype(np.float32) / 8


def linear(z):
    return jnp.matmul(z, MATRIX, precision="highest").reshape(-1, SIDE, SIDE, 3)


def squared(a, b):
    return jnp.sum((a - b) ** 2, axis=(1, 2, 3))


def latents(count, size=SIZE, seed=1):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, count, size)).astype(np.float32)
    return a, b, rng.random(count).astype(np.float32)


def test_straight_path_of_a_linear_generator():
    """|(b - a) M|^2, wherever on the path and whatever epsilon."""
    a, b, t = latents(256)
    wanted = ((b.astype(float) - a) @ MATRIX.astype(float)) ** 2
    for epsilon, tolerance in ((1e-2, 1e-4), (1e-4, 2e-3)):
        found = path_length.lengths(linear, squared, a, b, t, epsilon, space="w")
        np.testing.assert_allclose(found, wanted.sum(1), rtol=tolerance)
        assert np.mean(found) == pytest.approx(wanted.sum(1).mean(), rel=tolerance / 10)


def angles(a, b):
    a, b = a.astype(float), b.astype(float)
    return np.arccos((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


def reference(a, b, t, epsilon):
    """The metric's own interpolation in float64."""

    def unit(v):
        return v / np.linalg.norm(v, axis=-1, keepdims=True)

    a, b = unit(a.astype(float)), unit(b.astype(float))
    cosine = (a * b).sum(-1, keepdims=True)
    across = unit(b - cosine * a)

    def at(t):
        angle = t[:, None] * np.arccos(cosine)
        return unit(np.cos(angle) * a + np.sin(angle) * across)

    t = t.astype(float)
    return at(t), at(t + epsilon)


@pytest.mark.parametrize("size", [2, SIZE])
def test_great_circle_of_the_reference(size):
    a, b, t = latents(64, size)
    found, wanted = path_length.circle(*map(jnp.asarray, (a, b, t)), 0.3), reference(a, b, t, 0.3)
    for x, y in zip(found, wanted, strict=True):
        np.testing.assert_allclose(x, y, atol=2e-5)


def test_circular_path_has_the_length_of_its_angle():
    """An isometry: the chord of epsilon * angle on the unit sphere. From t = 0, which is `a`, to 1, which is `b`."""
    a, b, t = latents(4000)
    isometry, _ = np.linalg.qr(RNG.standard_normal((192, SIZE)))
    generate = lambda z: jnp.matmul(z, jnp.float32(isometry.T), precision="highest").reshape(-1, SIDE, SIDE, 3)  # noqa: E731
    found = jax.jit(lambda *z: path_length.lengths(generate, squared, *z))(a, b, t)
    wanted = angles(a, b) ** 2
    np.testing.assert_allclose(found, wanted, rtol=2e-3)
    assert np.mean(found) == pytest.approx(wanted.mean(), rel=1e-5)
    start, end = path_length.circle(*map(jnp.asarray, (a, b, 0 * t)), 1.0)
    for point, latent in ((start, a), (end, b)):
        np.testing.assert_allclose(point, latent / np.linalg.norm(latent, axis=1, keepdims=True), atol=1e-5)


def test_step_is_not_spoilt_by_rounding():
    """Adding epsilon to t in float32 makes lengths 1e-4 too long on average; ours stay within 1e-5 at epsilon 1e-4."""
    a, b, t = latents(20_000, 32)
    for step, wanted in (
        (path_length.circle, angles(a, b) ** 2),
        (path_length.straight, ((b.astype(float) - a) ** 2).sum(1)),
    ):
        start, end = (np.asarray(x, float) for x in step(*map(jnp.asarray, (a, b, t)), 1e-4))
        ratio = ((end - start) ** 2).sum(1).mean() / 1e-8 / wanted.mean()
        assert ratio == pytest.approx(1, abs=1e-5)


def test_degenerate_circles():
    a, b, t = latents(3, 4)
    start, end = path_length.circle(jnp.asarray(a), jnp.asarray(a), jnp.asarray(t), 1e-4)
    assert jnp.isfinite(start).all()
    np.testing.assert_allclose(start, end, atol=1e-6)
    with pytest.raises(InputError, match="size 1 span no great circle"):
        path_length.lengths(linear, squared, a[:, :1], b[:, :1], t)
    with pytest.raises(InputError, match="space of the path length"):
        path_length.lengths(linear, squared, a, b, t, space="v")


def test_one_latent_for_each_layer():
    """W with a row for each layer: t belongs to the example, not to the layer."""
    a, b = (jnp.asarray(RNG.standard_normal((3, 5, 4)), jnp.float32) for _ in range(2))
    start, end = path_length.straight(a, b, jnp.array([0.0, 0.5, 1.0]), 0.25)
    np.testing.assert_allclose(start, jnp.stack([a[0], (a[1] + b[1]) / 2, b[2]]), atol=1e-6)
    np.testing.assert_allclose(end - start, 0.25 * (b - a), atol=1e-6)


def test_images_are_cropped_and_reduced():
    rows, columns = np.mgrid[:1024, :1024].astype(np.float32)
    whole = jnp.asarray(np.stack([rows, columns], -1)[None])
    face = path_length.face(whole)
    assert face.shape == (1, 512, 512, 2)
    assert face[0, 0, 0].tolist() == [384, 256]
    assert face[0, -1, -1].tolist() == [895, 767]
    small = path_length.prepare(whole)
    assert small.shape == (1, 256, 256, 2)
    assert small[0, 1, 2].tolist() == [5.5, 9.5]  # means of rows 4 to 7 and columns 8 to 11
    assert path_length.prepare(whole, crop=True)[0, 0, 0].tolist() == [384.5, 256.5]
    for untouched in (whole[:, :256, :256], whole[:, :300, :20], whole[:, :5, :5]):
        assert path_length.prepare(untouched).shape == untouched.shape
    with pytest.raises(InputError, match="513x512 cannot be reduced by averaging 2x2"):
        path_length.prepare(whole[:, :513, :512])
    with pytest.raises(InputError, match="square images of 8x8 or more, not 64x32"):
        path_length.prepare(whole[:, :64, :32], crop=True)


def test_trimmed_mean_by_hand():
    """Of 0..200 the percentiles are 2 and 198: both kept. Of 0..9 they lie between values, outwards: all kept."""
    values = np.arange(201.0)
    values[200] = 1e9
    assert path_length.trimmed_mean(np.random.default_rng(0).permutation(values)) == pytest.approx(100)
    assert path_length.trimmed_mean(np.array([*range(9), 90.0])) == pytest.approx(12.6)
    skewed = np.arange(150.0) ** 2  # percentiles at 1.49 and 147.51: from the 1st to the 148th, both kept
    assert path_length.trimmed_mean(skewed) == pytest.approx(np.mean(np.arange(1, 149.0) ** 2))
    assert path_length.trimmed_mean(np.array([3.0])) == 3
    with pytest.raises(InputError, match="0 of 0 lengths"):
        path_length.trimmed_mean(np.array([]))
    with pytest.raises(InputError, match="2 of 3 lengths are not finite"):
        path_length.trimmed_mean(np.array([1.0, np.nan, np.inf]))


def test_paths_of_a_generator_with_styles(monkeypatch):
    """Styles 2 z for each of three layers, and images linear in their sum: lengths follow from z, in w on straight
    lines and in z on the sphere of radius sqrt(size). Noise differs between latents and stays the first one's."""

    def draw(seed, rows, bound):
        z = jax.vmap(lambda row: jax.random.normal(jax.random.fold_in(jax.random.key(seed), row), (SIZE,)))(rows)
        return {"z": z, "noise": (10.0 * z[:, :1],)}

    def styles(state, latent, labels, psi):
        assert psi == 1.0
        return {"w": jnp.repeat(2.0 * latent["z"][:, None], 3, axis=1), "noise": latent["noise"]}

    def generate(state, latent, labels):
        w = latent["w"] if "w" in latent else styles(state, latent, labels, 1.0)["w"]
        return linear(w.sum(axis=1)) + latent["noise"][0][:, :, None, None]

    programs = SimpleNamespace(latents=draw, styles=styles, generate=generate)
    sampler = mock.Mock(
        spec=Sampler, programs=programs, state=None, mesh=parallel.make_mesh({"data": 1, "fsdp": 1}, jax.devices()[:1])
    )
    sampler.labels = lambda number: jnp.zeros(number, jnp.int32)
    monkeypatch.setattr(catalogue, "perceptual", lambda needs: squared)
    evidence = catalogue.Evidence(Needs(None, None, None, sampler, seed=3, samples=100), {}, "")
    z = np.asarray(draw(3, np.arange(200, dtype=np.uint32), None)["z"], float)
    a, b, matrix = z[:100], z[100:], MATRIX.astype(float)
    wanted = (6.0 * (b - a) @ matrix) ** 2
    found = catalogue.path_length_w(evidence)["ppl_w"]
    assert found == pytest.approx(path_length.trimmed_mean(wanted.sum(1)), rel=1e-3)
    t = np.random.default_rng(3).random(100, np.float32)
    start, end = reference(a, b, t, 1e-4)
    wanted = (6.0 * SIZE**0.5 * (end - start) @ matrix) ** 2 / 1e-8
    found = catalogue.path_length_z(evidence)["ppl_z"]
    assert found == pytest.approx(path_length.trimmed_mean(wanted.sum(1)), rel=1e-3)
