"""Adversarial losses: what the two players pay, as functions of what the critic said.

A `Loss` is a pair `(d, g)`; both take `(real_logits, fake_logits)`, the critic's raw outputs [B] without a sigmoid, and
return a float32 scalar to be minimised. The mean over examples is taken last. There is no 1/2 before the sum of the
discriminator's two terms; Goodfellow's code has one: `scaled(loss, d=0.5)`. A high logit always says "real".

    loss = losses.build("least_squares", a=-1.0, b=1.0, c=0.0)
    loss.d(real_logits, fake_logits)
"""

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import relu, softplus
from jaxtyping import Array, Float

from gan_jax import divergences
from gan_jax.divergences import Divergence
from gan_jax.errors import InputError, choices, choose

Elementwise = Callable[[jax.Array], jax.Array]
Scalar = Float[Array, ""]


class Loss(NamedTuple):
    """What each player minimises: functions of (real_logits [B], fake_logits [B]) to a float32 scalar.

    Where examples have labels of their own (all but the relativistic ones), `d` also takes `real_label` and
    `fake_label`, numbers or [B]: the share of an example that is called real.
    """

    d: Callable[..., Array]
    g: Callable[[Array, Array], Array]


def _mean(cost: Elementwise, logits: Array) -> Scalar:
    return jnp.mean(cost(logits.astype(jnp.float32)))


def additive(real: Elementwise, fake: Elementwise, g: Elementwise, real_label: float = 1.0) -> Loss:
    """The loss whose discriminator pays `E real(D(x)) + E fake(D(G(z)))` and whose generator pays `E g(D(G(z)))`.

    Args:
      real, fake: what it costs to say this logit of a real, of a generated example.
      g: what this logit of its example costs the generator.
      real_label: the share t of a real example that is called real, for one-sided label smoothing: a real example costs
        `t real + (1 - t) fake` (Salimans et al., 2016, arXiv:1606.03498, section 3.4). Beyond 1 most costs have no
        lower bound.
    """

    def cost(label):
        if isinstance(label, float) and label in (0.0, 1.0):  # where `fake` overflows, 0 * inf is NaN
            return real if label else fake
        return lambda logits: label * real(logits) + (1.0 - label) * fake(logits)

    def d(
        real_logits: Float[Array, "real"],
        fake_logits: Float[Array, "fake"],
        real_label: float | Float[Array, "real"] = real_label,
        fake_label: float | Float[Array, "fake"] = 0.0,
    ) -> Scalar:
        return _mean(cost(real_label), real_logits) + _mean(cost(fake_label), fake_logits)

    def generator(real_logits: Float[Array, "real"], fake_logits: Float[Array, "fake"]) -> Scalar:
        return _mean(g, fake_logits)

    return Loss(d, generator)


def paired(cost: Callable[[jax.Array, jax.Array], jax.Array], real_label: float = 1.0) -> Loss:
    """The loss in which reals and fakes are compared, and the generator wants the opposite verdict.

    Args:
      cost: what (real_logits, fake_logits) cost the discriminator, pair by pair; the generator pays the same with the
        two exchanged.
      real_label: 1.0; any other is refused, because no term belongs to the real examples alone.
    """
    if real_label != 1.0:
        raise InputError(
            f"config.model.real_label={real_label} must be 1.0 with a relativistic loss (config.model.loss): "
            "it compares reals with fakes and has no real term to smooth"
        )

    def d(real_logits: Float[Array, "batch"], fake_logits: Float[Array, "batch"]) -> Scalar:
        return jnp.mean(cost(real_logits.astype(jnp.float32), fake_logits.astype(jnp.float32)))

    def g(real_logits: Float[Array, "batch"], fake_logits: Float[Array, "batch"]) -> Scalar:
        return d(fake_logits, real_logits)

    return Loss(d, g)


def scaled(loss: Loss, d: float = 1.0, g: float = 1.0) -> Loss:
    """The same loss with each player's cost multiplied by a factor."""
    return Loss(
        lambda real, fake, **labels: d * loss.d(real, fake, **labels), lambda real, fake: g * loss.g(real, fake)
    )


cross_entropy = partial(additive, lambda a: softplus(-a), softplus)  # -log D(x) and -log(1 - D(G(z)))


def minimax(real_label: float = 1.0) -> Loss:
    """The generator pays E log(1 - D(G(z))), which is flat where it loses (Goodfellow et al., 2014, eq. 1)."""
    return cross_entropy(lambda a: -softplus(a), real_label)


def non_saturating(real_label: float = 1.0) -> Loss:
    """The generator pays -E log D(G(z)) (Goodfellow et al., 2014, arXiv:1406.2661, section 3)."""
    return cross_entropy(lambda a: softplus(-a), real_label)


def maximum_likelihood(real_label: float = 1.0, clip: float = 10.0) -> Loss:
    """The generator pays -1/2 E exp(logit): with the optimal discriminator its gradient is that of KL(data || model).

    From logits of `clip` on the cost is constant; without that the exponential soon ends a training.
    Goodfellow, 2016, arXiv:1701.00160, section 3.2.4.
    """
    return cross_entropy(lambda a: -0.5 * jnp.exp(jnp.minimum(a, clip)), real_label)


def least_squares(real_label: float = 1.0, a: float = 0.0, b: float = 1.0, c: float = 1.0) -> Loss:
    """Half the squared distance to a target: `a` for fakes, `b` for reals, `c` is where the generator wants its fakes.

    With b - c = 1 and b - a = 2, such as (-1, 1, 0), the game's optimum is a Pearson divergence (Mao et al., 2016,
    arXiv:1611.04076, section 3).
    """

    def to(target):
        return lambda logits: 0.5 * (logits - target) ** 2

    return additive(to(b), to(a), to(c), real_label)


def wasserstein(real_label: float = 1.0) -> Loss:
    """The critic pays E f(G(z)) - E f(x), minus its estimate of the distance; the generator -E f(G(z)).

    It needs a Lipschitz critic: see `penalties` and spectral normalisation (Arjovsky et al., 2017, arXiv:1701.07875).
    """
    return additive(lambda a: -a, lambda a: a, lambda a: -a, real_label)


def hinge(real_label: float = 1.0) -> Loss:
    """The critic pays until reals are above 1 and fakes below -1 (Lim and Ye, 2017, arXiv:1705.02894)."""
    return additive(lambda a: relu(1.0 - a), lambda a: relu(1.0 + a), lambda a: -a, real_label)


def relativistic(real_label: float = 1.0) -> Loss:
    """Real i against fake i: the discriminator pays softplus(-(D(x) - D(G(z)))), the generator softplus of the reverse.

    RpGAN of Jolicoeur-Martineau, 2018, arXiv:1807.00734; with the penalty `r1_r2` it is the loss of R3GAN (Huang et
    al., 2024, arXiv:2501.05441).
    """
    return paired(lambda reals, fakes: softplus(fakes - reals), real_label)


def relativistic_average(real_label: float = 1.0) -> Loss:
    """Every example against the mean of the opposite batch (RaGAN, Jolicoeur-Martineau, 2018, arXiv:1807.00734)."""
    return paired(
        lambda reals, fakes: softplus(jnp.mean(fakes) - reals) + softplus(fakes - jnp.mean(reals)), real_label
    )


GENERATOR_COSTS: dict[str, Callable[[Divergence], Elementwise]] = {
    "minimax": lambda divergence: lambda v: -divergence.activated_conjugate(v),  # what the discriminator pays, negated
    "alternative": lambda divergence: lambda v: -divergence.activation(v),  # as if the fakes were reals
}


def fgan(
    divergence: Divergence, real_label: float = 1.0, generator_cost: str = "minimax", clip: float = math.inf
) -> Loss:
    """The variational bound on an f-divergence; minus the discriminator's loss estimates it from below.

    Args:
      divergence: one of `divergences.BY_NAME`.
      generator_cost: "minimax", the paper's objective, or "alternative", the paper's heuristic.
      clip: logits are cut to [-clip, clip] first, beyond which the cost is flat. Several divergences exponentiate
        them; 10 is safe.

    Nowozin et al., 2016, arXiv:1606.00709, sections 2.2 to 2.4 and 3.2.
    """
    g = choose(generator_cost, GENERATOR_COSTS, "generator cost (config.model.generator_cost)")(divergence)

    def clipped(cost):
        return lambda v: cost(jnp.clip(v, -clip, clip))

    return additive(
        clipped(lambda v: -divergence.activation(v)), clipped(divergence.activated_conjugate), clipped(g), real_label
    )


BY_NAME: dict[str, Callable[..., Loss]] = {
    "minimax": minimax,
    "non_saturating": non_saturating,
    "maximum_likelihood": maximum_likelihood,
    "least_squares": least_squares,
    "wasserstein": wasserstein,
    "hinge": hinge,
    "relativistic": relativistic,
    "relativistic_average": relativistic_average,
    **{f"fgan_{name}": partial(fgan, divergence) for name, divergence in divergences.BY_NAME.items()},
}


def build(name: str, **options: float | str) -> Loss:
    """The loss that a config names. Every loss has the option `real_label`; `BY_NAME[name]` shows its others.

    Raises:
      InputError: for an unknown name, for an option that this loss does not have, or for a label outside (0, 1].
    """
    make = choose(name, BY_NAME, "loss (config.model.loss)")
    known = inspect.signature(make).parameters
    for option in options:
        if option not in known:
            raise InputError(
                f"loss '{name}' (config.model.loss) has no option '{option}' (config.model.{option}). "
                f"Choices: {choices(known)}"
            )
    if not 0.0 < options.get("real_label", 1.0) <= 1.0:
        raise InputError(f"config.model.real_label={options['real_label']} must be above 0 and at most 1")
    return make(**options)
