"""Layer-wise styles: exact at both ends of every knob."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import contract, parallel
from gan_jax.analysis import interpolation, noise_variation, styles, truncation
from gan_jax.analysis import sampler as sampling
from gan_jax.data import datasets
from gan_jax.errors import InputError
from tests import experiments

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


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (18, {"coarse": (0, 4), "middle": (4, 8), "fine": (8, 18)}),  # the paper's, at 1024 pixels
        (8, {"coarse": (0, 2), "middle": (2, 4), "fine": (4, 8)}),
        (4, {"coarse": (0, 2), "middle": (2, 4)}),
        (2, {"coarse": (0, 2)}),
    ],
)
def test_ranges_of_layers(layers, expected):
    assert styles.ranges(layers) == expected


@functools.cache
def small_stylegan() -> sampling.Sampler:
    """Of an untrained StyleGAN of 8x8 pixels, whose noise has a strength and whose mean style is not 0."""
    config = experiments.get_config("stylegan")
    config.model.update(first_side=8, batch_multiples=(), cutoff=None)
    config = datasets.resolve(config)
    (stage,), mesh = contract.load(config), parallel.make_mesh({"data": 1}, jax.devices()[:1])
    state = jax.jit(stage.gan.init)(jax.random.key(0), {"image": jnp.zeros((2, 8, 8, 3))})

    def change(path, leaf):
        """Noise of some strength, and images well within [-1, 1]."""
        if "strength" in str(path):
            return jnp.full_like(leaf, 0.1)
        return 0.1 * leaf if "rgb" in str(path) else leaf

    params = jax.tree_util.tree_map_with_path(change, state.average.params)
    average = state.average.replace(params=params, stats={"style": {"mean": jnp.linspace(-1.0, 1.0, 8)}})
    return sampling.of(stage.gan, state.replace(average=average), config, 0, mesh, "average")


@pytest.fixture(scope="module")
def sampler():
    return small_stylegan()


def test_walks_in_w_are_straight_and_keep_the_noise_of_their_start(sampler):
    z = sampler.latents(4)
    start, end = (jax.tree.map(lambda leaf, first=first: leaf[first::2], z) for first in (0, 1))
    walks = interpolation.interpolate(sampler, start, end, 3, space="w")
    known = [sampler.styles(each) for each in (start, end)]
    middle = {**known[0], "w": (known[0]["w"] + known[1]["w"]) / 2}
    np.testing.assert_allclose(walks[:, 0], sampler.generate(start), atol=1e-5)
    np.testing.assert_allclose(walks[:, 1], sampler.generate(middle), atol=1e-5)
    np.testing.assert_allclose(walks[:, 2], sampler.generate({**known[0], "w": known[1]["w"]}), atol=1e-5)
    assert np.abs(walks[:, 2] - sampler.generate(end)).max() > 1e-4  # whose noise is another
    assert [interpolation.natural_path(sampler, space) for space in "zw"] == ["spherical", "linear"]
    with pytest.raises(InputError, match=r"unknown space: 'x'.*z"):
        interpolation.interpolate(sampler, start, end, 3, space="x")


def test_a_sampler_knows_styles(sampler):
    z = sampler.latents(3)
    w = sampler.styles(z)
    assert sampler.styled
    assert w["w"].shape == (3, 4, 8)
    np.testing.assert_allclose(sampler.generate(w), sampler.generate(z), atol=1e-5)
    none = sampler.styles(z, 0.0)
    np.testing.assert_array_equal(none["w"], jnp.broadcast_to(jnp.linspace(-1.0, 1.0, 8), (3, 4, 8)))
    np.testing.assert_array_equal(sampler.styles(w, 0.0)["w"], w["w"])  # styles stay what they are


def test_mixing_of_all_layers_is_the_source_and_of_none_the_destination(sampler):
    z = sampler.latents(5)
    sources, destinations = (jax.tree.map(lambda leaf, cut=cut: leaf[cut], z) for cut in (slice(2), slice(2, 5)))
    made = styles.mixing(sampler, sources, destinations, {"all": (0, 4), "late": (2, 4)})
    assert made.samples.shape == (2, 3, 2, 8, 8, 3)
    w = sampler.styles(z)
    own_noise = {
        "w": np.repeat(w["w"][:2], 3, axis=0),
        "noise": jax.tree.map(lambda leaf: np.tile(leaf[2:], (2, 1, 1, 1)), w["noise"]),
    }
    expected = sampler.generate(own_noise).reshape(2, 3, 8, 8, 3).swapaxes(0, 1)
    np.testing.assert_allclose(made.samples[0], expected, atol=1e-5)
    again = styles.mixing(sampler, destinations, destinations)
    for block in again.samples:  # an image with styles of its own is what it was
        np.testing.assert_allclose(block[np.arange(3), np.arange(3)], made.destinations, atol=1e-5)
        assert np.abs(block[0, 1] - block[0, 0]).mean() > 1e-3
    assert list(again.ranges) == ["coarse", "middle"]
    picture = styles.picture(again)
    assert picture.dtype == np.uint8
    assert picture.shape[1] >= 4 * 64
    with pytest.raises(InputError, match="high layers 3 to 8: this generator has layers 0 to 3"):
        styles.mixing(sampler, sources, destinations, {"high": (3, 9)})


def test_truncation_of_styles(sampler):
    """At psi 0 samples differ by their noise alone, at psi 1 they are what they were; a bound is refused."""
    made = truncation.sweep(sampler, (0.0, 0.5, 1.0), "psi", number=3, measured=16)
    assert list(made.distances) == sorted(made.distances)
    assert 0.0 < made.distances[0] < 0.8 * made.distances[-1]
    np.testing.assert_allclose(made.samples[-1], sampler.generate(sampler.latents(16))[:3], atol=1e-5)
    with pytest.raises(InputError, match="normal latents"):
        truncation.sweep(sampler, (1.0,), "bound")


def test_noise_varies_what_styles_do_not(sampler):
    made = noise_variation.variation(sampler, number=2, draws=6, shown=3)
    assert made.samples.shape == (2, 3, 8, 8, 3)
    assert made.deviation.shape == (2, 8, 8)
    z = sampler.latents(8)
    w = sampler.styles(z)["w"]
    images = sampler.generate(
        {"w": np.repeat(w[1:2], 6, axis=0), "noise": jax.tree.map(lambda leaf: leaf[2:], z["noise"])}
    )
    np.testing.assert_allclose(made.samples[1], images[:3], atol=1e-6)
    np.testing.assert_allclose(made.mean[1], images.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(made.deviation[1], images.std(axis=0).mean(axis=-1), atol=1e-6)
    assert made.deviation.min() > 0.0
    assert noise_variation.picture(made).dtype == np.uint8


def test_styles_are_asked_of_a_generator_that_has_them(sampler):
    plain = dataclasses.replace(sampler, gan=sampler.gan.game)
    assert not plain.styled
    for call in (lambda: plain.styles({}), lambda: noise_variation.variation(plain, 1, 2)):
        with pytest.raises(InputError, match="'stylegan' has no styles"):
            call()
