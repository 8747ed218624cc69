"""Where latents are born. Every function takes `(rng, count, size)` and returns [count, size] float32.

A latent drawn inside a compiled step has no sharded operand, so without a hint every device would draw all of them
and then run the whole generator on all of them. `constrain` gives the hint; this is why papers draw latents here.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

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


def sphere(rng: Key[Array, ""], count: int, size: int) -> Float[Array, "count size"]:
    """Uniform on the sphere of radius sqrt(size), where a standard normal of that size concentrates."""
    z = jax.random.normal(rng, (count, size))
    return constrain(z * jax.lax.rsqrt(jnp.mean(z**2, axis=-1, keepdims=True) + 1e-12))


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
    "sphere": sphere,
}
