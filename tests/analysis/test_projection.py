"""Projection: the projector's published values, and images whose latents are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.analysis import projection
from gan_jax.errors import InputError

COUNT, SIDE, RESTARTS, STEPS = 48, 16, 4, 200


def render(state, z, *maps):
    """One soft spot on a 16 x 16 image; z is its x, y, size and brightness. Sums of squares over such images have
    plateaus: a spot that does not overlap the wanted one does not know where to go, so that some starts must fail."""
    grid = jnp.arange(SIDE, dtype=jnp.float32)
    x, y = 7.5 + 3.0 * z[:, :1], 7.5 + 3.0 * z[:, 1:2]
    size, brightness = 1.5 * jnp.exp(0.3 * z[:, 2:3]), 1.0 + 0.4 * z[:, 3]
    across, down = (jnp.exp(-0.5 * ((grid[None] - centre) / size) ** 2) for centre in (x, y))
    spots = jnp.einsum("b,bh,bw->bhw", brightness, down, across)
    return (spots + state["background"])[..., None] + sum((0.1 * noise for noise in maps), start=0.0)


def squared(state, images, targets):
    """In grey levels of 0 to 255, as perceptual distances are: the weight of the regulariser is meant for such."""
    return jnp.sum((127.5 * (images - targets)) ** 2, axis=(1, 2, 3))


STATE = {"background": jnp.float32(-0.8)}


# The schedule and the regulariser


@pytest.mark.parametrize(
    ("step", "rate", "noise"),
    [
        (0, 0, 0.05),
        (25, 0.05, 0.046722),
        (50, 0.1, 0.043556),
        (500, 0.1, 0.005556),
        (750, 0.1, 0),
        (875, 0.05, 0),
        (999, 3.9478e-6, 0),
    ],
)
def test_schedule_of_the_authors(step, rate, noise):
    np.testing.assert_allclose(projection.learning_rate(step / 1000), rate, atol=1e-6 if step < 999 else 1e-8)
    np.testing.assert_allclose(projection.noise_factor(step / 1000), noise, atol=1e-6)


def checkers(side):
    return np.float32((-1.0) ** np.add.outer(np.arange(side), np.arange(side)))


def test_autocorrelation_of_known_maps():
    ones, noise = np.ones((2, 16, 16), np.float32), np.random.default_rng(0).standard_normal((2, 64, 64))
    maps = [ones, ones[:, :8, :8, None], [ones, {"deep": np.ones((2, 32, 32, 1), np.float32)}], checkers(16)[None]]
    *known, white = jax.jit(lambda maps: [projection.autocorrelation(each) for each in maps])(
        [*maps, np.float32(noise)]
    )
    for value, expected in zip(known, ([4, 4], [2, 2], [10, 10], [2]), strict=True):  # two axes, each side down to 8
        np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert white.max() < 0.005  # the largest term is that of the map itself, some 1 / 4096
    assert projection.autocorrelation(None) == 0


def test_maps_that_cannot_be_halved_are_refused():
    with pytest.raises(InputError, match="9x9 cannot be averaged"):
        projection.autocorrelation(np.ones((1, 9, 9), np.float32))


def test_renormalised_maps_have_mean_0_and_deviation_1():
    noise = np.float32(3.0 + 2.0 * np.random.default_rng(0).standard_normal((3, 16, 16, 1)))
    for made in jax.tree.leaves(jax.jit(projection.renormalise)({"a": noise, "b": np.cumsum(noise, axis=1)})):
        np.testing.assert_allclose(made.reshape(3, -1).mean(axis=1), 0, atol=1e-6)
        np.testing.assert_allclose(made.reshape(3, -1).std(axis=1), 1, rtol=1e-5)


def test_statistics_are_those_of_the_whole_vector():
    deviations = np.linspace(1, 2, 16)
    w = 3.0 + deviations * np.random.default_rng(0).standard_normal((10_000, 16))
    mean, std = jax.jit(projection.statistics)(np.float32(w))
    np.testing.assert_allclose(mean, 3, atol=0.1)
    np.testing.assert_allclose(std, np.sqrt(np.sum(deviations**2)), rtol=0.01)


def test_psnr_of_images_with_a_range_of_2():
    a = np.zeros((2, 4, 4, 3), np.float32)
    np.testing.assert_allclose(jax.jit(projection.psnr)(a, a + np.float32(0.02)), 40, atol=1e-3)


def test_what_the_perceptual_distance_sees():
    image = np.tile(checkers(2) * 0.5 + 0.5, (256, 256))[
        None, :, :, None
    ]  # two ones and two zeros in every 2 x 2 block
    np.testing.assert_allclose(jax.jit(projection.for_perception)(image), np.full((1, 256, 256, 1), 191.25))
    small = image[:, :4, :4]
    np.testing.assert_allclose(jax.jit(projection.for_perception)(small), 127.5 * (small + 1))


# The projector


def identity(state, w):
    return w * state


def test_a_few_steps_by_hand():
    """Adam on |s w - x|^2 with a w for each of two layers, beside the same in NumPy, all but without noise."""
    target, scale, steps = np.array([[[1.0, -2.0, 0.5], [3.0, 0.0, -1.0]]]), 0.7, 20
    mean, std = np.full((2, 3), 0.1, np.float32), 1e-6
    w, m, v = np.full((1, 2, 3), 0.1), 0.0, 0.0
    for index in range(steps):
        slope = 2 * scale * (scale * w - target)
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        update = m / (1 - 0.9 ** (index + 1)) / (np.sqrt(v / (1 - 0.999 ** (index + 1))) + 1e-8)
        w = w - projection.learning_rate(index / steps) * update

    def distance(state, a, b):
        return jnp.sum((a - b) ** 2, axis=(1, 2))

    key = jax.random.key(0)
    found = projection.project(key, identity, distance, np.float32(scale), np.float32(target), mean, std, steps=steps)
    np.testing.assert_allclose(found.latents, w, atol=1e-4)
    np.testing.assert_allclose(found.images, scale * w, atol=1e-4)
    np.testing.assert_allclose(found.distance, np.sum((scale * w - target) ** 2, axis=(1, 2)), rtol=1e-3)
    off = np.sum((w - 0.1) ** 2, axis=2).mean(axis=1)  # the mean over layers of the squared length
    np.testing.assert_allclose(found.sigmas * std, np.sqrt(off), rtol=1e-3)
    assert found.noise is None


@pytest.fixture(scope="module")
def targets():
    """Latents within a standard deviation, and maps of noise."""
    rng = np.random.default_rng(1)
    w, maps = rng.uniform(-1, 1, (3, 4)), rng.standard_normal((3, SIDE, SIDE, 1))
    return np.float32(w), jax.jit(projection.renormalise)(np.float32(maps))


draw = jax.jit(render)


def find(images, noise=None, seed=0):
    """From the mean 0, with the standard deviation of four normals."""
    mean = np.zeros(4, np.float32)
    key = jax.random.key(seed)
    return projection.project(key, render, squared, STATE, images, mean, 2.0, noise=noise, steps=STEPS)


def test_the_projector_finds_the_latents_and_noise_maps_take_up_what_is_noise(targets):
    """Noise of 0.1 on a spot of some 7 pixels leaves latents uncertain by a tenth or two."""
    w, maps = targets
    images = draw(STATE, w, maps)
    plain = find(images)
    np.testing.assert_allclose(plain.psnr, 10 * np.log10(4 / 0.1**2), atol=0.5)  # all but the noise
    np.testing.assert_allclose(plain.latents, w, atol=0.5)
    np.testing.assert_allclose(plain.sigmas, np.linalg.norm(plain.latents, axis=1) / 2, rtol=1e-5)

    found = find(images, np.float32(np.random.default_rng(2).standard_normal(maps.shape)))
    assert (found.psnr > plain.psnr + 10).all()
    np.testing.assert_allclose(found.latents, w, atol=0.6)
    np.testing.assert_allclose(found.noise.mean(axis=(1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(found.noise.std(axis=(1, 2, 3)), 1, rtol=1e-5)


def test_noise_maps_hide_no_shape(targets):
    """A slope from top to bottom is no spot. Maps could hold it, but neighbours in it are alike."""
    w, maps = targets
    slope = np.broadcast_to(np.linspace(-0.15, 0.15, SIDE).reshape(1, SIDE, 1, 1), maps.shape).astype(np.float32)
    images = draw(STATE, w) + slope
    found = find(images, maps)
    assert projection.autocorrelation(slope / slope.std()).min() > 2
    assert projection.autocorrelation(found.noise).max() < 0.1
    assert (found.psnr < find(images).psnr + 3).all()


def test_images_are_projected_each_for_itself(targets):
    w, maps = targets
    images = draw(STATE, w, maps)
    together, same, shaken = find(images), find(images.at[1:].set(images[0])), find(images, seed=1)
    np.testing.assert_allclose(together.latents[:1], same.latents[:1], atol=1e-4)
    assert not np.array_equal(same.latents[0], same.latents[1])  # each is shaken in its own way
    assert not np.array_equal(together.latents, shaken.latents)


# The plain projection into z


@pytest.fixture(scope="module")
def known():
    truth = np.float32(np.random.default_rng(4).standard_normal((COUNT, 4)))
    return truth, draw(STATE, truth)


@pytest.fixture(scope="module")
def starts():
    return np.float32(np.random.default_rng(3).standard_normal((RESTARTS, COUNT, 4)))


NOISE = np.float32(np.random.default_rng(2).choice([-1.0, 1.0], (COUNT, SIDE, SIDE, 1)))


def invert(images, starts, weight=1e-4, state=STATE):
    """One start is given several times: the same result, from the same program."""
    starts = np.resize(starts, (RESTARTS, COUNT, 4))
    return projection.invert(render, state, images, starts, weight=weight, steps=STEPS)


def test_own_images_are_found_with_four_starts(known, starts):
    truth, images = known
    one, four = invert(images, starts[:1]), invert(images, starts)
    assert np.mean(one.psnr < 40) > 0.05  # it is not easy: single starts are lost on a plateau (13 % of 512)
    assert np.mean(four.psnr < 40) < 0.05  # 1.5 % of 512, all of them latents far out, where the penalty pulls
    assert np.median(four.psnr) > 55  # 67
    assert np.median(np.abs(four.latents - truth).max(axis=1)) < 0.1  # the penalty costs something
    np.testing.assert_allclose(four.images, draw(STATE, four.latents), atol=1e-5)
    np.testing.assert_allclose(four.psnr, 10 * np.log10(4 / four.distance), rtol=1e-4)
    np.testing.assert_allclose(four.sigmas, np.linalg.norm(four.latents, axis=1) / 2, rtol=1e-5)


def test_noise_is_not_found(starts):
    """Of an image of random signs, four numbers hold next to nothing: a grey image has 10 log10(4 / 1) = 6.02 dB."""
    assert invert(NOISE, starts).psnr.max() < 8


def test_the_best_start_is_kept(known, starts):
    """Each image's, by what is minimised; which start that is must not matter."""
    _, images = known
    four = invert(images, starts)
    backwards = invert(images, starts[::-1])
    np.testing.assert_allclose(four.latents, backwards.latents, atol=0.01)
    first = invert(images, starts[:1])

    def objective(found):
        size = np.sum(np.asarray(found.latents) ** 2, axis=1)
        return found.distance + 1e-4 * (size - 4) ** 2 / 8

    assert (objective(four) <= objective(first) + 1e-6).all()


def test_a_guess_is_refined(known, starts):
    """An encoder's guess, a tenth off, is as good as many starts."""
    truth, images = known
    guess = truth + 0.1 * starts[0]
    before = projection.psnr(draw(STATE, guess), images)
    after = invert(images, guess[None]).psnr
    assert np.mean(after < 40) < 0.05
    assert np.median(after) > np.median(before) + 15


def test_the_penalty_keeps_a_normal_latent_where_normals_are(known, starts):
    free, kept = invert(NOISE, starts, weight=0.0), invert(NOISE, starts, weight=0.1)
    assert np.median(free.sigmas) > 3
    np.testing.assert_allclose(kept.sigmas, 1, atol=0.3)


@pytest.mark.parametrize("prior", projection.PRIORS)
def test_priors(prior):
    keep, bound = projection.PRIORS[prior], {"uniform": 1.0, "uniform_unit_variance": 3**0.5}.get(prior, np.inf)

    @jax.jit
    def look(key):
        z = projection.draw_starts(key, 2, 5000, 4, prior)
        edge = keep.free(jnp.full((1, 4), min(bound, 1.0)))
        return z, keep.latent(keep.free(z)), keep.latent(50.0 * keep.free(z)), edge, keep.penalty(z)

    z, there_and_back, far, edge, penalty = (np.asarray(x) for x in look(jax.random.key(0)))
    assert z.shape == (2, 5000, 4)
    np.testing.assert_allclose(z.var(), keep.variance, rtol=0.05)
    inside = np.abs(z) < 0.99 * bound
    np.testing.assert_allclose(there_and_back[inside], z[inside], atol=1e-4)
    assert np.abs(far).max() <= bound
    assert np.isfinite(edge).all()
    expected = 1.0 if prior == "normal" else 0.0  # in units of the variance of |z|^2
    np.testing.assert_allclose(penalty.mean(), expected, atol=0.15)


def line(state, z):
    """Two pixels, of which only the first can be had."""
    return state * jnp.concatenate([z, jnp.zeros_like(z)], axis=1)


def total(state, images):
    return images.sum(axis=1, keepdims=True)


def test_features_count_and_a_box_is_not_left():
    """With weight k on the sum of x0 and x1, ((z - x0)^2 + x1^2) / 2 + k (z - x0 - x1)^2 has one minimum."""
    x, k = np.float32([[0.2, 0.3], [-0.5, 0.1], [0.3, 4.0]]), 2.0

    def solve(start, steps):
        start, one = np.full((1, 3, 1), start, np.float32), np.float32(1.0)
        return projection.invert(line, one, x, start, features=total, feature_weight=k, prior="uniform", steps=steps)

    np.testing.assert_allclose(solve(0.7, steps=1).latents, 0.7, rtol=1e-5)  # the first rate is 0
    found = solve(0.0, STEPS)
    z = np.minimum(x[:, 0] + 2 * k / (1 + 2 * k) * x[:, 1], 1.0)
    np.testing.assert_allclose(found.latents[:, 0], z, atol=0.01)
    assert found.latents.max() <= 1
    expected = ((z - x[:, 0]) ** 2 + x[:, 1] ** 2) / 2 + k * (z - x.sum(axis=1)) ** 2
    np.testing.assert_allclose(found.distance, expected, rtol=0.02)
    np.testing.assert_allclose(found.sigmas, np.abs(found.latents[:, 0]) * 3**0.5, rtol=1e-5)


def test_the_state_is_an_argument(known, starts):
    """Another state is another result of the same program."""
    _, images = known
    invert(images, starts)
    compiled = projection.invert._cache_size()
    other = invert(images, starts, state={"background": jnp.float32(0.0)})
    assert projection.invert._cache_size() == compiled
    assert other.psnr.max() < 30


def test_a_prior_that_does_not_exist(known, starts):
    with pytest.raises(InputError, match=r"unknown prior: 'norml'\. Did you mean 'normal'"):
        projection.invert(render, STATE, known[1], starts, prior="norml")
