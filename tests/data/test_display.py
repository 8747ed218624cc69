"""Pictures: grids of images, clouds of points over the real ones, histograms; and files that are whole."""

import numpy as np
import pytest
from PIL import Image

from gan_jax.data import display
from gan_jax.data.display import FAKE, GAP, PAPER

RNG = np.random.default_rng(0)


def has_colour(picture, colour, tolerance=40):
    return (np.abs(picture.astype(int) - np.asarray(colour)).max(-1) < tolerance).any()


def test_a_grid_shows_every_image_in_its_place():
    images = np.linspace(-1, 1, 6, dtype=np.float32)[:, None, None, None] * np.ones((6, 64, 80, 3), np.float32)
    grid = display.image_grid(images, columns=4)
    assert grid.shape == (2 * 64 + 3 * GAP, 4 * 80 + 5 * GAP, 3)
    assert grid.dtype == np.uint8
    for number in range(6):
        row, column = divmod(number, 4)
        cell = grid[GAP + row * (64 + GAP) :, GAP + column * (80 + GAP) :][:64, :80]
        assert (cell == np.round(number * 51)).all()
    assert (grid[GAP + 64 + GAP :, GAP + 2 * (80 + GAP) :] == 255).all()  # the two places that are left
    assert (grid[:GAP] == 255).all()


def test_small_images_are_enlarged_and_the_grid_is_square():
    grid = display.image_grid(np.zeros((10, 16, 16, 1), np.float32))
    assert grid.shape == (3 * (64 + GAP) + GAP, 4 * (64 + GAP) + GAP, 3)
    assert display.image_grid(np.zeros((1, 300, 200, 3), np.float32)).shape == (300 + 2 * GAP, 200 + 2 * GAP, 3)


@pytest.mark.parametrize(("channels", "shown"), [(1, [255] * 3), (2, [255, 255, 0]), (3, [255] * 3), (5, [255] * 3)])
def test_other_numbers_of_channels(channels, shown):
    images = np.ones((1, 64, 64, channels), np.float32)
    assert display.image_grid(images)[30, 30].tolist() == shown


def test_values_that_are_no_numbers_are_drawn():
    images = np.full((1, 64, 64, 3), np.nan, np.float32)
    images[..., 0], images[..., 1] = np.inf, -np.inf
    assert display.image_grid(images)[30, 30].tolist() == [255, 0, 0]


def test_points_are_drawn_over_real_ones_where_they_are():
    real = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    picture = display.point_scatter(np.array([[0.0, 1.0]]), real, size=130)  # the frame is -0.15 to 1.15: 0 is at 14.8
    assert picture.shape == (130, 130, 3)
    assert has_colour(picture[:30, :30], FAKE)  # x small, y large: upper left
    assert not has_colour(picture[:, 40:], FAKE)
    assert (picture[110:120, 110:120] < 250).any()  # the real point in the lower right: grey
    assert (picture[40:90, 40:90] == PAPER).all()


def test_the_frame_is_that_of_the_real_points():
    real = RNG.normal(size=(500, 2))
    near = display.point_scatter(real * 0.1, real)
    far = display.point_scatter(np.concatenate([real * 0.1, [[1e6, -1e6], [np.nan, 0], [np.inf, 0]]]), real)
    assert np.abs(near.astype(int) - far).mean() < 0.1


def test_points_without_real_ones_or_of_more_dimensions():
    points = RNG.normal(size=(100, 5)).astype(np.float32)
    assert has_colour(display.point_scatter(points, size=64), FAKE)
    np.testing.assert_array_equal(display.point_scatter(points), display.point_scatter(points[:, :2]))
    assert (display.point_scatter(np.full((4, 2), np.nan)) == 255).all()


def test_many_points_show_their_density():
    cloud = RNG.normal(size=(10_000, 2)) * [1.0, 0.2]
    picture = display.point_scatter(cloud, cloud)
    redness = picture[..., 0].astype(int) - picture[..., 1]
    assert redness[256, 256] > redness[256, 400] + 20  # denser in the middle, and not saturated beside it


def test_one_dimension_is_drawn_as_histograms():
    real = RNG.normal(size=(2000, 1)) * 0.1
    real[:1000] -= 1
    fake = RNG.normal(size=(2000, 1)) * 0.1 - 1  # one of two modes
    picture = display.point_scatter(fake, real, size=256)
    redness = picture[..., 0].astype(int) - picture[..., 2]
    assert redness[60:250, :128].max() > 100
    assert redness[60:200, 140:].max() < 20  # nothing generated here,
    assert (picture[200, 140:] < 230).any()  # but data


def test_pictures_of_a_domain_have_one_signature():
    points = RNG.normal(size=(30, 2)).astype(np.float32)
    batch = {"point": points + 1, "label": np.zeros(30, np.int32)}
    np.testing.assert_array_equal(
        display.BY_DOMAIN["point"](points, batch), display.point_scatter(points, batch["point"])
    )
    images = RNG.uniform(-1, 1, (9, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(display.BY_DOMAIN["image"](images, {"image": images}), display.image_grid(images))


def test_files_are_whole_and_their_folders_made(tmp_path):
    picture = RNG.integers(0, 256, (20, 30, 3), np.uint8)
    path = tmp_path / "a" / "b" / "step.png"
    display.save_png(path, picture)
    display.save_png(str(path), picture)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), picture)
    with pytest.raises(TypeError):
        display.save_png(path, picture.astype(np.complex64))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), picture)  # what was there is untouched
    assert [entry.name for entry in path.parent.iterdir()] == ["step.png"]


def test_an_animation_is_whole_and_goes_round(tmp_path):
    frames = np.stack([np.full((20, 30, 3), level, np.uint8) for level in (0, 120, 240)])
    path = tmp_path / "new" / "a.gif"
    display.save_gif(path, frames, 0.12)
    with Image.open(path) as animation:
        assert (animation.n_frames, animation.size, animation.info["loop"]) == (3, (30, 20), 0)
        for number, frame in enumerate(frames):
            animation.seek(number)
            assert animation.info["duration"] == 120
            np.testing.assert_allclose(np.asarray(animation.convert("RGB")).astype(int), frame, atol=2)
    assert [file.name for file in path.parent.iterdir()] == ["a.gif"]


def test_pictures_are_joined_in_the_middle_on_white():
    small, large = np.zeros((4, 6, 3), np.uint8), np.zeros((10, 2, 3), np.uint8)
    beside = display.join([small, large], axis=1, gap=3)
    assert beside.shape == (10, 6 + 3 + 2, 3)
    assert (beside[:3, :6] == 255).all()
    assert (beside[3:7, :6] == 0).all()
    assert (beside[:, 6:9] == 255).all()
    assert (beside[:, 9:] == 0).all()
    np.testing.assert_array_equal(
        display.join([small.swapaxes(0, 1), large.swapaxes(0, 1)], axis=0, gap=3), beside.swapaxes(0, 1)
    )


def test_words_are_black_on_white_and_as_high_as_asked():
    low, high = display.words("psi 0.5", 12), display.words("psi 0.5", 24)
    for picture in (low, high):
        assert (picture[[0, -1]] == 255).all()
        assert (picture < 50).any()
    assert 1.5 < high.shape[0] / low.shape[0] < 2.5
