"""Where everything in a cartoon face lies, and in which colours.

A painter receives `face`, a structured array [n,1,1] with one field per attribute of `face_attributes` and those of
DERIVED. In the head's frame the top of the skull is at y = -1, the chin at y = 1, the picture's right at positive x.
Features lie on a ball that yaw and pitch turn, ears and hair behind the head move the other way: that is all the
third dimension there is, and it is enough to make a head look round.
"""

import numpy as np

from gan_jax.data.worlds import draw
from gan_jax.data.worlds.face_attributes import ATTRIBUTES, EYE_PAINTS, HAIR_PAINTS, MOUTHS, PAINTS, SKIN_PAINTS

LABELS = ("background", "skin", "hair", "eyes", "mouth", "glasses", "hat", "clothes")  # of the segmentation
SKIN, HAIR, EYES, MOUTH, GLASSES, HAT, CLOTHES = range(1, len(LABELS))
LANDMARKS = (  # left and right as the picture shows them
    "left eye", "right eye", "left brow", "right brow", "left ear", "right ear", "nose", "mouth", "left mouth corner",
    "right mouth corner", "chin", "skull",
)  # fmt: skip
DERIVED = ("body_x", "body_y", "head_x", "head_y", "head_cos", "head_sin", "yaw_cos", "yaw_sin", "width", "height")

WHITE, INK, ROSE, GOLD, LIP, TEETH, TONGUE = (
    colour[:, None, None, None]
    for colour in draw.palette("ffffff", "2a2430", "ee4f62", "f3c13a", "852634", "fffaf2", "ee6f7c").T
)
NECK = 0.92  # below the middle of the head: the point about which it tilts
SKULL = np.array([0.78, 0.85, 0.81, 0.82], np.float32)  # by face shape: half the width of the skull,
JAW = np.array([0.60, 0.74, 0.71, 0.44], np.float32)  # of the jaw,
ROUNDING = np.array([0.55, 0.70, 0.42, 0.42], np.float32)  # and the radius of its corners
MOUTH_SHAPE = dict(  # half width, sag of the upper line, of the lower one where open, clockwise angle
    zip(
        MOUTHS,
        [(1.0, 0.13, 0, 0), (1.08, 0.04, 0.24, 0), (1.05, 0.02, 0.36, 0), (0.75, 0.015, 0, 0), (0.85, 0.09, 0, -0.22),
         (0.85, -0.10, 0, 0), (0.42, 0, 0, 0), (1.0, 0.12, 0, 0)],
        strict=True,
    )
)  # fmt: skip
_MOUTH_TABLE = np.array(list(MOUTH_SHAPE.values()), np.float32).T


def pack(attributes: dict[str, np.ndarray]) -> np.ndarray:
    """The attributes {name: [n]} and what follows from them as one structured array [n,1,1]."""
    kinds = [(name, attributes[name].dtype) for name in ATTRIBUTES] + [(name, np.float32) for name in DERIVED]
    face = np.empty((len(attributes["skin"]), 1, 1), kinds)
    for name in ATTRIBUTES:
        face[name][:, 0, 0] = attributes[name]
    zero = np.zeros_like(face["scale"])
    neck = draw.frame(face["shift_x"], face["shift_y"] + 0.66, zero, face["scale"])
    place = neck.at(zero, zero, face["roll"]).at(zero, zero - NECK)
    yaw = draw.cos_sin(face["yaw"])
    width = SKULL[face["face_shape"]] * face["face_width"]
    for name, value in zip(DERIVED, (*neck[:2], *place[:4], *yaw, width, face["face_height"]), strict=True):
        face[name] = value
    return face


def has(face, name: str, *values: str) -> np.ndarray:
    """Whose attribute is one of those values, bool [n,1,1]."""
    names = ATTRIBUTES[name].names
    found = face[name] == names.index(values[0])
    for value in values[1:]:
        found = found | (face[name] == names.index(value))
    return found


def by(face, name: str, *numbers) -> np.ndarray:
    """A number for each value of a categorical attribute, float32 [n,1,1]."""
    return np.array(numbers, np.float32)[face[name]]


# Frames and places


def body(face) -> draw.Frame:
    """Frame of neck and shoulders: origin where the head is joined, one unit as long as in the head's frame."""
    zero = np.zeros_like(face["scale"])
    return draw.Frame(face["body_x"], face["body_y"], zero + 1, zero, face["scale"])


def head(face) -> draw.Frame:
    return draw.Frame(*(face[name] for name in ("head_x", "head_y", "head_cos", "head_sin", "scale")))


def turned(face, x, y, depth=1.0):
    """Where the point (x, y) of a face seen from the front comes to lie, and by how much it becomes narrower."""
    out = np.sqrt(np.maximum(0.92 - x * x - 0.3 * y * y, 0.15)) * depth
    narrower = np.clip(face["yaw_cos"] - face["yaw_sin"] * x / out, 0.55, 1.1)
    return x * face["yaw_cos"] + out * face["yaw_sin"], y * face["height"] + face["pitch"] * out, narrower


def eye(face, side):
    """Centre of an eye (side -1: on the picture's left) and by how much it is narrower than from the front."""
    return turned(face, side * face["eye_distance"], np.float32(0.02))


def brow(face, side):
    x, y, narrower = eye(face, side)
    return x + 0.02 * side, y - face["eye_size"] - 0.15, narrower


def nose(face):
    return turned(face, np.float32(0), np.float32(0.22), 1.2)


def mouth(face):
    """Frame of the mouth's line, half its width, sag of the upper and of the lower line."""
    x, y, narrower = turned(face, np.float32(0), np.float32(0.52), 0.9)
    share, sag, drop, angle = (row[face["mouth"]] for row in _MOUTH_TABLE)
    return head(face).at(x, y, angle), face["mouth_width"] * share * narrower, sag, drop


def ear(face, side):
    """Its centre; the far one disappears behind the head."""
    return side * (face["width"] + 0.03) - 0.22 * face["yaw_sin"], 0.10 - 0.5 * face["pitch"]


def chin(face):
    return 0.12 * face["yaw_sin"], face["height"]


def back(face):
    """How far what is behind the head moves against the face."""
    return -0.25 * face["yaw_sin"]


def skull(face, x, y, top=0.0, side=0.0):
    """The upper head as an ellipse, wider by `side` and higher by `top` for hair and hats."""
    return draw.ellipse(x, y + 0.16, face["width"] + side, 0.84 * face["height"] + top)


def outline(face, x, y):
    """The head: a skull and a rounded jaw, melted into each other."""
    shape, (middle, bottom) = face["face_shape"], chin(face)
    wide, radius = JAW[shape] * face["face_width"], ROUNDING[shape]
    return draw.union(skull(face, x, y), draw.box(x - middle, y - 0.36 * bottom, wide, 0.64 * bottom, radius), 0.35)


def landmarks(attributes: dict[str, np.ndarray], resolution: tuple[int, int]) -> np.ndarray:
    """The points named in LANDMARKS, float32 [n,k,2], (y, x), the picture being [0,1] x [0,1]."""
    face = pack(attributes)
    lips, half, sag, drop = mouth(face)
    middle = np.where(drop > 0, (sag + drop) / 2, sag)
    zero, frame = np.zeros_like(half), head(face)
    points = [frame.place(*where(face, side)[:2]) for where in (eye, brow, ear) for side in (-1, 1)]
    points += [frame.place(*nose(face)[:2]), lips.place(zero, middle), lips.place(-half, zero), lips.place(half, zero)]
    points += [frame.place(*chin(face)), frame.place(zero, -0.16 - 0.84 * face["height"])]
    height, width = resolution
    shorter = min(resolution) / 2
    return np.stack(
        [np.stack([y * (shorter / height), x * (shorter / width)], -1)[:, 0, 0] + 0.5 for x, y in points], 1
    )


# Colours, [3,n,1,1]


def skin(face):
    return SKIN_PAINTS[:, face["skin"]]


def shaded(face, strength=1.0):
    """Skin in the shadow, and the lines of the face."""
    return skin(face) * (1 - strength * np.array([0.20, 0.32, 0.36], np.float32)[:, None, None, None])


def hair_colour(face):
    return HAIR_PAINTS[:, face["hair_colour"]]


def eye_colour(face):
    return EYE_PAINTS[:, face["eye_colour"]]


def clothes_colour(face):
    return PAINTS[:, face["clothes_colour"]]


def hat_colour(face):
    return PAINTS[:, face["hat_colour"]]


def dark(colour, share=0.28):
    return colour * (1 - share)


def light(colour, share=0.25):
    return draw.blend(colour, WHITE, share)
