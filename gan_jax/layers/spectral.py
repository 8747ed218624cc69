"""Spectral normalisation (Miyato, Kataoka, Koyama, Yoshida, 2018, arXiv:1802.05957, algorithm 1).

`SpectralDense` and `SpectralConv` take the arguments of flax's layers, so a network that has its layers as values can
be given either. The vector of the power iteration lives in a collection of its own, "spectral", and moves exactly when
a caller lets that collection change: once a round, however often the network is called.
"""

from functools import reduce

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.typing import Dtype, Initializer
from jax import lax, random

from gan_jax.layers.conv import Padding, conv


def unit(x):
    """x / |x|, and zero for zero."""
    return x / (jnp.linalg.norm(x) + 1e-12)


def normalised(module: nn.Module, kernel, iterations: int = 1):
    """The kernel [..., out] divided by the largest singular value of its matrix [fan_in, out], in float32.

    The value is estimated by power iteration from the stored vector `u` [out]; gradients pass through the kernel alone.
    The stored vector moves where the collection "spectral" is mutable.
    """
    matrix = kernel.astype(jnp.float32).reshape(-1, kernel.shape[-1])
    stored = module.variable(
        "spectral", "u", lambda: unit(random.normal(module.make_rng("params"), (kernel.shape[-1],)))
    )
    u = unit(stored.value)  # an average of unit vectors, as of averaged weights, is shorter than one
    fixed = lax.stop_gradient(matrix)
    for _ in range(iterations):
        v = unit(fixed @ u)
        u = unit(v @ fixed)
    if module.is_mutable_collection("spectral") and not module.is_initializing():
        stored.value = u
    return kernel / (v @ matrix @ u).astype(kernel.dtype)


def first_singular_values(params, vectors) -> dict[tuple[str, ...], jax.Array]:
    """{path of a layer: |W u|, float32 []}: the largest singular value of each normalised kernel, before it is divided.

    Args:
      params, vectors: of a network, the parameters and the collection "spectral".
    """

    def value(path):
        kernel = reduce(lambda tree, name: tree[name], path, params)["kernel"].astype(jnp.float32)
        u = reduce(lambda tree, name: tree[name], path, vectors)["u"]
        return jnp.linalg.norm(kernel.reshape(-1, kernel.shape[-1]) @ unit(u))

    paths = [tuple(entry.key for entry in path[:-1]) for path, _ in jax.tree_util.tree_leaves_with_path(vectors)]
    return {path: value(path) for path in paths}


class SpectralDense(nn.Module):
    """`flax.linen.Dense` with a kernel of spectral norm 1."""

    features: int
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        kernel = normalised(self, self.param("kernel", self.kernel_init, (x.shape[-1], self.features)))
        y = x.astype(self.dtype) @ kernel.astype(self.dtype)
        return y + _bias(self, y.ndim) if self.use_bias else y


class SpectralConv(nn.Module):
    """`flax.linen.Conv` in two dimensions with a kernel whose matrix [kh kw in, out] has spectral norm 1.

    That is the paper's normalisation; the convolution itself can still stretch by up to sqrt(kh kw).
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: Padding = "SAME"
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, x.shape[-1], self.features))
        kernel = normalised(self, kernel).astype(self.dtype)
        y = conv(x.astype(self.dtype), kernel, self.strides, self.padding)
        return y + _bias(self, y.ndim) if self.use_bias else y


def _bias(layer, ndim: int):
    bias = layer.param("bias", nn.initializers.zeros_init(), (layer.features,))
    return bias.astype(layer.dtype).reshape(*[1] * (ndim - 1), -1)
