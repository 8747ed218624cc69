"""Few labels: as many of each class as were asked for, always the same ones, and no other to be read."""

import jax
import numpy as np
import pytest

from gan_jax import config as base
from gan_jax import parallel
from gan_jax.data import datasets
from gan_jax.data.labels import FewLabels
from gan_jax.data.loader import Loader
from gan_jax.data.sources import Memory
from gan_jax.errors import InputError
from gan_jax.metrics import populations

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (600, 3, 3, 1), np.uint8), RNG.integers(0, 3, 600)


def few(per_class=4, seed=0):
    return FewLabels(Memory({"image": IMAGES, "label": LABELS}), per_class, seed)


def shapes(**keys):
    options = base.dict(only=("circle", "star"))
    return base.data(name="shapes", resolution=8, channels=1, size=64, labels_per_class=4, options=options, **keys)


def test_so_many_of_each_class_are_known():
    batch = few(4).read(np.arange(600))
    known = batch["label"] >= 0
    assert np.bincount(batch["label"][known]).tolist() == [4, 4, 4]
    np.testing.assert_array_equal(batch["label"][known], LABELS[known])
    assert set(batch["label"][~known]) == {-1}
    np.testing.assert_array_equal(batch["image"], IMAGES)
    assert {batch[name].dtype for name in ("label", "labelled_label")} == {np.dtype(np.int32)}


def test_beside_each_record_stands_a_known_one_with_its_label():
    source, known = few(4), few(4).read(np.arange(600))["label"]
    batch = source.read(np.arange(600))
    pairs = {
        (image.tobytes(), int(label))
        for image, label in zip(batch["labelled_image"], batch["labelled_label"], strict=True)
    }
    assert pairs == {(IMAGES[i].tobytes(), int(LABELS[i])) for i in np.flatnonzero(known >= 0)}
    counts = np.unique(batch["labelled_image"].reshape(600, -1), axis=0, return_counts=True)[1]
    assert counts.tolist() == [50] * 12  # each as often as any other


def test_a_record_is_the_same_whichever_others_are_asked_for():
    source = few()
    whole = source.read(np.arange(600))
    for name, array in source.read(np.array([599, 7, 7])).items():
        np.testing.assert_array_equal(array, whole[name][[599, 7, 7]])


def test_the_seed_alone_decides_which_are_known():
    def known(seed):
        return np.flatnonzero(few(4, seed).read(np.arange(600))["label"] >= 0).tolist()

    assert known(0) == known(0)
    assert known(0) != known(1)


def test_it_is_the_source_otherwise():
    source = few()
    assert (source.domain, source.classes, source.resolution, source.channels, len(source)) == (
        "image",
        ("0", "1", "2"),
        (3, 3),
        1,
        600,
    )


def test_points():
    source = FewLabels(Memory({"point": np.arange(20.0).reshape(10, 2), "label": np.arange(10) % 2}), 2, 0)
    batch = source.read(np.arange(10))
    np.testing.assert_array_equal(batch["labelled_point"][:, 0].astype(int) // 2 % 2, batch["labelled_label"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: few(0), "labels_per_class=0 must be at least 1"),
        (lambda: few(250).read(np.arange(1)), "labels_per_class=250: class '.' has only .* of 600 records"),
        (lambda: FewLabels(Memory({"image": IMAGES}), 1, 0), "labels_per_class=1 needs a dataset with labels"),
    ],
)
def test_what_it_refuses(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("on_device", [False, True])
def test_the_loader_brings_both_streams(on_device):
    mesh = parallel.make_mesh({"data": -1, "fsdp": 1})
    loader = Loader(shapes(on_device=on_device), seed=0, batch_size=16, rounds=2, mesh=mesh)
    batch = next(loader.calls([(0, 1)]))
    assert {name: (leaf.shape, leaf.dtype.name) for name, leaf in batch.items()} == {
        "image": ((1, 2, 16, 8, 8, 1), "float32"),
        "label": ((1, 2, 16), "int32"),
        "labelled_image": ((1, 2, 16, 8, 8, 1), "float32"),
        "labelled_label": ((1, 2, 16), "int32"),
    }
    assert set(np.unique(batch["labelled_label"])) == {0, 1}
    assert int(np.asarray(batch["label"]).max()) <= 1
    assert float(np.asarray(batch["labelled_image"]).min()) >= -1.0


def test_images_of_both_streams_are_mirrored_and_labels_stay():
    mesh = parallel.make_mesh({"data": -1, "fsdp": 1})
    plain, mirrored = (
        next(Loader(shapes(flip=flip), seed=0, batch_size=16, rounds=1, mesh=mesh).calls([(0, 1)]))
        for flip in (False, True)
    )
    for name in ("image", "labelled_image"):
        before, after = np.asarray(plain[name]), np.asarray(mirrored[name])
        turned = (after != before).any(axis=(0, 2, 3, 4))
        assert 0 < turned.sum() < 16
        np.testing.assert_array_equal(after[:, turned], before[:, turned, :, ::-1])
    for name in ("label", "labelled_label"):
        np.testing.assert_array_equal(plain[name], mirrored[name])


def test_the_classes_are_known_however_few_labels_are():
    config = base.defaults(gan="improved_gan")
    config.data = shapes()
    assert datasets.resolve(config).data.classes == 2


def test_who_measures_sees_all_labels():
    """The labels that a game is not shown are still there for the metrics, of its own data and of held-out data."""
    mesh = parallel.make_mesh({"data": 1, "fsdp": 1}, jax.devices()[:1])
    for make in (populations.real, populations.held_out):
        population = make(shapes(), mesh)
        labels = np.concatenate([labels[:number] for _, labels, number in population.batches(64)])
        assert set(labels) == {0, 1}
