"""Cartoon faces with every attribute known: what the picture shows, where, and why.

Nothing to download, any resolution, as many faces as indices. Because attributes are drawn independently, what a GAN
entangles is its own doing; because landmarks and masks are exact, what it misplaces can be measured.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from gan_jax.data.worlds import draw, face_attributes, face_hair, face_parts
from gan_jax.data.worlds.face_attributes import ATTRIBUTES, HAIR
from gan_jax.data.worlds.face_hair import AFRO, BALD, BOB, BUN, CURLY, LONG, MOHAWK, PIGTAILS, PONYTAIL, SPIKY
from gan_jax.data.worlds.face_parts import LABELS  # names of the values of `mask`

LANDMARKS = (
    "left eye", "right eye", "left brow", "right brow", "nose", "mouth left", "mouth right", "mouth", "chin", "left ear",
    "right ear", "crown",
)  # fmt: skip  # left and right as the picture shows them
FIELDS = ("image", "label", "landmarks", "mask", "caption", *ATTRIBUTES)

# From back to front: painter, frame and box (left, top, right, bottom) that it stays within, and whose face has it.
HEAD, BODY = face_parts.head, face_parts.body
PARTS = (
    (face_parts.clothes, BODY, (-9, 0.0, 9, 9), None),
    (face_parts.hood, BODY, (-0.8, -0.4, 0.8, 0.7), lambda face: face["clothes"] == 4),
    (face_hair.hair_behind, HEAD, (-1.5, -1.2, 1.5, 2.0), lambda face: (face["hair"] == BOB) | (face["hair"] == LONG)),
    (face_hair.afro, HEAD, (-1.5, -1.6, 1.5, 0.9), lambda face: face["hair"] == AFRO),
    (face_hair.bun, HEAD, (-0.6, -1.6, 0.6, -0.7), lambda face: (face["hair"] == BUN) & (face["hat"] == 0)),
    (face_hair.tails, HEAD, (-1.9, -0.8, 1.9, 1.3), lambda face: (face["hair"] == PONYTAIL) | (face["hair"] == PIGTAILS)),
    (face_parts.neck, BODY, (-0.6, -0.6, 0.6, 0.9), None),
    (face_parts.collar, BODY, (-0.6, -0.2, 0.6, 9), lambda face: (face["clothes"] >= 2) & (face["clothes"] <= 4)),
    (face_parts.ears, HEAD, (-1.3, -0.3, 1.3, 0.5), None),
    (face_parts.face_and_light, HEAD, (-1.0, -1.1, 1.0, 1.1), None),
    (face_parts.cheeks, HEAD, (-0.95, 0.0, 0.95, 0.75), None),
    (face_parts.freckles, HEAD, (-0.9, 0.0, 0.9, 0.6), lambda face: face["freckles"] == 1),
    (face_parts.beards, HEAD, (-1.0, 0.0, 1.0, 1.2), lambda face: face["beard"] > 0),
    (face_parts.noses, HEAD, (-0.75, -0.3, 0.75, 0.6), None),
    (face_parts.closed_mouth, HEAD, (-0.8, 0.2, 0.8, 0.95), lambda face: face_parts.DROP[face["mouth"]] == 0),
    (face_parts.open_mouth, HEAD, (-0.85, 0.3, 0.85, 1.05), lambda face: (face["mouth"] == 1) | (face["mouth"] == 2) | (face["mouth"] == 6)),
    (face_parts.eyes, HEAD, (-0.85, -0.4, 0.85, 0.4), lambda face: face["eyes"] != 3),
    (face_parts.closed_eyes, HEAD, (-0.85, -0.3, 0.85, 0.3), lambda face: face["eyes"] == 3),
    (face_parts.earrings, HEAD, (-1.3, 0.0, 1.3, 0.7), lambda face: face["earrings"] == 1),
    (face_hair.hair_on_top, HEAD, (-1.2, -1.3, 1.2, 1.2), lambda face: face["hair"] != BALD),
    (face_hair.curls, HEAD, (-1.3, -1.4, 1.3, 0.2), lambda face: face["hair"] == CURLY),
    (face_hair.spikes, HEAD, (-1.4, -1.6, 1.4, -0.2), lambda face: (face["hair"] == SPIKY) & (face["hat"] == 0)),
    (face_hair.crest, HEAD, (-0.7, -1.7, 0.7, -0.4), lambda face: (face["hair"] == MOHAWK) & (face["hat"] == 0)),
    (face_parts.brows, HEAD, (-0.9, -0.75, 0.9, 0.1), None),
    (face_parts.glasses, HEAD, (-1.2, -0.5, 1.2, 0.5), lambda face: face["glasses"] > 0),
    (face_hair.beanie, HEAD, (-1.2, -1.7, 1.2, -0.2), lambda face: face["hat"] == 1),
    (face_hair.cap, HEAD, (-1.4, -1.5, 1.4, -0.1), lambda face: face["hat"] == 2),
    (face_hair.top_hat, HEAD, (-1.2, -1.8, 1.2, -0.3), lambda face: face["hat"] == 3),
    (face_hair.party_hat, HEAD, (-0.9, -2.0, 0.9, -0.5), lambda face: face["hat"] == 4),
    (face_hair.crown, HEAD, (-1.0, -1.6, 1.0, -0.4), lambda face: face["hat"] == 5),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Faces:
    resolution: tuple[int, int] = (32, 32)
    seed: int = 0
    size: int = 100_000
    fields: tuple[str, ...] = ("image",)
    domain: ClassVar[str] = "image"
    channels: ClassVar[int] = 3

    def __post_init__(self):
        draw.check(self.fields, FIELDS, self.resolution)

    def __len__(self) -> int:
        return self.size

    @property
    def classes(self) -> tuple[str, ...]:
        return HAIR if "label" in self.fields else ()

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The records of those indices: {field: array with a leading axis as long as indices}."""
        return draw.in_chunks(self._read, np.asarray(indices, np.int64), self.resolution)

    def _read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        found = face_attributes.sample(self.seed, indices)
        if "caption" in self.fields:
            found["caption"] = face_attributes.captions(found)
        if "landmarks" in self.fields:
            found["landmarks"] = landmarks(found, self.resolution)
        if {"image", "mask"} & set(self.fields):
            found |= render(found, self.resolution, mask="mask" in self.fields)
        found["label"] = found["hair"]
        return {field: found[field] for field in self.fields}


def pack(attributes: dict[str, np.ndarray]) -> np.ndarray:
    """The attributes as one structured array [n,1,1], ready to be broadcast over pixels."""
    kinds = [(name, attributes[name].dtype) for name in ATTRIBUTES]
    face = np.empty((len(attributes["skin"]), 1, 1), kinds)
    for name in ATTRIBUTES:
        face[name][:, 0, 0] = attributes[name]
    return face


def render(attributes: dict[str, np.ndarray], resolution: tuple[int, int], mask: bool = False) -> dict[str, np.ndarray]:
    face = pack(attributes)
    sheet = draw.sheet(len(face), resolution, labels=mask)
    face_parts.background(sheet, face)
    for paint, frame, box, has in PARTS:
        who = np.arange(len(face)) if has is None else np.flatnonzero(has(face))
        for window in sheet.part(frame(face[who]) if len(who) else frame(face), box, who):
            paint(window, face[who])
    found = {"image": draw.to_bytes(sheet.planes)}
    return found | {"mask": sheet.labels} if mask else found


def landmarks(attributes, resolution):
    raise NotImplementedError
