"""Bytes to floats and back; resizing without aliasing; crops that keep the aspect; channels."""

import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.data import transforms
from gan_jax.data.sources import decode
from gan_jax.data.transforms import Fit
from gan_jax.errors import InputError

NOISE = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)


def test_every_byte_survives_the_way_to_floats_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    floats = transforms.to_float(jnp.asarray(levels))
    assert floats.dtype == jnp.float32
    assert (floats.min(), floats.max()) == (-1.0, 1.0)
    np.testing.assert_array_equal(transforms.to_uint8(floats), levels)
    np.testing.assert_array_equal(transforms.to_uint8(np.asarray(floats)), levels)


def test_floats_outside_of_the_range_are_clipped():
    images = np.array([-7.0, -1.001, 0.0, 1.001, 7.0], np.float32).reshape(1, 1, 5, 1)
    assert transforms.to_uint8(images).ravel().tolist() == [0, 0, 128, 255, 255]


def test_mirror_flips_left_to_right_where_it_is_told_to():
    images = jnp.arange(2 * 3 * 4 * 5 * 2).reshape(2, 3, 4, 5, 2)
    mask = jnp.array([[True, False, False], [False, True, True]])
    mirrored = transforms.mirror(images, mask)
    for index in np.ndindex(2, 3):
        expected = images[index][:, ::-1] if mask[index] else images[index]
        np.testing.assert_array_equal(mirrored[index], expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_resizing_does_not_alias(channels):
    # A checkerboard of single pixels, made eight times smaller, is grey. Taking every eighth pixel would give black.
    board = np.indices((64, 96)).sum(0) % 2 * 255
    image = np.repeat(board[..., None], channels, -1).astype(np.uint8)
    if channels == 4:
        image[..., 3] = 255
    small = transforms.resize(image, (8, 12))
    assert small.shape == (8, 12, channels)
    assert small.dtype == np.uint8
    np.testing.assert_allclose(small[..., : min(channels, 3)].astype(int), 127, atol=4)


def test_resizing_keeps_an_image_of_the_right_size_and_flat_colours():
    assert transforms.resize(NOISE, (12, 20)) is NOISE
    flat = np.full((9, 17, 3), (10, 200, 77), np.uint8)
    assert (transforms.resize(flat, (31, 5)) == flat[0, 0]).all()


def test_the_colour_of_transparent_pixels_does_not_bleed():
    image = np.zeros((8, 8, 4), np.uint8)
    image[:, :4] = (255, 0, 0, 255)
    image[:, 4:] = (0, 255, 0, 0)  # green, but not to be seen
    small = transforms.resize(image, (4, 4))
    assert small[small[..., 3] > 30][:, 1].max() == 0


@pytest.mark.parametrize(
    ("size", "resolution", "where", "rows", "columns"),
    [
        ((100, 200), (50, 50), (0.5, 0.5), (0, 100), (50, 150)),
        ((200, 100), (50, 50), (0.5, 0.5), (50, 150), (0, 100)),
        ((100, 200), (50, 50), (0.0, 0.0), (0, 100), (0, 100)),
        ((100, 200), (50, 50), (0.9999, 0.9999), (0, 100), (100, 200)),
        ((100, 200), (32, 64), (0.3, 0.7), (0, 100), (0, 200)),  # the same aspect: nothing to cut
        ((100, 200), (64, 32), (0.5, 0.5), (0, 100), (75, 125)),
        ((3, 500), (500, 3), (0.5, 0.5), (0, 3), (250, 251)),  # at least one pixel is left
    ],
)
def test_the_window_is_the_largest_of_the_right_aspect(size, resolution, where, rows, columns):
    assert transforms.window(size, resolution, where) == (slice(*rows), slice(*columns))


def test_a_random_window_reaches_every_place_equally_often():
    places = np.random.default_rng(0).random((5000, 2))
    starts = [transforms.window((10, 14), (10, 10), place)[1].start for place in places]
    counts = np.bincount(starts, minlength=5)
    assert len(counts) == 5
    assert np.abs(counts - 1000).max() < 4 * np.sqrt(1000)  # four standard deviations


def test_fit_stretches_or_cuts():
    cut = NOISE[:, 4:16]
    np.testing.assert_array_equal(Fit((6, 6), crop="center")(NOISE), transforms.resize(cut, (6, 6)))
    np.testing.assert_array_equal(Fit((6, 6), crop="none")(NOISE), transforms.resize(NOISE, (6, 6)))
    np.testing.assert_array_equal(Fit((12, 12), crop="random")(NOISE, (0.0, 0.0)), NOISE[:, :12])
    np.testing.assert_array_equal(Fit((12, 12), crop="center")(NOISE, (0.0, 0.0)), cut)
    assert Fit()(NOISE) is NOISE
    assert Fit((12, 20), 3, "random")(NOISE) is NOISE


def test_channels():
    red = np.array([[[255, 0, 0]]], np.uint8)
    assert transforms.to_channels(red, 1).tolist() == [[[76]]]  # 0.299 of 255
    assert transforms.to_channels(red, 4).tolist() == [[[255, 0, 0, 255]]]
    grey = np.array([[[9]]], np.uint8)
    assert transforms.to_channels(grey, 3).tolist() == [[[9, 9, 9]]]
    half_clear = np.array([[[255, 0, 0, 128]]], np.uint8)
    assert transforms.to_channels(half_clear, 3).tolist() == [[[255, 127, 127]]]  # on white
    assert transforms.to_channels(half_clear, 1).shape == (1, 1, 1)
    assert transforms.to_channels(np.zeros((2, 2, 7), np.uint8), 7).shape == (2, 2, 7)


@pytest.mark.parametrize(("own", "channels"), [(2, 3), (3, 2), (7, 1)])
def test_other_numbers_of_channels_are_refused(own, channels):
    with pytest.raises(InputError, match=rf"config.data.channels={channels}: images of {own} channels"):
        transforms.to_channels(np.zeros((2, 2, own), np.uint8), channels)


def test_a_patch_is_cut_and_nothing_is_resized():
    cut = Fit((6, 8), crop="patch")
    np.testing.assert_array_equal(cut(NOISE, (0.0, 0.0)), NOISE[:6, :8])
    np.testing.assert_array_equal(cut(NOISE, (0.999, 0.999)), NOISE[-6:, -8:])
    np.testing.assert_array_equal(cut(NOISE), NOISE[3:9, 6:14])
    assert Fit((24, 8), crop="patch")(NOISE, (0.0, 0.0)).shape == (24, 8, 3)  # of an image enlarged to 24 x 40
    np.testing.assert_array_equal(Fit((24, 40), crop="patch")(NOISE), transforms.resize(NOISE, (24, 40)))


def test_bicubic_keeps_constants_and_ramps():
    for value in (0, 77, 255):
        flat = np.full((1, 12, 20, 3), value, np.uint8)
        assert (transforms.bicubic(flat, (3, 5)) == value).all()
        assert (transforms.bicubic(flat, (48, 40)) == value).all()
    ramp = np.broadcast_to(np.arange(0, 240, 6, dtype=np.uint8)[None, None, :, None], (1, 8, 40, 1))
    assert transforms.bicubic(ramp, (2, 10))[0, 0, 2:-2, 0].tolist() == [57, 81, 105, 129, 153, 177]  # 6 (4 k + 1.5)
    assert set(np.diff(transforms.bicubic(ramp, (8, 80))[0, 0, 4:-4, 0].astype(int))) == {3}


def test_bicubic_by_its_definition():
    """The middle of a row of 8 made to 2: 16 taps of the kernel widened by 4, those beyond the border at its pixel."""
    row = np.random.default_rng(1).integers(0, 256, 8)
    offsets = np.arange(-8, 8) + 0.5  # from the middle between the two pixels around 1.5
    weights = transforms.cubic(offsets / 4) / transforms.cubic(offsets / 4).sum()
    expected = (weights * row[np.clip(np.arange(-6, 10), 0, 7)]).sum()
    image = np.broadcast_to(row.astype(np.uint8)[None, None, :, None], (1, 4, 8, 1))
    assert transforms.bicubic(image, (4, 2))[0, 0, 0, 0] == round(expected)
    np.testing.assert_allclose(transforms.cubic(np.array([0, 0.5, 1, 1.5, 2, 2.5])), [1, 0.5625, 0, -0.0625, 0, 0])


def test_bicubic_makes_the_benchmarks_small_images(real_data):
    """The low-resolution half of Set5, made by MATLAB, bit for bit."""
    large = sorted((real_data / "sr/set5_x4").glob("*_HR.png"))
    assert len(large) == 5
    for path in large:
        truth = decode(path, path.name)
        small = decode(path.with_name(path.name.replace("HR", "LR")), path.name)
        np.testing.assert_array_equal(transforms.bicubic(truth[None], small.shape[:2])[0], small)
