"""Black strokes on white: nothing but edges, of which a small image keeps little. For super-resolution.

Where images are smooth an interpolation is as good as a network, and a network proves nothing.
"""

import dataclasses
from typing import ClassVar

import numpy as np

from gan_jax.data.worlds import draw
from gan_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Strokes:
    """Straight strokes with round ends, everywhere in a picture: `image` uint8 [n,H,W,3], a pure function of (seed, i).

    number: strokes of a picture. thickness: of strokes, from and to, in shares of the shorter side: 2 to 4 pixels of
    32. InputError: resolution below 4, no strokes, or a range that is none.
    """

    resolution: tuple[int, int] = (32, 32)
    seed: int = 0
    size: int = 100_000
    number: int = 5
    thickness: tuple[float, float] = (1 / 16, 1 / 8)
    domain: ClassVar[str] = "image"
    channels: ClassVar[int] = 3
    classes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        draw.check((), (), self.resolution)
        if self.number < 1:
            raise InputError(f"config.data.options.number={self.number} must be at least 1 stroke")
        if len(self.thickness) != 2 or not 0 < self.thickness[0] <= self.thickness[1]:
            raise InputError(f"config.data.options.thickness={self.thickness} must be two rising shares of the side")

    def __len__(self) -> int:
        return self.size

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The records of those indices: {"image": [n,H,W,3]}."""
        indices = np.asarray(indices, np.int64)
        names = [f"{k}/{what}" for k in range(self.number) for what in ("y", "x", "end/y", "end/x", "thickness")]
        drawn = draw.uniform(self.seed, indices, *names).T.reshape(len(indices), self.number, 5)
        least, most = self.thickness
        ends = drawn[..., :4].reshape(len(indices), self.number, 2, 2)
        attributes = {
            "ends": ends.astype(np.float32),  # (y, x) in [0, 1]
            "thickness": (least + (most - least) * drawn[..., 4]).astype(np.float32),
        }
        return draw.in_chunks(lambda some: render(some, self.resolution), attributes, self.resolution)


def render(attributes: dict[str, np.ndarray], resolution: tuple[int, int]) -> dict[str, np.ndarray]:
    """Draws `image` of strokes with those `ends` [n,number,2,2] and that `thickness` [n,number]."""
    ends, thickness = attributes["ends"], attributes["thickness"]
    sheet = draw.sheet(len(ends), resolution, labels=False)
    sheet.planes[...] = 1.0
    sides = np.array(resolution, np.float32) * sheet.pixel
    for number in range(ends.shape[1]):
        start, end = (
            tuple(point.T[::-1, :, None, None]) for point in np.moveaxis((ends[:, number] - 0.5) * sides, 1, 0)
        )
        line = draw.segment(sheet.x, sheet.y, start, end) - thickness[:, number, None, None]
        sheet.paint(line, sheet.pixel, np.zeros((3, 1, 1, 1), np.float32))
    return {"image": draw.to_bytes(sheet.planes)}
