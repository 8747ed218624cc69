"""What benchmarks compare with is the same: networks in PyTorch, and what is read off two curves."""

import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import contract
from gan_jax.data import datasets
from tests import experiments


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(experiments.ROOT / "benchmarks"))
    yield importlib.import_module
    for name in ("growing", "step_cpu", "torch_stylegan"):
        sys.modules.pop(name, None)


def tensor(array):
    """The same values in PyTorch."""
    import torch

    return torch.tensor(np.array(array))


def put(layer, params):
    """The weights of one of our layers into its peer, HWIO to OIHW."""
    kernel = np.asarray(params["kernel"])
    kernel = kernel.reshape(*layer.kernel.shape[2:], *kernel.shape[-2:])
    axes = (kernel.ndim - 1, kernel.ndim - 2, *range(kernel.ndim - 2))
    layer.kernel.data = tensor(kernel.transpose(axes))
    if layer.bias is not None:
        layer.bias.data = tensor(params["bias"])


def drawn(tree, seed: int):
    """Parameters that are all normal, so that none of them can be mistaken for another."""
    leaves, structure = jax.tree.flatten(tree)
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(structure, [jnp.float32(rng.standard_normal(leaf.shape)) for leaf in leaves])


@pytest.mark.parametrize("fused", [True, False])
def test_stylegan_and_its_peer_in_pytorch_are_the_same_networks(benchmark, fused):
    """Values of both networks at random parameters, noise and fading included; two levels of 8 channels."""
    torch = pytest.importorskip("torch")
    peer = benchmark("torch_stylegan")
    config = experiments.get_config("stylegan", "smoke")
    config.model.update(start="constant", noise="pixel", norm="instance", style="adain", smooth="binomial")
    config.model.update(fused_from=8 if fused else 1024, mixing=0.0, stddev_group=2)
    game = contract.load(datasets.resolve(config))[-1].gan.game
    batch = {"image": np.zeros((4, 8, 8, 3), np.float32), "fade": np.zeros(4, np.float32)}
    shapes = jax.eval_shape(game.init, jax.random.key(0), batch)
    rng, fade = np.random.default_rng(2), 0.25
    x, z = rng.standard_normal((4, 8, 8, 3)), rng.standard_normal((4, 8))
    x, z, told = jnp.float32(x), jnp.float32(z), jnp.full(4, fade)

    d, theirs = drawn(shapes.d.params, 0), peer.Discriminator([8, 8], 8, 2, peer.fused_down if fused else peer.down)
    put(theirs.from_rgb[0], d["rgb_8x8"])
    put(theirs.from_rgb[1], d["rgb_4x4"])
    put(theirs.convs[0], d["8x8"]["ScaledConv_0"])
    put(theirs.downs[0], d["8x8"]["ScaledConv_1"])
    put(theirs.last, d["ScaledConv_0"])
    flat = d["ScaledDense_0"]["kernel"].reshape(4, 4, 8, 8).transpose(2, 0, 1, 3).reshape(-1, 8)  # channels first
    put(theirs.hidden, {**d["ScaledDense_0"], "kernel": flat})
    put(theirs.logit, d["ScaledDense_1"])
    logits = game.discriminator.apply({"params": d}, x, told, train=True)
    with torch.no_grad():
        np.testing.assert_allclose(logits, theirs(tensor(x).permute(0, 3, 1, 2), fade), rtol=1e-4, atol=1e-4)

    g = drawn(shapes.g.params, 1)
    g["mapping"] = jax.tree.map(lambda leaf: 100.0 * leaf, g["mapping"])
    theirs = peer.Generator([8, 8], 8, 2, 0.01, 0.0, peer.fused_up if fused else peer.up)
    for layer, name in zip(theirs.mapping, ("ScaledDense_0", "ScaledDense_1"), strict=True):
        put(layer, g["mapping"][name])
    low, high = g["synthesis"]["4x4"], g["synthesis"]["8x8"]
    theirs.constant.data = tensor(low["Constant_0"]["constant"]).permute(0, 3, 1, 2)
    put(theirs.convs[0], low["ScaledConv_0"])
    put(theirs.ups[0], high["ScaledConv_0"])
    put(theirs.convs[1], high["ScaledConv_1"])
    maps = [jnp.float32(rng.standard_normal((4, side, side, 1))) for side in (4, 4, 8, 8)]
    ends = [block[name] for block in (low, high) for name in ("Layer_0", "Layer_1")]
    for end, params in zip(theirs.ends, ends, strict=True):
        end.strength.data = tensor(params["PixelNoise_0"]["strength"]).reshape(1, -1, 1, 1)
        end.bias.data = tensor(params["bias"]).reshape(1, -1, 1, 1)
        put(end.style, params["Style_0"]["ScaledDense_0"])
    for layer, name in zip(theirs.to_rgb, ("rgb_4x4", "rgb_8x8"), strict=True):
        put(layer, g["synthesis"][name])
    latent = {"z": z, "noise": tuple(maps)}
    images = game.generator.apply(
        {"params": g, "style": {"mean": jnp.zeros(8)}}, latent, told, train=True, rngs={"dropout": jax.random.key(0)}
    )
    given = iter(tensor(each).permute(0, 3, 1, 2) for each in maps)
    for end in theirs.ends:
        end.noise = lambda h: next(given)
    with torch.no_grad():
        made = theirs(tensor(z), fade).permute(0, 2, 3, 1)
    np.testing.assert_allclose(images, made, rtol=1e-3, atol=1e-3)


def test_when_a_course_reached_a_distance(benchmark):
    growing = benchmark("growing")
    course = [(1.0, 9.0), (2.0, 5.0), (3.0, 6.0), (4.0, 3.0)]
    assert [growing.reached(course, value) for value in (9.0, 6.0, 4.0, 3.0)] == [1.0, 2.0, 4.0, 4.0]
