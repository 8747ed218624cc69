"""The small classifier of a labelled dataset: an extractor of features that asks for no downloaded weights.

Its features serve FID on grey and small images, its class probabilities the inception score, its predictions the
counting of modes and the training on synthetic data. All of them speak of one dataset: values of two classifiers are
not comparable, which is why `cached` gives an identity along with the parameters.
"""

import functools
import hashlib
import os
import pathlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util
from jaxtyping import Array, Float, Int, Integer, Num, UInt8

from gan_jax.errors import InputError
from gan_jax.nets.classifier import SmallCNN

STEPS, BATCH_SIZE, LEARNING_RATE = 1000, 128, 1e-3
HELD_OUT, MOST_HELD_OUT = 10, 5000  # every tenth record is kept for the test in `cached`, but at most this many
RECIPE = f"SmallCNN 16-32-64, Adam {LEARNING_RATE}, batch {BATCH_SIZE}, {STEPS} steps, seed 0, 1/{HELD_OUT} held out"
ADAM = optax.adam(LEARNING_RATE)
AT_ONCE = 500  # images that go through the network together

Params = Mapping[str, Mapping[str, Array | np.ndarray]]


def fit(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, "_n"],
    classes: int,
    steps: int = STEPS,
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> Params:
    """The parameters of a classifier trained on these images; the same for the same arguments on the same device.

    Cross-entropy, Adam, batches drawn uniformly with replacement. The images stay on the device as bytes.

    Raises:
      InputError: if there are no images, or a label is not in 0..classes-1.
    """
    check_labels(images, labels, classes)
    return train(SmallCNN(classes), cross_entropy, images, labels.astype(np.int32), steps, batch_size, seed)


def check_labels(images: np.ndarray, labels: np.ndarray, classes: int) -> None:
    """Raises InputError where these images and labels cannot train or test a classifier of that many classes."""
    if len(images) == 0 or len(images) != len(labels):
        raise InputError(f"a classifier needs one label per image, got {len(images)} images and {len(labels)} labels")
    if labels.min() < 0 or labels.max() >= classes:
        raise InputError(f"labels of {classes} classes must be 0 to {classes - 1}, got {labels.min()}..{labels.max()}")


def cross_entropy(logits: Float[Array, "b k"], labels: Int[Array, "b"]) -> Float[Array, ""]:
    """Mean over the batch, in nats."""
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()


def train(
    module: SmallCNN, loss: Callable, images: np.ndarray, targets, steps: int, batch_size: int, seed: int
) -> Params:
    """Adam down `loss(outputs [B, outputs], targets [B, ...])`; `targets`: a pytree of arrays [n, ...].

    The batch of a step is a function of `seed` and the step's number. `loss` must be hashable: it is part of the
    compiled program. A loop over compiled steps, because XLA:CPU runs convolutions inside its own loops ten times
    slower.
    """
    images, targets = jnp.asarray(images), jax.tree.map(jnp.asarray, targets)
    start, draws = jax.random.split(jax.random.key(seed))
    params, opt = _begin(module, start, images[:1])
    for number in range(steps):
        params, opt = _step(module, loss, batch_size, params, opt, images, targets, draws, np.uint32(number))
    return params


@functools.partial(jax.jit, static_argnums=0)
def _begin(module, key, example):
    params = module.init(key, example)["params"]
    return params, ADAM.init(params)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=(3, 4))
def _step(module, loss, batch_size, params, opt, images, targets, draws, number):
    rows = jax.random.randint(jax.random.fold_in(draws, number), (batch_size,), 0, len(images))
    batch = jax.tree.map(lambda leaf: leaf[rows], targets)
    grads = jax.grad(lambda p: loss(module.apply({"params": p}, images[rows])[0], batch))(params)
    with jax.numpy_dtype_promotion("standard"):  # Optax raises floats to its integer step count
        updates, opt = ADAM.update(grads, opt)
    return optax.apply_updates(params, updates), opt


def features(params: Params, images: Num[Array | np.ndarray, "b h w c"]) -> dict[str, Array]:
    """`features` [B, 64], after their ReLU, and `logits` [B, K], both float32, of images uint8 or in [0, 1]."""
    logits, hidden = SmallCNN(params["logits"]["bias"].shape[0]).apply({"params": params}, images)
    return {"features": hidden, "logits": logits}


def predict(params: Params, images: UInt8[np.ndarray, "n h w c"]) -> Int[np.ndarray, "n"]:
    """The most probable class of each image, int32."""
    return in_batches(_most_probable, params, images)


@jax.jit
def _most_probable(params, images):
    return features(params, images)["logits"].argmax(-1).astype(jnp.int32)


def in_batches(program: Callable, params: Params, images: np.ndarray) -> np.ndarray:
    """`program(params, images [B, ...])` over images [n, ...], in pieces of one size; the last one is filled up."""
    size = min(AT_ONCE, len(images))
    pieces = []
    for start in range(0, len(images), size):
        piece = images[start : start + size]
        filled = np.concatenate([piece, np.repeat(piece[:1], size - len(piece), axis=0)])
        pieces.append(np.asarray(program(params, filled))[: len(piece)])
    return np.concatenate(pieces)


def accuracy(
    params: Params, images: UInt8[np.ndarray, "n h w c"], labels: Integer[np.ndarray, "_n"]
) -> tuple[float, Float[np.ndarray, "k"]]:
    """(share of these images that is recognised, the same for each class), in 0..1; NaN for a class without images.

    Raises:
      InputError: if there are no images, or a label is none of the classifier's.
    """
    classes = params["logits"]["bias"].shape[0]
    check_labels(images, labels, classes)
    right = predict(params, images) == labels
    counts = np.bincount(labels, minlength=classes)
    with np.errstate(invalid="ignore"):
        per_class = np.bincount(labels, weights=right, minlength=classes) / counts
    return float(right.mean()), per_class


def cached(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Integer[np.ndarray, "_n"],
    classes: int,
    folder: str | pathlib.Path | None = None,
) -> tuple[Params, float, str]:
    """The classifier of this dataset: (parameters, accuracy on the records that it did not see, identity).

    Trained once on nine tenths of the records and kept in `folder`/classifiers under the identity, a hash of the
    records in their order, the labels and the recipe. `folder` is $GAN_JAX_CACHE or ~/.cache/gan_jax by default.
    Several processes may ask for the same one: each writes a file of its own and renames it.

    Raises:
      InputError: as `fit`, and for fewer than ten images.
    """
    check_labels(images, labels, classes)
    if len(images) < HELD_OUT:
        raise InputError(f"a classifier with a test of its own needs at least {HELD_OUT} images, got {len(images)}")
    identity = _identity(images, labels, classes)
    place = pathlib.Path(folder or default_folder()).expanduser() / "classifiers" / f"{identity}.npz"
    if place.exists():
        params, score = _read(place)
    else:
        params, score = _fit_and_test(images, labels, classes)
        _write(place, params, score)
    return params, score, identity


def default_folder() -> pathlib.Path:
    """Where what was computed once is kept."""
    return pathlib.Path(os.environ.get("GAN_JAX_CACHE") or "~/.cache/gan_jax").expanduser()


def _fit_and_test(images, labels, classes) -> tuple[Params, float]:
    order = np.random.default_rng(0).permutation(len(images))
    held_out, rest = np.split(order, [min(len(images) // HELD_OUT, MOST_HELD_OUT)])
    params = fit(images[rest], labels[rest], classes)
    return params, accuracy(params, images[held_out], labels[held_out])[0]


def _identity(images, labels, classes) -> str:
    mark = hashlib.sha256(f"{RECIPE}, {classes} classes, images {images.shape}".encode())
    mark.update(np.ascontiguousarray(images).data)
    mark.update(labels.astype("<i4").tobytes())
    return mark.hexdigest()[:16]


def _write(place: pathlib.Path, params: Params, score: float) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.savez(file, held_out=score, **traverse_util.flatten_dict(jax.device_get(params), sep="/"))
    partial.replace(place)


def _read(place: pathlib.Path) -> tuple[Params, float]:
    with np.load(place) as file:
        arrays = {name: file[name] for name in file.files}
    score = float(arrays.pop("held_out"))
    return traverse_util.unflatten_dict(arrays, sep="/"), score
