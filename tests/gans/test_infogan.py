"""InfoGAN: the authors' networks to the last parameter, whom the information moves, and codes that mean something."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gan_jax import contract
from gan_jax.data import datasets
from gan_jax.data.sources import TFDS
from gan_jax.errors import InputError
from gan_jax.gans import infogan
from gan_jax.metrics.modes import matched_accuracy
from tests import experiments

HEADS = ("q_hidden", "q_norm", "q_output")


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def stage(variant, shape, classes=10, **model):
    """The stage of a variant, for data of this shape that need not be at hand."""
    config = experiments.get_config("infogan", variant)
    config.data.update(domain="image", resolution=shape[:2], channels=shape[2], classes=classes)
    config.model.update(model)
    return contract.load(config)[0]


def state_of(variant, shape, **model):
    gan = stage(variant, shape, **model).gan
    return jax.eval_shape(lambda: gan.init(jax.random.key(0), {"image": jnp.zeros((2, *shape))}))


def test_parameters_of_the_authors_networks():
    state = state_of("mnist", (28, 28, 1))
    heads = {name: state.d.params[name] for name in HEADS}
    trunk = {name: leaf for name, leaf in state.d.params.items() if name not in HEADS}
    assert size(state.g.params) == 6_652_481
    assert size(trunk) == 6_559_169
    assert size(heads) == 133_262


@pytest.mark.parametrize(
    ("variant", "shape", "joined"),
    [
        ("mnist", (28, 28, 1), 74),
        ("svhn", (32, 32, 3), 168),
        ("celeba", (32, 32, 3), 228),
        ("faces", (32, 32, 1), 133),
        ("chairs", (64, 64, 1), 189),
    ],
)
def test_codes_of_the_papers_experiments(variant, shape, joined):
    gan = stage(variant, shape).gan
    z = jax.eval_shape(lambda: gan.latents(jax.random.key(0), {"image": jnp.zeros((4, *shape))}))
    assert sum(leaf.shape[-1] for leaf in jax.tree.leaves(z)) == joined
    assert all(leaf.shape[0] == 4 for leaf in jax.tree.leaves(z))
    state = state_of(variant, shape)
    assert state.g.params["Dense_0"]["kernel"].shape[0] == joined
    made = jax.eval_shape(lambda state: gan.sample(state, {"image": jnp.zeros((4, *shape))}, jax.random.key(0)), state)
    assert made.shape == (4, *shape)


def test_batch_norm_stands_where_the_appendix_has_it():
    assert sorted(name for name in state_of("svhn", (32, 32, 3)).g.params if "Norm" in name) == ["Norm_0", "Norm_1"]
    assert sorted(name for name in state_of("mnist", (28, 28, 1)).g.params if "Norm" in name) == [
        "Norm_0",
        "Norm_1",
        "Norm_2",
    ]
    assert state_of("mnist", (28, 28, 1)).g.params["Norm_1"]["BatchNorm_0"]["scale"].shape == (7 * 7 * 128,)


@pytest.fixture(scope="module")
def played():
    """The smoke experiment's game with plain descent, a batch and a state."""
    gan = contract.load(datasets.resolve(experiments.get_config("infogan")))[0].gan
    gan = dataclasses.replace(gan, d_tx=optax.sgd(1.0), g_tx=optax.sgd(1.0))
    batch = {"image": jax.random.uniform(jax.random.key(0), (32, 8, 8, 1), minval=-1.0)}
    return gan, batch, jax.jit(gan.init)(jax.random.key(1), batch)


def test_information_of_a_silent_and_of_a_perfect_q(played):
    gan, batch, _ = played
    z = gan.latents(jax.random.key(0), batch)
    zeros = [jnp.zeros_like(c) for c in z["continuous"]]
    silent = infogan.Posterior([jnp.zeros_like(c) for c in z["categorical"]], zeros, zeros)
    perfect = infogan.Posterior([100.0 * c for c in z["categorical"]], z["continuous"], zeros)
    total, shares = gan.information(z, silent)
    assert float(total) == pytest.approx(0.0, abs=1e-6)
    total, shares = gan.information(z, perfect)
    assert float(shares["monitor/info_categorical_0"]) == pytest.approx(np.log(3), abs=1e-5)
    assert float(shares["monitor/info_categorical_1"]) == pytest.approx(np.log(2), abs=1e-5)
    expected = [0.5 * float((c**2).mean()) for c in z["continuous"]]
    assert [float(shares[f"monitor/info_continuous_{i}"]) for i in (0, 1)] == pytest.approx(expected)
    weighted = dataclasses.replace(gan, categorical_weight=2.0, continuous_weight=0.1)
    assert float(weighted.information(z, perfect)[0]) == pytest.approx(
        2 * (np.log(3) + np.log(2)) + 0.1 * sum(expected), rel=1e-5
    )


def moved(before, after):
    """Names of the layers whose parameters changed."""
    return {
        name
        for name in before.params
        if not all(map(np.array_equal, jax.tree.leaves(before.params[name]), jax.tree.leaves(after.params[name])))
    }


def test_the_discriminators_step_moves_q_and_the_trunk(played):
    """The information reaches Q's head and the trunk through fakes; what it adds to the gradient is that of L_I."""
    gan, batch, state = played
    without = dataclasses.replace(gan, categorical_weight=0.0, continuous_weight=0.0)
    d, metrics = jax.jit(gan.discriminator_move)(state.g, state.d, batch, jax.random.key(2))
    plain, plain_metrics = jax.jit(without.discriminator_move)(state.g, state.d, batch, jax.random.key(2))
    assert set(HEADS) <= moved(state.d, d)
    assert not moved(state.d, plain) & set(HEADS)  # nothing else ever reaches Q
    assert "Conv_0" in moved(plain, d)
    assert "verdict" not in moved(plain, d)  # D's own head does not meet the information
    assert float(metrics["loss/d"]) == pytest.approx(float(plain_metrics["loss/d"]))

    def information(params):
        z = gan.latents(jax.random.key(2), batch)
        fake, _ = contract.apply(gan.generator, state.g, z, train=True)
        (_, posterior), _ = contract.apply(gan.discriminator, state.d, fake, params=params, train=True)
        return gan.information(z, posterior)[0]

    gradient = jax.jit(jax.grad(information))(state.d.params)
    difference = jax.tree.map(jnp.subtract, d.params, plain.params)  # a descent of rate 1 up the information
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), difference, gradient)


def test_the_generators_step_meets_the_information_and_moves_nobody_else(played):
    gan, batch, state = played
    without = dataclasses.replace(gan, categorical_weight=0.0, continuous_weight=0.0)
    g, _ = jax.jit(gan.generator_move)(state.g, state.d, batch, jax.random.key(2))
    plain, _ = jax.jit(without.generator_move)(state.g, state.d, batch, jax.random.key(2))
    assert moved(state.g, g) == set(state.g.params)
    assert moved(plain, g) == set(state.g.params)
    still = dataclasses.replace(gan, d_tx=optax.sgd(0.0))
    after, _ = jax.jit(still.train_step)(state, batch, jax.random.key(3))
    assert not moved(state.d, after.d)
    assert moved(state.g, after.g) == set(state.g.params)


def test_one_code_is_moved_and_the_others_held(played):
    gan, batch, state = played
    z = gan.latents(jax.random.key(0), batch)
    other = z | {"categorical": (jnp.roll(z["categorical"][0], 1, axis=1), z["categorical"][1])}
    a, b = gan.generate(state, z, batch), gan.generate(state, other, batch)
    assert a.shape == (32, 8, 8, 1)
    assert not np.array_equal(a, b)


def test_recognition_does_not_depend_on_the_rest_of_the_batch(played):
    gan, batch, state = played
    together = gan.recognise(state, batch["image"])
    alone = gan.recognise(state, batch["image"][:2])
    np.testing.assert_allclose(together.categorical[0][:2], alone.categorical[0], atol=1e-5)
    assert [c.shape for c in together.categorical] == [(32, 3), (32, 2)]
    assert all(not np.asarray(log_std).any() for log_std in together.log_std)  # held at 1


def test_learned_deviations():
    config = experiments.get_config("infogan")
    config.model.std = "learned"
    gan = contract.load(datasets.resolve(config))[0].gan
    batch = {"image": jax.random.uniform(jax.random.key(0), (16, 8, 8, 1))}
    state = jax.jit(gan.init)(jax.random.key(1), batch)
    assert any(np.asarray(log_std).any() for log_std in gan.recognise(state, batch["image"]).log_std)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"g_widths": (8, 4, 2, 2)}, r"g_widths.*resolution=\(8, 8\).*multiple of 16"),
        ({"categorical": (1,)}, "at least 2 values"),
        ({"categorical": (), "continuous": 0}, "continuous=0"),
        ({"continuous": -1}, "continuous=-1"),
        ({"latent_size": 0}, "latent_size=0"),
        ({"output": "sigmoit"}, "Did you mean 'sigmoid'"),
        ({"std": "free"}, "fixed, learned"),
    ],
)
def test_what_cannot_be_built_is_refused(changes, message):
    config = experiments.get_config("infogan")
    config.model.update(changes)
    with pytest.raises(InputError, match=message):
        contract.load(datasets.resolve(config))


# ------------------------------------------------------------------------------------------------------- behaviour


def train(gan, data, steps, batch_size, seed):
    """The state after so many steps on random minibatches, and the mean metrics of the last 100."""
    key, rng, seen = jax.random.key(seed), np.random.default_rng(seed), []
    state = jax.jit(gan.init)(key, {"image": data[:batch_size]})
    step = jax.jit(gan.train_step, donate_argnums=(0,))
    for i in range(steps):
        batch = {"image": data[rng.integers(len(data), size=batch_size)]}
        state, line = step(state, batch, jax.random.fold_in(key, i))
        if i >= steps - 100:
            seen.append(line)
    return state, jax.tree.map(lambda *values: float(np.mean(values)), *jax.device_get(seen))


def shapes_data():
    """The default experiment's game, and images of its data."""
    config = datasets.resolve(experiments.get_config("infogan", "default"))
    read = datasets.open(config.data).read(np.arange(8192))
    return contract.load(config)[0].gan, jnp.asarray(read["image"], jnp.float32) / 127.5 - 1.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_generator_shows_its_codes(seed):
    """Nearly all of the ln 10 nats reach Q; the bound, .15 below, is the one that small networks keep on 8x8 digits
    (.01 to .03 below); after 600 steps .155 to .17 were still missing. Where nobody is paid for information there is
    next to none: a Q that is not trained has its logits near 0. A Q that no optimiser moves, or fakes that are cut off
    from it, have none in the first case too."""
    gan, data = shapes_data()
    _, line = train(gan, data, 1500, 64, seed)
    deaf = dataclasses.replace(gan, categorical_weight=0.0, continuous_weight=0.0)
    _, control = train(deaf, data, 200, 64, seed)
    print("shapes", seed, line, control["monitor/info_categorical_0"])
    assert line["monitor/info_categorical_0"] > np.log(10) - 0.15
    assert control["monitor/info_categorical_0"] < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_categorical_code_of_mnist_is_the_digit(real_data, seed):
    """The authors' recipe, 5,000 updates. The paper reports .95. Two digits that share a code, while another digit has
    two, cost a tenth; that is a local optimum, not a mistake, and the bound allows three of them. Chance is .1, and a
    generator that hides the code where data has nothing stays near it while its information is complete."""
    path = str(real_data / "tensorflow_datasets")
    read = {split: TFDS("mnist", split, path).read(np.arange(n)) for split, n in (("train", 60_000), ("test", 10_000))}
    images = {split: jnp.asarray(batch["image"], jnp.float32) / 127.5 - 1.0 for split, batch in read.items()}
    gan = stage("mnist", (28, 28, 1)).gan
    state, line = train(gan, images["train"], 5000, 128, seed)
    recognise = jax.jit(lambda state, images: gan.recognise(state, images).categorical[0].argmax(axis=-1))
    codes = np.concatenate([recognise(state, images["test"][i : i + 1000]) for i in range(0, 10_000, 1000)])
    found = matched_accuracy(codes, read["test"]["label"], 10)
    print("mnist", seed, found.accuracy, dict(enumerate(found.label.tolist())), line)
    assert line["monitor/info_categorical_0"] > 2.2
    assert found.accuracy > 0.6
