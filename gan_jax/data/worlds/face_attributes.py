"""What may vary in a cartoon face: names, colours and how often each occurs. All attributes are independent."""

import re
from typing import NamedTuple

import numpy as np

from gan_jax.data.worlds import draw

SKINS = ("porcelain", "fair", "light", "tan", "olive", "brown", "dark brown", "deep")
SKIN_PAINTS = draw.palette("ffe3d3", "fcd3b6", "f1bf98", "e0a57a", "c68a5c", "a66d44", "7f4e31", "5a3524")
HAIR_COLOURS = ("black", "dark brown", "brown", "auburn", "blond", "grey", "pink", "blue")
HAIR_PAINTS = draw.palette("2c2830", "4e342b", "7d5033", "b4552d", "efc76a", "bcbcc4", "f284b6", "5785dd")
EYE_COLOURS = ("brown", "hazel", "green", "blue", "grey")
EYE_PAINTS = draw.palette("6b4026", "a4762f", "4c9556", "3f86cf", "70808c")
COLOURS = ("red", "orange", "yellow", "green", "teal", "blue", "purple", "pink", "white", "charcoal")
PAINTS = draw.palette(
    "dc4b4b", "ef8d3c", "f5c945", "5cab68", "36a6a2", "4c78d3", "8b62c6", "ee86b4", "f4f2ee", "454b58"
)
BACKGROUNDS = ("sky blue", "mint", "peach", "lavender", "lemon", "rose", "sand", "teal", "coral", "slate")
BACKGROUND_PAINTS = draw.palette(
    "a9d8f5", "b4e4c6", "fdd0b1", "d0c3f2", "fae9a0", "f9c1cd", "e8d8bb", "79c3bf", "f5a08c", "93a5bd"
)
FRAMES = ("black", "brown", "red", "blue", "gold")
FRAME_PAINTS = draw.palette("2b2b33", "744a2e", "c93f45", "3a62b8", "d3a33f")

FACE_SHAPES = ("oval", "round", "square", "heart")
HAIR = (
    "bald", "buzz cut", "short", "fringe", "spiky", "mohawk", "curly", "afro", "bob", "long", "bun", "ponytail",
    "pigtails",
)  # fmt: skip
EYES = ("round", "almond", "sleepy", "closed")
BROWS = ("straight", "arched", "thick", "thin")
NOSES = ("button", "long", "wide")
MOUTHS = ("smile", "grin", "laugh", "neutral", "smirk", "frown", "surprise", "tongue")
BEARDS = ("none", "stubble", "moustache", "goatee", "full beard")
GLASSES = ("none", "round glasses", "square glasses", "sunglasses")
HATS = ("none", "beanie", "cap", "top hat", "party hat", "crown")
CLOTHES = ("t-shirt", "v-neck", "shirt", "turtleneck", "hoodie", "striped top")
PATTERNS = ("plain", "gradient", "halo", "stripes", "dots")


class Choice(NamedTuple):
    """A categorical attribute, int32; `weights` in proportion to the probabilities, all equal where empty."""

    names: tuple[str, ...]
    weights: tuple[int, ...] = ()

    def probabilities(self) -> np.ndarray:
        weights = np.array(self.weights or np.ones(len(self.names)), np.float64)
        return weights / weights.sum()

    def value(self, uniform: np.ndarray, _) -> np.ndarray:
        return np.searchsorted(self.probabilities().cumsum()[:-1], uniform, side="right").astype(np.int32)


class Range(NamedTuple):
    """A continuous attribute, float32: the mean of two uniform numbers, so that middling values are common."""

    low: float
    high: float

    def value(self, uniform: np.ndarray, other: np.ndarray) -> np.ndarray:
        return (self.low + (self.high - self.low) * (uniform + other) / 2).astype(np.float32)


ATTRIBUTES = {  # lengths are in units of half the head's height, angles in radians
    "skin": Choice(SKINS),
    "face_shape": Choice(FACE_SHAPES),
    "face_width": Range(0.92, 1.08),  # 1 is the shape's own
    "face_height": Range(0.95, 1.05),
    "hair": Choice(HAIR, (5, 6, 14, 9, 7, 4, 8, 7, 10, 12, 7, 6, 5)),
    "hair_colour": Choice(HAIR_COLOURS, (20, 18, 16, 10, 16, 8, 6, 6)),
    "eyes": Choice(EYES, (50, 30, 12, 8)),
    "eye_colour": Choice(EYE_COLOURS, (35, 15, 18, 22, 10)),
    "eye_size": Range(0.18, 0.24),  # half the height
    "eye_distance": Range(0.355, 0.425),  # from the middle
    "gaze": Range(-1.0, 1.0),  # -1 looks to the picture's left
    "brows": Choice(BROWS, (30, 35, 20, 15)),
    "brow_tilt": Range(-0.45, 0.45),  # positive: the inner ends up, worried; negative: stern
    "nose": Choice(NOSES, (50, 25, 25)),
    "nose_size": Range(0.8, 1.2),
    "mouth": Choice(MOUTHS, (26, 18, 14, 12, 9, 8, 6, 7)),
    "mouth_width": Range(0.26, 0.38),  # half of it
    "blush": Range(0.0, 0.6),  # opacity
    "freckles": Choice(("no", "yes"), (85, 15)),
    "beard": Choice(BEARDS, (74, 7, 7, 5, 7)),
    "glasses": Choice(GLASSES, (70, 12, 11, 7)),
    "glasses_colour": Choice(FRAMES, (40, 20, 15, 13, 12)),
    "hat": Choice(HATS, (78, 6, 5, 4, 4, 3)),
    "hat_colour": Choice(COLOURS),
    "earrings": Choice(("no", "yes"), (80, 20)),
    "clothes": Choice(CLOTHES, (26, 14, 18, 12, 14, 16)),
    "clothes_colour": Choice(COLOURS),
    "background": Choice(BACKGROUNDS),
    "pattern": Choice(PATTERNS, (30, 28, 20, 11, 11)),
    "yaw": Range(-0.4, 0.4),  # positive: turned to the picture's right
    "pitch": Range(-0.16, 0.16),  # positive: nodding down
    "roll": Range(-0.18, 0.18),  # positive: tilted clockwise
    "shift_x": Range(-0.07, 0.07),  # of the whole figure, in units of half the picture's shorter side
    "shift_y": Range(-0.04, 0.04),
    "scale": Range(0.55, 0.61),  # half the head's height in the same units
}


def sample(seed: int, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Every attribute of those faces, int32 or float32 [n]: a pure function of (seed, index)."""
    first = draw.uniform(seed, indices, *ATTRIBUTES)
    second = draw.uniform(seed, indices, *(f"{name}/second" for name in ATTRIBUTES))
    return {name: kind.value(*drawn) for (name, kind), *drawn in zip(ATTRIBUTES.items(), first, second, strict=True)}


def captions(attributes: dict[str, np.ndarray]) -> np.ndarray:
    """One sentence per face [n], "a calm face with tan skin, a blond bob and a teal shirt on a mint background"; the
    string type is the same for any faces."""
    sentence = np.array("")
    for name, colour, templates in _PHRASES:
        colours = ("",) if colour is None else ATTRIBUTES[colour].names
        phrases = [[_AN.sub("an", template.format(word)) for word in colours] for template in templates]
        chosen = np.array(phrases)[attributes[name], 0 if colour is None else attributes[colour]]
        sentence = np.char.add(sentence, chosen)
    return sentence


_AN = re.compile(r"\ba(?= [ao])")
_PHRASES = (  # attribute, the attribute of its colour, a phrase for each value
    ("mouth", None, [f"a {mood} face" for mood in (
        "smiling", "grinning", "laughing", "calm", "smirking", "sad", "surprised", "cheeky")]),
    ("skin", None, [f" with {skin} skin" for skin in SKINS]),
    ("hair", "hair_colour", [
        ", no hair", ", buzzed {} hair", ", short {} hair", ", {} hair with a fringe", ", spiky {} hair",
        ", a {} mohawk", ", curly {} hair", ", a {} afro", ", a {} bob", ", long {} hair", ", {} hair in a bun",
        ", {} hair in a ponytail", ", {} hair in pigtails"]),
    ("beard", None, ["", ", stubble", ", a moustache", ", a goatee", ", a full beard"]),
    ("glasses", None, ["", ", round glasses", ", square glasses", ", sunglasses"]),
    ("hat", "hat_colour", ["", ", a {} beanie", ", a {} cap", ", a top hat with a {} band", ", a {} party hat",
                           ", a crown with {} jewels"]),
    ("clothes", "clothes_colour", [f" and a {{}} {name}" for name in CLOTHES]),
    ("background", None, [f" on a {name} background" for name in BACKGROUNDS]),
)  # fmt: skip
