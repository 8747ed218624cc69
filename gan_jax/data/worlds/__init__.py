"""Synthetic datasets drawn from (seed, index): endless, nothing to download, and the truth about them is known."""

from gan_jax.data.worlds.faces import Faces
from gan_jax.data.worlds.gaussians import Gaussians
from gan_jax.data.worlds.shapes import Shapes
from gan_jax.data.worlds.strokes import Strokes
from gan_jax.data.worlds.views import circles_to_squares, day_to_night, edges_to_shapes, masks_to_faces, red_to_blue

__all__ = ["BY_NAME", "Faces", "Gaussians", "Shapes", "Strokes"]

BY_NAME = {"gaussians": Gaussians, "shapes": Shapes, "faces": Faces, "strokes": Strokes}
VIEWS = (circles_to_squares, day_to_night, edges_to_shapes, masks_to_faces, red_to_blue)
BY_NAME |= {view.__name__: view for view in VIEWS}
