"""Sliced Wasserstein distance between patches of Laplacian pyramids (Karras et al., 2018, arXiv:1710.10196, section 5).

Patches at the coarse levels tell whether large structures agree, at the fine levels whether textures do. Images are
described batch by batch, `descriptors`; the descriptors of two equally large sets are compared with `distances`.
The paper takes 16,384 images of each. The distance between two sets of one distribution is not 0: with iid normal
descriptors it is 14.2e-3 for 16,384 of them (128 images) and falls with the square root of their number.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8
from tqdm import tqdm

from gan_jax.errors import InputError
from gan_jax.metrics.similarity import filter_valid

COARSEST = 16  # pixels; the smaller side of the last level is this or more, and less than twice this
PATCH, PATCHES = 7, 128  # side of a patch; patches per image and level
BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16
DIRECTIONS_AT_ONCE = 32


def levels(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of the pyramid's levels, finest first: halved while the smaller side stays 16 or more.

    Raises:
      InputError: if the smaller side is under 16, or a side is odd before the last level is reached.
    """
    sizes = [(height, width)]
    while min(sizes[-1]) >= 2 * COARSEST:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    multiple = 2 ** (len(sizes) - 1)
    if min(height, width) < COARSEST or height % multiple or width % multiple:
        raise InputError(
            f"sliced Wasserstein distance: images of {height}x{width} cannot be halved down to {COARSEST} to "
            f"{2 * COARSEST - 1} pixels; both sides must be at least {COARSEST} and multiples of {multiple} (crop or "
            "resize them)"
        )
    return sizes


def pyr_down(images: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Blurred by the binomial filter, mirrored at the border without repeating it, and every other pixel taken."""
    return _blur(images)[:, ::2, ::2]


def pyr_up(images: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    """Twice as large: zeros between the pixels, then the same blur, times 4."""
    spread = (0, 1, 1)
    return 4 * _blur(jax.lax.pad(images, 0.0, [(0, 0, 0), spread, spread, (0, 0, 0)]))


def laplacian_pyramid(images: Float[Array, "b h w c"]) -> list[Float[Array, "b _ _ c"]]:
    """Differences of neighbouring levels, finest first; the last level is the blurred image itself."""
    pyramid = [images]
    for _ in levels(*images.shape[1:3])[1:]:
        pyramid.append(pyr_down(pyramid[-1]))
        pyramid[-2] = pyramid[-2] - pyr_up(pyramid[-1])
    return pyramid


@jax.jit
def descriptors(
    images: UInt8[Array | np.ndarray, "batch height width channels"], seed: int | Array, first_index: int | Array
) -> dict[int, Float[Array, "rows values"]]:
    """128 random patches of 7x7 of every level of every image: {smaller side of the level: float32 [B*128, 49*C]}.

    Where they lie depends on `seed` and on the index of the image alone (`first_index` is that of the first), not on
    how images are batched or spread over devices; real and generated images want two seeds, so that their places are
    independent. Values are in 0..255 at the last level, in -255..255 elsewhere, channels innermost. Each level
    of 16,384 RGB images takes 1.2 GB of float32: keep them on the host.

    Raises:
      InputError: for sizes the pyramid does not exist for (see `levels`).
    """
    pyramid = laplacian_pyramid(jnp.asarray(images, jnp.float32))
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(first_index + jnp.arange(len(images)))
    return {min(level.shape[1:3]): _patches(level, keys) for level in pyramid}


def distances(
    real: Mapping[int, Float[np.ndarray, "_ _"]],
    fake: Mapping[int, Float[np.ndarray, "_ _"]],
    repeats: int = 4,
    directions: int = 128,
    seed: int = 0,
) -> dict[int | str, float]:
    """Sliced Wasserstein distance x1e3 of every level, and their "average".

    Each set is standardised per channel by its own mean and standard deviation over all patches (a channel without
    any spread, as of a collapsed generator, is centred only), projected onto `repeats` x `directions` random unit
    vectors, sorted; the distance is the mean absolute difference.

    Levels are compared one at a time, on the first device, 32 directions at once. That takes three copies of one
    level's descriptors, 12 * n * 49*C bytes: 3.7 GB for 16,384 RGB images.

    Raises:
      InputError: if the two sets differ in levels, number of descriptors or channels, or are empty.
    """
    _check(real, fake)
    result: dict[int | str, float] = {}
    for level in tqdm(list(real), desc="sliced Wasserstein", disable=None, leave=False):
        a, b = _standardised(real[level]), _standardised(fake[level])
        units = unit_directions(jax.random.fold_in(jax.random.key(seed), level), repeats * directions, a.shape[1])
        starts = range(0, len(units), DIRECTIONS_AT_ONCE)
        means = [_transport(a, b, units[i : i + DIRECTIONS_AT_ONCE]) for i in starts]
        result[level] = 1e3 * float(np.concatenate(means).mean(dtype=np.float64))
    result["average"] = float(np.mean(list(result.values())))
    return result


def unit_directions(key: Array, count: int, dimension: int) -> Float[Array, "count dimension"]:
    """Vectors of length 1, uniform on the sphere."""
    vectors = jax.random.normal(key, (count, dimension))
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)


def _blur(images: jax.Array) -> jax.Array:
    return filter_valid(jnp.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect"), BINOMIAL)


def _patches(images: jax.Array, keys: jax.Array) -> jax.Array:
    """The patches [B*128, 49*C] of images [B,H,W,C], the places of each image's drawn with its own key."""
    height, width, channels = images.shape[1:]
    corners = jnp.array([height - PATCH + 1, width - PATCH + 1])  # how many there are

    def of_image(image, key):
        key = jax.random.fold_in(key, min(height, width))  # levels of one image look at other places
        places = jax.random.randint(key, (PATCHES, 2), 0, corners[None])
        return jax.vmap(lambda row, column: _window(image, row, column))(places[:, 0], places[:, 1])

    return jax.vmap(of_image)(images, keys).reshape(-1, PATCH * PATCH * channels)


def _window(image: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
    return jax.lax.dynamic_slice(image, (row, column, 0), (PATCH, PATCH, image.shape[-1]))


def _standardised(values: np.ndarray) -> jax.Array:
    """Descriptors [n, 49*C] on the device with mean 0 and standard deviation 1 in each channel.

    The moments are summed in float64, on the host and by blocks: in float32 they would err as the distance is small.
    """
    blocks = [values[i : i + 2**16] for i in range(0, len(values), 2**16)]
    channels = values.shape[1] // PATCH**2

    def mean(per_column: np.ndarray) -> np.ndarray:
        return np.tile((per_column / len(values)).reshape(-1, channels).mean(axis=0), PATCH**2)

    centre = mean(sum(block.sum(axis=0, dtype=np.float64) for block in blocks))
    std = np.sqrt(mean(sum(np.square(block - centre).sum(axis=0) for block in blocks)))
    std = np.where(std > 1e-6, std, 1.0)
    return _affine(jnp.asarray(values), jnp.asarray(centre, jnp.float32), jnp.asarray(1 / std, jnp.float32))


@jax.jit
def _affine(values: jax.Array, centre: jax.Array, scale: jax.Array) -> jax.Array:
    return (values - centre[None]) * scale[None]


def _transport(a: jax.Array, b: jax.Array, units: jax.Array) -> np.ndarray:
    """Wasserstein-1 distances [k] between the projections of [n, d] and of [n, d] onto each of [k, d]."""
    a, b = _project(a, units), _project(b, units)
    if jax.default_backend() == "cpu":  # NumPy sorts 15 times as fast as XLA does there
        return np.abs(np.sort(np.asarray(a), axis=1) - np.sort(np.asarray(b), axis=1)).mean(axis=1)
    return jax.device_get(_sorted_difference(a, b))


@jax.jit
def _project(values: jax.Array, units: jax.Array) -> jax.Array:
    return jnp.matmul(units, values.T, precision=jax.lax.Precision.HIGHEST)


@jax.jit
def _sorted_difference(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.mean(jnp.abs(jnp.sort(a, axis=1) - jnp.sort(b, axis=1)), axis=1)


def _check(real: Mapping[int, np.ndarray], fake: Mapping[int, np.ndarray]) -> None:
    if not real or set(real) != set(fake):
        raise InputError(
            f"sliced Wasserstein distance: real images have the levels {sorted(real)}, generated ones {sorted(fake)}; "
            "both must have the same size"
        )
    for level, values in real.items():
        if values.shape != fake[level].shape or len(values) == 0:
            raise InputError(
                f"sliced Wasserstein distance: level {level} has {values.shape} descriptors of real images and "
                f"{fake[level].shape} of generated ones; both sets must have as many images (1 or more) and channels"
            )
