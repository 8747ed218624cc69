"""Sliced Wasserstein distance: pyramid, patches and distances against exact values, SciPy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.ndimage
import scipy.stats

from gan_jax import parallel
from gan_jax.errors import InputError
from gan_jax.metrics import sliced_wasserstein
from gan_jax.metrics.sliced_wasserstein import descriptors, distances, laplacian_pyramid, levels, pyr_down, pyr_up

KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])[None, :, :, None] / 256

pyramid = jax.jit(laplacian_pyramid)


def images(n, height=32, width=32, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels)).astype(np.uint8)


def blobs(n, seed, blur=0.0):
    """Four coloured Gaussian blobs on black, 32x32 pixels."""
    rng = np.random.default_rng(seed)
    rows = np.arange(32)[None, :, None, None]
    result = np.zeros((n, 32, 32, 3))
    for _ in range(4):
        y, x = rng.uniform(4, 28, (2, n, 1, 1, 1))
        radius, colour = rng.uniform(1, 4, (n, 1, 1, 1)), rng.uniform(0, 255, (n, 1, 1, 3))
        mask = np.exp(-((rows - y) ** 2 + (rows.swapaxes(1, 2) - x) ** 2) / (2 * radius**2))
        result = result + mask * (colour - result)
    result = scipy.ndimage.gaussian_filter(result, (0, blur, blur, 0)) if blur else result
    return result.round().clip(0, 255).astype(np.uint8)


def described(pictures, seed):
    """Descriptors of a multiple of 8 images, streamed."""
    parts = [descriptors(pictures[i : i + 8], seed, i) for i in range(0, len(pictures), 8)]
    return {level: np.concatenate([part[level] for part in parts]) for level in parts[0]}


def normal(n, dimension, seed):
    return np.random.default_rng(seed).standard_normal((n, dimension), dtype=np.float32)


def test_pyr_down_of_an_impulse():
    result = jax.jit(pyr_down)(jnp.zeros((1, 8, 8, 1)).at[0, 4, 4, 0].set(256.0))[0, :, :, 0]
    np.testing.assert_array_equal(result, [[0, 0, 0, 0], [0, 1, 6, 1], [0, 6, 36, 6], [0, 1, 6, 1]])


def test_pyramid_by_its_definition_and_back():
    x = jnp.asarray(images(2, 32, 64), jnp.float32)
    fine, coarse = pyramid(x)
    expected = scipy.ndimage.convolve(np.asarray(x, np.float64), KERNEL, mode="mirror")[:, ::2, ::2]
    np.testing.assert_allclose(coarse, expected, atol=1e-4)
    spread = np.zeros((2, 32, 64, 3))
    spread[:, ::2, ::2] = expected
    np.testing.assert_allclose(fine, x - scipy.ndimage.convolve(spread, 4 * KERNEL, mode="mirror"), atol=1e-4)
    np.testing.assert_allclose(fine + pyr_up(coarse), x, atol=1e-4)


def test_flat_images_have_nothing_at_fine_levels():
    fine, coarse = pyramid(jnp.full((2, 32, 64, 3), 77.0))
    np.testing.assert_array_equal(fine, 0)
    np.testing.assert_array_equal(coarse, 77)


def test_sizes_of_levels():
    assert levels(64, 64) == [(64, 64), (32, 32), (16, 16)]
    assert levels(48, 96) == [(48, 96), (24, 48)]
    assert levels(28, 31) == [(28, 31)]


@pytest.mark.parametrize("channels", [1, 4])
def test_descriptors_are_patches_of_their_image(channels):
    pictures = images(3, 16, 24, channels)
    found = descriptors(pictures, 0, 0)
    assert {level: values.shape for level, values in found.items()} == {16: (3 * 128, 49 * channels)}
    patches = np.asarray(found[16]).reshape(3, 128, 7, 7, channels)
    for picture, own in zip(pictures, patches, strict=True):
        every = np.lib.stride_tricks.sliding_window_view(picture, (7, 7), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
        every = every.reshape(10 * 18, 7, 7, channels)
        corners = {patch.tobytes(): place for patch, place in zip(every, np.ndindex(10, 18), strict=True)}
        places = np.array([corners[patch.astype(np.uint8).tobytes()] for patch in own])  # KeyError: not a patch of it
        # All 10 x 18 places can be drawn, evenly: an edge is missed by 128 draws with probability below .001.
        assert places.min(axis=0).tolist() == [0, 0]
        assert places.max(axis=0).tolist()[0] == 9
        assert abs(places.mean(axis=0) - [4.5, 8.5]).max() < 2


def test_places_depend_on_seed_and_index_alone():
    """Two batches on one device and one batch over eight devices: the same patches."""
    pictures = images(16)
    streamed = described(pictures, 5)
    assert sorted(streamed) == [16, 32]
    mesh = parallel.make_mesh({"data": 8})
    spread = descriptors(jax.device_put(pictures, parallel.batch_sharding(mesh)), 5, 0)
    for level, values in spread.items():
        np.testing.assert_array_equal(values, streamed[level])
    repeated = described(np.repeat(pictures[:1], 8, axis=0), 5)[16].reshape(8, 128, -1)
    assert not np.array_equal(repeated[0], repeated[1])  # other places in every image
    assert not np.array_equal(streamed[16], described(pictures, 6)[16])


def test_distance_of_equal_sets_is_zero_and_of_equal_distributions_at_its_floor():
    """The expected distance of two empirical normal distributions: sqrt(2/n) sqrt(2/pi) times ∫ sqrt(F (1 - F))."""
    a, b = normal(4096, 49, 0), normal(4096, 49, 1)
    assert distances({16: a}, {16: a.copy()}, repeats=1) == {16: 0.0, "average": 0.0}
    spread = scipy.integrate.quad(lambda x: np.sqrt(scipy.stats.norm.cdf(x) * scipy.stats.norm.sf(x)), -12, 12)[0]
    floor = 1e3 * np.sqrt(2 / 4096) * np.sqrt(2 / np.pi) * spread
    assert floor == pytest.approx(2 * 14.23, abs=0.01)  # 14.23 for 16,384
    assert distances({16: a}, {16: b}, repeats=2)[16] == pytest.approx(floor, rel=0.05)


def test_distance_of_known_distributions():
    """Equal values within a patch against independent ones, both of unit variance: along a direction u the distance is
    E|Z| ||sum u| - 1|."""
    real = normal(4096, 49, 0)
    fake = np.repeat(normal(4096, 1, 1), 49, axis=1)
    units = np.random.default_rng(2).standard_normal((100_000, 49))
    sums = np.abs((units / np.linalg.norm(units, axis=1, keepdims=True)).sum(axis=1))
    expected = 1e3 * np.sqrt(2 / np.pi) * np.abs(sums - 1).mean()
    assert distances({16: real}, {16: fake})[16] == pytest.approx(expected, rel=0.1)


def test_distances_by_their_definition():
    rng = np.random.default_rng(0)
    offset, scale = rng.uniform(-100, 100, (2, 3)), rng.uniform(1, 60, (2, 3))
    sets = [normal(1000, 147, i) * np.tile(scale[i], 49) + np.tile(offset[i], 49) for i in range(2)]
    sets = [values.astype(np.float32) for values in sets]
    sets[1] = np.exp(sets[1] / 60)
    key = jax.random.fold_in(jax.random.key(3), 64)
    units = np.asarray(sliced_wasserstein.unit_directions(key, 2 * 20, 147), np.float64)
    np.testing.assert_allclose((units**2).sum(axis=1), 1, rtol=1e-6)
    standard = [x.reshape(-1, 49, 3).astype(np.float64) for x in sets]
    standard = [(x - x.mean(axis=(0, 1))) / x.std(axis=(0, 1)) for x in standard]
    sorted_projections = [np.sort(units @ x.reshape(-1, 147).T, axis=1) for x in standard]
    expected = 1e3 * np.abs(sorted_projections[0] - sorted_projections[1]).mean()
    result = distances({64: sets[0], 16: sets[0]}, {64: sets[1], 16: sets[0]}, repeats=2, directions=20, seed=3)
    assert result == {64: pytest.approx(expected, rel=1e-5), 16: 0.0, "average": pytest.approx(expected / 2, rel=1e-5)}


def test_accelerators_sort_on_the_device(monkeypatch):
    a, b, units = normal(500, 49, 0), normal(500, 49, 1), normal(8, 49, 2)
    on_host = sliced_wasserstein._transport(jnp.asarray(a), jnp.asarray(b), jnp.asarray(units))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    on_device = sliced_wasserstein._transport(jnp.asarray(a), jnp.asarray(b), jnp.asarray(units))
    np.testing.assert_allclose(on_device, on_host, rtol=1e-5)


def test_distance_does_not_see_scale_and_offset_of_a_channel():
    a = normal(1000, 98, 0)
    b = a * np.tile(np.float32([0.5, 3]), 49) + np.tile(np.float32([100, -7]), 49)
    assert distances({16: a}, {16: b}, repeats=1)[16] < 0.01


def test_collapsed_generator_has_a_distance():
    flat = described(np.full((8, 32, 32, 3), 77, np.uint8), 0)
    result = distances(described(images(8), 0), flat, repeats=1)
    assert all(300 < value < 1500 for value in result.values())  # E|N(0, 1)| is 798


def test_distance_grows_with_blur():
    real = described(blobs(64, 0), 0)
    same, little, much = (described(blobs(64, 1, blur), 0) for blur in (0, 0.7, 1.4))
    values = [distances(real, fake, directions=32)[32] for fake in (same, little, much)]
    assert values[0] < values[1] < values[2]


@pytest.mark.slow
def test_blur_doubles_the_distance_on_a_thousand_images():
    """The measure of the sheet: 1,024 images of blobs, the same distribution against blurred ones."""
    real = described(blobs(1024, 0), 0)
    same, blurred = (distances(real, described(blobs(1024, 1, blur), 1)) for blur in (0, 1.0))
    assert all(blurred[level] > 2 * same[level] for level in (32, "average"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: levels(15, 64), "15x64 cannot be halved .* at least 16"),
        (lambda: levels(33, 64), "multiples of 2"),
        (lambda: levels(218, 178), "multiples of 8"),
        (lambda: descriptors(images(1, 66, 66), 0, 0), "66x66 cannot be halved down to 16 to 31 .* multiples of 4"),
        (lambda: distances({16: normal(5, 49, 0)}, {16: normal(4, 49, 0)}), r"\(5, 49\) .* \(4, 49\)"),
        (lambda: distances({16: normal(5, 49, 0)}, {16: normal(5, 147, 0)}), r"\(5, 49\) .* \(5, 147\)"),
        (lambda: distances({16: normal(0, 49, 0)}, {16: normal(0, 49, 0)}), "1 or more"),
        (lambda: distances({16: normal(5, 49, 0)}, {32: normal(5, 49, 0)}), r"levels \[16\], generated ones \[32\]"),
        (lambda: distances({}, {}), "same size"),
    ],
)
def test_bad_input_says_what_is_needed(call, message):
    with pytest.raises(InputError, match=message):
        call()
