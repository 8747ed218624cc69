"""LSGAN: the published networks to the last parameter, the divergence of section 3, and a ring that it must learn."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gan_jax import contract, losses
from gan_jax.data import datasets
from gan_jax.data.worlds import Gaussians
from gan_jax.errors import InputError
from gan_jax.gans import lsgan
from gan_jax.metrics.modes import coverage
from gan_jax.nets import mlp
from tests import experiments

REAL, FAKE = jnp.array([2.0, -1.0]), jnp.array([0.5, -3.0])
ZERO_ONE, PEARSON = {"a": 0.0, "b": 1.0, "c": 1.0}, {"a": -1.0, "b": 1.0, "c": 0.0}


def parameters(module, *inputs):
    made = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, train=True))
    return sum(leaf.size for leaf in jax.tree.leaves(made["params"]))


def game(variant="smoke", shape=None, classes=0, **changes):
    """The game of an experiment, on images of a shape that nobody has to download."""
    config = experiments.get_config("lsgan", variant)
    config.model.update(changes)
    if shape is None:
        config = datasets.resolve(config)
    else:
        config.data.update(domain="image", resolution=shape[:2], channels=shape[2], classes=classes)
    return contract.load(config)[0].gan


def test_parameters_of_the_authors_networks_for_scenes():
    played = game("lsun", (112, 112, 3))
    assert parameters(played.generator, jnp.zeros((1, 1024))) == 15_591_427
    # 5x5 layers of 64 to 512 channels with biases, batch norm in the last three, a linear layer over 7 x 7 x 512
    kernels = 25 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 64 + 128 + 256 + 512
    assert parameters(played.discriminator, jnp.zeros((1, 112, 112, 3))) == kernels + 2 * 896 + 7 * 7 * 512 + 1


def test_parameters_of_the_authors_networks_for_characters():
    """`mcgan.py` with its 3740 classes: the class joins z, the second layer's input, and both dense ones'."""
    played = game("hwdb", (28, 28, 1), classes=3740)
    label, code = jnp.zeros((1, 3740)), 3740 * 256 + 256
    units = 7 * 7 * 128
    g = code + (1024 + 256) * units + units + 2 * units + 25 * 128 * 128 + 128 + 2 * 128 + 25 * 128 + 1
    assert parameters(played.generator, jnp.zeros((1, 1024)), label) == g
    first = 25 * 257 + 257  # sees the image alone
    second = 25 * (257 + 256) * 320 + 320 + 2 * 320
    last = (7 * 7 * 320 + 256) * 1024 + 1024 + 2 * 1024 + 1024 + 256 + 1
    assert parameters(played.discriminator, jnp.zeros((1, 28, 28, 1)), label) == code + first + second + last


@pytest.mark.parametrize(("variant", "normed"), [("stability_g", 3), ("stability_gd", 0)])
def test_batch_norm_is_removed(variant, normed):
    """DCGAN without batch norm in the generator, and without it in either; then with Pearson's targets."""
    played = game(variant, (64, 64, 3))
    made = jax.eval_shape(lambda: played.generator.init(jax.random.key(0), jnp.zeros((1, 1024)), train=True))
    assert set(made) == {"params"}
    assert made["params"]["Dense_0"]["kernel"].shape == (1024, 4 * 4 * 512)
    seen = jax.eval_shape(lambda: played.discriminator.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=True))
    assert len(seen.get("batch_stats", {})) == normed
    expected = {"stability_g": (3.5625, 4.0625), "stability_gd": (2.8125, 2.3125)}[variant]
    assert (float(played.loss.d(REAL, FAKE)), float(played.loss.g(REAL, FAKE))) == expected


def test_shapes_between_the_layers():
    def sides(module, name, *inputs):
        _, seen = jax.eval_shape(
            lambda: module.init_with_output(jax.random.key(0), *inputs, train=True, capture_intermediates=True)
        )
        outputs = seen["intermediates"].items()
        return [value["__call__"][0].shape[1:] for path, value in outputs if path.startswith(name)]

    made = sides(lsgan.Generator((112, 112, 3), width=2), "ConvTranspose", jnp.zeros((2, 1024)))
    expected = [(14, 14, 8), (14, 14, 8), (28, 28, 8), (28, 28, 8), (56, 56, 4), (112, 112, 2), (112, 112, 3)]
    assert sorted(made) == sorted(expected)
    halved = sides(lsgan.Discriminator(width=2), "Conv", jnp.zeros((2, 112, 112, 3)))
    assert sorted(halved) == [(7, 7, 16), (14, 14, 8), (28, 28, 4), (56, 56, 2)]


def test_weights_start_as_in_the_authors_code():
    params = jax.jit(
        lambda: lsgan.Discriminator(width=16).init(jax.random.key(0), jnp.zeros((2, 32, 32, 3)), train=True)
    )()["params"]
    kernel = params["Conv_2"]["kernel"]
    assert float(jnp.abs(kernel).max()) <= 0.04 + 1e-6  # normals of deviation .02 beyond two of those are drawn again
    assert float(kernel.std()) == pytest.approx(0.0176, rel=0.05)  # which leaves .88 of the deviation
    toy = jax.jit(lambda: lsgan.ToyGenerator((2,), (16,)).init(jax.random.key(0), jnp.zeros((2, 32)), train=True))()
    kernel = toy["params"]["Dense_0"]["kernel"]
    gram = kernel.T @ kernel
    np.testing.assert_allclose(gram, 1.4**2 * jnp.eye(16), atol=1e-4)


@pytest.mark.parametrize(
    ("targets", "d", "g"), [(ZERO_ONE, 3.5625, 4.0625), (PEARSON, 2.8125, 2.3125)], ids=["zero_one", "pearson"]
)
def test_losses(targets, d, g):
    """The sum of the authors' code, over two examples, is twice the mean."""
    loss = losses.build("least_squares", **targets)
    assert (float(loss.d(REAL, FAKE)), float(loss.g(REAL, FAKE))) == (d, g)
    right = (jnp.full(2, targets["b"]), jnp.full(2, targets["a"]))
    assert float(loss.d(*right)) == 0.0
    slope = jax.grad(lambda fake: loss.g(REAL, fake))(FAKE)
    np.testing.assert_allclose(slope, (FAKE - targets["c"]) / 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("targets", "d", "g"), [(PEARSON, 0.795946, 0.102027), (ZERO_ONE, 0.198986, 0.201520)], ids=["pearson", "zero_one"]
)
def test_the_optimal_discriminator_measures_a_divergence(targets, d, g):
    """For p = N(0, 1) and q = N(1, 1), D* = (b p + a q) / (p + q); with Pearson's targets E_p D*^2 + E_q D*^2 is the
    chi^2 divergence between p + q and 2 q."""
    x = jnp.linspace(-12.0, 13.0, 100_001)
    p, q = jax.scipy.stats.norm.pdf(x), jax.scipy.stats.norm.pdf(x - 1.0)
    best = (targets["b"] * p + targets["a"] * q) / (p + q)

    def mean(density, values):
        return float(jnp.trapezoid(density * values, x))

    paid = 0.5 * mean(p, (best - targets["b"]) ** 2) + 0.5 * mean(q, (best - targets["a"]) ** 2)
    assert paid == pytest.approx(d, abs=1e-4)
    assert 0.5 * mean(q, (best - targets["c"]) ** 2) == pytest.approx(g, abs=1e-4)
    if targets is PEARSON:
        chi2 = float(jnp.trapezoid((p - q) ** 2 / (p + q), x))
        assert mean(p, best**2) + mean(q, best**2) == pytest.approx(chi2, abs=1e-4)
        assert chi2 == pytest.approx(0.408109, abs=1e-4)


def test_the_experiment_plays_these_losses():
    """With a discriminator that says nothing both losses are known: half of (b^2 + a^2), half of c^2."""
    targets = {"a": -1.0, "b": 0.5, "c": 0.25}
    played = game(**targets)
    batch = {"point": jax.random.normal(jax.random.key(0), (64, 2))}
    state = jax.jit(played.init)(jax.random.key(1), batch)
    silent = state.d.replace(params=jax.tree.map(jnp.zeros_like, state.d.params))
    _, line = jax.jit(played.generator_move)(state.g, silent, batch, jax.random.key(2))
    assert float(line["loss/g"]) == pytest.approx(0.5 * 0.25**2)
    _, line = jax.jit(played.discriminator_move)(state.g, (silent, state.memory), batch, jax.random.key(2))
    assert float(line["loss/d"]) == pytest.approx(0.5 * (1.0 + 0.5**2))


def test_the_class_is_told_to_both_players():
    """Small networks for characters make other images for another class, and judge one image otherwise."""
    played = game("hwdb", (8, 12, 1), classes=3, g_width=4, d_width=4, hidden=8, coded=4, latent_size=5)
    batch = {"image": jnp.zeros((4, 8, 12, 1)), "label": jnp.array([0, 1, 2, 0])}
    state = jax.jit(played.init)(jax.random.key(1), batch)
    other = batch | {"label": jnp.array([1, 1, 2, 0])}
    sample, score = jax.jit(played.sample), jax.jit(played.score)
    made = [sample(state, told, jax.random.key(2)) for told in (batch, other)]
    assert made[0].shape == (4, 8, 12, 1)
    differ = jnp.abs(made[0] - made[1]).max(axis=(1, 2, 3)) > 0
    np.testing.assert_array_equal(differ, [True, False, False, False])
    judged = [score(state, made[0], told) for told in (batch, other)]
    np.testing.assert_array_equal(judged[0] != judged[1], [True, False, False, False])


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match=r"\(100, 64\).*'lsun'.*multiples of 16.*\(96, 64\)"):
        game("lsun", (100, 64, 3))
    with pytest.raises(InputError, match="needs labels"):
        game("hwdb", (28, 28, 1), classes=0)
    with pytest.raises(InputError, match="conditional must be True"):
        game("hwdb", (28, 28, 1), classes=3, conditional=False)
    with pytest.raises(InputError, match="make images"):
        game("ring", nets="lsun")
    with pytest.raises(InputError, match="Did you mean 'lsun'"):
        game("ring", nets="lsum")


# ------------------------------------------------------------------------------------------------------- behaviour


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_trained_discriminator_is_the_optimal_one(seed):
    """For p = N(0, 1), q = N(1, 1) and targets 0 and 1, D*(x) = sigmoid(1/2 - x): within .03 on [-2, 3], where the data
    is. Exchanged targets or a wrong mean are off by far more; the last steps are averaged, as a constant rate keeps
    moving."""
    module, tx, loss = mlp.Discriminator((64, 64)), optax.adam(1e-3, b1=0.5, b2=0.999), losses.least_squares()
    net = contract.create(module, tx, jax.random.key(seed), jnp.zeros((1, 1)), train=True)

    def move(nets, rng):
        net, average = nets
        p, q = jax.random.split(rng)
        real, fake = jax.random.normal(p, (512, 1)), 1.0 + jax.random.normal(q, (512, 1))

        def cost(params):
            real_logits, fake_logits = (
                contract.apply(module, net, x, params=params, train=True)[0] for x in (real, fake)
            )
            return loss.d(real_logits, fake_logits), (net.stats, None)

        net, _ = contract.descend(net, tx, cost)
        return (net, contract.ema(average, net, 0.995)), None

    keys = jax.random.split(jax.random.key(100 + seed), 2000)
    (_, net), _ = jax.jit(lambda net: jax.lax.scan(move, (net, net), keys))(net)
    x = jnp.linspace(-2.0, 3.0, 101)[:, None]
    found = module.apply({"params": net.params}, x, train=False)
    assert float(jnp.abs(found - jax.nn.sigmoid(0.5 - x[:, 0])).max()) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("targets", [ZERO_ONE, PEARSON], ids=["zero_one", "pearson"])
@pytest.mark.parametrize("seed", range(3))
def test_the_ring(seed, targets):
    """4000 steps of the default experiment, at a constant rate: high quality goes up and down between .58 and .94 from
    one hundred steps to the next, so it is the median of ten states that is compared. With targets 0 and 1 found: 5 to
    7 modes, high quality .81 to .83; a generator that fails has no mode with 20 samples.

    Pearson's targets are held to 3 modes: the generator wants D = 0, which is what the optimal D says of a mode
    that has its share, so samples of a mode that is served too little, where D > 0, are not drawn to it but away from
    it. Found: 3 to 5 modes with the same networks, as sharp (.83 to .88)."""
    config = experiments.get_config("lsgan", "ring")
    config.model.update(targets)
    config = datasets.resolve(config)
    played = contract.load(config)[0].gan
    world = Gaussians(kind="ring", std=0.05, seed=seed)
    points = jnp.asarray(world.read(np.arange(256 * 400))["point"]).reshape(400, 256, 2)
    key = jax.random.key(seed)

    def body(state, step):
        return played.train_step(state, {"point": points[step % 400]}, jax.random.fold_in(key, step))

    @jax.jit
    def advance(state, first):
        state, _ = jax.lax.scan(body, state, first + jnp.arange(100))
        return state, played.sample(state, {"point": jnp.zeros((2500, 2))}, jax.random.key(10_000 + seed))

    state, found = played.init(key, {"point": points[0]}), []
    for first in range(0, config.steps, 100):
        state, samples = advance(state, first)
        found.append(coverage(np.asarray(samples), np.asarray(world.centres), 0.05))
    modes, quality = (np.median([getattr(f, name) for f in found[-10:]]) for name in ("covered_well", "high_quality"))
    print("lsgan", targets, seed, modes, quality)
    assert quality > 0.8
    assert modes >= (5 if targets == ZERO_ONE else 3)
