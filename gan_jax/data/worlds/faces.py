"""Cartoon faces of which everything is known: what the picture shows, where, and in which pose.

Nothing to download, any resolution, as many faces as indices. Because attributes are drawn independently, what a GAN
entangles is its own doing; because landmarks and masks are exact, what it misplaces can be measured; and because
`render` draws any attributes whatever, a face can be made to turn, blink or put on a hat.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import numpy as np

from gan_jax.data.worlds import draw, face_attributes, face_hair, face_parts
from gan_jax.data.worlds.face_attributes import ATTRIBUTES, HAIR
from gan_jax.data.worlds.face_geometry import LABELS, LANDMARKS, body, has, head, landmarks, pack
from gan_jax.errors import choose

__all__ = ["ATTRIBUTES", "FIELDS", "LABELS", "LANDMARKS", "Faces", "landmarks", "render"]

FIELDS = ("image", "label", "landmarks", "mask", "caption", *ATTRIBUTES)


class Part(NamedTuple):
    """What is painted, in the coordinates of which frame, within which box (left, top, right, bottom) of it, and on
    whom: all conditions (attribute, one of these values...) must hold."""

    paint: Callable
    frame: Callable
    box: tuple
    conditions: tuple[tuple[str, ...], ...] = ()


def both_sides(paint, box, *conditions) -> tuple[Part, Part]:
    """A part of the right of the head and its mirror image on the left."""
    inner, top, outer, bottom = box
    left = Part(functools.partial(paint, side=-1), head, (-outer, top, -inner, bottom), conditions)
    return left, Part(functools.partial(paint, side=1), head, box, conditions)


_GLASSES = ("glasses", "round glasses", "square glasses", "sunglasses")
_BEARDS = ("beard", "stubble", "moustache", "goatee", "full beard")
_SLEEK = ("hair", "short", "fringe", "spiky", "bob", "long", "bun", "ponytail", "pigtails")
_ON_TOP = tuple(style for style in ("hair", *HAIR) if style not in ("bald", "bob", "long"))
_CLOSED = ("mouth", "smile", "neutral", "smirk", "frown", "tongue")
_BARE = ("hat", "none")
PARTS = (  # from back to front
    Part(face_parts.clothes, body, (-9, 0.0, 9, 99)),
    Part(face_parts.hood, body, (-0.8, -0.4, 0.8, 0.7), (("clothes", "hoodie"),)),
    Part(face_hair.hair_behind, head, (-1.4, -1.2, 1.4, 2.0), (("hair", "bob", "long"),)),
    Part(face_hair.afro, head, (-1.4, -1.6, 1.4, 0.8), (("hair", "afro"),)),
    Part(face_hair.bun, head, (-0.6, -1.6, 0.6, -0.7), (("hair", "bun"), _BARE)),
    *both_sides(face_hair.tail, (0.4, -0.4, 1.8, 1.2), ("hair", "pigtails")),
    Part(functools.partial(face_hair.tail, side=1), head, (0.4, -0.8, 1.8, 0.9), (("hair", "ponytail"),)),
    Part(face_parts.neck, body, (-0.6, -0.6, 0.6, 0.8)),
    Part(face_parts.shirt_collar, body, (-0.6, -0.1, 0.6, 99), (("clothes", "shirt"),)),
    Part(face_parts.turtleneck, body, (-0.5, -0.2, 0.5, 0.5), (("clothes", "turtleneck"),)),
    Part(face_parts.strings, body, (-0.4, 0.2, 0.4, 0.9), (("clothes", "hoodie"),)),
    *both_sides(face_parts.ears, (0.5, -0.3, 1.3, 0.5)),
    Part(face_parts.face_itself, head, (-1.0, -1.1, 1.0, 1.1)),
    *both_sides(face_parts.cheeks, (-0.1, -0.1, 1.0, 0.8)),
    Part(face_parts.freckles, head, (-0.9, 0.0, 0.9, 0.6), (("freckles", "yes"),)),
    Part(face_parts.beards, head, (-1.0, -0.4, 1.0, 1.2), (_BEARDS,)),
    Part(face_parts.noses, head, (-0.75, -0.3, 0.75, 0.6)),
    Part(face_parts.closed_mouth, head, (-0.8, 0.2, 0.8, 0.95), (_CLOSED,)),
    Part(face_parts.open_mouth, head, (-0.85, 0.3, 0.85, 1.05), (("mouth", "grin", "laugh"),)),
    Part(face_parts.round_mouth, head, (-0.7, 0.2, 0.7, 0.95), (("mouth", "surprise"),)),
    *both_sides(face_parts.eyes, (-0.2, -0.4, 0.9, 0.4), ("eyes", "round", "almond", "sleepy")),
    *both_sides(face_parts.closed_eyes, (-0.2, -0.3, 0.9, 0.3), ("eyes", "closed")),
    *both_sides(face_parts.earrings, (0.5, 0.1, 1.3, 0.7), ("earrings", "yes")),
    Part(face_hair.hair_on_top, head, (-1.1, -1.25, 1.1, 0.75), (_ON_TOP,)),
    Part(face_hair.hair_around, head, (-1.4, -1.25, 1.4, 2.0), (("hair", "bob", "long"),)),
    Part(face_hair.gloss, head, (-0.9, -1.2, 0.3, -0.2), (_SLEEK,)),
    Part(face_hair.curls, head, (-1.3, -1.4, 1.3, 0.2), (("hair", "curly"),)),
    Part(face_hair.spikes, head, (-1.4, -1.6, 1.4, -0.2), (("hair", "spiky"), _BARE)),
    Part(face_hair.crest, head, (-0.7, -1.7, 0.7, -0.4), (("hair", "mohawk"), _BARE)),
    *both_sides(face_parts.brows, (-0.2, -0.75, 0.9, 0.1)),
    Part(face_parts.bridge_and_arms, head, (-1.2, -0.4, 1.2, 0.4), (_GLASSES,)),
    *both_sides(face_parts.lenses, (-0.3, -0.55, 1.1, 0.55), _GLASSES),
    Part(face_hair.beanie, head, (-1.2, -1.7, 1.2, -0.2), (("hat", "beanie"),)),
    Part(face_hair.cap, head, (-1.4, -1.5, 1.4, -0.1), (("hat", "cap"),)),
    Part(face_hair.top_hat, head, (-1.2, -1.8, 1.2, -0.3), (("hat", "top hat"),)),
    Part(face_hair.party_hat, head, (-0.9, -2.0, 0.9, -0.5), (("hat", "party hat"),)),
    Part(face_hair.crown, head, (-1.0, -1.6, 1.0, -0.4), (("hat", "crown"),)),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Faces:
    """A cartoon face in a picture; record i is a pure function of (seed, i).

    Fields: `image` uint8 [n,H,W,3]; every attribute of ATTRIBUTES by its name, int32 [n] (a place in its names) or
    float32 [n]; `landmarks` float32 [n,k,2], the points named in LANDMARKS as (y, x), the picture being
    [0,1] x [0,1]; `mask` uint8 [n,H,W], places in LABELS; `caption` [n], text; `label` int32 [n], the hair style, in
    `classes`, which is empty where no label is asked for. `alike` names attributes that all faces have as the first has
    them: skin and hair of one person, say. InputError: unknown field or attribute, resolution below 4.
    """

    resolution: tuple[int, int] = (32, 32)
    seed: int = 0
    size: int = 100_000
    fields: tuple[str, ...] = ("image",)
    alike: tuple[str, ...] = ()
    domain: ClassVar[str] = "image"
    channels: ClassVar[int] = 3

    def __post_init__(self):
        draw.check(self.fields, FIELDS, self.resolution)
        for name in self.alike:
            choose(name, ATTRIBUTES, "attribute of faces (config.data.options.alike)")

    def __len__(self) -> int:
        return self.size

    @property
    def classes(self) -> tuple[str, ...]:
        return HAIR if "label" in self.fields else ()

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The records of those indices: {field: array with a leading axis as long as indices}."""
        found = face_attributes.sample(self.seed, np.asarray(indices, np.int64))
        if self.alike:
            first = face_attributes.sample(self.seed, np.zeros(len(indices), np.int64))
            found |= {name: first[name] for name in self.alike}
        if {"image", "mask"} & set(self.fields):
            found |= draw.in_chunks(
                functools.partial(render, resolution=self.resolution, mask="mask" in self.fields),
                found,
                self.resolution,
            )
        if "landmarks" in self.fields:
            found["landmarks"] = landmarks(found, self.resolution)
        if "caption" in self.fields:
            found["caption"] = face_attributes.captions(found)
        found["label"] = found["hair"]
        return {field: found[field] for field in self.fields}


def render(attributes: dict[str, np.ndarray], resolution: tuple[int, int], mask: bool = False) -> dict[str, np.ndarray]:
    """Draws faces of those attributes {name: [n]}: `image` uint8 [n,H,W,3] and, if asked, `mask` uint8 [n,H,W].

    Memory grows with n H W: about 150 bytes a pixel. Attributes may be anything between and a little beyond those
    that `Faces` draws, so a row of poses makes a film.
    """
    face = pack(attributes)
    sheet = draw.sheet(len(face), resolution, labels=mask)
    face_parts.background(sheet, face)
    for part in PARTS:
        who = np.ones(face.shape, bool)
        for condition in part.conditions:
            who = who & has(face, *condition)
        who = np.flatnonzero(who)
        some = face if len(who) == len(face) else face[who]
        for window in sheet.part(part.frame(some), part.box, who):
            part.paint(window, some)
    found = {"image": draw.to_bytes(sheet.planes)}
    return found | {"mask": sheet.labels} if mask else found
