"""LAPGAN: the authors' networks to the last parameter, a pyramid that adds up, and levels that follow each other."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from jax import lax

from gan_jax import contract, tricks
from gan_jax.data import datasets
from gan_jax.errors import InputError
from gan_jax.gans import lapgan
from gan_jax.nets import mlp
from gan_jax.nets import pyramid as nets
from tests import experiments


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def stages(variant, shape, **model):
    """The stages of a variant, for data of this shape that need not be at hand."""
    config = experiments.get_config("lapgan", variant)
    config.data.update(domain="image", resolution=shape[:2], channels=shape[2], classes=10, examples=45_000)
    config.model.update(model)
    return contract.load(config)


def state_of(gan, batch=2):
    example = {"image": jnp.zeros((batch, *gan.shape)), "label": jnp.zeros(batch, jnp.int32)}
    return jax.eval_shape(lambda: gan.init(jax.random.key(0), example))


@pytest.mark.parametrize(
    ("variant", "g", "d"), [("cifar10", 218_179, 116_545), ("cifar10_conditional", 232_579, 129_409)]
)
def test_parameters_of_the_level_of_32_pixels(variant, g, d):
    state = state_of(stages(variant, (32, 32, 3))[-1].gan)
    assert size(state.g.params) == g
    assert size(state.d.params) == d
    assert state.d.params["level_2"]["Dense_0" if variant == "cifar10" else "Dense_1"]["Dense_0"]["kernel"].shape[
        0
    ] == (9216)


@pytest.mark.parametrize(
    ("variant", "g", "d"),
    [
        ("cifar10", 100 * 8000 + 8000 + 8000 * 8001 + 8000 * 192 + 192, 192 * 1600 + 1600 + 1600 * 1601 + 1601),
        ("cifar10_conditional", 110 * 8000 + 8000 + 8000 * 8001 + 8000 * 192 + 192, 202 * 1600 + 1600 * 1602 + 1601),
    ],
)
def test_parameters_of_the_coarsest_level(variant, g, d):
    state = state_of(stages(variant, (32, 32, 3))[0].gan)
    assert size(state.g.params) == g
    assert size(state.d.params) == d


def test_parameters_of_lsun():
    small, large = (state_of(stages(variant, (64, 64, 3))[3].gan) for variant in ("lsun", "lsun_large"))
    assert size(small.g.params) == 49 * 4 * 128 + 128 + 49 * 128 * 128 + 128 + 25 * 128 * 3 + 3
    assert size(large.g.params) == 12_608 + 288_880 + 577_152 + 179_424 + 32_931
    assert large.d.params["level_3"]["Dense_0"]["Dense_0"]["kernel"].shape == (166_400, 1)  # the code's own comment


@pytest.mark.parametrize(
    ("variant", "shape", "sides"),
    [
        ("cifar10", (32, 32, 3), [8, 16, 32]),
        ("stl", (96, 96, 3), [8, 16, 32, 64, 96]),
        ("lsun", (64, 64, 3), [4, 8, 16, 32, 64]),
    ],
)
def test_levels_of_the_papers_datasets(variant, shape, sides):
    found = stages(variant, shape)
    assert [stage.gan.level.size for stage in found] == [(side, side) for side in sides]
    assert sum(stage.steps for stage in found) == experiments.get_config("lapgan", variant).steps
    assert [len(stage.gan.levels) for stage in found] == list(range(1, len(sides) + 1))


def test_sides_that_differ():
    found = stages("smoke", (16, 24, 1))
    assert [stage.gan.level.size for stage in found] == [(4, 6), (8, 12), (16, 24)]


def test_grouped_convolutions():
    module, x = nets.Conv(12, 3, groups=4), jax.random.normal(jax.random.key(0), (2, 6, 6, 8))
    made, variables = jax.jit(module.init_with_output)(jax.random.key(1), x)
    kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
    expected = lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=4
    )
    np.testing.assert_allclose(made, expected + bias.reshape(1, 1, 1, -1), atol=1e-5)
    assert float(jnp.abs(kernel).max()) <= (9 * 2) ** -0.5


@pytest.fixture(scope="module")
def smoke():
    """The smoke experiment's games, two minibatches, a state for each game, carried over from the one before, and what
    a fresh state of the last game would be."""
    games = [stage.gan for stage in contract.load(datasets.resolve(experiments.get_config("lapgan")))]
    batch, states = {"image": jax.random.uniform(jax.random.key(0), (2, 16, 16, 16, 3), minval=-1.0)}, []
    for i, gan in enumerate(games):
        fresh = jax.jit(gan.init)(jax.random.key(i), {"image": batch["image"][0] * (0.5 + 0.1 * i)})
        states.append(contract.carry_over(states[-1], fresh) if states else fresh)
    return games, batch, states, fresh


def test_the_pyramid_adds_up(smoke):
    """Low-pass and residual are the image, and the finest image is the data, standardised; nothing is lost."""
    games, batch, states, _ = smoke
    for gan, state, side in zip(games, states, (4, 8, 16), strict=True):
        fine, low = gan.bands(state, {"image": batch["image"][1]})
        assert fine.shape == low.shape == (16, side, side, 3)
    pixels = states[-1].frozen["pixels"].params
    np.testing.assert_allclose(fine * pixels["std"][None] + pixels["mean"][None], batch["image"][1], atol=1e-6)
    assert float(jnp.abs(fine - low).mean()) > 0.1  # of noise, most is residual


def test_a_constant_image_has_no_residual(smoke):
    games, _, states, _ = smoke
    ones = {"pixels": contract.Net(params={"mean": jnp.zeros((16, 16, 3)), "std": jnp.ones((16, 16, 3))}, stats={})}
    for gan, state in zip(games[1:], states[1:], strict=True):
        fine, low = gan.bands(state.replace(frozen=ones), {"image": jnp.full((2, 16, 16, 3), 0.7)})
        np.testing.assert_allclose(fine, low, atol=1e-6)


def test_statistics_of_pixels():
    images = jax.random.normal(jax.random.key(0), (500, 3, 3, 1)) * 0.4 + 0.2
    images = images.at[:, 0, 0].set(-1.0)
    mean, std = lapgan.standardised(images)
    np.testing.assert_allclose(mean[1:], 0.2, atol=0.1)  # five standard errors
    np.testing.assert_allclose(std[1:], 0.4, atol=0.07)
    assert float(std[0, 0, 0]) == pytest.approx(0.1)
    mean, std = lapgan.unchanged(images)
    assert (float(mean.max()), float(std.min())) == (0.0, 1.0)


def silent(net):
    return jax.tree.map(jnp.zeros_like, net)


def test_levels_without_a_residual_only_enlarge(smoke):
    games, batch, states, _ = smoke
    one = {"image": batch["image"][0]}
    for gan, state in zip(games[1:], states[1:], strict=True):
        quiet = {name: silent(net) if name != "level_0" else net for name, net in state.pyramid.items()}
        z = gan.latents(jax.random.key(3), one)
        made = gan.generate(state.replace(pyramid=quiet), z, one)
        first = {name: state.pyramid[name] for name in ("level_0",)}
        coarse = (
            games[0]
            .levels[0]
            .generator.apply(first["level_0"].params, z["level_0"], jnp.zeros((16, 4, 4, 3)), train=False)
        )
        for level in gan.levels[1:]:
            coarse = lapgan.resize(coarse, level.size)
        pixels = state.frozen["pixels"].params
        image = lapgan.resize(coarse, (16, 16)) * pixels["std"][None] + pixels["mean"][None]
        np.testing.assert_allclose(made, jnp.clip(image, -1.0, 1.0), atol=1e-5)


def test_what_the_discriminator_is_shown(smoke):
    """Real images of the first minibatch as they are; upon the second's coarse images what the generator adds."""
    _, batch, states, _ = smoke
    config = experiments.get_config("lapgan")
    config.model.dropout_conv = 0.0
    gan = contract.load(datasets.resolve(config))[-1].gan
    state = states[-1].replace(g=states[-1].g.replace(params=silent(states[-1].g.params)))
    taken, others = ({"image": batch["image"][i]} for i in (0, 1))
    move = jax.jit(gan.discriminator_move)
    _, line = move(state, taken, others, jax.random.key(3))
    real, low = gan.bands(state, taken)[0], gan.bands(state, others)[1]  # a silent generator leaves the low-pass image
    scores = (
        gan.score(state, taken["image"], taken),
        contract.apply(gan.level.discriminator, state.d, low, train=False)[0],
    )
    np.testing.assert_allclose(
        scores[0], contract.apply(gan.level.discriminator, state.d, real, train=False)[0], atol=1e-5
    )
    assert float(line["score/real"]) == pytest.approx(float(scores[0].mean()), abs=1e-5)
    assert float(line["score/fake"]) == pytest.approx(float(scores[1].mean()), abs=1e-5)
    quiet = state.replace(d=state.d.replace(params=silent(state.d.params)))
    _, line = move(quiet, taken, others, jax.random.key(3))
    for name in ("loss/d", "loss/d_real", "loss/d_fake"):  # the mean over one batch of both halves: log 2, not log 4
        assert float(line[name]) == pytest.approx(0.693147, abs=1e-5)
    assert float(line["accuracy/d"]) == 0.0  # of a logit of 0 neither is right


def test_a_stage_begins_with_the_levels_before_it(smoke):
    """Generators and the scale of pixels are carried over, whatever the next batch looks like; new players are new."""
    _, _, states, fresh = smoke
    for name in ("level_0", "level_1"):
        jax.tree.map(np.testing.assert_array_equal, states[2].pyramid[name], states[1].pyramid[name])
        assert not np.array_equal(*(jax.tree.leaves(state.pyramid[name])[-1] for state in (states[2], fresh)))
    jax.tree.map(np.testing.assert_array_equal, states[2].frozen, states[0].frozen)
    jax.tree.map(np.testing.assert_array_equal, states[2].g, fresh.g)
    jax.tree.map(np.testing.assert_array_equal, states[2].d, fresh.d)
    jax.tree.map(np.testing.assert_array_equal, states[2].pyramid["level_2"].params["params"], fresh.g.params)


def test_a_step_moves_its_own_level_alone(smoke):
    games, batch, states, _ = smoke
    after, _ = jax.jit(games[1].train_step)(states[1], batch, jax.random.key(5))
    jax.tree.map(np.testing.assert_array_equal, after.pyramid["level_0"], states[1].pyramid["level_0"])
    jax.tree.map(np.testing.assert_array_equal, after.pyramid["level_1"].params["params"], after.g.params)
    assert not np.array_equal(jax.tree.leaves(after.g.params)[0], jax.tree.leaves(states[1].g.params)[0])


def test_running_statistics_of_a_finished_level_survive():
    found = stages("lsun_large", (16, 16, 1), coarser=(4, 8), nets=("dense", "grouped"), dense_width=16)
    state = state_of(found[-1].gan)
    assert "batch_stats" in state.pyramid["level_2"].params
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state.pyramid)]
    assert all(".params" in path for path in paths)  # what `carry_over` keeps


def test_the_gate_of_lsun():
    gate = lapgan.GATES["lsun"]

    def moves(real, fake):
        metrics = {"loss/d_real": jnp.float32(real), "loss/d_fake": jnp.float32(fake)}
        return bool(gate.d(metrics)), bool(gate.g(metrics))

    assert moves(0.3, 0.7) == (True, False)  # fakes pass: the discriminator catches up
    assert moves(0.3, 0.5) == (False, True)
    assert moves(0.5, 0.1) == (False, True)
    assert moves(0.8, 0.5) == (True, True)  # data does not: both
    everyone = lapgan.GATES["none"]
    assert (everyone.d({}), everyone.g({})) == (True, True)


def test_a_player_behind_the_gate_stays_where_it_is(smoke):
    games, batch, states, _ = smoke
    closed = tricks.Gate(d=lambda metrics: metrics["loss/d"] > 100.0, g=lambda metrics: metrics["loss/d"] < 0.0)
    gan = dataclasses.replace(games[0], gate=closed)
    after, _ = jax.jit(gan.train_step)(states[0], batch, jax.random.key(2))
    jax.tree.map(np.testing.assert_array_equal, states[0].d, after.d)
    jax.tree.map(np.testing.assert_array_equal, states[0].g, after.g)
    assert int(after.step) == int(states[0].step) + 1


def test_the_authors_descent():
    section = experiments.get_config("lapgan", "cifar10_sgd").model.g_optimizer
    tx = lapgan.optimizer(section, "g_optimizer", epoch=2.0)
    state, seen = tx.init(jnp.zeros(())), []
    for _ in range(4):
        update, state = tx.update(jnp.float32(1.0), state)
        seen.append(float(update))
    assert seen == pytest.approx([-0.02] * 4, rel=1e-4)  # dampened: of equal gradients the velocity is the gradient
    update, state = tx.update(jnp.float32(0.0), state)
    assert float(update) == pytest.approx(-0.02 * 0.0016 / 1.000004**2, rel=1e-3)  # the third epoch's momentum
    late = (state[0]._replace(trace=jnp.float32(1.0)), jnp.int32(4000))
    assert float(tx.update(jnp.float32(0.0), late)[0]) == pytest.approx(-0.02 * 0.7 / 1.000004**2000, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coarser": (8, 8)}, "heights that rise"),
        ({"coarser": (4, 16)}, "stay below"),
        ({"nets": ("conv",)}, "2 finer levels: 8x8, 16x16"),
        ({"nets": ("conv", "conv")}, "sides of at least 9 pixels, and a level has 8x8"),
        ({"nets": ("dense", "convv")}, "Did you mean 'conv'"),
        ({"pixels": "none"}, "standardised, unchanged"),
        ({"gate": "on"}, "lsun, none"),
        ({"up": "cubic"}, "linear, nearest"),
        ({"coarsest": "tanh"}, "relu, sigmoid"),
    ],
)
def test_what_cannot_be_built_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        stages("smoke", (16, 16, 3), **changes)


def test_proportions_and_steps_are_checked():
    with pytest.raises(InputError, match="whole numbers"):
        stages("smoke", (16, 18, 3))
    config = experiments.get_config("lapgan")
    config.steps = 2
    with pytest.raises(InputError, match="at least 3"):
        contract.load(datasets.resolve(config))


def test_the_work_of_a_finer_level_is_split_over_the_devices():
    costs = {}
    for devices in (1, 8):
        run = experiments.open_run("lapgan", devices, stage=2, batch_size=8 * 37)
        costs[devices] = run.compile(run.abstract()).cost_analysis()["flops"]
    assert costs[8] < costs[1] / 7


# ------------------------------------------------------------------------------------------------------- behaviour


class Crossed(lapgan.LAPGAN):
    """The mistake that this paper invites: the residual is added to the coarse image of another example."""

    def made(self, g, low, told, keys, params=None):
        image, stats = super().made(g, low, told, keys, params)
        return image - low + jnp.roll(low, 1, axis=0), stats


class Generator(nn.Module):
    """Noise and low-pass image, side by side, through perceptrons."""

    @nn.compact
    def __call__(self, z, low, *, train: bool):
        seen = jnp.concatenate([part.reshape(part.shape[0], -1) for part in (z, low)], axis=-1)
        return mlp.Generator((8, 8, 1), (128,) * 3)(seen, train=train)


def fine_level(cls):
    """The level from 4 to 8 pixels, grey, of small perceptrons."""
    game = stages("smoke", (8, 8, 1), coarser=(4,), nets=("dense",), pixels="unchanged", up="nearest")[-1].gan
    leaky = partial(nn.leaky_relu, negative_slope=0.2)
    makers = (Generator, partial(mlp.Discriminator, (128, 128), leaky))
    players = (nets.Named("level_1", lambda name, make=make: make(name=name)) for make in makers)
    level = lapgan.Level("level_1", (8, 8), (8, 8, 1), *players)
    fields = {field.name: getattr(game, field.name) for field in dataclasses.fields(game)}
    fields |= {"levels": (game.levels[0], level), "g_tx": optax.adam(5e-4, b1=0.5), "d_tx": optax.adam(5e-4, b1=0.5)}
    return cls(**fields)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_residual_fits_the_coarse_image(seed):
    """Upon true coarse images that were held out, against a game in which the residual meets another example's.

    On digits of 8x8 the discriminator was right in .64 of the cases (.97 when crossed) and its loss .65 (.10): below .8
    and above .5 is what a right game must keep, and what the crossed one misses. What a sample's coarse version misses
    was .62 of what a crossed one does; the deviation of residuals was within a tenth of the true one; and without noise
    two samples upon one coarse image would be one. All are means of the last 300 steps, as single states of a constant
    rate had deviations of .93 to 1.32 of the true one."""
    section = experiments.get_config("infogan", "default").data
    section.update(resolution=8)
    data = jnp.asarray(datasets.open(section).read(np.arange(10_240))["image"], jnp.float32) / 127.5 - 1.0
    data, held_out = data[:8192], {"image": data[8192:]}

    def played(gan):
        key = jax.random.key(seed)

        def body(state, step):
            rng, choice = jax.random.split(jax.random.fold_in(key, step))
            return gan.train_step(state, {"image": data[jax.random.randint(choice, (2, 64), 0, len(data))]}, rng)

        @jax.jit
        def advance(state, first):
            state, lines = lax.scan(body, state, first + jnp.arange(30))
            fine, low = gan.bands(state, held_out)
            keys = [lapgan.LevelKeys(*jax.random.split(jax.random.key(k), 4)) for k in (1, 2)]
            one, two = (gan.made(state.g, low, (), key)[0] for key in keys)
            coarse = [lapgan.resize(image, (4, 4)) for image in (fine, one)]
            return state, {
                "accuracy": lines["accuracy/d"].mean(),
                "loss": lines["loss/d"].mean(),
                "misfit": jnp.abs(coarse[1] - coarse[0]).mean(),
                "spread": (one - low).std() / (fine - low).std(),
                "noise": (one - two).std(axis=0).mean(),
            }

        state, found = gan.init(key, {"image": data[:64]}), []
        for first in range(0, 3000, 30):
            state, measures = advance(state, first)
            found.append(measures)
        return jax.tree.map(lambda *values: float(np.mean(values)), *found[-10:])

    right, crossed = played(fine_level(lapgan.LAPGAN)), played(fine_level(Crossed))
    print("levels", seed, right, crossed)
    assert right["accuracy"] < 0.8 < crossed["accuracy"]
    assert right["loss"] > 0.5 > crossed["loss"]
    assert right["misfit"] < 0.8 * crossed["misfit"]
    assert 0.8 < right["spread"] < 1.2
    assert right["noise"] > 0.05
