"""Where latents are born. Every function takes `(rng, count, size)` and returns [count, size] float32.

A latent drawn inside a compiled step has no sharded operand, so without a hint every device would draw all of them
and then run the whole generator on all of them. `constrain` gives the hint; this is why papers draw latents here.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from gan_jax.parallel import constrain

Latent = Callable[[Array, int, int], Array]


def normal(rng: Key[Array, ""], count: int, size: int) -> Float[Array, "count size"]:
    """Independent standard normals."""
    return constrain(jax.random.normal(rng, (count, size)))


def uniform(rng: Key[Array, ""], count: int, size: int) -> Float[Array, "count size"]:
    """Independent uniforms on [-1, 1] (Radford et al., 2015)."""
    return constrain(jax.random.uniform(rng, (count, size), minval=-1.0, maxval=1.0))


def uniform_unit_variance(rng: Key[Array, ""], count: int, size: int) -> Float[Array, "count size"]:
    """Independent uniforms on [-sqrt(3), sqrt(3)]: variance 1 (the code of Goodfellow et al., 2014)."""
    bound = 3.0**0.5
    return constrain(jax.random.uniform(rng, (count, size), minval=-bound, maxval=bound))


def unit_hypercube(rng: Key[Array, ""], count: int, size: int) -> Float[Array, "count size"]:
    """Independent uniforms on [0, 1] (Mirza and Osindero, 2014, section 4.1)."""
    return constrain(jax.random.uniform(rng, (count, size)))


def labels(rng: Key[Array, ""], count: int, classes: int) -> Int[Array, "count"]:
    """Classes, each as likely as any other: int32 in [0, classes)."""
    return constrain(jax.random.randint(rng, (count,), 0, classes))


def sphere(rng: Key[Array, ""], count: int, size: int) -> Float[Array, "count size"]:
    """Uniform on the sphere of radius sqrt(size), where a standard normal of that size concentrates."""
    z = jax.random.normal(rng, (count, size))
    return constrain(z * jax.lax.rsqrt(jnp.mean(z**2, axis=-1, keepdims=True) + 1e-12))


def one_hot(rng: Key[Array, ""], count: int, size: int) -> Float[Array, "count size"]:
    """One of `size` values, all equally probable, as a vector with a single 1."""
    return constrain(jax.nn.one_hot(labels(rng, count, size), size))


def codes(
    rng: Key[Array, ""], count: int, categorical: tuple[int, ...], continuous: int
) -> dict[str, tuple[Array, ...]]:
    """The structured part of a latent (Chen et al., 2016, arXiv:1606.03657): every code is an array of its own, so that
    one may be moved and the others held.

    Returns:
      `categorical`, one-hot [count, k] for each k; `continuous`, so many [count, 1] uniform on [-1, 1].
    """
    keys = list(jax.random.split(rng, len(categorical) + continuous))
    drawn = tuple(one_hot(key, count, size) for key, size in zip(keys, categorical, strict=False))
    return {"categorical": drawn, "continuous": tuple(uniform(key, count, 1) for key in keys[len(categorical) :])}


def truncate(
    z: Float[Array, "*shape"], rng: Key[Array, ""], bound: float | Float[Array | np.float32, ""]
) -> Float[Array, "*shape"]:
    """Normals, with the entries beyond `bound` > 0 drawn again from the normal cut off there (Brock et al., 2018)."""
    inside = jax.random.truncated_normal(rng, -bound, bound, z.shape, z.dtype)
    return jnp.where(jnp.abs(z) > bound, inside, z)


def lerp(a: Float[Array, "*shape"], b: Float[Array, "*shape"], t: float) -> Float[Array, "*shape"]:
    """The point a share `t` of the way on the straight line from `a` to `b`."""
    return (1.0 - t) * a + t * b


def slerp(a: Float[Array, "*n size"], b: Float[Array, "*n size"], t: float) -> Float[Array, "*n size"]:
    """The point a share `t` of the way along the great circle from `a` to `b` (White, 2016, arXiv:1609.04468).

    Where the two are parallel there is no single great circle, and the straight line is taken.
    """
    cosine = jnp.sum(a * b, -1, keepdims=True) / (
        jnp.linalg.norm(a, axis=-1, keepdims=True) * jnp.linalg.norm(b, axis=-1, keepdims=True)
    )
    angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    sine = jnp.sin(angle)
    parallel = sine < 1e-6
    sine = jnp.where(parallel, 1.0, sine)
    curved = jnp.sin((1.0 - t) * angle) / sine * a + jnp.sin(t * angle) / sine * b
    return jnp.where(parallel, lerp(a, b, t), curved)


BY_NAME: dict[str, Latent] = {
    "normal": normal,
    "uniform": uniform,
    "uniform_unit_variance": uniform_unit_variance,
    "unit_hypercube": unit_hypercube,
    "sphere": sphere,
}
