"""Losses and f-divergences: exact values, gradients, identities with the divergences they estimate, limits."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from scipy.special import ndtri

from gan_jax import divergences, losses
from gan_jax.errors import InputError

REAL = jnp.array([2.0, -1.0])
FAKE = jnp.array([0.5, -3.0])
ZEROS = jnp.zeros(2)
RELATIVISTIC = ("relativistic", "relativistic_average")
ADDITIVE = sorted(set(losses.BY_NAME) - set(RELATIVISTIC))


def sp(x):
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("name", "options", "d", "g"),
    [
        ("minimax", {}, 1.2314270, -0.5113322),
        ("non_saturating", {}, 1.2314270, 1.7613322),
        ("maximum_likelihood", {}, 1.2314270, -0.4246271),
        ("least_squares", {}, 3.5625, 4.0625),
        ("least_squares", {"a": -1.0, "b": 1.0, "c": 0.0}, 2.8125, 2.3125),
        ("hinge", {}, 1.75, 1.25),
        ("wasserstein", {}, -1.75, 1.25),
        ("relativistic", {}, (sp(-1.5) + sp(-2.0)) / 2, (sp(1.5) + sp(2.0)) / 2),
        # the mean real is 0.5, the mean fake -1.25
        (
            "relativistic_average",
            {},
            (sp(-3.25) + sp(-0.25) + sp(0.0) + sp(-3.5)) / 2,
            (sp(0.0) + sp(3.5) + sp(3.25) + sp(0.25)) / 2,
        ),
        ("fgan_kl", {}, -0.5 + (math.exp(-0.5) + math.exp(-4.0)) / 2, -(math.exp(-0.5) + math.exp(-4.0)) / 2),
        ("fgan_gan", {}, 1.2314270, -0.5113322),
        ("fgan_gan", {"generator_cost": "alternative"}, 1.2314270, 1.7613322),
    ],
)
def test_exact_values(name, options, d, g):
    loss = losses.build(name, **options)
    np.testing.assert_allclose(loss.d(REAL, FAKE), d, rtol=0, atol=1e-6)
    np.testing.assert_allclose(loss.g(REAL, FAKE), g, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "d", "g"),
    [
        ("minimax", 1.3862944, -0.6931472),
        ("non_saturating", 1.3862944, 0.6931472),
        ("maximum_likelihood", 1.3862944, -0.5),
        ("hinge", 2.0, 0.0),
        ("relativistic", 0.6931472, 0.6931472),
        ("relativistic_average", 1.3862944, 1.3862944),
    ],
)
def test_a_critic_that_says_nothing(name, d, g):
    loss = losses.build(name)
    np.testing.assert_allclose(loss.d(ZEROS, ZEROS), d, rtol=0, atol=1e-6)
    np.testing.assert_allclose(loss.g(ZEROS, ZEROS), g, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "real", "fake", "d", "g"),
    [("relativistic", 2.0, 1.0, 0.3132617, 1.3132617), ("hinge", 0.3, -0.4, 1.3, 0.4)],
)
def test_one_pair(name, real, fake, d, g):
    paid = [cost(jnp.array([real]), jnp.array([fake])) for cost in losses.build(name)]
    np.testing.assert_allclose(paid, [d, g], atol=1e-6)


def test_scaled_halves_as_goodfellows_code_does():
    loss = losses.scaled(losses.non_saturating(), d=0.5, g=3.0)
    np.testing.assert_allclose(loss.d(REAL, FAKE), 0.6157135, atol=1e-6)
    np.testing.assert_allclose(loss.g(REAL, FAKE), 3 * 1.7613322, atol=1e-5)


def test_the_three_generator_gradients_where_the_discriminator_wins():
    logit = jnp.array([-4.0])
    slope = {name: float(jax.grad(losses.build(name).g, 1)(logit, logit)[0]) for name in losses.BY_NAME}
    assert slope["minimax"] == pytest.approx(-0.0179862, abs=1e-6)
    assert slope["non_saturating"] == pytest.approx(-0.9820138, abs=1e-6)
    assert 2 * slope["maximum_likelihood"] == pytest.approx(-0.0183156, abs=1e-6)
    assert slope["non_saturating"] / slope["minimax"] == pytest.approx(54.6, abs=0.05)


def test_least_squares_generator_gradient():
    np.testing.assert_allclose(jax.grad(losses.least_squares().g, 1)(REAL, FAKE), (FAKE - 1.0) / 2, atol=1e-6)
    assert losses.least_squares().d(jnp.ones(3), jnp.zeros(3)) == 0


class TestLabelSmoothing:
    def test_value_and_minimum_of_the_real_term(self):
        d = losses.non_saturating(real_label=0.9).d
        fake_term = np.mean(np.log1p(np.exp(np.asarray(FAKE, np.float64))))
        np.testing.assert_allclose(d(REAL, FAKE) - fake_term, 0.7700949, atol=1e-6)
        optimum = jnp.full(2, 2.1972246)
        np.testing.assert_allclose(d(optimum, FAKE) - fake_term, 0.3250830, atol=1e-6)
        np.testing.assert_allclose(jax.grad(d)(optimum, FAKE), 0.0, atol=1e-6)

    def test_only_the_real_term_changes(self):
        smooth, plain = losses.hinge(real_label=0.9), losses.hinge()
        np.testing.assert_allclose(jax.grad(smooth.d, 1)(REAL, FAKE), jax.grad(plain.d, 1)(REAL, FAKE), atol=0)
        assert smooth.g(REAL, FAKE) == plain.g(REAL, FAKE)

    def test_beyond_one_there_is_no_lower_bound(self):
        slope = jax.grad(losses.non_saturating(real_label=1.2).d)(jnp.array([10.0]), ZEROS)
        np.testing.assert_allclose(slope, -0.2000454, atol=1e-6)

    @pytest.mark.parametrize("name", ADDITIVE)
    def test_is_the_mixture_of_both_verdicts(self, name):
        """Replacing the reals by zeros saves t of what it saves as reals, and 1 - t of what it saves as fakes."""
        plain, smooth = losses.build(name).d, losses.build(name, real_label=0.9).d
        as_reals = plain(REAL, FAKE) - plain(ZEROS, FAKE)
        as_fakes = plain(REAL, REAL) - plain(REAL, ZEROS)
        saved = smooth(REAL, FAKE) - smooth(ZEROS, FAKE)
        np.testing.assert_allclose(saved, 0.9 * as_reals + 0.1 * as_fakes, atol=1e-5)

    @pytest.mark.parametrize("name", ADDITIVE)
    def test_a_label_of_one_changes_nothing(self, name):
        assert losses.build(name, real_label=1.0).d(REAL, FAKE) == losses.build(name).d(REAL, FAKE)

    def test_a_label_of_one_leaves_the_fake_cost_out(self):
        """KL would charge exp(999) for calling these fakes, and nothing times infinity is not nothing."""
        value = losses.build("fgan_kl", real_label=1.0).d(jnp.full(2, 1000.0), jnp.ones(2))
        np.testing.assert_allclose(value, -999.0, rtol=1e-6)

    @pytest.mark.parametrize("name", RELATIVISTIC)
    def test_relativistic_losses_have_no_real_term_to_smooth(self, name):
        losses.build(name, real_label=1.0)
        with pytest.raises(InputError, match=r"config\.model\.real_label=0\.9 must be 1\.0"):
            losses.build(name, real_label=0.9)


class TestBuild:
    def test_unknown_name(self):
        with pytest.raises(InputError, match=r"config\.model\.loss.*'hing'.*Did you mean 'hinge'.*wasserstein"):
            losses.build("hing")

    def test_option_of_another_loss(self):
        with pytest.raises(InputError, match=r"'hinge'.*no option 'clip' \(config\.model\.clip\).*real_label"):
            losses.build("hinge", clip=3.0)

    @pytest.mark.parametrize("label", [0.0, -0.5, 1.2])
    def test_label_out_of_range(self, label):
        with pytest.raises(InputError, match=r"config\.model\.real_label"):
            losses.build("hinge", real_label=label)

    def test_unknown_generator_cost(self):
        with pytest.raises(InputError, match=r"config\.model\.generator_cost.*alternative, minimax"):
            losses.build("fgan_kl", generator_cost="ns")

    @pytest.mark.parametrize("name", sorted(losses.BY_NAME))
    def test_every_loss_has_a_real_label(self, name):
        assert isinstance(losses.build(name, real_label=1.0), losses.Loss)


@pytest.mark.parametrize("name", sorted(losses.BY_NAME))
class TestEveryLoss:
    def test_is_a_float32_scalar(self, name):
        for dtype in (jnp.float32, jnp.bfloat16):
            for cost in losses.build(name):
                value = jax.jit(cost)(REAL.astype(dtype), FAKE.astype(dtype))
                assert value.shape == ()
                assert value.dtype == jnp.float32
                assert np.isfinite(value)

    def test_directions(self, name):
        """Between the targets of every loss: reals should rise, fakes fall; the generator wants its fakes to rise."""
        real, fake = jnp.array([0.6, 0.2, 0.4]), jnp.array([0.1, 0.4, 0.3])
        d, g = losses.build(name)
        assert (jax.grad(d, 0)(real, fake) < 0).all()
        assert (jax.grad(d, 1)(real, fake) > 0).all()
        assert (jax.grad(g, 1)(real, fake) < 0).all()

    def test_is_a_mean_of_examples(self, name):
        """Repeating the batch changes nothing."""
        for cost in losses.build(name):
            repeated = cost(jnp.tile(REAL, 3), jnp.tile(FAKE, 3))
            np.testing.assert_allclose(repeated, cost(REAL, FAKE), rtol=1e-6, atol=1e-6)

    def test_refuses_a_column_of_logits(self, name):
        for cost in losses.build(name):
            with pytest.raises(TypeCheckError, match="fake_logits"):
                cost(REAL, FAKE[:, None])


EXPONENTIAL = {f"fgan_{name}" for name in ("kl", "reverse_kl", "neyman", "squared_hellinger")}


@pytest.mark.parametrize("name", sorted(set(losses.BY_NAME) - EXPONENTIAL))
def test_finite_at_extreme_logits(name):
    high, low = jnp.array([1e4, 1e4]), jnp.array([-1e4, -1e4])
    for cost in losses.build(name):
        for pair in ((high, low), (low, high), (high, high), (low, low)):
            assert np.isfinite(cost(*pair))
            assert all(np.isfinite(slope).all() for slope in jax.grad(cost, (0, 1))(*pair))


@pytest.mark.parametrize("name", [f"fgan_{name}" for name in divergences.BY_NAME])
def test_clipping_makes_every_divergence_finite(name):
    high, low = jnp.array([1e4, 1e4]), jnp.array([-1e4, -1e4])
    for cost in losses.build(name, clip=10.0, real_label=0.9):
        assert np.isfinite(cost(low, high))
        assert np.isfinite(cost(high, low))
    for clipped, plain in zip(losses.build(name, clip=10.0), losses.build(name), strict=True):
        assert clipped(REAL, FAKE) == plain(REAL, FAKE)


def test_maximum_likelihood_is_flat_from_its_clip_on():
    g = losses.maximum_likelihood(clip=2.0).g
    np.testing.assert_allclose(g(ZEROS, jnp.full(2, 50.0)), -0.5 * math.exp(2.0), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(g, 1)(ZEROS, jnp.full(2, 50.0)), 0.0, atol=0)


# Optimal critics of p = N(0, 1) against q = N(1, 1), where log p/q = 1/2 - x. A large batch that sits on the quantiles
# of each stands for its expectation.

QUANTILES = ndtri((np.arange(20_000) + 0.5) / 20_000)
X_P, X_Q = QUANTILES, QUANTILES + 1.0


def optimal(critic):
    """(logits of the reals, logits of the fakes) of a critic that is given log p/q."""
    return tuple(jnp.asarray(critic(0.5 - x), jnp.float32) for x in (X_P, X_Q))


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def test_optimal_discriminator_pays_log_4_less_twice_the_jensen_shannon_divergence():
    np.testing.assert_allclose(losses.non_saturating().d(*optimal(lambda ratio: ratio)), 1.163451, atol=1e-5)


def test_least_squares_at_its_optimum():
    pearson = losses.least_squares(a=-1.0, b=1.0, c=0.0)
    verdicts = optimal(lambda ratio: np.tanh(ratio / 2))  # (p - q) / (p + q)
    np.testing.assert_allclose(pearson.d(*verdicts), 0.795946, atol=1e-5)
    np.testing.assert_allclose(pearson.g(*verdicts), 0.102027, atol=1e-5)
    np.testing.assert_allclose(sum(jnp.mean(verdict**2) for verdict in verdicts), 0.408109, atol=1e-5)
    zero_one, verdicts = losses.least_squares(), optimal(sigmoid)  # p / (p + q)
    np.testing.assert_allclose(zero_one.d(*verdicts), 0.198986, atol=1e-5)
    np.testing.assert_allclose(zero_one.g(*verdicts), 0.201520, atol=1e-5)


def test_least_squares_where_model_and_data_agree():
    half, pearson = jnp.full(2, 0.5), losses.least_squares(a=-1.0, b=1.0, c=0.0)
    values = [losses.least_squares().d(half, half), pearson.d(ZEROS, ZEROS), pearson.g(ZEROS, ZEROS)]
    np.testing.assert_allclose(values, [0.25, 1.0, 0.0], atol=1e-7)


# f-divergences

TABLE = {  # T(0), f*(T(0)), T(1), f*(T(1))
    "kl": (0.0, 0.367879, 1.0, 1.0),
    "reverse_kl": (-1.0, -1.0, -0.367879, 0.0),
    "pearson": (0.0, 0.0, 1.0, 1.25),
    "neyman": (0.0, 0.0, 0.632121, 0.786939),
    "squared_hellinger": (0.0, 0.0, 0.632121, 1.718282),
    "total_variation": (0.0, 0.0, 0.380797, 0.380797),
    "jensen_shannon": (0.0, 0.0, 0.379885, 0.620115),
    "gan": (-0.693147, 0.693147, -0.313262, 1.313262),
}
BETWEEN_GAUSSIANS = {  # p = N(0, 1), q = N(1, 1)
    "kl": 0.5,
    "reverse_kl": 0.5,
    "pearson": 1.718282,
    "neyman": 1.718282,
    "squared_hellinger": 0.235006,
    "total_variation": 0.382925,
    "jensen_shannon": 0.222843,
    "gan": -1.163451,
}
SLOPE_OF_F = {  # T* = f'(u)
    "kl": lambda u: 1.0 + jnp.log(u),
    "reverse_kl": lambda u: -1.0 / u,
    "pearson": lambda u: 2.0 * (u - 1.0),
    "neyman": lambda u: 1.0 - 1.0 / u**2,
    "squared_hellinger": lambda u: 1.0 - u**-0.5,
    "total_variation": lambda u: jnp.sign(u - 1.0) / 2.0,
    "jensen_shannon": lambda u: jnp.log(2.0 * u / (1.0 + u)),
    "gan": lambda u: jnp.log(u / (u + 1.0)),
}
OPTIMAL_LOGIT = {  # the v at which activation(v) = f'(u), as a function of log u
    "kl": lambda ratio: 1.0 + ratio,
    "reverse_kl": lambda ratio: ratio,
    "pearson": lambda ratio: 2.0 * np.expm1(ratio),
    "neyman": lambda ratio: 2.0 * ratio,
    "squared_hellinger": lambda ratio: ratio / 2.0,
    "total_variation": lambda ratio: 20.0 * np.sign(ratio),
    "jensen_shannon": lambda ratio: ratio,
    "gan": lambda ratio: ratio,
}


@pytest.mark.parametrize("name", sorted(divergences.BY_NAME))
class TestDivergence:
    x = np.linspace(-8.0, 9.0, 20_001)
    p = np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)
    q = np.exp(-0.5 * (x - 1.0) ** 2) / math.sqrt(2 * math.pi)
    u = jnp.asarray(np.exp(0.5 - x), jnp.float32)

    def expect(self, density, values):
        return np.trapezoid(density * np.asarray(values, np.float64), self.x)

    def test_table(self, name):
        divergence = divergences.BY_NAME[name]
        for v, wanted in ((0.0, TABLE[name][:2]), (1.0, TABLE[name][2:])):
            t = divergence.activation(jnp.float32(v))
            np.testing.assert_allclose([t, divergence.conjugate(t)], wanted, atol=1e-6)
            np.testing.assert_allclose(divergence.activated_conjugate(jnp.float32(v)), wanted[1], atol=1e-6)

    def test_both_players_pay_by_the_table(self, name):
        at_zero, at_one = TABLE[name][:2], TABLE[name][2:]
        zero, one = jnp.zeros(3), jnp.ones(3)
        minimax, alternative = (
            losses.build(f"fgan_{name}", generator_cost=cost) for cost in ("minimax", "alternative")
        )
        np.testing.assert_allclose(minimax.d(one, zero), -at_one[0] + at_zero[1], atol=2e-6)
        np.testing.assert_allclose(minimax.d(zero, one), -at_zero[0] + at_one[1], atol=2e-6)
        np.testing.assert_allclose(minimax.g(zero, one), -at_one[1], atol=2e-6)
        np.testing.assert_allclose(alternative.g(zero, one), -at_one[0], atol=2e-6)
        assert alternative.d(one, zero) == minimax.d(one, zero)

    def test_simplified_form_is_the_conjugate_of_the_activation(self, name):
        divergence, v = divergences.BY_NAME[name], jnp.linspace(-3.0, 3.0, 61)
        wanted = divergence.conjugate(divergence.activation(v))
        np.testing.assert_allclose(divergence.activated_conjugate(v), wanted, rtol=2e-5, atol=2e-5)

    def test_conjugate_is_the_supremum(self, name):
        divergence = divergences.BY_NAME[name]
        t = divergence.activation(jnp.linspace(-1.5, 1.5, 7))
        u = jnp.exp(jnp.linspace(-12.0, 12.0, 24_001))
        supremum = jnp.max(t[:, None] * u[None] - divergence.f(u)[None], axis=1)
        np.testing.assert_allclose(supremum, divergence.conjugate(t), atol=2e-5)

    def test_slope_and_threshold(self, name):
        divergence, u = divergences.BY_NAME[name], jnp.array([0.1, 0.5, 0.9, 1.1, 2.0, 10.0])
        np.testing.assert_allclose(jax.vmap(jax.grad(divergence.f))(u), SLOPE_OF_F[name](u), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(SLOPE_OF_F[name](jnp.float32(1.0)), divergence.threshold, atol=1e-6)

    def test_f_vanishes_where_the_densities_agree(self, name):
        wanted = -2 * math.log(2) if name == "gan" else 0.0
        np.testing.assert_allclose(divergences.BY_NAME[name].f(jnp.float32(1.0)), wanted, atol=1e-6)

    def test_activation_rises(self, name):
        assert (jnp.diff(divergences.BY_NAME[name].activation(jnp.linspace(-3.0, 3.0, 61))) > 0).all()

    def test_value_between_gaussians(self, name):
        value = self.expect(self.q, divergences.BY_NAME[name].f(self.u))
        np.testing.assert_allclose(value, BETWEEN_GAUSSIANS[name], atol=1e-5)

    def test_bound_is_tight_at_the_slope_of_f(self, name):
        divergence, t = divergences.BY_NAME[name], SLOPE_OF_F[name](self.u)
        bound = self.expect(self.p, t) - self.expect(self.q, divergence.conjugate(t))
        np.testing.assert_allclose(bound, BETWEEN_GAUSSIANS[name], atol=1e-5)

    def test_loss_of_the_optimal_critic_is_minus_the_divergence(self, name):
        """Shown one example against a fixed one of the other side, it pays an integrand and a constant."""
        d, zero = losses.build(f"fgan_{name}").d, jnp.zeros(1)
        v = jnp.asarray(OPTIMAL_LOGIT[name](0.5 - self.x), jnp.float32)[:, None]
        real = jax.vmap(lambda logit: d(logit, zero))(v)
        fake = jax.vmap(lambda logit: d(zero, logit))(v)
        estimate = -(self.expect(self.p, real) + self.expect(self.q, fake) - float(d(zero, zero)))
        np.testing.assert_allclose(estimate, BETWEEN_GAUSSIANS[name], atol=2e-5)

    def test_any_other_critic_estimates_less(self, name):
        """One that takes the data for e^0.3 times as dense as it is."""
        divergence = divergences.BY_NAME[name]
        v = jnp.asarray(OPTIMAL_LOGIT[name](0.8 - self.x), jnp.float32)
        bound = self.expect(self.p, divergence.activation(v)) - self.expect(self.q, divergence.activated_conjugate(v))
        assert bound < BETWEEN_GAUSSIANS[name] - 1e-3


def test_kullback_leibler_has_the_data_first():
    """Between N(0, 1) and N(1, 2^2) the two directions differ."""
    x = np.linspace(-12.0, 14.0, 20_001)
    q = np.exp(-0.5 * ((x - 1.0) / 2.0) ** 2) / (2.0 * math.sqrt(2 * math.pi))
    u = jnp.asarray(np.exp(-0.5 * x**2 + 0.5 * ((x - 1.0) / 2.0) ** 2) * 2.0, jnp.float32)
    value = {name: np.trapezoid(q * np.asarray(divergences.BY_NAME[name].f(u)), x) for name in ("kl", "reverse_kl")}
    np.testing.assert_allclose(value["kl"], 0.443147, atol=1e-5)
    np.testing.assert_allclose(value["reverse_kl"], 1.306853, atol=1e-5)


def test_gan_divergence_is_the_cross_entropy_game():
    real, fake = jax.random.normal(jax.random.key(0), (2, 512)) * 8.0
    for cost, divergence in (("minimax", "minimax"), ("non_saturating", "alternative")):
        ours, theirs = losses.build(cost), losses.build("fgan_gan", generator_cost=divergence)
        np.testing.assert_allclose(theirs.d(real, fake), ours.d(real, fake), rtol=1e-6)
        np.testing.assert_allclose(theirs.g(real, fake), ours.g(real, fake), rtol=1e-6)
