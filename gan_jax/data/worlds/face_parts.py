"""The parts of a cartoon face but hair and hats, as painters: `part(sheet, face)`, some with a side (-1: left)."""

import numpy as np

from gan_jax.data.worlds import draw
from gan_jax.data.worlds.face_attributes import BACKGROUND_PAINTS, FRAME_PAINTS
from gan_jax.data.worlds.face_geometry import (
    CLOTHES,
    EYES,
    GLASSES,
    GOLD,
    HAIR,
    INK,
    LIP,
    MOUTH,
    ROSE,
    SKIN,
    TEETH,
    TONGUE,
    WHITE,
    body,
    brow,
    by,
    clothes_colour,
    dark,
    ear,
    eye,
    eye_colour,
    hair_colour,
    has,
    head,
    light,
    mouth,
    nose,
    outline,
    shaded,
    skin,
    turned,
)  # fmt: skip


def background(sheet, face):
    """The colour of the background on all of the sheet, with a halo, stripes, dots or a gradient; no label."""
    x, y = sheet.x + 0 * sheet.y, sheet.y + 0 * sheet.x
    halo = draw.circle(x - 0.4 * face["shift_x"], y - 0.02, 0.82)
    stripes = 0.1 - np.abs(draw.fold(x + y, 0.4))
    dots = draw.circle(draw.fold(x + y, 0.36), draw.fold(x - y, 0.36), 0.08)
    tone = by(face, "pattern", 0.06, 0.22, 0.06, 0.06, 0.06) * (1 - y)
    for name, shape in (("halo", halo), ("stripes", stripes), ("dots", dots)):
        tone += draw.coverage(shape, sheet.pixel) * (np.float32(0.24) * has(face, "pattern", name))
    for plane, colour in zip(sheet.planes, BACKGROUND_PAINTS[:, face["background"]] * 0.97, strict=True):
        plane[...] = draw.blend(colour, 1, tone)


# Neck and clothes


def clothes(sheet, face):
    """Shoulders and chest; striped for a striped top."""
    x, y, pixel = sheet.locate(body(face))
    shoulders = draw.union(draw.box(x, y - 1.75, 1.12, 1.45, 0.5), draw.ellipse(x, y - 0.45, 0.55, 0.3), 0.35)
    colour = clothes_colour(face)
    white = has(face, "clothes_colour", "white")
    stripes = draw.coverage(0.07 - np.abs(draw.fold(y - 0.06, 0.28)), pixel) * has(face, "clothes", "striped top")
    cloth = draw.blend(colour, np.where(white, dark(colour), light(colour, 0.7)), stripes)
    shadow = (dark(colour), 0.7 * draw.ramp(np.abs(x) - 0.2 * y, 0.5, 1.3))
    sheet.paint(shoulders, pixel, cloth, shadow, edge=dark(colour), label=CLOTHES)


def hood(sheet, face):
    x, y, pixel = sheet.locate(body(face))
    colour = clothes_colour(face)
    sheet.paint(draw.ellipse(x, y - 0.12, 0.70, 0.42), pixel, dark(colour, 0.12), edge=dark(colour), label=CLOTHES)
    sheet.paint(draw.ellipse(x, y - 0.02, 0.46, 0.30), pixel, dark(colour, 0.4), label=CLOTHES)


def neck(sheet, face):
    """The opening of the clothes, pointed or round, and the neck in it."""
    x, y, pixel = sheet.locate(body(face))
    pointed = draw.common(np.abs(x) * 0.8 + (y - 0.62) * 0.6, 0.18 - y, 0.05)
    rounded = draw.when(~has(face, "clothes", "turtleneck"), draw.ellipse(x, y - 0.22, 0.37, 0.21))
    opening = np.where(has(face, "clothes", "v-neck", "shirt"), pointed, rounded)
    rim = clothes_colour(face)
    hem = draw.when(~has(face, "clothes", "hoodie"), opening - 0.06)
    sheet.paint(hem, pixel, dark(rim, 0.16), edge=dark(rim), label=CLOTHES)
    shape = draw.union(draw.box(x, y + 0.10, 0.27, 0.42, 0.1), opening, 0.12)
    chin = draw.ellipse(x - 0.10 * face["yaw"], y + 0.05, 0.5, 0.32)
    shadow = (shaded(face), 0.75 * (1 - draw.ramp(chin, -0.15, 0.0)))
    sheet.paint(shape, pixel, skin(face), shadow, edge=shaded(face), label=SKIN)


def shirt_collar(sheet, face):
    x, y, pixel = sheet.locate(body(face))
    colour = clothes_colour(face)
    points = draw.polygon(np.abs(x), y, [(0.26, 0.02), (0.44, 0.22), (0.30, 0.56), (0.04, 0.50)]) - 0.02
    sheet.paint(points, pixel, light(colour, 0.35), edge=dark(colour), label=CLOTHES)
    buttons = np.maximum(draw.circle(x, draw.fold(y - 0.74, 0.24), 0.035), 0.65 - y)
    sheet.paint(buttons, pixel, light(colour, 0.6), label=CLOTHES)


def turtleneck(sheet, face):
    x, y, pixel = sheet.locate(body(face))
    colour = clothes_colour(face)
    roll = draw.box(x, y - 0.16, 0.36, 0.20, 0.12)
    sheet.paint(roll, pixel, light(colour, 0.08), edge=dark(colour), label=CLOTHES)


def strings(sheet, face):
    x, y, pixel = sheet.locate(body(face))
    line = draw.segment(np.abs(x), y, (0.2, 0.38), (0.22, 0.75)) - np.maximum(0.03, 0.4 * pixel)
    sheet.paint(line, pixel, light(clothes_colour(face), 0.4), label=CLOTHES)


# The head


def ears(sheet, face, side):
    x, y, pixel = sheet.locate(head(face).at(*ear(face, side)))
    sheet.paint(draw.ellipse(x, y, 0.15, 0.21), pixel, skin(face), edge=shaded(face), label=SKIN)
    sheet.paint(draw.ellipse(x, y, 0.075, 0.12), pixel, shaded(face, 0.6))


def earrings(sheet, face, side):
    x, y, pixel = sheet.locate(head(face).at(*ear(face, side)))
    ring = draw.circle(x - 0.02 * side, y - 0.25, np.maximum(0.065, 0.8 * pixel))
    sheet.paint(ring, pixel, GOLD, edge=dark(GOLD, 0.35))


def face_itself(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    lit_to_shadow = draw.ramp(0.75 * x - 0.22 * face["yaw"] + 0.55 * y, -0.75, 1.35)
    edge = shaded(face, 1.1)
    sheet.paint(
        outline(face, x, y), pixel, light(skin(face), 0.16), (shaded(face, 0.85), lit_to_shadow), edge, label=SKIN
    )


def cheeks(sheet, face, side):
    across, down, narrower = turned(face, side * np.float32(0.46), np.float32(0.36))
    x, y, pixel = sheet.locate(head(face).at(across, down))
    spot = draw.length(x * (1 / (0.26 * narrower)), y * (1 / 0.2))
    sheet.paint(
        spot - 1, pixel, draw.blend(ROSE, skin(face), 0.35), alpha=face["blush"] * (1 - draw.ramp(spot, 0.1, 1.0))
    )


def freckles(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    places = ((-0.56, 0.28), (-0.42, 0.24), (-0.48, 0.36), (0.42, 0.25), (0.57, 0.30), (0.49, 0.37))
    places = [turned(face, np.float32(across), np.float32(down))[:2] for across, down in places]
    spots = draw.several(lambda x, y: draw.circle(x, y, 0.026), x, y, *places)
    sheet.paint(spots, pixel, shaded(face, 1.3), alpha=np.float32(0.8))


def noses(sheet, face):
    """The shade of the tip, its outline and a highlight; a long nose has a bridge too."""
    across, down, narrower = nose(face)
    x, y, pixel = sheet.locate(head(face).at(across, down))
    size, half = face["nose_size"], face["nose_size"] * narrower * by(face, "nose", 0.075, 0.085, 0.145)
    ball = draw.ellipse(x, y + 0.02, half * 1.35, 0.11 * size)
    sheet.paint(ball, pixel, draw.blend(shaded(face), ROSE, 0.2), alpha=0.4 * (1 - draw.ramp(ball, -0.06, 0.02)))
    stroke = np.maximum(0.026, 0.42 * pixel)
    tip = draw.bow(x, y - 0.02, half, 0.06 * size) - stroke
    bridge = draw.segment(x * np.where(face["yaw"] < 0, np.float32(-1), np.float32(1)), y, (0.02, -0.30), (0.085, 0.02))
    tip = np.minimum(tip, draw.when(has(face, "nose", "long"), bridge - stroke))
    sheet.paint(tip, pixel, shaded(face, 1.45))
    sheet.paint(draw.ellipse(x + 0.03, y + 0.05, 0.035, 0.025), pixel, light(skin(face), 0.6), alpha=np.float32(0.6))


def closed_mouth(sheet, face):
    """A line that sags or rises, the shade of the lower lip, and a tongue where it is out."""
    frame, half, sag, _ = mouth(face)
    x, y, pixel = sheet.locate(frame)
    out = has(face, "mouth", "tongue")
    tongue = np.maximum(draw.box(x - 0.06, y - sag - 0.06, 0.10, 0.13, 0.095), sag - y)
    sheet.paint(draw.when(out, tongue), pixel, TONGUE, edge=dark(TONGUE), label=MOUTH)
    line = draw.bow(x, y, half, sag) - np.maximum(0.034, 0.5 * pixel)
    lips = draw.blend(shaded(face, 1.6), LIP, 0.65)
    sheet.paint(line, pixel, np.where(has(face, "beard", "full beard"), dark(TONGUE, 0.1), lips), label=MOUTH)
    lower_lip = draw.bow(x, y - np.maximum(sag, 0) - 0.10, 0.35 * half, 0.02) - 0.02
    sheet.paint(draw.when(~out, lower_lip), pixel, shaded(face), alpha=np.float32(0.6))


def open_mouth(sheet, face):
    """Between two parabolas: lips, and teeth above for a laugh, or all teeth."""
    frame, half, sag, drop = mouth(face)
    x, y, pixel = sheet.locate(frame)
    upper = draw.parabola(x, y - sag, -sag / (half * half))
    shape = draw.common(draw.parabola(x, y - drop, -drop / (half * half)), -upper, 0.06)
    laughing = has(face, "mouth", "laugh")
    sheet.paint(shape - 0.025, pixel, LIP, label=MOUTH)
    tongue = draw.when(laughing, draw.ellipse(x, y - drop - 0.03, 0.62 * half, 0.15))
    sheet.paint(np.maximum(shape, tongue), pixel, TONGUE)
    teeth = np.where(laughing, upper - 0.11, -upper)
    sheet.paint(np.maximum(shape + 0.01, teeth), pixel, TEETH)


def round_mouth(sheet, face):
    frame, half, _, _ = mouth(face)
    x, y, pixel = sheet.locate(frame)
    shape = draw.ellipse(x, y, half, 1.3 * half)
    sheet.paint(shape - 0.02, pixel, LIP, label=MOUTH)
    sheet.paint(np.maximum(shape, draw.circle(x, y - 1.25 * half, 0.8 * half)), pixel, TONGUE)


def beards(sheet, face):
    """On the outline of the jaw and around the mouth, in the colour of the hair."""
    x, y, pixel = sheet.locate(head(face))
    across, down, narrower = turned(face, np.float32(0), np.float32(0.52), 0.9)
    from_middle, from_mouth = x - across, y - down
    jaw = outline(face, x, y) - by(face, "beard", 0, -0.015, 0, 0, 0.05)
    full = draw.common(jaw, -draw.parabola(from_middle, from_mouth + 0.16, np.float32(-0.55)), 0.12)
    goatee = draw.ellipse(from_middle, from_mouth - 0.36, 0.26, 0.20)
    shape = np.where(has(face, "beard", "goatee"), goatee, draw.when(~has(face, "beard", "moustache"), full))
    colour, stubble = draw.blend(hair_colour(face), INK, 0.1), has(face, "beard", "stubble")
    alpha = np.where(stubble, 0.36 * (1 - draw.ramp(full, -0.3, 0.0)), np.float32(1))
    shadow = (dark(colour), draw.ramp(x + y, 0.4, 1.4))
    sheet.paint(
        shape,
        pixel,
        np.where(stubble, draw.blend(shaded(face, 1.6), colour, 0.4), colour),
        shadow,
        alpha=alpha,
        label=HAIR,
    )
    lobes = draw.bow(np.abs(from_middle) - 0.14 * narrower, from_mouth + 0.135, 0.13 * narrower, np.float32(-0.03))
    sheet.paint(draw.when(~stubble, lobes - 0.075), pixel, colour, edge=dark(colour), label=HAIR)


# Eyes


def eyes(sheet, face, side):
    """One eye, `side` -1 on the left and 1 on the right of the picture: white, iris and lids."""
    across, down, narrower = eye(face, side)
    frame = head(face).at(across, down, side * np.float32(0.06))
    x, y, pixel = sheet.locate(frame)
    size = face["eye_size"]
    half, high = size * narrower * by(face, "eyes", 0.92, 1.12, 1.02, 1), size * by(face, "eyes", 1, 0.78, 0.95, 1)
    ball = draw.ellipse(x, y, half, high)
    lid = -by(face, "eyes", 9, 9, 0.05, 9) * size - y  # hides what is above it
    seen = np.maximum(ball, lid)
    sheet.paint(ball - 0.02, pixel, shaded(face, 0.5), edge=shaded(face), width=0.02)
    sheet.paint(seen, pixel, WHITE, (INK, 0.16 * (1 - draw.ramp(y + high, 0.0, 0.16))), label=EYES)
    _iris(sheet, face, frame, seen)
    stroke = np.maximum(0.03, 0.4 * pixel)
    rim = np.maximum(np.abs(ball + 0.01) - stroke, y + 0.35 * high)
    sheet.paint(np.where(has(face, "eyes", "sleepy"), np.maximum(np.abs(lid) - stroke, ball), rim), pixel, INK)


def _iris(sheet, face, frame, seen):
    size, colour = face["eye_size"], eye_colour(face)
    look = 0.32 * size * (0.7 * face["gaze"] + 1.1 * face["yaw"])
    x, y, pixel = sheet.locate(frame.at(look, (0.25 * face["pitch"] + 0.02) * size))
    disc = np.maximum(draw.circle(x, y, 0.72 * size), seen)
    sheet.paint(disc, pixel, dark(colour, 0.25), (light(colour), draw.ramp(y, -0.10, 0.14)), dark(colour, 0.5), 0.025)
    pupil = draw.circle(x, y, np.maximum(0.38 * size, 0.7 * pixel))
    sheet.paint(np.maximum(pupil, seen), pixel, INK)
    sheet.paint(draw.circle(x + 0.25 * size, y + 0.28 * size, 0.23 * size), pixel, WHITE)
    sheet.paint(draw.circle(x - 0.26 * size, y - 0.28 * size, 0.10 * size), pixel, WHITE, alpha=np.float32(0.7))


def closed_eyes(sheet, face, side):
    across, down, narrower = eye(face, side)
    x, y, pixel = sheet.locate(head(face).at(across, down + 0.05))
    line = draw.bow(x, y, 0.19 * narrower, np.float32(-0.12)) - np.maximum(0.035, 0.5 * pixel)
    sheet.paint(line, pixel, INK, label=EYES)


def brows(sheet, face, side):
    across, down, narrower = brow(face, side)
    x, y, pixel = sheet.locate(head(face).at(across, down, side * face["brow_tilt"]))
    stroke = np.maximum(by(face, "brows", 0.042, 0.040, 0.066, 0.028), 0.45 * pixel)
    arch = draw.bow(x, y, 0.19 * narrower, by(face, "brows", -0.015, -0.075, -0.04, -0.05))
    sheet.paint(arch - stroke, pixel, dark(hair_colour(face), 0.3), label=HAIR)


def bridge_and_arms(sheet, face):
    """What holds glasses: from eye to eye, and from each to its ear."""
    x, y, pixel = sheet.locate(head(face))
    width = np.maximum(0.034, 0.42 * pixel)
    rim = FRAME_PAINTS[:, face["glasses_colour"]]
    for side in (-1, 1):
        across, down, narrower = eye(face, side)
        reach, height = ear(face, side)
        arm = draw.segment(x, y, (across + 0.26 * side * narrower, down), (reach, height - 0.08)) - width
        sheet.paint(np.maximum(arm, outline(face, x, y)), pixel, rim, label=GLASSES)
        middle, between, _ = turned(face, np.float32(0), np.float32(0.02))
        half = draw.segment(x, y, (across - 0.26 * side * narrower, down), (middle, between)) - width
        sheet.paint(half, pixel, rim, label=GLASSES)


def lenses(sheet, face, side):
    """One glass and its rim, dark for sunglasses, and what is reflected in it."""
    across, down, narrower = eye(face, side)
    x, y, pixel = sheet.locate(head(face).at(across + 0.01 * side, down + 0.015))
    half, sun = 0.295 * narrower, has(face, "glasses", "sunglasses")
    drop = draw.union(draw.box(x, y + 0.04, half, 0.19, 0.08), draw.ellipse(x, y - 0.05, half * 0.95, 0.22), 0.05)
    lens = np.where(
        has(face, "glasses", "round glasses"), draw.ellipse(x, y, half, 0.285), draw.box(x, y, half, 0.235, 0.1)
    )
    lens = np.where(sun, drop, lens)
    tint = (WHITE, np.where(sun, 0.5 * draw.ramp(y, -0.2, 0.9), np.float32(1)))
    sheet.paint(lens, pixel, INK, tint, alpha=by(face, "glasses", 0, 0.1, 0.1, 0.94), label=GLASSES)
    shine = np.maximum(np.abs(x + 0.7 * y + 0.06) - 0.035, lens + 0.06)
    sheet.paint(shine, pixel, WHITE, alpha=by(face, "glasses", 0, 0.25, 0.25, 0.5))
    rim = FRAME_PAINTS[:, face["glasses_colour"]]
    sheet.paint(np.abs(lens) - np.maximum(0.034, 0.42 * pixel), pixel, rim, label=GLASSES)
