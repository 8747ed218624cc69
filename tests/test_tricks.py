"""The tips of "How to train a GAN?" as options: each does what it says, and nothing at all where it is off."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gan_jax import config as base
from gan_jax import contract, losses, pools, tricks
from gan_jax.data import datasets
from gan_jax.errors import InputError
from gan_jax.gans.gan import split_keys
from tests import experiments

LOGITS = jnp.array([2.0, -1.0]), jnp.array([0.5, -3.0])


def game(tricks=None, **changes):
    config = experiments.get_config("gan")
    config.model.tricks.update(tricks or {})
    config.model.update(changes)
    return contract.load(datasets.resolve(config))[0].gan


def ring(seed, n=32):
    return {"point": jax.random.normal(jax.random.key(seed), (n, 2))}


@pytest.fixture(scope="module")
def plain():
    """(the game without tricks, a state, a step from it)."""
    played = game()
    state = jax.jit(played.init)(jax.random.key(2), ring(0))
    return played, state, jax.jit(played.train_step)(state, ring(0), jax.random.key(1))


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


# ------------------------------------------------------------------------------------------------ all options off


def test_all_options_off_is_goodfellows_algorithm(plain):
    """Bit for bit the losses and the players of the plain game, written out here."""
    played, state, (after, metrics) = plain
    batch = ring(0)

    @jax.jit
    def by_hand(state, batch, rng):
        d_rng, g_rng = jax.random.split(rng)

        def make(params, rng):
            return played.generator.apply({"params": params}, jax.random.normal(rng, (32, 2)), train=True)

        def say(params, x):
            return played.discriminator.apply({"params": params}, x, train=True)

        fake = make(state.g.params, split_keys(d_rng).latent)

        def d_loss(params):
            value = losses.non_saturating().d(say(params, batch["point"]), say(params, fake))
            return value, value

        grads, loss_d = jax.grad(d_loss, has_aux=True)(state.d.params)
        with jax.numpy_dtype_promotion("standard"):
            updates, _ = played.d_tx.update(grads, state.d.opt, state.d.params)
        d = optax.apply_updates(state.d.params, updates)

        def g_loss(params):
            value = losses.non_saturating().g(jnp.zeros(32), say(d, make(params, split_keys(g_rng).latent)))
            return value, value

        grads, loss_g = jax.grad(g_loss, has_aux=True)(state.g.params)
        with jax.numpy_dtype_promotion("standard"):
            updates, _ = played.g_tx.update(grads, state.g.opt, state.g.params)
        return d, optax.apply_updates(state.g.params, updates), loss_d, loss_g

    d, g, loss_d, loss_g = by_hand(state, batch, jax.random.key(1))
    assert float(metrics["loss/d"]) == float(loss_d)
    assert float(metrics["loss/g"]) == float(loss_g)
    same(after.d.params, d)
    same(after.g.params, g)


@pytest.mark.parametrize(
    "neutral",
    [
        {"see": tricks.instance_noise(0.0, 10)},
        {"see": tricks.instance_noise(1.0, 10)},  # at step 10, where it has come to 0
        {"labels": tricks.soft_labels((1.0, 1.0), (0.0, 0.0))},
        {"labels": tricks.soft_labels(None, None)},
        {"flip": tricks.flips(0.0)},
        {"replay": tricks.replay(64, 1.0)},  # while it fills up
        {"gate": tricks.move_above(None, -1.0)},
        {"gate": tricks.move_above(0.0, 0.0)},
    ],
    ids=["noise", "faded", "soft", "unset", "flips", "replay", "gate", "open"],
)
def test_each_option_at_its_neutral_value_changes_nothing(plain, neutral):
    played, state, _ = plain
    state = state.replace(step=jnp.int32(10))
    tricked = dataclasses.replace(played, **neutral)
    start = state.replace(memory=jax.jit(tricked.init)(jax.random.key(2), ring(0)).memory)
    after, metrics = jax.jit(tricked.train_step)(start, ring(0), jax.random.key(1))
    expected, line = jax.jit(played.train_step)(state, ring(0), jax.random.key(1))
    for a, b in zip(
        jax.tree.leaves((after.g, after.d, metrics)), jax.tree.leaves((expected.g, expected.d, line)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)  # the compiler may add in another order


@pytest.mark.parametrize(
    "asked",
    [
        {"instance_noise": 0.5},
        {"soft_real": (0.7, 1.2), "soft_fake": (0.0, 0.3)},
        {"flip": 0.5},
        {"d_moves_above": 100.0},
        {"g_batches": 2},
        {"g_penalty": "feature_matching", "g_penalty_weight": 1.0},
        {"g_penalty": "pulling_away", "g_penalty_weight": 1.0},
        {"g_loss_scale": 0.5},
    ],
    ids=lambda asked: next(iter(asked)) + str(asked.get("g_penalty", "")),
)
def test_each_option_changes_a_step_of_its_player(plain, asked):
    """And a generator's option leaves the discriminator's move as it was, bit for bit."""
    _, state, (expected, _) = plain
    tricked = game(asked)
    after, metrics = jax.jit(tricked.train_step)(state, ring(0), jax.random.key(1))
    assert all(np.isfinite(value) for value in metrics.values())
    generators = next(iter(asked)).startswith("g_")
    name = "g" if generators else "d"
    pairs = zip(
        jax.tree.leaves(getattr(after, name).params), jax.tree.leaves(getattr(expected, name).params), strict=True
    )
    assert not all(np.array_equal(a, b) for a, b in pairs)
    if generators:
        for a, b in zip(jax.tree.leaves(after.d.params), jax.tree.leaves(expected.d.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


# ------------------------------------------------------------------------------------------------- each of them


class TestInstanceNoise:
    def test_schedule(self):
        """sigma(t) = sigma0 (1 - t / T): .1 at 0, .075 at a quarter, 0 at T and ever after; without T always .1."""
        x, rng = jnp.zeros((100, 1000)), jax.random.key(0)
        fading, staying = tricks.instance_noise(0.1, 200), tricks.instance_noise(0.1, 0)
        for see, step, sigma in ((fading, 0, 0.1), (fading, 50, 0.075), (staying, 10**6, 0.1)):
            assert float(see(x, rng, jnp.int32(step)).std()) == pytest.approx(sigma, rel=0.01)
        for step in (200, 1000):
            np.testing.assert_array_equal(fading(x, rng, jnp.int32(step)), x)

    def test_it_is_on_what_is_real_and_what_is_fake_in_both_players_moves(self, plain):
        played, state, _ = plain
        seen = []

        def see(x, rng, step):
            seen.append((x.shape, jax.random.key_data(rng), step))
            return x

        @jax.jit
        def keys(state, batch):
            dataclasses.replace(played, see=see).train_step(state, batch, jax.random.key(1))
            assert all(step is state.step for _, _, step in seen)
            return jnp.stack([key for _, key, _ in seen])

        found = np.asarray(keys(state, ring(0)))
        assert [shape for shape, _, _ in seen] == [(32, 2)] * 4  # data and samples, in two moves
        assert len(np.unique(found, axis=0)) == 4, "noise is drawn anew each time"


class TestSoftLabels:
    def test_means_of_the_tip(self):
        """U(.7, 1.2) has mean .95, U(0, .3) has .15; over 1e5 draws within .002 (deviations .0005 and .0003)."""
        drawn = tricks.soft_labels((0.7, 1.2), (0.0, 0.3))(jax.random.key(0), 100_000)
        for name, low, mean, high in (("real_label", 0.7, 0.95, 1.2), ("fake_label", 0.0, 0.15, 0.3)):
            assert float(drawn[name].mean()) == pytest.approx(mean, abs=0.002)
            assert float(drawn[name].min()) >= low
            assert float(drawn[name].max()) <= high
        assert abs(np.corrcoef(drawn["real_label"], drawn["fake_label"])[0, 1]) < 0.02

    def test_one_side_may_be_left_alone(self):
        assert set(tricks.soft_labels(None, (0.0, 0.3))(jax.random.key(0), 4)) == {"fake_label"}
        assert set(tricks.soft_labels((0.7, 1.0), None)(jax.random.key(0), 4)) == {"real_label"}

    def test_a_smoothed_loss_keeps_its_label_where_only_fakes_are_soft(self):
        """Real labels of .9 cost .7700949 on logits 2 and -1, whatever the fakes have."""
        loss = losses.build("non_saturating", real_label=0.9)
        section = base.tricks(soft_fake=(0.2, 0.2))
        labels = tricks.build(section, loss)["labels"](jax.random.key(0), 2)
        fakes = np.mean([0.2 * np.log1p(np.exp(-a)) + 0.8 * np.log1p(np.exp(a)) for a in (0.5, -3.0)])
        assert float(loss.d(*LOGITS, **labels)) == pytest.approx(0.7700949 + fakes, rel=1e-6)

    def test_labels_of_the_loss_by_hand(self):
        """t softplus(-a) + (1 - t) softplus(a), each example with its own t."""
        real, fake = np.array([0.9, 0.5]), np.array([0.0, 0.25])
        sp = lambda a: np.log1p(np.exp(a))  # noqa: E731
        a, b = np.array([2.0, -1.0]), np.array([0.5, -3.0])
        expected = np.mean(real * sp(-a) + (1 - real) * sp(a)) + np.mean(fake * sp(-b) + (1 - fake) * sp(b))
        found = losses.non_saturating().d(*LOGITS, real_label=jnp.float32(real), fake_label=jnp.float32(fake))
        assert float(found) == pytest.approx(expected, rel=1e-6)

    def test_above_one_the_loss_has_no_lower_bound(self):
        """At t = 1.2 and logit 10 the slope is sigmoid(10) - 1.2 = -.2000454."""

        def cost(a):
            return losses.non_saturating().d(a, jnp.zeros(1), real_label=jnp.full(1, 1.2))

        assert float(jax.grad(cost)(jnp.full(1, 10.0))[0]) == pytest.approx(-0.2000454, abs=1e-6)

    @pytest.mark.parametrize("loss", ["relativistic", "relativistic_average"])
    def test_losses_without_labels_refuse_them(self, loss):
        with pytest.raises(InputError, match="relativistic"):
            game({"soft_real": (0.7, 1.0)}, loss=loss)


class TestSmoothing:
    def test_one_sided(self):
        """.7700949 on logits 2 and -1; the least, .3250830, at logit log 9 = 2.1972246."""
        loss, none = losses.build("non_saturating", real_label=0.9), jnp.full(1, -jnp.inf)
        assert float(loss.d(LOGITS[0], none)) == pytest.approx(0.7700949, abs=1e-6)
        best = jnp.full(1, 2.1972246)
        assert float(loss.d(best, none)) == pytest.approx(0.3250830, abs=1e-6)
        assert float(jax.grad(lambda a: loss.d(a, none))(best)[0]) == pytest.approx(0.0, abs=1e-6)


class TestFlips:
    def test_always_is_swapped_targets(self):
        real, fake = tricks.flips(1.0)(*LOGITS, jax.random.key(0))
        same((real, fake), LOGITS[::-1])
        swapped = losses.non_saturating().d(LOGITS[0], LOGITS[1], real_label=0.0, fake_label=1.0)
        assert float(losses.non_saturating().d(real, fake)) == pytest.approx(float(swapped), rel=1e-6)

    def test_this_share_of_the_pairs_changes_places(self):
        """5 % of 1e5 pairs, deviation .0007; no logit is lost."""
        real, fake = tricks.flips(0.05)(jnp.ones(100_000), jnp.zeros(100_000), jax.random.key(0))
        assert float(fake.mean()) == pytest.approx(0.05, abs=0.003)
        np.testing.assert_array_equal(real + fake, 1.0)

    def test_it_is_the_discriminators_alone(self, plain):
        """What the generator pays is what it paid before, and so are the logged scores."""
        played, state, _ = plain
        flipped = dataclasses.replace(played, flip=tricks.flips(1.0))
        a, b = (jax.jit(g.generator_move)(state.g, state.d, ring(0), jax.random.key(5)) for g in (played, flipped))
        same(a, b)
        (_, seen), (_, line) = (
            jax.jit(g.discriminator_move)(state.g, (state.d, state.memory), ring(0), jax.random.key(5))
            for g in (played, flipped)
        )
        for name in ("score/real", "score/fake"):
            assert float(seen[name]) == float(line[name])
        assert float(seen["loss/d"]) != float(line["loss/d"])


class TestReplay:
    def test_old_samples_are_shown_again(self, plain):
        """With a pool of one minibatch and a share of 1 the discriminator sees the samples of the step before."""
        _, state, _ = plain
        played = game({"replay": 32, "replay_share": 1.0})
        state = state.replace(memory=(state.memory[0], pools.empty(32, (2,))))
        batch, players, seen = ring(0), (state.d, state.memory), []

        @jax.jit
        def move(players, rng):
            shown = []

            def exchange(pool, fake, rng):
                out, pool = pools.exchange(pool, fake, rng, 1.0)
                shown.append((fake, out))
                return out, pool

            watched = dataclasses.replace(played, replay=tricks.Replay(played.replay.memory, exchange))
            return watched.discriminator_move(state.g, players, batch, rng)[0], shown[0]

        for k in range(3):
            players, pair = move(players, jax.random.key(k))
            seen.append(pair)
        (first, out), (second, later), (_, last) = seen
        np.testing.assert_array_equal(out, first)
        by_value = lambda x: x[np.argsort(np.asarray(x)[:, 0])]  # noqa: E731
        np.testing.assert_array_equal(by_value(later), by_value(first))
        np.testing.assert_array_equal(by_value(last), by_value(second))

    def test_the_pool_is_part_of_the_state(self):
        """It has a fixed size and counts what is in it, through the very step that training compiles."""
        played = game({"replay": 50})
        state = jax.jit(played.init)(jax.random.key(0), ring(0))
        step = jax.jit(played.train_step)
        for k in range(3):
            state, _ = step(state, ring(k), jax.random.key(k))
            pool = state.memory[1]
            assert pool.samples.shape == (50, 2)
            assert int(pool.filled) == min(32 * (k + 1), 50)

    def test_conditional_games_refuse_it(self):
        with pytest.raises(InputError, match="replay"):
            game({"replay": 50}, conditional=True)


class TestGate:
    @pytest.mark.parametrize(("bound", "moves"), [(0.0, True), (100.0, False)])
    @pytest.mark.parametrize("player", ["d", "g"])
    def test_a_player_below_its_bound_stays_where_it_is(self, plain, player, bound, moves):
        """Parameters, statistics, optimiser and all; its opponent goes on."""
        _, state, _ = plain
        after, _ = jax.jit(game({f"{player}_moves_above": bound}).train_step)(state, ring(0), jax.random.key(1))
        for name in ("d", "g"):
            before, now = getattr(state, name), getattr(after, name)
            moved = [
                not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(now), strict=True)
            ]
            assert any(moved) == (moves or name != player)


def test_feature_matching_alone_moves_the_generator_to_the_mean_features(plain):
    """With its loss scaled to 0 it pays the squared gap of mean features and nothing else."""
    _, state, _ = plain
    played = game({"g_penalty": "feature_matching", "g_penalty_weight": 2.0, "g_loss_scale": 0.0})
    quiet = dataclasses.replace(played, g_tx=optax.sgd(1.0))
    g = state.g.replace(opt=quiet.g_tx.init(state.g.params))
    moved, metrics = jax.jit(quiet.generator_move)(g, state.d, ring(0), jax.random.key(3))
    z = played.latents(split_keys(jax.random.key(3)).latent, ring(0))

    def features(x):
        _, seen = played.discriminator.apply({"params": state.d.params}, x, train=True, mutable=["intermediates"])
        return seen["intermediates"]["features"][0]

    def gap(params):
        fake = played.generator.apply({"params": params}, z, train=True)
        return jnp.mean((features(ring(0)["point"]).mean(axis=0) - features(fake).mean(axis=0)) ** 2)

    value, slope = jax.jit(jax.value_and_grad(gap))(state.g.params)
    assert float(metrics["penalty/feature_matching"]) == pytest.approx(float(value), rel=1e-5)
    assert float(metrics["loss/g"]) == 0.0
    expected = jax.tree.map(lambda leaf, slope: leaf - 2.0 * slope, state.g.params, slope)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), moved.params, expected)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"flip": 1.5}, "flip=1.5.*between 0 and 1"),
        ({"replay_share": -0.1}, "replay_share=-0.1"),
        ({"instance_noise": -1.0}, "instance_noise=-1.0"),
        ({"replay": -1}, "replay=-1"),
        ({"soft_real": (1.2, 0.7)}, r"soft_real=\(1.2, 0.7\) must be \(lowest, highest\)"),
        ({"g_penalty": "features"}, "g_penalty"),
    ],
)
def test_wrong_values_are_named(asked, words):
    with pytest.raises(InputError, match=words):
        game(asked)


# ------------------------------------------------------------------------------------------------------- behaviour


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        ({}, {"real_label": 0.9}),
        ({"soft_real": (0.7, 1.2), "soft_fake": (0.0, 0.3)}, {}),
        ({"flip": 0.05}, {}),
        ({"instance_noise": 0.1, "instance_noise_steps": 4000}, {}),
    ],
    ids=["smoothing", "soft", "flip", "noise"],
)
def test_tricks_on_the_ring(asked, changes, seed):
    """No option breaks the game: at least 5 of 8 modes, .6 of the samples near one, KL below .5, as for the plain game.
    Differences between them are within the noise of seeds, so nothing finer is asserted."""
    from tests.gans.test_gan import play_ring

    section = base.tricks(**asked)
    found, _ = play_ring(seed, 4000, tricks=section, **changes)
    print(asked, changes, seed, found)
    assert found.covered_well >= 5
    assert found.high_quality > 0.6
    assert found.kl < 0.5
