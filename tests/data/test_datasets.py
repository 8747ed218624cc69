"""What a data section opens, what `resolve` adds to it, and what is said of every mistake in it."""

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from gan_jax import config as base
from gan_jax.data import datasets, worlds
from gan_jax.errors import InputError

RNG = np.random.default_rng(0)


def config_for(**keys):
    config = base.defaults(gan="gan")
    config.data = base.data(**keys)
    return config


def resolved(**keys):
    return datasets.resolve(config_for(**keys)).data


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, image=RNG.integers(0, 256, (9, 6, 8, 3), np.uint8), label=np.arange(9) % 3)
    return str(path)


@pytest.fixture
def folder(tmp_path):
    for name in ("a/1.png", "a/2.png", "b/3.png", "b/4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (6, 8, 3), np.uint8)).save(tmp_path / name)
    return str(tmp_path)


def facts(data):
    return data.domain, data.resolution, data.channels, data.classes, data.examples


def test_worlds():
    assert facts(resolved(name="shapes", size=50)) == ("image", (32, 32), 3, 10, 50)
    assert facts(resolved(name="shapes", resolution=16, channels=1)) == ("image", (16, 16), 1, 10, 100_000)
    assert facts(resolved(name="faces", resolution=(24, 16)))[:3] == ("image", (24, 16), 3)
    assert facts(resolved(name="gaussians")) == ("point", None, 2, 8, 100_000)
    grid = base.dict(kind="grid")
    assert facts(resolved(name="gaussians", options=grid, size=7)) == ("point", None, 2, 25, 7)
    assert resolved(name="gaussians", options=base.dict(kind="swiss_roll")).classes == 0


def test_a_world_is_the_one_that_its_options_describe():
    section = base.data(name="shapes", size=20, resolution=16, options=base.dict(seed=3, only=("star", "heart")))
    read = datasets.open(section).read(np.arange(20))
    world = worlds.BY_NAME["shapes"](resolution=(16, 16), seed=3, size=20, only=("star", "heart"), fields=("image",))
    np.testing.assert_array_equal(read["image"], world.read(np.arange(20))["image"])
    assert set(read["label"]) == {0, 1}


def test_fields_of_a_world_may_be_named():
    section = base.data(name="shapes", options=base.dict(fields=("image", "mask")))
    assert set(datasets.open(section).read(np.arange(1))) == {"image", "mask"}
    assert resolved(name="shapes", options=base.dict(fields=("image",))).classes == 0  # no label, no classes


def test_memory_and_folder(npz, folder):
    assert facts(resolved(name="memory", path=npz)) == ("image", (6, 8), 3, 3, 9)
    assert facts(resolved(name="memory", path=npz, resolution=4, channels=1, size=5)) == ("image", (4, 4), 1, 3, 5)
    assert facts(resolved(name="folder", path=folder)) == ("image", (6, 8), 3, 2, 4)
    assert facts(resolved(name="folder", path=folder, resolution=(3, 5), crop="random"))[1] == (3, 5)


def test_a_smaller_size_keeps_all_classes_of_a_sorted_folder(folder):
    source = datasets.open(base.data(name="folder", path=folder, size=2))
    assert source.read(np.arange(2))["label"].tolist() == [0, 1]


def test_tfds(real_data):
    path = str(real_data / "tensorflow_datasets")
    assert facts(resolved(name="mnist", path=path)) == ("image", (28, 28), 1, 10, 60000)
    data = resolved(name="cifar10", path=path, split="test", resolution=16, channels=1, size=100)
    assert facts(data) == ("image", (16, 16), 1, 10, 100)
    with pytest.raises(InputError, match=r"config\.data\.size=60001: 'mnist' has only 60000 records"):
        resolved(name="mnist", path=path, size=60001)


@pytest.mark.parametrize("name", ["shapes", "gaussians", "memory", "folder"])
def test_resolving_again_changes_nothing_and_survives_json(name, npz, folder):
    path = {"memory": npz, "folder": folder}.get(name, "")
    config = config_for(name=name, path=path, size=4)
    before = config.to_dict()
    once = datasets.resolve(config)
    assert config.to_dict() == before
    assert datasets.resolve(once) == once
    assert base.from_json(base.to_json(once)) == once
    assert datasets.resolve(base.from_json(base.to_json(once))) == once


def test_a_locked_config_stays_locked():
    assert datasets.resolve(config_for(name="gaussians").lock()).is_locked
    assert not datasets.resolve(config_for(name="gaussians")).is_locked


def test_a_stage_may_ask_for_another_resolution():
    section = ConfigDict({**resolved(name="shapes", resolution=16).to_dict(), "resolution": (8, 8)})
    assert datasets.open(section).read(np.arange(2))["image"].shape == (2, 8, 8, 3)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"name": "facse"}, r"unknown dataset 'facse'\. Did you mean faces.*Choices: .*shapes.*folder, memory"),
        ({"name": "faces", "size": 0}, r"config\.data\.size=0 must be at least 1"),
        (
            {"name": "faces", "crop": "centre"},
            r"config\.data\.crop.*Did you mean 'center'\? Choices: center, none, patch, random",
        ),
        ({"name": "faces", "crop": "random"}, r"config\.data\.crop='random': 'faces' is drawn at any resolution"),
        ({"name": "faces", "resolution": 0}, r"config\.data\.resolution=0 must be a positive integer, or two"),
        (
            {"name": "faces", "resolution": (1, 2, 3)},
            r"config\.data\.resolution=\(1, 2, 3\) must be a positive integer",
        ),
        ({"name": "faces", "resolution": "big"}, r"config\.data\.resolution=big must be a positive integer"),
        ({"name": "faces", "channels": 2}, r"config\.data\.channels=2: images of 3 channels cannot be converted"),
        ({"name": "gaussians", "resolution": 8}, r"config\.data\.resolution=\(8, 8\): 'gaussians' holds points"),
        ({"name": "gaussians", "channels": 3}, r"config\.data\.channels=3: points of 'gaussians' have 2"),
        ({"name": "gaussians", "flip": True}, r"config\.data\.flip=True mirrors images, but 'gaussians' holds points"),
        (
            {"name": "gaussians", "options": base.dict(knd="ring")},
            r"unknown option of gaussians \(config\.data\.options\): 'knd'\. Did you mean 'kind'\? Choices: fields",
        ),
        ({"name": "gaussians", "options": base.dict(kind="rong")}, "'rong'. Did you mean 'ring'"),
        (
            {"name": "shapes", "options": base.dict(fields=("mask",))},
            "config.data.options.fields: 'image' must be among",
        ),
        ({"name": "folder"}, r"config\.data\.path is empty; name the folder of images"),
        ({"name": "memory"}, r"config\.data\.path is empty; name the file of arrays"),
        ({"name": "folder", "path": "/nowhere"}, r"config\.data\.path=/nowhere: no such folder"),
        ({"name": "folder", "options": base.dict(a=1)}, r"config\.data\.options\.a: 'folder' has no options"),
        ({"name": "memory", "path": "/nowhere.npz"}, r"config\.data\.path=/nowhere\.npz: no such file"),
        ({"name": "mnist", "path": "/nowhere"}, r"run: python launch/prepare\.py --name mnist --data_dir /nowhere"),
    ],
)
def test_mistakes(keys, message):
    with pytest.raises(InputError, match=message) as caught:
        resolved(**keys)
    assert "\n" not in str(caught.value)


def test_points_in_memory(tmp_path):
    path = str(tmp_path / "points.npz")
    np.savez(path, point=np.zeros((5, 3)))
    assert facts(resolved(name="memory", path=path)) == ("point", None, 3, 0, 5)
    with pytest.raises(InputError, match=r"config\.data\.flip=True mirrors images"):
        resolved(name="memory", path=path, flip=True)
    with pytest.raises(InputError, match=r"config\.data\.resolution=8: .* holds points"):
        resolved(name="memory", path=path, resolution=8)
