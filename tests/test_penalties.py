"""Penalties against closed forms, their derivatives against finite differences, and what the game may ask of each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import penalties
from gan_jax.errors import InputError
from gan_jax.penalties import Evidence

RNG = jax.random.key(0)
REAL, FAKE = jax.random.normal(jax.random.key(1), (2, 6, 4, 4, 3))  # images
POINTS = jnp.array([[1.0, 0.0], [0.0, -2.0], [3.0, 4.0]])


def linear(length, shape):
    """The critic w.x with |w| = length, and w along the diagonal."""
    size = int(np.prod(shape))
    return lambda x: x.reshape(-1, size) @ jnp.full(size, length / size**0.5)


def quadratic(x):
    """|x|^2, whose gradient is 2 x."""
    return penalties.squared_norms(x)


def silent(x):
    return jnp.zeros(x.shape[0])


class TestInputGradient:
    def test_is_each_examples_own(self):
        np.testing.assert_allclose(penalties.input_gradient(quadratic, REAL), 2 * REAL, atol=1e-6)

    def test_is_float32_where_the_network_is_not(self):
        def score(x):
            return jnp.sum(x.astype(jnp.bfloat16) ** 2, axis=1)

        gradient = penalties.input_gradient(score, POINTS.astype(jnp.bfloat16))
        assert gradient.dtype == jnp.float32
        np.testing.assert_allclose(gradient, 2 * POINTS, rtol=1e-2)

    def test_may_itself_be_differentiated_by_the_input(self):
        def total(x):
            return jnp.sum(penalties.input_gradient(quadratic, x) ** 2)

        np.testing.assert_allclose(jax.grad(total)(POINTS), 8 * POINTS, rtol=1e-6)


class TestBetween:
    @pytest.mark.parametrize(("real", "fake"), [(REAL, FAKE), (POINTS, -POINTS), (REAL[:, 0], FAKE[:, 0])])
    def test_end_points_at_any_rank(self, real, fake):
        count = real.shape[0]
        np.testing.assert_array_equal(penalties.between(real, fake, jnp.zeros(count)), real)
        np.testing.assert_allclose(penalties.between(real, fake, jnp.ones(count)), fake, atol=1e-6)

    def test_one_share_for_each_example(self):
        share = jnp.linspace(0.0, 1.0, 6)
        moved = (penalties.between(REAL, FAKE, share) - REAL) / (FAKE - REAL)
        np.testing.assert_allclose(moved, jnp.broadcast_to(share.reshape(6, 1, 1, 1), REAL.shape), atol=1e-4)


class TestWganGp:
    @pytest.mark.parametrize(("length", "value"), [(3.0, 4.0), (1.0, 0.0), (0.25, 0.5625)])
    @pytest.mark.parametrize("batch", [(REAL, FAKE), (POINTS, -POINTS)], ids=["images", "points"])
    def test_linear_critic(self, batch, length, value):
        penalty = penalties.wgan_gp(linear(length, batch[0].shape[1:]), *batch, RNG)
        np.testing.assert_allclose(penalty, value, atol=2e-5)

    def test_progan_target(self):
        """|a| = 5 with lambda 10: 160 for a target of 1, 9.867111 for one of 750."""
        critic = linear(5.0, REAL.shape[1:])
        np.testing.assert_allclose(10 * penalties.wgan_gp(critic, REAL, FAKE, RNG), 160.0, rtol=1e-5)
        far = penalties.wgan_gp(critic, REAL, FAKE, RNG, target=750.0)
        np.testing.assert_allclose(10 * far / 750.0**2, 9.867111, rtol=1e-6)

    def test_quadratic_critic_on_the_unit_sphere(self):
        """Real and fake are the same point, so every interpolate is: slope 2, penalty 1."""
        sphere = REAL / jnp.sqrt(penalties.squared_norms(REAL)).reshape(-1, 1, 1, 1)
        np.testing.assert_allclose(penalties.wgan_gp(quadratic, sphere, sphere, RNG), 1.0, atol=1e-5)

    def test_mean_is_over_slopes_of_single_examples(self):
        """The slopes of |x|^2 at these points are 2, 4 and 10."""
        np.testing.assert_allclose(penalties.wgan_gp(quadratic, POINTS, POINTS, RNG), (1 + 9 + 81) / 3, rtol=1e-5)

    def test_interpolates_fill_the_lines(self):
        """On lines from 0 to 1 the critic x^2 / 2 has slope u: E (u - 1)^2 = 1/3, one-sided 0; other keys, other u."""
        zeros, ones = jnp.zeros((40_000, 1)), jnp.ones((40_000, 1))

        def half_square(x):
            return quadratic(x) / 2

        first, second = (penalties.wgan_gp(half_square, zeros, ones, jax.random.key(seed)) for seed in (0, 1))
        np.testing.assert_allclose(first, 1 / 3, atol=0.01)
        assert first != second
        np.testing.assert_allclose(penalties.wgan_gp(half_square, zeros, ones, RNG, one_sided=True), 0.0, atol=1e-10)

    def test_silent_critic_has_a_finite_gradient(self):
        def value(scale):
            return penalties.wgan_gp(lambda x: scale * linear(1.0, (2,))(x), POINTS, -POINTS, RNG)

        np.testing.assert_allclose(penalties.wgan_gp(silent, REAL, FAKE, RNG), 1.0, atol=1e-5)
        np.testing.assert_allclose(jax.grad(value)(0.0), 0.0, atol=1e-6)

    @pytest.mark.parametrize(("length", "value"), [(3.0, 4.0), (1.0, 0.0), (0.25, 0.0)])
    def test_one_sided(self, length, value):
        penalty = penalties.wgan_gp(linear(length, (2,)), POINTS, -POINTS, RNG, one_sided=True)
        np.testing.assert_allclose(penalty, value, atol=2e-5)

    def test_does_not_reach_the_generator(self):
        gradient = jax.grad(lambda fake: penalties.wgan_gp(quadratic, POINTS, fake, RNG))(-POINTS)
        np.testing.assert_array_equal(gradient, 0.0)


class TestDragan:
    @pytest.mark.parametrize(("length", "value"), [(3.0, 4.0), (1.0, 0.0)])
    def test_linear_critic(self, length, value):
        np.testing.assert_allclose(penalties.dragan(linear(length, REAL.shape[1:]), REAL, RNG), value, atol=2e-5)

    def test_without_spread_the_points_are_the_reals(self):
        np.testing.assert_allclose(penalties.dragan(quadratic, POINTS, RNG, spread=0.0), (1 + 9 + 81) / 3, rtol=1e-5)

    def test_how_far_the_points_lie_from_the_reals(self):
        """On 0 and 2 in equal parts std is 1, so x - real = u n / 2, u and n uniform; on 0 and 6 it is three times so.

        The critic |x - real|^2 / 2 + x has slope 1 + (x - real): the penalty is E (u n / 2)^2 = 1/36.
        """
        real = jnp.tile(jnp.array([[0.0], [2.0]]), (20_000, 1))

        def around(real, **options):
            return penalties.dragan(lambda x: quadratic(x - real) / 2 + x[:, 0], real, RNG, **options)

        np.testing.assert_allclose(around(real), 1 / 36, rtol=0.03)
        np.testing.assert_allclose(around(real, spread=1.0), 4 / 36, rtol=0.03)
        np.testing.assert_allclose(around(3.0 * real), 9 / 36, rtol=0.03)

    def test_silent_critic_has_a_finite_gradient(self):
        def value(scale):
            return penalties.dragan(lambda x: scale * linear(1.0, (2,))(x), POINTS, RNG)

        np.testing.assert_allclose(jax.grad(value)(0.0), 0.0, atol=1e-6)


class TestZeroCentred:
    def test_linear_critic(self):
        """|a|^2 = 3: R1 with gamma 10 charges 15; R1 and R2 with gamma 0.05 charge 0.15."""
        critic = linear(3.0**0.5, REAL.shape[1:])
        np.testing.assert_allclose(penalties.r1(critic, REAL), 3.0, rtol=1e-6)
        np.testing.assert_allclose(price("r1", 10.0, score=critic)[0], 15.0, rtol=1e-6)
        np.testing.assert_allclose(price("r2", 10.0, score=critic)[0], 15.0, rtol=1e-6)
        np.testing.assert_allclose(price("r1_r2", 0.05, score=critic)[0], 0.15, rtol=1e-6)

    def test_quadratic_critic(self):
        np.testing.assert_allclose(penalties.r1(quadratic, POINTS), 4 * (1 + 4 + 25) / 3, rtol=1e-6)
        np.testing.assert_allclose(penalties.r2(quadratic, 2 * POINTS), 16 * (1 + 4 + 25) / 3, rtol=1e-6)

    def test_sums_over_every_axis_of_an_image(self):
        np.testing.assert_allclose(penalties.r1(quadratic, REAL), 4 * np.sum(REAL**2) / 6, rtol=1e-5)

    def test_does_not_reach_the_generator(self):
        np.testing.assert_array_equal(jax.grad(lambda fake: penalties.r2(quadratic, fake))(POINTS), 0.0)


class TestLecam:
    real, fake = jnp.array([2.0, -1.0]), jnp.array([0.5, -3.0])  # means 0.5 and -1.25

    def test_first_batch_is_its_own_average(self):
        """Real logits above -1.25 by 3.25 and 0.25; fake logits below 0.5 by 0 and 3.5."""
        value, memory = penalties.lecam(self.real, self.fake, penalties.lecam_memory())
        np.testing.assert_allclose(value, (3.25**2 + 0.25**2 + 3.5**2) / 2, rtol=1e-6)
        np.testing.assert_allclose(memory, (0.005, -0.0125, 0.01), rtol=1e-5)

    def test_averages_move_and_are_unbiased(self):
        _, memory = penalties.lecam(self.real, self.fake, penalties.lecam_memory(), decay=0.5)
        value, memory = penalties.lecam(self.real + 1, self.fake - 1, memory, decay=0.5)
        np.testing.assert_allclose(memory, (0.875, -1.4375, 0.75), rtol=1e-6)  # 0.5 * 0.25 + 0.5 * 1.5, and so on
        real, fake = 0.875 / 0.75, -1.4375 / 0.75
        wanted = ((3.0 - fake) ** 2 + max(0.0 - fake, 0) ** 2 + (real + 0.5) ** 2 + (real + 4.0) ** 2) / 2
        np.testing.assert_allclose(value, wanted, rtol=1e-6)

    def test_right_of_both_averages_costs_nothing(self):
        """Reals below the average fake, and fakes above the average real."""
        memory = penalties.LogitAverages(*map(jnp.float32, (-5.0, 5.0, 1.0)))
        value, _ = penalties.lecam(self.real, self.fake, memory, decay=1.0)
        np.testing.assert_array_equal(value, 0.0)

    def test_averages_are_data_to_the_critic(self):
        """The gradient is that of the squares alone, 2 (logit - average) / n."""

        def value(real, fake):
            return penalties.lecam(real, fake, penalties.lecam_memory())[0]

        real, fake = jax.grad(value, (0, 1))(self.real, self.fake)
        np.testing.assert_allclose(real, [3.25, 0.25], rtol=1e-5)
        np.testing.assert_allclose(fake, [0.0, -3.5], rtol=1e-5)

    def test_memory_keeps_its_shapes_and_dtypes(self):
        before = penalties.lecam_memory()
        _, after = jax.jit(penalties.lecam)(self.real.astype(jnp.bfloat16), self.fake.astype(jnp.bfloat16), before)
        assert jax.tree.map(jnp.shape, before) == jax.tree.map(jnp.shape, after)
        assert {leaf.dtype for leaf in (*before, *after)} == {np.dtype("float32")}
        assert not any(leaf.weak_type for leaf in after)


class TestOrthogonal:
    def test_zero_for_orthogonal_filters_of_any_length(self):
        filters = jnp.linalg.qr(jax.random.normal(RNG, (27, 5)))[0] * jnp.array([[1.0, 2.0, 0.5, 3.0, 0.0]])
        params = {"conv": {"kernel": filters.reshape(3, 3, 3, 5), "bias": jnp.ones(5)}}
        np.testing.assert_allclose(penalties.orthogonal(params), 0.0, atol=1e-9)

    def test_by_hand_as_the_released_code(self):
        """W = [[1, 1], [0, 1]], a row for each filter: W W^T = [[2, 1], [1, 1]], so 1 + 1; then the code's gradient."""
        params = {"dense": {"kernel": jnp.array([[1.0, 1.0], [0.0, 1.0]]).T, "bias": jnp.zeros(2)}}
        np.testing.assert_allclose(penalties.orthogonal(params), 2.0, atol=1e-6)
        gradient = jax.grad(lambda params: price("orthogonal", 1e-4, params=params)[0])(params)
        np.testing.assert_allclose(gradient["dense"]["kernel"].T, [[0.0, 2e-4], [2e-4, 2e-4]], atol=1e-9)

    def test_sees_kernels_only_and_adds_them_up(self):
        ones = jnp.ones((3, 2))  # two equal filters with product 3: 2 * 9
        params = {"a": {"kernel": ones, "scale": ones}, "b": {"embedding": ones, "kernel": ones}, "constant": ones}
        np.testing.assert_allclose(penalties.orthogonal(params), 36.0, rtol=1e-6)
        np.testing.assert_array_equal(penalties.orthogonal({"embed": {"embedding": ones}}), 0.0)


class TestClip:
    def test_exact_bounds_on_every_leaf(self):
        params = {"dense": {"kernel": jnp.array([[-0.5, 0.005], [0.02, -0.01]]), "bias": jnp.array([1.0])}}
        kept = penalties.build("clip", 0.01).project(params)
        bound = np.float32(0.01)
        np.testing.assert_array_equal(kept["dense"]["kernel"], np.float32([[-bound, 0.005], [bound, -bound]]))
        np.testing.assert_array_equal(kept["dense"]["bias"], [bound])
        jax.tree.map(np.testing.assert_array_equal, penalties.clip(kept, 0.01), kept)

    @pytest.mark.parametrize("bound", [0.0, -1.0])
    def test_bound_must_be_positive(self, bound):
        with pytest.raises(InputError, match=r"clip.*config\.model\.penalty_weight=-?[01]\.0"):
            penalties.build("clip", bound)


# The table, on a small smooth network


def mlp(params, x):
    hidden = jnp.tanh(x @ params["first"]["kernel"] + params["first"]["bias"])
    return (hidden @ params["second"]["kernel"])[:, 0]


def draw(seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = {"first": {"kernel": (2, 8), "bias": (1, 8)}, "second": {"kernel": (8, 1)}}
    leaves, tree = jax.tree.flatten(shapes, is_leaf=lambda leaf: isinstance(leaf, tuple))
    return tree.unflatten(jax.random.normal(key, shape) for key, shape in zip(keys, leaves, strict=True))


def evidence_of(params, dtype=jnp.float32):
    real, fake = jax.random.normal(jax.random.key(5), (2, 16, 2)).astype(dtype)
    cast = jax.tree.map(lambda leaf: leaf.astype(dtype), params)

    def score(x):
        return mlp(cast, x.astype(dtype)).astype(jnp.float32)

    return Evidence(params, score, real, fake, score(real), score(fake), RNG)


def price(name, weight, memory=None, **fields):
    """(cost, metrics, memory) of a penalty by name, on an evidence of which some fields are given."""
    penalty = penalties.build(name, weight)
    blank = Evidence({}, silent, REAL, FAKE, jnp.zeros(6), jnp.zeros(6), RNG)
    return penalty.cost(blank._replace(**fields), penalty.memory if memory is None else memory)


CHARGING = {"wgan_gp", "wgan_gp_one_sided", "dragan", "r1", "r2", "r1_r2", "lecam", "orthogonal"}
HALVED = {"r1", "r2", "r1_r2", "orthogonal"}


@pytest.mark.parametrize("name", sorted(penalties.BY_NAME))
class TestEveryPenalty:
    def test_cost_is_the_weighted_sum_of_what_is_logged(self, name):
        penalty = penalties.build(name, 4.0)
        cost, metrics, memory = penalty.cost(evidence_of(draw()), penalty.memory)
        assert all(key.startswith("penalty/") for key in metrics)
        assert all(value.shape == () and value.dtype == jnp.float32 for value in (cost, *metrics.values()))
        np.testing.assert_allclose(cost, (2.0 if name in HALVED else 4.0) * sum(metrics.values()), rtol=1e-6)
        assert (cost > 0) == (name in CHARGING) == bool(metrics)
        assert jax.tree.structure(memory) == jax.tree.structure(penalty.memory)

    def test_is_float32_in_a_bfloat16_game(self, name):
        penalty = penalties.build(name, 1.0)
        exact, _, _ = penalty.cost(evidence_of(draw()), penalty.memory)
        cost, metrics, memory = penalty.cost(evidence_of(draw(), jnp.bfloat16), penalty.memory)
        assert {leaf.dtype for leaf in jax.tree.leaves((cost, metrics, memory))} == {np.dtype("float32")}
        np.testing.assert_allclose(cost, exact, rtol=0.05)

    def test_gradient_matches_finite_differences(self, name):
        """Of the cost, itself made of gradients, along a random direction in the space of parameters."""
        penalty, params, direction = penalties.build(name, 1.0), draw(0), draw(1)
        # lecam's averages follow the logits, but are data to it; behind a long past they stand still
        memory = jax.tree.map(lambda leaf: jnp.full_like(leaf, 1e6), penalty.memory)

        @jax.jit
        def along(step):
            moved = jax.tree.map(lambda leaf, towards: leaf + step * towards, params, direction)
            return penalty.cost(evidence_of(moved), memory)[0]

        step = 2e-3
        slope, finite = jax.grad(along)(0.0), (along(step) - along(-step)) / (2 * step)
        assert np.isfinite(slope)
        np.testing.assert_allclose(slope, finite, rtol=5e-3, atol=1e-3)
        assert (slope != 0) == (name in CHARGING)

    def test_works_in_a_scan_of_rounds(self, name):
        """State in is state out, under jit, and the projection leaves the tree as it is."""
        penalty, params = penalties.build(name, 0.1), draw()

        def one_round(carry, _):
            params, memory = carry
            cost, metrics, memory = penalty.cost(evidence_of(params), memory)
            return (penalty.project(params), memory), (cost, metrics)

        (after, _), (cost, _) = jax.jit(lambda carry: jax.lax.scan(one_round, carry, length=3))(
            (params, penalty.memory)
        )
        assert np.isfinite(cost).all()
        if name == "clip":
            assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(after)) == np.float32(0.1)
        else:
            jax.tree.map(np.testing.assert_array_equal, after, params)


@pytest.mark.parametrize("name", ["r1", "r1_r2"])
def test_a_pass_that_was_kept_gives_the_same_penalty(name):
    """Of a critic that couples the examples of a batch, in value and in the gradient by its parameters."""

    def cost(scale, keep):
        def score(x):
            return jnp.sum(jnp.sin(scale * x) * x.mean(axis=0, keepdims=True), axis=tuple(range(1, x.ndim)))

        logits, pull = jax.vjp(score, REAL)
        kept = {"pull": pull} if keep else {}
        return penalties.build(name, 3.0).cost(Evidence({}, score, REAL, FAKE, logits, score(FAKE), RNG, **kept), ())[0]

    (kept, slope), (again, other) = (jax.value_and_grad(cost)(1.5, keep) for keep in (True, False))
    assert float(kept) > 0.1
    np.testing.assert_allclose((kept, slope), (again, other), rtol=1e-5)


def test_each_looks_at_its_own_examples():
    """|x|^2 on reals of squared norms 1, 4, 25 and on fakes twice as long."""
    batch = {"score": quadratic, "real": POINTS, "fake": 2 * POINTS}
    np.testing.assert_allclose(price("r1", 1.0, **batch)[0], 20.0, rtol=1e-6)
    np.testing.assert_allclose(price("r2", 1.0, **batch)[0], 80.0, rtol=1e-6)
    np.testing.assert_allclose(price("r1_r2", 1.0, **batch)[0], 100.0, rtol=1e-6)


def test_only_the_two_sided_penalty_charges_gentle_slopes():
    gentle = linear(0.5, REAL.shape[1:])
    np.testing.assert_allclose(price("wgan_gp", 10.0, score=gentle)[0], 2.5, rtol=1e-5)
    np.testing.assert_allclose(price("wgan_gp_one_sided", 10.0, score=gentle)[0], 0.0, atol=0)


def test_metrics_name_each_term():
    assert set(price("r1_r2", 1.0)[1]) == {"penalty/r1", "penalty/r2"}
    assert set(price("wgan_gp_one_sided", 1.0)[1]) == {"penalty/wgan_gp"}
    assert price("none", 10.0)[1] == price("clip", 0.01)[1] == {}


def test_lecam_remembers_from_round_to_round():
    ones = jnp.ones(6)
    _, _, memory = price("lecam", 0.3, real_logits=ones, fake_logits=-ones)
    cost, metrics, _ = price("lecam", 0.3, memory, real_logits=2 * ones, fake_logits=-2 * ones)
    average = (0.99 * 1.0 + 2.0) / 1.99  # the second round weighs 1 / 0.99 of the first
    np.testing.assert_allclose(metrics["penalty/lecam"], 2 * (2.0 + average) ** 2, rtol=1e-5)
    np.testing.assert_allclose(cost, 0.3 * metrics["penalty/lecam"], rtol=1e-6)


def test_slopes_in_units_of_a_target():
    """A slope of 5: 10 (5 - 1)^2, and 10 (5 / 750 - 1)^2."""
    evidence = Evidence({}, linear(5.0, REAL.shape[1:]), REAL, FAKE, jnp.zeros(6), jnp.zeros(6), RNG)
    for target, expected in ((1.0, 160.0), (750.0, 9.867111)):
        cost, paid, _ = penalties.relative_slopes(10.0, target).cost(evidence, ())
        np.testing.assert_allclose(cost, expected, rtol=1e-5)
        np.testing.assert_allclose(10.0 * paid["penalty/wgan_gp"], expected, rtol=1e-5)


def test_a_drift_is_paid_on_top():
    """Logits of reals of 2 at a weight of .001."""
    penalty, fields = penalties.drifting(penalties.build("r1", 1.0), 1e-3), {"score": quadratic, "real": POINTS}
    alone = price("r1", 1.0, **fields)[0]
    blank = Evidence({}, quadratic, POINTS, FAKE, jnp.full(6, 2.0), jnp.zeros(6), RNG)
    cost, paid, _ = penalty.cost(blank, ())
    np.testing.assert_allclose(cost - alone, 0.004, atol=1e-6)
    assert float(paid["penalty/drift"]) == 4.0
    assert set(paid) == {"penalty/r1", "penalty/drift"}


def test_unknown_name():
    with pytest.raises(InputError, match=r"penalty \(config\.model\.penalty\).*'wgangp'.*Did you mean 'wgan_gp'.*none"):
        penalties.build("wgangp", 10.0)


# ------------------------------------------------------------------------- what a generator pays besides its loss


class TestFeatureMatching:
    def test_by_hand(self):
        """Means [1, 2] and [3, 2]: squared gaps 4 and 0, absolute ones 2 and 0."""
        real, fake = jnp.array([[0.0, 1.0], [2.0, 3.0]]), jnp.array([[3.0, 2.0]])
        assert float(penalties.feature_matching(real, fake)) == pytest.approx(2.0)
        assert float(penalties.feature_matching(real, fake, power=1)) == pytest.approx(1.0)

    def test_only_means_count(self):
        a = jax.random.normal(jax.random.key(0), (16, 5))
        mirrored = 2.0 * a.mean(axis=0, keepdims=True) - a
        assert float(penalties.feature_matching(a, mirrored)) == pytest.approx(0.0, abs=1e-10)

    def test_gradient_is_finite_where_the_means_agree(self):
        a = jnp.ones((4, 3))
        for power in (1, 2):
            slope = jax.grad(lambda fake, power=power: penalties.feature_matching(a, fake, power=power))(a)
            assert np.isfinite(slope).all()

    def test_of_maps_every_position_is_a_feature(self):
        real, fake = jnp.zeros((2, 3, 3, 1)), jnp.zeros((2, 3, 3, 1)).at[:, 0, 0].set(3.0)
        assert float(penalties.feature_matching(real, fake)) == pytest.approx(1.0)


class TestPullingAway:
    def test_by_hand(self):
        """Cosines of (1, 0), (0, 2) and (3, 3): 0 and twice 1 / sqrt(2); squared 0, 1/2, 1/2, of three pairs."""
        codes = jnp.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
        assert float(penalties.pulling_away(codes)) == pytest.approx(1 / 3, rel=1e-6)

    def test_bounds(self):
        assert float(penalties.pulling_away(jnp.ones((5, 4)))) == pytest.approx(1.0, rel=1e-5)
        assert float(penalties.pulling_away(jnp.eye(4))) == pytest.approx(0.0, abs=1e-6)
        assert float(penalties.pulling_away(jnp.ones((1, 4)))) == 0.0  # alone

    def test_gradient_is_finite_at_codes_of_zero(self):
        assert np.isfinite(jax.grad(penalties.pulling_away)(jnp.zeros((3, 2)))).all()


@pytest.mark.parametrize("name", sorted(penalties.GENERATOR_BY_NAME))
def test_the_generators_penalty_is_weighted_and_logged_unweighted(name):
    real, fake = (jax.random.normal(jax.random.key(seed), (6, 4)) for seed in (0, 1))
    once, metrics = penalties.build_for_generator(name, 1.0)(real, fake)
    cost, again = penalties.build_for_generator(name, 3.0)(real, fake)
    assert float(cost) == pytest.approx(3.0 * float(once), rel=1e-6)
    assert metrics == again
    assert float(once) == pytest.approx(sum(map(float, metrics.values())), rel=1e-6)


def test_unknown_penalty_of_the_generator():
    with pytest.raises(InputError, match="g_penalty"):
        penalties.build_for_generator("feature_machting", 1.0)
