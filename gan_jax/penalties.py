"""What a critic pays besides its loss, and what is done to its weights after an update.

First the formulas, unweighted, for papers that write their own step. They take a closed `score`: x [B, ...] -> [B], the
critic with the parameters that the loss is differentiated by and with its statistics held still. Gradients with respect
to x are those of the summed scores, so a critic that mixes the examples of a batch (batch norm, minibatch features) is
not charged what the formula says. Values are float32, whatever the images and the network are in.

Then `Penalty`, the one shape in which the classical two-player step takes any of them:

    cost, metrics, memory = penalty.cost(evidence, memory)      # inside the critic's loss, added to it
    params = penalty.project(params)                            # after the critic's update
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Key

from gan_jax.errors import InputError, choose

PyTree = Any
Score = Callable[[Array], Array]  # x [B, ...] to one score for each example [B]
Scalar = Float[Array, ""]


def input_gradient(score: Score, x: Float[Array, "batch *shape"]) -> Float[Array, "batch *shape"]:
    """The gradient of each example's score with respect to that example, in float32."""
    return jax.grad(lambda x: jnp.sum(score(x).astype(jnp.float32)))(x.astype(jnp.float32))


def squared_norms(x: Float[Array, "batch *shape"]) -> Float[Array, "batch"]:
    """The squared Euclidean norm of each example, over all of its axes."""
    return jnp.sum(x**2, axis=tuple(range(1, x.ndim)))


def between(
    a: Float[Array, "batch *shape"], b: Float[Array, "batch *shape"], share: Float[Array, "batch"]
) -> Float[Array, "batch *shape"]:
    """The point a `share` of the way from `a` to `b`, one share for each example, in float32."""
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    return a + share.reshape(-1, *[1] * (a.ndim - 1)) * (b - a)


def _slope_penalty(score: Score, x: Array, target: float, one_sided: bool) -> Scalar:
    slopes = jnp.sqrt(squared_norms(input_gradient(score, x)) + 1e-12)  # the root of 0 has no gradient
    excess = slopes - target
    return jnp.mean((jax.nn.relu(excess) if one_sided else excess) ** 2)


def wgan_gp(
    score: Score,
    real: Float[Array, "batch *shape"],
    fake: Float[Array, "batch *shape"],
    rng: Key[Array, ""],
    *,
    target: float = 1.0,
    one_sided: bool = False,
) -> Scalar:
    """E (|gradient of the score| - target)^2 on the lines between reals and fakes, one random point on each line.

    Args:
      one_sided: only slopes above the target cost something.

    Gulrajani et al., 2017, arXiv:1704.00028, eq. 3 and algorithm 1; ProGAN's target of 750 wants a division by 750^2.
    """
    x = between(real, fake, jax.random.uniform(rng, real.shape[:1]))
    return _slope_penalty(score, stop_gradient(x), target, one_sided)


def dragan(
    score: Score,
    real: Float[Array, "batch *shape"],
    rng: Key[Array, ""],
    *,
    target: float = 1.0,
    spread: float = 0.5,
) -> Scalar:
    """E (|gradient of the score| - target)^2 around the reals.

    The points are those of the authors' code, x + u * spread * std * n: n uniform on [0, 1) for every entry, u uniform
    on [0, 1) for every example, std over the whole batch. The paper's text has Gaussian noise of a fixed size instead.

    Kodali et al., 2017, arXiv:1705.07215.
    """
    noise_rng, share_rng = jax.random.split(rng)
    real = stop_gradient(real).astype(jnp.float32)
    perturbed = real + spread * jnp.std(real) * jax.random.uniform(noise_rng, real.shape)
    x = between(real, perturbed, jax.random.uniform(share_rng, real.shape[:1]))
    return _slope_penalty(score, x, target, one_sided=False)


def r1(score: Score, real: Float[Array, "batch *shape"]) -> Scalar:
    """E |gradient of the score|^2 on the reals. Papers quote a gamma and charge gamma / 2 times this.

    Mescheder et al., 2018, arXiv:1801.04406, section 4.1.
    """
    return jnp.mean(squared_norms(input_gradient(score, stop_gradient(real))))


def r2(score: Score, fake: Float[Array, "batch *shape"]) -> Scalar:
    """E |gradient of the score|^2 on the fakes; as with `r1`, papers charge gamma / 2 times this.

    Mescheder et al., 2018, arXiv:1801.04406, section 4.1.
    """
    return r1(score, fake)


class LogitAverages(NamedTuple):
    """Running sums of what the critic said, and of the weights in them: the averages are `real / weight` and
    `fake / weight`, unbiased from the first step on. float32 scalars."""

    real: Array
    fake: Array
    weight: Array


def lecam_memory() -> LogitAverages:
    """The memory before the first step. NumPy: nothing is put on a device before the whole state is."""
    return LogitAverages(*(np.zeros((), np.float32) for _ in LogitAverages._fields))


def lecam(
    real_logits: Float[Array, "real"], fake_logits: Float[Array, "fake"], memory: LogitAverages, *, decay: float = 0.99
) -> tuple[Scalar, LogitAverages]:
    """How far reals are above the average fake, and fakes below the average real, squared: (value, next memory).

    As in the authors' code, the averages take in this batch before they are used, and a real below the average fake or
    a fake above the average real costs nothing; the paper's R_LC has the plain squares.

    Tseng et al., 2021, arXiv:2104.03310.
    """
    reals, fakes = real_logits.astype(jnp.float32), fake_logits.astype(jnp.float32)
    now = LogitAverages(jnp.mean(reals), jnp.mean(fakes), jnp.ones(()))
    memory = jax.tree.map(lambda old, new: decay * old + (1.0 - decay) * stop_gradient(new), memory, now)
    above = jax.nn.relu(reals - memory.fake / memory.weight)
    below = jax.nn.relu(memory.real / memory.weight - fakes)
    return jnp.mean(above**2) + jnp.mean(below**2), memory


def orthogonal(params: PyTree) -> Scalar:
    """The sum over kernels of |W W^T with its diagonal set to zero|^2: filters are to be orthogonal, of any length.

    The kernels are the leaves named `kernel` with two or more axes, W having one row for each filter (their last axis);
    embeddings, biases, scales and constants are left alone.

    Brock et al., 2018, arXiv:1809.11096, section 3.1. A strength of beta in their code charges beta / 2 times this.
    """

    def is_kernel(path, leaf):
        return getattr(path[-1], "key", None) == "kernel" and leaf.ndim >= 2

    def overlap(kernel):
        filters = kernel.reshape(-1, kernel.shape[-1]).astype(jnp.float32)
        gram = jnp.matmul(filters.T, filters, precision="highest")
        return jnp.sum((gram * (1.0 - jnp.eye(gram.shape[0]))) ** 2)

    leaves = jax.tree_util.tree_leaves_with_path(params)
    return sum((overlap(leaf) for path, leaf in leaves if is_kernel(path, leaf)), jnp.zeros(()))


def clip(params: PyTree, bound: float) -> PyTree:
    """Every entry of every parameter cut to [-bound, bound] (Arjovsky et al., 2017, arXiv:1701.07875, algorithm 1)."""
    return jax.tree.map(lambda leaf: jnp.clip(leaf, -bound, bound), params)


class Evidence(NamedTuple):
    """What a critic saw and said in one round."""

    params: PyTree  # the critic's, which the loss is differentiated by
    score: Score  # the critic with these parameters, x [B, ...] to [B]; calling it moves no statistics
    real: Array  # [B, ...]
    fake: Array  # [B, ...]
    real_logits: Array  # [B]
    fake_logits: Array  # [B]
    rng: Array  # a key for this penalty alone
    pull: Callable | None = None  # of `jax.vjp` by `real`, from the pass that made `real_logits`, if it was kept

    def real_gradient(self) -> Array:
        """`input_gradient` at the reals: of the pass that is there, or else of another one."""
        if self.pull is None:
            return input_gradient(self.score, stop_gradient(self.real))
        (gradient,) = self.pull(jnp.ones_like(self.real_logits))
        return gradient.astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class Penalty:
    """What the critic pays besides its loss, and what is done to its weights after the update."""

    # (evidence, memory) to the weighted cost, the unweighted values as metrics `penalty/<name>`, and the next memory
    cost: Callable[[Evidence, PyTree], tuple[Array, dict[str, Array], PyTree]]
    memory: PyTree = ()  # before the first step: float32 arrays
    project: Callable[[PyTree], PyTree] = lambda params: params  # to the parameters that the critic is allowed


def _penalty(weight: float, **terms: Callable[[Evidence], Array]) -> Penalty:
    """Without a memory: `weight` times the sum of the terms, which are logged under their names."""

    def cost(evidence, memory):
        values = {f"penalty/{name}": term(evidence) for name, term in terms.items()}
        return weight * sum(values.values(), jnp.zeros(())), values, memory

    return Penalty(cost)


def _r1(evidence: Evidence) -> Scalar:
    return jnp.mean(squared_norms(evidence.real_gradient()))


def _lecam(weight: float) -> Penalty:
    def cost(evidence, memory):
        value, memory = lecam(evidence.real_logits, evidence.fake_logits, memory)
        return weight * value, {"penalty/lecam": value}, memory

    return Penalty(cost, memory=lecam_memory())


def _clip(bound: float) -> Penalty:
    if bound <= 0.0:
        raise InputError(
            f"penalty 'clip' (config.model.penalty) needs a positive bound: config.model.penalty_weight={bound}"
        )
    return dataclasses.replace(_penalty(0.0), project=partial(clip, bound=bound))


def relative_slopes(weight: float, target: float) -> Penalty:
    """`weight` times the gradient penalty at slopes that are measured in units of `target`: E (|gradient| / target -
    1)^2, as in ProGAN's setting for CIFAR-10 (Karras et al., 2017, arXiv:1710.10196), where `target` is 750."""
    return _penalty(
        weight, wgan_gp=lambda e: wgan_gp(e.score, e.real, e.fake, e.rng, target=target) * (1.0 / target**2)
    )


def drifting(penalty: Penalty, weight: float) -> Penalty:
    """The penalty, and `weight` times the mean square of the logits of reals, which keeps them near 0 (Karras et al.,
    2017, arXiv:1710.10196, appendix A.1)."""

    def cost(evidence, memory):
        price, paid, memory = penalty.cost(evidence, memory)
        drift = jnp.mean(evidence.real_logits.astype(jnp.float32) ** 2)
        return price + weight * drift, paid | {"penalty/drift": drift}, memory

    return dataclasses.replace(penalty, cost=cost)


BY_NAME: dict[str, Callable[[float], Penalty]] = {  # each of its weight
    "none": lambda _: _penalty(0.0),
    "wgan_gp": lambda weight: _penalty(weight, wgan_gp=lambda e: wgan_gp(e.score, e.real, e.fake, e.rng)),
    "wgan_gp_one_sided": lambda weight: _penalty(
        weight, wgan_gp=lambda e: wgan_gp(e.score, e.real, e.fake, e.rng, one_sided=True)
    ),
    "dragan": lambda weight: _penalty(weight, dragan=lambda e: dragan(e.score, e.real, e.rng)),
    "r1": lambda gamma: _penalty(gamma / 2, r1=_r1),
    "r2": lambda gamma: _penalty(gamma / 2, r2=lambda e: r2(e.score, e.fake)),
    "r1_r2": lambda gamma: _penalty(gamma / 2, r1=_r1, r2=lambda e: r2(e.score, e.fake)),
    "lecam": _lecam,
    "orthogonal": lambda beta: _penalty(beta / 2, orthogonal=lambda e: orthogonal(e.params)),
    "clip": _clip,
}


def build(name: str, weight: float) -> Penalty:
    """The penalty that a config names.

    Args:
      weight: lambda for most; the gamma of `r1`, `r2` and `r1_r2` and the beta of `orthogonal`, which charge half of
        it, as their papers' code does; the bound of `clip`. `none` has no use for it.

    Raises:
      InputError: for an unknown name, or a bound that is not positive.
    """
    return choose(name, BY_NAME, "penalty (config.model.penalty)")(weight)


# ------------------------------------------------------------------------- what a generator pays besides its loss


def feature_matching(real: Float[Array, "real *shape"], fake: Float[Array, "fake *shape"], *, power: int = 2) -> Scalar:
    """The mean, over features, of |batch mean of real features - batch mean of fake ones|^power.

    Salimans et al., 2016, arXiv:1606.03498, section 3.1; the paper's squared norm sums where their code averages. A
    `power` of 1 is their code for CIFAR-10 and SVHN.
    """
    gap = jnp.abs(real.astype(jnp.float32).mean(axis=0) - fake.astype(jnp.float32).mean(axis=0))
    return jnp.mean(gap**power)


def pulling_away(codes: Float[Array, "batch *shape"]) -> Scalar:
    """The mean squared cosine between the codes of different samples, in [0, 1]; 0 where there is only one (Zhao et
    al., 2016, arXiv:1609.03126, section 2.4)."""
    flat = codes.astype(jnp.float32).reshape(len(codes), -1)
    unit = flat / jnp.maximum(jnp.sqrt(squared_norms(flat) + 1e-16), 1e-8).reshape(-1, 1)
    cosines = jnp.matmul(unit, unit.T, precision="highest") * (1.0 - jnp.eye(len(codes)))
    return jnp.sum(cosines**2) / max(len(codes) * (len(codes) - 1), 1)


# Of the critic's last features of reals and of fakes [B, ...], as networks sow them, to the weighted cost and the
# unweighted values as metrics.
GeneratorPenalty = Callable[[Array, Array], tuple[Array, dict[str, Array]]]


def nothing_more(real: Array, fake: Array) -> tuple[Array, dict[str, Array]]:
    """The generator pays its loss alone."""
    return jnp.zeros(()), {}


def _of_features(name: str, term: Callable[[Array, Array], Array]) -> Callable[[float], GeneratorPenalty]:
    def weighted(weight):
        def cost(real, fake):
            value = term(real, fake)
            return weight * value, {f"penalty/{name}": value}

        return cost

    return weighted


GENERATOR_BY_NAME: dict[str, Callable[[float], GeneratorPenalty]] = {  # each of its weight
    "none": lambda _: nothing_more,
    "feature_matching": _of_features("feature_matching", feature_matching),
    "feature_matching_l1": _of_features("feature_matching", partial(feature_matching, power=1)),
    "pulling_away": _of_features("pulling_away", lambda real, fake: pulling_away(fake)),
}


def build_for_generator(name: str, weight: float) -> GeneratorPenalty:
    """The generator's penalty that a config names."""
    return choose(name, GENERATOR_BY_NAME, "penalty of the generator (config.model.tricks.g_penalty)")(weight)
