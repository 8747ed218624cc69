"""Drawing in NumPy: random numbers by counter, signed distances, antialiased paint.

A picture is painted from back to front. Each shape is a signed distance (negative inside) at every pixel centre of a
batch, and what a pixel takes of the shape's colour is the share of its area inside, read off the distance in pixels.
Every operation on pixels is an elementwise IEEE operation, so a picture has the same bits whatever is drawn beside it.
"""

import dataclasses
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from gan_jax.errors import InputError, choose

PIXELS_AT_ONCE = 1 << 16  # a plane of float32 stays within a core's cache, and the memory of a long read bounded


def check(fields: Iterable[str], known: Iterable[str], resolution: tuple[int, int] | None = None) -> None:
    """Raises InputError where a world is asked for a field or a resolution that it does not have."""
    table = dict.fromkeys(known)
    for field in fields:
        choose(field, table, "field (config.data.fields)")
    if resolution is not None and (len(resolution) != 2 or min(resolution) < 4):
        raise InputError(f"resolution must be (height, width) of at least 4 pixels, got {tuple(resolution)}")


def uniform(seed: int, indices: np.ndarray, name: str) -> np.ndarray:
    """Uniform numbers in [0, 1), a pure function of (seed, index, name), independent between any two triples.

    indices: integers of any shape, which is also the result's (float64). The counter goes through two rounds of
    the SplitMix64 finaliser (Steele, Lea, Flood 2014); the name, hashed, selects the stream, so that a new attribute
    leaves all others as they were.
    """
    stream = _mix(_mix(np.asarray([seed & (2**64 - 1)], np.uint64)) + np.uint64(zlib.crc32(name.encode())))
    bits = _mix(_mix(np.asarray(indices).astype(np.uint64) + stream) ^ stream)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(seed: int, indices: np.ndarray, name: str) -> np.ndarray:
    """Standard normal numbers (float64) by Box and Muller, from two of the streams of `uniform`."""
    radius = np.sqrt(-2.0 * np.log1p(-uniform(seed, indices, f"{name}/radius")))
    return radius * np.cos(2.0 * np.pi * uniform(seed, indices, f"{name}/angle"))


def _mix(bits: np.ndarray) -> np.ndarray:
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


class Frame(NamedTuple):
    """A turned, scaled and shifted system of coordinates, one per picture; each value float32 [n,1,1].

    Picture coordinates: the centre is (0, 0), x grows to the right, y downwards, the shorter side has length 2.
    """

    x: np.ndarray  # where the frame's origin lies, in picture coordinates
    y: np.ndarray
    cos: np.ndarray
    sin: np.ndarray  # of the clockwise angle by which it is turned
    scale: np.ndarray  # picture units per unit of the frame

    def place(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Picture coordinates (x, y) of a point given in this frame."""
        return (
            self.x + self.scale * (self.cos * x - self.sin * y),
            self.y + self.scale * (self.sin * x + self.cos * y),
        )

    def at(self, x: np.ndarray, y: np.ndarray, angle: np.ndarray | float = 0.0) -> "Frame":
        """A frame of the same scale with its origin at (x, y) of this one, turned clockwise by angle radians."""
        cos, sin = cos_sin(angle)
        origin = self.place(x, y)
        return Frame(*origin, self.cos * cos - self.sin * sin, self.sin * cos + self.cos * sin, self.scale)


def frame(x: np.ndarray, y: np.ndarray, angle: np.ndarray, scale: np.ndarray) -> Frame:
    """The frame with its origin at picture coordinates (x, y), turned clockwise by angle radians; all [n,1,1]."""
    return Frame(x, y, *cos_sin(angle), scale)


def cos_sin(angle: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Rounded from float64, so that the last bit does not depend on how many angles are computed together."""
    angle = np.asarray(angle, np.float64)
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Sheet:
    """Pictures being painted, or a window of them."""

    planes: np.ndarray  # float32 [3,n,H,W] in [0,1]
    labels: np.ndarray | None  # uint8 [n,H,W]: the segmentation, where wanted
    x: np.ndarray  # float32 [1,1,W]: picture coordinates of the pixel centres
    y: np.ndarray  # float32 [1,H,1]
    pixel: float  # side of a pixel in picture units

    def locate(self, frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates x, y of every pixel in the frame, float32 [n,H,W], and its pixel size [n,1,1]."""
        cos, sin = frame.cos / frame.scale, frame.sin / frame.scale
        right, down = self.x - frame.x, self.y - frame.y
        return cos * right + sin * down, cos * down - sin * right, np.float32(self.pixel) / frame.scale

    def paint(self, shape, pixel, colour, edge=None, width=0.03, alpha=None, label=None) -> np.ndarray:
        """Paints the inside of a shape and returns its coverage [n,H,W].

        shape: signed distance [n,H,W] in a frame's units, pixel: the pixel size in the same; colour: [3,n,1,1] or
        [3,n,H,W]; edge: colour of a contour of that width along the inside of the border; alpha: opacity.
        """
        cover = coverage(shape, pixel)
        inner = None if edge is None else coverage(shape + width, pixel)
        if alpha is not None:
            cover *= alpha
            inner = None if inner is None else inner * alpha
        for channel, plane in enumerate(self.planes):
            outer_colour = colour[channel] if edge is None else edge[channel]
            change = outer_colour - plane
            change *= cover
            plane += change
            if inner is not None:
                plane += inner * (colour[channel] - outer_colour)
        if label is not None and self.labels is not None:
            self.labels[cover >= 0.5] = label
        return cover

    def part(self, frame: Frame, box: tuple[float, float, float, float], who: np.ndarray) -> Iterator["Sheet"]:
        """Yields once the window of those pictures (`who`: their numbers) around box = (left, top, right, bottom)
        of the frame, and puts what was painted on it back; nothing where the window is empty."""
        corners = [frame.place(x, y) for x in box[::2] for y in box[1::2]]
        rows = _span(self.y.ravel(), [y for _, y in corners], self.pixel)
        columns = _span(self.x.ravel(), [x for x, _ in corners], self.pixel)
        if not who.size or rows.start >= rows.stop or columns.start >= columns.stop:
            return
        whole = who.size == self.planes.shape[1]
        where = (slice(None) if whole else who, rows, columns)  # of all pictures a view, of some a copy
        labels = None if self.labels is None else self.labels[where]
        window = Sheet(self.planes[:, *where], labels, self.x[..., columns], self.y[:, rows], self.pixel)
        yield window
        if not whole:
            self.planes[:, *where] = window.planes
            if labels is not None:
                self.labels[where] = labels


def _span(centres: np.ndarray, corners: list[np.ndarray], pixel: float) -> slice:
    low = min(corner.min() for corner in corners) - pixel
    high = max(corner.max() for corner in corners) + pixel
    return slice(int(np.searchsorted(centres, low)), int(np.searchsorted(centres, high)))


def sheet(count: int, resolution: tuple[int, int], labels: bool) -> Sheet:
    """A black sheet of `count` pictures."""
    height, width = resolution
    pixel = 2.0 / min(height, width)
    x = ((np.arange(width) + 0.5 - width / 2) * pixel).astype(np.float32)[None, None, :]
    y = ((np.arange(height) + 0.5 - height / 2) * pixel).astype(np.float32)[None, :, None]
    planes = np.zeros((3, count, height, width), np.float32)
    return Sheet(planes, np.zeros(planes.shape[1:], np.uint8) if labels else None, x, y, pixel)


def in_chunks(
    render: Callable[[np.ndarray], dict[str, np.ndarray]], indices: np.ndarray, resolution: tuple[int, int]
) -> dict[str, np.ndarray]:
    """`render(indices)` computed a few pictures at a time: {field: array with the indices' axis first}."""
    step = max(1, PIXELS_AT_ONCE // (resolution[0] * resolution[1]))
    found = None
    for start in range(0, max(1, len(indices)), step):
        piece = render(indices[start : start + step])
        if found is None:
            found = {k: np.empty((len(indices), *v.shape[1:]), v.dtype) for k, v in piece.items()}
        for field, values in piece.items():
            found[field][start : start + step] = values
    return found


def to_bytes(planes: np.ndarray) -> np.ndarray:
    """float32 [C,n,H,W] in [0,1] to uint8 [n,H,W,C]."""
    _, count, height, width = planes.shape
    image = np.empty((count, height, width, len(planes)), np.uint8)
    for channel, plane in enumerate(planes):
        image[..., channel] = np.clip(plane, 0.0, 1.0) * 255 + 0.5
    return image


def palette(*colours: str) -> np.ndarray:
    """Colours written "rrggbb" as float32 [3,k] in [0,1]."""
    return np.array([[int(c[i : i + 2], 16) for c in colours] for i in (0, 2, 4)], np.float32) / 255


def blend(a: np.ndarray, b: np.ndarray | float, share: np.ndarray | float) -> np.ndarray:
    """a where share is 0, b where it is 1."""
    return a + (b - a) * share


# Signed distances. x, y: coordinates [n,H,W]; all else in the same units, numbers or [n,1,1]; result [n,H,W].


def coverage(shape: np.ndarray, pixel: np.ndarray | float) -> np.ndarray:
    """Share of a pixel, 0 to 1, inside a border at that signed distance from its centre (a straight one)."""
    cover = shape * (-1 / pixel)
    cover += 0.5
    np.maximum(cover, 0, out=cover)
    return np.minimum(cover, 1, out=cover)


def ramp(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below low, 1 above high, smooth (cubic) between: soft light and shade."""
    t = np.clip((value - low) * (1.0 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(x * x + y * y)


def circle(x, y, radius) -> np.ndarray:
    return length(x, y) - radius


def ellipse(x, y, a, b) -> np.ndarray:
    """Half axes a, b; to first order in the distance from the border."""
    x, y = x / a, y / b
    k = length(x, y)
    gradient = length(x / a, y / b)
    return k * (k - 1) / (gradient + 1e-6)


def box(x, y, half_width, half_height, radius=0.0) -> np.ndarray:
    """A rectangle with corners rounded by that radius."""
    x, y = np.abs(x) - (half_width - radius), np.abs(y) - (half_height - radius)
    return length(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(np.maximum(x, y), 0) - radius


def segment(x, y, start, end) -> np.ndarray:
    """Distance to the segment between two points (x, y), to be compared with half a stroke."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    x, y = x - start[0], y - start[1]
    t = np.clip((x * dx + y * dy) / (dx * dx + dy * dy), 0, 1)
    return length(x - t * dx, y - t * dy)


def parabola(x, y, curve) -> np.ndarray:
    """Distance below (positive) the curve y = curve x^2, to first order."""
    return (y - curve * x * x) / np.sqrt(1 + (2 * curve * x) ** 2)


def bow(x, y, half_width, sag) -> np.ndarray:
    """Distance to the arc of a parabola from (-half_width, 0) through (0, sag) to (half_width, 0)."""
    inside = np.clip(x, -half_width, half_width)
    curve = -sag / (half_width * half_width)
    return length(x - inside, parabola(inside, y - sag, curve))


def polygon(x, y, points: Iterable[tuple[float, float]]) -> np.ndarray:
    """The inside, by even and odd crossings, of the closed line through the points; exact."""
    points = [(float(px), float(py)) for px, py in points]
    nearest, inside = np.float32(np.inf), np.zeros(np.broadcast_shapes(x.shape, y.shape), bool)
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        nearest = np.minimum(nearest, segment(x, y, (ax, ay), (bx, by)))
        if ay != by:
            inside ^= ((y < ay) != (y < by)) & (x < (bx - ax) / (by - ay) * (y - ay) + ax)
    return np.where(inside, -nearest, nearest)


def union(a, b, soft) -> np.ndarray:
    """Both shapes, the notch between them filled smoothly over a distance `soft`."""
    near = np.maximum(soft - np.abs(a - b), 0)
    return np.minimum(a, b) - near * near * (0.25 / soft)


def common(a, b, soft) -> np.ndarray:
    """What lies in both shapes, the corner rounded over a distance `soft`."""
    return -union(-a, -b, soft)
