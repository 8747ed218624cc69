"""Coloured shapes on soft backgrounds: classes, segmentation, edges and captions, all exact.

The smallest world with everything a conditional GAN may ask for: a label (cGAN, AC-GAN), factors of variation
(InfoGAN), a second domain that is aligned with the first (`edges`, pix2pix) or not (two sets of classes by `only`,
CycleGAN and DiscoGAN) and a sentence (StackGAN).
"""

import dataclasses
from typing import ClassVar

import numpy as np

from gan_jax.data.worlds import draw
from gan_jax.errors import choose

COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink")
PAINTS = draw.palette("e0403f", "f28a30", "f6c93b", "53a955", "29a3a3", "3f74d6", "8355c2", "ec79ae")
BACKGROUNDS = ("cream", "pale pink", "peach", "mint", "pale blue", "lavender", "grey", "midnight")
PAPERS = draw.palette("f7efdc", "f9dfe3", "fbdcc4", "d5efdf", "d3e6f7", "e2dcf5", "d9dde2", "2f3c5a")
PLACES = (
    ("in the upper left", "at the top", "in the upper right"),
    ("on the left", "in the centre", "on the right"),
    ("in the lower left", "at the bottom", "in the lower right"),
)
FIELDS = ("image", "label", "colour", "centre", "radius", "angle", "background", "mask", "edges", "caption")

ROOT = 0.5**0.5


def _corners(count: int, first: float = -90.0, inner: float | None = None) -> list[tuple[float, float]]:
    """A regular polygon on the unit circle, or with `inner` a star of that inner radius; angles in degrees."""
    steps = count if inner is None else 2 * count
    angles = np.deg2rad(first + 360.0 / steps * np.arange(steps))
    radii = np.where(np.arange(steps) % 2 == 0, 1.0, 1.0 if inner is None else inner)
    return list(zip(radii * np.cos(angles), radii * np.sin(angles), strict=True))


def _rounded(points, size: float, radius: float = 0.12):
    """A shape: the polygon grown to `size`, with its corners rounded."""
    points = [(x * (size - radius), y * (size - radius)) for x, y in points]
    return lambda x, y: draw.polygon(x, y, points) - radius


def _heart(x, y, side=0.86):
    """A square standing on its tip at (0, 0.98), and a disc on each of its upper sides."""
    x, middle = np.abs(x), y - (0.98 - side)
    square = draw.box((middle + x) * ROOT, (middle - x) * ROOT, side * ROOT, side * ROOT)
    return np.minimum(square, draw.circle(x - side / 2, middle + side / 2, side * ROOT))


def _crescent(x, y, radius=0.94, bite=0.77, gap=0.45):
    """A disc without another, whose middle lies `gap` away to the upper right: two arcs that meet in two tips."""
    along, across = 0.92 * x - 0.392 * y, np.abs(0.392 * x + 0.92 * y)
    tip = (radius**2 - bite**2 + gap**2) / (2 * gap)
    rise = (radius**2 - tip**2) ** 0.5
    outer, inner = draw.circle(along, across, radius), draw.circle(along - gap, across, bite)
    to_outer = np.where(tip * across > rise * along, np.abs(outer), draw.FAR)  # where the nearest point is on its arc
    to_inner = np.where((tip - gap) * across > rise * (along - gap), np.abs(inner), draw.FAR)
    distance = np.minimum(np.minimum(to_outer, to_inner), draw.length(along - tip, across - rise))
    return np.where((outer < 0) & (inner > 0), -distance, distance) - 0.03


_CROSS = [(0.36, -1), (0.36, -0.36), (1, -0.36), (1, 0.36), (0.36, 0.36), (0.36, 1)]
SHAPES = {  # signed distance to a shape of radius about 1: (x, y) [n,H,W] -> [n,H,W]
    "circle": lambda x, y: draw.circle(x, y, 0.9),
    "ring": lambda x, y: np.abs(draw.circle(x, y, 0.7)) - 0.24,
    "square": _rounded(_corners(4, 45.0), 1.14),
    "triangle": _rounded([(x, y + 0.16) for x, y in _corners(3)], 1.16),
    "diamond": _rounded([(0.66, 0), (0, 1), (-0.66, 0), (0, -1)], 1.1),
    "hexagon": _rounded(_corners(6, 0.0), 1.0),
    "star": _rounded([(x, y + 0.05) for x, y in _corners(5, inner=0.46)], 1.14),
    "cross": _rounded(_CROSS + [(-x, -y) for x, y in _CROSS], 0.95),
    "heart": _heart,
    "crescent": _crescent,
}
CLASSES = tuple(SHAPES)


@dataclasses.dataclass(frozen=True)
class Shapes:
    """One shape in a picture; record i is a pure function of (seed, i).

    only, colours, backgrounds: names of CLASSES, COLOURS, BACKGROUNDS to draw; () draws all. Two worlds of one seed and
    other classes hold the same colours and places, two of other seeds are unpaired. Fields: `image` uint8 [n,H,W,3];
    `label` int32 [n] in `classes`; `colour` int32 [n] in COLOURS; `background` int32 [n] in BACKGROUNDS; `centre`
    float32 [n,2], (y, x) in [0,1]; `radius` float32 [n], of the shorter side; `angle` float32 [n], radians clockwise;
    `mask` uint8 [n,H,W], 0 for the background, else 1 + label; `edges` uint8 [n,H,W,1], the contour drawn dark on
    white; `caption` [n], text.
    InputError: unknown class, colour, background or field, resolution below 4.
    """

    resolution: tuple[int, int] = (32, 32)
    seed: int = 0
    size: int = 100_000
    fields: tuple[str, ...] = ("image",)
    only: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    backgrounds: tuple[str, ...] = ()
    domain: ClassVar[str] = "image"
    channels: ClassVar[int] = 3

    def __post_init__(self):
        draw.check(self.fields, FIELDS, self.resolution)
        for option, known in (("only", CLASSES), ("colours", COLOURS), ("backgrounds", BACKGROUNDS)):
            for name in getattr(self, option):
                choose(name, dict.fromkeys(known), f"name for shapes (config.data.options.{option})")

    def __len__(self) -> int:
        return self.size

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.only) or CLASSES

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The records of those indices: {field: array with a leading axis as long as indices}."""
        found = self._attributes(np.asarray(indices, np.int64))
        if {"image", "mask", "edges"} & set(self.fields):
            found |= draw.in_chunks(lambda some: render(some, self.resolution, self.classes), found, self.resolution)
        if "caption" in self.fields:
            found["caption"] = _captions(found, self.classes)
        return {field: found[field] for field in self.fields}

    def _attributes(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        names = ("shape", "colour", "background", "radius", "angle", "y", "x", "tint/red", "tint/green", "tint/blue")
        drawn = dict(zip(names, draw.uniform(self.seed, indices, *names), strict=True))

        def pick(name, known, chosen=()):
            places = np.array([known.index(one) for one in chosen or known], np.int32)
            return places[(drawn[name] * len(places)).astype(np.int32)]

        radius = 0.16 + 0.16 * drawn["radius"]
        room = 0.94 - 2 * radius  # the shape and its shadow stay inside the picture
        centre = 0.5 + room * (np.stack([drawn["y"], drawn["x"]]) - 0.5)
        tint = 0.12 * (np.stack([drawn["tint/red"], drawn["tint/green"], drawn["tint/blue"]]) - 0.5)
        return {
            "label": pick("shape", self.classes),
            "colour": pick("colour", COLOURS, self.colours),
            "background": pick("background", BACKGROUNDS, self.backgrounds),
            "centre": centre.T.astype(np.float32),
            "radius": radius.astype(np.float32),
            "angle": (0.8 * (drawn["angle"] - 0.5)).astype(np.float32),
            "tint": tint.T.astype(np.float32),
        }


def render(attributes: dict[str, np.ndarray], resolution: tuple[int, int], classes=CLASSES) -> dict[str, np.ndarray]:
    """Draws `image`, `mask` and `edges` of shapes with those attributes (fields of Shapes; `tint` [n,3] is added to
    the colour), so that a shape may be moved or repainted."""
    label, height, width = attributes["label"], *resolution
    sheet = draw.sheet(len(label), resolution, labels=False)
    y, x = ((attributes["centre"] - 0.5).T * np.array([[height], [width]], np.float32)) * sheet.pixel
    angle, scale = attributes["angle"][:, None, None], 2 * attributes["radius"][:, None, None]
    frame = draw.frame(x[:, None, None], y[:, None, None], angle, scale)
    shape, pixel = _distance(sheet, frame, label, classes)
    lower = frame._replace(x=frame.x + 0.03, y=frame.y + 0.05)
    shadow = 1 - draw.ramp(_distance(sheet, lower, label, classes)[0], -0.1, 0.25)

    paint = PAINTS[:, attributes["colour"], None, None] + attributes["tint"].T[..., None, None]
    paper = PAPERS[:, attributes["background"], None, None]
    across, down, _ = sheet.locate(draw.frame(frame.x, frame.y, 0 * angle, scale))
    light = np.clip(0.5 - 0.3 * across - 0.4 * down, 0, 1)  # from the upper left
    sheet.planes[...] = draw.blend(paper * 0.9, paper + 0.04, 0.5 - 0.5 * sheet.y)
    sheet.planes[...] *= 1 - 0.22 * shadow
    colour = draw.blend(paint * 0.82, draw.blend(paint, 1.0, 0.18), light)
    cover = sheet.paint(shape, pixel, colour)
    line = np.abs(shape) - np.maximum(0.02 / frame.scale, 0.6 * pixel)  # a line is never much thinner than a pixel
    return {
        "image": draw.to_bytes(sheet.planes),
        "mask": np.where(cover >= 0.5, label[:, None, None] + 1, 0).astype(np.uint8),
        "edges": draw.to_bytes(1 - 0.85 * draw.coverage(line, pixel)[None]),
    }


def _distance(sheet: draw.Sheet, frame: draw.Frame, label: np.ndarray, classes) -> tuple[np.ndarray, np.ndarray]:
    x, y, pixel = sheet.locate(frame)
    distance = np.empty_like(x)
    for number, name in enumerate(classes):
        who = label == number
        if who.any():
            distance[who] = SHAPES[name](x[who], y[who])
    return distance, pixel


def _captions(found: dict[str, np.ndarray], classes: tuple[str, ...]) -> np.ndarray:
    """ "a small red star on a pale blue background in the upper left"; string type for all records."""
    size = np.array(["small", "medium", "large"])[np.digitize(found["radius"], [0.21, 0.27])]
    third = np.digitize(found["centre"], [0.44, 0.56])
    place = np.array(PLACES)[third[:, 0], third[:, 1]]
    colour, name = np.array(COLOURS)[found["colour"]], np.array(classes)[found["label"]]
    paper = np.array(BACKGROUNDS)[found["background"]]
    caption = np.array("a ")
    for words in (size, " ", colour, " ", name, " on a ", paper, " background ", place):
        caption = np.char.add(caption, words)
    return caption
