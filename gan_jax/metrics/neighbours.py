"""Nearest neighbours among features, and what they say: precision and recall, density and coverage, two-sample test.

All pairs are compared on one device, as `|a|^2 + |b|^2 - 2 a.b` in float32 of features less their mean, with a bound of
its rounding error. Whatever the bound leaves open (which neighbours are the nearest, whether a point is on the edge of
a ball) is settled on the host by float64 differences, so equal features are at distance 0 and ties are ties.

Memory, for any number of examples: on the device `4 (CHUNK + 2 BLOCK) D` bytes for features and some
`16 BLOCK^2 + CHUNK BLOCK` for comparisons (71 MB + 50 MB for D = 512); on the host, beside the features, some 150 MB
for differences and 1 kB for each query.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int
from tqdm import tqdm

from gan_jax.errors import InputError
from gan_jax.metrics import checks
from gan_jax.metrics.checks import Features

BLOCK = 1024  # queries, and references, of one tile of comparisons
CHUNK = 32 * BLOCK  # references on the device at once
SPARE = 8  # neighbours found beyond those asked for: room for the order to change when distances are made exact
PAIRS = 2**22  # float64 numbers of one array of differences on the host

Bounds = tuple[Float[Array, "q r"], Float[Array, "q r"]]  # between which squared distances are


class Neighbours(NamedTuple):
    distances: Float64[np.ndarray, "n k"]  # Euclidean, rising
    indices: Int[np.ndarray, "n k"]


class PrecisionRecall(NamedTuple):
    precision: float  # share of the generated examples within reach of a real one
    recall: float  # share of the real examples within reach of a generated one


class DensityCoverage(NamedTuple):
    density: float  # how many real balls hold a generated example, over the number expected; may exceed 1
    coverage: float  # share of the real balls that hold a generated example


class TwoSampleTest(NamedTuple):
    accuracy: float  # .5 if the sets cannot be told apart, 1 if they are far apart, 0 if one copies the other
    real: float  # share of the real examples whose nearest neighbour is real
    fake: float  # share of the generated examples whose nearest neighbour is generated


def nearest(queries: Features, references: Features, k: int, exclude_self: bool = False) -> Neighbours:
    """The k references nearest to each query. Among equal distances the smaller index comes first.

    Args:
      queries, references: `[N, D]` and `[M, D]`.
      exclude_self: row i of both is the same example, which is not its own neighbour; equal rows still are.

    Raises:
      InputError: if there are fewer than k references, the dimensions differ, or a feature is not finite.
    """
    if exclude_self and queries.shape != references.shape:
        raise InputError("neighbours: leaving out the example itself needs queries and references to be the same set")
    if k < 1:
        raise InputError(f"neighbours: their number must be at least 1, got {k}")
    checks.features("neighbours, references", references, k + exclude_self, f"for {k} neighbours")
    checks.features("neighbours, queries", queries)
    checks.same_width(queries, references)
    squares, indices = _nearest(queries, references, k, exclude_self)
    return Neighbours(np.sqrt(squares), indices)


def precision_recall(real: Features, fake: Features, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall: shares of one set inside the balls around the other's examples.

    A ball reaches to the k-th neighbour in its own set, itself left out, and holds its edge (`<=`). Published values
    take 50,000 examples of each and features of VGG-16's second fully connected layer. Source: Kynkäänniemi et al.,
    2019, "Improved Precision and Recall Metric for Assessing Generative Models", arXiv:1904.06991, equation 1.

    Raises:
      InputError: if a set has no more than k examples, the dimensions differ, or a feature is not finite.
    """
    _check_pair(real, fake, k + 1, f"for balls that reach to the neighbour of rank {k}", k)
    return PrecisionRecall(
        precision=float((_balls_around(fake, real, _radii(real, k), closed=True) > 0).mean()),
        recall=float((_balls_around(real, fake, _radii(fake, k), closed=True) > 0).mean()),
    )


def density_coverage(real: Features, fake: Features, k: int = 5) -> DensityCoverage:
    """Density and coverage: what precision and recall become when one stray real example must not count for much.

    Balls are those of `precision_recall`, around real examples only and without their edge (`<`). If the sets follow
    one distribution, density is 1 on average and coverage `1 - (N-1)...(N-k) / (2N-1)...(2N-k)`, about `1 - 2^-k`.
    Source: Naeem et al., 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", arXiv:2002.09797.

    Raises:
      InputError: as `precision_recall`; one generated example is enough.
    """
    _check_pair(real, fake, k + 1, f"for balls that reach to the neighbour of rank {k}", k, least_fake=1)
    radii = _radii(real, k)
    held = _balls_around(fake, real, radii, closed=False)
    return DensityCoverage(
        density=float(held.mean() / k),
        coverage=float((_nearest(real, fake, 1, False)[0][:, 0] < radii).mean()),
    )


def two_sample_test(real: Features, fake: Features, seed: int = 0) -> TwoSampleTest:
    """Leave-one-out accuracy of the 1-nearest-neighbour classifier that tells real from generated examples.

    Both sets must count the same for .5 to be the ideal: of the larger one, as many as the smaller one has are drawn
    with `seed`. Source: Lopez-Paz and Oquab, 2017, "Revisiting Classifier Two-Sample Tests", arXiv:1610.06545; Xu et
    al., 2018, "An empirical study on evaluation metrics of generative adversarial networks", arXiv:1806.07755.

    Raises:
      InputError: for fewer than 2 examples of either, different dimensions, or a feature that is not finite.
    """
    _check_pair(real, fake, 2, "for one to have a neighbour")
    size = min(len(real), len(fake))
    rng = np.random.default_rng(seed)
    real, fake = (x if len(x) == size else x[rng.choice(len(x), size, replace=False)] for x in (real, fake))
    union = np.concatenate([real, fake])
    same = (_nearest(union, union, 1, True)[1][:, 0] < size) == (np.arange(2 * size) < size)
    return TwoSampleTest(float(same.mean()), float(same[:size].mean()), float(same[size:].mean()))


def classification_error(
    train_x: Features, train_y: Int[np.ndarray, "_"], test_x: Features, test_y: Int[np.ndarray, "_"]
) -> float:
    """Share of the test examples whose nearest training example has another label.

    With generated training examples and real test examples this is table 3 of DCGAN (Radford et al., 2016,
    arXiv:1511.06434): pixels in [0, 1], 50,000 samples with labels in equal numbers, MNIST's test set. MNIST's own
    60,000 training images give 3.09 %, a random 50,000 of them 3.2 to 3.3 %. Of equally near ones the first decides.

    Raises:
      InputError: if examples and labels do not pair up, the dimensions differ, or a value is not finite.
    """
    for which, x, y in (("training", train_x, train_y), ("test", test_x, test_y)):
        if len(x) != len(y):
            raise InputError(f"1-NN classifier: {len(x)} {which} examples, but {len(y)} labels")
    return float((train_y[nearest(test_x, train_x, 1).indices[:, 0]] != test_y).mean())


def _check_pair(
    real: Features, fake: Features, least: int, reason: str, k: int = 1, least_fake: int | None = None
) -> None:
    if k < 1:
        raise InputError(f"neighbours: their number must be at least 1, got {k}")
    checks.features("real set", real, least, reason)
    checks.features("generated set", fake, least_fake or least, reason)
    checks.same_width(real, fake)


def _radii(features: Features, k: int) -> Float64[np.ndarray, "n"]:
    """Squared distances to the k-th neighbours."""
    return _nearest(features, features, k, True)[0][:, -1]


def _nearest(
    queries: Features, references: Features, k: int, exclude_self: bool
) -> tuple[Float64[np.ndarray, "n k"], Int[np.ndarray, "n k"]]:
    """Squared distances and indices of the k nearest."""
    own = np.arange(len(queries)) if exclude_self else np.full(len(queries), -1)
    centre = references.mean(axis=0, dtype=np.float64)
    squares, indices, settled = _search(queries, references, own, k, _bounds_by_product, centre)
    if not settled.all():  # crowds of near copies: the product's error exceeds their distances, differences do not
        rest = ~settled
        squares[rest], indices[rest], _ = _search(queries[rest], references, own[rest], k, _bounds_by_difference)
    return squares, indices


def _search(
    queries: Features,
    references: Features,
    own: Int[np.ndarray, "n"],
    k: int,
    bounds: Callable[[Array, Array], Bounds],
    centre: Float64[np.ndarray, "d"] | None = None,
) -> tuple[Float64[np.ndarray, "n k"], Int[np.ndarray, "n k"], Bool[np.ndarray, "n"]]:
    """Squared distances and indices of the k nearest but `own`, and for which queries these are beyond doubt."""
    starts = range(0, len(queries), BLOCK)
    kept = 16 * -(-(k + SPARE) // 16)  # so that one compiled program serves all k up to 8
    low = [np.full((BLOCK, kept), np.inf, np.float32)] * len(starts)
    found = [np.full((BLOCK, kept), -1, np.int32)] * len(starts)
    for first, tiles in _chunks(references, centre):
        for i, start in enumerate(tqdm(starts, "neighbours", unit="block", disable=None, leave=False)):
            block = jnp.asarray(_padded(queries[start : start + BLOCK], centre, BLOCK))
            mine = np.full(BLOCK, -1, np.int32)
            mine[: len(own) - start] = own[start : start + BLOCK]
            best = _merge(low[i], found[i], block, tiles, mine, first, len(references), bounds)
            low[i], found[i] = jax.device_get(best)  # waits: else blocks of queries would pile up on the device
        del tiles  # before the next chunk comes
    bound = np.concatenate(low)[: len(queries), -1]
    indices = np.concatenate(found)[: len(queries)]
    squares = _squares(queries, references, np.arange(len(queries)).repeat(kept), indices.reshape(-1))
    squares = squares.reshape(indices.shape)
    order = np.lexsort((indices, squares), axis=1)[:, :k]
    squares, indices = (np.take_along_axis(x, order, axis=1) for x in (squares, indices))
    return squares, indices, (squares[:, -1] <= bound) | (squares[:, -1] == 0)


@partial(jax.jit, static_argnames="bounds")
def _merge(
    low: Float[Array, "q c"],
    found: Int[Array, "q c"],
    queries: Float[Array, "q d"],
    tiles: Float[Array, "t r d"],
    own: Int[Array, "q"],
    first: Int[Array, ""],
    count: Int[Array, ""],
    bounds: Callable[[Array, Array], Bounds],
) -> tuple[Float[Array, "q c"], Int[Array, "q c"]]:
    """The references with the lowest lower bounds so far, and among these tiles, whose first row has index `first`."""

    def step(best, numbered):
        number, tile = numbered
        indices = (first + number * len(tile) + jnp.arange(len(tile), dtype=jnp.int32))[None]
        values = jnp.where((indices >= count) | (indices == own[:, None]), jnp.inf, bounds(queries, tile)[0])
        values = jnp.concatenate([best[0], values], axis=1)
        indices = jnp.concatenate([best[1], jnp.where(values[:, low.shape[1] :] < jnp.inf, indices, -1)], axis=1)
        top, places = jax.lax.top_k(-values, low.shape[1])
        return (-top, jnp.take_along_axis(indices, places, axis=1)), None

    return jax.lax.scan(step, (low, found), (jnp.arange(len(tiles), dtype=jnp.int32), tiles))[0]


def _balls_around(
    points: Features, centres: Features, squared_radii: Float64[np.ndarray, "m"], closed: bool
) -> Int[np.ndarray, "n"]:
    """How many balls hold each point; with their edge if `closed`."""
    held = np.zeros(len(points), np.int64)
    middle = centres.mean(axis=0, dtype=np.float64)
    for first, tiles in _chunks(centres, middle):
        reach = np.full(tiles.shape[:2], -np.inf, np.float32)  # of the padding: holds nothing
        reach.reshape(-1)[: len(centres) - first] = squared_radii[first : first + reach.size]
        for start in tqdm(range(0, len(points), BLOCK), "balls", unit="block", disable=None, leave=False):
            block = points[start : start + BLOCK]
            sure, open_, numbers = _compare(jnp.asarray(_padded(block, middle, BLOCK)), tiles, reach)
            held[start : start + BLOCK] += np.asarray(sure)[: len(block)]
            for tile in np.flatnonzero(numbers):
                rows, columns = np.nonzero(np.asarray(open_[tile])[: len(block)])
                columns += first + tile * BLOCK
                squares = _squares(block, centres, rows, columns)
                inside = squares <= squared_radii[columns] if closed else squares < squared_radii[columns]
                held[start : start + BLOCK] += np.bincount(rows[inside], minlength=len(block))
        del tiles
    return held


@jax.jit
def _compare(
    points: Float[Array, "q d"], tiles: Float[Array, "t r d"], reach: Float[Array, "t r"]
) -> tuple[Int[Array, "q"], Bool[Array, "t q r"], Int[Array, "t"]]:
    """How many balls surely hold each point; pairs the bounds leave open, and their number in each tile."""

    def step(sure, ball):
        low, high = _bounds_by_product(points, ball[0])
        inside = high < ball[1][None]
        undecided = ~inside & (low <= ball[1][None])
        return sure + inside.sum(axis=1, dtype=jnp.int32), (undecided, undecided.sum(dtype=jnp.int32))

    sure, (undecided, numbers) = jax.lax.scan(step, jnp.zeros(len(points), jnp.int32), (tiles, reach))
    return sure, undecided, numbers


def _bounds_by_product(a: Float[Array, "q d"], b: Float[Array, "r d"]) -> Bounds:
    size = jnp.square(a).sum(axis=1)[:, None] + jnp.square(b).sum(axis=1)[None]
    middle = size - 2 * jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
    error = _error(a.shape[1]) * size
    return middle - error, middle + error


def _bounds_by_difference(a: Float[Array, "q d"], b: Float[Array, "r d"]) -> Bounds:
    middle = jax.lax.map(lambda row: jnp.square(row[None] - b).sum(axis=1), a)
    error = _error(a.shape[1]) * middle
    return middle - error, middle + error


def _error(dimension: int) -> float:
    """Rounding error of a sum of `dimension` products over the size of its terms; it grows like a random walk."""
    return float(np.finfo(np.float32).eps) * (8 + dimension**0.5)


def _chunks(references: Features, centre: np.ndarray | None) -> Iterator[tuple[int, Float[Array, "t r d"]]]:
    """References on the device as `[tiles, BLOCK, D]`, with the index of their first row."""
    for first in range(0, len(references), CHUNK):
        chunk = references[first : first + CHUNK]
        padded = _padded(chunk, centre, BLOCK * -(-len(chunk) // BLOCK))
        yield first, jnp.asarray(padded.reshape(-1, BLOCK, padded.shape[1]))


def _padded(rows: Features, centre: np.ndarray | None, length: int) -> np.ndarray:
    """Rows less the centre, in float32, and rows of zeros after them."""
    padded = np.zeros((length, rows.shape[1]), np.float32)
    padded[: len(rows)] = rows if centre is None else rows - centre.astype(rows.dtype)[None]
    return padded


def _squares(
    a: Features, b: Features, rows: Int[np.ndarray, "p"], columns: Int[np.ndarray, "p"]
) -> Float64[np.ndarray, "p"]:
    """Squared distances in float64 of `a[rows]` and `b[columns]`; infinite where the column is -1.

    All distances that are compared with each other come from here, and are the same whichever of the two is `a`.
    """
    squares = np.full(len(rows), np.inf)
    step = max(1, PAIRS // a.shape[1])
    for start in range(0, len(rows), step):
        here = slice(start, start + step)
        apart = a[rows[here]].astype(np.float64) - b[columns[here]]
        squares[here] = np.square(apart).sum(axis=1)
    squares[columns < 0] = np.inf
    return squares
