"""f-GAN: its networks, the bound as a number, the single step, and what each divergence makes of a mixture."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gan_jax import contract, losses
from gan_jax.data import datasets
from gan_jax.data.worlds import Gaussians
from gan_jax.errors import InputError
from gan_jax.gans import fgan, gan
from gan_jax.metrics.modes import coverage
from gan_jax.nets import mlp
from tests import experiments


def parameters(module, *inputs):
    made = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, train=True))
    return sum(leaf.size for leaf in jax.tree.leaves(made["params"]))


def game(variant="smoke", **changes):
    config = datasets.resolve(experiments.get_config("fgan", variant))
    config.model.update(changes)
    return contract.load(config)[0].gan


def ring(rng, n=64):
    return {"point": 1.4 * jax.random.normal(rng, (n, 2))}


def test_parameters_of_the_papers_networks():
    assert parameters(fgan.Generator((28, 28, 1)), jnp.zeros((1, 100))) == 2_508_784
    assert parameters(fgan.Variational(), jnp.zeros((1, 28, 28, 1))) == 246_481
    assert parameters(fgan.ConvolutionalVariational(), jnp.zeros((1, 96, 96, 3))) == 2_775_809


@pytest.mark.parametrize(
    ("variant", "shape", "g"), [("mnist", (28, 28, 1), 2_508_784), ("lsun", (96, 96, 3), 4_600_704)]
)
def test_experiments_build_them(variant, shape, g):
    config = experiments.get_config("fgan", variant)
    config.data.update(domain="image", resolution=shape[:2], channels=shape[2], classes=0)
    played = contract.load(config)[0].gan
    assert type(played) is gan.SimultaneousGame
    assert parameters(played.generator, jnp.zeros((1, 100))) == g


@pytest.mark.parametrize(
    ("divergence", "at_0", "at_1"),  # (T, f*(T)) where V is 0, and where it is 1
    [
        ("kl", (0.0, 0.367879), (1.0, 1.0)),
        ("reverse_kl", (-1.0, -1.0), (-0.367879, 0.0)),
        ("pearson", (0.0, 0.0), (1.0, 1.25)),
        ("neyman", (0.0, 0.0), (0.632121, 0.786939)),
        ("squared_hellinger", (0.0, 0.0), (0.632121, 1.718282)),
        ("total_variation", (0.0, 0.0), (0.380797, 0.380797)),
        ("jensen_shannon", (0.0, 0.0), (0.379885, 0.620115)),
        ("gan", (-0.693147, 0.693147), (-0.313262, 1.313262)),
    ],
)
def test_what_both_players_pay(divergence, at_0, at_1):
    """V is 1 on data and 0 on samples: the bound is T(1) - f*(T(0))."""
    minimax, alternative = (
        game(divergence=divergence, generator_cost=cost).loss for cost in ("minimax", "alternative")
    )
    real, fake = jnp.ones(4), jnp.zeros(4)
    assert float(minimax.d(real, fake)) == pytest.approx(at_0[1] - at_1[0], abs=2e-6)
    assert float(minimax.g(real, fake)) == pytest.approx(-at_0[1], abs=2e-6)
    assert float(alternative.g(real, real)) == pytest.approx(-at_1[0], abs=2e-6)


def test_gan_is_goodfellows_game():
    real, fake = jax.random.normal(jax.random.key(0), (2, 64)) * 3.0
    ours, theirs = game(divergence="gan").loss, losses.non_saturating()
    assert float(ours.d(real, fake)) == pytest.approx(float(theirs.d(real, fake)), abs=1e-6)
    assert float(ours.g(real, fake)) == pytest.approx(float(theirs.g(real, fake)), abs=1e-6)


def test_the_bound_is_reported():
    """F is minus what V pays, whatever else is asked of the loss; the accuracies count from T = f'(1)."""
    batch, key = ring(jax.random.key(0)), jax.random.key(1)
    played = game(divergence="reverse_kl", d_loss_scale=0.5, penalty="orthogonal", penalty_weight=1.0)
    state = jax.jit(played.init)(key, batch)
    _, line = jax.jit(played.train_step)(state, batch, key)
    assert float(line["divergence"]) == pytest.approx(-2.0 * float(line["loss/d"]), rel=1e-5)
    logits = played.score(state, batch["point"], batch)
    assert float(line["accuracy/real"]) == pytest.approx(float(jnp.mean(logits > 0.0, dtype=jnp.float32)), abs=1e-6)
    assert "penalty/orthogonal" in line


def test_a_single_step_moves_both_players_at_once():
    """Algorithm 1: the generator's gradient is taken where V stood before the step."""
    batch, key = ring(jax.random.key(0)), jax.random.key(1)
    played = game(updates="simultaneous")
    state = jax.jit(played.init)(key, batch)
    after, _ = jax.jit(played.train_step)(state, batch, key)
    alone, _ = jax.jit(played.generator_move)(state.g, state.d, batch, key, state.step)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after.g.params, alone.params)


def test_clipped_logits_cost_no_more():
    loss = game(divergence="kl", clip=5.0).loss
    far, edge = jnp.full(2, 50.0), jnp.full(2, 5.0)
    assert float(loss.d(far, far)) == float(loss.d(edge, edge))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"divergence": "chi"}, "pearson"),
        ({"generator_cost": "best"}, "alternative"),
        ({"clip": 0.0}, "clip=0.0 must be positive"),
        ({"nets": "convolutional"}, "holds points"),
        ({"nets": "gaussian", "latent_size": 3}, "latent_size=3"),
        ({"nets": "resnet"}, "nowozin2016"),
    ],
)
def test_mistakes(changes, message):
    with pytest.raises(InputError, match=message):
        game(**changes)


def test_the_convolutional_pair_wants_one_width():
    config = experiments.get_config("fgan", "lsun")
    config.data.update(domain="image", resolution=(96, 96), channels=3, classes=0)
    config.model.d_widths = (64, 64)
    with pytest.raises(InputError, match="must each be one number"):
        contract.load(config)


# ------------------------------------------------------------------------------------------------------- behaviour


def trained_bound(divergence, q_std, seed):
    """The bound that V of 64x2 reaches between data N(0, 1) and samples N(1, q_std^2), on 200 fresh minibatches."""
    module, tx, loss = mlp.Discriminator((64, 64)), optax.adam(1e-3), losses.BY_NAME[f"fgan_{divergence}"]()

    def cost(params, rng):
        p, q = jax.random.split(rng)
        real, fake = jax.random.normal(p, (512, 1)), 1.0 + q_std * jax.random.normal(q, (512, 1))
        return loss.d(*(module.apply({"params": params}, x, train=True) for x in (real, fake)))

    def move(nets, rng):
        net, average = nets
        net, _ = contract.descend(net, tx, lambda params: (cost(params, rng), (net.stats, ())))
        return (net, contract.ema(average, net, 0.995)), None  # averaged: single steps are noisy

    net = contract.create(module, tx, jax.random.key(seed), jnp.zeros((1, 1)), train=True)
    keys = jax.random.split(jax.random.key(100 + seed), 2000)
    (_, net), _ = jax.jit(lambda net: jax.lax.scan(move, (net, net), keys))(net)
    fresh = jax.random.split(jax.random.key(200 + seed), 200)
    return -float(jax.jit(lambda params: jax.lax.map(lambda rng: cost(params, rng), fresh).mean())(net.params))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("divergence", "q_std", "truth"),
    [
        ("kl", 1.0, 0.5),
        ("reverse_kl", 1.0, 0.5),
        ("pearson", 1.0, 1.718282),
        ("squared_hellinger", 1.0, 0.235006),
        ("jensen_shannon", 1.0, 0.222843),
        ("gan", 1.0, -1.163451),
        ("kl", 2.0, 0.443147),  # 1.306853 with the arguments exchanged
    ],
)
def test_the_bound_is_the_divergence(divergence, q_std, truth, seed):
    """It is a lower bound, so it may fall short by 8 % and exceed the truth by 3 % of sampling noise. Figures of
    quadrature; a wrong conjugate or activation is off by far more."""
    found = trained_bound(divergence, q_std, seed)
    print("bound", divergence, q_std, seed, found)
    assert truth - 0.08 * abs(truth) < found < truth + 0.03 * abs(truth)


def fitted(divergence, seed, steps=3000, batch=512):
    """mu and sigma of the Gaussian fitted to .5 N(-2, .5^2) + .5 N(2, .5^2)."""
    config = experiments.get_config("fgan", "mixture")
    config.model.divergence = divergence
    played = contract.load(datasets.resolve(config))[0].gan

    def draw(rng):
        sign, noise = jax.random.split(rng)
        side = jax.random.rademacher(sign, (5, batch, 1)).astype(jnp.float32)
        return {"point": 2.0 * side + 0.5 * jax.random.normal(noise, (5, batch, 1))}

    def body(state, rng):
        data_rng, rng = jax.random.split(rng)
        state, _ = played.train_step(state, draw(data_rng), rng)
        return state, (state.g.params["mean"][0, 0], jnp.exp(state.g.params["log_deviation"][0, 0]))

    state = played.init(jax.random.key(seed), {"point": jnp.zeros((batch, 1))})
    keys = jax.random.split(jax.random.key(100 + seed), steps)
    _, line = jax.jit(lambda state: jax.lax.scan(body, state, keys))(state)
    return tuple(float(values[-200:].mean()) for values in line)  # the last steps circle around the fit


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("divergence", "mean", "deviation"),
    [
        ("kl", (-0.2, 0.2), (1.9, 2.2)),  # the moments of the mixture: 0 and 2.0616
        ("reverse_kl", (1.9, 2.1), (0.45, 0.55)),  # the mode on whose side it starts
        ("jensen_shannon", (-0.25, 0.25), (1.9, 2.2)),
    ],
)
def test_which_gaussian_a_divergence_makes_of_a_mixture(divergence, mean, deviation, seed):
    """Section 2.4. KL covers both modes, reverse KL seeks one: exchanged arguments, a wrong conjugate or a wrong sign
    each ruin one of the three. Measured: -.03 to .02 and 2.05 to 2.07 for KL; 2.00 and .50 for reverse KL."""
    mu, sigma = fitted(divergence, seed)
    print("mixture", divergence, seed, mu, sigma)
    assert mean[0] < mu < mean[1]
    assert deviation[0] < sigma < deviation[1]


def play_ring(seed, steps, **changes):
    """A trained ring of 8 and its coverage by 2,500 samples."""
    played = game("ring", **changes)
    world = Gaussians(kind="ring", std=0.05, seed=seed)
    points = jnp.asarray(world.read(np.arange(256 * 400))["point"]).reshape(400, 256, 2)
    key = jax.random.key(seed)

    def body(state, step):
        return played.train_step(state, {"point": points[step % 400]}, jax.random.fold_in(key, step))

    state = played.init(key, {"point": points[0]})
    state, metrics = jax.jit(lambda state: jax.lax.scan(body, state, jnp.arange(steps)))(state)
    samples = played.sample(state, {"point": jnp.zeros((2500, 2))}, jax.random.key(10_000 + seed))
    nearest = 2 * 1.4144 * np.sin(np.pi / 8)
    return coverage(np.asarray(samples), np.asarray(world.centres), 0.05, radius=nearest / 4), metrics


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_single_step_on_the_ring(seed):
    """As plain GANs do, it can drop modes: 7, 6 and 8 of 8, high quality .73, .82 and .89 were measured."""
    found, _ = play_ring(seed, 4000)
    print("ring", seed, found)
    assert found.covered_well >= 3
    assert found.high_quality > 0.55
