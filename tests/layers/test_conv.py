"""Our convolutions are flax's, in value and in gradients of first and second order."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from gan_jax.layers.conv import NARROW, Conv, ConvTranspose, conv, conv_transpose

PADDINGS = ["SAME", "VALID", 1, ((2, 3), (2, 3)), ((1, 2), (1, 2)), ((2, 2), (1, 3))]
CASES = [*itertools.product([4, 5], [2], PADDINGS), (3, 2, "SAME"), (3, 2, ((1, 2), (1, 2)))]
CASES += [(3, 1, "SAME"), (4, 1, "VALID"), (5, 1, ((2, 2), (1, 3))), (1, 2, "SAME"), (3, 4, "SAME"), (4, 4, "VALID")]
CASES += [((3, 4), 3, "SAME"), ((3, 4), 2, ((2, 2), (1, 3)))]


def reference(x, kernel, strides, padding):
    padding = ((padding, padding),) * 2 if isinstance(padding, int) else padding
    return lax.conv_transpose(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def strided(x, kernel, strides, padding):
    padding = ((padding, padding),) * 2 if isinstance(padding, int) else padding
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def inputs(k, height=5, width=7, channels=3, features=4):
    kernel = (k, k) if isinstance(k, int) else k
    x = jax.random.normal(jax.random.key(0), (2, height, width, channels))
    return x, jax.random.normal(jax.random.key(1), (*kernel, channels, features))


def of_both(forms, x, kernel, strides, padding):
    """What each makes of the same, in one program."""
    return jax.jit(lambda x, kernel: [form(x, kernel, strides, padding) for form in forms])(x, kernel)


@pytest.mark.parametrize(("k", "stride", "padding"), CASES)
def test_values(k, stride, padding):
    for features in (4, NARROW):  # both forms
        x, kernel = inputs(k, features=features)
        made, expected = of_both((conv_transpose, reference), x, kernel, (stride, stride), padding)
        assert made.shape == expected.shape
        np.testing.assert_allclose(made, expected, atol=1e-4)


@pytest.mark.parametrize(("k", "stride", "padding"), CASES)
def test_values_of_a_strided_convolution(k, stride, padding):
    for channels in (3, NARROW):
        x, kernel = inputs(k, height=9, channels=channels)
        made, expected = of_both((conv, strided), x, kernel, (stride, stride), padding)
        assert made.shape == expected.shape
        np.testing.assert_allclose(made, expected, atol=1e-4)


@pytest.mark.parametrize("forms", [(conv_transpose, reference), (conv, strided)], ids=["transposed", "strided"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_elsewhere_they_are_the_compilers(padding, forms, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    made, expected = of_both(forms, *inputs(4), (2, 2), padding)
    np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize("forms", [(conv_transpose, reference), (conv, strided)], ids=["transposed", "strided"])
@pytest.mark.parametrize("wide", [3, NARROW])
@pytest.mark.parametrize(("k", "padding"), [(4, "SAME"), (5, ((2, 3), (2, 3))), (3, ((1, 2), (1, 2))), (4, "VALID")])
def test_gradients_of_first_and_second_order(k, padding, wide, forms):
    """The first as a loss takes them, the second as a gradient penalty does."""
    x, kernel = inputs(k, channels=wide, features=wide)

    def both(function):
        def loss(x, kernel):
            return jnp.sum(jnp.sin(function(x, kernel, (2, 2), padding)))

        def penalty(x, kernel):
            return jnp.sum(jax.grad(loss)(x, kernel) ** 2)

        return jax.jit(lambda: (jax.grad(loss, (0, 1))(x, kernel), jax.grad(penalty, (0, 1))(x, kernel)))()

    for ours, theirs in zip(*(jax.tree.leaves(both(form)) for form in forms), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(jnp.abs(theirs).max()))


@pytest.mark.parametrize(("form", "k", "stride"), [(conv, 3, 1), (conv, 4, 2), (conv_transpose, 4, 2), (conv, 1, 1)])
def test_gradients_in_a_loop_are_fast(form, k, stride):
    """There the compiler puts no axes in order, and those of any other order take twenty times as long or more."""
    x, kernel = inputs(k, channels=NARROW, features=NARROW)

    def slope(kernel):
        return jax.grad(lambda x: jnp.sum(jnp.sin(form(x, kernel, (stride, stride), "SAME"))))(x)

    def step(kernel, _):
        return kernel - jax.grad(lambda kernel: jnp.sum(slope(kernel) ** 2))(kernel), None

    program = jax.jit(lambda: jax.lax.scan(step, kernel, None, length=3)[0]).lower().as_text("hlo")
    orders = set(re.findall("dim_labels=(\\S+->\\w+)", program))
    assert orders == {"b01f_01io->b01f"}


@pytest.mark.parametrize(("k", "padding"), [(4, "SAME"), (5, ((2, 3), (2, 3)))])
def test_the_layer_takes_flaxs_parameters(k, padding):
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    theirs = nn.ConvTranspose(8, (k, k), (2, 2), padding)
    variables = theirs.init(jax.random.key(1), x)
    ours = ConvTranspose(8, (k, k), (2, 2), padding)
    assert jax.tree.map(jnp.shape, ours.init(jax.random.key(1), x)) == jax.tree.map(jnp.shape, variables)
    np.testing.assert_allclose(ours.apply(variables, x), theirs.apply(variables, x), atol=1e-5)
    assert ours.apply(variables, x).shape == (2, 8, 8, 8)


@pytest.mark.parametrize("padding", ["SAME", "VALID", 1, ((1, 2), (0, 1))])
def test_the_strided_layer_takes_flaxs_parameters(padding):
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    theirs = nn.Conv(16, (4, 4), (2, 2), padding)
    variables = theirs.init(jax.random.key(1), x)
    ours = Conv(16, (4, 4), (2, 2), padding)
    assert jax.tree.map(jnp.shape, ours.init(jax.random.key(1), x)) == jax.tree.map(jnp.shape, variables)
    np.testing.assert_allclose(ours.apply(variables, x), theirs.apply(variables, x), atol=1e-5)


@pytest.mark.parametrize(("k", "padding", "torch_padding", "extra"), [(4, "SAME", 1, 0), (5, ((2, 3), (2, 3)), 2, 1)])
def test_it_is_pytorchs(k, padding, torch_padding, extra):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    x, kernel = inputs(k)
    weight = torch.tensor(np.array(kernel[::-1, ::-1].transpose(2, 3, 0, 1)))
    made = torch.nn.functional.conv_transpose2d(
        torch.tensor(np.array(x.transpose(0, 3, 1, 2))), weight, stride=2, padding=torch_padding, output_padding=extra
    )
    np.testing.assert_allclose(
        conv_transpose(x, kernel, (2, 2), padding), made.numpy().transpose(0, 2, 3, 1), atol=1e-4
    )


def test_same_padding_is_not_that_of_five_taps():
    x, kernel = inputs(5)
    right, shifted = conv_transpose(x, kernel, (2, 2), ((2, 3), (2, 3))), conv_transpose(x, kernel, (2, 2), "SAME")
    assert right.shape == shifted.shape
    assert float(jnp.abs(right - shifted).max()) > 1.0


def test_dtype():
    x = jnp.ones((1, 4, 4, 2))
    variables = ConvTranspose(3, (4, 4), (2, 2), dtype=jnp.bfloat16).init(jax.random.key(0), x)
    assert variables["params"]["kernel"].dtype == jnp.float32
    assert ConvTranspose(3, (4, 4), (2, 2), dtype=jnp.bfloat16).apply(variables, x).dtype == jnp.bfloat16
