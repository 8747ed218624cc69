"""A sampler whose generator is linear, in place of a trained run: images of a tint and a shape, known exactly."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gan_jax.errors import InputError

SIDE, SIZE = 8, 6
Y, X = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
CIRCLE = (np.hypot(Y, X) < 3).astype(np.float32)
SQUARE = (np.maximum(abs(Y), abs(X)) < 3).astype(np.float32) - CIRCLE
TINT = np.array([1.0, 0.0, -1.0], np.float32)  # red less blue


def images(z) -> np.ndarray:
    """Entry 0 of z makes a picture red rather than blue, entry 1 shows a circle rather than the rest of a square."""
    z = np.asarray(z, np.float32)
    tint = z[:, 0, None, None, None] * TINT
    shape = z[:, 1, None, None, None] * (CIRCLE / CIRCLE.sum() - SQUARE / SQUARE.sum())[..., None]
    noise = 0.01 * z[:, 2:].sum(axis=1)[:, None, None, None]
    return tint + shape + noise


def red(pictures) -> np.ndarray:
    return pictures[..., 0].mean(axis=(1, 2)) > pictures[..., 2].mean(axis=(1, 2))


def circle(pictures) -> np.ndarray:
    grey = pictures.mean(axis=-1)
    return (grey * (CIRCLE / CIRCLE.sum() - SQUARE / SQUARE.sum())).sum(axis=(1, 2)) > 0


@dataclasses.dataclass(frozen=True)
class Linear:
    """What tools see of a `Sampler`."""

    latent: str = "normal"
    classes: int = 0  # if there are any, the label is added to the images
    domain: str = "image"
    generator: object = images
    calls: list = dataclasses.field(default_factory=list)  # labels that were asked for

    @property
    def styled(self):
        return False

    @property
    def config(self):
        return SimpleNamespace(model=ConfigDict({"latent": self.latent}))

    @property
    def step(self):
        return 6

    @property
    def weights(self):
        return "average"

    def check_noise(self): ...

    def check_styled(self):
        raise InputError("this generator has no styles")

    def check_latent(self): ...

    def check_truncation(self, bound):
        if self.latent != "normal":
            raise InputError(f"truncation={bound} is for normal latents")

    def labels(self, number, chosen=None, first=0):
        chosen = np.arange(max(self.classes, 1)) if chosen is None else np.asarray(chosen)
        return chosen[np.arange(first, first + number) % len(chosen)].astype(np.int32)

    def latents(self, number, seed=0, *, truncation=None):
        z = np.random.default_rng(seed).standard_normal((number, SIZE))  # row i does not depend on the number
        return jnp.asarray(z if truncation is None else np.clip(z, -truncation, truncation), jnp.float32)

    def generate(self, z, labels=None):
        (z,) = jax.tree.leaves(z)
        told = self.labels(len(z), labels) if self.classes else np.zeros(len(z), np.int32)
        self.calls.append(told)
        made = self.generator(z)
        return (made + told.reshape(-1, *[1] * (made.ndim - 1))).astype(np.float32)

    def sample(self, number, seed=0, *, labels=None, truncation=None):
        return self.generate(self.latents(number, seed, truncation=truncation), labels)
