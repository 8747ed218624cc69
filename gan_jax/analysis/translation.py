"""Images from anywhere, translated by a trained GAN: of the run's size, or of any other that its network takes.

What is made may be larger than what it is made of: by as much as in the run's data (`Translator.factor`).
"""

import functools
import pathlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gan_jax.analysis.sampler import Sampler
from gan_jax.contract import PyTree
from gan_jax.data import transforms
from gan_jax.data.sources import Folder, decode
from gan_jax.errors import InputError, choose

OTHER = {"a": "b", "b": "a"}


class Translator:
    """Makes images of the domain `to` of those of the other: of `b`, or of `a` where a GAN translates both ways.

    Raises:
      InputError: for a GAN that makes its samples from noise, or not in this direction.
    """

    def __init__(self, sampler: Sampler, to: str = "b"):
        if not set(sampler.conditions) & set(OTHER):
            raise InputError(f"'{sampler.config.gan}' makes its samples from noise; it has no images to translate")
        self.sampler, self.to = sampler, choose(to, OTHER, "domain to translate into")
        if OTHER[to] not in sampler.conditions:
            raise InputError(f"'{sampler.config.gan}' translates from a to b alone")
        data = sampler.config.data
        sides = {"a": tuple(data.source_shape[:2]), "b": tuple(data.resolution)}
        self.resolution, self.factor = sides[OTHER[to]], sides[to][0] // sides[OTHER[to]][0]
        self.channels = data.source_shape[-1] if to == "b" else data.channels
        self._program = jax.jit(functools.partial(_translate, sampler.gan, to))

    def __call__(self, images: Float[np.ndarray, "n h w c"], seed: int = 0) -> Float[np.ndarray, "n height width k"]:
        """Translations of images in [-1, 1]; noise, where a GAN has some, is drawn from `seed`.

        Raises:
          InputError: for images of a size that the network does not take.
        """
        size = images.shape[1:3]
        wanted = tuple(self.factor * side for side in size)
        with jax.set_mesh(self.sampler.mesh):
            arguments = (self.sampler.state, images, np.uint32(seed))
            try:
                fits = jax.eval_shape(self._program, *arguments).shape[1:3] == wanted
            except (TypeError, ValueError):  # layers that should meet do not
                fits = False
            if not fits:
                raise InputError(
                    f"this network does not take images of {size[0]}x{size[1]}; it learned on {self.resolution}"
                )
            return np.asarray(self._program(*arguments))


def _translate(gan, to: str, state: PyTree, images: jax.Array, seed: jax.Array) -> jax.Array:
    made = gan.sample(state, {"a": images, "b": images}, jax.random.key(seed))  # the side not asked for is not computed
    return made[to] if isinstance(made, dict) else made


def folder(
    translator: Translator, path: str | pathlib.Path, seed: int = 0, keep_size: bool = False
) -> Iterator[tuple[str, np.ndarray]]:
    """Every image below a folder, one at a time: its path there, and its translation uint8 [H,W,C].

    keep_size: translates each at its own size instead of the run's, as it always is where images are to become larger.
    """
    keep_size = keep_size or translator.factor > 1
    source = Folder(path, translator.resolution, translator.channels)
    fit = transforms.Fit(None if keep_size else translator.resolution, translator.channels)
    for file in source.files:
        image = fit(decode(file, file))
        made = translator(np.asarray(transforms.to_float(jnp.asarray(image[None]))), seed)
        yield str(pathlib.Path(file).relative_to(source.path)), np.asarray(transforms.to_uint8(made[0]))
