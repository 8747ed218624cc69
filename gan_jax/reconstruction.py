"""What a network pays, or earns, for telling from a sample what the sample was made from.

Values are float32, whatever the networks are in; the mean over examples is taken last.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Scalar = Float[Array, ""]


def mutual_information_categorical(code: Float[Array, "batch k"], logits: Float[Array, "batch k"]) -> Scalar:
    """E log Q(c|x) + H(c) in nats, of one-hot codes whose `k` values are equally probable.

    A lower bound of I(c; x): 0 for a Q that knows nothing, ln k for one that is always right and sure of it.

    Chen et al., 2016, arXiv:1606.03657, eq. 5 (Barber and Agakov, 2003).
    """
    told = jnp.sum(code.astype(jnp.float32) * jax.nn.log_softmax(logits.astype(jnp.float32)), axis=-1)
    return jnp.mean(told) + math.log(code.shape[-1])


def log_normal(
    x: Float[Array, "*shape"], mean: Float[Array, "*shape"], log_std: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The log-density at x of a normal distribution."""
    return -0.5 * math.log(2 * math.pi) - log_std - 0.5 * ((x - mean) * jnp.exp(-log_std)) ** 2


def mutual_information_gaussian(
    code: Float[Array, "batch size"], mean: Float[Array, "batch size"], log_std: Float[Array, "batch size"]
) -> Scalar:
    """E log Q(c|x) - E log N(c; 0, 1) in nats, for a Q(c|x) that is normal, summed over the entries of the code.

    The bound of eq. 5 up to a constant: the entropy of c is replaced by its cross-entropy with a standard normal, as in
    the authors' code, so that a Q of mean 0 and deviation 1, which knows nothing, has 0. With the deviation held at 1
    the most that is possible is half of E c^2, 1/6 for a code uniform on [-1, 1].

    Chen et al., 2016, arXiv:1606.03657, eq. 5; authors' code.
    """
    code, mean, log_std = (array.astype(jnp.float32) for array in (code, mean, log_std))
    zero = jnp.zeros_like(code)
    return jnp.mean(jnp.sum(log_normal(code, mean, log_std) - log_normal(code, zero, zero), axis=-1))
