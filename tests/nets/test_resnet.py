"""Residual pairs: sizes, heads, and where labels enter. Counts of the papers' pairs stand with the papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.layers.norm import LayerNorm
from gan_jax.layers.spectral import SpectralConv, SpectralDense
from gan_jax.nets import resnet
from gan_jax.nets.resnet import BottleneckDiscriminator, BottleneckGenerator, Discriminator, Generator, ProjectionHead

LABEL = jnp.eye(3)


def shapes(module, *inputs):
    output, variables = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), *inputs, train=True))
    return output.shape, output.dtype, variables


def drawn(module, *inputs):
    """Variables of a module, parameters drawn by NumPy: initialisers take longer to compile than these networks."""
    _, _, variables = shapes(module, *inputs)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0.0, 0.3, leaf.shape), jnp.float32), variables["params"])
    return {**jax.tree.map(lambda leaf: jnp.ones(leaf.shape), variables), "params": params}


@pytest.mark.parametrize("shape", [(16, 16, 3), (24, 40, 1), (48, 32, 4)])
def test_any_size_that_is_a_multiple(shape):
    made = Generator(shape, (8, 8, 4, 4))
    assert shapes(made, jnp.zeros((2, 5)))[:2] == ((2, *shape), jnp.float32)
    assert shapes(Discriminator((4, 8, 8)), jnp.zeros((2, *shape)))[:2] == ((2,), jnp.float32)
    deep = BottleneckGenerator(shape, 4, (2, 1, 1))
    assert shapes(deep, jnp.zeros((2, 5)))[:2] == ((2, *shape), jnp.float32)
    assert shapes(BottleneckDiscriminator(4, (2, 1, 1)), jnp.zeros((2, *shape)))[:2] == ((2,), jnp.float32)


@pytest.mark.parametrize(("shape", "count"), [((32, 32), 3), ((64, 64), 4), ((48, 32), 3), ((28, 28), 2), ((8, 64), 1)])
def test_halvings(shape, count):
    assert resnet.halvings(shape) == count


def test_other_sizes_are_refused():
    for shape in ((33, 32, 3), (4, 4, 3)):
        with pytest.raises(InputError, match="resolution"):
            resnet.halvings(shape)
    with pytest.raises(InputError, match=r"\(20, 32\).*multiples of 8"):
        resnet.base((20, 32, 3), 3)


def test_pools():
    h = jnp.ones((2, 4, 4, 3)).at[:, 0, 0].set(-5.0)
    np.testing.assert_array_equal(resnet.rectified_sum(h), np.full((2, 3), 15.0))
    np.testing.assert_array_equal(resnet.rectified_mean(h), np.full((2, 3), 15.0 / 16))
    np.testing.assert_array_equal(resnet.rectified_sum(jnp.ones((1, 4, 4, 1))), [[16.0]])
    assert resnet.flat(h).shape == (2, 48)


def test_projection_by_hand():
    """h = (1, 2), e(y) = (3, -1), psi(h) = .5: 1.5."""
    params = {
        "linear": {"kernel": jnp.zeros((2, 1)), "bias": jnp.array([0.5])},
        "embedding": {"kernel": jnp.array([[7.0, 7.0], [3.0, -1.0]])},
    }
    h = jnp.array([[1.0, 2.0]])
    assert float(ProjectionHead().apply({"params": params}, h, jnp.array([[0.0, 1.0]]))[0]) == pytest.approx(1.5)
    assert float(ProjectionHead().apply({"params": params}, h)[0]) == pytest.approx(0.5)


def test_a_spectral_head_normalises_the_table_of_labels():
    """The embedding of a label is a row of a table whose spectral norm is 1."""
    head, h = ProjectionHead(SpectralDense, bias=False), jnp.eye(4)[:3]
    variables = head.init(jax.random.key(0), h, LABEL)
    assert set(variables["spectral"]) == {"linear", "embedding"}
    for _ in range(100):
        variables = {**variables, **head.apply(variables, h, LABEL, mutable=["spectral"])[1]}
    table = np.asarray(variables["params"]["embedding"]["kernel"])
    linear = np.asarray(variables["params"]["linear"]["kernel"])[:, 0]
    expected = (table / np.linalg.norm(table, 2) + linear / np.linalg.norm(linear))[np.arange(3), np.arange(3)]
    np.testing.assert_allclose(head.apply(variables, h, LABEL), expected, atol=1e-5)


def test_labels_change_samples_and_scores():
    rng = np.random.default_rng(1)
    z, x = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((3, 5), (3, 8, 8, 2)))
    for module, inputs in ((Generator((8, 8, 2), (4, 4)), z), (Discriminator((4, 4)), x)):
        variables = drawn(module, inputs, LABEL)
        judge = jax.jit(lambda label, m=module, v=variables, i=inputs: m.apply(v, i, label, train=False))
        a, b = judge(LABEL), judge(LABEL[::-1])
        assert float(jnp.abs(a[0] - b[0]).max()) > 1e-3
        np.testing.assert_allclose(a[1], b[1], atol=1e-6)  # whose label did not change


def test_layers_are_values():
    """Spectral normalisation for one paper, layer norm and a plain stem for another: by what is held."""
    x = jnp.zeros((1, 16, 16, 3))
    spectral = Discriminator((4, 4, 8), conv=SpectralConv, dense=SpectralDense, head_bias=False)
    *_, variables = shapes(spectral, x, LABEL[:1])
    kernels = [path for path, _ in jax.tree_util.tree_leaves_with_path(variables["params"]) if path[-1].key == "kernel"]
    assert len(jax.tree.leaves(variables["spectral"])) == len(kernels) == 11  # every one, the table of labels too
    plain = Discriminator((4, 8), down=2, stem=resnet.Stem, norm=LayerNorm, pool=resnet.flat, first_bias=False)
    *_, variables = shapes(plain, x)
    assert variables["params"]["head"]["linear"]["kernel"].shape == (8 * 8 * 8, 1)
    assert "bias" not in variables["params"]["ResidualBlock_0"]["Conv_0"]


def test_bottlenecks_end_in_a_fifth():
    """Both outputs are divided by 5: with a bias of 1 and all else 0, tanh(.2) and .2."""
    z, x = jnp.zeros((2, 3)), jnp.zeros((2, 8, 8, 1))
    generator, critic = BottleneckGenerator((8, 8, 1), 2, (1, 1)), BottleneckDiscriminator(2, (1, 1))
    for module, inputs, last, expected in ((generator, z, "Conv_0", np.tanh(0.2)), (critic, x, "Dense_0", 0.2)):
        variables = jax.tree.map(jnp.zeros_like, drawn(module, inputs))
        variables["params"][last]["bias"] += 1.0
        made = jax.jit(lambda v, m=module, i=inputs: m.apply(v, i, train=False))(variables)
        np.testing.assert_allclose(made, np.full(made.shape, expected), atol=1e-6)


def test_bfloat16_within_and_float32_without():
    dtype = jnp.bfloat16
    generator, critic = Generator((8, 8, 1), (4, 4), dtype=dtype), Discriminator((4, 4), dtype=dtype)
    with jax.numpy_dtype_promotion("standard"):  # Flax's batch norm raises bfloat16 to float32 without spelling it out
        for module, inputs in ((generator, jnp.zeros((2, 3))), (critic, jnp.zeros((2, 8, 8, 1)))):
            _, dtype, variables = shapes(module, inputs)
            assert dtype == jnp.float32
            assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype("float32")}
