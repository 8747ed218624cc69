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

FAR = 1e3  # beyond any picture; clipping to two bounds is several times faster than to one


def check(fields: Iterable[str], known: Iterable[str], resolution: tuple[int, int] | None = None) -> None:
    """Raises InputError where a world is asked for a field or a resolution that it does not have."""
    table = dict.fromkeys(known)
    for field in fields:
        choose(field, table, "field (config.data.options.fields)")
    if resolution is not None and (len(resolution) != 2 or min(resolution) < 4):
        raise InputError(f"resolution must be (height, width) of at least 4 pixels, got {tuple(resolution)}")


def uniform(seed: int, indices: np.ndarray, *names: str) -> np.ndarray:
    """Uniform numbers in [0, 1), a pure function of (seed, index, name), independent between any two triples.

    indices: integers [n]; result float64 [len(names), n]. The counter goes through two rounds of the SplitMix64
    finaliser (Steele, Lea, Flood 2014); the name, hashed, selects the stream, so that a new attribute leaves all
    others as they were.
    """
    names = np.array([[zlib.crc32(name.encode())] for name in names], np.uint64)
    stream = _mix(_mix(np.array([[seed % 2**64]], np.uint64)) + names)
    bits = _mix(_mix(np.asarray(indices).astype(np.uint64) + stream) ^ stream)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(seed: int, indices: np.ndarray, *names: str) -> np.ndarray:
    """Standard normal numbers (float64 [len(names), n]) by Box and Muller, from two of the streams of `uniform`."""
    radius = np.sqrt(-2.0 * np.log1p(-uniform(seed, indices, *(f"{name}/radius" for name in names))))
    return radius * np.cos(2.0 * np.pi * uniform(seed, indices, *(f"{name}/angle" for name in names)))


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

    def place(self, x, y):
        """Picture coordinates (x, y) of a point given in this frame."""
        return (
            self.x + self.scale * (self.cos * x - self.sin * y),
            self.y + self.scale * (self.sin * x + self.cos * y),
        )

    def at(self, x, y, angle=0.0) -> "Frame":
        """A frame of the same scale with its origin at (x, y) of this one, turned clockwise by angle radians."""
        cos, sin = cos_sin(angle)
        origin = self.place(x, y)
        return Frame(*origin, self.cos * cos - self.sin * sin, self.sin * cos + self.cos * sin, self.scale)


def frame(x: np.ndarray, y: np.ndarray, angle: np.ndarray, scale: np.ndarray) -> Frame:
    """The frame with its origin at picture coordinates (x, y), turned clockwise by angle radians; all [n,1,1]."""
    return Frame(x, y, *cos_sin(angle), scale)


def cos_sin(angle):
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

    def paint(self, shape, pixel, colour, shade=None, edge=None, width=0.03, alpha=None, label=None) -> np.ndarray:
        """Paints the inside of a shape and returns its coverage [n,H,W].

        shape: signed distance [n,H,W] in a frame's units; pixel: the pixel size in the same; colour: [3,n,1,1] or
        [3,n,H,W]; shade: (another colour, its share [n,H,W]), for light and shadow; edge: colour of a contour of
        that width along the inside of the border; alpha: opacity; label: of the segmentation.
        """
        cover = coverage(shape, pixel)
        inner = None if edge is None else coverage(shape + width, pixel)
        if alpha is not None:
            cover *= alpha
            inner = None if inner is None else inner * alpha
        for channel, plane in enumerate(self.planes):
            fill = colour[channel] if shade is None else blend(colour[channel], shade[0][channel], shade[1])
            border = fill if edge is None else edge[channel]
            change = border - plane
            change *= cover
            plane += change
            if inner is not None:
                plane += inner * (fill - border)
        if label is not None and self.labels is not None:
            self.labels[cover >= 0.5] = label
        return cover

    def part(self, frame: Frame, box: tuple, who: np.ndarray) -> Iterator["Sheet"]:
        """Yields once the window of those pictures (`who`: their numbers) around box = (left, top, right, bottom)
        of their frames, and puts what was painted on it back; nothing where the window is empty."""
        if not who.size:
            return
        left, top, right, bottom = box
        x, y = frame.place(
            np.array([left, right, left, right], np.float32), np.array([top, top, bottom, bottom], np.float32)
        )
        rows, columns = _span(self.y.ravel(), y, self.pixel), _span(self.x.ravel(), x, self.pixel)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        where = (slice(None) if who.size == self.planes.shape[1] else who, rows, columns)
        planes = np.ascontiguousarray(self.planes[:, *where])  # a copy: painting on it is faster than on a view
        labels = None if self.labels is None else self.labels[where].copy()
        yield Sheet(planes, labels, self.x[..., columns], self.y[:, rows], self.pixel)
        self.planes[:, *where] = planes
        if labels is not None:
            self.labels[where] = labels


def _span(centres: np.ndarray, corners: np.ndarray, pixel: float) -> slice:
    """The pixels between the outermost corners, and one more on either side."""
    low, high = np.searchsorted(centres, [corners.min() - pixel, corners.max() + pixel])
    return slice(int(low), int(high))


def sheet(count: int, resolution: tuple[int, int], labels: bool) -> Sheet:
    """A black sheet of `count` pictures."""
    height, width = resolution
    pixel = 2.0 / min(height, width)
    x = ((np.arange(width) + 0.5 - width / 2) * pixel).astype(np.float32)[None, None, :]
    y = ((np.arange(height) + 0.5 - height / 2) * pixel).astype(np.float32)[None, :, None]
    planes = np.zeros((3, count, height, width), np.float32)
    return Sheet(planes, np.zeros(planes.shape[1:], np.uint8) if labels else None, x, y, pixel)


def in_chunks(
    render: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]],
    attributes: dict[str, np.ndarray],
    resolution: tuple[int, int],
) -> dict[str, np.ndarray]:
    """`render(attributes)` computed a few pictures at a time, so that the memory it takes stays bounded.

    attributes and result: {name: array with one leading axis of pictures}.
    """
    step = max(1, PIXELS_AT_ONCE // (resolution[0] * resolution[1]))
    count = len(next(iter(attributes.values())))
    found = None
    for start in range(0, max(1, count), step):
        piece = render({name: values[start : start + step] for name, values in attributes.items()})
        if found is None:
            found = {k: np.empty((count, *v.shape[1:]), v.dtype) for k, v in piece.items()}
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


def blend(a, b, share):
    """a where share is 0, b where it is 1."""
    return a + (b - a) * share


# Signed distances. x, y: coordinates [n,H,W]; all else in the same units, numbers or [n,1,1]; result [n,H,W].


def coverage(shape: np.ndarray, pixel) -> np.ndarray:
    """Share of a pixel, 0 to 1, inside a border at that signed distance from its centre (a straight one)."""
    cover = shape * (-1 / pixel)
    cover += 0.5
    return np.clip(cover, 0, 1, out=cover)


def ramp(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below low, 1 above high, smooth (cubic) between: soft light and shade."""
    t = value * (1.0 / (high - low))
    t -= low / (high - low)
    np.clip(t, 0, 1, out=t)
    return t * t * (3 - 2 * t)


def fold(value: np.ndarray, period: float) -> np.ndarray:
    """Repeats [-period / 2, period / 2] along the axis: what is drawn there is drawn once per period."""
    return value - period * np.rint(value * (1.0 / period))


def when(condition: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """The shape in those pictures where the condition [n,1,1] holds, nothing in the others."""
    return shape + np.where(condition, np.float32(0), np.float32(FAR))


def length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squares = x * x
    squares += y * y
    return np.sqrt(squares, out=squares)


def circle(x, y, radius) -> np.ndarray:
    return length(x, y) - radius


def ellipse(x, y, a, b) -> np.ndarray:
    """Half axes a, b; to first order in the distance from the border."""
    x, y = x * (1 / a), y * (1 / b)
    x *= x
    y *= y
    level = x + y
    level -= 1
    x *= 4 / (a * a)
    y *= 4 / (b * b)
    x += y
    x += 1e-6  # the middle is inside, not undefined
    level /= np.sqrt(x, out=x)
    return level


def box(x, y, half_width, half_height, radius=0.0) -> np.ndarray:
    """A rectangle with corners rounded by that radius."""
    x, y = np.abs(x), np.abs(y)
    x -= half_width - radius
    y -= half_height - radius
    inside = np.maximum(x, y)
    np.clip(inside, -FAR, 0, out=inside)
    inside += length(np.clip(x, 0, FAR, out=x), np.clip(y, 0, FAR, out=y))
    inside -= radius
    return inside


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


def several(shape: Callable[..., np.ndarray], x, y, *points) -> np.ndarray:
    """One shape at many places, united: shape(x, y) drawn about every point (px, py), numbers or [n,1,1]."""
    across, down = (np.array(values, np.float32) for values in zip(*points, strict=True))
    across, down = (v.reshape(len(v), *(v.shape[1:] or (1, 1, 1))) for v in (across, down))
    return shape(x - across, y - down).min(0)


def polygon(x, y, points) -> np.ndarray:
    """The inside, by even and odd crossings, of the closed line through the points; exact."""
    start = np.array(list(points), np.float32).T[:, :, None, None, None]  # [2, edges, 1, 1, 1]
    end = np.roll(start, -1, axis=1)
    nearest = segment(x[None], y[None], start, end).min(0)
    (ax, ay), (bx, by) = start, end
    rise = np.where(ay == by, 1, by - ay)  # a level edge crosses nothing
    crossings = ((y < ay) != (y < by)) & (x < (bx - ax) / rise * (y - ay) + ax)
    return np.where(np.logical_xor.reduce(crossings, axis=0), -nearest, nearest)


def union(a, b, soft) -> np.ndarray:
    """Both shapes, the notch between them filled smoothly over a distance `soft`."""
    near = np.abs(a - b)
    np.clip(np.subtract(soft, near, out=near), 0, FAR, out=near)
    near *= near
    near *= 0.25 / soft
    return np.subtract(np.minimum(a, b), near, out=near)


def common(a, b, soft) -> np.ndarray:
    """What lies in both shapes, the corner rounded over a distance `soft`."""
    return -union(-a, -b, soft)
