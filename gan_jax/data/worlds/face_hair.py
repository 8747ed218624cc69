"""Hair and hats of cartoon faces, as painters: `part(sheet, face)`, some with a side (-1: left)."""

import numpy as np

from gan_jax.data.worlds import draw
from gan_jax.data.worlds.face_attributes import HAIR as STYLES
from gan_jax.data.worlds.face_geometry import (
    GOLD,
    HAIR,
    HAT,
    INK,
    back,
    clothes_colour,
    dark,
    hair_colour,
    has,
    hat_colour,
    head,
    light,
    skin,
    skull,
)  # fmt: skip

# How hair lies on the skull, by style: by how much it is higher and wider; then the hairline y = line + bend x^2 +
# drop x^4, measured from x = part.
LIE = {  # top   side   line  bend  drop  part
    "bald": (0.00, 0.00, 0.00, 0.00, 0.0, 0.00),
    "buzz cut": (0.03, 0.02, -0.56, 0.60, 0.4, 0.00),
    "short": (0.17, 0.07, -0.54, 0.38, 0.3, 0.24),
    "fringe": (0.16, 0.09, -0.34, 0.10, 0.5, 0.00),
    "spiky": (0.10, 0.05, -0.55, 0.30, 0.9, 0.00),
    "mohawk": (0.03, 0.02, -0.56, 0.50, 0.5, 0.00),
    "curly": (0.10, 0.08, -0.48, 0.30, 0.8, 0.00),
    "afro": (0.10, 0.10, -0.50, 0.40, 0.8, 0.00),
    "bob": (0.17, 0.14, -0.36, 0.05, 0.9, 0.00),
    "long": (0.16, 0.12, -0.70, 0.50, 1.8, 0.12),
    "bun": (0.09, 0.05, -0.62, 0.60, 0.4, 0.00),
    "ponytail": (0.10, 0.06, -0.56, 0.45, 0.5, -0.28),
    "pigtails": (0.11, 0.06, -0.62, 0.50, 0.8, 0.00),
}
_LIE_TABLE = np.array([LIE[style] for style in STYLES], np.float32).T


def lie(face):
    """The columns of LIE for each face; a hat presses the hair down."""
    top, *others = (column[face["hair"]] for column in _LIE_TABLE)
    return np.where(has(face, "hat", "none"), top, np.minimum(top, 0.03)), *others


def volume(face, x, y):
    """Outline of long hair and of a bob around the head."""
    long = has(face, "hair", "long").astype(np.float32)
    middle, high, radius = 0.50 * long - 0.10, 0.98 + 0.50 * long, 0.66 + 0.19 * long
    return draw.box(x - 0.6 * back(face), y - middle, face["width"] + 0.20 + 0.02 * long, high, radius)


def discs(x, y, points, radius):
    return draw.several(lambda x, y: draw.circle(x, y, radius), x, y, *points)


def on_arc(first, last, count, width, height, middle):
    """Points on an ellipse between two angles in degrees, clockwise from the right."""
    angles = np.deg2rad(np.linspace(first, last, count))
    return [(float(width * np.cos(a)), float(middle + height * np.sin(a))) for a in angles]


def under_hat(face, y, shape):
    """What would stand out above a hat is hidden by it."""
    return np.where(has(face, "hat", "none"), shape, draw.common(shape, -0.45 - y, 0.4))


# Behind the head


def hair_behind(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    colour = dark(hair_colour(face), 0.16)
    shape = under_hat(face, y, volume(face, x, y))
    sheet.paint(shape, pixel, colour, (dark(colour), draw.ramp(y, 0.0, 1.2)), edge=dark(colour), label=HAIR)


def afro(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    x = x - 0.5 * back(face)
    edge = discs(x, y, on_arc(125, 415, 13, 0.98, 0.92, -0.28), 0.27)
    shape = under_hat(face, y, np.minimum(draw.ellipse(x, y + 0.28, 1.02, 0.96), edge))
    colour = hair_colour(face)
    shadow = (dark(colour), draw.ramp(x + y, -0.6, 1.4))
    sheet.paint(shape, pixel, colour, shadow, edge=dark(colour, 0.4), label=HAIR)


def bun(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    x, colour = x - back(face), hair_colour(face)
    sheet.paint(draw.circle(x, y + 1.20, 0.33), pixel, dark(colour, 0.08), edge=dark(colour, 0.4), label=HAIR)
    shine = draw.bow(x + 0.06, y + 1.32, 0.14, np.float32(-0.06)) - 0.03
    sheet.paint(shine, pixel, light(colour, 0.4), alpha=np.float32(0.6))
    band = draw.bow(x, y + 0.96, 0.2, np.float32(0.03)) - 0.05
    sheet.paint(band, pixel, clothes_colour(face), label=HAIR)


def tail(sheet, face, side):
    """A pigtail; a ponytail hangs from higher up."""
    colour, tie = hair_colour(face), clothes_colour(face)
    high = np.where(has(face, "hair", "pigtails"), np.float32(-0.12), np.float32(-0.47))
    root = head(face).at(side * (face["width"] + 0.05) + back(face), high, np.float32(-0.30 * side))
    x, y, pixel = sheet.locate(root)
    shape = draw.union(
        draw.ellipse(x - 0.08 * side, y - 0.48, 0.25, 0.52), draw.ellipse(x - 0.16 * side, y - 0.80, 0.14, 0.34), 0.2
    )
    shadow = (dark(colour), draw.ramp(side * x, -0.2, 0.4))
    sheet.paint(shape, pixel, colour, shadow, edge=dark(colour, 0.4), label=HAIR)
    sheet.paint(draw.ellipse(x, y - 0.02, 0.13, 0.10), pixel, tie, edge=dark(tie), label=HAIR)


# Before the head


def lying(face, x, y):
    """What of the skull is covered by hair."""
    top, side, line, bend, drop, part = lie(face)
    away = x - (part + 0.55 * face["yaw_sin"])
    square = away * away
    below = y - (line + 0.5 * face["pitch"]) - (bend + drop * square) * square
    return draw.common(skull(face, x, y, top, side), below / np.sqrt(1 + (4 * bend * bend) * square), 0.05)


def hair_on_top(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    cropped = has(face, "hair", "buzz cut", "mohawk")
    colour = np.where(cropped, draw.blend(hair_colour(face), skin(face), 0.4), hair_colour(face))
    seamless = cropped | has(face, "hair", "curly", "afro")
    edge = dark(colour, np.where(seamless, np.float32(0.02), np.float32(0.35)))
    sheet.paint(lying(face, x, y), pixel, colour, (dark(colour), draw.ramp(x + 0.5 * y, 0.0, 1.0)), edge, label=HAIR)


def hair_around(sheet, face):
    """Long hair and bobs, which frame the face on both sides."""
    x, y, pixel = sheet.locate(head(face))
    colour = hair_colour(face)
    locks = draw.common(volume(face, x, y), 0.84 * face["width"] - np.abs(x - 0.28 * face["yaw_sin"]), 0.15)
    shape = draw.union(lying(face, x, y), draw.common(locks, -0.4 - y, 0.4), 0.12)
    shadow = (dark(colour), draw.ramp(x + 0.5 * y, 0.0, 1.0))
    sheet.paint(shape, pixel, colour, shadow, edge=dark(colour, 0.35), label=HAIR)


def gloss(sheet, face):
    """A streak of light on smooth hair."""
    x, y, pixel = sheet.locate(head(face))
    top, side, *_ = lie(face)
    streak = np.abs(skull(face, x, y, top - 0.15, side - 0.17)) - 0.045
    glow = 0.55 * (1 - draw.ramp(draw.length(x + 0.30, y + 0.78), 0.15, 0.50))
    sheet.paint(streak, pixel, light(hair_colour(face), 0.5), alpha=glow)


def curls(sheet, face):
    """Discs of hair around the head and over the forehead, under a hat if there is one; arcs of light on them."""
    x, y, pixel = sheet.locate(head(face))
    colour, sway = hair_colour(face), 0.3 * back(face)
    around = discs(x - sway, y, on_arc(175, 365, 9, 0.84, 0.84, -0.18), 0.25)
    front = discs(x - 0.5 * face["yaw"], y, on_arc(200, 340, 5, 0.58, 0.30, -0.45), 0.21)
    shadow = (dark(colour), draw.ramp(x + 0.5 * y, 0.0, 1.0))
    sheet.paint(under_hat(face, y, np.minimum(around, front)), pixel, colour, shadow, dark(colour, 0.35), label=HAIR)
    arcs = on_arc(210, 330, 5, 0.62, 0.66, -0.30)
    lit = draw.several(lambda x, y: draw.bow(x, y, np.float32(0.10), np.float32(-0.08)), x - sway, y, *arcs) - 0.02
    sheet.paint(under_hat(face, y, lit), pixel, light(colour, 0.3), alpha=np.float32(0.6))


SPIKES = (
    (-0.86, -0.40), (-1.08, -0.62), (-0.86, -0.74), (-0.98, -1.02), (-0.66, -0.95), (-0.60, -1.32), (-0.32, -1.10),
    (-0.12, -1.46), (0.10, -1.14), (0.38, -1.38), (0.50, -1.02), (0.82, -1.12), (0.78, -0.80), (1.06, -0.68),
    (0.86, -0.40), (0.0, -0.62),
)  # fmt: skip
CREST = (
    (-0.20, -0.60), (-0.30, -0.90), (-0.42, -1.22), (-0.24, -1.24), (-0.20, -1.50), (-0.06, -1.36), (0.04, -1.60),
    (0.13, -1.36), (0.30, -1.46), (0.28, -1.20), (0.44, -1.16), (0.30, -0.86), (0.20, -0.60), (0.0, -0.52),
)  # fmt: skip


def spikes(sheet, face):
    """A jagged outline of hair, as wide as the face."""
    x, y, pixel = sheet.locate(head(face))
    colour = hair_colour(face)
    shadow = (dark(colour), draw.ramp(x + 0.5 * y, -0.3, 0.8))
    shape = draw.polygon(x * (0.8 / face["width"]), y, SPIKES) - 0.03
    sheet.paint(shape, pixel, colour, shadow, edge=dark(colour, 0.35), label=HAIR)


def crest(sheet, face):
    """Of a mohawk."""
    x, y, pixel = sheet.locate(head(face))
    x, colour = x - 0.35 * face["yaw"], hair_colour(face)
    shadow = (dark(colour), draw.ramp(x, -0.2, 0.4))
    sheet.paint(draw.polygon(x, y, CREST) - 0.03, pixel, light(colour, 0.1), shadow, edge=dark(colour, 0.4), label=HAIR)


# Hats


def beanie(sheet, face):
    """A bobble, a ribbed dome, and a fold whose edge is above the brows."""
    x, y, pixel = sheet.locate(head(face))
    colour, wide = hat_colour(face), face["width"] + 0.11
    shadow = (dark(colour, 0.22), draw.ramp(x + 0.4 * y, -0.5, 0.8))
    sheet.paint(draw.circle(x, y + 1.34, 0.20), pixel, light(colour, 0.5), edge=dark(colour, 0.2), label=HAT)
    dome = np.maximum(draw.ellipse(x, y + 0.45, wide, 0.78), y + 0.45)
    sheet.paint(dome, pixel, light(colour, 0.12), shadow, edge=dark(colour, 0.35), label=HAT)
    fold = draw.box(x, y + 0.50, wide + 0.04, 0.15, 0.12)
    sheet.paint(fold, pixel, light(colour, 0.28), shadow, edge=dark(colour, 0.35), label=HAT)
    ribs = np.abs(draw.fold(x - 0.5 * face["yaw"], 0.22)) - 0.022
    sheet.paint(np.maximum(ribs, fold + 0.04), pixel, dark(colour, 0.2), alpha=np.float32(0.6))


def cap(sheet, face):
    """A button, a dome with seams, and a visor that turns with the head."""
    x, y, pixel = sheet.locate(head(face))
    colour, front = hat_colour(face), 0.75 * face["yaw_sin"]
    shadow = (dark(colour, 0.22), draw.ramp(x + 0.4 * y, -0.5, 0.8))
    dome = np.maximum(draw.ellipse(x, y + 0.48, face["width"] + 0.09, 0.72), y + 0.42)
    sheet.paint(draw.ellipse(x - 0.3 * front, y + 1.20, 0.09, 0.06), pixel, dark(colour), label=HAT)
    sheet.paint(dome, pixel, light(colour, 0.15), shadow, edge=dark(colour, 0.35), label=HAT)
    spread = draw.ramp(y, -1.25, -0.5) * 0.5
    seams = np.abs(np.abs(x - 0.3 * front) - spread) - 0.012
    sheet.paint(np.maximum(seams, dome + 0.03), pixel, dark(colour), alpha=np.float32(0.6))
    visor = draw.ellipse(x - front, y + 0.44, 0.70, 0.15)
    sheet.paint(visor, pixel, dark(colour, 0.14), edge=dark(colour, 0.42), label=HAT)


def top_hat(sheet, face):
    """A tube of felt with a band in the colour of the hat, and its brim."""
    x, y, pixel = sheet.locate(head(face))
    band = hat_colour(face)
    felt = draw.blend(INK, band, 0.16)
    shine = (light(felt, 0.22), 1 - draw.ramp(np.abs(x + 0.25), 0.05, 0.35))
    tube = draw.box(x, y + 1.10, 0.62, 0.52, 0.05) - 0.06 * (y + 1.1) * (y + 1.1)
    sheet.paint(tube, pixel, felt, shine, edge=dark(felt, 0.4), label=HAT)
    sheet.paint(np.maximum(tube, np.abs(y + 0.78) - 0.11), pixel, band, label=HAT)
    sheet.paint(draw.ellipse(x, y + 0.60, 1.02, 0.13), pixel, felt, shine, edge=dark(felt, 0.4), label=HAT)


def party_hat(sheet, face):
    """A tilted cone of paper with slanting bands, and a golden bobble on its tip."""
    x, y, pixel = sheet.locate(head(face).at(np.float32(0.0), np.float32(-0.92), np.float32(0.12)))
    colour = hat_colour(face)
    bands = draw.coverage(0.07 - np.abs(draw.fold(y + 0.45 * x, 0.30)), pixel)
    paper = draw.blend(
        colour, np.where(has(face, "hat_colour", "white"), dark(colour, 0.12), light(colour, 0.75)), bands
    )
    cone = draw.polygon(x, y, [(-0.48, 0.12), (-0.25, 0.18), (0.25, 0.18), (0.48, 0.12), (0.0, -0.80)]) - 0.02
    shadow = (dark(colour), 0.6 * draw.ramp(x, -0.1, 0.4))
    sheet.paint(cone, pixel, paper, shadow, edge=dark(colour, 0.35), label=HAT)
    sheet.paint(draw.circle(x, y + 0.80, 0.15), pixel, GOLD, edge=dark(GOLD), label=HAT)


def crown(sheet, face):
    """Three points of gold with pearls on them; its stones have the colour of the hat."""
    x, y, pixel = sheet.locate(head(face))
    jewel = hat_colour(face)
    right = [(0.70, -0.62), (0.80, -1.24), (0.40, -0.94)]
    shape = draw.polygon(x, y, [(0.0, -0.56), *right, (0.0, -1.36), *((-px, py) for px, py in reversed(right))]) - 0.02
    shadow = (dark(GOLD, 0.2), draw.ramp(x, -0.6, 0.8))
    sheet.paint(shape, pixel, light(GOLD, 0.3), shadow, edge=dark(GOLD, 0.4), label=HAT)
    stones = discs(x - 0.3 * face["yaw"], y, ((0.0, -0.74), (-0.42, -0.76), (0.42, -0.76)), 0.09)
    sheet.paint(stones, pixel, jewel, edge=dark(jewel, 0.35), label=HAT)
    pearls = discs(x, y, ((-0.80, -1.26), (0.0, -1.38), (0.80, -1.26)), 0.09)
    sheet.paint(pearls, pixel, light(GOLD, 0.3), edge=dark(GOLD, 0.35), label=HAT)
