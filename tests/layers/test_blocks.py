"""Residual blocks: their arithmetic, written out once more, and the layers they are made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from gan_jax.layers.blocks import BottleneckBlock, DeepBlock, FirstBlock, ResidualBlock, fan_average, initialised
from gan_jax.layers.conv import Conv
from gan_jax.layers.norm import BatchNorm, LayerNorm, Unchanged
from gan_jax.layers.resample import average_pool, nearest
from gan_jax.layers.spectral import SpectralConv


def images(*shape):
    return jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)


def drawn(module, *inputs, **kwargs):
    """Parameters drawn by NumPy: initialisers take longer to compile than these blocks."""
    made, rng = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, **kwargs)), np.random.default_rng(1)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0.1, 0.3, leaf.shape), jnp.float32), made["params"])


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def convolve(x, layer):
    y = jax.lax.conv_general_dilated(x, layer["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y + layer["bias"].reshape(1, 1, 1, -1)


@pytest.mark.parametrize("resample", ["none", "up", "down"])
@pytest.mark.parametrize("features", [4, 6])
def test_a_block_written_out(resample, features):
    """In the order of the papers: a 1x1 convolution after doubling, before averaging."""
    x = images(2, 6, 8, 4)
    block = ResidualBlock(features, resample, hidden=5, conv=Conv, norm=Unchanged)
    params = drawn(block, x, train=True)
    up = nearest if resample == "up" else lambda h: h
    down = average_pool if resample == "down" else lambda h: h
    h = convolve(up(nn.relu(x)), params["Conv_0"])
    h = down(convolve(nn.relu(h), params["Conv_1"]))
    assert params["Conv_0"]["kernel"].shape == (3, 3, 4, 5)
    if resample == "none" and features == 4:
        assert "shortcut" not in params
        expected = x + h
    else:
        expected = down(convolve(up(x), params["shortcut"])) + h
    np.testing.assert_allclose(block.apply({"params": params}, x, train=True), expected, atol=1e-4)


def test_the_first_block_written_out():
    x = images(2, 6, 8, 3)
    block = FirstBlock(5)
    params = drawn(block, x)
    h = average_pool(convolve(nn.relu(convolve(x, params["Conv_0"])), params["Conv_1"]))
    np.testing.assert_allclose(
        block.apply({"params": params}, x), convolve(average_pool(x), params["shortcut"]) + h, atol=1e-5
    )


def test_what_a_block_holds():
    """The blocks of 128 channels in `gan_cifar_resnet.py`: 312,192 with two batch norms, 311,680 without."""

    def held(block, *shape):
        return count(jax.eval_shape(lambda: block.init(jax.random.key(0), jnp.zeros(shape), train=True))["params"])

    assert held(ResidualBlock(128, "up"), 1, 4, 4, 128) == 312_192
    assert held(ResidualBlock(128, "down", norm=Unchanged), 1, 8, 8, 128) == 311_680
    assert held(ResidualBlock(128, norm=LayerNorm, first_bias=False), 1, 8, 8, 128) == 295_168 - 128 + 512
    assert held(BottleneckBlock(512, norm=BatchNorm), 1, 4, 4, 512) == 853_504
    assert held(BottleneckBlock(256, "up", norm=BatchNorm), 1, 4, 4, 512) == 984_960
    assert held(BottleneckBlock(64, "down", norm=BatchNorm), 1, 8, 8, 32) == 9_456


def test_classes_reach_both_norms():
    x, label = images(3, 4, 4, 2), jnp.eye(3)
    variables = jax.eval_shape(lambda: ResidualBlock(4).init(jax.random.key(1), x, label, train=True))
    tables = {name: jax.tree.map(jnp.shape, leaf) for name, leaf in variables["params"].items() if "Norm" in name}
    assert tables == {
        f"BatchNorm_{i}": {"gain": {"kernel": (3, size)}, "bias": {"kernel": (3, size)}} for i, size in ((0, 2), (1, 4))
    }


def test_spectral_layers_fit_in():
    x = images(2, 8, 8, 4)
    block = ResidualBlock(6, "down", conv=SpectralConv, norm=Unchanged)
    variables = jax.eval_shape(lambda: block.init(jax.random.key(1), x, train=True))
    assert set(variables["spectral"]) == {"SpectralConv_0", "SpectralConv_1", "shortcut"}


@pytest.mark.parametrize(("resample", "size"), [("none", (6, 8)), ("up", (12, 16)), ("down", (3, 4))])
def test_a_bottleneck(resample, size):
    """What is added to the shortcut is damped by .3, which shows where the norm's gain is 0 or doubled."""
    x = images(2, 6, 8, 4)
    block = BottleneckBlock(6, resample, norm=LayerNorm)
    params = drawn(block, x, train=True)
    assert params["Conv_0"]["kernel"].shape == (1, 1, 4, 2)

    def norm(gain):
        scaled = {"LayerNorm_0": {"LayerNorm_0": {"scale": jnp.full(6, gain), "bias": jnp.zeros(6)}}}
        return block.apply({"params": {**params, **scaled}}, x, train=True)

    shortcut = norm(0.0)
    assert shortcut.shape == (2, *size, 6)
    added = norm(1.0) - shortcut
    np.testing.assert_allclose(added.std(axis=(1, 2, 3)), np.full(2, 0.3), atol=1e-3)
    np.testing.assert_allclose(norm(2.0) - shortcut, 2 * added, atol=1e-5)


def test_initial_kernels():
    """Uniform, with the variance that the fans say; a stride of 2 takes three quarters of a fan away."""
    shape, fan_in, fan_out = (5, 5, 64, 128), 1600, 3200
    for init, scale, fans in (
        (fan_average(1.0), 1.0, fan_in + fan_out),
        (fan_average(2.0), 2.0, fan_in + fan_out),
        (fan_average(2.0, down=2), 2.0, fan_in + fan_out / 4),
        (fan_average(2.0, up=2), 2.0, fan_in / 4 + fan_out),
    ):
        kernel = init(jax.random.key(0), shape)
        expected = np.sqrt(2 * scale / fans)
        assert float(kernel.std()) == pytest.approx(expected, rel=0.01)  # 204,800 entries: sd of this .1 %
        assert float(jnp.abs(kernel).max()) == pytest.approx(np.sqrt(3) * expected, rel=0.01)


def test_a_paper_may_have_kernels_of_its_own():
    conv = initialised(nn.Conv, nn.initializers.constant(2.0))
    block = ResidualBlock(4, "up", conv=conv, norm=Unchanged)
    params = jax.jit(lambda: block.init(jax.random.key(0), images(1, 2, 2, 3), train=True))()["params"]
    kernels = {path[0].key: leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params) if leaf.ndim == 4}
    assert set(kernels) == {"Conv_0", "Conv_1", "shortcut"}
    assert all((kernel == 2.0).all() for kernel in kernels.values())


@pytest.mark.parametrize(("resample", "features"), [("none", 8), ("up", 8), ("up", 4), ("down", 8), ("down", 12)])
def test_a_deep_block_written_out(resample, features):
    """Doubled before the second convolution, halved before the last; the shortcut drops channels, or makes those that
    lack. The inner convolutions have a quarter of the channels of the wider end."""
    x = images(2, 6, 8, 8)
    block = DeepBlock(features, resample, conv=Conv, norm=Unchanged)
    params = drawn(block, x, train=True)
    up = nearest if resample == "up" else lambda h: h
    down = average_pool if resample == "down" else lambda h: h
    h = convolve(up(nn.relu(convolve(nn.relu(x), params["Conv_0"]))), params["Conv_1"])
    h = convolve(down(nn.relu(convolve(nn.relu(h), params["Conv_2"]))), params["Conv_3"])
    assert params["Conv_1"]["kernel"].shape == (3, 3, *[max(8, features) // 4] * 2)
    shortcut = up(down(x))[..., :features]
    if features > 8:
        shortcut = jnp.concatenate([shortcut, convolve(shortcut, params["shortcut"])], axis=-1)
    else:
        assert "shortcut" not in params
    np.testing.assert_allclose(block.apply({"params": params}, x, train=True), shortcut + h, atol=1e-4)


def test_all_four_norms_of_a_deep_block_are_told():
    x, label = images(3, 4, 4, 8), jnp.eye(3)
    variables = jax.eval_shape(lambda: DeepBlock(4, "up").init(jax.random.key(1), x, label, train=True))
    widths = {name: leaf["gain"]["kernel"].shape for name, leaf in variables["params"].items() if "Norm" in name}
    assert widths == {f"BatchNorm_{i}": (3, size) for i, size in enumerate((8, 2, 2, 2))}
