"""Worlds seen from two sides, to translate one into the other: `a` and `b` of one record, or of different ones.

What a translation should be is known: of a paired view it stands in `b`; an unpaired one says what must change, and
all other attributes must stay.
"""

import numpy as np

from gan_jax.data.translation import IMAGE, Unpaired, View
from gan_jax.data.worlds import draw
from gan_jax.data.worlds.faces import Faces
from gan_jax.data.worlds.shapes import Shapes

COLOURING = (
    "skin", "hair_colour", "eye_colour", "blush", "freckles", "glasses_colour", "hat_colour", "clothes_colour",
    "background", "pattern",
)  # fmt: skip
MOONLIGHT = np.array([0.32, 0.42, 0.66])  # of red, green and blue, what is left at night
SEGMENTS = draw.palette("1a2b5f", "f2c49b", "7a4a21", "ffffff", "d8434e", "35c4c9", "f0c02b", "4f9d58")  # as in LABELS


def edges_to_shapes(resolution=(32, 32), seed=0, size=100_000, only=(), colours=(), backgrounds=()) -> View:
    """The contour of a shape, and the shape; options as of `Shapes`."""
    drawn = {"only": only, "colours": colours, "backgrounds": backgrounds}
    world = Shapes(resolution, seed, size, fields=("image", "edges"), **drawn)
    return View(world, {"a": lambda found: np.repeat(found["edges"], 3, axis=-1), "b": IMAGE})


def masks_to_faces(resolution=(32, 32), seed=0, size=100_000, alike=()) -> View:
    """The segmentation of a face, a colour for each of its parts, and the face; `alike` as of `Faces`. What a
    segmentation does not tell of a face are its colours: `alike=COLOURING` are the faces of one person, of which it
    tells nearly all."""
    colours = np.round(255 * SEGMENTS.T).astype(np.uint8)
    world = Faces(resolution, seed, size, fields=("image", "mask"), alike=tuple(alike))
    return View(world, {"a": lambda found: colours[found["mask"]], "b": IMAGE})


def red_to_blue(resolution=(32, 32), seed=0, size=100_000, only=(), backgrounds=()) -> Unpaired:
    """Red shapes, and other blue ones: the colour changes, and the shape, its place and the background stay."""
    drawn = {"only": only, "backgrounds": backgrounds}
    return _unpaired(
        Shapes(resolution, seed, size, colours=("red",), **drawn),
        Shapes(resolution, ~seed, size, colours=("blue",), **drawn),
    )


def circles_to_squares(resolution=(32, 32), seed=0, size=100_000, colours=(), backgrounds=()) -> Unpaired:
    """Circles, and other squares: the shape changes, and the colour, its place and the background stay."""
    drawn = {"colours": colours, "backgrounds": backgrounds}
    return _unpaired(
        Shapes(resolution, seed, size, only=("circle",), **drawn),
        Shapes(resolution, ~seed, size, only=("square",), **drawn),
    )


def day_to_night(resolution=(32, 32), seed=0, size=100_000) -> Unpaired:
    """Faces by day, and others at night: the light changes, and the face with all its colours stays what it was."""
    day, other = (Faces(resolution, own, size) for own in (seed, ~seed))
    return Unpaired((View(day, {"a": IMAGE}), View(other, {"b": lambda found: at_night(found["image"])})))


def at_night(images: np.ndarray) -> np.ndarray:
    """What images uint8 [..., 3] look like in moonlight: darker in the middle tones, and blue."""
    return np.round(255 * MOONLIGHT * (images / 255) ** 1.2).astype(np.uint8)


def _unpaired(first: Shapes, second: Shapes) -> Unpaired:
    return Unpaired((View(first, {"a": IMAGE}), View(second, {"b": IMAGE})))
