"""What the codes of a structured latent mean (Chen et al., 2016, arXiv:1606.03657, figure 2 and section 7.2).

A panel for every code: from left to right its values, from top to bottom other latents, which differ in all else. A
code that means something changes the same thing in every row. Where real examples have labels, a categorical code is
also compared with them: as a classifier that nobody told what to look for.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gan_jax.contract import PyTree
from gan_jax.data import display, transforms
from gan_jax.errors import InputError
from gan_jax.metrics.modes import Matching, matched_accuracy

REACH = 2.0  # continuous codes are trained on -1..1 and shown on -2..2, as the paper does
KINDS = ("categorical", "continuous")


def traverse(
    sampler, number: int = 5, steps: int = 10, reach: float = REACH, seed: int = 0, labels=None
) -> dict[str, Float[np.ndarray, "number values ..."]]:
    """Samples of every code, as `categorical_0`, under each of its values; the same `number` latents for all codes.

    Args:
      steps: how many values a continuous code takes, from -reach to reach.

    Raises:
      InputError: if this GAN's latents have no codes.
    """
    z = sampler.latents(number, seed)
    check(sampler, z)
    made = {}
    for kind in KINDS:
        for place, code in enumerate(z[kind]):
            values = jnp.eye(code.shape[1]) if kind == "categorical" else jnp.linspace(-reach, reach, steps)[:, None]
            samples = sampler.generate(moved(z, kind, place, values), labels)
            made[f"{kind}_{place}"] = samples.reshape(number, len(values), *samples.shape[1:])
    return made


def moved(z: PyTree, kind: str, place: int, values: Float[jax.Array, "values k"]) -> PyTree:
    """Each of the latents under each of the values of one code; those of one latent come after each other."""
    number = len(z[kind][place])
    copies = jax.tree.map(lambda leaf: jnp.repeat(leaf, len(values), axis=0), z)
    codes = list(copies[kind])
    codes[place] = jnp.tile(values, (number, 1))
    return {**copies, kind: tuple(codes)}


def check(sampler, z: PyTree) -> None:
    """Raises InputError if these latents have no codes."""
    if not isinstance(z, dict) or not set(KINDS) <= set(z):
        raise InputError(f"the latents of '{sampler.config.gan}' have no codes; those of infogan do")


def matched(sampler, examples) -> dict[str, Matching]:
    """How well each categorical code, as recognised in labelled examples, is their class (a `Population`)."""
    recognise = jax.jit(lambda state, images: [c.argmax(-1) for c in sampler.gan.recognise(state, images).categorical])
    found, labels = [], []
    for images, told, count in examples.batches(examples.whole(500)):
        with jax.set_mesh(sampler.mesh):
            codes = recognise(sampler.state, transforms.to_float(images))
        found.append(np.stack([np.asarray(code)[:count] for code in codes]))
        labels.append(told[:count])
    codes, labels = np.concatenate(found, axis=1), np.concatenate(labels)
    sizes = sampler.config.model.categorical
    return {
        f"categorical_{place}": matched_accuracy(code, labels, max(size, examples.classes))
        for place, (code, size) in enumerate(zip(codes, sizes, strict=True))
    }


def picture(made: dict[str, np.ndarray]) -> np.ndarray:
    """The panels below each other, each with its name above it: uint8 [height, width, 3]."""
    panels: Sequence[np.ndarray] = [
        panel
        for name, samples in made.items()
        for panel in (
            display.words(name.replace("_", " "), 16),
            display.image_grid(samples.reshape(-1, *samples.shape[2:]), columns=samples.shape[1]),
        )
    ]
    return display.join(panels, axis=0, gap=4)
