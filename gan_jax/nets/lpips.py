"""LPIPS, the perceptual distance of two images (Zhang et al., 2018, arXiv:1801.03924), version 0.1 on VGG-16.

At five layers the features of every pixel are scaled to length one and compared; each channel has a weight that was
fitted to people's judgement.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gan_jax.errors import InputError
from gan_jax.nets import vgg, weights

TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's, of colours in [-1, 1]

Linear = tuple[Array, ...]  # the channels' weights [C], one array for each layer


def distance(
    vgg_params: vgg.Params,
    linear: Linear,
    a: Float[Array | np.ndarray, "batch height width 3"],
    b: Float[Array | np.ndarray, "batch height width 3"],
) -> Float[Array, "batch"]:
    """LPIPS of each pair of RGB images in [-1,1], of 16x16 or more; nothing is resized. For equal images it is
    zero, or 1e-15 where a compiler fuses the two halves differently.

    Published path lengths and projections take images of 256x256, reduced by averaging boxes if they are larger.
    """
    pairs = jnp.stack([jnp.asarray(a), jnp.asarray(b)], axis=1)  # a pair stays on its device
    found = embed(vgg_params, pairs.reshape(-1, *pairs.shape[2:]))
    return compare(linear, [x[0::2] for x in found], [x[1::2] for x in found])


def embed(
    vgg_params: vgg.Params, images: Float[Array | np.ndarray, "batch height width 3"]
) -> list[Float[Array, "batch h w channels"]]:
    """Features of images in [-1,1] at the five layers, of length one at every pixel: for `compare`."""
    shift, scale = (jnp.array(value).reshape(1, 1, 1, 3) for value in (SHIFT, SCALE))
    found = vgg.activations(vgg_params, (jnp.asarray(images) - shift) / scale, TAPS)
    return [unit(found[tap]) for tap in TAPS]


def unit(x: Float[Array, "*shape channels"]) -> Float[Array, "*shape channels"]:
    """x / (|x| + 1e-10). Where ReLUs left nothing, zero, with a gradient that is finite."""
    squares = jnp.sum(x**2, axis=-1, keepdims=True)
    dead = squares == 0
    length = jnp.where(dead, 0.0, jnp.sqrt(jnp.where(dead, 1.0, squares)))
    return x / (length + 1e-10)


def compare(
    linear: Linear, a: Sequence[Float[Array, "batch ..."]], b: Sequence[Float[Array, "batch ..."]]
) -> Float[Array, "batch"]:
    """Sum over layers of the mean over pixels of the weighted squared differences of two `embed`dings."""
    total = jnp.zeros(len(a[0]))
    for weight, x, y in zip(linear, a, b, strict=True):
        total += jnp.mean(jnp.sum((x - y) ** 2 * weight.reshape(1, 1, 1, -1), axis=-1), axis=(1, 2))
    return total


def load_linear(path) -> Linear:
    """The channels' weights of the authors' file `vgg.pth` (`weights.find("lpips")`), or any with its names.

    Raises:
      InputError: if the file cannot be read, lacks a layer, or holds one of another size.
    """
    return linear_from_torch(weights.read(path), source=str(path))


def linear_from_torch(
    arrays: Mapping[str, np.ndarray], widths: tuple[int, ...] = vgg.WIDTHS, source: str = "the arrays"
) -> Linear:
    """`linN.model.1.weight` [1,C,1,1] as vectors [C].

    Raises:
      InputError: if an array is missing or of another shape.
    """
    found = []
    for index, width in enumerate(widths):
        key = f"lin{index}.model.1.weight"
        if key not in arrays:
            raise InputError(f"{source}: not LPIPS's weights, '{key}' is missing")
        if np.shape(arrays[key]) != (1, width, 1, 1):
            shape = list(np.shape(arrays[key]))
            raise InputError(f"{source}: not LPIPS's weights, '{key}' is {shape}, must be {[1, width, 1, 1]}")
        found.append(jnp.asarray(arrays[key], jnp.float32).reshape(width))
    return tuple(found)


def init_linear(seed: int, widths: tuple[int, ...] = vgg.WIDTHS) -> Linear:
    """Random weights, uniform on [0, 1): fitted ones are not negative either."""
    keys = jax.random.split(jax.random.key(seed), len(widths))
    return tuple(jax.random.uniform(key, (width,)) for key, width in zip(keys, widths, strict=True))
