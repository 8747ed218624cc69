"""Train on synthetic, test on real (TSTR), and its kin.

The protocol of Esteban et al. (2017, arXiv:1706.02633), also known as GAN-train and GAN-test (Shmelkov et al., 2018,
arXiv:1807.09499) and as the classification accuracy score (Ravuri and Vinyals, 2019, arXiv:1905.10887):

    TRTR  a classifier is trained on real and tested on real images: what there is to be reached
    TSTR  trained on synthetic, tested on real: falls with poor images, wrong labels and missing modes alike
    TRTS  trained on real, tested on synthetic against the labels asked for: blind to a generator that makes one
          image of each class, which has 100 %
    gap   TRTR - TSTR

and beside TRTS, which does not see it, how much the images of one class differ, relative to real ones.

All arms have the same classifier, batch size and number of steps, not of epochs, and no augmentation; they differ in
their images only. On MNIST with this classifier TSTR is 75 % for the ten class means, 92 % for a Gaussian of rank 50
fitted to each class, and 98 % for the real images: a GAN that stays below 92 has learned less than second moments.

Images and labels are arrays on the host, uint8 [N,H,W,C] and integers [N]. Synthetic images must have been rounded to
bytes as the real ones are (`data.transforms.to_uint8`); as many as the real ones, the classes equally often, is the
protocol. If the GAN saw n real images, the real training set here is those n. To choose a checkpoint by TSTR, pass a
part of the training set as the test set: the real test set is for one final value.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from gan_jax.errors import InputError
from gan_jax.metrics import classifier

Labelled = tuple[np.ndarray, np.ndarray]  # images uint8 [N,H,W,C], labels [N]


class Spread(NamedTuple):
    """Over the seeds."""

    mean: float
    std: float  # of the population; 0 for a single seed


class Result(NamedTuple):
    """Shares in 0..1."""

    trtr: Spread
    tstr: Spread
    trts: Spread | None  # None where the synthetic images were not asked for by label
    variety: float | None  # standard deviation within a class over that of real images; 0 for a template per class
    gap: Spread  # of the differences between arms of the same seed
    per_class: Float[np.ndarray, "k"]  # TSTR of each class, mean over the seeds; NaN for one without real test images
    curve: dict[int, Spread]  # TSTR from that many synthetic images: a collapsed generator stops improving early
    labels: str  # where the labels of the synthetic images come from: "asked for" or "real-data classifier"


def train_on_synthetic(
    real_train: Labelled,
    real_test: Labelled,
    fake: Labelled | tuple[np.ndarray, None],
    classes: int,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    counts: Sequence[int] = (),
    steps: int = classifier.STEPS,
    batch_size: int = classifier.BATCH_SIZE,
) -> Result:
    """Trains (2 + len(counts)) classifiers for each seed and compares them.

    Args:
      fake: with None for labels, those of an unconditional GAN, the real-data classifier of the same seed labels the
        images; TRTS would then mean nothing and is None.
      counts: sizes of random subsets of the synthetic images, for `curve`, e.g. (1_000, 10_000, 60_000).

    Raises:
      InputError: for images of another shape or type than the real ones, labels out of range, a count above the
        number of synthetic images.
    """
    _check(real_train, real_test, fake, classes, seeds, counts)
    order = np.random.default_rng(0).permutation(len(fake[0]))  # synthetic images often come sorted by class
    arms = []
    for seed in tqdm(seeds, desc="classifiers", unit="seed", disable=None, leave=False):
        settings = {"classes": classes, "steps": steps, "batch_size": batch_size, "seed": seed}
        arms.append(_one_seed(real_train, real_test, fake, [order[:count] for count in counts], settings))
    trtr, tstr, trts, per_class, curve = (np.array(values) for values in zip(*arms, strict=True))
    asked = fake[1] is not None
    return Result(
        trtr=_spread(trtr),
        tstr=_spread(tstr),
        trts=_spread(trts) if asked else None,
        variety=within_classes(*fake) / max(within_classes(*real_train), 1e-9) if asked else None,
        gap=_spread(trtr - tstr),
        per_class=per_class.mean(0),
        curve={count: _spread(values) for count, values in zip(counts, curve.T, strict=True)},
        labels="asked for" if asked else "real-data classifier",
    )


def _one_seed(real_train: Labelled, real_test: Labelled, fake, subsets, settings):
    """(TRTR, TSTR, TRTS, TSTR of each class, TSTR of each subset) for one seed."""
    of_real = classifier.fit(*real_train, **settings)
    images, labels = fake
    if labels is None:
        labels = classifier.predict(of_real, images)
    trts = classifier.accuracy(of_real, images, labels)[0]
    tstr, per_class = classifier.accuracy(classifier.fit(images, labels, **settings), *real_test)
    curve = [
        classifier.accuracy(classifier.fit(images[rows], labels[rows], **settings), *real_test)[0] for rows in subsets
    ]
    return classifier.accuracy(of_real, *real_test)[0], tstr, trts, per_class, curve


def within_classes(images: np.ndarray, labels: np.ndarray) -> float:
    """The standard deviation of a pixel among images of one class, in bytes: the mean over pixels and classes."""
    return float(
        np.mean([images[labels == label].astype(np.float32).std(axis=0).mean() for label in np.unique(labels)])
    )


def _spread(values: np.ndarray) -> Spread:
    return Spread(float(np.mean(values)), float(np.std(values)))


def _check(real_train, real_test, fake, classes, seeds, counts) -> None:
    shape = real_train[0].shape[1:]
    for name, (images, labels) in {"real train": real_train, "real test": real_test, "synthetic": fake}.items():
        if images.dtype != np.uint8 or images.shape[1:] != shape or len(shape) != 3:
            raise InputError(
                f"{name} images are {images.dtype} {list(images.shape)}, must be uint8 [N,H,W,C] like the real "
                f"training images, which are {list(shape)} each"
            )
        if labels is not None or name != "synthetic":
            classifier.check_labels(images, labels, classes)
    if not len(seeds):
        raise InputError("train on synthetic, test on real needs at least one seed")
    for count in counts:
        if not 1 <= count <= len(fake[0]):
            raise InputError(f"a curve up to {count} synthetic images needs as many, there are {len(fake[0])}")
