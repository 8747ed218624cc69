"""Shapes: pictures against their own ground truth."""

import numpy as np
import pytest

from gan_jax.data.worlds import Shapes, draw
from gan_jax.data.worlds.shapes import BACKGROUNDS, CLASSES, COLOURS, FIELDS, PAINTS, SHAPES
from gan_jax.errors import InputError

SOME = np.arange(200)
TRUTH = tuple(field for field in FIELDS if field not in ("image", "mask", "edges"))


@pytest.fixture(scope="module")
def large():
    return Shapes((128, 128), fields=FIELDS).read(SOME)


def test_records_depend_on_seed_and_index_alone(large):
    few = Shapes((128, 128), fields=("mask", "image")).read(np.array([150, 3]))
    again = Shapes((128, 128), fields=FIELDS).read(np.array([3]))
    assert set(few) == {"mask", "image"}
    assert set(again) == set(FIELDS)
    for field in few:
        np.testing.assert_array_equal(few[field], large[field][[150, 3]])
    for field in again:
        np.testing.assert_array_equal(again[field], large[field][[3]])
        assert again[field].dtype == large[field].dtype
    assert not np.array_equal(Shapes(seed=1, fields=("centre",)).read(SOME)["centre"], large["centre"])


def test_attributes_do_not_depend_on_resolution(large):
    wide = Shapes((20, 48), fields=FIELDS).read(SOME)
    for field in TRUTH:
        np.testing.assert_array_equal(wide[field], large[field])
    assert wide["image"].shape == (200, 20, 48, 3)
    assert wide["image"].dtype == np.uint8
    assert wide["mask"].shape == (200, 20, 48)
    assert wide["edges"].shape == (200, 20, 48, 1)


def test_small_pictures_are_large_ones_seen_from_afar(large):
    """Antialiasing: averaging 4x4 pixels of the large picture gives the small one but for rounding (0.25 levels on
    average) and curved borders; without it every border pixel errs by tens of levels and the mean exceeds 2."""
    small = Shapes((32, 32)).read(SOME)["image"]
    shrunk = large["image"].reshape(200, 32, 4, 32, 4, 3).mean((2, 4))
    assert np.abs(shrunk - small).mean() < 0.6


def test_mask_agrees_with_label_centre_and_radius(large):
    y, x = np.mgrid[:128, :128] + 0.5
    for i in SOME:
        inside = large["mask"][i] > 0
        assert set(np.unique(large["mask"][i])) == {0, 1 + large["label"][i]}
        name, radius, centre = CLASSES[large["label"][i]], large["radius"][i], large["centre"][i]
        assert np.hypot(y / 128 - centre[0], x / 128 - centre[1])[inside].max() < 1.27 * radius
        if name in ("circle", "ring", "square", "diamond", "hexagon", "cross"):  # symmetric about their centre
            found = np.array([y[inside].mean(), x[inside].mean()])
            np.testing.assert_allclose(found, centre * 128, atol=0.5)  # half a pixel
        if name in ("circle", "ring"):
            area = np.pi * (0.9**2 if name == "circle" else 0.94**2 - 0.46**2) * radius**2
            assert abs(inside.mean() / area - 1) < 0.03  # a border pixel is right or wrong by half on average


def test_colours_agree_with_the_picture(large):
    for i in SOME:
        mean = large["image"][i][large["mask"][i] > 0].mean(0) / 255
        nearest = np.argmin(((PAINTS.T - mean) ** 2).sum(1))
        assert COLOURS[nearest] == COLOURS[large["colour"][i]]


def test_edges_run_along_the_border_of_the_mask(large):
    inside = np.pad(large["mask"] > 0, ((0, 0), (2, 2), (2, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(inside, (5, 5), axis=(1, 2))
    near = windows.any((-1, -2)) & ~windows.all((-1, -2))
    dark = large["edges"][..., 0] < 100
    assert not dark[~near].any()  # nothing is drawn away from a border
    border = (large["mask"] > 0) & ~inside[:, 1:-3, 2:-2]  # pixels whose upper neighbour is outside
    assert dark[border].all()


def test_frequencies():
    found = Shapes(fields=("label", "colour", "background")).read(np.arange(20_000))
    for field, names in (("label", CLASSES), ("colour", COLOURS), ("background", BACKGROUNDS)):
        share, p = np.bincount(found[field], minlength=len(names)) / 20_000, 1 / len(names)
        assert np.abs(share - p).max() < 5 * np.sqrt(p * (1 - p) / 20_000)  # five standard errors


def test_only_draws_those_classes_and_changes_nothing_else():
    everything = Shapes(fields=FIELDS).read(SOME)
    circles = Shapes(fields=FIELDS, only=("circle",))
    found = circles.read(SOME)
    assert circles.classes == ("circle",)
    assert set(found["label"]) == {0}
    for field in ("colour", "background", "centre", "radius", "angle"):
        np.testing.assert_array_equal(found[field], everything[field])
    drawn = everything["label"] == CLASSES.index("circle")
    np.testing.assert_array_equal(found["image"][drawn], everything["image"][drawn])
    assert all(" circle " in caption for caption in found["caption"])


def test_captions_say_what_is_seen(large):
    for i in SOME:
        words = (COLOURS[large["colour"][i]], CLASSES[large["label"][i]], BACKGROUNDS[large["background"][i]])
        assert all(word in large["caption"][i] for word in words)
        y, x = large["centre"][i]
        assert ("left" in large["caption"][i]) == (x < 0.44)
        assert ("right" in large["caption"][i]) == (x >= 0.56)
        assert any(w in large["caption"][i] for w in ("upper", "top")) == (y < 0.44)


GRID = np.meshgrid(*[np.linspace(-1.6, 1.6, 321, dtype=np.float32)] * 2)


def test_polygon_is_exact():
    x, y = (axis[None] for axis in GRID)
    square = draw.polygon(x, y, [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
    np.testing.assert_allclose(square, draw.box(x, y, 1.0, 1.0), atol=1e-6)


@pytest.mark.parametrize("name", CLASSES)
def test_shapes_are_signed_distances(name):
    """Antialiasing reads a share of a pixel off the distance, which is right if its slope is one near the border (a
    hundredth, two at a fold, for the difference quotient) but for the few points next to a corner."""
    distance = SHAPES[name](*(axis[None] for axis in GRID))[0]
    slope = np.hypot(*np.gradient(distance, 0.01))[np.abs(distance) < 0.04]
    assert (np.abs(slope - 1) < 0.01).mean() > 0.9
    assert slope.max() < 1.02
    assert distance[160, 0] > 0
    assert 0.15 < (distance < 0).mean() * 3.2**2 / np.pi < 1


@pytest.mark.parametrize("wrong", [{"fields": ("images",)}, {"only": ("circel",)}, {"resolution": (2, 32)}])
def test_mistakes_are_explained(wrong):
    with pytest.raises(InputError, match=r"image|circle|at least 4"):
        Shapes(**wrong)
