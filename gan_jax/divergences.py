"""The f-divergences that a GAN can estimate and minimise (Nowozin et al., 2016, arXiv:1606.00709).

    D_f(P || Q) = E_Q f(p/q) = max over T of E_P T(x) - E_Q f*(T(x)),        P the data, Q the generator

The maximum is reached at T = f'(p/q). A critic's unbounded logit v enters as T = activation(v), which maps the real
line into the domain of the conjugate f*. Every activation here rises with v, so that v always says "real", as in the
other losses. The bound, minus the critic's loss, estimates the divergence from below.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy

Elementwise = Callable[[jax.Array], jax.Array]

LOG_2 = 0.6931471805599453


class Divergence(NamedTuple):
    """One row of tables 1 and 2 of the paper, as functions that work element by element."""

    f: Elementwise  # of u = p/q > 0; convex, and f(1) = 0 but for `gan`
    conjugate: Elementwise  # f*(t), for t in the range of `activation`
    activation: Elementwise  # v to T
    activated_conjugate: Elementwise  # v to f*(T), simplified: no log of a difference, nothing to cancel
    threshold: float  # f'(1): a critic that says more than this finds x more likely under the data


BY_NAME: dict[str, Divergence] = {
    "kl": Divergence(
        f=lambda u: xlogy(u, u),
        conjugate=lambda t: jnp.exp(t - 1.0),
        activation=lambda v: v,
        activated_conjugate=lambda v: jnp.exp(v - 1.0),
        threshold=1.0,
    ),
    "reverse_kl": Divergence(
        f=lambda u: -jnp.log(u),
        conjugate=lambda t: -1.0 - jnp.log(-t),
        activation=lambda v: -jnp.exp(-v),
        activated_conjugate=lambda v: v - 1.0,
        threshold=-1.0,
    ),
    "pearson": Divergence(
        f=lambda u: (u - 1.0) ** 2,
        conjugate=lambda t: t**2 / 4.0 + t,
        activation=lambda v: v,
        activated_conjugate=lambda v: v**2 / 4.0 + v,
        threshold=0.0,
    ),
    "neyman": Divergence(
        f=lambda u: (1.0 - u) ** 2 / u,
        conjugate=lambda t: 2.0 - 2.0 * jnp.sqrt(1.0 - t),
        activation=lambda v: -jnp.expm1(-v),
        activated_conjugate=lambda v: -2.0 * jnp.expm1(-v / 2.0),
        threshold=0.0,
    ),
    "squared_hellinger": Divergence(  # the integral of (sqrt p - sqrt q)^2, without a half
        f=lambda u: (jnp.sqrt(u) - 1.0) ** 2,
        conjugate=lambda t: t / (1.0 - t),
        activation=lambda v: -jnp.expm1(-v),
        activated_conjugate=jnp.expm1,
        threshold=0.0,
    ),
    "total_variation": Divergence(
        f=lambda u: jnp.abs(u - 1.0) / 2.0,
        conjugate=lambda t: t,
        activation=lambda v: jnp.tanh(v) / 2.0,
        activated_conjugate=lambda v: jnp.tanh(v) / 2.0,
        threshold=0.0,
    ),
    "jensen_shannon": Divergence(  # twice the usual one: between 0 and 2 log 2
        f=lambda u: xlogy(u, u) - (u + 1.0) * jnp.log((u + 1.0) / 2.0),
        conjugate=lambda t: -jnp.log(2.0 - jnp.exp(t)),
        activation=lambda v: LOG_2 - jax.nn.softplus(-v),
        activated_conjugate=lambda v: jax.nn.softplus(v) - LOG_2,
        threshold=0.0,
    ),
    "gan": Divergence(  # Jensen-Shannon as above, less log 4: the value of Goodfellow's game
        f=lambda u: xlogy(u, u) - (u + 1.0) * jnp.log(u + 1.0),
        conjugate=lambda t: -jnp.log(-jnp.expm1(t)),
        activation=lambda v: -jax.nn.softplus(-v),
        activated_conjugate=jax.nn.softplus,
        threshold=-LOG_2,
    ),
}
