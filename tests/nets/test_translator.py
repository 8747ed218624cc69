"""The residual translator: its parameters to the last, its paddings, and networks in pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.layers.conv import conv_transpose
from gan_jax.nets import translator


@pytest.mark.parametrize(("blocks", "side", "count"), [(9, 256, 11_378_179), (6, 128, 7_837_699)])
def test_the_papers_translators(blocks, side, count):
    x = jnp.zeros((1, side, side, 3))
    module = translator.ResNet(3, blocks=blocks)
    made, variables = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), x, train=True))
    assert (made.shape, made.dtype) == (x.shape, jnp.float32)
    assert set(variables) == {"params"}
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count


def test_reflection_does_not_repeat_the_border():
    x = np.arange(4.0, dtype=np.float32).reshape(1, 1, 4, 1) + 10 * np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)
    made = np.asarray(translator.reflected(jnp.asarray(x), 3))[0, :, :, 0]
    columns = [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    np.testing.assert_array_equal(made, np.add.outer(10.0 * np.array(columns), columns))


def test_doubling_scatters_every_pixel_around_twice_its_place():
    """PyTorch's transposed convolution of kernel 3, stride 2, padding 1, output padding 1: pixel i adds its value times
    tap k to pixel 2 i + k - 1; the kernel of ours is the same one mirrored."""
    rng = np.random.default_rng(0)
    x, taps = rng.normal(size=(1, 3, 4, 2)).astype(np.float32), rng.normal(size=(3, 3, 2, 3)).astype(np.float32)
    made = np.asarray(conv_transpose(jnp.asarray(x), jnp.asarray(taps[::-1, ::-1]), (2, 2), ((1, 2), (1, 2))))
    wanted = np.zeros((8, 10, 3), np.float32)
    for i, j, k, m in np.ndindex(3, 4, 3, 3):
        wanted[2 * i + k, 2 * j + m] += x[0, i, j] @ taps[k, m]
    np.testing.assert_allclose(made[0], wanted[1:7, 1:9], rtol=1e-4, atol=1e-5)


def test_what_comes_under_a_name_goes_through_its_network():
    module = translator.Both(a=translator.ResNet(1, 4, 1), b=translator.ResNet(3, 4, 1))
    images = {"a": jnp.ones((2, 8, 8, 3)), "b": jnp.ones((1, 8, 12, 1))}
    made, variables = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), images, train=True))
    assert {name: leaf.shape for name, leaf in made.items()} == {"a": (2, 8, 8, 1), "b": (1, 8, 12, 3)}
    assert set(variables["params"]) == {"a", "b"}
    alone = {"b": images["b"]}
    made = jax.eval_shape(lambda params: module.apply(params, alone, train=True), variables)
    assert set(made) == {"b"}


@pytest.mark.parametrize(
    ("size", "near"), [((30, 32), r"\(32, 32\)"), ((4, 4), r"\(8, 8\)"), ((33, 12), r"\(32, 12\)")]
)
def test_other_sizes(size, near):
    with pytest.raises(InputError, match=near):
        translator.check_size(*size)
    translator.check_size(8, 12)
