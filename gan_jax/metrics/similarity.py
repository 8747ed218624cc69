"""How alike two images are: PSNR, SSIM, MS-SSIM; and how alike a generator's samples are to each other.

SSIM is that of Wang et al. (2004, IEEE TIP 13(4)), MS-SSIM that of Wang et al. (2003) as the progressive GAN measures
it (Karras et al., 2018, arXiv:1710.10196). Every function can be jitted, takes any number of channels and treats
them separately. Filters are sums of shifted images: float32 on every device, with no precision to choose.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real, UInt8
from tqdm import tqdm

from gan_jax.errors import InputError

Images = Real[Array | np.ndarray, "_ _ _ _"]  # batch, height, width, channels

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of MS-SSIM, finest first; their sum is 1.0001
WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
LUMA = (65.481, 128.553, 24.966)  # ITU-R BT.601, of R, G and B in 0..1


def psnr(a: Images, b: Images, data_range: float = 255.0) -> Float[Array, "batch"]:
    """Peak signal-to-noise ratio in dB, 10 log10(range² / mean squared error); infinite for equal images.

    `data_range` is the difference between white and black, 255 for bytes.
    """
    a, b = _pair(a, b)
    error = _mean(jnp.square(a - b))
    return 10 * jnp.log10(data_range**2 / error)


def ssim(a: Images, b: Images, data_range: float = 255.0) -> Float[Array, "batch"]:
    """Structural similarity, at most 1: mean over channels and the places where a Gaussian 11x11 of sigma 1.5 fits.

    Raises:
      InputError: for images smaller than the window.
    """
    a, b = _pair(a, b)
    if min(a.shape[1:3]) < WINDOW:
        raise InputError(f"SSIM: images of {_size(a)} are smaller than its window, {WINDOW}x{WINDOW} pixels")
    return _ssim(a, b, data_range)[0]


def ms_ssim(a: Images, b: Images) -> Float[Array, "batch"]:
    """Multi-scale structural similarity of images in 0..255, from 0 to 1.

    The product of the contrast terms at five scales (a 2x2 mean apart) and of the luminance term at the coarsest, each
    mean clipped at 0 and raised to its weight. Below 176 pixels the window shrinks to fit the coarse scales, as in the
    code of the progressive GAN, so figures compare only between images of one size. A side that is odd at some scale
    loses its last row before it is halved (that code wants multiples of 16).

    Raises:
      InputError: for sides under 16 pixels, of which no pixel is left at the fifth scale.
    """
    a, b = _pair(a, b)
    smallest = 2 ** (len(SCALE_WEIGHTS) - 1)
    if min(a.shape[1:3]) < smallest:
        raise InputError(
            f"MS-SSIM: images of {_size(a)} are too small for its {len(SCALE_WEIGHTS)} scales; both sides must be "
            f"{smallest} pixels or more"
        )
    product = jnp.ones(a.shape[0])
    for weight in SCALE_WEIGHTS[:-1]:
        product *= jnp.maximum(_ssim(a, b, 255.0)[1], 0.0) ** weight
        a, b = _halve(a), _halve(b)
    return product * jnp.maximum(_ssim(a, b, 255.0)[0], 0.0) ** SCALE_WEIGHTS[-1]


def diversity(images: UInt8[np.ndarray, "n height width channels"], batch_size: int = 32) -> float:
    """Mean MS-SSIM of the pairs (0, 1), (2, 3), ... of independent samples: the higher, the less diverse.

    Published figures take 20,000 samples; real CelebA at 128 pixels has .2828 to .3. `batch_size` is the number of
    pairs on the device at once, at about 60 bytes per pixel and channel each; it does not change the result.

    Raises:
      InputError: for an odd number of images, or none; for images too small (see `ms_ssim`).
    """
    if len(images) < 2 or len(images) % 2:
        raise InputError(f"MS-SSIM compares images in pairs: {len(images)} given, an even number from 2 up is needed")
    if batch_size < 1:
        raise InputError(f"MS-SSIM: batch_size={batch_size} pairs at once; it must be 1 or more")
    first, second = images[0::2], images[1::2]
    pairs, batch_size = len(first), min(batch_size, len(first))
    values = []
    for start in tqdm(range(0, pairs, batch_size), desc="MS-SSIM", disable=None, leave=False):
        rows = np.minimum(np.arange(start, start + batch_size), pairs - 1)  # the last batch has the shape of the others
        values.append(np.asarray(_ms_ssim(first[rows], second[rows])))
    return float(np.concatenate(values)[:pairs].mean(dtype=np.float64))


def luma(images: Images) -> Float[Array, "batch height width 1"]:
    """Y of RGB in 0..255: black is 16, white is 235 (ITU-R BT.601, studio swing).

    Raises:
      InputError: unless there are 3 channels.
    """
    if images.shape[-1] != 3:
        raise InputError(f"luma: images have {images.shape[-1]} channel(s), it is defined for the 3 of RGB")
    red, green, blue = jnp.split(jnp.asarray(images, jnp.float32), 3, axis=-1)
    return 16 + (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue) / 255


def super_resolution(made: Images, truth: Images, border: int) -> tuple[Float[Array, "batch"], Float[Array, "batch"]]:
    """PSNR in dB and SSIM as super-resolution reports them: on Y of bytes, without `border` pixels at each side.

    Grey images are taken as RGB. The border is as wide as images were made larger.

    Raises:
      InputError: for images of unequal shape, or of which nothing is left for SSIM's window.
    """
    made, truth = _pair(made, truth)
    if truth.shape[-1] == 1:
        made, truth = (jnp.repeat(images, 3, axis=-1) for images in (made, truth))
    a, b = (crop_border(luma(images), border) for images in (made, truth))
    return psnr(a, b), ssim(a, b)


def crop_border(images: Images, n: int) -> Images:
    """`images` without `n` pixels at each of the four sides.

    Raises:
      InputError: if nothing would be left, or `n` is negative.
    """
    height, width = images.shape[1:3]
    if n < 0 or min(height, width) <= 2 * n:
        raise InputError(f"cannot cut a border of {n} pixel(s) off images of {_size(images)}")
    return images[:, n : height - n, n : width - n]


def filter_valid(images: Float[Array, "b h w c"], taps: np.ndarray) -> Float[Array, "b h2 w2 c"]:
    """Correlation with the outer product of `taps` with itself, only where it fits."""
    for axis in (1, 2):
        size = images.shape[axis] - len(taps) + 1
        shifted = (jax.lax.slice_in_dim(images, i, i + size, axis=axis) for i in range(len(taps)))
        images = sum(float(tap) * image for tap, image in zip(taps, shifted, strict=True))
    return images


def _ssim(a: jax.Array, b: jax.Array, data_range: float) -> tuple[jax.Array, jax.Array]:
    """Mean SSIM and mean contrast term of each image [B]."""
    taps = _gaussian(min(WINDOW, *a.shape[1:3]))
    # (Co)variances do not depend on what is subtracted; near 0 their float32 differences of squares are exact enough.
    mean_a, mean_b = (jnp.mean(x, axis=(1, 2), keepdims=True) for x in (a, b))
    a, b = a - mean_a, b - mean_b
    blurred = filter_valid(jnp.concatenate([a, b, a * a, b * b, a * b]), taps)
    mu_a, mu_b, aa, bb, ab = jnp.split(blurred, 5)
    covariance, variances = ab - mu_a * mu_b, aa + bb - mu_a * mu_a - mu_b * mu_b
    mu_a, mu_b = mu_a + mean_a, mu_b + mean_b
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    contrast = (2 * covariance + c2) / (variances + c2)
    luminance = (2 * mu_a * mu_b + c1) / (mu_a * mu_a + mu_b * mu_b + c1)
    return _mean(luminance * contrast), _mean(contrast)


def _mean(x: jax.Array) -> jax.Array:
    """Mean of each image [B]; in two steps, as one long float32 sum loses digits on a CPU."""
    return jnp.mean(jnp.mean(x, axis=1), axis=(1, 2))


_ms_ssim = jax.jit(ms_ssim)


def _gaussian(size: int) -> np.ndarray:
    """Gaussian window; sigma shrinks with it when images are smaller than 11 pixels."""
    sigma = SIGMA * size / WINDOW
    taps = np.exp(-np.square(np.arange(size) - (size - 1) / 2) / (2 * sigma**2))
    return taps / taps.sum()


def _halve(x: jax.Array) -> jax.Array:
    height, width = (size // 2 * 2 for size in x.shape[1:3])
    x = x[:, :height, :width]
    return (x[:, 0::2, 0::2] + x[:, 1::2, 0::2] + x[:, 0::2, 1::2] + x[:, 1::2, 1::2]) / 4


def _pair(a: Images, b: Images) -> tuple[jax.Array, jax.Array]:
    if a.shape != b.shape:
        raise InputError(f"images to compare must have one shape, got {tuple(a.shape)} and {tuple(b.shape)}")
    return jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)


def _size(images: Images) -> str:
    return f"{images.shape[1]}x{images.shape[2]}"
