"""From images back to latents.

`project` is the projector of StyleGAN2 (Karras et al., 2019, arXiv:1912.04958, appendix D; the values are those of the
authors' code) for generators with an intermediate latent w; `invert` is its plain relative for those that have only z.

Both are one compiled loop over a batch of images, whose results do not depend on each other. Networks come in as
functions of `state`, any pytree of all their parameters: nothing is baked into the program. It is compiled once for
each pair of functions, so pass the same ones, not a new lambda in every call. Normalisation layers must run on fixed
statistics, or the images of a batch and its restarts would depend on each other.

Projection has to be able to fail: an image that the generator cannot make must keep a low PSNR.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, PyTree

from gan_jax import latents
from gan_jax.errors import InputError, choose

RATE, NOISE = 0.1, 0.05  # the learning rate, and the noise on w at the start, in standard deviations of w
RAMP_UP, RAMP_DOWN, NOISE_RAMP = 0.05, 0.25, 0.75  # shares of the run: first, last, first
REGULARISER = 1e5  # weight of the autocorrelation of noise maps
COARSEST = 8  # side of the last noise map of the pyramid

AnyArray = Array | np.ndarray
Scalar = float | Float[Array | np.floating, ""]


class Projection(NamedTuple):
    latents: Float[Array, "batch *latent"]
    noise: PyTree  # the noise maps found; None where there are none
    images: Float[Array, "batch *image"]
    distance: Float[Array, "batch"]  # what was minimised, without regularisers
    psnr: Float[Array, "batch"]  # dB
    sigmas: Float[Array, "batch"]  # how far the latent is from the mean, in standard deviations


class Statistics(NamedTuple):
    mean: Float[Array, "size"]
    std: Float[Array, ""]  # root mean square of |w - mean|: of the whole vector, not of an entry


def statistics(w: Float[AnyArray, "count size"]) -> Statistics:
    """Mean and standard deviation of w; the authors take 10,000 of them."""
    mean = w.mean(axis=0)
    return Statistics(mean, jnp.sqrt(jnp.sum((w - mean[None]) ** 2, axis=-1).mean()))


def learning_rate(t: Scalar) -> Float[Array, ""]:
    """The rate after a share `t` in [0, 1] of the run: a linear rise, a plateau, half a cosine down to 0."""
    down = jnp.sin(0.5 * jnp.pi * jnp.clip((1.0 - t) / RAMP_DOWN, 0.0, 1.0)) ** 2  # (1 - cos) / 2, without cancellation
    return RATE * down * jnp.clip(t / RAMP_UP, 0.0, 1.0)


def noise_factor(t: Scalar) -> Float[Array, ""]:
    """Noise on w after a share `t` in [0, 1] of the run, in standard deviations of w."""
    return NOISE * jnp.maximum(0.0, 1.0 - t / NOISE_RAMP) ** 2


def autocorrelation(maps: PyTree) -> Float[Array, "batch"] | float:
    """What noise maps [batch, H, W, ...] must not have: squared correlations of neighbours, summed over scales.

    Each map counts at its own size and, averaged over 2 x 2 blocks again and again, down to a side of 8; neighbours in
    x and in y, around the edges (equation of appendix D). Before the weight of 1e5.
    """
    return sum((_pyramid(noise) for noise in jax.tree.leaves(maps)), start=0.0)


def _pyramid(noise: Float[AnyArray, "batch height width *rest"]) -> Float[Array, "batch"]:
    rest = tuple(range(1, noise.ndim))
    own = sum(jnp.mean(noise * jnp.roll(noise, 1, axis), axis=rest) ** 2 for axis in (1, 2))
    side = min(noise.shape[1:3])
    return own if side <= COARSEST else own + _pyramid(_shrink(noise, 2))


def _shrink(x: AnyArray, factor: int) -> AnyArray:
    """Means over blocks of `factor` x `factor`."""
    count, height, width, *rest = x.shape
    if height % factor or width % factor:
        raise InputError(f"a map of {height}x{width} cannot be averaged over blocks of {factor}x{factor}")
    return x.reshape(count, height // factor, factor, width // factor, factor, *rest).mean(axis=(2, 4))


def renormalise(maps: PyTree) -> PyTree:
    """Noise maps [batch, H, W, ...], each with mean 0 and standard deviation 1."""

    def each(noise):
        axes = tuple(range(1, noise.ndim))
        centred = noise - noise.mean(axis=axes, keepdims=True)
        return centred * jax.lax.rsqrt(jnp.mean(centred**2, axis=axes, keepdims=True) + 1e-12)

    return jax.tree.map(each, maps)


def for_perception(images: Float[AnyArray, "batch height width channels"], side: int = 256) -> AnyArray:
    """Images in [-1, 1] as the projector shows them to a perceptual distance: 0 to 255, averaged to at most `side`."""
    return _shrink((images + 1.0) * 127.5, max(1, images.shape[1] // side))


def psnr(a: Float[AnyArray, "batch *image"], b: Float[AnyArray, "batch *image"]) -> Float[Array, "batch"]:
    """Peak signal-to-noise ratio of images in [-1, 1], dB: 10 log10(4 / mean squared error)."""
    return 10.0 * jnp.log10(4.0 / _squared(a, b))


def _squared(a: Array, b: Array) -> Float[Array, "batch"]:
    return jnp.mean((a - b) ** 2, axis=tuple(range(1, a.ndim)))


@partial(jax.jit, static_argnames=("generate", "distance", "steps"))
def project(
    key: Key[Array, ""],
    generate: Callable,
    distance: Callable,
    state: PyTree,
    targets: Float[Array, "batch *image"],
    mean: Float[Array, "*latent"],
    std: Scalar,
    *,
    start: Float[Array, "batch *start"] | None = None,
    noise: PyTree = None,
    steps: int = 1000,
) -> Projection:
    """The latents whose images are nearest to `targets` (in [-1, 1]), started from the mean.

    Args:
      generate: (state, latents [B, ...]) -> images [B, ...], or (state, latents, noise) where `noise` is given.
      distance: (state, images, targets) -> [B], LPIPS of `for_perception` for the authors.
      mean, std: of the latent, as `statistics` has them. A mean [L, D] projects into W+.
      start: where to begin instead of the mean, an encoder's guess or one w for each layer, [B, L, D].
      noise: noise maps [B, H, W, ...] to be found as well, standard normals at first.
    """
    start = jnp.broadcast_to(mean, (targets.shape[0], *mean.shape)) if start is None else start

    def loss(moved, index):
        shake = std * noise_factor(index / steps)
        shaken = moved[0] + shake * _normals(jax.random.fold_in(key, index), moved[0].shape)
        away = distance(state, generate(state, shaken, *moved[1:]), targets)
        return jnp.sum(away + REGULARISER * autocorrelation(moved[1:]))

    moved = _adam(loss, (start,) if noise is None else (start, noise), steps)
    images = generate(state, *moved)
    off = jnp.sum((moved[0] - jnp.broadcast_to(mean, moved[0].shape)) ** 2, axis=-1)
    return Projection(
        latents=moved[0],
        noise=None if noise is None else moved[1],
        images=images,
        distance=distance(state, images, targets),
        psnr=psnr(images, targets),
        sigmas=jnp.sqrt(off.mean(axis=tuple(range(1, off.ndim)))) / std,  # in W+: over all layers
    )


def _normals(key: Array, shape: tuple[int, ...]) -> Array:
    """Standard normals, each example's from a key of its own: they do not depend on how many there are."""
    keys = jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(shape[0]))
    return jax.vmap(lambda key: jax.random.normal(key, shape[1:]))(keys)


def _adam(loss: Callable, moved: tuple, steps: int) -> tuple:
    """`moved` after `steps` steps of Adam on `loss(moved, index)`; all of it but its first entry is noise maps."""
    adam = optax.scale_by_adam()

    def step(carry, index):
        moved, memory = carry
        slope = jax.grad(loss)(moved, index)
        with jax.numpy_dtype_promotion("standard"):  # Optax raises floats to its integer step count
            slope, memory = adam.update(slope, memory)
        rate = learning_rate(index / steps)
        first, *maps = jax.tree.map(lambda x, d: x - rate * d, moved, slope)
        return ((first, *renormalise(maps)), memory), None

    return jax.lax.scan(step, (moved, adam.init(moved)), jnp.arange(steps))[0][0]


class Prior(NamedTuple):
    """What keeps a latent where the generator has seen it: a search space without bounds, or a penalty."""

    variance: float  # of one entry
    free: Callable  # z -> u, the point of the search space
    latent: Callable  # u -> z
    penalty: Callable  # z [..., D] -> [...]


def _identity(z):
    return z


def _nothing(z):
    return jnp.zeros(z.shape[:-1])


def _off_shell(z):
    """How far |z|^2 is from D, in its standard deviations, squared: normals live on a shell, thin if D is large."""
    size = z.shape[-1]
    return (jnp.sum(z**2, axis=-1) - size) ** 2 / (2.0 * size)


def _onto_sphere(u):
    return u * jax.lax.rsqrt(jnp.mean(u**2, axis=-1, keepdims=True) + 1e-12)


def _box(bound: float) -> Prior:
    """The box is the image of a hyperbolic tangent (Zhu et al., 2016, arXiv:1609.03552), whose inverse ends at .99."""
    return Prior(
        bound**2 / 3.0,
        lambda z: jnp.arctanh(jnp.clip(z / bound, -0.99, 0.99)),
        lambda u: bound * jnp.tanh(u),
        _nothing,
    )


PRIORS: dict[str, Prior] = {  # the names of `gan_jax.latents`
    "normal": Prior(1.0, _identity, _identity, _off_shell),
    "sphere": Prior(1.0, _identity, _onto_sphere, _nothing),
    "uniform": _box(1.0),
    "uniform_unit_variance": _box(3.0**0.5),
}


def draw_starts(
    key: Key[Array, ""], restarts: int, count: int, size: int, prior: str = "normal"
) -> Float[Array, "{restarts} {count} {size}"]:
    """Latents to start `invert` from; 8 to 16 restarts are usual."""
    return choose(prior, latents.BY_NAME, "latent")(key, restarts * count, size).reshape(restarts, count, size)


def pixels_only(state: PyTree, images: Float[AnyArray, "batch *image"]) -> Float[Array, "batch 1"]:
    """Features that say nothing."""
    return jnp.zeros((images.shape[0], 1))


@partial(jax.jit, static_argnames=("generate", "features", "prior", "steps"))
def invert(
    generate: Callable,
    state: PyTree,
    targets: Float[Array, "batch *image"],
    starts: Float[Array, "restarts batch size"],
    *,
    features: Callable = pixels_only,
    feature_weight: Scalar = 0.002,
    prior: str = "normal",
    weight: Scalar = 1e-4,
    steps: int = 1000,
) -> Projection:
    """The z whose images are nearest to `targets` (in [-1, 1]): the best end of several starts for each image.

    Minimises the mean squared error of the pixels, plus that of `features`, plus what keeps z in its prior, by Adam at
    the projector's rates. All starts run side by side: memory grows with them.

    Args:
      generate: (state, z [B, D]) -> images [B, ...].
      starts: drawn from the prior (`draw_starts`), or an encoder's guess [1, B, D] for 100 steps of refinement.
      features: (state, images) -> [B, ...]; 0.002 is the weight for AlexNet's conv4 (Zhu et al., 2016).
      prior: a name of `PRIORS`, config.model.latent of the run.
      weight: what it costs a normal latent, in mean squared error, to be one standard deviation of |z|^2 off D. The
        default lets the typical latent reach 46 dB at least.

    Raises:
      InputError: for a prior that does not exist.
    """
    keep = choose(prior, PRIORS, "prior")
    wanted = features(state, targets)

    def away(u):  # [batch, D] -> [batch]
        images = generate(state, keep.latent(u))
        return _squared(images, targets) + feature_weight * _squared(features(state, images), wanted)

    def objective(u):  # [restarts, batch, D] -> [restarts, batch]
        return jax.vmap(away)(u) + weight * keep.penalty(keep.latent(u))

    (ends,) = _adam(lambda moved, index: objective(moved[0]).sum(), (keep.free(starts),), steps)
    best = ends[jnp.argmin(objective(ends), axis=0), jnp.arange(targets.shape[0])]
    z = keep.latent(best)
    images = generate(state, z)
    return Projection(
        latents=z,
        noise=None,
        images=images,
        distance=away(best),
        psnr=psnr(images, targets),
        sigmas=jnp.sqrt(jnp.mean(z**2, axis=-1) / keep.variance),
    )
