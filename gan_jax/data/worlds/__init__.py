"""Synthetic datasets drawn from (seed, index): endless, nothing to download, and the truth about them is known."""

from gan_jax.data.worlds.faces import Faces
from gan_jax.data.worlds.gaussians import Gaussians
from gan_jax.data.worlds.shapes import Shapes

__all__ = ["BY_NAME", "Faces", "Gaussians", "Shapes"]

BY_NAME = {"gaussians": Gaussians, "shapes": Shapes, "faces": Faces}
