"""Walks between latents: whether a generator has learned a space or a list of pictures (Radford et al., 2015,
arXiv:1511.06434, section 6.1).

Two independent normal latents of many dimensions are nearly orthogonal, and the middle of the straight line between
them has 0.71 of their length: a place where hardly any latent of training lay, whose image is blurry. The great circle
stays where the latents are (White, 2016, arXiv:1609.04468). Uniform latents fill a box, and a circle would leave it.
Styles w lie where the mapping network has put them: a straight line between two of them is the natural one there
(Karras et al., 2018, arXiv:1812.04948, section 4.1).
"""

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import latents
from gan_jax.contract import PyTree
from gan_jax.data import display
from gan_jax.errors import InputError, choose

PATHS = {"linear": latents.lerp, "spherical": latents.slerp}
ROUND = ("normal", "sphere")  # latents around whose origin a great circle runs
BOXES = ("uniform", "uniform_unit_variance")


def natural_path(sampler, space: str = "z") -> str:
    """The walk that stays where the latents of this GAN are: "spherical" for normal ones, "linear" for others and
    for styles, the space "w"."""
    around = sampler.styled or sampler.config.model.get("latent") in ROUND  # a StyleGAN's z is normal
    return "spherical" if around and space == "z" else "linear"


def path(start: PyTree, end: PyTree, frames: int, kind: str) -> PyTree:
    """The latents at equal shares of the way from `start` [R, ...] to `end` [R, ...]: [R, frames, ...], ends included.

    kind: "linear", or "spherical", on which a latent of several axes is one vector.

    Raises:
      InputError: for another kind, or fewer than 2 frames.
    """
    between = choose(kind, PATHS, "path")
    if frames < 2:
        raise InputError(f"a walk has at least 2 frames, its ends; got {frames}")

    def walk(a, b):
        a, b = jnp.asarray(a), jnp.asarray(b)
        flat = (a.reshape(len(a), -1), b.reshape(len(b), -1))
        points = [between(*flat, float(share)) for share in np.linspace(0, 1, frames)]
        points = [flat[0], *points[1:-1], flat[1]]  # the ends exactly
        return jnp.stack(points, axis=1).reshape(len(a), frames, *a.shape[1:])

    return jax.tree.map(walk, start, end)


def interpolate(
    sampler, start: PyTree, end: PyTree, frames: int = 9, *, kind: str | None = None, space: str = "z", labels=None
):
    """Samples float32 [R, frames, ...] on the walks from the latents `start` [R, ...] to `end` [R, ...].

    kind: of the walk, by default the natural one. space: "z", or "w", in which the styles walk and what else there is,
    the noise, stays that of the start. labels: the classes of the walks, in turn.

    Raises:
      InputError: as `path`; for a spherical walk among uniform latents; for styles of a GAN that has none; for labels
        that this GAN does not know.
    """
    kind = kind or natural_path(sampler, space)
    latent = sampler.config.model.get("latent")
    if choose(space, {"z": False, "w": True}, "space"):
        start, end = (sampler.styles(each, labels=labels) for each in (start, end))
        end = {**start, "w": end["w"]}
    elif kind == "spherical" and latent in BOXES:
        raise InputError(f"a spherical path leaves the box of {latent} latents; take a linear one")
    z = path(start, end, frames, kind)
    rows = len(jax.tree.leaves(z)[0])
    told = sampler.labels(rows, labels).repeat(frames) if sampler.classes or labels is not None else None
    samples = sampler.generate(jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), z), told)
    return samples.reshape(rows, frames, *samples.shape[1:])


def picture(samples: np.ndarray, background: np.ndarray | None = None) -> np.ndarray:
    """Walks [R, frames, H, W, C] as rows of images; [R, frames, D] as points over `background`, other samples."""
    flat = samples.reshape(-1, *samples.shape[2:])
    if samples.ndim == 5:
        return display.image_grid(flat, columns=samples.shape[1])
    return display.point_scatter(flat, background)


def animation(samples: np.ndarray, background: np.ndarray | None = None) -> np.ndarray:
    """The same as uint8 [2 frames - 2, height, width, 3]: all walks at once, there and back."""
    count = samples.shape[1]
    there = [
        display.image_grid(samples[:, frame]) if samples.ndim == 5 else picture(samples[:, frame, None], background)
        for frame in range(count)
    ]
    return np.stack([*there, *there[-2:0:-1]])
