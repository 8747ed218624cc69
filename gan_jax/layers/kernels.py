"""Kernels between batches of features, and the estimates of the squared maximum mean discrepancy that are made of them.

    MMD^2(P, Q) = E k(x, x') - 2 E k(x, y) + E k(y, y'),        x, x' from P; y, y' from Q

Every use here compares expectations of a kernel with each other, so a constant added to it drops out, and so does a
shift of all features. We use both freely for the sake of float32: a kernel of distances is given less its value at
distance 0, where it would otherwise lose the digits that tell near examples apart, and features are centred before they
are multiplied. Everything is float32, whatever the features are in.

Every pair of examples is compared: on a mesh the compiler gathers one side's features, [B, k], on every device, and
each device computes its rows of the matrix.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Matrix = Float[Array, "n m"]
Scalar = Float[Array, ""]


class Kernel(NamedTuple):
    """k(x, y) = profile(|x - y|^2) + linear <x, y>, up to constants."""

    profile: Callable[[Array], Array]  # of squared distances, 0 at 0
    linear: float = 0.0

    def __call__(
        self, x: Float[Array, "n k"], y: Float[Array, "m k"], lower: float = 0.0, upper: float = jnp.inf
    ) -> Matrix:
        """The matrix k(x_i, y_j); squared distances are cut to [lower, upper] first, beyond which it is flat."""
        x, y = x.astype(jnp.float32), y.astype(jnp.float32)
        products = jnp.matmul(x, y.T, precision="highest")
        squares = jnp.sum(x**2, axis=1).reshape(-1, 1) + jnp.sum(y**2, axis=1).reshape(1, -1)
        distances = jnp.clip(squares - 2.0 * products, lower, upper)  # rounding can leave less than 0
        return self.profile(distances) + self.linear * products


def mix_rbf(sigmas: Sequence[float]) -> Kernel:
    """The sum over sigma of exp(-d^2 / (2 sigma^2)) (Li et al., 2015, arXiv:1502.02761, section 2)."""
    return Kernel(lambda d2: sum(jnp.expm1(d2 * (-0.5 / sigma**2)) for sigma in sigmas))


def mix_rq(alphas: Sequence[float], linear: float = 0.0) -> Kernel:
    """Rational quadratics: the sum over alpha of (1 + d^2 / (2 alpha))^-alpha, plus `linear` times <x, y>.

    Bińkowski et al., 2018, arXiv:1801.01401, section 2.1; there `linear` is 0, or 1 in "rq*".
    """
    return Kernel(lambda d2: sum(jnp.expm1(-alpha * jnp.log1p(d2 * (0.5 / alpha))) for alpha in alphas), linear)


BY_NAME: dict[str, Callable[[Sequence[float]], Kernel]] = {  # each of its scales
    "mix_rbf": mix_rbf,
    "mix_rq": mix_rq,
    "mix_rq_dot": lambda alphas: mix_rq(alphas, linear=1.0),
}


def off_diagonal_mean(matrix: Float[Array, "n n"]) -> Scalar:
    """The mean over pairs of different examples."""
    n = matrix.shape[0]
    return jnp.sum(matrix * (1.0 - jnp.eye(n))) / (n * (n - 1))


def centred(*sets: Float[Array, "_ k"]) -> list[Array]:
    """All sets, moved alike so that the middle of the first is 0: distances are the same, and rounded less."""
    middle = jax.lax.stop_gradient(jnp.mean(sets[0].astype(jnp.float32), axis=0, keepdims=True))
    return [x.astype(jnp.float32) - middle for x in sets]


def biased(kernel: Kernel, x: Float[Array, "n k"], y: Float[Array, "m k"]) -> Scalar:
    """MMD^2 with every pair, each example with itself included; never negative but for rounding.

    Gretton et al., 2012, "A Kernel Two-Sample Test", eq. 5.
    """
    x, y = centred(x, y)
    return jnp.mean(kernel(x, x)) + jnp.mean(kernel(y, y)) - 2.0 * jnp.mean(kernel(x, y))


def unbiased(kernel: Kernel, x: Float[Array, "n k"], y: Float[Array, "m k"]) -> Scalar:
    """MMD^2 without the pairs of an example with itself: right in expectation, so it can be negative.

    Gretton et al., 2012, lemma 6. Needs two examples of each.
    """
    x, y = centred(x, y)
    return off_diagonal_mean(kernel(x, x)) + off_diagonal_mean(kernel(y, y)) - 2.0 * jnp.mean(kernel(x, y))


def repulsion(
    kernel: Kernel, x: Float[Array, "n k"], y: Float[Array, "m k"], near: float = 0.0, far: float = jnp.inf
) -> Scalar:
    """How near the pairs of `x` are, less how near those of `y` are, squared distances cut to at most `far` in `x` and
    at least `near` in `y`.

    Whoever minimises it moves `x` apart and `y` together, and leaves be what is far or near enough: the critic of Wang
    et al., 2019, arXiv:1812.09916, eq. 5 and 7.
    """
    x, y = centred(x, y)
    return off_diagonal_mean(kernel(x, x, upper=far)) - off_diagonal_mean(kernel(y, y, lower=near))


def order(x: Float[Array, "n k"], y: Float[Array, "m k"]) -> Scalar:
    """Minus the mean, over features, of how far the average of `x` is below that of `y`: 0 where none is.

    Li et al., 2017, arXiv:1705.08584, section 3.3, as the authors' code has it.
    """
    return -jnp.mean(jax.nn.relu(jnp.mean(y, axis=0) - jnp.mean(x, axis=0)))


def witness(
    kernel: Kernel, t: Float[Array, "b k"], x: Float[Array, "n k"], y: Float[Array, "m k"]
) -> Float[Array, "b"]:
    """Where the two sets differ: mean over i of k(t, x_i) less mean over j of k(t, y_j), for each t.

    High where `x` is denser than `y`. Gretton et al., 2012, section 2.3.
    """
    x, y, t = centred(x, y, t)
    return jnp.mean(kernel(t, x), axis=1) - jnp.mean(kernel(t, y), axis=1)
