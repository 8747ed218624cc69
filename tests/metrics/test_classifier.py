"""The classifier of a dataset: exact identities on tiny bars, the measured table on MNIST."""

import dataclasses

import jax
import numpy as np
import pytest

from gan_jax.data.sources import TFDS
from gan_jax.errors import InputError
from gan_jax.metrics import classifier


def bars(count, seed):
    """Noisy 8x8 pictures of which one of four quarters is bright: its number is the label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=count)
    images = rng.integers(100, size=(count, 8, 8, 1))
    for image, label in zip(images, labels, strict=True):
        image[4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 120
    return images.astype(np.uint8), labels


@pytest.fixture(scope="module")
def fitted():
    return classifier.fit(*bars(300, 0), 4, steps=60, batch_size=32)


def test_it_learns_and_repeats_itself(fitted):
    assert classifier.accuracy(fitted, *bars(200, 1))[0] > 0.97
    again = classifier.fit(*bars(300, 0), 4, steps=60, batch_size=32)
    jax.tree.map(np.testing.assert_array_equal, fitted, again)
    other = classifier.fit(*bars(300, 0), 4, steps=60, batch_size=32, seed=1)
    assert not np.array_equal(fitted["logits"]["kernel"], other["logits"]["kernel"])


def test_accuracies_of_classes_average_to_the_total(fitted):
    images, labels = bars(200, 2)
    wrong = np.where(np.arange(200) % 5 == 0, (labels + 1) % 4, labels)
    total, per_class = classifier.accuracy(fitted, images, wrong)
    counts = np.bincount(wrong, minlength=4)
    assert total == pytest.approx((per_class * counts).sum() / 200)
    assert total == pytest.approx(np.mean(classifier.predict(fitted, images) == wrong))


def test_a_class_without_images(fitted):
    images, labels = bars(200, 2)
    total, per_class = classifier.accuracy(fitted, images[labels > 0], labels[labels > 0])
    assert np.isnan(per_class[0])
    assert total == pytest.approx(np.average(per_class[1:], weights=np.bincount(labels)[1:]))


def test_features_are_those_of_the_logits(fitted, monkeypatch):
    images, _ = bars(50, 3)
    seen = jax.jit(classifier.features)(fitted, images)
    assert (seen["features"].shape, seen["logits"].shape) == ((50, 64), (50, 4))
    logits = seen["features"] @ fitted["logits"]["kernel"] + fitted["logits"]["bias"].reshape(1, -1)
    np.testing.assert_allclose(seen["logits"], logits, atol=1e-4)
    monkeypatch.setattr(classifier, "AT_ONCE", 20)  # three pieces, the last one filled up
    np.testing.assert_array_equal(classifier.predict(fitted, images), seen["logits"].argmax(1))


def test_cached_trains_once(tmp_path, monkeypatch):
    trained = []
    fit = classifier.fit
    monkeypatch.setattr(classifier, "fit", lambda *data: trained.append(len(data[0])) or fit(*data, steps=60))
    images, labels = bars(300, 0)
    params, score, identity = classifier.cached(images, labels, 4, tmp_path)
    again = classifier.cached(images, labels.astype(np.int32), 4, tmp_path)
    assert trained == [270]  # a tenth is held out
    assert score > 0.9
    assert again[1:] == (score, identity)
    jax.tree.map(np.testing.assert_array_equal, params, again[0])
    assert [file.name for file in tmp_path.rglob("*.*")] == [f"{identity}.npz"]  # nothing partial is left


def test_identity_is_of_the_content(tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, "_fit_and_test", lambda *data: ({"logits": {"bias": np.zeros(4, np.float32)}}, 0.5))
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path))
    images, labels = bars(300, 0)
    changed = images.copy()
    changed[17, 3, 3, 0] ^= 1
    relabelled = np.where(np.arange(300) == 9, (labels + 1) % 4, labels)
    calls = [(images, labels, 4), (changed, labels, 4), (images, relabelled, 4), (images, labels, 5)]
    assert len({classifier.cached(*call)[2] for call in calls}) == 4
    assert len(list((tmp_path / "classifiers").glob("*.npz"))) == 4


@pytest.mark.parametrize(
    ("labels", "message"),
    [(np.arange(5), "one label per image"), (np.full(6, 4), r"0 to 3, got 4..4"), (np.full(6, -1), "0 to 3")],
)
def test_mistakes(labels, message):
    with pytest.raises(InputError, match=message):
        classifier.fit(np.zeros((6, 8, 8, 1), np.uint8), labels, 4)
    with pytest.raises(InputError, match=message):
        classifier.cached(np.zeros((6, 8, 8, 1), np.uint8), labels, 4)


def test_too_few_to_hold_any_out(tmp_path):
    with pytest.raises(InputError, match="at least 10"):
        classifier.cached(*bars(9, 0), 4, tmp_path)


# ------------------------------------------------------------------------------------ the measured table, on MNIST


@dataclasses.dataclass
class Mnist:
    train: tuple  # images, labels
    test: tuple


@pytest.fixture(scope="module")
def mnist(real_data):
    sources = [TFDS("mnist", split, str(real_data / "tensorflow_datasets")) for split in ("train", "test")]
    records = [source.read(np.arange(len(source))) for source in sources]
    return Mnist(*((record["image"], record["label"]) for record in records))


@pytest.mark.slow
@pytest.mark.parametrize(("count", "least"), [(10_000, 0.965), (60_000, 0.975)])
def test_real_digits(mnist, count, least):
    params = classifier.fit(mnist.train[0][:count], mnist.train[1][:count], 10)
    total = classifier.accuracy(params, *mnist.test)[0]
    print(f"\nreal {count}: {total:.4f}")
    assert least <= total < 0.99
