"""Inception as FID, KID and the Inception score know it: the TensorFlow graph of 2015-12-05, frozen.

The architecture is that of Szegedy et al., 2016, arXiv:1512.00567, with the peculiarities of this graph, on all of
which the published figures rest: it resizes to 299x299 itself, without regard for pixels' centres; 3x3 averages leave
the padding out of the count; the last block has a maximum where the others have an average; it has 1008 outputs, of
which 1000 are classes. Batch normalisation keeps its own parameters. torchvision's `inception_v3` is another network.

Layers are called as in pytorch-fid and torch-fidelity. All in float32 with products of full precision: less than that
moves FID.
"""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Num

from gan_jax.errors import InputError
from gan_jax.nets import weights

SIDE = 299
FEATURES, CLASSES = 2048, 1008
EPSILON = 1e-3
HIGHEST = jax.lax.Precision.HIGHEST
NHWC = ("NHWC", "HWIO", "NHWC")

Params = Mapping[str, Mapping]


def tf1_bilinear(images: Num[Array | np.ndarray, "b h w c"], size: tuple[int, int]) -> Float[Array, "b height width c"]:
    """Resizes as TensorFlow 1 did: pixel i of n shows the place i * in / n, beyond the last pixel the last; no filter.

    The range of the images is kept. In the order of TensorFlow's own arithmetic: along rows, then along columns.
    """
    x = jnp.asarray(images, jnp.float32)
    for axis, out in ((2, size[1]), (1, size[0])):
        length = x.shape[axis]
        places = np.arange(out, dtype=np.float32) * np.float32(length / out)
        lower = places.astype(np.int32)
        share = (places - lower).astype(np.float32).reshape([out if dimension == axis else 1 for dimension in range(4)])
        left = jnp.take(x, lower, axis)
        right = jnp.take(x, np.minimum(lower + 1, length - 1), axis)
        x = left + (right - left) * share
    return x


class Conv(nn.Module):
    """Convolution, batch normalisation by stored moments, ReLU: [B,H,W,C] to [B,H',W',width].

    The initial values only say the shapes: those of a frozen network come from `load` or `init`.
    """

    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.zeros, (*self.kernel, x.shape[-1], self.width))
        gamma, beta, mean, variance = (
            self.param(name, nn.initializers.zeros, (self.width,)) for name in ("gamma", "beta", "mean", "variance")
        )
        strides = (self.stride, self.stride)
        x = jax.lax.conv_general_dilated(x, kernel, strides, self.padding, dimension_numbers=NHWC, precision=HIGHEST)
        scale = gamma * jax.lax.rsqrt(variance + EPSILON)
        return nn.relu(x * scale[None, None, None] + (beta - mean * scale)[None, None, None])


def average_pool(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """The mean of each 3x3 window, stride 1, over those of its pixels that lie in the image."""
    sums = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")
    rows, columns = (np.convolve(np.ones(size), np.ones(3))[1:-1] for size in x.shape[1:3])
    return sums / jnp.asarray(np.outer(rows, columns)[None, :, :, None], jnp.float32)


def max_pool(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """The maximum of each 3x3 window, stride 1, over those of its pixels that lie in the image."""
    return nn.max_pool(x, (3, 3), (1, 1), "SAME")


def halve(x: Float[Array, "b h w c"]) -> Float[Array, "b hh ww c"]:
    """The maximum of each 3x3 window, stride 2, that fits."""
    return nn.max_pool(x, (3, 3), (2, 2), "VALID")


def chain(x, name: str, *layers: tuple):
    """Convolutions one after the other, called name_1, name_2..."""
    for number, layer in enumerate(layers, start=1):
        x = Conv(*layer, name=f"{name}_{number}")(x)
    return x


def fork(x, name: str, number: int):
    """Two convolutions of the same input, 1x3 and 3x1, instead of one of 3x3."""
    wide = Conv(384, (1, 3), name=f"{name}_{number}a")(x)
    high = Conv(384, (3, 1), name=f"{name}_{number}b")(x)
    return jnp.concatenate([wide, high], axis=-1)


class A(nn.Module):
    """35x35."""

    pooled: int

    @nn.compact
    def __call__(self, x):
        single = Conv(64, name="branch1x1")(x)
        five = chain(x, "branch5x5", (48,), (64, (5, 5)))
        double = chain(x, "branch3x3dbl", (64,), (96, (3, 3)), (96, (3, 3)))
        pool = Conv(self.pooled, name="branch_pool")(average_pool(x))
        return jnp.concatenate([single, five, double, pool], axis=-1)


class B(nn.Module):
    """35x35 to 17x17."""

    @nn.compact
    def __call__(self, x):
        single = Conv(384, (3, 3), 2, "VALID", name="branch3x3")(x)
        double = chain(x, "branch3x3dbl", (64,), (96, (3, 3)), (96, (3, 3), 2, "VALID"))
        return jnp.concatenate([single, double, halve(x)], axis=-1)


class C(nn.Module):
    """17x17."""

    width: int

    @nn.compact
    def __call__(self, x):
        wide, high, n = (1, 7), (7, 1), self.width
        single = Conv(192, name="branch1x1")(x)
        seven = chain(x, "branch7x7", (n,), (n, wide), (192, high))
        double = chain(x, "branch7x7dbl", (n,), (n, high), (n, wide), (n, high), (192, wide))
        pool = Conv(192, name="branch_pool")(average_pool(x))
        return jnp.concatenate([single, seven, double, pool], axis=-1)


class D(nn.Module):
    """17x17 to 8x8."""

    @nn.compact
    def __call__(self, x):
        three = chain(x, "branch3x3", (192,), (320, (3, 3), 2, "VALID"))
        seven = chain(x, "branch7x7x3", (192,), (192, (1, 7)), (192, (7, 1)), (192, (3, 3), 2, "VALID"))
        return jnp.concatenate([three, seven, halve(x)], axis=-1)


class E(nn.Module):
    """8x8."""

    pool: Callable

    @nn.compact
    def __call__(self, x):
        single = Conv(320, name="branch1x1")(x)
        three = fork(chain(x, "branch3x3", (384,)), "branch3x3", 2)
        double = fork(chain(x, "branch3x3dbl", (448,), (384, (3, 3))), "branch3x3dbl", 3)
        pool = Conv(192, name="branch_pool")(self.pool(x))
        return jnp.concatenate([single, three, double, pool], axis=-1)


class Inception(nn.Module):
    """[B,299,299,3] in [-1, 1) to {"pool": [B,2048], "logits": [B,1008] without the bias}."""

    @nn.compact
    def __call__(self, x):
        x = Conv(32, (3, 3), 2, "VALID", name="Conv2d_1a_3x3")(x)
        x = Conv(32, (3, 3), 1, "VALID", name="Conv2d_2a_3x3")(x)
        x = Conv(64, (3, 3), name="Conv2d_2b_3x3")(x)
        x = halve(x)
        x = Conv(80, name="Conv2d_3b_1x1")(x)
        x = Conv(192, (3, 3), 1, "VALID", name="Conv2d_4a_3x3")(x)
        x = halve(x)
        for letter, pooled in zip("bcd", (32, 64, 64), strict=True):
            x = A(pooled, name=f"Mixed_5{letter}")(x)
        x = B(name="Mixed_6a")(x)
        for letter, width in zip("bcde", (128, 160, 160, 192), strict=True):
            x = C(width, name=f"Mixed_6{letter}")(x)
        x = D(name="Mixed_7a")(x)
        x = E(average_pool, name="Mixed_7b")(x)
        x = E(max_pool, name="Mixed_7c")(x)  # sic
        pool = x.mean(axis=(1, 2))
        return {"pool": pool, "logits": Logits(name="fc")(pool)}


class Logits(nn.Module):
    """The last layer's product. Its bias is a parameter of the network, but the Inception score leaves it out."""

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.zeros, (FEATURES, CLASSES))
        self.param("bias", nn.initializers.zeros, (CLASSES,))
        return jnp.matmul(x, kernel, precision=HIGHEST)


def features(
    params: Params, images: Num[Array | np.ndarray, "b h w c"], resizer: Callable = tf1_bilinear
) -> dict[str, Float[Array, "b _"]]:
    """{"pool": [B,2048], "logits": [B,1008] without bias} of RGB images [B,H,W,3] in 0..255, bytes or floats.

    `pool` is what FID and KID compare; the Inception score takes the softmax of `logits`. To be jitted by the caller,
    with `params` as an argument.

    Args:
      resizer: (images, (height, width)) to images of that size in 0..255. All but `tf1_bilinear` give other figures.

    Raises:
      InputError: for images without three channels.
    """
    if images.shape[-1] != 3:
        raise InputError(f"Inception takes RGB images, these have {images.shape[-1]} channels")
    x = resizer(jnp.asarray(images, jnp.float32), (SIDE, SIDE))
    return Inception().apply({"params": params}, (x - 128) / 128)


@functools.cache
def shapes() -> dict[tuple[str, ...], tuple[int, ...]]:
    """The shape of each parameter by its path, e.g. ("Mixed_5b", "branch1x1", "kernel")."""
    images = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32)
    params = jax.eval_shape(Inception().init, jax.random.key(0), images)["params"]
    return {path: leaf.shape for path, leaf in flatten_dict(params).items()}


def init(seed: int) -> Params:
    """Random weights whose activations keep their size from layer to layer (He et al., 2015, arXiv:1502.01852).

    They stand in for fitted ones in tests and dry runs; their FID orders distributions, but is on no published scale.
    """
    rng = np.random.default_rng(seed)

    def values(path, shape):
        if path[-1] == "kernel":
            gain = 1.0 if path[0] == "fc" else 2.0  # the logits have no ReLU
            deviation = np.float32(np.sqrt(gain / np.prod(shape[:-1])))
            return deviation * rng.standard_normal(shape, np.float32)
        return np.full(shape, path[-1] in ("gamma", "variance"), np.float32)

    return unflatten_dict(jax.device_put({path: values(path, shape) for path, shape in shapes().items()}))


# Weight files. For each parameter: its name in the file, and the order of its axes there that makes them ours.
TORCH = {
    "kernel": ("conv.weight", (2, 3, 1, 0)),
    "gamma": ("bn.weight", (0,)),
    "beta": ("bn.bias", (0,)),
    "mean": ("bn.running_mean", (0,)),
    "variance": ("bn.running_var", (0,)),
}
TORCH_LOGITS = {"kernel": ("weight", (1, 0)), "bias": ("bias", (0,))}
GRAPH = {
    "kernel": ("conv2d_params", (0, 1, 2, 3)),
    "gamma": ("batchnorm/gamma", (0,)),
    "beta": ("batchnorm/beta", (0,)),
    "mean": ("batchnorm/moving_mean", (0,)),
    "variance": ("batchnorm/moving_variance", (0,)),
}
GRAPH_LOGITS = {"kernel": ("softmax/weights", (0, 1)), "bias": ("softmax/biases", (0,))}
STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
BLOCKS = tuple(f"Mixed_{name}" for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"))
TOWERS = {
    "branch5x5": "tower",
    "branch7x7": "tower",
    "branch3x3": "tower",
    "branch3x3dbl": "tower_1",
    "branch7x7dbl": "tower_1",
    "branch7x7x3": "tower_1",
}
FORKS = {"a": "mixed/conv", "b": "mixed/conv_1"}


def load(path) -> Params:
    """The weights in a file: PyTorch's `pt_inception-2015-12-05-6726825d.pth`, or the GraphDef that it was made from.

    Raises:
      InputError: a file that `weights.read` refuses, or in which a parameter is missing or of another shape.
    """
    arrays = weights.read(path)
    name = _in_graph if "softmax/weights" in arrays else _in_torch
    params = {}
    for place, shape in shapes().items():
        key, axes = name(*place)
        stored = tuple(shape[axes.index(axis)] for axis in range(len(axes)))
        if key not in arrays:
            raise InputError(f"{path}: not the weights of this Inception, '{key}' {list(stored)} is missing")
        if arrays[key].shape != stored:
            found = list(arrays[key].shape)
            raise InputError(f"{path}: not the weights of this Inception, '{key}' is {found}, must be {list(stored)}")
        params[place] = arrays[key].transpose(axes).astype(np.float32)
    return unflatten_dict(jax.device_put(params))


def _in_torch(*place: str) -> tuple[str, tuple[int, ...]]:
    name, axes = (TORCH_LOGITS if place[0] == "fc" else TORCH)[place[-1]]
    return ".".join((*place[:-1], name)), axes


def _in_graph(*place: str) -> tuple[str, tuple[int, ...]]:
    if place[0] == "fc":
        return GRAPH_LOGITS[place[-1]]
    name, axes = GRAPH[place[-1]]
    if place[0] in STEM:
        return f"{_numbered('conv', STEM.index(place[0]))}/{name}", axes
    return f"{_numbered('mixed', BLOCKS.index(place[0]))}/{_node(place[0], place[1])}/{name}", axes


def _numbered(name: str, index: int) -> str:
    """As TensorFlow made names unique: the first has no number."""
    return f"{name}_{index}" if index else name


def _node(block: str, layer: str) -> str:
    """A convolution's node in its block, e.g. branch3x3dbl_3a is tower_1/mixed/conv."""
    if layer in ("branch1x1", "branch3x3"):
        return "conv"
    if layer == "branch_pool":
        return "tower_2/conv"
    branch, _, number = layer.partition("_")
    tower = "tower" if block == "Mixed_6a" else TOWERS[branch]  # which has no other tower before it
    return f"{tower}/{FORKS[number[-1]] if number[-1] in FORKS else _numbered('conv', int(number) - 1)}"
