"""Pairs stay pairs under every jitter, unpaired collections keep an order of their own, views show what they say."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from gan_jax import config as base
from gan_jax import parallel
from gan_jax.analysis import restore
from gan_jax.contract import Stage
from gan_jax.data import datasets, display
from gan_jax.data.loader import Loader
from gan_jax.data.worlds import shapes, views
from gan_jax.errors import InputError
from gan_jax.metrics import populations
from gan_jax.train import diagnostics

RNG = np.random.default_rng(0)
NAMES = ("1", "2", "10")
JITTER = {"resolution": (8, 12), "crop": "random", "flip": True}


def picture(height=10, width=14):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def write(folder, images, ending=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        Image.fromarray(image).save(folder / f"{name}{ending}")


@pytest.fixture(params=["trainA", "A/train", "A", "side by side", "loose"])
def same(request, tmp_path):
    """A folder, in each form, of pairs whose two images are one."""
    images = {name: picture() for name in NAMES}
    if request.param in ("side by side", "loose"):
        doubled = {name: np.concatenate([image, image], axis=1) for name, image in images.items()}
        write(tmp_path / ("train" if request.param == "side by side" else ""), doubled)
    else:
        write(tmp_path / request.param, images)
        write(tmp_path / request.param.replace("A", "B"), images, ".bmp")
    return str(tmp_path)


def config_for(**keys):
    config = base.defaults(gan="pix2pix")
    config.data = base.data(**keys)
    return config


def open_loader(batch_size=6, devices=1, **keys):
    mesh = parallel.make_mesh({"data": -1, "fsdp": 1}, jax.devices()[:devices])
    section = datasets.resolve(config_for(**keys)).data
    return Loader(section, seed=0, batch_size=batch_size, rounds=1, mesh=mesh)


def batch_of(loader, steps=1):
    return jax.device_get(next(iter(loader.calls([(0, steps)]))))


@pytest.mark.parametrize("enlarged", [None, (11, 20)])
def test_both_images_of_a_pair_are_cut_and_mirrored_alike(same, enlarged):
    options = base.dict(**({"enlarged": enlarged} if enlarged else {}))
    batch = batch_of(open_loader(name="pairs", path=same, options=options, **JITTER), steps=4)
    assert set(batch) == {"a", "b"}
    assert batch["a"].shape == (4, 6, 8, 12, 3)
    assert batch["a"].dtype == np.float32
    np.testing.assert_array_equal(batch["a"], batch["b"])
    assert -1.0 <= batch["a"].min() < -0.5 < 0.5 < batch["a"].max() <= 1.0
    assert len({image.tobytes() for image in batch["a"].reshape(-1, 8 * 12 * 3)}) > 2 * len(NAMES)  # they are jittered


@pytest.mark.parametrize(("direction", "first"), [("AtoB", "a"), ("BtoA", "b")])
def test_direction(tmp_path, direction, first):
    left, right = picture(6, 7), picture(6, 7)
    write(tmp_path / "train", {"1": np.concatenate([left, right], axis=1)})
    read = datasets.open(base.data(name="pairs", path=str(tmp_path), options=base.dict(direction=direction)))
    found = read.read(np.zeros(1, np.int64))
    np.testing.assert_array_equal(found[first][0], left)
    np.testing.assert_array_equal(found["b" if first == "a" else "a"][0], right)


def test_an_enlarged_image_is_cut_without_another_resize(tmp_path):
    """At the size that it has anyway, all pixels of a window are those of the image."""
    image = picture()
    write(tmp_path / "train", {"1": np.concatenate([image, image], axis=1)})
    keys = {"name": "pairs", "path": str(tmp_path), "resolution": (8, 12), "options": base.dict(enlarged=(10, 14))}
    cut = datasets.open(base.data(crop="random", **keys))
    places = np.array([[0.0, 0.0], [0.999, 0.999], [0.5, 0.0]])
    found = cut.read(np.zeros(3, np.int64), places)["b"]
    for window, (top, left) in zip(found, [(0, 0), (2, 2), (1, 0)], strict=True):
        np.testing.assert_array_equal(window, image[top : top + 8, left : left + 12])
    whole = datasets.open(base.data(crop="center", **keys)).read(np.zeros(1, np.int64))["b"][0]  # as for tests
    plain = datasets.open(base.data(name="pairs", path=str(tmp_path), resolution=(8, 12))).read(np.zeros(1, np.int64))
    np.testing.assert_array_equal(whole, plain["b"][0])


@pytest.fixture
def apart(tmp_path):
    """7 and 3 images, each of one colour that tells its number; the left half is lighter."""

    def numbered(number):
        image = np.full((4, 6, 3), 10 * number, np.uint8)
        image[:, :3] += 5
        return image

    write(tmp_path / "trainA", {str(number): numbered(number) for number in range(7)})
    write(tmp_path / "trainB", {str(number): numbered(10 + number) for number in range(3)})
    write(tmp_path / "testA", {"0": numbered(20)})
    write(tmp_path / "testB", {"0": numbered(21)})
    return str(tmp_path)


@pytest.mark.parametrize("on_device", [False, True])
def test_each_collection_has_an_order_of_its_own(apart, on_device):
    batch = batch_of(open_loader(21, name="unpaired", path=apart, flip=True, on_device=on_device), steps=20)
    pixels = {field: np.rint((images + 1) * 127.5).astype(int) for field, images in batch.items()}
    number = {field: values[..., 0, 2, 0] // 10 for field, values in pixels.items()}
    mirrored = {field: values[..., 0, 0, 0] % 10 == 0 for field, values in pixels.items()}
    for epoch in number["a"].reshape(-1, 7):
        assert sorted(epoch) == list(range(7))
    for epoch in number["b"].reshape(-1, 3):
        assert sorted(epoch) == [10, 11, 12]
    together = set(zip(number["a"].ravel(), number["b"].ravel(), strict=True))
    assert len(together) == 21  # every image of one meets every one of the other
    alike = mirrored["a"] == mirrored["b"]
    assert 0.4 < alike.mean() < 0.6  # of 420 tosses; 4 deviations are .1
    assert 0.4 < mirrored["b"].mean() < 0.6


def test_unpaired_images_are_cut_at_places_of_their_own(tmp_path):
    image = np.tile(np.arange(0, 200, 10, dtype=np.uint8)[None, :, None], (4, 1, 3))  # the column is its brightness
    for side in "AB":
        write(tmp_path / side, {"1": image})
    batch = batch_of(open_loader(64, name="unpaired", path=str(tmp_path), resolution=4, crop="random"))
    place = {field: np.rint((images[0, :, 0, 0, 0] + 1) * 12.75).astype(int) for field, images in batch.items()}
    assert {field: set(found) <= set(range(17)) for field, found in place.items()} == {"a": True, "b": True}
    assert abs(np.corrcoef(place["a"], place["b"])[0, 1]) < 0.5  # four deviations of 64 independent pairs


def test_unpaired_data_may_be_used_in_part(apart):
    source = datasets.open(base.data(name="unpaired", path=apart, size=2))
    assert len(source) == 2
    assert [len(part) for part in source.parts] == [2, 2]
    assert [len(part) for part in datasets.open(base.data(name="unpaired", path=apart, size=5)).parts] == [5, 3]


def test_pairs_that_are_taken_apart_have_no_partner(tmp_path):
    """Left halves of the first files, whose lines are widened before they are made smaller, right ones of the last."""
    for number in range(5):
        image = np.full((8, 16, 3), 250 - number, np.uint8)
        image[3, 5] = 0
        write(tmp_path / "train", {str(number): image})
    settings = {"name": "apart", "path": str(tmp_path)}
    source = datasets.open(base.data(**settings, options=base.dict(thicken=1)))
    a, b = (part.read(np.arange(len(part))) for part in source.parts)
    assert a["a"][:, 0, 0, 0].tolist() == [250, 249]
    assert b["b"][:, 0, 0, 0].tolist() == [248, 247, 246]
    assert np.argwhere(a["a"][0, ..., 0] == 0).tolist() == [[i, j] for i in (2, 3, 4) for j in (4, 5, 6)]
    smaller = datasets.open(base.data(**settings, resolution=4, options=base.dict(thicken=1, direction="BtoA")))
    assert smaller.parts[0].read(np.zeros(1, np.int64))["b"].min() < 60  # a pixel of four would leave 3/4 of the light
    assert batch_of(open_loader(2, **settings))["a"].shape == (1, 2, 8, 8, 3)


@pytest.mark.parametrize(
    "name", ["edges_to_shapes", "masks_to_faces", "red_to_blue", "circles_to_squares", "day_to_night"]
)
def test_views_of_worlds(name):
    loader = open_loader(8, devices=8, name=name, resolution=16, size=40)
    batch = batch_of(loader)
    spec = {field: (leaf.shape, leaf.dtype) for field, leaf in loader.spec(1).items()}
    assert spec == dict.fromkeys(("a", "b"), ((1, 8, 16, 16, 3), np.float32))
    assert {field: (array.shape, array.dtype) for field, array in batch.items()} == spec
    assert set(loader.preview(4)) == {"a", "b"}


def test_what_must_change_changes_and_what_must_stay_is_free():
    for name, field, sides in (("red_to_blue", "colour", "red blue"), ("circles_to_squares", "label", "circle square")):
        source = datasets.open(base.data(name=name, resolution=16, size=200))
        both = []
        for part, side in zip(source.parts, sides.split(), strict=True):
            world = part.source
            found = shapes.Shapes((16, 16), world.seed, 200, shapes.FIELDS, world.only, world.colours).read(
                np.arange(200)
            )
            known = shapes.COLOURS if field == "colour" else world.classes
            assert {known[value] for value in found[field]} == {side}
            assert len(set(found["background"])) == 8
            both.append(found["centre"])
        assert abs(np.corrcoef(both[0][:, 0], both[1][:, 0])[0, 1]) < 0.3  # other records, at other places


def test_the_night_is_that_of_other_faces():
    """The same function of each pixel: darker and bluer, and as many colours as by day."""
    source = datasets.open(base.data(name="day_to_night", resolution=16, size=40))
    day, night = (part.source.read(np.arange(40))["image"] for part in source.parts)
    found = source.read(np.arange(40))
    np.testing.assert_array_equal(found["a"], day)
    np.testing.assert_array_equal(found["b"], views.at_night(night))
    assert abs(day.astype(int) - night).mean() > 20
    assert views.at_night(np.full((1, 3), 255, np.uint8)).tolist() == [[82, 107, 168]]
    assert len(np.unique(views.at_night(np.arange(0, 256, 4, np.uint8).repeat(3).reshape(-1, 3)), axis=0)) == 64


def test_faces_of_one_person_differ_in_what_a_segmentation_tells():
    options = base.dict(alike=views.COLOURING)
    told = datasets.open(base.data(name="masks_to_faces", resolution=24, options=options)).read(np.arange(200))
    free = datasets.open(base.data(name="masks_to_faces", resolution=24)).read(np.arange(200))
    np.testing.assert_array_equal(told["a"], free["a"])
    background = (told["a"] == told["a"][0, 0, 0]).all(axis=-1)[:, 0]
    assert told["b"][:, 0][background].std(axis=0).max() < 5 < free["b"][:, 0][background].std(axis=0).min()


def test_aligned_views_show_one_record():
    found = datasets.open(base.data(name="masks_to_faces", resolution=24)).read(np.arange(5))
    truth = datasets.open(base.data(name="faces", resolution=24, options=base.dict(fields=("image", "mask"))))
    truth = truth.read(np.arange(5))
    np.testing.assert_array_equal(found["b"], truth["image"])
    colours = {
        tuple(pixel): label for pixel, label in zip(found["a"].reshape(-1, 3), truth["mask"].ravel(), strict=True)
    }
    assert len(colours) == len(set(truth["mask"].ravel()))
    edges = datasets.open(base.data(name="edges_to_shapes", options=base.dict(only=("ring",), colours=("teal",))))
    found = edges.read(np.arange(50))
    dark = found["a"][..., 0] < 128
    assert 0.02 < dark.mean() < 0.3
    assert (found["a"] == found["a"][..., :1]).all()


def test_resolved_sections_say_what_is_translated(same):
    config = config_for(name="pairs", path=same)
    once = datasets.resolve(config)
    assert once.data.source_shape == (10, 14, 3)
    assert (once.data.domain, once.data.resolution, once.data.channels) == ("b", (10, 14), 3)
    assert (once.data.classes, once.data.examples) == (0, 3)
    assert base.from_json(base.to_json(datasets.resolve(once))) == once
    assert {field: leaf.shape for field, leaf in restore.example_spec(once).items()} == {
        "a": (10, 14, 3),
        "b": (10, 14, 3),
    }
    assert datasets.resolve(config_for(name="shapes")).data.source_shape is None


def test_held_out_images_are_those_of_the_test_split(apart):
    mesh = parallel.make_mesh({"data": -1, "fsdp": 1}, jax.devices()[:1])
    section = datasets.resolve(config_for(name="unpaired", path=apart)).data
    for field, value in (("a", 205), ("b", 215)):
        examples, _, count = next(populations.held_out(section, mesh, field=field).batches(2))
        assert count == 1
        assert int(examples[0].max()) == value


def test_pairs_without_a_test_split_are_all_for_training(same):
    mesh = parallel.make_mesh({"data": -1, "fsdp": 1}, jax.devices()[:1])
    section = datasets.resolve(config_for(name="pairs", path=same)).data
    with pytest.raises(InputError, match=r"config\.data\.split='test': .* has none"):
        populations.held_out(section, mesh)
    batches = diagnostics.fixed_batches(section, 2, mesh)
    assert set(batches) == {"train"}
    np.testing.assert_array_equal(batches["train"]["a"], batches["train"]["b"])


def test_pictures_show_rows_of_source_translation_and_target():
    a, b, made = (np.full((5, 64, 64, channels), value) for value, channels in ((-1.0, 1), (1.0, 3), (0.0, 3)))
    batch = {"a": a.astype(np.float32), "b": b.astype(np.float32)}
    shown = display.BY_DOMAIN["b"](made, batch)
    step = 64 + display.GAP
    assert [int(shown[10, 10 + column * step, 0]) for column in range(3)] == [0, 128, 255]
    assert shown.shape[0] == 4 * step + display.GAP  # 15 images in two blocks of at most four rows
    both = display.BY_DOMAIN["b"]({"a": 0.5 * b, "b": made}, batch)
    assert [int(both[10, 10 + column * step, 0]) for column in range(4)] == [0, 128, 255, 191]


def test_a_stage_keeps_the_source():
    config = datasets.resolve(config_for(name="red_to_blue", resolution=16))
    seen = restore.stage_config(config, Stage("s", None, 1, 1))
    assert restore.example_spec(seen)["a"].shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"name": "pairs"}, r"config\.data\.path is empty"),
        ({"name": "pairs", "path": "/nowhere"}, r"config\.data\.path=/nowhere: no such folder"),
        ({"name": "pairs", "split": "val"}, r"split='val': .* valA and valB, or A/val and B/val; nor a folder val"),
        ({"name": "unpaired", "split": "val"}, r"no two folders of images; there should be valA and valB"),
        ({"name": "apart"}, r"no folder 'train' of images that hold two halves"),
        ({"name": "pairs", "options": {"direction": "BtoC"}}, r"direction.*'BtoC'.*Choices: AtoB, BtoA"),
        ({"name": "pairs", "options": {"directoin": "AtoB"}}, r"option of 'pairs'.*Did you mean 'direction'"),
        ({"name": "pairs", "options": {"enlarged": 9}}, r"enlarged=\(9, 9\) is for config\.data\.crop='random'"),
        (
            {"name": "pairs", "crop": "random", "resolution": 8, "options": {"enlarged": 7}},
            r"enlarged=\(7, 7\) must be at least config\.data\.resolution=\(8, 8\)",
        ),
        ({"name": "pairs", "crop": "random", "options": {"enlarged": 0}}, r"options\.enlarged=0 must be a positive"),
        ({"name": "pairs"}, r"pairs are matched by name, and 4 names are not in each of .* once: 3, 4, 5, \.\.\."),
        ({"name": "unpaired", "size": 8}, r"config\.data\.size=8: 'unpaired' has only 7 records"),
        ({"name": "unpaired", "labels_per_class": 1}, r"labels_per_class=1 needs a dataset with labels"),
        ({"name": "red_to_blue", "channels": 1}, r"config\.data\.channels=1: 'red_to_blue'"),
        ({"name": "red_to_blue", "options": {"colours": ("red",)}}, r"unknown option of red_to_blue"),
        ({"name": "edges_to_shapes", "options": {"colours": ("rod",)}}, r"options\.colours\): 'rod'.*'red'"),
    ],
)
def test_mistakes(apart, keys, message):
    keys = dict(keys)
    keys["options"] = base.dict(**keys.get("options", {}))
    if "path is empty" not in message:
        keys.setdefault("path", apart)
    with pytest.raises(InputError, match=message):
        datasets.open(base.data(**keys))


def test_mistakes_in_files(tmp_path):
    write(tmp_path / "odd", {"1": picture(4, 7)})
    with pytest.raises(InputError, match=r"1\.png is 7 pixels wide"):
        datasets.resolve(config_for(name="pairs", path=str(tmp_path / "odd")))
    write(tmp_path / "sizes/A", {"1": picture(4, 6)})
    write(tmp_path / "sizes/B", {"1": picture(4, 8)})
    for name in ("pairs", "unpaired"):
        with pytest.raises(
            InputError, match=r"A are \(4, 6, 3\), of .*B \(4, 8, 3\) .*; set --config\.data\.resolution"
        ):
            datasets.resolve(config_for(name=name, path=str(tmp_path / "sizes")))
        assert datasets.resolve(config_for(name=name, path=str(tmp_path / "sizes"), resolution=4)).data.examples == 1
    write(tmp_path / "grey/A", {"1": picture(4, 6)[..., 0]})
    write(tmp_path / "grey/B", {"1": picture(4, 6)})
    with pytest.raises(InputError, match=r"set --config\.data\.channels"):
        datasets.resolve(config_for(name="pairs", path=str(tmp_path / "grey")))
    (tmp_path / "mixed").mkdir()
    with pytest.raises(InputError, match="no images in this folder"):
        datasets.open(ConfigDict(base.data(name="pairs", path=str(tmp_path / "mixed"))))


def test_the_shipped_sets(real_data):
    pairs = config_for(name="pairs", path=str(real_data / "paired/facades"), options=base.dict(direction="BtoA"))
    assert (datasets.resolve(pairs).data.resolution, datasets.resolve(pairs).data.examples) == ((256, 256), 400)
    first = datasets.open(pairs.data).read(np.zeros(1, np.int64))
    assert len(np.unique(first["a"] // 32)) <= len(np.unique(first["b"] // 32))  # labels have few colours
    other = config_for(name="unpaired", path=str(real_data / "unpaired/facades128"))
    assert (datasets.resolve(other).data.resolution, datasets.resolve(other).data.examples) == ((128, 128), 120)


# ------------------------------------------------------------------------------------------------ super-resolution


def test_small_images_are_made_of_the_windows_that_were_cut(tmp_path):
    """So pixels of both meet: of an image of one column's colours the small one's columns are means of four."""
    ramp = np.broadcast_to((4 * np.arange(60, dtype=np.uint8))[None, :, None], (40, 60, 3))
    write(tmp_path, {"1": ramp, "2": ramp})
    loader = open_loader(name="folder", path=str(tmp_path), resolution=16, crop="patch", flip=True, downsample=4)
    batch = batch_of(loader, steps=6)
    assert (batch["a"].shape, batch["b"].shape) == ((6, 6, 4, 4, 3), (6, 6, 16, 16, 3))
    means = batch["b"].reshape(6, 6, 16, 4, 4, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(batch["a"][..., 0, 1:3, :], means[:, :, 1:3], atol=1.01 / 127.5)  # rounded to bytes
    left = batch["b"][..., 0, 0, 0] * 127.5 + 127.5
    steps = batch["b"][..., 0, 1, 0] - batch["b"][..., 0, 0, 0]
    assert len(np.unique(left.round())) > 20  # of 45 places, each also mirrored
    assert {round(float(step) * 127.5) for step in steps.ravel()} == {4, -4}
    again = batch_of(
        open_loader(name="folder", path=str(tmp_path), resolution=16, crop="patch", flip=True, downsample=4)
    )
    np.testing.assert_array_equal(again["b"], batch["b"][:1])


@pytest.mark.parametrize("name", ["shapes", "faces", "strokes"])
def test_worlds_become_pairs(name):
    config = datasets.resolve(config_for(name=name, resolution=(8, 16), downsample=2, size=9))
    assert (config.data.domain, config.data.source_shape, config.data.resolution) == ("b", (4, 8, 3), (8, 16))
    assert (config.data.paired, config.data.classes, config.data.examples) == (True, 0, 9)
    assert datasets.resolve(config) == config
    held_out = populations.held_out(config.data, parallel.make_mesh({"data": -1, "fsdp": 1}, jax.devices()[:1]), 4, "a")
    assert held_out.shape == (4, 8, 3)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"name": "strokes", "downsample": 1}, r"config\.data\.downsample=1 must be at least 2"),
        ({"name": "gaussians", "downsample": 2}, "this dataset holds no images"),
        ({"name": "masks_to_faces", "downsample": 2}, "this dataset holds no images"),
        ({"name": "strokes", "resolution": 30, "downsample": 4}, r"downsample=4 must divide both sides.*\(30, 30\)"),
    ],
)
def test_what_cannot_be_made_smaller(keys, message):
    with pytest.raises(InputError, match=message):
        datasets.open(base.data(**keys))


def test_a_picture_of_pairs_shows_small_pixels_as_squares():
    small, large = np.zeros((2, 2, 2, 3), np.float32), np.ones((2, 8, 8, 3), np.float32)
    picture = display.BY_DOMAIN["b"](large, {"a": small, "b": large})
    assert picture.shape == display.BY_DOMAIN["b"](large, {"a": large, "b": large}).shape
