"""Telling a network the class of what it makes or judges, the way of the first papers: appended to its inputs."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def concat_label(
    x: Float[Array, "batch *shape channels"], label: Float[Array, "batch classes"] | None = None
) -> Float[Array, "batch *shape joined"]:
    """`x` with the one-hot `label` as further channels, constant over all positions; without a label, `x` itself."""
    if label is None:
        return x
    spread = label.astype(x.dtype).reshape(label.shape[0], *[1] * (x.ndim - 2), label.shape[1])
    return jnp.concatenate([x, jnp.broadcast_to(spread, (*x.shape[:-1], label.shape[1]))], axis=-1)
