"""Doubling and halving, against loops and their own inverses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.errors import InputError
from gan_jax.layers.resample import (
    average_pool,
    depth_to_space,
    every_other,
    max_pool,
    nearest,
    smooth,
    space_to_depth,
)


def images(*shape):
    return jax.random.normal(jax.random.key(0), shape)


def test_nearest_repeats_pixels():
    x = images(2, 3, 5, 4)
    np.testing.assert_array_equal(nearest(x), np.repeat(np.repeat(x, 2, axis=1), 2, axis=2))


def test_an_average_of_four():
    x = images(2, 4, 6, 3)
    expected = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
    np.testing.assert_allclose(average_pool(x), expected, atol=1e-6)
    np.testing.assert_allclose(average_pool(nearest(x)), x, atol=1e-6)


def test_the_largest_of_four():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(max_pool(x)[0, ..., 0], [[5, 7], [13, 15]])
    np.testing.assert_array_equal(max_pool(-x)[0, ..., 0], [[0, -2], [-8, -10]])
    np.testing.assert_array_equal(jax.grad(lambda x: max_pool(x).sum())(x)[0, ::2], jnp.zeros((2, 4, 1)))


@pytest.mark.parametrize("shape", [(1, 3, 4, 1), (1, 4, 5, 1)])
def test_odd_sides_are_refused(shape):
    with pytest.raises(InputError, match=f"{shape[1]} x {shape[2]}"):
        average_pool(images(*shape))
    with pytest.raises(InputError, match=f"{shape[1]} x {shape[2]}"):
        max_pool(images(*shape))


def test_channels_become_pixels_row_by_row():
    x = jnp.arange(8.0).reshape(1, 1, 1, 8)  # two features for each of the four pixels
    np.testing.assert_array_equal(depth_to_space(x)[0], [[[0, 1], [2, 3]], [[4, 5], [6, 7]]])
    x = images(2, 3, 5, 12)
    np.testing.assert_array_equal(every_other(depth_to_space(x)), x[..., :3])


def test_a_smoothed_impulse():
    """The binomial filter of 3x3, and what zeros around an image do to a constant one."""
    x = jnp.zeros((1, 5, 4, 2)).at[0, 2, 2].set(1.0)
    np.testing.assert_allclose(smooth(x)[0, 1:4, 1:4, 1] * 16, [[1, 2, 1], [2, 4, 2], [1, 2, 1]], atol=1e-6)
    ones = smooth(jnp.ones((1, 4, 5, 1)))[0, ..., 0]
    assert [float(ones[place]) for place in ((0, 0), (3, 4), (0, 2), (2, 0), (1, 3))] == [
        0.5625,
        0.5625,
        0.75,
        0.75,
        1.0,
    ]
    np.testing.assert_array_equal(smooth(x, (1.0,)), x)


def test_squares_become_channels_and_pixels_again():
    x = images(2, 4, 6, 3)
    np.testing.assert_array_equal(depth_to_space(space_to_depth(x)), x)
    np.testing.assert_array_equal(space_to_depth(x)[..., 3:6], x[:, ::2, 1::2])
