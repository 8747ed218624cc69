"""Nearest training examples: a training image finds itself, copies are told from inventions."""

import numpy as np
import pytest

from gan_jax.analysis import neighbours
from gan_jax.data import sources
from gan_jax.errors import InputError

RNG = np.random.default_rng(0)


def blobs(count):
    """Images uint8 [count,8,8,3] of a smooth distribution with a few factors."""
    y, x = np.mgrid[:8, :8][:, None] / 7
    down, right, size = RNG.uniform(0.2, 0.8, (3, count, 1, 1))
    shape = np.exp(-((y - down) ** 2 + (x - right) ** 2) / (0.05 + 0.1 * size))
    return (255 * shape[..., None] * RNG.uniform(0.3, 1, (count, 1, 1, 3))).round().astype(np.uint8)


def floats(images):
    return images.astype(np.float32) / 127.5 - 1


TRAIN = blobs(600)
SOURCE = sources.Memory({"image": TRAIN})


@pytest.fixture(scope="module")
def trained():
    return neighbours.gallery(SOURCE)


def test_a_training_image_finds_itself(trained):
    found = trained.nearest(floats(TRAIN[40:45]), 3)
    np.testing.assert_array_equal(found.indices[:, 0], range(40, 45))
    np.testing.assert_array_equal(found.distances[:, 0], 0)
    assert (np.diff(found.distances) >= 0).all()
    np.testing.assert_array_equal(trained.read(found.indices)[:, 0], floats(TRAIN[40:45]))
    assert trained.read(found.indices).shape == (5, 3, 8, 8, 3)


def test_distances_are_root_mean_squares(trained):
    query = floats(blobs(1))
    found = trained.nearest(query, 1)
    assert found.distances[0, 0] == pytest.approx(
        np.sqrt(np.mean((floats(TRAIN) - query) ** 2, axis=(1, 2, 3))).min(), rel=1e-4
    )


def test_part_of_the_records_evenly_spaced():
    part = neighbours.gallery(SOURCE, count=7)
    np.testing.assert_array_equal(part.records, np.arange(7) * 600 // 7)
    assert part.features.shape == (7, 192)
    row = part.nearest(floats(TRAIN[part.records[4:5]])).indices[0, 0]
    assert row == 4


def test_a_mirrored_copy_is_found_where_training_mirrored():
    both = neighbours.gallery(SOURCE, count=50, mirror=True)
    assert len(both.features) == 100
    query = floats(TRAIN[both.records[5:6]])[:, :, ::-1]
    found = both.nearest(query)
    assert found.distances[0, 0] == 0
    assert both.mirrored[found.indices[0, 0]]
    np.testing.assert_array_equal(both.read(found.indices)[0], query)
    assert neighbours.gallery(SOURCE, count=50).nearest(query).distances[0, 0] > 0


def test_any_features(trained):
    colour = neighbours.gallery(SOURCE, lambda images: images.mean(axis=(1, 2)))
    assert colour.features.shape == (600, 3)
    upside_down = floats(TRAIN[9:10])[:, ::-1]
    found = colour.nearest(upside_down)
    assert found.indices[0, 0] == 9
    assert found.distances[0, 0] < 1e-6
    assert trained.nearest(upside_down).distances[0, 0] > 0.05


def test_large_images_are_compared_at_64_pixels():
    y, x = np.mgrid[:128, :256]
    images = np.stack([np.sin(x / 20), np.sin(y / 20)])[..., None].astype(np.float32)
    assert neighbours.pixels(images).shape == (2, 32 * 64)
    checker = np.where((x + y) % 2, 1, -1)[None, ..., None].astype(np.float32)  # noise that nobody sees
    assert np.abs(neighbours.pixels(checker)).max() * np.sqrt(32 * 64) < 0.05


def test_a_generator_that_copies_is_told_from_one_that_invents():
    trained = neighbours.gallery(SOURCE, count=32)
    held_out = floats(blobs(200))
    copies = np.clip(trained.read(RNG.integers(32, size=200)) + RNG.normal(0, 0.02, (200, 8, 8, 3)), -1, 1)
    copied = neighbours.memorisation(copies.astype(np.float32), held_out, trained)
    assert copied.ratio < 0.5
    assert copied.ratio == pytest.approx(copied.samples / copied.held_out)
    invented = neighbours.memorisation(floats(blobs(200)), held_out, trained)
    assert 0.8 < invented.ratio < 1.25
    with pytest.raises(InputError, match="held-out examples are among the training examples"):
        neighbours.memorisation(held_out, trained.read(np.arange(32)), trained)


def test_points():
    points = RNG.standard_normal((100, 2)).astype(np.float32)
    trained = neighbours.gallery(sources.Memory({"point": points}))
    found = trained.nearest(points[:4], 2)
    np.testing.assert_array_equal(found.indices[:, 0], range(4))
    np.testing.assert_array_equal(trained.read(found.indices)[:, 0], points[:4])


def test_too_few_neighbours_to_choose_from():
    with pytest.raises(InputError, match="3 examples, but at least 4 are needed"):
        neighbours.gallery(SOURCE, count=3).nearest(floats(TRAIN[:2]), 4)


def test_the_picture_has_samples_on_the_left():
    samples = RNG.uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    found = RNG.uniform(-1, 1, (2, 3, 64, 64, 3)).astype(np.float32)
    picture = neighbours.picture(samples, found)
    assert picture.shape == (2 * 66 + 2, 66 + 2 + 12 + 3 * 66 + 2, 3)
    assert (picture[:, 68:80] == 255).all()
    np.testing.assert_array_equal(picture[2:66, 82:146], ((found[0, 0] + 1) * 127.5).round().astype(np.uint8))
