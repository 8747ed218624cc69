"""The U-Net: its parameters to the last, what its skips and its dropout do, and which sizes it takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.nets import patchgan, unet


def spec(module, side):
    x = jnp.zeros((2, side, side, 3))
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return jax.eval_shape(lambda: module.init_with_output(keys, x, train=True))


@pytest.mark.parametrize(
    ("levels", "norm", "count"),
    [
        (8, patchgan.BatchNorm, 54_413_955),
        (8, patchgan.InstanceNorm, 54_409_603),
        (7, patchgan.BatchNorm, 41_828_995),
    ],
)
def test_the_papers_generators(levels, norm, count):
    assert unet.levels(2**levels, 2**levels) == levels
    made, variables = spec(unet.UNet(3, levels, norm=norm), 2**levels)
    assert (made.shape, made.dtype) == ((2, 2**levels, 2**levels, 3), jnp.float32)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count


def test_layers_meet_their_partners_on_the_way_back():
    """Input channels of the decoder's convolutions, without and with what they meet (in units of the width)."""
    for skip, expected in (("none", [8, 8, 8, 8, 8, 4, 2, 1]), ("concat", [8, 16, 16, 16, 16, 8, 4, 2])):
        _, variables = spec(unet.UNet(3, 8, 2, skip=unet.SKIPS[skip]), 256)
        kernels = [variables["params"][f"ConvTranspose_{number}"]["kernel"].shape for number in range(8)]
        assert [shape[2] // 2 for shape in kernels] == expected
        assert [shape[3] for shape in kernels] == [16, 16, 16, 16, 8, 4, 2, 3]


def test_where_dropout_is():
    """Layers of the decoder of 8, 7 and 5 levels, the innermost first."""
    assert [list(unet.DROPOUTS["paper"](levels)) for levels in (8, 7, 5, 3)] == [
        [0, 1, 2],
        [0, 1, 2],
        [0, 1, 2],
        [0, 1],
    ]
    assert [list(unet.DROPOUTS["pytorch"](levels)) for levels in (8, 7, 5)] == [[1, 2, 3], [1, 2], []]
    assert list(unet.DROPOUTS["none"](8)) == []


@pytest.mark.parametrize(("dropout", "varies"), [("paper", True), ("pytorch", False)])
def test_dropout_is_the_only_noise(dropout, varies):
    module = unet.UNet(1, 3, 4, dropout=tuple(unet.DROPOUTS[dropout](3)))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)

    @jax.jit
    def draw(key):
        return module.init_with_output({"params": jax.random.key(1), "dropout": key}, x, train=True)[0]

    one, again, other = (np.asarray(draw(jax.random.key(seed))) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert (np.abs(one - other).max() > 1e-6) == varies


@pytest.mark.parametrize(
    ("size", "found"), [((32, 32), 5), ((256, 512), 8), ((4, 12), 2), ((96, 160), 5), ((32, 40), 3)]
)
def test_levels(size, found):
    assert unet.levels(*size) == found


@pytest.mark.parametrize(("size", "near"), [((100, 100), "96, 96"), ((2, 2), "4, 4"), ((250, 333), "256, 320")])
def test_other_sizes(size, near):
    with pytest.raises(InputError, match=rf"until the shorter side has 7 pixels.*\({near}\)"):
        unet.levels(*size)
