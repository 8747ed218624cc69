"""Hair and hats: painters as in `face_parts`, for what grows and sits on a head."""

import numpy as np

from gan_jax.data.worlds import draw
from gan_jax.data.worlds.face_attributes import HAIR as STYLES
from gan_jax.data.worlds.face_parts import (
    GOLD,
    HAIR,
    HAT,
    INK,
    SKULL,
    back,
    clothes_colour,
    dark,
    hair_colour,
    hat_colour,
    head,
    light,
    skin,
    skull,
)

BALD, BUZZ, SHORT, FRINGE, SPIKY, MOHAWK, CURLY, AFRO, BOB, LONG, BUN, PONYTAIL, PIGTAILS = range(len(STYLES))
BEANIE, CAP, TOP_HAT, PARTY_HAT, CROWN = range(1, 6)

# How hair lies on the skull, by style: by how much it is higher and wider; then the hairline y = line + bend x^2 +
# drop x^4, measured from x = part.
LIE = np.array(
    [
        #  top   side   line  bend  drop  part
        (0.00, 0.00, -9.00, 0.00, 0.0, 0.00),  # bald
        (0.03, 0.02, -0.56, 0.60, 0.4, 0.00),  # buzz cut
        (0.17, 0.07, -0.54, 0.35, 0.5, 0.30),  # short
        (0.16, 0.09, -0.34, 0.10, 0.5, 0.00),  # fringe
        (0.10, 0.05, -0.55, 0.30, 0.9, 0.00),  # spiky
        (0.03, 0.02, -0.56, 0.50, 0.5, 0.00),  # mohawk
        (0.10, 0.08, -0.48, 0.30, 0.8, 0.00),  # curly
        (0.10, 0.10, -0.50, 0.40, 0.8, 0.00),  # afro
        (0.17, 0.14, -0.36, 0.05, 0.9, 0.00),  # bob
        (0.16, 0.12, -0.68, 0.60, 2.2, 0.12),  # long
        (0.09, 0.05, -0.62, 0.60, 0.4, 0.00),  # bun
        (0.10, 0.06, -0.56, 0.45, 0.5, -0.28),  # ponytail
        (0.11, 0.06, -0.62, 0.50, 0.8, 0.00),  # pigtails
    ],
    np.float32,
).T


def volume(face, x, y):
    """Outline of long hair and of a bob around the head."""
    width = SKULL[face["face_shape"]] * face["face_width"]
    long = face["hair"] == LONG
    x = x - 0.6 * back(face)
    bob = draw.box(x, y + 0.10, width + 0.20, 0.98, 0.66)
    curtain = draw.box(x, y - 0.40, width + 0.22, 1.48, 0.85)
    return np.where(long, curtain, bob)


def discs(x, y, points, radius):
    """Many discs of one radius, united: curls."""
    nearest = np.float32(np.inf)
    for px, py in points:
        nearest = np.minimum(nearest, (x - px) * (x - px) + (y - py) * (y - py))
    return np.sqrt(nearest) - radius


def on_arc(first, last, count, width, height, middle):
    """Points on an ellipse between two angles in degrees, clockwise from the right."""
    angles = np.deg2rad(np.linspace(first, last, count))
    return [(float(width * np.cos(a)), float(middle + height * np.sin(a))) for a in angles]


def under_hat(face, y, shape):
    """Hair that would stand out above a hat is pressed down."""
    return np.where(face["hat"] > 0, np.maximum(shape, -0.45 - y), shape)


# Behind the head


def hair_behind(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    colour = dark(hair_colour(face), 0.16)
    shape = under_hat(face, y, volume(face, x, y))
    sheet.paint(shape, pixel, draw.blend(colour, dark(colour), draw.ramp(y, 0.0, 1.2)), dark(colour), label=HAIR)


def afro(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    x = x - 0.5 * back(face)
    curls = discs(x, y, on_arc(125, 415, 13, 0.98, 0.92, -0.28), 0.27)
    shape = under_hat(face, y, np.minimum(draw.ellipse(x, y + 0.28, 1.02, 0.96), curls))
    colour = hair_colour(face)
    sheet.paint(shape, pixel, draw.blend(colour, dark(colour), draw.ramp(x + y, -0.6, 1.4)), dark(colour, 0.4), label=HAIR)


def bun(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    colour = hair_colour(face)
    sheet.paint(draw.circle(x - back(face), y + 1.20, 0.33), pixel, dark(colour, 0.08), dark(colour, 0.4), label=HAIR)
    shine = draw.bow(x - back(face) + 0.06, y + 1.32, 0.14, np.float32(-0.06)) - 0.03
    sheet.paint(shine, pixel, light(colour, 0.4), alpha=np.float32(0.6))
    band = draw.bow(x - back(face), y + 0.96, 0.2, np.float32(0.03)) - 0.05
    sheet.paint(band, pixel, clothes_colour(face), label=HAIR)


def tails(sheet, face):
    """A ponytail on one side, pigtails on both."""
    colour = hair_colour(face)
    width = SKULL[face["face_shape"]] * face["face_width"]
    for side in (-1, 1):
        there = (face["hair"] == PIGTAILS) | (side == 1)
        high = np.where(face["hair"] == PIGTAILS, 0.0, -0.35).astype(np.float32)
        root = head(face).at(side * (width + 0.05) + back(face), high - 0.12, np.float32(-0.30 * side))
        x, y, pixel = sheet.locate(root)
        tail = draw.ellipse(x - 0.08 * side, y - 0.48, 0.25, 0.52)
        tip = draw.ellipse(x - 0.16 * side, y - 0.80, 0.14, 0.34)
        shape = np.where(there, draw.union(tail, tip, 0.2), 1.0)
        tone = draw.blend(colour, dark(colour), draw.ramp(side * x, -0.2, 0.4))
        sheet.paint(shape, pixel, tone, dark(colour, 0.4), label=HAIR)
        tie = np.where(there, draw.ellipse(x, y - 0.02, 0.13, 0.10), 1.0)
        sheet.paint(tie, pixel, clothes_colour(face), dark(clothes_colour(face)), label=HAIR)


# Before the head


def hair_on_top(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    style = face["hair"]
    top, side, line, bend, drop, part = (column[style] for column in LIE)
    top = np.where(face["hat"] > 0, np.minimum(top, 0.03), top)
    middle = 0.55 * draw.cos_sin(face["yaw"])[1]
    away = x - middle - part
    square = away * away
    hairline = (y - line - face["pitch"] * 0.5 - (bend + drop * square) * square) / np.sqrt(1 + (2 * bend * away) ** 2)
    cap = draw.common(skull(face, x, y, top, side), hairline, 0.05)
    width = SKULL[face["face_shape"]] * face["face_width"]
    locks = draw.common(volume(face, x, y), 0.80 * width - np.abs(x - 0.5 * middle), 0.15)
    locks = np.where((style == BOB) | (style == LONG), np.maximum(locks, -0.4 - y), 1.0)
    shape = draw.union(cap, locks, 0.12)
    cropped = (style == BUZZ) | (style == MOHAWK)
    colour = np.where(cropped, draw.blend(hair_colour(face), skin(face), 0.35), hair_colour(face))
    tone = draw.blend(colour, dark(colour), draw.ramp(x + 0.5 * y, 0.0, 1.0))
    sheet.paint(shape, pixel, tone, dark(colour, 0.35), label=HAIR)
    gloss = np.abs(skull(face, x, y, top - 0.15, side - 0.17)) - 0.045
    glow = (1 - draw.ramp(draw.length(x + 0.30, y + 0.78), 0.15, 0.50)) * np.where(cropped, 0.0, 0.55).astype(np.float32)
    sheet.paint(np.maximum(gloss, shape + 0.05), pixel, light(colour, 0.5), alpha=glow)


def curls(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    colour = hair_colour(face)
    around = discs(x - 0.3 * back(face), y, on_arc(175, 365, 9, 0.84, 0.84, -0.18), 0.25)
    front = discs(x - 0.5 * face["yaw"], y, on_arc(200, 340, 5, 0.58, 0.30, -0.45), 0.21)
    shape = under_hat(face, y, np.minimum(around, front))
    tone = draw.blend(colour, dark(colour), draw.ramp(x + 0.5 * y, 0.0, 1.0))
    sheet.paint(shape, pixel, tone, dark(colour, 0.35), label=HAIR)
    for px, py in on_arc(210, 330, 5, 0.62, 0.66, -0.30):
        curl = draw.bow(x - px - 0.3 * back(face), y - py, np.float32(0.10), np.float32(-0.08)) - 0.02
        sheet.paint(under_hat(face, y, curl), pixel, light(colour, 0.3), alpha=np.float32(0.6))


def spikes(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    colour = hair_colour(face)
    width = 0.88 * face["face_width"]
    ends = [(-1.08, -0.62), (-0.98, -1.02), (-0.60, -1.32), (-0.12, -1.46), (0.38, -1.38), (0.82, -1.12), (1.06, -0.68)]
    dents = [(-0.86, -0.74), (-0.66, -0.95), (-0.32, -1.10), (0.10, -1.14), (0.50, -1.02), (0.78, -0.80)]
    crest = [p for pair in zip(ends, [*dents, (0.86, -0.40)], strict=True) for p in pair]
    shape = draw.polygon(x / width * 0.88, y, [(-0.86, -0.40), *crest, (0.0, -0.62)]) - 0.03
    tone = draw.blend(colour, dark(colour), draw.ramp(x + 0.5 * y, -0.3, 0.8))
    sheet.paint(shape, pixel, tone, dark(colour, 0.35), label=HAIR)


def crest(sheet, face):
    """Of a mohawk."""
    x, y, pixel = sheet.locate(head(face))
    colour = hair_colour(face)
    points = [(-0.20, -0.62), (-0.30, -1.05), (-0.26, -1.42), (-0.10, -1.28), (0.0, -1.56), (0.10, -1.28), (0.26, -1.42),
              (0.30, -1.05), (0.20, -0.62), (0.0, -0.54)]  # fmt: skip
    shape = draw.polygon(x - 0.35 * face["yaw"], y, points) - 0.03
    tone = draw.blend(light(colour, 0.1), dark(colour), draw.ramp(x, -0.2, 0.4))
    sheet.paint(shape, pixel, tone, dark(colour, 0.4), label=HAIR)


# Hats


def beanie(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    colour = hat_colour(face)
    wide = SKULL[face["face_shape"]] * face["face_width"] + 0.11
    tone = draw.blend(light(colour, 0.12), dark(colour, 0.22), draw.ramp(x + 0.4 * y, -0.5, 0.8))
    sheet.paint(draw.circle(x, y + 1.34, 0.20), pixel, light(colour, 0.5), dark(colour, 0.2), label=HAT)
    dome = np.maximum(draw.ellipse(x, y + 0.45, wide, 0.78), y + 0.45)
    sheet.paint(dome, pixel, tone, dark(colour, 0.35), label=HAT)
    ribs = np.abs((x - 0.5 * face["yaw"]) % 0.22 - 0.11) - 0.022
    fold = draw.box(x, y + 0.50, wide + 0.04, 0.15, 0.12)
    sheet.paint(fold, pixel, light(tone, 0.14), dark(colour, 0.35), label=HAT)
    sheet.paint(np.maximum(ribs, fold + 0.04), pixel, dark(colour, 0.2), alpha=np.float32(0.6))


def cap(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    colour = hat_colour(face)
    wide = SKULL[face["face_shape"]] * face["face_width"] + 0.09
    front = 0.75 * draw.cos_sin(face["yaw"])[1]
    dome = np.maximum(draw.ellipse(x, y + 0.48, wide, 0.72), y + 0.42)
    tone = draw.blend(light(colour, 0.15), dark(colour, 0.22), draw.ramp(x + 0.4 * y, -0.5, 0.8))
    sheet.paint(draw.ellipse(x - 0.3 * front, y + 1.20, 0.09, 0.06), pixel, dark(colour), label=HAT)
    sheet.paint(dome, pixel, tone, dark(colour, 0.35), label=HAT)
    for bend in (-0.32, 0.32):
        seam = np.abs(x - 0.3 * front - bend * (1.0 - (y + 1.2) * (y + 1.2) * -0.4) * draw.ramp(y, -1.25, -0.5)) - 0.012
        sheet.paint(np.maximum(seam, dome + 0.03), pixel, dark(colour), alpha=np.float32(0.6))
    visor = draw.ellipse(x - front, y + 0.44, 0.70, 0.15)
    sheet.paint(visor, pixel, dark(colour, 0.14), dark(colour, 0.42), label=HAT)


def top_hat(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    band = hat_colour(face)
    felt = draw.blend(INK, band, 0.16)
    tone = draw.blend(light(felt, 0.22), felt, draw.ramp(np.abs(x + 0.25), 0.05, 0.35))
    flare = 0.06 * (y + 1.1) * (y + 1.1)
    tube = draw.box(x, y + 1.10, 0.62, 0.52, 0.05) - flare
    sheet.paint(tube, pixel, tone, dark(felt, 0.4), label=HAT)
    sheet.paint(np.maximum(tube, np.abs(y + 0.78) - 0.11), pixel, band, label=HAT)
    brim = draw.ellipse(x, y + 0.60, 1.02, 0.13)
    sheet.paint(brim, pixel, tone, dark(felt, 0.4), label=HAT)


def party_hat(sheet, face):
    x, y, pixel = sheet.locate(head(face).at(np.float32(0.0), np.float32(-0.92), np.float32(0.12)))
    colour = hat_colour(face)
    cone = draw.polygon(x, y, [(-0.48, 0.12), (-0.25, 0.18), (0.0, 0.20), (0.25, 0.18), (0.48, 0.12), (0.0, -0.80)]) - 0.02
    bands = draw.coverage(0.07 - np.abs((y + 0.45 * x) % 0.30 - 0.15), pixel)
    tone = draw.blend(colour, light(colour, 0.75), bands) * (1 - 0.22 * draw.ramp(x, -0.1, 0.4))
    sheet.paint(cone, pixel, tone, dark(colour, 0.35), label=HAT)
    sheet.paint(draw.circle(x, y + 0.80, 0.15), pixel, GOLD, dark(GOLD), label=HAT)


def crown(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    middle = 0.3 * face["yaw"]
    points = [(-0.70, -0.62), (0.0, -0.56), (0.70, -0.62), (0.80, -1.24), (0.40, -0.94), (0.0, -1.36), (-0.40, -0.94),
              (-0.80, -1.24)]  # fmt: skip
    shape = draw.polygon(x, y, points) - 0.02
    tone = draw.blend(light(GOLD, 0.3), dark(GOLD, 0.2), draw.ramp(x, -0.6, 0.8))
    sheet.paint(shape, pixel, tone, dark(GOLD, 0.4), label=HAT)
    jewel = hat_colour(face)
    for px, py, radius in ((0.0, -0.74, 0.11), (-0.42, -0.76, 0.08), (0.42, -0.76, 0.08)):
        sheet.paint(draw.circle(x - px - middle, y - py, radius), pixel, jewel, dark(jewel, 0.35), label=HAT)
    for px, py in ((-0.80, -1.26), (0.0, -1.38), (0.80, -1.26)):
        sheet.paint(draw.circle(x - px, y - py, 0.09), pixel, light(GOLD, 0.3), dark(GOLD, 0.35), label=HAT)
