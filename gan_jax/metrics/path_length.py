"""Perceptual path length: how much images change when the latent takes a very small step (Karras et al., 2019,
arXiv:1812.04948, section 4.1).

The mean, over random paths between two latents, of the squared speed d(G(point), G(point + epsilon)) / epsilon^2, where
d is LPIPS on VGG-16, itself a squared distance. Lower is smoother; values compare only for one space, crop and `t`.

Float32 is enough if the step is made with care. With epsilon 1e-4 the two ends of a step differ in their last three
decimal digits, and adding epsilon to `t` first, as is usual, rounds the step itself: on great circles in 512 dimensions
squared steps come out 1e-4 of their value too large at epsilon 1e-4 and 2e-3 at 1e-5. Here the end is made from the
start, and 1e-8 and 2e-6 remain. Behind them a small generator and LPIPS (random weights) moved the mean by 2e-5 of its
value and single lengths by 5e-4, against the same in float64; at epsilon 1e-5 it was 1e-3 and 5e-3, so do not go
there. Products of less than full float32 precision drown the difference altogether.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gan_jax.errors import InputError, choose

EPSILON = 1e-4
SIDE = 256  # images are reduced to about this: the sizes VGG knows


def lengths(
    generate: Callable[[Array], Array],
    measure: Callable[[Array, Array], Array],
    a: Float[Array | np.ndarray, "batch *shape"],
    b: Float[Array | np.ndarray, "batch *shape"],
    t: Float[Array | np.ndarray, "batch"],
    epsilon: float = EPSILON,
    space: str = "z",
    crop: bool = False,
) -> Float[Array, "batch"]:
    """measure(G(point), G(end)) / epsilon^2 for a step at the share `t` of the way from each latent `a` to its `b`.

    Args:
      generate: latents (of 'z', unit vectors) to images in [-1,1], of float32 and not rounded to bytes. It is called
        twice, and must give the same noise to the same row.
      measure: two batches of images in [-1,1] to distances [B], such as LPIPS (which wants three channels).
      t: uniform on [0, 1) for the 'full' path, zeros for its 'end'.
      space: 'z', great circles, or 'w', straight lines: a key of `STEPS`.
      crop: only the part of an aligned portrait that is face (`face`), as in StyleGAN's FFHQ figures.

    Raises:
      InputError: for another space, latents that span no circle, or images that cannot be cropped or reduced.
    """
    step = choose(space, STEPS, "space of the path length")
    start, end = step(jnp.asarray(a), jnp.asarray(b), jnp.asarray(t), epsilon)
    before, after = (prepare(jnp.asarray(generate(point)), crop) for point in (start, end))
    return measure(before, after) / epsilon**2


def trimmed_mean(values: Float[np.ndarray, "n"]) -> float:
    """Mean of those from the 1st to the 99th percentile: the largest value <= the former, the smallest >= the latter.

    StyleGAN takes 100,000 lengths, its successors 50,000.

    Raises:
      InputError: if there are none, or some are not finite.
    """
    values = np.asarray(values, np.float64)
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if not len(values) or bad:
        raise InputError(f"path length: {bad} of {len(values)} lengths are not finite, and at least one is needed")
    low, high = np.percentile(values, 1, method="lower"), np.percentile(values, 99, method="higher")
    return float(values[(low <= values) & (values <= high)].mean())


def straight(
    a: Float[Array, "batch *shape"], b: Float[Array, "batch *shape"], t: Float[Array, "batch"], epsilon: float
) -> tuple[Float[Array, "batch *shape"], Float[Array, "batch *shape"]]:
    """The points at `t` and `t + epsilon` of straight lines: for W, and for Z of a prior that has no sphere."""
    start = a + t.reshape(-1, *[1] * (a.ndim - 1)) * (b - a)
    return start, start + epsilon * (b - a)


def circle(
    a: Float[Array, "batch *shape size"], b: Float[Array, "batch *shape size"], t: Float[Array, "batch"], epsilon: float
) -> tuple[Float[Array, "batch *shape size"], Float[Array, "batch *shape size"]]:
    """The points at `t` and `t + epsilon` of the great circles from a / |a| to b / |b|: unit vectors, as in the
    reference, whose generators normalise their latents.

    A generator that does not must multiply them by sqrt(size), where normal latents concentrate; for one that does it
    makes no difference. Equal directions give a path of no length. A prior without a sphere (a uniform one) takes the
    straight lines.

    Raises:
      InputError: for latents of one number, whose sphere has only two points.
    """
    if a.shape[-1] < 2:
        raise InputError("path length: latents of size 1 span no great circle; take space 'w'")
    a, b = _normalize(a), _normalize(b)
    cosine = jnp.clip(jnp.sum(a * b, axis=-1, keepdims=True), -1.0, 1.0)
    across = _normalize(b - cosine * a)
    angle = jnp.arccos(cosine)
    turned = t.reshape(-1, *[1] * (a.ndim - 1)) * angle
    start = jnp.cos(turned) * a + jnp.sin(turned) * across
    ahead = jnp.cos(turned) * across - jnp.sin(turned) * a  # unit vector of the direction of travel
    return start, jnp.cos(epsilon * angle) * start + jnp.sin(epsilon * angle) * ahead


STEPS = {"z": circle, "w": straight}


def prepare(
    images: Float[Array, "batch height width channels"], crop: bool = False
) -> Float[Array, "batch h w channels"]:
    """Images as they are measured: the face if asked for, then reduced to 256 rows or somewhat more.

    Means of boxes of n x n pixels, n = height // 256 after the crop. (StyleGAN2-ADA takes n from the height before the
    crop; the two agree where nothing is cropped.)
    """
    images = face(images) if crop else images
    height, width = images.shape[1:3]
    n = max(height // SIDE, 1)
    if height % n or width % n:
        raise InputError(f"path length: images of {height}x{width} cannot be reduced by averaging {n}x{n} pixels")
    return images.reshape(-1, height // n, n, width // n, n, images.shape[-1]).mean(axis=(2, 4))


def face(images: Float[Array, "batch height width channels"]) -> Float[Array, "batch h w channels"]:
    """Rows 3/8 to 7/8 and columns 2/8 to 6/8: the face of FFHQ's and CelebA-HQ's alignment, without background."""
    height, width = images.shape[1:3]
    unit = height // 8
    if height != width or unit == 0:
        raise InputError(f"path length: the crop to the face is for square images of 8x8 or more, not {height}x{width}")
    return images[:, 3 * unit : 7 * unit, 2 * unit : 6 * unit]


def _normalize(x):
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
