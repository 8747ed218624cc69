"""Point sets in the plane and on the line whose density is known: the classical tests of mode coverage.

Two conventions for ring and grid are in use. `igul222` is that of the pictures in "Improved Training of Wasserstein
GANs" (Gulrajani et al., 2017, section 3 and the authors' code); `veegan` that of the tables of VEEGAN (Srivastava et
al., 2017) and PacGAN (Lin et al., 2018).
"""

import dataclasses
from typing import ClassVar

import numpy as np

from gan_jax.data.worlds import draw
from gan_jax.errors import InputError, choose

FIELDS = ("point", "label")
PRESETS = {
    "igul222": {
        "ring": {"radius": 2 / 1.414, "std": 0.02 / 1.414},
        "grid": {"spacing": 2 / 2.828, "std": 0.05 / 2.828},
    },
    "veegan": {"ring": {"radius": 1.0, "std": 0.01}, "grid": {"spacing": 2.0, "std": 0.05}},
}
KINDS = ("ring", "grid", "swiss_roll", "mixture_1d")
MODES, SIDE = 8, 5  # of the ring; of the grid


@dataclasses.dataclass(frozen=True)
class Gaussians:
    """Mixtures of isotropic Gaussians, and the swiss roll.

    kind: `ring` (8 modes, angles 2 pi i / 8), `grid` (5 x 5 modes), `swiss_roll` (no modes: scikit-learn's
    formula with noise 0.25, columns 0 and 2, divided by 7.5) or `mixture_1d` (means, stds, weights as given).
    Fields: `point` float32 [n,2] ([n,1] for mixture_1d); `label` int32 [n], the mode (-1 for the swiss roll).
    InputError: unknown kind, preset or field; lists of unequal length.
    """

    kind: str = "ring"
    seed: int = 0
    size: int = 100_000
    fields: tuple[str, ...] = ("point",)
    preset: str = "igul222"
    radius: float | None = None  # of the ring; None: the preset's
    spacing: float | None = None  # of the grid; None: the preset's
    std: float | None = None  # of each mode of ring and grid; None: the preset's
    scale: float = 1.0  # what points of the swiss roll are multiplied by
    means: tuple[float, ...] = (-1.0, 1.0)  # of mixture_1d
    stds: tuple[float, ...] = (0.2, 0.2)
    weights: tuple[float, ...] = (0.5, 0.5)  # normalised to sum 1
    domain: ClassVar[str] = "point"

    def __post_init__(self):
        choose(self.kind, dict.fromkeys(KINDS), "kind of point set (config.data.options.kind)")
        choose(self.preset, PRESETS, "preset (config.data.options.preset)")
        draw.check(self.fields, FIELDS)
        lengths = {len(self.means), len(self.stds), len(self.weights)}
        if len(lengths) != 1 or min((*self.stds, *self.weights), default=0) <= 0:
            raise InputError("mixture_1d needs as many means as stds and weights, the latter two positive")
        preset = PRESETS[self.preset].get(self.kind, {"std": None})
        for name in preset:
            if getattr(self, name) is None:
                object.__setattr__(self, name, preset[name])

    def __len__(self) -> int:
        return self.size

    @property
    def classes(self) -> tuple[str, ...]:
        return () if self.kind == "swiss_roll" else tuple(f"mode {i}" for i in range(len(self.centres)))

    @property
    def centres(self) -> np.ndarray:
        """Where the modes are, float64 [k,D]; k = 0 for the swiss roll."""
        if self.kind == "ring":
            angles = 2 * np.pi * np.arange(MODES) / MODES
            return self.radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        if self.kind == "grid":
            line = np.arange(SIDE) - (SIDE - 1) / 2
            return self.spacing * np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
        return np.zeros((0, 2)) if self.kind == "swiss_roll" else np.array(self.means, np.float64)[:, None]

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation of each mode along each axis, float64 [k]."""
        if self.kind == "mixture_1d":
            return np.array(self.stds, np.float64)
        return np.full(len(self.centres), self.std, np.float64)

    @property
    def probabilities(self) -> np.ndarray:
        """How often each mode is drawn, float64 [k], sum 1."""
        weights = np.array(self.weights, np.float64) if self.kind == "mixture_1d" else np.ones(len(self.centres))
        return weights / weights.sum()

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The points of those indices: {field: array with a leading axis as long as indices}."""
        indices = np.asarray(indices, np.int64)
        if self.kind == "swiss_roll":
            label, point = np.full(len(indices), -1), self._roll(indices)
        else:
            label = np.searchsorted(
                self.probabilities.cumsum()[:-1], draw.uniform(self.seed, indices, "mode")[0], side="right"
            )
            axes = ("noise/x", "noise/y")[: self.centres.shape[1]]
            point = self.centres[label] + self.spread[label, None] * draw.normal(self.seed, indices, *axes).T
        found = {"point": point.astype(np.float32), "label": label.astype(np.int32)}
        return {field: found[field] for field in self.fields}

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Natural logarithm of the density at points [n,D], float64 [n], in closed form.

        InputError for the swiss roll, whose density is an integral.
        """
        if self.kind == "swiss_roll":
            raise InputError(
                "kind 'swiss_roll' (config.data.options.kind) has no density in closed form: take ring or grid"
            )
        centres, spread = self.centres, self.spread
        squares = ((np.asarray(points, np.float64)[:, None] - centres) ** 2).sum(-1)  # [n,k]
        dimension = centres.shape[1]
        logs = np.log(self.probabilities) - dimension * np.log(np.sqrt(2 * np.pi) * spread)
        return np.logaddexp.reduce(logs - squares / (2 * spread**2), axis=1)

    def _roll(self, indices: np.ndarray) -> np.ndarray:
        t = 1.5 * np.pi * (1 + 2 * draw.uniform(self.seed, indices, "turn")[0])
        noise = draw.normal(self.seed, indices, "noise/x", "noise/y")
        return (np.stack([t * np.cos(t), t * np.sin(t)], 1) + 0.25 * noise.T) / 7.5 * self.scale
