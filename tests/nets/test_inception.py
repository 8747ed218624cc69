"""The network of FID: its sizes, its peculiarities, its two weight files, and torch-fidelity's beside it."""

import functools
import importlib.util
import math
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.metrics.resize import clean
from gan_jax.nets import inception, weights

SHAPES = inception.shapes()
PARAMETERS = {  # convolutions with gamma and beta
    "Mixed_5b": 255904,
    "Mixed_5c": 277472,
    "Mixed_5d": 285152,
    "Mixed_6a": 1153280,
    "Mixed_6b": 1297408,
    "Mixed_6c": 1691008,
    "Mixed_6d": 1691008,
    "Mixed_6e": 2141952,
    "Mixed_7a": 1698304,
    "Mixed_7b": 5044608,
    "Mixed_7c": 6076800,
    "fc": 2065392,
}
OUTPUTS = {
    "Conv2d_1a_3x3": (149, 149, 32),
    "Conv2d_2a_3x3": (147, 147, 32),
    "Conv2d_2b_3x3": (147, 147, 64),
    "Conv2d_3b_1x1": (73, 73, 80),
    "Conv2d_4a_3x3": (71, 71, 192),
    "Mixed_5b": (35, 35, 256),
    "Mixed_5c": (35, 35, 288),
    "Mixed_5d": (35, 35, 288),
    **{f"Mixed_6{letter}": (17, 17, 768) for letter in "abcde"},
    "Mixed_7a": (8, 8, 1280),
    "Mixed_7b": (8, 8, 2048),
    "Mixed_7c": (8, 8, 2048),
    "fc": (1008,),
}


def count(wanted) -> int:
    return sum(math.prod(shape) for path, shape in SHAPES.items() if wanted(path))


@pytest.mark.parametrize("block", PARAMETERS)
def test_parameters_of_each_block(block):
    assert count(lambda path: path[0] == block and path[-1] not in ("mean", "variance")) == PARAMETERS[block]


def test_parameters_of_all():
    assert count(lambda path: path[-1] == "kernel" and path[0] != "fc") == 21_751_136
    assert count(lambda path: path[-1] not in ("mean", "variance") and path[0] != "fc") == 21_785_568
    assert count(lambda path: path[-1] in ("mean", "variance")) == 34_432
    assert count(lambda path: True) == 23_885_392
    assert len(SHAPES) == 472
    assert sum(path[-1] == "kernel" for path in SHAPES) == 94 + 1


def tree(shapes):
    return inception.unflatten_dict({path: jax.ShapeDtypeStruct(shape, jnp.float32) for path, shape in shapes.items()})


def test_outputs_of_each_block():
    def every(params, x):
        return inception.Inception().apply({"params": params}, x, capture_intermediates=True, mutable="intermediates")

    _, seen = jax.eval_shape(every, tree(SHAPES), jax.ShapeDtypeStruct((2, 299, 299, 3), jnp.float32))
    found = {name: seen["intermediates"][name]["__call__"][0].shape for name in OUTPUTS}
    assert found == {name: (2, *shape) for name, shape in OUTPUTS.items()}


@pytest.mark.parametrize(("resizer", "dtype"), [(inception.tf1_bilinear, jnp.uint8), (clean, jnp.float32)])
def test_features_of_images_of_any_size(resizer, dtype):
    of = functools.partial(inception.features, resizer=resizer)
    found = jax.eval_shape(of, tree(SHAPES), jax.ShapeDtypeStruct((3, 40, 32, 3), dtype))
    assert {name: leaf.shape for name, leaf in found.items()} == {"pool": (3, 2048), "logits": (3, 1008)}
    assert {leaf.dtype for leaf in found.values()} == {jnp.dtype("float32")}


def test_grey_images_are_refused():
    with pytest.raises(InputError, match="takes RGB images, these have 1 channels"):
        inception.features({}, np.zeros((2, 8, 8, 1), np.uint8))


def test_averages_leave_the_padding_out():
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(inception.average_pool(jnp.ones((1, 5, 4, 3))), 1)
    made = np.asarray(inception.average_pool(jnp.asarray(x)))
    np.testing.assert_allclose(made[:, 0, 0], x[:, :2, :2].mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(made[:, 2, 3], x[:, 1:4, 2:].mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(made[:, 2, 2], x[:, 1:4, 1:4].mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)


def test_the_last_block_takes_the_maximum():
    used = {name: part.pool for name, part in blocks().items() if isinstance(part, inception.E)}
    assert used == {"Mixed_7b": inception.average_pool, "Mixed_7c": inception.max_pool}
    x = np.random.default_rng(0).normal(size=(1, 4, 4, 2)).astype(np.float32) - 5  # padding with zeros would show
    made = np.asarray(inception.max_pool(jnp.asarray(x)))
    np.testing.assert_array_equal(made[0, 0, 0], x[0, :2, :2].max(axis=(0, 1)))
    np.testing.assert_array_equal(made[0, 1, 2], x[0, :3, 1:].max(axis=(0, 1)))


def blocks() -> dict:
    """The modules of the network by name."""
    found = {}

    def note(call, arguments, options, context):
        found[context.module.name] = context.module
        return call(*arguments, **options)

    with inception.nn.intercept_methods(note):
        image = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
        jax.eval_shape(lambda params, x: inception.Inception().apply({"params": params}, x), tree(SHAPES), image)
    return found


def test_random_weights():
    params = inception.flatten_dict(inception.init(3))
    assert {path: leaf.shape for path, leaf in params.items()} == SHAPES
    kernel = params["Mixed_6e", "branch7x7_2", "kernel"]
    assert float(kernel.std()) == pytest.approx(math.sqrt(2 / (7 * 192)), rel=0.02)
    assert float(params["Mixed_5b", "branch1x1", "variance"].min()) == 1.0


def stored(names: str) -> dict[str, np.ndarray]:
    """All the arrays that a file must hold, each filled with its own number, in the file's names and orders of axes."""
    name = {"torch": inception._in_torch, "graph": inception._in_graph}[names]
    arrays = {}
    for number, (place, shape) in enumerate(SHAPES.items()):
        key, axes = name(*place)
        arrays[key] = np.broadcast_to(np.float32(number), [shape[axes.index(axis)] for axis in range(len(axes))])
    return arrays


@pytest.mark.parametrize("names", ["torch", "graph"])
def test_each_parameter_has_its_place_in_a_file(names, monkeypatch):
    arrays = stored(names)
    assert len(arrays) == 472
    monkeypatch.setattr(weights, "read", lambda path: arrays)
    params = inception.flatten_dict(inception.load("somewhere"))
    assert {path: leaf.shape for path, leaf in params.items()} == SHAPES
    assert [int(np.asarray(params[place]).min()) for place in SHAPES] == list(range(472))


NAMES = """
Conv2d_4a_3x3 kernel            Conv2d_4a_3x3.conv.weight             conv_4/conv2d_params
Mixed_5b branch1x1 beta         Mixed_5b.branch1x1.bn.bias            mixed/conv/batchnorm/beta
Mixed_5d branch5x5_2 gamma      Mixed_5d.branch5x5_2.bn.weight        mixed_2/tower/conv_1/batchnorm/gamma
Mixed_6a branch3x3 kernel       Mixed_6a.branch3x3.conv.weight        mixed_3/conv/conv2d_params
Mixed_6a branch3x3dbl_3 kernel  Mixed_6a.branch3x3dbl_3.conv.weight   mixed_3/tower/conv_2/conv2d_params
Mixed_6e branch7x7dbl_5 kernel  Mixed_6e.branch7x7dbl_5.conv.weight   mixed_7/tower_1/conv_4/conv2d_params
Mixed_6e branch7x7_3 mean       Mixed_6e.branch7x7_3.bn.running_mean  mixed_7/tower/conv_2/batchnorm/moving_mean
Mixed_7a branch7x7x3_1 kernel   Mixed_7a.branch7x7x3_1.conv.weight    mixed_8/tower_1/conv/conv2d_params
Mixed_7b branch3x3_2b kernel    Mixed_7b.branch3x3_2b.conv.weight     mixed_9/tower/mixed/conv_1/conv2d_params
Mixed_7c branch3x3dbl_3a beta   Mixed_7c.branch3x3dbl_3a.bn.bias      mixed_10/tower_1/mixed/conv/batchnorm/beta
Mixed_7c branch_pool variance   Mixed_7c.branch_pool.bn.running_var   mixed_10/tower_2/conv/batchnorm/moving_variance
fc kernel                       fc.weight                             softmax/weights
fc bias                         fc.bias                               softmax/biases
"""


@pytest.mark.parametrize("line", NAMES.strip().splitlines())
def test_names_in_files(line):
    *place, torch, graph = line.split()
    assert inception._in_torch(*place)[0] == torch
    assert inception._in_graph(*place)[0] == graph


def test_other_weights_are_refused(monkeypatch):
    arrays = stored("torch")
    monkeypatch.setattr(weights, "read", lambda path: arrays)
    kernel = arrays.pop("Mixed_6b.branch7x7_2.conv.weight")
    with pytest.raises(
        InputError, match=r"^w\.pth: .*'Mixed_6b.branch7x7_2.conv.weight' \[128, 128, 1, 7\] is missing"
    ):
        inception.load("w.pth")
    arrays["Mixed_6b.branch7x7_2.conv.weight"] = kernel.swapaxes(2, 3)
    with pytest.raises(InputError, match=r"'Mixed_6b.*' is \[128, 128, 7, 1\], must be \[128, 128, 1, 7\]"):
        inception.load("w.pth")


@pytest.fixture(scope="module")
def fidelity():
    """Imports a module of torch-fidelity, without the package's own imports: they want torchvision."""
    pytest.importorskip("torch")
    found = importlib.util.find_spec("torch_fidelity")
    if found is None:
        pytest.skip("needs torch-fidelity")
    package = types.ModuleType("torch_fidelity")
    package.__path__ = found.submodule_search_locations
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch_fidelity", package)
        yield lambda name: importlib.import_module(f"torch_fidelity.{name}")
        for name in [name for name in sys.modules if name.startswith("torch_fidelity.")]:
            patch.delitem(sys.modules, name)


def test_resizer_of_torch_fidelity(fidelity):
    import torch

    theirs = fidelity("interpolate_compat_tensorflow").interpolate_bilinear_2d_like_tensorflow1x
    images = np.random.default_rng(1).uniform(0, 255, (2, 32, 45, 3)).astype(np.float32)
    for size in [(20, 299), (21, 31)]:
        made = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), size=size, align_corners=False)
        np.testing.assert_allclose(inception.tf1_bilinear(images, size), made.numpy().transpose(0, 2, 3, 1), atol=1e-4)


@pytest.fixture(scope="module")
def peer(fidelity, tmp_path_factory):
    """(torch-fidelity's network with random weights and moments, the file of its weights)"""
    import torch

    theirs = fidelity("feature_extractor_inceptionv3")
    generator = torch.Generator().manual_seed(0)

    def uniform(like, low, high):
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    with pytest.MonkeyPatch.context() as patch:  # the constructor insists on weights that fit
        patch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        net = theirs.FeatureExtractorInceptionV3("random", ["2048", "logits_unbiased"])
    for name, value in net.state_dict().items():
        if value.ndim > 1:
            value.copy_(torch.randn(value.shape, generator=generator) * math.sqrt(2 / value[0].numel()))
        elif value.is_floating_point():
            value.copy_(uniform(value, 0.5, 1.5) if name.endswith(("weight", "var")) else uniform(value, -0.2, 0.2))
    torch.save(net.state_dict(), path)
    return net, path


@pytest.mark.slow
def test_features_of_torch_fidelity(peer):
    import torch

    net, path = peer
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    images[1] = images[1] // 4 + 100  # so that the two differ in more than their noise
    pool, logits = (out.numpy() for out in net(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())))
    made = jax.jit(inception.features)(inception.load(path), images)
    assert np.abs(pool[0] - pool[1]).max() > 0.05 * np.abs(pool).max()
    for ours, theirs in [(made["pool"], pool), (made["logits"], logits)]:
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())
        assert np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(theirs)


@pytest.mark.slow
def test_random_features_tell_images_apart():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (2, 48, 48, 3), np.uint8)
    flat = np.full((1, 48, 48, 3), 128, np.uint8)
    made = jax.jit(inception.features)(inception.init(0), np.concatenate([noise, flat]))["pool"]
    assert np.isfinite(made).all()
    size = np.linalg.norm(made, axis=1)
    assert 1 < size[0] < 1e4
    assert np.linalg.norm(made[0] - made[2]) > 3 * np.linalg.norm(made[0] - made[1]) > 0.01 * size[0]
