"""Layer-wise styles: exact at both ends of every knob."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.analysis import styles
from gan_jax.errors import InputError

LAYERS, SIZE = 6, 5


@pytest.fixture(scope="module")
def two():
    return jax.random.normal(jax.random.key(0), (2, 3, LAYERS, SIZE))  # two batches of three w


MEAN = jnp.arange(SIZE, dtype=jnp.float32)


def test_broadcast_gives_every_layer_the_same_w(two):
    w = two[0, :, 0]
    wide = styles.broadcast(w, LAYERS)
    assert wide.shape == (3, LAYERS, SIZE)
    for layer in range(LAYERS):
        np.testing.assert_array_equal(wide[:, layer], w)


def test_truncation_is_exact_at_both_ends(two):
    w = two[0]
    np.testing.assert_array_equal(styles.truncate(w, MEAN, 1.0), w)
    np.testing.assert_array_equal(styles.truncate(w, MEAN, 0.0), np.broadcast_to(MEAN, w.shape))


@pytest.mark.parametrize("psi", [0.7, -1.0])
def test_truncation_moves_along_the_line_to_the_mean(two, psi):
    w, mean = np.asarray(two[0]), np.asarray(MEAN)
    moved = np.asarray(styles.truncate(two[0], MEAN, psi))
    np.testing.assert_allclose(moved - mean, psi * (w - mean), atol=1e-5)


def test_cutoff_leaves_later_layers_untouched(two):
    moved = styles.truncate(two[0], MEAN, 0.5, cutoff=2)
    np.testing.assert_array_equal(moved[:, 2:], two[0, :, 2:])
    np.testing.assert_array_equal(moved[:, :2], styles.truncate(two[0], MEAN, 0.5)[:, :2])
    np.testing.assert_array_equal(styles.truncate(two[0], MEAN, 0.5, cutoff=0), two[0])


def test_every_class_has_its_own_mean(two):
    means = two[1, :, 0]
    np.testing.assert_array_equal(styles.truncate(two[0], means, 0.0), styles.broadcast(means, LAYERS))


def test_mixing_goes_from_the_second_to_the_first(two):
    first, second = two
    np.testing.assert_array_equal(styles.mix(first, second, LAYERS), first)
    np.testing.assert_array_equal(styles.mix(first, second, 0), second)
    half = styles.mix(first, second, 2)
    np.testing.assert_array_equal(half[:, :2], first[:, :2])
    np.testing.assert_array_equal(half[:, 2:], second[:, 2:])


def test_a_crossover_may_be_drawn_inside_a_step(two):
    mixed = jax.jit(styles.mix)(*two, jnp.int32(4))
    np.testing.assert_array_equal(mixed, styles.mix(*two, 4))


def test_an_edit_stays_in_its_layers(two):
    moved = np.asarray(styles.edit(two[0], MEAN, 2.0, (1, 3)) - two[0])
    np.testing.assert_allclose(moved[:, [1, 3]], np.broadcast_to(2 * MEAN, (3, 2, SIZE)), atol=1e-5)
    assert not moved[:, [0, 2, 4, 5]].any()


@pytest.mark.parametrize("crossover", [-1, LAYERS + 1])
def test_there_are_only_so_many_layers(two, crossover):
    with pytest.raises(InputError, match="6 layers can be cut at 0 to 6"):
        styles.mix(*two, crossover)
    with pytest.raises(InputError, match="0 to 6"):
        styles.truncate(two[0], MEAN, 0.5, cutoff=crossover)
    with pytest.raises(InputError, match="layers of this w are 0 to 5"):
        styles.edit(two[0], MEAN, 1.0, [crossover])
