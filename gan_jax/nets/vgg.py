"""VGG-16 and VGG-19 (Simonyan and Zisserman, 2015, arXiv:1409.1556), frozen, with every layer to be read.

Layers are called as in the literature: `conv3_2` is the second convolution of the third block before its ReLU,
`relu3_2` after it, `pool3` the block's 2x2 maximum (windows that do not fit are dropped). `fc1` and `fc2` (4096 each)
are after their ReLU, `logits` (1000) has none; dropout is left out, as these networks are never trained here.

Everything is float32 with products of full precision unless told otherwise: the path length divides differences of
1e-4 by their size, and neighbourhoods of precision and recall are decided by distances that are nearly equal.
"""

import math
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.lax import Precision
from jaxtyping import Array, Float, Num

from gan_jax.errors import InputError, choose
from gan_jax.layers.conv import Conv
from gan_jax.nets import weights
from gan_jax.nets.inception import tf1_bilinear

LAYERS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # convolutions of each block
WIDTHS = (64, 128, 256, 512, 512)
HIDDEN, CLASSES = 4096, 1000
SIDE = 224  # of the images that the fully connected layers were made for
DENSE = ("fc1", "fc2", "logits")
# of ImageNet's red, green and blue in [0, 1], as torchvision rounds them
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Params = Mapping[str, Mapping[str, Array]]


def layers(depth: int) -> list[str]:
    """The names of all that can be read from a network of this depth, in the order of computation."""
    names = []
    for block, count in enumerate(LAYERS[depth], start=1):
        for index in range(1, count + 1):
            names += [f"conv{block}_{index}", f"relu{block}_{index}"]
        names.append(f"pool{block}")
    return [*names, *DENSE]


class VGG(nn.Module):
    """Normalised images [B,H,W,3] to {tap: array}. What lies behind the last tap is neither computed nor created."""

    taps: tuple[str, ...]
    depth: int = 16
    widths: tuple[int, ...] = WIDTHS
    hidden: int = HIDDEN
    precision: Precision = Precision.HIGHEST

    @nn.compact
    def __call__(self, x):
        sizes = {"fc1": self.hidden, "fc2": self.hidden, "logits": CLASSES}
        names = layers(self.depth)
        found = {}
        for name in names[: 1 + max(map(names.index, self.taps))]:
            if name.startswith("conv"):
                width = self.widths[int(name[4]) - 1]
                x = Conv(width, (3, 3), padding=1, precision=self.precision, name=name)(x)
            elif name.startswith("relu"):
                x = nn.relu(x)
            elif name.startswith("pool"):
                x = nn.max_pool(x, (2, 2), strides=(2, 2))
            else:
                x = x.reshape(len(x), -1)
                x = nn.Dense(sizes[name], precision=self.precision, name=name)(x)
                x = x if name == "logits" else nn.relu(x)
            found[name] = x
        return {tap: found[tap] for tap in self.taps}


def init(
    seed: int, depth: int = 16, fully_connected: bool = True, widths: tuple[int, ...] = WIDTHS, hidden: int = HIDDEN
) -> Params:
    """Random weights, normal with variance 2 / fan-in (He et al., 2015, arXiv:1502.01852), biases zero.

    The fully connected layers are 124 million of VGG-16's 138 million. Narrower `widths` and `hidden` make a network
    for tests; `features` finds all of it in the parameters' shapes.
    """
    net = VGG((layers(depth)[-1 if fully_connected else -4],), depth, widths, hidden)
    side = SIDE if fully_connected else 32
    image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    shapes = jax.eval_shape(net.init, jax.random.key(0), image)["params"]

    @jax.jit
    def create(key):
        sizes = {name: layer["kernel"].size for name, layer in shapes.items()}
        # one draw for all: compilers take a second for each, whatever its size
        numbers = jax.random.normal(key, (sum(sizes.values()),))
        parts = jnp.split(jax.lax.optimization_barrier(numbers), np.cumsum([*sizes.values()])[:-1])
        params = {}
        for (name, layer), part in zip(shapes.items(), parts, strict=True):
            shape = layer["kernel"].shape
            kernel = part.reshape(shape) * (2 / math.prod(shape[:-1])) ** 0.5
            params[name] = {"kernel": kernel, "bias": jnp.zeros(shape[-1])}
        return params

    return create(jax.random.key(seed))


def load(path, depth: int = 16, fully_connected: bool = True) -> Params:
    """The parameters in one of torchvision's files, or in any that `weights.read` reads and that has their names.

    `weights.find("vgg16")` and `weights.find("https://download.pytorch.org/models/vgg19-dcbb9e9d.pth")` say where they
    are.

    Raises:
      InputError: if the file cannot be read, lacks a parameter, or holds one of another shape.
    """
    return from_torch(weights.read(path), depth, fully_connected, source=str(path))


def from_torch(
    arrays: Mapping[str, np.ndarray],
    depth: int = 16,
    fully_connected: bool = True,
    widths: tuple[int, ...] = WIDTHS,
    hidden: int = HIDDEN,
    source: str = "the arrays",
) -> Params:
    """`features.N.weight` (OIHW), `classifier.N.weight` ([out, in]) and their biases, as this module's parameters.

    PyTorch flattens [C,7,7] in front of `classifier.0`, and we flatten [7,7,C]: its inputs are reordered.

    Raises:
      InputError: if an array is missing or of another shape.
    """

    params = {}
    for name, key, shape in _in_torch(depth, widths, hidden):
        if name in DENSE and not fully_connected:
            continue
        weight, bias = (_take(arrays, f"{key}.{part}", shape[:n], source) for part, n in (("weight", 4), ("bias", 1)))
        if name == "fc1":
            weight = weight.reshape(hidden, -1, SIDE // 32, SIDE // 32).transpose(0, 2, 3, 1).reshape(shape)
        kernel = weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T
        params[name] = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
    return params


def _in_torch(depth: int, widths: tuple[int, ...], hidden: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """(our name of a layer, torchvision's, shape of its weight there)"""
    channels = 3
    for index, name in enumerate(layers(depth)[: -len(DENSE)]):  # torchvision numbers ReLUs and maxima too
        if name.startswith("conv"):
            width = widths[int(name[4]) - 1]
            yield name, f"features.{index}", (width, channels, 3, 3)
            channels = width
    sizes = (channels * (SIDE // 32) ** 2, hidden, hidden, CLASSES)
    for number, name in enumerate(DENSE):  # with a ReLU and a dropout between them
        yield name, f"classifier.{3 * number}", (sizes[number + 1], sizes[number])


def _take(arrays: Mapping[str, np.ndarray], key: str, shape: tuple[int, ...], source: str) -> np.ndarray:
    if key not in arrays:
        raise InputError(f"{source}: not this VGG's weights, '{key}' {list(shape)} is missing")
    if np.shape(arrays[key]) != shape:
        found = list(np.shape(arrays[key]))
        raise InputError(f"{source}: not this VGG's weights, '{key}' is {found}, must be {list(shape)}")
    return np.asarray(arrays[key], np.float32)


def features(
    params: Params,
    images: Num[Array | np.ndarray, "batch height width 3"],
    taps: tuple[str, ...],
    precision: Precision = Precision.HIGHEST,
) -> dict[str, Float[Array, "batch ..."]]:
    """{tap: array} of RGB images in 0..255, bytes or floats, of any size; `fc1`, `fc2`, `logits` take 224x224.

    They are normalised as torchvision's weights want it: (x / 255 - mean) / std with ImageNet's mean and deviation of
    each colour. (The weights of the Caffe original would want BGR - (103.939, 116.779, 123.68) instead.) Nothing is
    resized or cropped. A loss in training may trade `precision` for speed; metrics may not.

    Raises:
      InputError: for a layer that the network or the given parameters do not have, or images too small for it.
    """
    mean, std = (255.0 * jnp.array(value).reshape(1, 1, 1, 3) for value in (MEAN, STD))
    return activations(params, (jnp.asarray(images, jnp.float32) - mean) / std, taps, precision)


def activations(
    params: Params,
    x: Float[Array, "batch height width 3"],
    taps: tuple[str, ...],
    precision: Precision = Precision.HIGHEST,
) -> dict[str, Float[Array, "batch ..."]]:
    """As `features`, of images that are normalised already."""
    depth = 19 if "conv3_4" in params else 16
    names = layers(depth)
    last = max(choose(tap, {name: i for i, name in enumerate(names)}, f"layer of VGG-{depth}") for tap in taps)
    dense = names[last] in DENSE
    if dense and names[last] not in params:
        raise InputError(f"'{names[last]}' of VGG-{depth}: these parameters were made without fully connected layers")
    if dense and x.shape[1:3] != (SIDE, SIDE):
        raise InputError(f"'{names[last]}' of VGG-{depth} takes images of {SIDE}x{SIDE}, not {x.shape[1]}x{x.shape[2]}")
    smallest = 2 ** sum(name.startswith("pool") for name in names[: last + 1])
    if min(x.shape[1:3]) < smallest:
        raise InputError(
            f"'{names[last]}' of VGG-{depth} takes images of at least {smallest}x{smallest}, not "
            f"{x.shape[1]}x{x.shape[2]}"
        )
    widths = tuple(params[f"conv{block}_1"]["bias"].size for block in range(1, 6))
    hidden = params["fc1"]["bias"].size if "fc1" in params else HIDDEN
    return VGG(tuple(taps), depth, widths, hidden, precision).apply({"params": params}, x)


def embed(params: Params, images: Num[Array | np.ndarray, "batch height width 3"]) -> Float[Array, "batch size"]:
    """RGB images in 0..255 of any size to the features [B, 4096] of precision and recall: `fc2`, after its ReLU.

    They are stretched to 224x224 as torch-fidelity's VGG-16 does it, by TensorFlow 1's bilinear interpolation: pixel i
    is read at i * size / 224, without antialiasing. PyTorch's reads half a pixel of the result further on, and gives
    other features. Images that have the size are not touched by either.
    """
    return features(params, tf1_bilinear(images, (SIDE, SIDE)), ("fc2",))["fc2"]
