"""VGG against its published sizes, against PyTorch's layers with the same weights, and its own promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.nets import vgg

NARROW = {"widths": (4, 6, 8, 8, 8), "hidden": 16}


def peer(torch, depth, widths=vgg.WIDTHS, hidden=vgg.HIDDEN):
    """torchvision's VGG in its own layers and names, with random weights and biases."""
    stack, channels = [], 3
    for count, width in zip(vgg.LAYERS[depth], widths, strict=True):
        for _ in range(count):
            stack += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.ReLU()]
            channels = width
        stack.append(torch.nn.MaxPool2d(2, 2))
    sizes = (channels * 49, hidden, hidden, 1000)
    dense = [torch.nn.Linear(sizes[i], sizes[i + 1]) for i in range(3)]
    gaps = [torch.nn.Identity() for _ in range(4)]  # ReLU and dropout, twice
    classifier = [dense[0], *gaps[:2], dense[1], *gaps[2:], dense[2]]
    net = torch.nn.ModuleDict({"features": torch.nn.Sequential(*stack), "classifier": torch.nn.Sequential(*classifier)})
    torch.manual_seed(0)
    for name, value in net.named_parameters():
        with torch.no_grad():
            if name.endswith("bias"):
                value.uniform_(-0.1, 0.1)
            else:
                value.normal_(std=(2 / value[0].numel()) ** 0.5)
    return net, {name: value.numpy() for name, value in net.state_dict().items()}


def peer_features(torch, net, depth, images, dense=True):
    """Every layer's output, as NHWC, of images 0..255."""
    mean, std = (torch.tensor(value).reshape(1, 3, 1, 1) for value in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = (torch.tensor(images).permute(0, 3, 1, 2) / 255 - mean) / std
    found = {}
    with torch.no_grad():
        for name, layer in zip(vgg.layers(depth), net["features"], strict=False):
            x = layer(x)
            found[name] = x.permute(0, 2, 3, 1).numpy()
        if dense:
            first, second, third = (net["classifier"][i] for i in (0, 3, 6))
            found["fc1"] = torch.relu(first(x.flatten(1)))
            found["fc2"] = torch.relu(second(found["fc1"]))
            found["logits"] = third(found["fc2"])
    return {name: np.asarray(value) for name, value in found.items()}


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)


@pytest.fixture(scope="module")
def narrow():
    return {depth: vgg.init(0, depth, **NARROW) for depth in (16, 19)}


@pytest.mark.parametrize(
    ("depth", "convolutions", "total"), [(16, 14_714_688, 138_357_544), (19, 20_024_384, 143_667_240)]
)
def test_numbers_of_parameters(depth, convolutions, total):
    for fully_connected, wanted in ((False, convolutions), (True, total)):
        params = jax.eval_shape(lambda: vgg.init(0, depth, fully_connected))  # noqa: B023 (called at once)
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == wanted


def test_shapes_of_taps():
    def shapes(depth, size, taps):
        params = jax.eval_shape(lambda: vgg.init(0, depth))
        found = jax.eval_shape(lambda p: vgg.features(p, jnp.zeros((2, *size, 3)), taps), params)
        return [leaf.shape for leaf in (found[tap] for tap in taps)]

    taps = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
    assert shapes(16, (96, 50), taps) == [
        (2, 96, 50, 64),
        (2, 48, 25, 128),
        (2, 24, 12, 256),
        (2, 12, 6, 512),
        (2, 6, 3, 512),
    ]
    assert shapes(19, (96, 96), ("conv5_4", "relu2_2")) == [(2, 6, 6, 512), (2, 48, 48, 128)]
    assert shapes(16, (224, 224), ("pool5", "fc2", "logits")) == [(2, 7, 7, 512), (2, 4096), (2, 1000)]


def test_random_weights_keep_the_scale_and_follow_their_seed(narrow):
    kernel = np.asarray(narrow[16]["fc1"]["kernel"])
    assert kernel.std() == pytest.approx((2 / (49 * 8)) ** 0.5, rel=0.04)
    again, other = vgg.init(0, 16, **NARROW), vgg.init(1, 16, **NARROW)
    assert jnp.array_equal(again["fc1"]["kernel"], kernel)
    assert not jnp.array_equal(other["fc1"]["kernel"], kernel)


def test_colours_are_normalised_by_imagenet(narrow):
    """Each colour at its mean is zero, and one deviation above its mean is one."""
    only_one = {
        **narrow[16],
        "conv1_1": {"kernel": jnp.zeros((3, 3, 3, 4)).at[1, 1, :, :3].set(jnp.eye(3)), "bias": jnp.zeros(4)},
    }
    colours = 255 * np.array([[0.485, 0.456, 0.406], [0.714, 0.68, 0.631]], np.float32)
    found = vgg.features(only_one, np.tile(colours[:, None, None], (1, 4, 4, 1)), ("conv1_1",))["conv1_1"]
    np.testing.assert_allclose(found[0], 0, atol=1e-6)
    np.testing.assert_allclose(found[1], np.tile([1, 1, 1, 0], (4, 4, 1)), atol=1e-6)


def test_bytes_are_the_same_as_floats(narrow):
    images = noise(1, 16, 16, 3).astype(np.uint8)
    one, two = (vgg.features(narrow[19], x, ("relu2_2",))["relu2_2"] for x in (images, images.astype(np.float32)))
    assert jnp.array_equal(one, two)


def test_layers_before_and_after_their_relu(narrow):
    found = vgg.features(narrow[19], noise(1, 16, 16, 3), ("relu5_4", "conv5_4"))
    assert list(found) == ["relu5_4", "conv5_4"]
    assert found["conv5_4"].min() < 0
    assert jnp.array_equal(found["relu5_4"], jnp.maximum(found["conv5_4"], 0.0))


@pytest.mark.parametrize("depth", [16, 19])
def test_agrees_with_pytorch_layer_by_layer(depth):
    torch = pytest.importorskip("torch")
    net, arrays = peer(torch, depth, **NARROW)
    images = noise(1, 224, 224, 3)
    wanted = peer_features(torch, net, depth, images)
    names = vgg.layers(depth)
    found = jax.jit(lambda p, x: vgg.features(p, x, tuple(names)))(vgg.from_torch(arrays, depth, **NARROW), images)
    for name in names:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-4 * np.abs(wanted[name]).max(), err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [16, 19])
def test_agrees_with_pytorch_at_full_size(depth):
    """Through the loader's own path: all 138 or 144 million parameters."""
    torch = pytest.importorskip("torch")
    net, arrays = peer(torch, depth)
    images = noise(2, 224, 224, 3)
    wanted = peer_features(torch, net, depth, images)
    found = vgg.features(vgg.from_torch(arrays, depth), images, ("relu1_2", "relu5_3", "fc2", "logits"))
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], atol=1e-4 * np.abs(wanted[name]).max(), err_msg=name)


def convolutions(widths):
    """What a file of VGG-16's convolutions holds."""
    rng, found, channels = np.random.default_rng(1), {}, 3
    blocks = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
    for width, indices in zip(widths, blocks, strict=True):
        for index in indices:
            found[f"features.{index}.weight"] = rng.random((width, channels, 3, 3), np.float32)
            found[f"features.{index}.bias"] = rng.random(width, np.float32)
            channels = width
    return found


def test_reads_a_file_of_torchvisions_names(tmp_path):
    arrays = convolutions(vgg.WIDTHS)
    np.savez(tmp_path / "vgg.npz", **arrays)
    params = vgg.load(tmp_path / "vgg.npz", fully_connected=False)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 14_714_688
    for name, index in (("conv1_1", 0), ("conv3_2", 12), ("conv5_3", 28)):
        np.testing.assert_array_equal(params[name]["bias"], arrays[f"features.{index}.bias"])
        kernel = np.einsum("oihw->hwio", arrays[f"features.{index}.weight"])
        np.testing.assert_array_equal(params[name]["kernel"], kernel)
    with pytest.raises(InputError, match=r"vgg\.npz: .*'classifier\.0\.weight' \[4096, 25088\] is missing"):
        vgg.load(tmp_path / "vgg.npz")


def test_a_wrong_file_is_named_with_its_key():
    arrays = convolutions(NARROW["widths"])
    narrow = {"fully_connected": False, "widths": NARROW["widths"], "source": "v.pth"}
    with pytest.raises(InputError, match=r"v\.pth: .*'features\.5\.bias' \[6\] is missing"):
        vgg.from_torch({key: value for key, value in arrays.items() if key != "features.5.bias"}, **narrow)
    wrong = {**arrays, "features.7.weight": np.zeros((6, 6, 5, 5), np.float32)}
    with pytest.raises(InputError, match=r"'features\.7\.weight' is \[6, 6, 5, 5\], must be \[6, 6, 3, 3\]"):
        vgg.from_torch(wrong, **narrow)
    with pytest.raises(InputError, match=r"'features\.16\.weight' \[8, 8, 3, 3\] is missing"):
        vgg.from_torch(arrays, depth=19, **narrow)


def test_what_cannot_be_read_is_said(narrow):
    convolutions = {name: layer for name, layer in narrow[16].items() if name.startswith("conv")}
    cases = [
        (narrow[16], 16, "relu3_4", r"unknown layer of VGG-16: 'relu3_4'\. Did you mean"),
        (narrow[16], 64, "fc2", "'fc2' of VGG-16 takes images of 224x224, not 64x64"),
        (convolutions, 224, "fc2", "'fc2' of VGG-16: these parameters were made without fully connected layers"),
        (narrow[19], 15, "relu5_4", "'relu5_4' of VGG-19 takes images of at least 16x16, not 15x15"),
    ]
    for params, side, tap, message in cases:
        with pytest.raises(InputError, match=message):
            vgg.features(params, np.zeros((1, side, side, 3), np.float32), (tap,))


def test_embedding_of_images_of_any_size(narrow):
    """Read at i * size / 224, so that every 14th pixel of 224 is one of 16."""
    images = noise(2, 16, 16, 3)
    found = vgg.embed(narrow[16], images)
    assert found.shape == (2, 16)
    assert found.min() == 0 < found.max()
    places = np.minimum(np.arange(224) / 14, 15)
    low = places.astype(int)
    high, share = np.minimum(low + 1, 15), (places - low).astype(np.float32)
    large = images[:, low] * (1 - share[:, None, None]) + images[:, high] * share[:, None, None]
    large = large[:, :, low] * (1 - share[:, None]) + large[:, :, high] * share[:, None]
    wanted = vgg.features(narrow[16], large, ("fc2",))["fc2"]
    np.testing.assert_allclose(found, wanted, atol=1e-4 * wanted.max())
