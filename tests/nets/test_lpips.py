"""LPIPS by hand, by its axioms, and against the same formula in PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.nets import lpips, vgg
from tests.nets.test_vgg import peer

WIDTHS = (8, 8, 12, 12, 12)


@pytest.fixture(scope="module")
def weights():
    return vgg.init(0, fully_connected=False, widths=WIDTHS), lpips.init_linear(1, WIDTHS)


@pytest.fixture(scope="module")
def distance(weights):
    return jax.jit(lambda a, b: lpips.distance(*weights, a, b))


def images(count=4, side=32, seed=0):
    """Smooth random images in [-.8, .8]."""
    coarse = np.random.default_rng(seed).uniform(-0.8, 0.8, (count, 4, 4, 3))
    return np.asarray(jax.image.resize(coarse, (count, side, side, 3), "bilinear"), np.float32)


def test_compare_by_hand():
    """(3, 4) has unit vector (.6, .8): .36 * .3 + .64 * .5 = .428 from nothing; (1, 0) to (0, 1): .3 + .5 = .8."""
    linear = (jnp.array([0.3, 0.5]), jnp.array([2.0]))
    pixels = jnp.array([[[[3.0, 4.0], [5.0, 0.0]]]])  # [1,1,2,2]
    others = jnp.array([[[[0.0, 0.0], [0.0, 7.0]]]])
    second = jnp.array([[[[9.0], [0.0]], [[1.0], [4.0]]]])
    nothing = jnp.zeros((1, 2, 2, 1))
    found = jax.jit(lambda a, b: lpips.compare(linear, *(list(map(lpips.unit, x)) for x in (a, b))))(
        (pixels, second), (others, nothing)
    )
    np.testing.assert_allclose(found, [(0.428 + 0.8) / 2 + 2 * 3 / 4], rtol=1e-6)


def test_equal_images_are_at_distance_zero_and_order_does_not_matter(distance):
    a, b = images(), images(seed=1)
    np.testing.assert_allclose(distance(a, a), 0, atol=1e-13)
    np.testing.assert_allclose(distance(a, b), distance(b, a), rtol=1e-5)
    assert distance(a, b).min() > 0
    np.testing.assert_allclose(distance(a, b)[::-1], distance(a[::-1], b[::-1]), rtol=1e-5)


def test_grows_with_noise(distance):
    a = images()
    noise = np.random.default_rng(2).standard_normal(a.shape).astype(np.float32)
    near, nearer, far = (np.asarray(distance(a, a + sigma * noise)) for sigma in (0.1, 0.05, 0.2))
    assert np.all(nearer < near)
    assert np.all(near < far)


def test_shift_and_scale_are_imagenets_for_images_in_minus_one_to_one(weights):
    a = images(1)
    found = jax.jit(lpips.embed)(weights[0], a)
    wanted = jax.jit(lambda p, x: vgg.features(p, x, lpips.TAPS))(weights[0], (a + 1) * np.float32(127.5))
    for x, tap in zip(found, lpips.TAPS, strict=True):
        length = np.linalg.norm(wanted[tap], axis=-1, keepdims=True)
        np.testing.assert_allclose(x * length, wanted[tap], atol=1e-4 * length.max())
        np.testing.assert_allclose(np.linalg.norm(x, axis=-1).max(), 1, rtol=1e-5)


def test_gradients_are_finite_where_relus_are_dead():
    """The derivative of a length is not a number where nothing is left; its limit for us is that of 0 / 1e-10."""
    gradient = jax.grad(lambda x: lpips.unit(x)[0, 0])(jnp.zeros((1, 3)))
    assert np.isfinite(gradient).all()


def test_gradient_points_to_the_other_image(weights):
    a, b = images(1, 16), images(1, 16, seed=1)
    descend = jax.jit(jax.value_and_grad(lambda x: lpips.distance(*weights, x, b)[0]))
    before, gradient = descend(a)
    assert np.isfinite(gradient).all()
    after, _ = descend(a - 1e-2 * gradient / jnp.linalg.norm(gradient))
    assert after < before


def torch_lpips(torch, arrays, linear, a, b):
    """The formula of the sheet, in PyTorch's operations."""
    shift, scale = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    x, y = ((torch.tensor(v).permute(0, 3, 1, 2) - shift) / scale for v in (a, b))
    total = 0
    for index in range(30):
        if f"features.{index}.weight" in arrays:
            kernel, bias = (torch.tensor(arrays[f"features.{index}.{name}"]) for name in ("weight", "bias"))
            x, y = (torch.relu(torch.nn.functional.conv2d(v, kernel, bias, padding=1)) for v in (x, y))
        elif index in (4, 9, 16, 23):
            x, y = (torch.nn.functional.max_pool2d(v, 2) for v in (x, y))
        if index in (3, 8, 15, 22, 29):
            u, v = (value / (value.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for value in (x, y))
            weight = torch.tensor(linear[f"lin{(3, 8, 15, 22, 29).index(index)}.model.1.weight"])
            total = total + torch.nn.functional.conv2d((u - v) ** 2, weight).mean((2, 3))[:, 0]
    return total.numpy()


def linear_arrays(widths):
    rng = np.random.default_rng(3)
    return {f"lin{i}.model.1.weight": rng.random((1, w, 1, 1), np.float32) for i, w in enumerate(widths)}


@pytest.mark.parametrize("widths", [WIDTHS, pytest.param(vgg.WIDTHS, marks=pytest.mark.slow)])
def test_agrees_with_pytorch(widths):
    torch = pytest.importorskip("torch")
    _, arrays = peer(torch, 16, widths, hidden=1)
    linear = linear_arrays(widths)
    a, b = images(2, 64), images(2, 64, seed=1)
    wanted = torch_lpips(torch, arrays, linear, a, b)
    params = vgg.from_torch(arrays, fully_connected=False, widths=widths)
    found = jax.jit(lpips.distance)(params, lpips.linear_from_torch(linear, widths), a, b)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_reads_the_linear_layers(tmp_path):
    arrays = linear_arrays(vgg.WIDTHS)
    np.savez(tmp_path / "vgg.npz", **arrays)
    linear = lpips.load_linear(tmp_path / "vgg.npz")
    assert sum(weight.size for weight in linear) == 1472
    np.testing.assert_array_equal(linear[3], arrays["lin3.model.1.weight"].ravel())
    with pytest.raises(InputError, match=r"x\.pth: .*'lin2\.model\.1\.weight' is missing"):
        lpips.linear_from_torch({k: v for k, v in arrays.items() if "lin2" not in k}, source="x.pth")
    with pytest.raises(InputError, match=r"'lin0\.model\.1\.weight' is \[64\], must be \[1, 64, 1, 1\]"):
        lpips.linear_from_torch({**arrays, "lin0.model.1.weight": np.zeros(64)})
