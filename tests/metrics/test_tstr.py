"""Train on synthetic, test on real: what is exact on tiny data, and the measured table on MNIST."""

import numpy as np
import pytest

from gan_jax.data.sources import TFDS
from gan_jax.errors import InputError
from gan_jax.metrics import classifier
from gan_jax.metrics.tstr import train_on_synthetic, within_classes

SHORT = {"steps": 60, "batch_size": 32}


def quarters(count, seed):
    """Noisy 8x8 pictures of which one of four quarters is bright; the classes in turn."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    images = rng.integers(100, size=(count, 8, 8, 1))
    for image, label in zip(images, labels, strict=True):
        image[4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 120
    return images.astype(np.uint8), labels


TRAIN, TEST = quarters(400, 0), quarters(400, 1)


def test_the_real_set_as_synthetic_reproduces_trtr():
    result = train_on_synthetic(TRAIN, TEST, TRAIN, 4, seeds=(0, 1), **SHORT)
    assert result.tstr == result.trtr  # to the last bit
    assert result.gap == (0.0, 0.0)
    assert result.tstr.mean > 0.95
    assert result.per_class.mean() == pytest.approx(result.tstr.mean)  # the test set is balanced
    assert (result.curve, result.labels, result.variety) == ({}, "asked for", 1.0)
    params = classifier.fit(*TRAIN, 4, **SHORT)
    alone = train_on_synthetic(TRAIN, TEST, TRAIN, 4, seeds=(0,), **SHORT)
    assert alone.trts == (classifier.accuracy(params, *TRAIN)[0], 0.0)  # copies: accuracy on the training set


def test_shuffled_labels_are_worth_nothing():
    shuffled = (TRAIN[0], np.random.default_rng(2).permutation(TRAIN[1]))
    result = train_on_synthetic(TRAIN, TEST, shuffled, 4, seeds=(0,), **SHORT)
    assert result.tstr.mean < 0.5
    assert result.trts.mean == pytest.approx(0.25, abs=0.1)
    assert result.gap.mean == pytest.approx(result.trtr.mean - result.tstr.mean)


def test_a_missing_class_is_seen_by_tstr_and_not_by_trts():
    some = TRAIN[1] > 0
    result = train_on_synthetic(TRAIN, TEST, (TRAIN[0][some], TRAIN[1][some]), 4, seeds=(0,), counts=(50, 300), **SHORT)
    assert result.trts.mean > 0.95
    assert result.per_class[0] == 0
    assert result.tstr.mean < 0.76
    assert list(result.curve) == [50, 300]
    assert result.curve[300].mean == pytest.approx(result.tstr.mean, abs=0.05)


def test_images_without_labels_are_labelled_by_the_classifier():
    result = train_on_synthetic(TRAIN, TEST, (TRAIN[0], None), 4, seeds=(0,), **SHORT)
    assert result.trts is None
    assert result.variety is None
    assert result.labels == "real-data classifier"
    assert result.tstr.mean > 0.9


def test_one_picture_of_each_class_has_no_variety():
    """Whatever the classes differ by: the spread is that within them."""
    templates = (TRAIN[0][:4].repeat(3, axis=0), TRAIN[1][:4].repeat(3))
    assert within_classes(*templates) == 0.0
    assert within_classes(np.array([[0], [100], [40], [240]], np.uint8), np.array([0, 1, 0, 1])) == (20 + 70) / 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fake": (TRAIN[0].astype(np.float32), TRAIN[1])}, "synthetic images are float32"),
        ({"fake": (TRAIN[0][:, :6], TRAIN[1])}, r"synthetic images are uint8 \[400, 6, 8, 1\]"),
        ({"fake": (TRAIN[0], TRAIN[1] + 1)}, "0 to 3, got 1..4"),
        ({"real_test": (TEST[0], TEST[1][:9])}, "one label per image"),
        ({"counts": (401,)}, "there are 400"),
        ({"seeds": ()}, "at least one seed"),
    ],
)
def test_mistakes(change, message):
    good = {"real_train": TRAIN, "real_test": TEST, "fake": TRAIN, "classes": 4}
    with pytest.raises(InputError, match=message):
        train_on_synthetic(**(good | change))


# ------------------------------------------------------------------------------------ the measured table, on MNIST


@pytest.fixture(scope="module")
def mnist(real_data):
    sources = [TFDS("mnist", split, str(real_data / "tensorflow_datasets")) for split in ("train", "test")]
    records = [source.read(np.arange(len(source))) for source in sources]
    return [(record["image"], record["label"]) for record in records]


def gaussians(images, labels, rank, count):
    """Samples of a Gaussian fitted to each class, of that many principal components; 0 gives the class means."""
    rng, made = np.random.default_rng(0), []
    for label in range(10):
        flat = images[labels == label].reshape(-1, 784) / 255
        mean = flat.mean(0)
        _, values, vectors = np.linalg.svd(flat - mean, full_matrices=False)
        spread = values[:rank, None] * vectors[:rank] / len(flat) ** 0.5
        made.append(mean + rng.standard_normal((count // 10, rank)) @ spread)
    pixels = np.rint(np.concatenate(made).clip(0, 1) * 255).astype(np.uint8)
    return pixels.reshape(-1, 28, 28, 1), np.repeat(np.arange(10), count // 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "count", "tstr", "trts"), [(0, 10, (0.70, 0.80), (1.0, 1.0)), (50, 10_000, (0.90, 0.935), (0.9, 1.0))]
)
def test_digits_of_simple_generators(mnist, rank, count, tstr, trts):
    """The ten class means, which are total collapse, and second moments."""
    (images, labels), test = mnist
    fake = gaussians(images[:10_000], labels[:10_000], rank, count)
    result = train_on_synthetic((images[:10_000], labels[:10_000]), test, fake, 10, seeds=(0, 1))
    print(f"\nrank {rank}: {result}")
    assert result.trtr.mean >= 0.965
    assert tstr[0] <= result.tstr.mean <= tstr[1]
    assert trts[0] <= result.trts.mean <= trts[1]


@pytest.mark.slow
def test_shuffled_digits(mnist):
    (images, labels), test = mnist
    shuffled = np.random.default_rng(0).permutation(labels[:10_000])
    params = classifier.fit(images[:10_000], shuffled, 10)
    total = classifier.accuracy(params, *test)[0]
    print(f"\nshuffled: {total:.4f}")
    assert total == pytest.approx(0.1, abs=0.04)  # one frozen classifier is not ten coin tosses
