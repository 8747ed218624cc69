"""PSNR, SSIM, MS-SSIM and luma against exact values, direct float64 definitions, scikit-image and torchmetrics."""

import jax
import numpy as np
import pytest
import scipy.ndimage

from gan_jax.errors import InputError
from gan_jax.metrics import similarity
from gan_jax.metrics.similarity import crop_border, diversity, luma, psnr

ssim, ms_ssim = jax.jit(similarity.ssim), jax.jit(similarity.ms_ssim)
super_resolution = jax.jit(similarity.super_resolution, static_argnums=2)


def pictures(n, height, width, channels, seed=0):
    """Smooth images and noisy copies of them, uint8."""
    rng = np.random.default_rng(seed)
    clean = scipy.ndimage.gaussian_filter(rng.uniform(0, 255, (n, height, width, channels)), (0, 2, 2, 0))
    clean = (clean - clean.min()) / np.ptp(clean) * 255
    noise = rng.normal(0, 1, clean.shape) * np.linspace(5, 40, n)[:, None, None, None]
    return clean.round().astype(np.uint8), np.clip(clean + noise, 0, 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def torchmetrics():
    try:
        import torch
        from torchmetrics.functional import image
    except (ImportError, RuntimeError) as error:  # the latter from a torchvision built for another torch
        pytest.skip(f"torchmetrics cannot be imported: {error}")

    def call(name, a, b, **options):
        tensors = (torch.tensor(x.astype(np.float32)).permute(0, 3, 1, 2) for x in (a, b))
        result = getattr(image, name)(*tensors, data_range=255.0, **options)
        return tuple(np.asarray(x) for x in result) if isinstance(result, tuple) else np.asarray(result)

    return call


def test_psnr_of_known_errors():
    a = np.full((3, 4, 5, 2), 100.0, np.float32)
    b = a + np.array([1, -10, 0], np.float32)[:, None, None, None]
    np.testing.assert_allclose(psnr(a, b), [48.1308, 28.1308, np.inf], rtol=1e-6)
    np.testing.assert_allclose(psnr(a / 100, a / 100 + np.float32(0.1), data_range=1.0), 20.0, atol=1e-4)


def test_bytes_do_not_wrap_around():
    black = np.zeros((1, 16, 16, 1), np.uint8)
    assert psnr(black, black + np.uint8(255))[0] == pytest.approx(0.0, abs=1e-6)


def test_identical_images_have_similarity_one():
    a, _ = pictures(2, 32, 32, 3)
    np.testing.assert_array_equal(ssim(a, a), 1)
    np.testing.assert_array_equal(ms_ssim(a, a), 1)


def test_black_against_white():
    """Only the luminance term is left: C1 / (255² + C1) with C1 = (.01 * 255)², to the power of the last weight."""
    black = np.zeros((2, 32, 32, 3), np.uint8)
    luminance = 2.55**2 / (255**2 + 2.55**2)
    np.testing.assert_allclose(ssim(black, black + np.uint8(255)), luminance, rtol=1e-5)
    similarity = ms_ssim(black, black + np.uint8(255))
    np.testing.assert_allclose(similarity, luminance**0.1333, rtol=1e-6)
    np.testing.assert_allclose(similarity, 0.2929425, atol=1e-5)  # the reference, which rounds in its transforms


def test_opposite_structure_is_clipped_at_zero():
    a, _ = pictures(2, 32, 32, 3)
    assert ssim(a, 255 - a)[0] < 0
    assert ms_ssim(a, 255 - a)[0] == 0.0


def definition(a, b):
    """SSIM and contrast, averaged, of [H, W, C] in float64 and with a two-dimensional window (Wang et al., 2004)."""
    size = min(11, *a.shape[:2])
    places = np.arange(size) - (size - 1) / 2
    window = np.exp(-(places[:, None] ** 2 + places[None] ** 2) / (2 * (1.5 * size / 11) ** 2))
    patches = [np.lib.stride_tricks.sliding_window_view(x.astype(float), (size, size), axis=(0, 1)) for x in (a, b)]

    def mean(x):
        return (x * window / window.sum()).sum(axis=(-1, -2))

    x, y = patches
    centred = [p - mean(p)[..., None, None] for p in patches]
    contrast = (2 * mean(centred[0] * centred[1]) + 58.5225) / (sum(mean(p * p) for p in centred) + 58.5225)
    luminance = (2 * mean(x) * mean(y) + 6.5025) / (mean(x) ** 2 + mean(y) ** 2 + 6.5025)
    return (luminance * contrast).mean(), contrast.mean()


@pytest.mark.parametrize("size", [(16, 16), (28, 35)])
def test_ms_ssim_by_its_definition_where_the_window_shrinks(size):
    a, b = pictures(2, *size, 3)
    expected = np.ones(2)
    for i in range(2):
        x, y = a[i].astype(float), b[i].astype(float)
        for weight in (0.0448, 0.2856, 0.3001, 0.2363):
            expected[i] *= definition(x, y)[1] ** weight
            height, width = (side // 2 for side in x.shape[:2])
            x, y = (z[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3).mean(axis=(1, 3)) for z in (x, y))
        expected[i] *= definition(x, y)[0] ** 0.1333
    np.testing.assert_allclose(ms_ssim(a, b), expected, atol=1e-6)


def test_flat_bright_images_lose_nothing_to_float32():
    rng = np.random.default_rng(0)
    a, b = (250 + rng.integers(0, 2, (2, 1, 24, 24, 1))).astype(np.uint8)
    np.testing.assert_allclose(ssim(a, b), [definition(a[0], b[0])[0]], atol=1e-6)


@pytest.mark.parametrize("channels", [1, 4])
def test_channels_are_filtered_separately_and_averaged(channels):
    a, b = pictures(2, 24, 24, 4)
    separate = np.mean([ssim(a[..., i : i + 1], b[..., i : i + 1]) for i in range(channels)], axis=0)
    np.testing.assert_allclose(ssim(a[..., :channels], b[..., :channels]), separate, atol=1e-6)


def test_against_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    a, b = pictures(2, 30, 41, 3)
    theirs = {"channel_axis": -1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = [metrics.structural_similarity(x, y, data_range=255, **theirs) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(ssim(a, b), expected, atol=1e-6)
    expected = [metrics.peak_signal_noise_ratio(x, y, data_range=255) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(psnr(a, b), expected, rtol=1e-6)


def test_against_torchmetrics(torchmetrics):
    """Its SSIM also averages over mirrored borders, its contrast terms do not: compared is what has one definition."""
    a, b = pictures(1, 176, 176, 1)  # the least at which its window, which does not shrink, fits all five scales
    each = {"reduction": "none"}
    np.testing.assert_allclose(psnr(a, b), torchmetrics("peak_signal_noise_ratio", a, b, dim=(1, 2, 3), **each), 1e-5)
    _, places = torchmetrics("structural_similarity_index_measure", a, b, return_full_image=True, **each)
    np.testing.assert_allclose(ssim(a, b), places[:, :, 5:-5, 5:-5].mean(axis=(1, 2, 3)), atol=1e-5)
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.0)
    contrast = torchmetrics("multiscale_structural_similarity_index_measure", a, b, betas=weights, **each)
    coarse = [x.astype(np.float32).reshape(1, 11, 16, 11, 16, 1).mean(axis=(2, 4)) for x in (a, b)]
    np.testing.assert_allclose(ms_ssim(a, b), contrast * ssim(*coarse) ** 0.1333, atol=1e-5)


def test_diversity_is_the_mean_over_consecutive_pairs_for_any_batch_size():
    clean, noisy = pictures(5, 16, 16, 3)
    images = np.stack([clean, noisy], axis=1).reshape(10, 16, 16, 3)
    expected = np.asarray(ms_ssim(clean, noisy)).mean(dtype=np.float64)
    for batch_size in (2, 5, 64):
        assert diversity(images, batch_size) == pytest.approx(expected, abs=1e-6)
    assert diversity(np.repeat(clean, 2, axis=0), 5) == 1.0


def test_luma_of_known_colours():
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0]], np.float32)
    y = luma(colours[:, None, None])
    assert y.shape == (4, 1, 1, 1)
    np.testing.assert_allclose(y[:, 0, 0, 0], [16, 235, 81.481, 144.553], rtol=1e-6)


def test_crop_border():
    x = np.arange(2 * 6 * 7).reshape(2, 6, 7, 1)
    np.testing.assert_array_equal(crop_border(x, 2), x[:, 2:4, 2:5])
    np.testing.assert_array_equal(crop_border(x, 0), x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ms_ssim(x[:, :15], x[:, :15]), "15x32 are too small .* 16 pixels"),
        (lambda x: ssim(x[:, :, :10], x[:, :, :10]), "32x10 are smaller than its window, 11x11"),
        (lambda x: psnr(x, x[:1]), r"one shape, got \(3, 32, 32, 1\) and \(1, 32, 32, 1\)"),
        (lambda x: diversity(x, 2), "in pairs: 3 given, an even number"),
        (lambda x: diversity(x[:0], 2), "in pairs: 0 given"),
        (lambda x: diversity(x[:2], 0), "batch_size=0"),
        (luma, "1 channel"),
        (lambda x: crop_border(x, 16), "border of 16 pixel"),
        (lambda x: crop_border(x, -1), "border of -1 pixel"),
    ],
)
def test_bad_input_says_what_is_needed(call, message):
    with pytest.raises(InputError, match=message):
        call(np.zeros((3, 32, 32, 1), np.uint8))


def test_super_resolution_looks_at_luma_without_borders():
    """What differs in the border, or in colour at one luma, costs nothing; one step of Y everywhere is 48.13 dB."""
    truth = np.random.default_rng(3).integers(40, 200, (2, 24, 28, 3)).astype(np.float32)
    border = truth.copy()
    border[:, :4] = border[:, -4:] = border[:, :, :4] = border[:, :, -4:] = 0.0
    made, alike = super_resolution(border, truth, 4)
    assert np.isinf(made).all()
    np.testing.assert_allclose(alike, 1.0, atol=1e-6)
    lighter = truth + np.float32(255 / 219)
    np.testing.assert_allclose(super_resolution(lighter, truth, 4)[0], 48.1308, atol=1e-3)
    grey = super_resolution(lighter[..., :1], truth[..., :1], 4)[0]
    np.testing.assert_allclose(grey, 48.1308, atol=1e-3)
    with pytest.raises(InputError, match="smaller than its window"):
        super_resolution(truth[:, :16], truth[:, :16], 4)
