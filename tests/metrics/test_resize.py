"""Both resizers against their definitions: the ramps of TensorFlow 1, and Pillow itself."""

import jax
import numpy as np
import pytest
from PIL import Image

from gan_jax.metrics.resize import bicubic, clean, tf1_bilinear


def ramp(length: int, axis: int) -> np.ndarray:
    """[1, H, W, 2]: 0, 1, 2... along the axis, and its half in the second channel."""
    shape = (length, 3) if axis == 1 else (3, length)
    image = np.broadcast_to(np.arange(length, dtype=np.float32)[(...,) if axis == 2 else (..., None)], shape)
    return np.stack([image, image / 2], axis=-1)[None]


@pytest.mark.parametrize("axis", [1, 2])
def test_ramps_of_tensorflow(axis):
    made = np.asarray(tf1_bilinear(ramp(4, axis), (8, 3) if axis == 1 else (3, 8)))
    line = made[0, :, 1] if axis == 1 else made[0, 1]
    np.testing.assert_array_equal(line[:, 0], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3])  # not 0, .25, .75: corners are aligned
    np.testing.assert_array_equal(line[:, 1], line[:, 0] / 2)


def test_ramp_of_cifar():
    line = np.asarray(tf1_bilinear(ramp(32, 2), (3, 299)))[0, 1, :, 0]
    assert line[1] == pytest.approx(32 / 299, rel=1e-6)
    np.testing.assert_array_equal(line[290:], 31)
    np.testing.assert_allclose(line[:290], np.arange(290) * 32 / 299, rtol=1e-5)


def test_smaller_images_are_not_filtered():
    image = np.random.default_rng(0).uniform(0, 255, (2, 12, 9, 1)).astype(np.float32)
    np.testing.assert_array_equal(tf1_bilinear(image, (4, 3)), image[:, ::3, ::3])


@pytest.mark.parametrize("resizer", [tf1_bilinear, clean])
def test_the_same_size_is_left_alone(resizer):
    image = np.random.default_rng(0).integers(0, 256, (2, 7, 5, 3), np.uint8)
    np.testing.assert_allclose(jax.jit(resizer, static_argnums=1)(image, (7, 5)), image, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "out"),
    [((32, 32), (64, 48)), ((60, 31), (17, 40)), ((90, 77), (13, 11)), ((5, 2), (4, 3)), ((1, 1), (3, 2))],
)
def test_clean_is_pillow(size, out):
    images = np.random.default_rng(2).integers(0, 256, (2, *size, 3)).astype(np.float32)
    made = np.asarray(clean(images, out))
    assert made.shape == (2, *out, 3)
    for image, ours in zip(images, made, strict=True):
        planes = [Image.fromarray(image[..., channel]) for channel in range(3)]
        assert {plane.mode for plane in planes} == {"F"}
        theirs = [np.asarray(plane.resize(out[::-1], Image.Resampling.BICUBIC)) for plane in planes]
        np.testing.assert_allclose(ours, np.stack(theirs, axis=-1).clip(0, 255), atol=2e-3)


def test_clean_stays_in_range_where_the_cubic_does_not():
    image = np.repeat(np.array([0, 0, 255, 255], np.float32), 4).reshape(1, 4, 4, 1).transpose(0, 2, 1, 3)
    made = np.asarray(clean(image, (9, 9)))
    assert (made.min(), made.max()) == (0, 255)
    assert (bicubic(4, 9) @ image[0, 0, :, 0]).max() > 255 + 1


@pytest.mark.parametrize(("length", "out"), [(7, 20), (20, 7), (8, 8), (299, 31)])
def test_weights_sum_to_one(length, out):
    np.testing.assert_allclose(bicubic(length, out).sum(axis=1), 1, atol=1e-6)
