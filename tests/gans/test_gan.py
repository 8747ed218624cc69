"""Goodfellow's GAN: its networks and gradients exactly, its optimum, and what it does and does not do on a ring."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gan_jax import contract, losses
from gan_jax.data import datasets
from gan_jax.data.worlds import Gaussians
from gan_jax.gans import gan
from gan_jax.metrics.modes import coverage
from gan_jax.nets import mlp
from gan_jax.optimizers import goodfellow_sgd
from tests import experiments


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes(module, *inputs):
    return jax.eval_shape(lambda: module.init({"params": jax.random.key(0)}, *inputs, train=False))["params"]


def test_parameters_of_the_papers_networks():
    assert count(shapes(gan.Generator((28, 28, 1)), jnp.zeros((1, 100)))) == 2_503_984
    assert count(shapes(gan.Discriminator(), jnp.zeros((1, 28, 28, 1)))) == 1_231_441


def test_the_generator_starts_from_the_mean_image():
    images = jax.random.uniform(jax.random.key(0), (100, 4, 4, 1), minval=-0.9, maxval=0.2)
    module = gan.Generator((4, 4, 1))
    params = module.init(jax.random.key(1), jnp.zeros((1, 100)), train=False)["params"]
    started = gan.output_at_pixel_means(params, images)
    made = module.apply(
        {"params": started}, jnp.zeros((1, 100)), train=False
    )  # hidden biases are 0, so only the output's
    np.testing.assert_allclose(made[0], images.mean(axis=0), atol=1e-5)


def test_dropout_is_the_discriminators_and_only_in_training():
    module, x = gan.Discriminator(units=(8,)), jnp.ones((4, 6))
    params = module.init(jax.random.key(0), x, train=False)
    still = [module.apply(params, x, train=False) for _ in range(2)]
    np.testing.assert_array_equal(*still)
    masked = [module.apply(params, x, train=True, rngs={"dropout": jax.random.key(k)}) for k in range(2)]
    assert not np.array_equal(*masked)


def test_goodfellows_descent():
    tx = goodfellow_sgd(0.1, b1=0.5, b2=0.7)
    state = tx.init(jnp.zeros(()))
    first, state = tx.update(jnp.float32(1.0), state)
    second, state = tx.update(jnp.float32(1.0), state)
    assert float(first) == pytest.approx(-0.1)
    momentum = 0.5 + 0.2 / 125_000
    assert float(second) == pytest.approx(momentum * -0.1 - 0.1 / 1.000004, rel=1e-6)
    late = (state[0], jnp.int32(125_000))
    update, _ = tx.update(jnp.float32(0.0), late)
    assert float(update) == pytest.approx(0.7 * float(second), rel=1e-6)
    floor, _ = tx.update(jnp.float32(1.0), (optax.TraceState(jnp.float32(0.0)), jnp.int32(4_000_000)))
    assert float(floor) == pytest.approx(-1e-6)


def game(**changes):
    config = datasets.resolve(experiments.get_config("gan"))
    config.model.update(changes)
    return contract.load(config)[0].gan


def begun(played, batch):
    """The state before the first step."""
    return jax.jit(played.init)(jax.random.key(2), batch)


def ring(rng, n=64):
    angles = 2 * jnp.pi * jax.random.randint(rng, (n,), 0, 8).astype(jnp.float32) / 8
    noise = 0.05 * jax.random.normal(jax.random.fold_in(rng, 1), (n, 2))
    return {"point": 1.4144 * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1) + noise}


def test_the_discriminators_step_treats_samples_as_data():
    """The gradient it descends is that of the loss between fixed batches, computed here by hand."""
    played = dataclasses.replace(game(), d_tx=optax.sgd(1.0), g_tx=optax.sgd(1.0))
    batch, rng = ring(jax.random.key(0)), jax.random.key(1)
    state = begun(played, batch)
    (after, _), _ = jax.jit(played.discriminator_move)(state.g, (state.d, state.memory), batch, rng)
    z = played.latents(jax.random.split(rng, 5)[0], batch)
    fake = played.generator.apply({"params": state.g.params}, z, train=True)

    def loss(params):
        def score(x):
            return played.discriminator.apply({"params": params}, x, train=True)

        return losses.non_saturating().d(score(batch["point"]), score(fake))

    expected = optax.apply_updates(state.d.params, jax.tree.map(jnp.negative, jax.grad(loss)(state.d.params)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after.params, expected)


def test_orders_of_updates():
    """Simultaneous players both move from where they stood; sequentially the generator meets the moved opponent."""
    batch, rng = ring(jax.random.key(0)), jax.random.key(1)
    sequential, simultaneous = game(), game(updates="simultaneous")
    state = begun(simultaneous, batch)
    together, _ = jax.jit(simultaneous.train_step)(state, batch, rng)
    g_alone, _ = jax.jit(simultaneous.generator_move)(state.g, state.d, batch, rng)
    jax.tree.map(np.testing.assert_array_equal, together.g.params, g_alone.params)
    d_rng, g_rng = jax.random.split(rng)
    after, _ = jax.jit(sequential.train_step)(state, batch, rng)
    (moved, _), _ = jax.jit(sequential.discriminator_move)(state.g, (state.d, state.memory), batch, d_rng)
    g_after, _ = jax.jit(sequential.generator_move)(state.g, moved, batch, g_rng)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after.g.params, g_after.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after.d.params, moved.params)


def test_rounds_consume_their_own_minibatches():
    """Three rounds on three minibatches are three moves of the discriminator, then one of the generator."""
    played = game(rounds=3)
    minibatches = [ring(jax.random.key(k)) for k in range(3)]
    batch, rng = jax.tree.map(lambda *leaves: jnp.stack(leaves), *minibatches), jax.random.key(9)
    state = begun(played, minibatches[0])
    after, metrics = jax.jit(played.train_step)(state, batch, rng)
    players, seen = (state.d, state.memory), []
    for minibatch, key in zip(minibatches, jax.random.split(jax.random.split(rng)[0], 3), strict=True):
        players, line = jax.jit(played.discriminator_move)(state.g, players, minibatch, key)
        seen.append(line["loss/d"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), after.d.params, players[0].params)
    assert float(metrics["loss/d"]) == pytest.approx(float(jnp.stack(seen).mean()), rel=1e-5)


def traced(played):
    """A step as a program that nobody runs: (the state before, the state after, metrics), as shapes."""
    batch, rng = ring(jax.random.key(0)), jax.random.key(1)
    state = jax.eval_shape(played.init, rng, batch)
    return state, *jax.eval_shape(played.train_step, state, batch, rng)


@pytest.mark.parametrize("loss", sorted(losses.BY_NAME))
def test_every_loss_can_be_played(loss):
    before, after, metrics = traced(game(loss=loss))
    assert after == before
    assert metrics["loss/d"].dtype == metrics["loss/g"].dtype == np.float32


@pytest.mark.parametrize("penalty", sorted(gan.penalties.BY_NAME))
def test_every_penalty_can_be_played(penalty):
    before, after, _ = traced(game(penalty=penalty, penalty_weight=0.1))
    assert after == before


def test_clipped_weights_stay_in_their_box():
    played, batch = game(penalty="clip", penalty_weight=0.1), ring(jax.random.key(0))
    state, metrics = jax.jit(played.train_step)(begun(played, batch), batch, jax.random.key(1))
    assert all(np.isfinite(value) for value in metrics.values())
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(state.d.params)) <= np.float32(0.1)


def test_no_penalty_costs_nothing():
    """A weight of 0 gives the very same step as no penalty: the option is a value, not a branch."""
    batch, rng = ring(jax.random.key(0)), jax.random.key(1)
    plain, zero = game(), game(penalty="r1", penalty_weight=0.0)
    state = begun(plain, batch)
    jax.tree.map(
        np.testing.assert_array_equal,
        jax.jit(plain.train_step)(state, batch, rng)[0],
        jax.jit(zero.train_step)(state, batch, rng)[0],
    )


def test_relativistic_generators_see_the_data():
    played = game(loss="relativistic")
    rng, state = jax.random.key(1), begun(played, ring(jax.random.key(0)))
    one, _ = jax.jit(played.generator_move)(state.g, state.d, ring(jax.random.key(3)), rng)
    other, _ = jax.jit(played.generator_move)(state.g, state.d, ring(jax.random.key(4)), rng)
    assert not np.array_equal(jax.tree.leaves(one.params)[0], jax.tree.leaves(other.params)[0])


# ------------------------------------------------------------------------------------------------------- behaviour


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_trained_discriminator_is_the_optimal_one(seed):
    """For p = N(0, 1) and q = N(1, 1), D*(x) = sigmoid(1/2 - x) and the loss is log 4 - 2 JSD = 1.163451 (theorem 1).

    The bound holds on [-2, 3], where the data is; a wrong sign, mean or label is off by far more. The last steps are
    averaged, because a constant rate keeps the last iterate moving by .03 to .07."""
    module, tx, loss = mlp.Discriminator((64, 64)), optax.adam(1e-3, b1=0.5, b2=0.999), losses.non_saturating()
    net = contract.create(module, tx, jax.random.key(seed), jnp.zeros((1, 1)), train=True)

    def draw(rng):
        p, q = jax.random.split(rng)
        return jax.random.normal(p, (512, 1)), 1.0 + jax.random.normal(q, (512, 1))

    def cost(params, rng):
        real, fake = (contract.apply(module, net, x, params=params, train=True)[0] for x in draw(rng))
        value = loss.d(real, fake)
        return value, (net.stats, value)

    def move(nets, rng):
        net, _ = contract.descend(nets[0], tx, lambda params: cost(params, rng))
        return (net, contract.ema(nets[1], net, 0.995)), None

    keys = jax.random.split(jax.random.key(100 + seed), 2000)
    (_, net), _ = jax.jit(lambda net: jax.lax.scan(move, (net, net), keys))(net)  # averaged: single steps are noisy
    fresh = jax.random.split(jax.random.key(200 + seed), 200)
    value = float(jax.jit(lambda params: jax.lax.map(lambda rng: cost(params, rng)[0], fresh).mean())(net.params))
    assert value == pytest.approx(1.1635, abs=0.01)
    x = jnp.linspace(-2.0, 3.0, 101)[:, None]
    found = jax.nn.sigmoid(module.apply({"params": net.params}, x, train=False))
    assert float(jnp.abs(found - jax.nn.sigmoid(0.5 - x[:, 0])).max()) < 0.03


def play_ring(seed, steps, **changes):
    """A trained ring of 8 and its coverage by 2,500 samples."""
    config = experiments.get_config("gan", "default")
    config.update({"seed": seed, "steps": steps})
    config.model.update(changes)
    config = datasets.resolve(config)
    (stage,) = contract.load(config)
    world = Gaussians(kind="ring", std=0.05, seed=seed)
    points = jnp.asarray(world.read(np.arange(256 * 400))["point"]).reshape(400, 256, 2)
    key = jax.random.key(seed)

    def body(state, step):
        return stage.gan.train_step(state, {"point": points[step % 400]}, jax.random.fold_in(key, step))

    state = stage.gan.init(key, {"point": points[0]})
    state, metrics = jax.jit(lambda state: jax.lax.scan(body, state, jnp.arange(steps)))(state)
    samples = stage.gan.sample(state, {"point": jnp.zeros((2500, 2))}, jax.random.key(10_000 + seed))
    nearest = 2 * 1.4144 * np.sin(np.pi / 8)
    return coverage(np.asarray(samples), np.asarray(world.centres), 0.05, radius=nearest / 4), metrics


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_plain_gan_on_the_ring(seed):
    """It finds some modes and drops others: 5 to 7 of 8, high quality .65 to .85 were measured over five seeds. The
    bounds say that it learned something, and that we know its limits: all eight are not expected."""
    found, _ = play_ring(seed, 4000)
    print("plain", seed, found)
    assert found.covered_well >= 3
    assert found.high_quality > 0.55


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_gradient_penalty_finds_every_mode(seed):
    """Measured: 8 of 8, KL .002. A penalty that is missing, misplaced or not differentiated leaves some out."""
    found, _ = play_ring(seed, 3000, penalty="wgan_gp", penalty_weight=0.1)
    print("penalty", seed, found)
    assert found.covered_well == 8
    assert found.kl < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_minimax_generator_saturates(seed):
    """Against a discriminator 500 steps ahead, the gradient of minimax is a small part of the non-saturating one
    (.02 to .10 measured); at the start, with logits near 0, they are alike."""
    plain, minimax = game(widths=(128, 128, 128)), game(widths=(128, 128, 128), loss="minimax")
    key = jax.random.key(seed)
    state = plain.init(key, ring(key, 256))

    def ratio(d):
        def norm(played):
            probe = dataclasses.replace(played, g_tx=optax.sgd(1.0))
            moved, _ = probe.generator_move(
                state.g.replace(opt=probe.g_tx.init(state.g.params)), d, ring(key, 256), key
            )
            return optax.global_norm(jax.tree.map(jnp.subtract, moved.params, state.g.params))

        return float(norm(minimax) / norm(plain))

    quiet = {**state.d.params, "Dense_3": jax.tree.map(lambda leaf: 0.01 * leaf, state.d.params["Dense_3"])}
    assert ratio(state.d.replace(params=quiet)) == pytest.approx(1.0, abs=0.05)  # logits within a few hundredths of 0

    def ahead(players, step):
        rng = jax.random.fold_in(key, step)
        players, _ = plain.discriminator_move(state.g, players, ring(jax.random.fold_in(rng, 7), 256), rng)
        return players, None

    (d, _), _ = jax.jit(lambda players: jax.lax.scan(ahead, players, jnp.arange(500)))((state.d, state.memory))
    assert ratio(d) < 0.25
