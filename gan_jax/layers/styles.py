"""Latents of style-based generators, one w for each layer: w [..., L, D] (Karras et al., 2018, arXiv:1812.04948).

Layer 0 is the coarsest. At 1024 x 1024 there are 18: 0 to 3 are coarse styles, 4 to 7 middle, 8 to 17 fine.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gan_jax.errors import InputError


def broadcast(w: Float[Array, "*batch size"], layers: int) -> Float[Array, "*batch {layers} size"]:
    """The same w for every layer."""
    return jnp.broadcast_to(w[..., None, :], (*w.shape[:-1], layers, w.shape[-1]))


def truncate(
    w: Float[Array, "*batch layers size"],
    mean: Float[Array, "*means size"],
    psi: float | Float[Array, ""],
    cutoff: int | None = None,
) -> Float[Array, "*batch layers size"]:
    """w nearer to the mean, mean + psi (w - mean), in the first `cutoff` layers, or in all.

    1 leaves w as it is, 0 gives the mean, less than 0 the opposite. Pictures take 0.7 (8 layers for StyleGAN's faces,
    all for StyleGAN2), metrics 1. Not the truncation of normal latents of `gan_jax.latents`.

    Args:
      mean: of w, [D]; or one for each example [..., D], its class's.

    Raises:
      InputError: if there are fewer layers than `cutoff`.
    """
    layers = w.shape[-2]
    mean = jnp.broadcast_to(mean[..., None, :], w.shape)
    return mix(psi * w + (1.0 - psi) * mean, w, layers if cutoff is None else cutoff)  # exact at both ends


def mix(
    first: Float[Array, "*batch layers size"],
    second: Float[Array, "*batch layers size"],
    crossover: int | Int[Array, ""],
) -> Float[Array, "*batch layers size"]:
    """`first` in the layers before `crossover`, `second` from there on. L gives the first image, 0 the second.

    Raises:
      InputError: for a crossover outside [0, L].
    """
    layers = first.shape[-2]
    if isinstance(crossover, int) and not 0 <= crossover <= layers:
        raise InputError(f"layer {crossover}: styles of {layers} layers can be cut at 0 to {layers}")
    early = jnp.arange(layers) < crossover
    return jnp.where(jnp.broadcast_to(early[:, None], first.shape), first, second)


def edit(
    w: Float[Array, "*batch layers size"], direction: Float[Array, "size"], strength: float, layers: Sequence[int]
) -> Float[Array, "*batch layers size"]:
    """w moved by `strength` times `direction` in these layers only: a coarse direction moves no fine detail.

    Raises:
      InputError: for a layer that does not exist.
    """
    beyond = [layer for layer in layers if not 0 <= layer < w.shape[-2]]
    if beyond:
        raise InputError(f"layers {beyond}: the layers of this w are 0 to {w.shape[-2] - 1}")
    chosen = jnp.zeros(w.shape[-2]).at[jnp.asarray(layers, jnp.int32)].set(strength)
    return w + jnp.broadcast_to(chosen[:, None] * direction[None], w.shape)
