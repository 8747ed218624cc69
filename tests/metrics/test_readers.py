"""Readers against the worlds whose attributes they read."""

import numpy as np
import pytest

from gan_jax.data.worlds import Faces, Shapes, shapes
from gan_jax.errors import InputError
from gan_jax.metrics import readers

FIELDS = ("image", "label", "colour", "background", "centre", "radius", "angle", "mask")


@pytest.fixture(scope="module")
def reader():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "DRAWN", 2000)
        patch.setattr(readers, "TESTED", 300)
        return readers.shapes_reader((32, 32))


def test_shapes_are_read_from_pixels(reader):
    truth = Shapes(seed=7, fields=FIELDS).read(np.arange(300))
    found = reader.predict(truth["image"])
    for name in ("colour", "background"):
        np.testing.assert_array_equal(found[name], truth[name])
    assert np.mean(found["label"] == truth["label"]) > 0.95
    assert np.abs(found["centre"] - truth["centre"]).max() < 0.5 / 32  # half a pixel
    assert np.abs(found["radius"] - truth["radius"]).mean() < 0.2 / 32
    np.testing.assert_allclose(found["area"], (truth["mask"] > 0).mean((1, 2)), atol=0.015)
    for name, values in truth.items():
        if name in found:
            assert (found[name].shape, found[name].dtype) == (values.shape, values.dtype)


def test_accuracies_are_told(reader):
    told = reader.accuracy_by_attribute
    assert set(told) == {"label", "colour", "background", "centre", "radius", "angle", "area"}
    assert told["colour"] == told["background"] == 1.0
    assert min(told.values()) > 0.9
    assert max(told.values()) <= 1.0


def test_what_is_no_shape_is_far_from_all(reader):
    truth = Shapes(seed=7).read(np.arange(100))["image"]
    noise = np.random.default_rng(0).integers(256, size=(100, 32, 32, 3)).astype(np.uint8)
    usual = np.quantile(reader.predict(truth)["distance"], 0.99)
    assert (reader.predict(noise)["distance"] > usual).all()
    plain = reader.predict(np.full((1, 32, 32, 3), 128, np.uint8))
    assert all(np.isfinite(values).all() for values in plain.values())


def test_a_shape_that_is_moved_is_read_as_moved(reader):
    one = {name: np.repeat(values, 5, axis=0) for name, values in Shapes()._attributes(np.array([3])).items()}
    one["centre"] = np.linspace([0.4, 0.4], [0.6, 0.6], 5).astype(np.float32)
    found = reader.predict(shapes.render(one, (32, 32))["image"])
    np.testing.assert_allclose(found["centre"], one["centre"], atol=0.01)
    assert len(set(found["label"])) == 1


def test_score():
    assert readers.score(np.array([1, 2, 3, 0]), np.array([1, 2, 3, 4])) == 0.75
    truth = np.array([[0.0, 1.0], [2.0, 5.0]])
    assert readers.score(truth, truth) == 1.0
    assert readers.score(np.repeat(truth.mean(0, keepdims=True), 2, axis=0), truth) == 0.0


@pytest.mark.slow
def test_a_fitted_reader(monkeypatch):
    monkeypatch.setattr(readers, "TESTED", 200)
    world = Shapes((12, 12), seed=3)
    reader = readers.fit_reader(world, ("background", "centre", "radius"), examples=600, steps=120, batch_size=64)
    fresh = Shapes((12, 12), seed=4, fields=("image", "background", "centre", "radius")).read(np.arange(300))
    found = reader.predict(fresh["image"])
    for name in ("background", "centre", "radius"):
        assert (found[name].shape, found[name].dtype) == (fresh[name].shape, fresh[name].dtype)
        assert readers.score(found[name], fresh[name]) == pytest.approx(reader.accuracy_by_attribute[name], abs=0.15)
    assert reader.accuracy_by_attribute["background"] > 0.8
    assert reader.accuracy_by_attribute["centre"] > 0.5


def test_fields_that_cannot_be_read():
    with pytest.raises(InputError, match="caption"):
        readers.fit_reader(Shapes((8, 8)), ("caption",), examples=10)
    with pytest.raises(InputError, match="unknown field"):
        readers.fit_reader(Faces((8, 8)), ("haircolour",), examples=10)


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [(32, 32), (64, 64)])
def test_shapes_at_full_strength(resolution):
    told = readers.shapes_reader(resolution).accuracy_by_attribute
    print(f"\n{resolution}: {told}")
    assert told["label"] >= 0.995
    assert told["colour"] == told["background"] == 1.0
    assert min(told["centre"], told["radius"]) > 0.998
    assert min(told["area"], told["angle"]) > 0.98


@pytest.mark.slow
def test_faces():
    fields = (
        "skin", "hair", "hair_colour", "eyes", "mouth", "beard", "glasses", "hat", "clothes", "clothes_colour",
        "background", "pattern", "yaw", "pitch", "roll", "shift_x", "shift_y", "scale", "landmarks",
    )  # fmt: skip
    told = readers.fit_reader(Faces((32, 32)), fields, examples=12_000, steps=2000).accuracy_by_attribute
    print(f"\nfaces: {told}")
    assert min(told["background"], told["clothes_colour"], told["hat"]) > 0.9
    assert min(told["hair"], told["skin"], told["glasses"], told["hair_colour"]) > 0.75
    assert min(told["yaw"], told["roll"], told["shift_x"]) > 0.75
