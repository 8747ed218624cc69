"""What a discriminator may see of a whole minibatch, so that it notices a generator that repeats itself.

These layers couple the examples of a batch: a gradient penalty is not what it promises on a critic that has one.
"""

from collections.abc import Callable

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from gan_jax.errors import InputError


def minibatch_stddev(
    x: Float[Array, "batch *shape channels"], group: int = 4, neighbours: bool = False
) -> Float[Array, "batch *shape joined"]:
    """`x` with one more channel: how much the examples of a group differ, one number for each group.

    The root of the variance over the group (plus 1e-8), averaged over all positions and channels (Karras et al., 2017,
    arXiv:1710.10196, section 3).

    Args:
      group: examples in a group, at most the batch, which must divide by it; 0 makes one group of all of them.
      neighbours: False takes examples B / group apart, as the authors' code does; True takes neighbours, which is the
        same on shuffled batches and needs no communication where a batch is split over devices.

    Raises:
      InputError: if the batch does not divide.
    """
    size = min(group or x.shape[0], x.shape[0])
    if x.shape[0] % size:
        raise InputError(f"minibatch standard deviation: {x.shape[0]} examples do not divide into groups of {size}")
    groups = x.shape[0] // size
    y = x.astype(jnp.float32).reshape(*((groups, size) if neighbours else (size, groups)), *x.shape[1:])
    axis = 1 if neighbours else 0
    deviation = jnp.sqrt(y.var(axis=axis) + 1e-8).mean(axis=tuple(range(1, x.ndim)))  # [groups]
    each = jnp.repeat(deviation, size) if neighbours else jnp.tile(deviation, size)
    channel = jnp.broadcast_to(each.reshape(-1, *[1] * (x.ndim - 1)), (*x.shape[:-1], 1))
    return jnp.concatenate([x, channel.astype(x.dtype)], axis=-1)


class MinibatchDiscrimination(nn.Module):
    """x [B, F] to [B, F + kernels]: how near each example is to the others in `kernels` learned spaces of `dims`.

    o_b(x_i) = sum over the other j of exp(-|M_ib - M_jb|_1), M = x T (Salimans et al., 2016, arXiv:1606.03498, section
    3.2). As in the authors' code, T has columns of length 1 times learned scales; on the batch that the layer is
    initialised with, half the mean distance to the nearest other example is 1 in every space, and o plus its bias has
    mean 0. The paper's sum includes j = i, a constant 1 that the bias absorbs.
    """

    kernels: int = 100
    dims: int = 5

    @nn.compact
    def __call__(self, x):
        h, alone = x.astype(jnp.float32), jnp.eye(x.shape[0], dtype=bool)[..., None]  # [B, B, 1]
        tensor = self.param("tensor", nn.initializers.normal(0.05), (x.shape[-1], self.kernels, self.dims))
        columns = tensor / jnp.sqrt(jnp.maximum(jnp.sum(tensor**2, axis=0, keepdims=True), 1e-12))
        maps = jnp.einsum("bf,fkd->bkd", h, columns)

        def nearness(log_scale):
            distances = _distances(maps * jnp.exp(log_scale)[None])
            return jnp.where(alone, 0.0, jnp.exp(-distances)).sum(axis=1)

        start, bias = jnp.zeros((self.kernels, self.dims)), jnp.full(self.kernels, -1.0)
        if self.is_initializing() and x.shape[0] > 1:
            nearest = jnp.where(alone, jnp.inf, _distances(maps)).min(axis=1).mean(axis=0) / 2  # [kernels]
            start = start - jnp.log(jnp.where(nearest > 0.0, nearest, 1.0)).reshape(-1, 1)
            bias = -nearness(start).mean(axis=0)
        log_scale = self.param("log_scale", lambda rng: start)
        bias = self.param("bias", lambda rng: bias)
        return jnp.concatenate([x, (nearness(log_scale) + bias.reshape(1, -1)).astype(x.dtype)], axis=-1)


def _distances(maps: Float[Array, "batch kernels dims"]) -> Float[Array, "batch batch kernels"]:
    """The L1 distance of every two examples in every space."""
    return jnp.abs(maps[:, None] - maps[None]).sum(axis=-1)


BY_NAME: dict[str, Callable] = {  # each makes what is applied to the last features of a discriminator
    "none": lambda: lambda x: x,
    "minibatch_discrimination": MinibatchDiscrimination,
    "minibatch_stddev": lambda: minibatch_stddev,
}
