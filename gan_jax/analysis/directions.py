"""Directions of a latent space that change one thing at a time, found without labels.

`sefa` reads them off the weights that the latent meets first (Shen, Zhou, 2021, arXiv:2007.06600); `principal` and
`regressed` are the two modes of GANSpace (Härkönen et al., 2020, arXiv:2004.02546), for an intermediate latent w and
for z alone. Any direction changes something: what these change has to be compared with what `random_directions` do,
and `effect` measures both.

Host arithmetic in float64. Signs are arbitrary and fixed: the largest entry of a direction is positive.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from gan_jax.errors import InputError, choose

DENSE = 512  # up to so many dimensions the singular values are found exactly
ROUNDS = 6  # of subspace iteration beyond

Host = Float[np.ndarray, "..."]


class Directions(NamedTuple):
    vectors: Float[np.ndarray, "number size"]  # unit length, the most important first
    values: Float[np.ndarray, "number"]  # eigenvalues of A A^T, or the variance along the component
    explained: Float[np.ndarray, "number"]  # `values` as shares of their sum over all directions, in [0, 1]
    scales: Float[np.ndarray, "number"]  # the natural unit of an edit: a standard deviation of w, 1 in z

    def step(self, index: int) -> Float[np.ndarray, "size"]:
        """What an edit of strength 1 adds; strengths are usually within 3."""
        return self.vectors[index] * self.scales[index]


def edit(
    z: Float[Array | np.ndarray, "*batch size"], direction: Float[Array | np.ndarray, "size"], strength: float
) -> Float[Array | np.ndarray, "*batch size"]:
    """z + strength * direction, for every latent of a batch."""
    return z + strength * direction.reshape(*[1] * (z.ndim - 1), -1)


def columns(kernel: Float[Array | np.ndarray, "*window size outputs"]) -> Float[np.ndarray, "size columns"]:
    """The kernel of a Flax layer, dense [in, out] or convolution [..., in, out], as one column for each output."""
    return np.moveaxis(np.asarray(kernel), -2, 0).reshape(kernel.shape[-2], -1)


def sefa(weights: Sequence[Float[Array | np.ndarray, "size _"]], number: int = 10) -> Directions:
    """The directions to which the layers answer most: eigenvectors of A A^T, A the weights with unit columns.

    The authors' code leaves the order to a solver for general matrices; here it is sorted.

    Args:
      weights: one matrix [D, outputs] for each layer chosen; `columns` makes them of kernels. Constant factors of a
        layer's weights do not matter. The label's rows of a conditional layer are to be left out.

    Raises:
      InputError: if they are for latents of different sizes, or more directions are asked for than exist.
    """
    sizes = sorted({matrix.shape[0] for matrix in weights})
    if len(sizes) != 1:
        raise InputError(f"SeFa takes the weights of one latent; these are for latents of sizes {sizes}")
    _check(number, sizes[0])
    a = np.concatenate([np.asarray(matrix, np.float64) for matrix in weights], axis=1)
    length = np.linalg.norm(a, axis=0)
    a = a / np.where(length > 0, length, 1.0)  # outputs that ignore the latent have no say
    values, vectors = np.linalg.eigh(a @ a.T)
    values = np.maximum(values[::-1], 0.0)
    return _directions(vectors.T[::-1][:number], values[:number], values.sum(), np.ones(number))


def principal(w: Float[Array | np.ndarray, "count size"], number: int = 10) -> Directions:
    """GANSpace in W: the principal components of latents w. Edits are in standard deviations of the component.

    Raises:
      InputError: if more directions are asked for than these latents have.
    """
    components, variances, total, _ = _components(_flat(w), number)
    return _directions(components, variances, total, np.sqrt(variances))


def regressed(
    z: Float[Array | np.ndarray, "count size"], activations: Float[Array | np.ndarray, "same *rest"], number: int = 10
) -> Directions:
    """GANSpace in Z: the directions in z of the principal components of what the first layer makes of it.

    Each column of argmin over U of the sum of |U x - z|^2, x the coordinates of an activation divided by their standard
    deviations, at unit length. `values` and `explained` are those of the components, in the space of activations. Only
    for activations that are affine in z: past a rectifier components appear that no direction of z moves.

    Raises:
      InputError: if the counts differ, or more directions are asked for than z or the activations have.
    """
    if len(z) != len(activations):
        raise InputError(f"{len(z)} latents and {len(activations)} activations: they must be of the same samples")
    z = _flat(z)
    _check(number, z.shape[1])
    _, variances, total, coordinates = _components(_flat(activations), number)
    x = coordinates / np.sqrt(variances)
    u = np.linalg.lstsq(x, z - z.mean(axis=0), rcond=None)[0]
    return _directions(u, variances, total, np.ones(number))


def affine_weights(sampler, layer: str | None = None, labels=None) -> Float[np.ndarray, "size outputs"]:
    """The matrix by which a layer of the generator depends on z, whatever its kind and place: for `sefa`.

    Read off the activations of the unit vectors.

    Args:
      sampler: a `Sampler` whose latent is one vector.
      layer: its path; the first one by default.
      labels: one class for a conditional GAN, the same for all.

    Raises:
      InputError: if there is no such layer, or it is not affine in z (it comes after a nonlinearity) or ignores it.
    """
    layer = _layer(sampler, layer)
    size = sampler.latents(1).shape[-1]
    probe = np.linspace(-2.0, 2.0, size)
    z = np.concatenate([np.zeros((1, size)), np.eye(size), probe[None]]).astype(np.float32)
    labels = sampler.labels(1, labels) if sampler.classes else None
    y = sampler.activations(z, [layer], labels)[layer].reshape(len(z), -1).astype(np.float64)
    matrix = y[1:-1] - y[0]
    error = np.abs(probe @ matrix + y[0] - y[-1]).max()
    if error > 1e-3 * np.abs(y).max():
        raise InputError(f"layer '{layer}' is not affine in the latent; SeFa needs one that meets it before all others")
    if not matrix.any():
        raise InputError(
            f"layer '{layer}' does not depend on the latent; SeFa needs one that meets it before all others"
        )
    return matrix


def ganspace(
    sampler, layer: str | None = None, number: int = 10, *, count: int = 10_000, seed: int = 0, labels=None
) -> Directions:
    """GANSpace in Z for a `Sampler`: `regressed` on `count` samples and their activations in `layer`, the first one."""
    layer = _layer(sampler, layer)
    z = np.asarray(sampler.latents(count, seed=seed))
    return regressed(z, sampler.activations(z, [layer], labels)[layer], number)


def random_directions(number: int, size: int, seed: int = 0) -> Float[np.ndarray, "{number} {size}"]:
    """Unit vectors without preference: what found directions have to beat."""
    vectors = np.random.default_rng(seed).standard_normal((number, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def effect(
    score: Callable, z: Float[Array | np.ndarray, "count size"], direction: Host | Array, strength: float
) -> Float[np.ndarray, "factors"]:
    """How much an edit changes each factor: the mean over z of |score(edited) - score(z)|.

    score: z [N, D] -> factors [N, F], what a classifier, or the truth of a world, sees in the images of z.
    """
    before, after = np.asarray(score(z)), np.asarray(score(edit(z, direction, strength)))
    return np.abs(after - before).mean(axis=0)


def _layer(sampler, layer: str | None) -> str:
    known = list(sampler.layers())
    return choose(layer or known[0], dict(zip(known, known, strict=True)), "layer")


def _flat(x) -> np.ndarray:
    return np.asarray(x, np.float64).reshape(len(x), -1)


def _check(number: int, size: int) -> None:
    if not 1 <= number <= size:
        raise InputError(f"{number} directions were asked for; there can be 1 to {size} here")


def _components(x: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """Principal components [K, D] of `x` [N, D], the variance along each, that along all, and coordinates [N, K].

    Of many dimensions only a subspace that holds the leading components is kept (Halko et al., 2011, arXiv:0909.4061).
    """
    x = x - x.mean(axis=0)
    _check(number, min(len(x) - 1, x.shape[1]))
    basis = np.eye(x.shape[1]) if x.shape[1] <= DENSE else _subspace(x, 2 * number + 10)
    _, singular, vectors = np.linalg.svd(x @ basis, full_matrices=False)
    components = vectors[:number] @ basis.T
    variances = singular[:number] ** 2 / len(x)
    total = float(np.sum(x**2) / len(x))
    if variances[-1] <= 1e-12 * total:
        rank = int(np.sum(variances > 1e-12 * total))
        raise InputError(f"{number} directions were asked for; these samples vary along {rank} only")
    return components, variances, total, x @ components.T


def _subspace(x: np.ndarray, size: int) -> np.ndarray:
    size = min(size, *x.shape)
    basis = np.random.default_rng(0).standard_normal((x.shape[1], size))
    for _ in range(ROUNDS):
        basis, _ = np.linalg.qr(x.T @ (x @ basis))
    return basis


def _directions(vectors: np.ndarray, values: np.ndarray, total: float, scales: np.ndarray) -> Directions:
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    vectors = vectors * np.where(largest < 0, -1.0, 1.0)
    return Directions(*(np.asarray(x, np.float32) for x in (vectors, values, values / total, scales)))
