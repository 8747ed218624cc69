"""Pictures of samples, per domain and not per GAN: uint8 [H, W, 3] arrays for files and for the log.

`BY_DOMAIN[domain](samples, batch)` makes the picture of samples drawn under the conditions of `batch`.
"""

import math
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan_jax.data.transforms import to_uint8

GAP = 2  # pixels between the images of a grid
PAPER = np.array([255.0, 255.0, 255.0])
REAL = np.array([196.0, 201.0, 209.0])  # grey: what should be covered
FAKE = np.array([214.0, 69.0, 65.0])  # red: what the generator makes
RADII = 1 / 80, 1 / 230  # of real and of generated dots, of the picture's side: the real ones show beneath
DRAWN = 10_000  # points of either kind at most


def image_grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Images [n,H,W,C] in [-1,1] in rows of `columns` (ceil(sqrt(n))), on white. Small images are enlarged.

    One channel is grey, two are red and green, of more than three the first three are shown. NaN is drawn black.
    """
    images = _coloured(images)
    count, height, width, _ = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    scale = max(1, round(64 / max(height, width)))  # a digit of 28 pixels is hard to see on a screen
    pixels = to_uint8(images).repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = height * scale + GAP, width * scale + GAP
    grid = np.full((rows * height + GAP, columns * width + GAP, 3), 255, np.uint8)
    for number, image in enumerate(pixels):
        row, column = divmod(number, columns)
        top, left = row * height + GAP, column * width + GAP
        grid[top : top + image.shape[0], left : left + image.shape[1]] = image
    return grid


def _coloured(images: np.ndarray) -> np.ndarray:
    """Images of any number of channels as finite RGB."""
    images = np.nan_to_num(np.asarray(images, np.float32), nan=-1.0, posinf=1.0, neginf=-1.0)
    channels = images.shape[-1]
    if channels == 1:
        return np.repeat(images, 3, axis=-1)
    if channels == 2:
        return np.concatenate([images, np.full_like(images[..., :1], -1.0)], axis=-1)
    return images[..., :3]


def point_scatter(points: np.ndarray, real: np.ndarray | None = None, size: int = 512) -> np.ndarray:
    """Points [n,D] in red over real ones in grey, [size,size,3]; in one dimension two histograms.

    The frame is that of the real points, so that pictures of a run can be compared; points outside are left out. Of
    more than two dimensions the first two are shown.
    """
    points = _finite(points)
    real = points if real is None else _finite(real)
    if points.shape[-1] == 1:
        return _histograms(points[:, 0], real[:, 0], size)
    points, real = points[:DRAWN, :2], real[:DRAWN, :2]
    low, high = _frame(real)
    middle, reach = (low + high) / 2, max((high - low).max() / 2, 1e-6)
    picture = np.broadcast_to(PAPER, (size, size, 3))
    for cloud, colour, radius in zip((real, points), (REAL, FAKE), RADII, strict=True):
        across, up = ((cloud - middle) / reach * 0.5 + 0.5).T
        cover = _dots((1 - up) * (size - 1), across * (size - 1), size, max(radius * size, 1.2), _opacity(len(cloud)))
        picture = picture * (1 - cover) + colour * cover
    return picture.round().astype(np.uint8)


def _finite(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, np.float64)
    return points[np.isfinite(points).all(axis=-1)]


def _frame(real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner: the data and a margin of 15 % around it."""
    if not len(real):
        return np.full(real.shape[1:], -1.0), np.full(real.shape[1:], 1.0)
    low, high = real.min(axis=0), real.max(axis=0)
    margin = 0.15 * np.maximum(high - low, 1e-6)
    return low - margin, high + margin


def _opacity(count: int) -> float:
    """Many points are drawn fainter, so that density shows instead of a blot."""
    return float(np.clip(25 / math.sqrt(max(count, 1)), 0.15, 0.85))


def _dots(y: np.ndarray, x: np.ndarray, size: int, radius: float, opacity: float) -> np.ndarray:
    """How much of each pixel is covered by discs around (y, x), antialiased: [size,size,1] in [0,1]."""
    reach = math.ceil(radius + 1)
    clear = np.zeros((size, size))  # log of the share that is left uncovered: overlapping discs multiply
    row, column = np.floor(y).astype(int), np.floor(x).astype(int)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            i, j = row + down, column + right
            cover = np.clip(radius + 0.5 - np.hypot(i - y, j - x), 0, 1) * opacity
            seen = (i >= 0) & (i < size) & (j >= 0) & (j < size) & (cover > 0)
            np.add.at(clear, (i[seen], j[seen]), np.log1p(-cover[seen]))
    return -np.expm1(clear)[..., None]


def _histograms(points: np.ndarray, real: np.ndarray, size: int) -> np.ndarray:
    """The real density as a grey area, that of the points as a red one with a line on top."""
    (low,), (high,) = _frame(real[:, None])
    bins = 64
    heights = []
    for values in (real, points):
        inside = np.histogram(values, bins=bins, range=(low, high))[0] / max(len(values), 1)
        heights.append(np.interp(np.linspace(0, bins, size), np.arange(bins) + 0.5, inside))
    top = 1.3 * max(heights[0].max(), 1e-9)  # the frame is that of the real data; taller bars are cut
    y = (np.arange(size)[::-1, None] + 0.5) / size * top  # the value at each row's centre
    pixel = top / size
    area = [np.clip((height - y) / pixel + 0.5, 0, 1)[..., None] for height in heights]
    slope = np.hypot(1, np.gradient(heights[1]) / pixel)  # so that the line is equally thick where it is steep
    line = np.clip(1.75 - np.abs(y - heights[1]) / pixel / slope, 0, 1)[..., None]
    picture = PAPER * (1 - area[0]) + REAL * area[0]
    picture = picture * (1 - 0.25 * area[1]) + FAKE * 0.25 * area[1]
    return (picture * (1 - line) + FAKE * line).round().astype(np.uint8)


def _image_picture(samples: np.ndarray, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    return image_grid(samples)


def _point_picture(samples: np.ndarray, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    return point_scatter(samples, batch.get("point"))


def _translation_picture(samples: np.ndarray | Mapping[str, np.ndarray], batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Rows of `a`, its translation and `b`; of translations both ways (samples `b` and `a`) that of `b` beside it.

    Where `a` is smaller, as in super-resolution, its pixels are shown as squares."""
    both = samples if isinstance(samples, Mapping) else {"b": samples}
    shown = [batch.get("a"), both["b"], batch.get("b"), both.get("a")]
    shown = [_coloured(images) for images in shown if images is not None]
    height = max(images.shape[1] for images in shown)
    shown = [images.repeat(height // images.shape[1], 1).repeat(height // images.shape[1], 2) for images in shown]
    count, columns = len(shown[0]), len(shown)
    rows = math.ceil(math.sqrt(count * columns))
    blocks = [
        image_grid(
            np.stack([images[first : first + rows] for images in shown], axis=1).reshape(-1, *shown[0].shape[1:]),
            columns,
        )
        for first in range(0, count, rows)
    ]
    return join(blocks, axis=1, gap=6 * GAP)


BY_DOMAIN = {"image": _image_picture, "point": _point_picture, "b": _translation_picture}


def join(pictures: Sequence[np.ndarray], axis: int, gap: int = 0) -> np.ndarray:
    """Pictures uint8 [h,w,3] below each other (axis 0) or side by side (axis 1), in the middle, on white."""
    across = max(picture.shape[1 - axis] for picture in pictures)
    padded = []
    for picture in pictures:
        missing = across - picture.shape[1 - axis]
        pads = [(gap if padded else 0, 0), (missing // 2, missing - missing // 2)]
        padded.append(np.pad(picture, (*pads[:: 1 - 2 * axis], (0, 0)), constant_values=255))
    return np.concatenate(padded, axis=axis)


def words(text: str, size: int) -> np.ndarray:
    """A line of text in letters `size` pixels high, black on white: uint8 [h,w,3]."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    picture = Image.new("RGB", (math.ceil(right - left) + size, math.ceil(bottom - top) + size // 2), "white")
    ImageDraw.Draw(picture).text((size // 2 - left, size // 4 - top), text, "black", font)
    return np.asarray(picture)


def save_png(path: str | os.PathLike, picture: np.ndarray) -> None:
    """Writes uint8 [H, W, 3]; the file is there as a whole or not at all. Missing folders are made."""
    _save(path, Image.fromarray(picture), format="PNG")


def save_gif(path: str | os.PathLike, frames: np.ndarray, seconds_per_frame: float) -> None:
    """Writes uint8 [T, H, W, 3] as an animation without end, in the same way. GIF counts hundredths of a second."""
    first, *others = (Image.fromarray(frame).quantize(256) for frame in frames)
    duration = max(20, 10 * round(100 * seconds_per_frame))  # shorter ones are slowed down by browsers
    _save(path, first, format="GIF", save_all=True, append_images=others, duration=duration, loop=0)


def _save(path: str | os.PathLike, image: Image.Image, **options) -> None:
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        image.save(temporary, **options)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
