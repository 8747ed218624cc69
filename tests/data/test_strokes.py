"""Strokes are dark on white, as thick as was asked for, and a function of (seed, index)."""

import numpy as np
import pytest

from gan_jax.data.transforms import bicubic
from gan_jax.data.worlds import Strokes
from gan_jax.data.worlds.strokes import render
from gan_jax.errors import InputError


def test_records_are_functions_of_seed_and_index():
    world = Strokes()
    several = world.read(np.arange(6))["image"]
    assert (several.shape, several.dtype) == ((6, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(several[4:5], world.read(np.array([4]))["image"])
    assert len({image.tobytes() for image in several}) == 6
    assert not np.array_equal(several, Strokes(seed=1).read(np.arange(6))["image"])
    assert (several[..., :1] == several).all()  # grey
    assert 0.1 < (Strokes().read(np.arange(64))["image"] < 128).mean() < 0.4


def test_a_stroke_is_where_and_as_thick_as_it_should_be():
    """From (.5, .25) to (.5, .75) of 16 x 32 pixels, and an eighth of the shorter side thick: two rows of them."""
    ends = np.array([[[[0.5, 0.25], [0.5, 0.75]]]], np.float32)
    image = render({"ends": ends, "thickness": np.full((1, 1), 1 / 8, np.float32)}, (16, 32))["image"][0, ..., 0]
    assert (image[7:9, 8:24] == 0).all()
    assert (image[:6] == 255).all()
    assert (image[10:] == 255).all()
    assert (image[:, :6] == 255).all()


def test_a_small_image_keeps_little_of_them():
    """A bicubic interpolation has 12.6 dB on average: a network has something to learn."""
    truth = Strokes(seed=1000).read(np.arange(128))["image"]
    made = bicubic(bicubic(truth, (8, 8)), (32, 32))
    error = np.square(made.astype(float) - truth).mean(axis=(1, 2, 3))
    assert 12 < (10 * np.log10(255**2 / error)).mean() < 13.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"number": 0}, "number=0 must be at least 1"),
        ({"thickness": (0.2, 0.1)}, r"thickness=\(0.2, 0.1\) must be two rising"),
        ({"resolution": (2, 8)}, "at least 4 pixels"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(InputError, match=message):
        Strokes(**options)
