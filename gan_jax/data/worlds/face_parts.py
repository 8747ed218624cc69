"""The parts of a cartoon face as painters, each `part(sheet, face)`, listed from back to front in PARTS.

`face` is a structured array [n,1,1] with one field per attribute of `face_attributes`. The head's frame has its
origin in the middle of the head, its top at y = -1 and the chin at y = 1. Features lie on a ball, which `turned` turns
by yaw and pitch: that is all the third dimension there is, and it is enough to make a head look round.
"""

import numpy as np

from gan_jax.data.worlds import draw
from gan_jax.data.worlds import face_attributes as attributes

LABELS = ("background", "skin", "hair", "eyes", "mouth", "glasses", "hat", "clothes")
SKIN, HAIR, EYES, MOUTH, GLASSES, HAT, CLOTHES = range(1, len(LABELS))

WHITE, INK, ROSE, GOLD, LIP, TEETH, TONGUE = (
    colour[:, None, None, None]
    for colour in draw.palette("ffffff", "2a2430", "f0566a", "f3c13a", "7a2430", "fffaf2", "ee6f7c").T
)
NECK = 0.92  # below the middle of the head: the point about which it tilts
SKULL = np.array([0.78, 0.85, 0.81, 0.82], np.float32)  # by face shape: half the width of the skull,
JAW = np.array([0.60, 0.74, 0.71, 0.44], np.float32)  # of the jaw,
ROUNDING = np.array([0.56, 0.72, 0.42, 0.42], np.float32)  # and the radius of its corners


# Geometry


def body(face) -> draw.Frame:
    """Frame of neck and shoulders: origin where the head is joined, one unit as long as in the head's frame."""
    x, y = face["shift_x"], face["shift_y"] + 0.56
    return draw.frame(x, y, 0 * x, face["scale"])


def head(face) -> draw.Frame:
    zero = 0 * face["roll"]
    return body(face).at(zero, zero, face["roll"]).at(zero, zero - NECK)


def turned(face, x, y, depth=1.0):
    """Where the point (x, y) of a face seen from the front comes to lie, and by how much it becomes narrower."""
    cos, sin = draw.cos_sin(face["yaw"])
    out = np.sqrt(np.maximum(0.92 - x * x - 0.3 * y * y, 0.15)) * depth
    narrower = np.clip(cos - sin * x / out, 0.55, 1.1)
    return x * cos + out * sin, y * face["face_height"] + face["pitch"] * out, narrower


def eye(face, side):
    """Centre of an eye (side -1: on the picture's left) and by how much it is narrower than from the front."""
    return turned(face, side * face["eye_distance"], np.float32(0.02))


def mouth(face):
    return turned(face, 0 * face["yaw"], np.float32(0.52))


def nose(face):
    return turned(face, 0 * face["yaw"], np.float32(0.22), 1.2)


def ear(face, side):
    """Its centre; it moves against the face, and the far one disappears behind the head."""
    width = SKULL[face["face_shape"]] * face["face_width"]
    _, sin = draw.cos_sin(face["yaw"])
    return side * (width + 0.03) - 0.22 * sin, 0.10 - 0.5 * face["pitch"]


def back(face):
    """How far what is behind the head moves against the face."""
    return -0.25 * draw.cos_sin(face["yaw"])[1]


def skull(face, x, y, top=0.0, side=0.0):
    """The upper head as an ellipse, wider by `side` and higher by `top` for hair and hats."""
    width, height = SKULL[face["face_shape"]] * face["face_width"], face["face_height"]
    return draw.ellipse(x, y + 0.16, width + side, 0.84 * height + top)


def outline(face, x, y):
    """The head: a skull and a rounded jaw, melted into each other."""
    width, shape, height = face["face_width"], face["face_shape"], face["face_height"]
    middle = 0.16 * draw.cos_sin(face["yaw"])[1]
    jaw = draw.box(x - middle, y - 0.36 * height, JAW[shape] * width, 0.64 * height, ROUNDING[shape] * 0.98)
    return draw.union(skull(face, x, y), jaw, 0.35)


# Colours, [3,n,1,1]


def skin(face):
    return attributes.SKIN_PAINTS[:, face["skin"]]


def shade(face, strength=1.0):
    """Skin in the shadow, and the lines of the face."""
    return skin(face) * (1 - strength * np.array([0.20, 0.32, 0.36], np.float32)[:, None, None, None])


def hair_colour(face):
    return attributes.HAIR_PAINTS[:, face["hair_colour"]]


def clothes_colour(face):
    return attributes.PAINTS[:, face["clothes_colour"]]


def hat_colour(face):
    return attributes.PAINTS[:, face["hat_colour"]]


def dark(colour, share=0.28):
    return colour * (1 - share)


def light(colour, share=0.25):
    return draw.blend(colour, WHITE, share)


# Behind the head


def background(sheet, face):
    colour, pattern = attributes.BACKGROUND_PAINTS[:, face["background"]], face["pattern"]
    tone = 0.10 - 0.10 * sheet.y + np.where(pattern == 1, 0.22 - 0.30 * sheet.y, 0)
    x, y = sheet.x + 0 * sheet.y, sheet.y + 0 * sheet.x
    halo = draw.circle(x - 0.4 * face["shift_x"], y - 0.02, 0.80)
    stripes = 0.1 - np.abs((x + y) % 0.4 - 0.2)
    dots = draw.circle((x + y) % 0.36 - 0.18, (x - y) % 0.36 - 0.18, 0.08)
    figure = np.where(pattern == 2, halo, np.where(pattern == 3, stripes, np.where(pattern == 4, dots, 1.0)))
    tone = tone + 0.24 * draw.coverage(figure, sheet.pixel)
    sheet.planes[...] = np.where(tone > 0, draw.blend(colour, WHITE, tone), colour * (1 + tone))


def clothes(sheet, face):
    x, y, pixel = sheet.locate(body(face))
    shoulders = draw.union(draw.box(x, y - 1.75, 1.12, 1.45, 0.5), draw.ellipse(x, y - 0.45, 0.55, 0.3), 0.35)
    colour = clothes_colour(face)
    style = face["clothes"]
    striped = draw.coverage(0.07 - np.abs((y - 0.06) % 0.28 - 0.14), pixel) * (style == 5)
    tone = draw.blend(colour, np.where(face["clothes_colour"] == 8, dark(colour), light(colour, 0.7)), striped)
    shadow = draw.ramp(np.abs(x) - 0.2 * y, 0.5, 1.3)
    sheet.paint(shoulders, pixel, tone * (1 - 0.22 * shadow), dark(colour), label=CLOTHES)


def hood(sheet, face):
    x, y, pixel = sheet.locate(body(face))
    colour = clothes_colour(face)
    sheet.paint(draw.ellipse(x, y - 0.12, 0.70, 0.42), pixel, dark(colour, 0.12), dark(colour), label=CLOTHES)
    sheet.paint(draw.ellipse(x, y - 0.02, 0.46, 0.30), pixel, dark(colour, 0.4), label=CLOTHES)


def neck(sheet, face):
    x, y, pixel = sheet.locate(body(face))
    throat = draw.box(x, y - 0.0, 0.30, 0.55, 0.1)
    style = face["clothes"]
    collar = draw.ellipse(x, y - 0.30, 0.40, 0.24)
    v_neck = draw.common(np.abs(x) * 0.8 + (y - 0.62) * 0.6, 0.18 - y, 0.05)
    open_neck = np.where((style == 1) | (style == 2), v_neck, np.where(style == 3, 1.0, collar))
    rim = clothes_colour(face)
    sheet.paint(open_neck - 0.06, pixel, dark(rim, 0.16), dark(rim), alpha=np.float32(1) * (style != 4), label=CLOTHES)
    shape = draw.union(throat, open_neck, 0.12)
    sheet.paint(shape, pixel, skin(face), shade(face), label=SKIN)
    chin = draw.ellipse(x - 0.10 * face["yaw"], y + 0.05, 0.5, 0.32)
    sheet.paint(np.maximum(shape, chin), pixel, shade(face), alpha=0.75 * (1 - draw.ramp(chin, -0.15, 0.0)))


def collar(sheet, face):
    """Of a shirt (points and buttons), turtleneck or hoodie (strings)."""
    x, y, pixel = sheet.locate(body(face))
    style, colour = face["clothes"], clothes_colour(face)
    side = np.abs(x)
    points = draw.polygon(side, y, [(0.26, 0.02), (0.44, 0.22), (0.30, 0.56), (0.04, 0.50)]) - 0.02
    roll = draw.box(x, y - 0.16, 0.36, 0.20, 0.12)
    strings = draw.segment(side, y, (0.2, 0.38), (0.22, 0.75)) - np.maximum(0.03, 0.4 * pixel)
    shape = np.where(style == 2, points, np.where(style == 3, roll, strings))
    sheet.paint(shape, pixel, light(colour, np.where(style == 3, 0.08, 0.35)), dark(colour), label=CLOTHES)
    buttons = draw.circle(x, (y - 0.06) % 0.24 - 0.12, 0.035)
    sheet.paint(np.where(style == 2, np.maximum(buttons, 0.6 - y), 1.0), pixel, light(colour, 0.6), label=CLOTHES)


# The head


def ears(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    for side in (-1, 1):
        along, down = ear(face, side)
        shell = draw.ellipse(x - along, y - down, 0.15, 0.21)
        sheet.paint(shell, pixel, skin(face), shade(face), label=SKIN)
        sheet.paint(draw.ellipse(x - along, y - down, 0.075, 0.12), pixel, shade(face, 0.6))


def earrings(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    for side in (-1, 1):
        along, down = ear(face, side)
        ring = draw.circle(x - along - 0.02 * side, y - down - 0.25, np.maximum(0.065, 0.8 * pixel))
        sheet.paint(ring, pixel, GOLD, dark(GOLD, 0.35))


def face_and_light(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    shape = outline(face, x, y)
    across, down = x - 0.3 * face["yaw"], y
    shadow = draw.ramp(0.75 * across + 0.55 * down, 0.25, 1.15)
    glow = 1 - draw.ramp(draw.length(across + 0.28, down + 0.30), 0.0, 0.85)
    tone = draw.blend(draw.blend(skin(face), shade(face), 0.75 * shadow), WHITE, 0.16 * glow)
    sheet.paint(shape, pixel, tone, shade(face, 1.1), label=SKIN)


def cheeks(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    for side in (-1, 1):
        along, down, narrower = turned(face, side * np.float32(0.46), np.float32(0.36))
        spot = draw.length((x - along) / (0.26 * narrower), (y - down) / 0.2)
        sheet.paint(spot - 1, 1.0, ROSE, alpha=face["blush"] * (1 - draw.ramp(spot, 0.1, 1.0)))


def freckles(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    for along, down in ((-0.56, 0.28), (-0.42, 0.24), (-0.48, 0.36), (0.42, 0.25), (0.57, 0.30), (0.49, 0.37)):
        along, down, _ = turned(face, np.float32(along), np.float32(down))
        sheet.paint(draw.circle(x - along, y - down, 0.026), pixel, shade(face, 1.3), alpha=np.float32(0.8))


def noses(sheet, face):
    along, down, narrower = nose(face)
    size, kind = face["nose_size"], face["nose"]
    x, y, pixel = sheet.locate(head(face).at(along, down))
    half = size * narrower * np.array([0.075, 0.085, 0.145], np.float32)[kind]
    ball = draw.ellipse(x, y + 0.02, half * 1.35, 0.11 * size)
    sheet.paint(ball, pixel, draw.blend(shade(face), ROSE, 0.2), alpha=0.4 * (1 - draw.ramp(ball, -0.06, 0.02)))
    stroke = np.maximum(0.026, 0.42 * pixel)
    tip = draw.bow(x, y - 0.02, half, 0.06 * size) - stroke
    side = np.where(face["yaw"] < 0, -1, 1).astype(np.float32)
    bridge = draw.segment(x * side, y, (0.02, -0.30), (0.085, 0.02)) - stroke
    sheet.paint(np.where(kind == 1, np.minimum(tip, bridge), tip), pixel, shade(face, 1.45))
    sheet.paint(draw.ellipse(x + 0.03, y + 0.05, 0.035, 0.025), pixel, light(skin(face), 0.6), alpha=np.float32(0.6))


# Mouths, in the order of attributes.MOUTHS

SAG = np.array([0.13, 0.04, 0.02, 0.015, 0.09, -0.10, 0.0, 0.12], np.float32)  # of the upper line, of the whole if closed
DROP = np.array([0.0, 0.24, 0.36, 0.0, 0.0, 0.0, 0.0, 0.0], np.float32)  # of the lower line, where open
LEAN = np.array([0.0, 0.0, 0.0, 0.0, -0.22, 0.0, 0.0, 0.0], np.float32)
WIDTH = np.array([1.0, 1.08, 1.05, 0.75, 0.85, 0.85, 0.5, 1.0], np.float32)


def mouth_line(face):
    """Frame of the mouth, half its width and the sag of its line."""
    along, down, narrower = mouth(face)
    kind = face["mouth"]
    return head(face).at(along, down, LEAN[kind]), face["mouth_width"] * WIDTH[kind] * narrower, SAG[kind]


def closed_mouth(sheet, face):
    frame, half, sag = mouth_line(face)
    x, y, pixel = sheet.locate(frame)
    tongue = draw.box(x - 0.06, y - sag - 0.06, 0.10, 0.13, 0.095)
    tongue = np.where(face["mouth"] == 7, np.maximum(tongue, sag - y), 1.0)
    sheet.paint(tongue, pixel, TONGUE, dark(TONGUE), label=MOUTH)
    line = draw.bow(x, y, half, sag) - np.maximum(0.034, 0.5 * pixel)
    colour = np.where(face["beard"] == 4, dark(TONGUE, 0.1), draw.blend(shade(face, 1.6), LIP, 0.65))
    sheet.paint(line, pixel, colour, label=MOUTH)
    lip = draw.bow(x, y - np.maximum(sag, 0) - 0.10, 0.35 * half, 0.02) - 0.02
    sheet.paint(lip, pixel, shade(face), alpha=0.6 * (face["mouth"] != 7))


def open_mouth(sheet, face):
    frame, half, sag = mouth_line(face)
    x, y, pixel = sheet.locate(frame)
    drop = DROP[face["mouth"]]
    upper = draw.parabola(x, y - sag, -sag / (half * half))
    lower = draw.parabola(x, y - drop, -drop / (half * half))
    shape = draw.common(lower, -upper, 0.06)
    round_mouth = draw.ellipse(x, y - 0.02, 0.11, 0.15)
    surprised, laughing = face["mouth"] == 6, face["mouth"] == 2
    shape = np.where(surprised, round_mouth, shape)
    sheet.paint(shape - 0.025, pixel, LIP, label=MOUTH)
    tongue = draw.ellipse(x, y - drop - 0.03, 0.62 * half, 0.15)
    inside = np.maximum(shape, np.where(laughing, tongue, 1.0))
    sheet.paint(inside, pixel, TONGUE)
    teeth = np.where(laughing, np.maximum(shape + 0.01, upper - 0.11), shape + 0.01)
    sheet.paint(np.where(surprised, 1.0, teeth), pixel, TEETH)


def beards(sheet, face):
    x, y, pixel = sheet.locate(head(face))
    along, down, narrower = mouth(face)
    x_turned = x - along
    kind = face["beard"]
    jaw = outline(face, x, y) - np.where(kind == 4, 0.05, -0.015).astype(np.float32)
    line = -draw.parabola(x_turned, y - down + 0.16, np.float32(-0.55))
    full = draw.common(jaw, line, 0.12)
    chin = draw.ellipse(x_turned * 1.0, y - down - 0.36, 0.26, 0.20)
    shape = np.where(kind == 2, 1.0, np.where(kind == 3, chin, full))
    colour = draw.blend(hair_colour(face), INK, 0.1)
    alpha = np.where(kind == 1, np.where(face["skin"] > 4, 0.45, 0.28), 1.0).astype(np.float32)
    tone = draw.blend(colour, dark(colour), draw.ramp(x + y, 0.4, 1.4))
    sheet.paint(shape, pixel, np.where(kind == 1, INK, tone), alpha=alpha, label=HAIR)
    lobe = draw.bow(np.abs(x_turned) - 0.14 * narrower, y - down + 0.135, 0.13 * narrower, np.float32(-0.03))
    lobe = np.where(kind == 1, 1.0, lobe - 0.075)
    sheet.paint(lobe, pixel, colour, dark(colour), label=HAIR)


# Eyes


def eyes(sheet, face):
    for side in (-1, 1):
        along, down, narrower = eye(face, side)
        frame = head(face).at(along, down, side * np.float32(0.06))
        x, y, pixel = sheet.locate(frame)
        size, kind = face["eye_size"], face["eyes"]
        half = size * narrower * np.array([0.92, 1.12, 1.02, 1.0], np.float32)[kind]
        high = size * np.array([1.0, 0.78, 0.95, 1.0], np.float32)[kind]
        white = draw.ellipse(x, y, half, high)
        lid = np.where(kind == 2, -0.05 * size - y, -1.0).astype(np.float32)
        white_open = np.maximum(white, lid)
        sheet.paint(white - 0.02, pixel, shade(face, 0.9))
        sheet.paint(white_open, pixel, draw.blend(WHITE, INK, 0.16 * (1 - draw.ramp(y + high, 0, 0.16))), label=EYES)
        _iris(sheet, face, frame, white_open)
        lash = np.maximum(np.abs(white + 0.01) - np.maximum(0.03, 0.4 * pixel), y + 0.35 * high)
        lash = np.where(kind == 2, np.maximum(np.abs(y + 0.05 * size) - 0.03, white - 0.02), lash)
        sheet.paint(lash, pixel, INK)


def _iris(sheet, face, frame, white):
    size = face["eye_size"]
    look = frame.at(0.32 * size * (0.7 * face["gaze"] + 1.1 * face["yaw"]), 0.25 * size * face["pitch"] + 0.02 * size)
    x, y, pixel = sheet.locate(look)
    colour = attributes.EYE_PAINTS[:, face["eye_colour"]]
    ball = draw.circle(x, y, 0.66 * size)
    tone = draw.blend(dark(colour, 0.25), light(colour, 0.25), draw.ramp(y, -0.10, 0.14))
    sheet.paint(np.maximum(ball, white), pixel, tone, dark(colour, 0.5), 0.025)
    sheet.paint(np.maximum(draw.circle(x, y, 0.34 * size), white), pixel, INK)
    sheet.paint(draw.circle(x + 0.24 * size, y + 0.26 * size, 0.20 * size), pixel, WHITE)
    sheet.paint(draw.circle(x - 0.26 * size, y - 0.28 * size, 0.10 * size), pixel, WHITE, alpha=np.float32(0.7))


def closed_eyes(sheet, face):
    for side in (-1, 1):
        along, down, narrower = eye(face, side)
        x, y, pixel = sheet.locate(head(face).at(along, down + 0.04))
        line = draw.bow(x, y, 0.19 * narrower, np.float32(-0.12)) - np.maximum(0.035, 0.5 * pixel)
        sheet.paint(line, pixel, INK, label=EYES)


def brows(sheet, face):
    colour = np.where(face["hair"] == 0, draw.blend(hair_colour(face), INK, 0.35), dark(hair_colour(face), 0.3))
    thick = np.array([0.042, 0.040, 0.066, 0.028], np.float32)[face["brows"]]
    sag = np.array([-0.015, -0.075, -0.04, -0.05], np.float32)[face["brows"]]
    for side in (-1, 1):
        along, down, narrower = eye(face, side)
        raised = down - face["eye_size"] - 0.15
        frame = head(face).at(along + 0.02 * side, raised, side * face["brow_tilt"])
        x, y, pixel = sheet.locate(frame)
        stroke = np.maximum(thick, 0.45 * pixel)
        sheet.paint(draw.bow(x, y, 0.19 * narrower, sag) - stroke, pixel, colour, label=HAIR)


def glasses(sheet, face):
    kind = face["glasses"]
    rim = attributes.FRAME_PAINTS[:, face["glasses_colour"]]
    frame = head(face)
    left, right = (eye(face, side) for side in (-1, 1))
    x, y, pixel = sheet.locate(frame)
    width = np.maximum(0.034, 0.42 * pixel)
    bridge = draw.segment(x, y, (left[0], left[1]), (right[0], right[1])) - width
    gap = [np.abs(x - e[0]) - 0.20 * e[2] for e in (left, right)]
    sheet.paint(np.maximum(bridge, -np.minimum(*gap)), pixel, rim, label=GLASSES)
    for side, (along, down, narrower) in ((-1, left), (1, right)):
        reach, height = ear(face, side)
        arm = draw.segment(x, y, (along + 0.26 * side * narrower, down), (reach, height - 0.08)) - width
        sheet.paint(np.maximum(arm, outline(face, x, y)), pixel, rim, label=GLASSES)
    for side, (along, down, narrower) in ((-1, left), (1, right)):
        x, y, pixel = sheet.locate(frame.at(along + 0.01 * side, down + 0.015))
        half = 0.295 * narrower
        lens = np.where(kind == 1, draw.ellipse(x, y, half, 0.285), draw.box(x, y, half, 0.235, 0.10))
        lens = np.where(kind == 3, draw.union(draw.box(x, y + 0.04, half, 0.19, 0.08), draw.ellipse(x, y - 0.05, half * 0.95, 0.22), 0.05), lens)
        tint = np.where(kind == 3, draw.blend(INK, WHITE, draw.ramp(y, -0.2, 0.9) * 0.5), WHITE)
        sheet.paint(lens, pixel, tint, alpha=np.where(kind == 3, 0.94, 0.14).astype(np.float32))
        shine = np.maximum(np.abs(x + 0.7 * y + 0.06) - 0.035, lens + 0.06)
        sheet.paint(shine, pixel, WHITE, alpha=np.float32(0.45))
        sheet.paint(np.abs(lens) - width, pixel, rim, label=GLASSES)
        dark_lens = np.where(kind == 3, lens, 1.0)
        if sheet.labels is not None:
            sheet.labels[dark_lens < 0] = GLASSES
