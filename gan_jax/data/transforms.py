"""What happens to an image between its file and the network.

On the host, one image at a time and only where it differs from what is asked for: channels, crop, resize. On the
device, whole batches: bytes to floats, mirroring.
"""

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8
from PIL import Image

from gan_jax.errors import InputError

CROPS = ("none", "center", "random", "patch")
PLACED = ("random", "patch")  # those that are told where
CENTRE = (0.5, 0.5)


@dataclasses.dataclass(frozen=True)
class Fit:
    """Brings images of any size to one resolution (H, W) and number of channels; None leaves them as they are.

    crop: how another aspect ratio is met. `none` stretches; `center` and `random` cut the largest window of the right
    aspect, the latter where it is told to; `patch` cuts a window of just this size there, and nothing is resized but
    images that are smaller.
    enlarged: a larger size (H, W) that images are stretched to, from which `random` cuts windows without another
    resize; without `random` they are stretched to `resolution`.
    """

    resolution: tuple[int, int] | None = None
    channels: int | None = None
    crop: str = "none"
    enlarged: tuple[int, int] | None = None

    def __call__(self, image: np.ndarray, where: tuple[float, float] | np.ndarray = CENTRE) -> np.ndarray:
        """`image` uint8 [h,w,c] to uint8 [H,W,C]. `where`: place of the window, (down, across) in [0, 1)."""
        if self.channels is not None:
            image = to_channels(image, self.channels)
        if self.enlarged is not None and self.crop == "random":
            return resize(image, self.enlarged)[_cut(self.enlarged, self.resolution, where)]
        if self.resolution is None or image.shape[:2] == self.resolution:
            return image
        if self.crop == "patch":
            image = at_least(image, self.resolution)
            return image[_cut(image.shape[:2], self.resolution, where)]
        if self.crop != "none" and self.enlarged is None:
            image = image[window(image.shape[:2], self.resolution, where if self.crop == "random" else CENTRE)]
        return resize(image, self.resolution)


def window(size: tuple[int, int], resolution: tuple[int, int], where=CENTRE) -> tuple[slice, slice]:
    """The rows and columns of the largest window in an image of `size` that has the aspect of `resolution`."""
    (h, w), (height, width) = size, resolution
    inner = (max(1, min(h, round(w * height / width))), max(1, min(w, round(h * width / height))))
    return _cut(size, inner, where)


def _cut(size: tuple[int, int], inner: tuple[int, int], where) -> tuple[slice, slice]:
    """The rows and columns of a window of size `inner` at the place `where`."""
    starts = [int(place * (outer - part + 1)) for place, outer, part in zip(where, size, inner, strict=True)]
    return tuple(slice(start, start + part) for start, part in zip(starts, inner, strict=True))


def resize(image: np.ndarray, resolution: tuple[int, int]) -> np.ndarray:
    """uint8 [h,w,c] to uint8 [H,W,c], antialiased: Pillow's Lanczos, whose support grows with the reduction.

    The filter of StyleGAN's dataset tool, so that FFHQ and its kin are what the papers trained on. A box filter, the
    alternative, blurs when the ratio of sizes is no integer. Alpha is multiplied in before and divided out after.
    """
    if image.shape[:2] == tuple(resolution):
        return image
    height, width = resolution
    channels = image.shape[-1]
    if channels in (3, 4):
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    planes = [Image.fromarray(np.ascontiguousarray(image[..., i])) for i in range(channels)]
    return np.stack([np.asarray(plane.resize((width, height), Image.Resampling.LANCZOS)) for plane in planes], axis=-1)


def at_least(image: np.ndarray, resolution: tuple[int, int]) -> np.ndarray:
    """The image, or where a side is shorter than that of `resolution` one enlarged until both are as long."""
    ratio = max(wanted / side for wanted, side in zip(resolution, image.shape[:2], strict=True))
    return image if ratio <= 1 else resize(image, tuple(math.ceil(ratio * side) for side in image.shape[:2]))


def cubic(distance: np.ndarray) -> np.ndarray:
    """The weight of a sample so many samples away: Keys's cubic with a = -1/2, 0 from 2 on."""
    distance = np.abs(distance)
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))


def bicubic(images: UInt8[np.ndarray, "n h w c"], size: tuple[int, int]) -> UInt8[np.ndarray, "n height width c"]:
    """Bytes resized as benchmarks of super-resolution are, by MATLAB's imresize: its small images of Set5 bit for bit.

    Keys's cubic, widened by the ratio of sizes where images shrink, which is antialiasing; pixels at the border go on
    beyond it; after rows, and again after columns, values are rounded to bytes.
    """
    down, across = (_cubic_weights(*sides) for sides in zip(images.shape[1:3], size, strict=True))
    n, height, width, channels = images.shape
    rows = _to_bytes(down @ images.reshape(n, height, width * channels).astype(np.float32))
    rows = rows.reshape(n * size[0], width, channels).astype(np.float32)
    return _to_bytes(across @ rows).reshape(n, *size, channels)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.floor(values + 0.5).clip(0, 255).astype(np.uint8)  # halves upwards


@functools.cache
def _cubic_weights(length: int, out: int) -> np.ndarray:
    """Weights of the pixels of a row in each pixel of one of another length: float32 [out, length]."""
    ratio = length / out
    width = max(ratio, 1.0)
    centres = (np.arange(out)[:, None] + 0.5) * ratio - 0.5
    pixels = np.floor(centres - 2 * width) + np.arange(math.ceil(4 * width) + 2)
    weights = cubic((centres - pixels) / width)
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((out, length))
    np.add.at(matrix, (np.arange(out)[:, None], pixels.clip(0, length - 1).astype(int)), weights)
    return matrix.astype(np.float32)


def to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """uint8 [h,w,c] with 1 (grey), 3 (RGB) or 4 (RGBA) channels to another of these.

    Colour becomes grey by ITU-R 601-2 luma; transparent pixels show a white ground; what had no alpha is opaque.

    Raises:
      InputError: for any other number of channels.
    """
    own = image.shape[-1]
    if own == channels:
        return image
    if own not in (1, 3, 4) or channels not in (1, 3, 4):
        raise InputError(
            f"config.data.channels={channels}: images of {own} channels cannot be converted; only grey (1), RGB (3) "
            "and RGBA (4) into each other"
        )
    if own == 4:
        alpha = image[..., 3:].astype(np.uint32)
        over_white = image[..., :3] * alpha + 255 * (255 - alpha)
        image = ((over_white + 127) // 255).astype(np.uint8)
    if channels == 1:
        return np.asarray(Image.fromarray(image).convert("L"))[..., None] if image.shape[-1] == 3 else image
    image = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
    return image if channels == 3 else np.concatenate([image, np.full_like(image[..., :1], 255)], axis=-1)


def to_float(images: UInt8[Array, "*batch height width channels"]) -> Float[Array, "*batch height width channels"]:
    """Bytes to float32 in [-1, 1]: 0 is -1 and 255 is 1."""
    return images.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(images: Float[Array | np.ndarray, "*batch height width channels"]):
    """The inverse of `to_float`, for JAX and NumPy arrays: rounded, and clipped where outside of [-1, 1]."""
    return ((images + 1.0) * 127.5).round().clip(0, 255).astype(np.uint8)


def mirror(images: Array, mask: Bool[Array, "*batch"]) -> Array:
    """Flips those images [*batch,H,W,C] left to right whose `mask` is true."""
    return jnp.where(mask[..., None, None, None], jnp.flip(images, axis=-2), images)
