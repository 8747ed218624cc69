"""The training examples nearest to samples: does the generator invent, or does it repeat what it has seen?

A picture of neighbours convinces nobody who does not know how near is near. So the distance from samples to the
training set is set beside that from real examples that were not trained on: the ratio of the medians is about 1 for a
generator that invents, and far below 1 for one that copies. Distances between pixels see copies, and little else: a
face that was shifted by two pixels is far away. Any other features can be given.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from tqdm import tqdm

from gan_jax.data import display, transforms
from gan_jax.errors import InputError
from gan_jax.metrics import neighbours

SIDE = 64  # pixels are compared at this many a side at most
BLOCK = 256  # records read at once
Examples = Float[np.ndarray, "_ ..."]  # images [n,H,W,C] in [-1,1], or points [n,D]
Features = Callable[[np.ndarray], np.ndarray]  # examples -> [n, F]


class Memorisation(NamedTuple):
    ratio: float  # of the two medians; about 1 if the generator invents, far below 1 if it copies
    samples: float  # median distance from a sample to the nearest training example
    held_out: float  # the same from examples that were not trained on


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Training examples, and their features. Row i is record `records[i]` of `source`, mirrored where that says so."""

    source: object
    records: Int[np.ndarray, "rows"]
    mirrored: np.ndarray  # bool [rows]
    extract: Features
    features: Float[np.ndarray, "rows features"]

    def nearest(self, examples: Examples, k: int = 1) -> neighbours.Neighbours:
        """Distances [n, k] from each example to the k nearest rows, rising, and their rows [n, k].

        Raises:
          InputError: if there are fewer than k rows, or a feature is not finite.
        """
        return neighbours.nearest(_extract(self.extract, examples), self.features, k)

    def read(self, rows: Int[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """The examples of these rows [...]: float32 [..., H, W, C]."""
        flat = rows.reshape(-1)
        examples = _read(self.source, self.records[flat], self.mirrored[flat])
        return examples.reshape(*rows.shape, *examples.shape[1:])


def pixels(examples: Examples) -> Float[np.ndarray, "n features"]:
    """Features whose distance is the root-mean-square difference of values in [-1, 1]. Larger images are reduced to 64
    pixels a side (Lanczos), which evens out noise that nobody sees."""
    height, width = examples.shape[1:3] if examples.ndim == 4 else (1, 1)
    if max(height, width) > SIDE:
        size = max(1, round(height * SIDE / max(height, width))), max(1, round(width * SIDE / max(height, width)))
        small = [transforms.resize(image, size) for image in transforms.to_uint8(examples)]
        examples = np.stack(small).astype(np.float32) / 127.5 - 1
    flat = examples.reshape(len(examples), -1)
    return (flat / np.sqrt(flat.shape[1])).astype(np.float32)


def gallery(source, features: Features = pixels, count: int | None = None, mirror: bool = False) -> Gallery:
    """`count` records of a source, evenly spaced, or all, read once.

    mirror: each one mirrored as well, as training with `config.data.flip` has seen them. Images that training cut at
    random places are cut at the centre. Memory: the features, 48 KB for an image of 64x64.
    """
    count = min(count or len(source), len(source))
    records = np.arange(count, dtype=np.int64) * len(source) // count
    mirrored = np.repeat([False, True] if mirror else [False], count)
    records = np.tile(records, 1 + mirror)
    rows = [np.arange(start, min(start + BLOCK, len(records))) for start in range(0, len(records), BLOCK)]
    bar = tqdm(rows, unit_scale=BLOCK, unit="record", disable=None, leave=False)
    made = [_extract(features, _read(source, records[part], mirrored[part])) for part in bar]
    return Gallery(source, records, mirrored, features, np.concatenate(made))


def memorisation(samples: Examples, held_out: Examples, trained: Gallery) -> Memorisation:
    """How much nearer to the training examples samples are than real examples that were not trained on.

    Raises:
      InputError: if half of the held-out examples are training examples.
    """
    medians = [float(np.median(trained.nearest(examples).distances)) for examples in (samples, held_out)]
    if medians[1] == 0:
        raise InputError("memorisation: the held-out examples are among the training examples")
    return Memorisation(medians[0] / medians[1], *medians)


def picture(samples: Float[np.ndarray, "n h w c"], nearest: Float[np.ndarray, "n k h w c"]) -> np.ndarray:
    """Each sample, and on its right the k training images nearest to it."""
    k = nearest.shape[1]
    found = display.image_grid(nearest.reshape(-1, *nearest.shape[2:]), columns=k)
    return display.join([display.image_grid(samples, columns=1), found], axis=1, gap=12)


def _extract(features: Features, examples: np.ndarray) -> np.ndarray:
    found = [np.asarray(features(examples[i : i + BLOCK]), np.float32) for i in range(0, len(examples), BLOCK)]
    return np.concatenate(found)


def _read(source, records: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Records as networks see them, float32."""
    array = source.read(records)[source.domain]
    if source.domain != "image":
        return array.astype(np.float32)
    images = array.astype(np.float32) / 127.5 - 1
    return np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
