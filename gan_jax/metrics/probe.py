"""How much a discriminator has learned to see: a linear classifier on its features (Radford, Metz, Chintala, 2015,
arXiv:1511.06434, section 5.1, after Coates and Ng, 2012).

Three steps: what every convolution gives for an image (`feature_maps`), pooled to a 4x4 grid and joined to one vector
(`pooled`), and a linear L2-SVM on these vectors (`linear_probe`). With features of a discriminator that was trained on
ImageNet at 32x32 the paper reports 82.8 % on CIFAR-10.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from flax import linen as nn
from jax.lax import Precision
from jaxtyping import Array, Bool, Float, Integer, Num
from tqdm import tqdm

from gan_jax.contract import PyTree
from gan_jax.data.transforms import to_float
from gan_jax.errors import InputError

GRID = 4
SLOPE = 0.2  # of the leaky rectifier
BLOCK = 1024  # examples on the device at once
STRENGTHS = (0.01, 0.1, 1.0, 10.0)
ITERATIONS = 200  # of the minimiser at most; each goes through all features once or twice


def feature_maps(
    discriminator: nn.Module, variables: PyTree, images: Num[Array | np.ndarray, "b _h _w _c"]
) -> tuple[Array, ...]:
    """What each convolution of a critic gives for these images, [B, h, w, channels] in order, rectified.

    Images are uint8 or in [-1, 1]. What follows a convolution up to the next one in layers of its own, such as a
    norm, belongs to it; the leaky rectifier (slope .2), which is DCGAN's and commutes with the maximum of `pooled`,
    is applied here. Statistics are those of evaluation.

    Raises:
      InputError: if the discriminator has no convolutions.
    """
    maps = []

    def watch(call, args, kwargs, context):
        output = call(*args, **kwargs)
        if context.method_name == "__call__" and getattr(output, "ndim", 0) == 4:
            if _convolves(context.module):
                maps.append(output)
            elif maps:
                maps[-1] = output
        return output

    images = jnp.asarray(images)
    images = to_float(images) if images.dtype == jnp.uint8 else images
    with nn.intercept_methods(watch):
        discriminator.apply(variables, images, train=False)
    if not maps:
        raise InputError("the features of a discriminator are those of its convolutions, and this one has none")
    return tuple(jnp.maximum(m, SLOPE * m).astype(jnp.float32) for m in maps)


def _convolves(module: nn.Module) -> bool:
    return module.has_variable("params", "kernel") and module.get_variable("params", "kernel").ndim == 4


def pooled(maps: Sequence[Float[Array | np.ndarray, "b _h _w _c"]], grid: int = GRID) -> Float[Array, "b d"]:
    """Maps [B, h, w, channels], each reduced to `grid` x `grid` maxima, flattened and joined: [B, grid^2 sum channels].

    Cell i of n spans the pixels from floor(i h / n) to ceil((i + 1) h / n), so that maps of any size will do.
    """
    cells = [_maxima(_maxima(jnp.asarray(m), 1, grid), 2, grid) for m in maps]
    return jnp.concatenate([c.reshape(c.shape[0], -1) for c in cells], axis=1)


def _maxima(x: Array, axis: int, cells: int) -> Array:
    size = x.shape[axis]
    spans = [(i * size // cells, -(-(i + 1) * size // cells)) for i in range(cells)]
    return jnp.stack([jax.lax.slice_in_dim(x, *span, axis=axis).max(axis) for span in spans], axis)


class Probe(NamedTuple):
    test_accuracy: float  # in 0..1
    train_accuracy: float
    strength: float  # the C that was best on the validation part


def linear_probe(
    train_x: Float[np.ndarray, "_n _d"],
    train_y: Integer[np.ndarray, "_n"],
    test_x: Float[np.ndarray, "_m _d"],
    test_y: Integer[np.ndarray, "_m"],
    *,
    strengths: Sequence[float] = STRENGTHS,
    validation: float = 0.1,
    seed: int = 0,
) -> Probe:
    """A linear L2-SVM on features, its C chosen on a part of the training set, then fitted to all of it.

    Features are standardised by the training set and divided by the square root of their number: a strength then
    means the same whatever there is to see. Strengths are tried from the weakest on until accuracy falls. Memory: the
    features stay on the host, the device holds 1024 of them at a time and the weights; L-BFGS keeps some thirty
    float64 vectors as long as the weights.

    Raises:
      InputError: if features and labels do not fit together, there are fewer than two classes, or too few examples
        to keep some for validation.
    """
    _check(train_x, train_y, test_x, test_y, strengths, validation)
    classes = int(max(train_y.max(), test_y.max())) + 1
    best, weights, scores = strengths[0], None, []
    if len(strengths) > 1:
        order = np.random.default_rng(seed).permutation(len(train_x))
        kept = order < max(1, round(validation * len(order)))
        scale = scale_of(train_x, ~kept)
        for strength in tqdm(sorted(strengths), desc="strengths", disable=None, leave=False):
            weights = fit_svm(train_x, train_y, classes, strength, scale, use=~kept, start=weights)
            scores.append((_accuracy(weights, scale, train_x, train_y, kept), -strength))
            if scores[-1][0] < max(scores)[0]:
                break  # stronger ones, which take longest, would learn the noise
        best = -max(scores)[1]  # among equals the simplest
    scale = scale_of(train_x)
    weights = fit_svm(train_x, train_y, classes, best, scale)
    train_accuracy = _accuracy(weights, scale, train_x, train_y)
    return Probe(_accuracy(weights, scale, test_x, test_y), train_accuracy, best)


def _check(train_x, train_y, test_x, test_y, strengths, validation) -> None:
    for name, x, y in (("training", train_x, train_y), ("test", test_x, test_y)):
        if len(x) != len(y) or not len(x):
            raise InputError(f"a linear probe needs one label per example, got {len(x)} and {len(y)} {name} labels")
    if train_x.shape[1] != test_x.shape[1]:
        raise InputError(f"features of {train_x.shape[1]} and of {test_x.shape[1]} dimensions cannot be compared")
    if len(np.unique(train_y)) < 2:
        raise InputError("a linear probe needs training examples of at least two classes")
    if not strengths or min(strengths) <= 0:
        raise InputError("a linear probe needs strengths above 0")
    if len(strengths) > 1 and (len(train_x) < 10 or not 0 < validation < 1):
        raise InputError(f"choosing a strength on a share of {validation:g} needs at least 10 training examples")


class Scale(NamedTuple):
    """Features are seen as (x - mean) * factor."""

    mean: Float[np.ndarray, "d"]
    factor: Float[np.ndarray, "d"]


def scale_of(x: Float[np.ndarray, "n d"], use: Bool[np.ndarray, "n"] | None = None) -> Scale:
    """That of the examples in `use` (all by default): standardised and of expected length 1; constant features
    become 0. In blocks, for x may be as large as the memory."""
    total, squares, count = np.zeros(x.shape[1]), np.zeros(x.shape[1]), 0
    origin = x[0].astype(np.float64)  # near the mean, so that the variance is no difference of large numbers
    for start in range(0, len(x), BLOCK):
        block = x[start : start + BLOCK]
        block = (block if use is None else block[use[start : start + BLOCK]]) - origin
        total, squares, count = total + block.sum(0), squares + np.square(block).sum(0), count + len(block)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    varies = std > 1e-6 * np.abs(origin + mean)
    factor = np.where(varies, 1 / np.where(varies, std, 1), 0) / np.sqrt(max(varies.sum(), 1))
    return Scale((origin + mean).astype(np.float32), factor.astype(np.float32))


def fit_svm(
    x: Float[np.ndarray, "n d"],
    y: Integer[np.ndarray, "n"],
    classes: int,
    strength: float,
    scale: Scale,
    *,
    use: Bool[np.ndarray, "n"] | None = None,
    start: Float[np.ndarray, "d1 k"] | None = None,
) -> Float[np.ndarray, "d1 k"]:
    """Weights [D + 1, classes], float32, the last row being the biases, of one-against-rest L2-SVMs on scaled x.

    Each minimises |w|^2 / 2 + strength * sum_i max(0, 1 - y_i (w x_i + b))^2 with y = +-1 (Fan et al., 2008, LIBLINEAR,
    without its penalty on b), by L-BFGS. `use`: the examples that count; `start`: weights to begin from.
    """
    shape = (x.shape[1] + 1, classes)

    def objective(flat):
        weights = flat.reshape(shape)
        loss, gradient = 0.0, np.zeros(shape)
        sent = weights.astype(np.float32)
        for features, labels, valid in _blocks(x, y, use):
            some, slope = _hinge(sent, features, scale, labels, valid)
            loss, gradient = loss + float(some), gradient + np.asarray(slope)
        gradient *= strength
        gradient[:-1] += weights[:-1]
        return 0.5 * np.sum(weights[:-1] ** 2) + strength * loss, gradient.ravel()

    first = np.zeros(shape) if start is None else start.astype(np.float64)
    options = {"maxiter": ITERATIONS, "ftol": 1e-7, "gtol": 1e-4}
    found = scipy.optimize.minimize(objective, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(shape).astype(np.float32)


def _blocks(x, y, use):
    """Features, labels and which of them count, in blocks of one size; only the last one is copied."""
    size = min(BLOCK, len(x))
    for start in range(0, len(x), size):
        features, labels = x[start : start + size], y[start : start + size].astype(np.int32)
        valid = np.ones(len(labels), bool) if use is None else use[start : start + size]
        missing = size - len(labels)
        if missing:
            features, labels, valid = (
                np.concatenate([a, np.zeros((missing, *a.shape[1:]), a.dtype)]) for a in (features, labels, valid)
            )
        yield features, labels, valid


def _scores(weights, features, scale):
    scaled = (features.astype(jnp.float32) - scale.mean[None]) * scale.factor[None]
    return jnp.matmul(scaled, weights[:-1], precision=Precision.HIGHEST) + weights[-1:]


@jax.jit
def _hinge(weights, features, scale, labels, valid):
    """Sum of the squared hinges over a block and all classes, and its gradient."""

    def loss(weights):
        signs = 2 * jax.nn.one_hot(labels, weights.shape[1]) - 1
        hinges = jax.nn.relu(1 - signs * _scores(weights, features, scale))
        return jnp.sum(jnp.where(valid[:, None], jnp.square(hinges), 0))

    return jax.value_and_grad(loss)(weights)


@jax.jit
def _right(weights, features, scale, labels, valid):
    return jnp.sum((_scores(weights, features, scale).argmax(1) == labels) & valid)


def _accuracy(weights, scale: Scale, x, y, use=None) -> float:
    right = sum(int(_right(weights, f, scale, labels, valid)) for f, labels, valid in _blocks(x, y, use))
    return right / (len(x) if use is None else int(use.sum()))
