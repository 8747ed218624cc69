"""DiscoGAN: parameters, exact losses, whose turn it is, the curriculum, and relations that are one to one."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from gan_jax import contract, losses
from gan_jax.data import datasets, transforms
from gan_jax.data.worlds import Shapes
from gan_jax.data.worlds.shapes import COLOURS
from gan_jax.errors import InputError
from gan_jax.gans import cyclegan, discogan
from gan_jax.metrics import readers
from gan_jax.nets import translator
from tests import experiments


def load(variant="smoke", data=None, **changes):
    config = experiments.get_config("discogan", variant)
    config.model.update(changes)
    config.data.update(data or {})
    return contract.load(datasets.resolve(config))[0].gan


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("code", "count"), [(0, 5_513_856), (100, 7_153_480)])
def test_the_papers_translators(code, count):
    x = jnp.zeros((2, 64, 64, 3))
    module = discogan.Autoencoder(3, code=code)
    made, variables = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), x, train=True))
    assert (made.shape, made.dtype) == (x.shape, jnp.float32)
    assert size(variables["params"]) == count


def test_the_papers_discriminator():
    x = jnp.zeros((2, 64, 64, 3))
    module = discogan.Discriminator()
    opinion, variables = jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), x, train=True))
    assert size(variables["params"]) == 2_765_568
    assert [layer.shape for layer in opinion.features] == [(2, 16, 16, 128), (2, 8, 8, 256), (2, 4, 4, 512)]
    assert opinion.logits.shape == (2,)


def test_networks_see_images_from_black_to_white_as_0_to_1():
    """Without biases a black image is nothing to the first layer; kernels start within 1 / sqrt(fan-in)."""
    encoder = discogan.Encoder(4)
    variables = encoder.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)), train=False)
    black = encoder.apply(variables, jnp.full((1, 16, 16, 3), -1.0), train=False)
    assert not any(np.asarray(layer).any() for layer in black)
    kernel = np.abs(variables["params"]["Conv_0"]["kernel"])
    assert 0.9 < kernel.max() * (4 * 4 * 3) ** 0.5 <= 1.0


# ---------------------------------------------------------------------------------------------------------- losses


class Says(nn.Module):
    """Logits that are one parameter, and features that are the image and its half."""

    logit: float = 0.0

    @nn.compact
    def __call__(self, x, *, train):
        said = jnp.zeros(x.shape[0]) + self.param("logit", nn.initializers.constant(self.logit), ())
        return discogan.Opinion(said, (x, x / 2))


class Shifted(nn.Module):
    """Its input, brighter by one parameter."""

    by: float

    @nn.compact
    def __call__(self, x, *, train):
        return x + self.param("shift", nn.initializers.constant(self.by), ())


def game(logit=0.0, to_a=0.0, to_b=0.0, **changes):
    fields = {
        "translators": translator.Both(a=Shifted(to_a), b=Shifted(to_b)),
        "critics": translator.Both(a=Says(logit), b=Says(logit)),
        "g_tx": optax.sgd(0.1),
        "d_tx": optax.sgd(0.1),
        "loss": losses.scaled(losses.build("non_saturating"), d=0.5),
    }
    return discogan.DiscoGAN(**(fields | changes))


def batch(seed=0, side=8, count=4):
    drawn = np.random.default_rng(seed).uniform(-0.5, 0.5, (2, count, side, side, 3)).astype(np.float32)
    return {"a": jnp.asarray(drawn[0]), "b": jnp.asarray(drawn[1])}


def same_in_both():
    return {"a": batch()["a"], "b": batch()["a"]}


def paid(made, images, number=0):
    """What discriminators and translators pay for a minibatch of this number, and the translators' metrics."""
    state = made.init(jax.random.key(0), images)
    r = made.rate_at(jnp.int32(number))
    g, (_, metrics) = made.generator_loss(state, images, r, state.g.params)
    return float(made.discriminator_loss(state, images, state.d.params)[0]), float(g), metrics


def test_losses_of_undecided_discriminators():
    """Log 2 for each domain's discriminator, and .99 x .1 x log 2 for each translator where nothing else is lost."""
    d, g, _ = paid(game(), same_in_both())
    assert d == pytest.approx(1.386294, abs=1e-5)
    assert g == pytest.approx(2 * 0.0686216, abs=1e-6)
    d, g, _ = paid(game(directions=("b",)), same_in_both())
    assert d == pytest.approx(0.693147, abs=1e-6)
    assert g == pytest.approx(0.0686216, abs=1e-6)


def test_what_translators_pay_for_shifts():
    """To B adds .2 and to A takes .6: features differ by that and by half of it, and both ways around .4 is lost, which
    is .2 of images in [0, 1]."""
    _, g, metrics = paid(game(to_a=-0.6, to_b=0.2), same_in_both(), 20_000)
    features = (0.6**2 + 0.3**2) + (0.2**2 + 0.1**2)
    assert float(metrics["loss/features"]) == pytest.approx(features, rel=1e-4)
    assert float(metrics["loss/reconstruction"]) == pytest.approx(2 * 0.2**2, rel=1e-4)
    assert g == pytest.approx(0.5 * (0.1 * 2 * 0.693147 + 0.9 * features) + 0.5 * 2 * 0.2**2, rel=1e-4)
    _, plain, _ = paid(game(to_a=-0.6, to_b=0.2, starting_rate=0.0, directions=("b",)), same_in_both())
    assert plain == pytest.approx(0.1 * 0.693147 + 0.9 * (0.2**2 + 0.1**2), rel=1e-4)


def test_features_are_averaged_over_the_batch_first():
    def opinion(*values):
        return discogan.Opinion(jnp.zeros(2), tuple(jnp.asarray(value, jnp.float32) for value in values))

    ones, threes = [np.ones((2, 4, 4, 8))] * 3, [np.full((2, 4, 4, 8), 3.0)] * 3
    assert float(discogan.matching(opinion(*ones), opinion(*threes))) == pytest.approx(12.0)
    assert float(discogan.matching(opinion([0.0, 2.0]), opinion([1.0, 1.0]))) == 0.0


def test_the_curriculum():
    made = load("celeba", data={"name": "red_to_blue"})
    found = [float(made.rate_at(jnp.int32(number))) for number in (0, 9_999, 10_000, 50_000)]
    assert found == pytest.approx([0.01, 0.01, 0.5, 0.5])
    assert float(load("handbags2shoes", data={"name": "red_to_blue"}).rate_at(jnp.int32(0))) == 0.5


def minibatches(first=0, count=3):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(batch(first + number) for number in range(count)))


def test_minibatches_are_counted_within_steps():
    """The rates of the five minibatches 0 to 5 are those of moves d, g, g, d, g, g; from 4 on only the way back counts,
    which in these games is perfect, so that nothing moves any more."""
    made = game(0.3, 0.2, -0.2, starting_rate=0.0, rate=1.0, curriculum=4)
    state = made.init(jax.random.key(0), batch())
    after, _ = jax.jit(made.train_step)(state, minibatches(), jax.random.key(0))
    assert not same(after.g.params, state.g.params)
    later, _ = jax.jit(made.train_step)(state.replace(step=jnp.int32(1)), minibatches(), jax.random.key(0))
    assert same(later.g.params, state.g.params)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_the_first_minibatch_is_the_discriminators_and_the_others_are_the_translators():
    """Each move is made on a minibatch of its own; the discriminators' is the first, which translators then meet."""
    made = game(0.3, 0.1, 0.2, features=0.0)  # what says nothing of images moves alike on all of them
    step = jax.jit(dataclasses.replace(made, features=0.9).train_step)
    state, given = made.init(jax.random.key(0), batch()), minibatches()
    after, _ = step(state, given, jax.random.key(0))
    assert int(after.step) == 1
    for number in range(3):
        other = {"a": given["a"].at[number].add(0.1), "b": given["b"]}
        changed, _ = step(state, other, jax.random.key(0))
        assert same(changed.g.params, after.g.params) == (number == 0)
    moves = {}
    for still in ("g_tx", "d_tx"):
        kept = dataclasses.replace(made, features=0.9, **{still: optax.sgd(0.0)})
        moves[still], _ = jax.jit(kept.train_step)(state, given, jax.random.key(0))
    assert same(moves["g_tx"].g.params, state.g.params)
    assert same(moves["d_tx"].d.params, state.d.params)
    assert same(moves["g_tx"].d.params, after.d.params)  # the discriminators move first


def test_one_direction_leaves_the_other_discriminator_alone():
    made = game(0.3, 0.1, 0.2, directions=("b",))
    state = made.init(jax.random.key(0), batch())
    after, metrics = jax.jit(made.train_step)(state, minibatches(), jax.random.key(0))
    assert not same(after.d.params["b"], state.d.params["b"])
    assert same(after.d.params["a"], state.d.params["a"])
    assert {name for name in metrics if name.startswith("score")} == {"score/real_b", "score/fake_b"}
    assert not same(after.g.params["a"], state.g.params["a"])  # the way back still learns to find back


@pytest.fixture(scope="module")
def smoke():
    made = load()
    images = batch(3, side=16)
    state = jax.jit(made.init)(jax.random.key(0), images)
    return made, state, images


def test_samples_translate_both_ways_and_do_not_depend_on_their_neighbours(smoke):
    made, state, images = smoke
    sample = jax.jit(made.sample)
    found = sample(state, images, jax.random.key(0))
    assert {name: image.shape for name, image in found.items()} == {"a": (4, 16, 16, 3), "b": (4, 16, 16, 3)}
    other = images | {"a": images["a"].at[1:].set(0.0)}
    changed = sample(state, other, jax.random.key(0))
    np.testing.assert_array_equal(found["a"], changed["a"])
    np.testing.assert_allclose(found["b"][0], changed["b"][0], atol=1e-6)
    together = jax.jit(dataclasses.replace(made, sampled_in_training=True).sample)
    first, second = (together(state, images, jax.random.key(0))["b"][0] for images in (images, other))
    assert np.abs(first - second).max() > 1e-4


def test_running_statistics_are_those_of_images(smoke):
    """The translators' second pass, through translations, leaves no trace in them."""
    made, state, images = smoke

    @jax.jit
    def both(state):
        _, (after, _) = made.generator_loss(state, images, jnp.float32(0.5), state.g.params)
        return after, contract.apply(made.translators, state.g, cyclegan.crossed(images), train=True)[1]

    for a, b in zip(*map(jax.tree.leaves, both(state)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_papers_settings():
    for variant, code, rate in (("celeba", 0, 0.5), ("edges2shoes", 0, 0.5), ("cars2faces", 100, 0.9)):
        config = experiments.get_config("discogan", variant)
        assert (config.batch_size, config.data.resolution, config.model.g_width) == (64, 64, 64)
        assert (config.model.code, config.model.rate, config.model.features) == (code, rate, 0.9)
        for section in (config.model.g_optimizer, config.model.d_optimizer):
            assert (section.name, section.learning_rate, section.b1, section.b2) == ("adam", 2e-4, 0.5, 0.999)
            assert section.l2 == 1e-5


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        ({"name": "shapes"}, {}, "config.gan='discogan' translates between two domains, and 'shapes' is one"),
        ({"resolution": 12}, {}, r"DiscoGAN halves images at least twice.*\(16, 16\)"),
        ({}, {"features": 1.5}, r"config\.model\.features=1\.5 is a share"),
        ({}, {"rate": -0.1}, r"config\.model\.rate=-0\.1 is a share"),
        ({}, {"rounds": 1}, r"config\.model\.rounds=1 must be at least 2"),
        ({}, {"directions": "a"}, r"directions.*Choices: a_to_b, both"),
    ],
)
def test_mistakes(data, changes, message):
    with pytest.raises(InputError, match=message):
        load(data=data, **changes)


def test_other_sizes():
    made = load(data={"resolution": (16, 24)})
    x = jax.ShapeDtypeStruct((2, 16, 24, 3), jnp.float32)
    state = jax.eval_shape(made.init, jax.random.key(0), {"a": x, "b": x})
    assert jax.eval_shape(made.sample, state, {"a": x, "b": x}, jax.random.key(0))["b"].shape == x.shape


# ------------------------------------------------------------------------------------------------------------ toys

DRAWN = {"only": ("circle", "square", "triangle"), "backgrounds": ("grey",)}


def collections(count: int, seed: int):
    """Red shapes `a`, others that are blue `b`, in [-1, 1]."""

    def drawn(colour, seed):
        found = Shapes((32, 32), seed, colours=(colour,), **DRAWN).read(np.arange(count))["image"]
        return transforms.to_float(jnp.asarray(found))

    return {"a": drawn("red", seed), "b": drawn("blue", ~seed)}


def train(made, moves, seed, images):
    """Yields the state after each of these numbers of steps, on minibatches of 16 drawn from each collection on its
    own. No scan: on CPUs these convolutions are several times slower in one."""

    @jax.jit
    def step(state, images, key):
        a_rng, b_rng, rng = jax.random.split(jax.random.fold_in(key, state.step), 3)
        rows = {
            name: jax.random.randint(own, (made.rounds, 16), 0, len(images[name]))
            for name, own in (("a", a_rng), ("b", b_rng))
        }
        return made.train_step(state, {name: images[name][rows[name]] for name in rows}, rng)[0]

    state = jax.jit(made.init)(jax.random.key(seed), jax.tree.map(lambda leaf: leaf[:16], images))
    for number in range(1, moves[-1] + 1):
        state = step(state, images, jax.random.key(seed + 1000))
        if number in moves:
            yield state


class Found(NamedTuple):
    """What a reader makes of held-out images and their translations, means of both ways."""

    error: float  # squared, of the round trip
    right: float  # share of translations that have the other domain's colour
    kept: float  # R^2 of places after the round trip
    moved: float  # R^2 of places after a translation


def judged(made, state, seed):
    images = collections(256, 1000 + seed)
    sample, reader = jax.jit(made.sample), readers.shapes_reader(only=DRAWN["only"])
    found = sample(state, images, jax.random.key(0))
    again = sample(state, found, jax.random.key(0))
    read = [
        {name: reader.predict(np.asarray(transforms.to_uint8(shown[name]))) for name in ("a", "b")}
        for shown in (images, found, again)
    ]
    before, there, back = ({name: values["centre"] for name, values in seen.items()} for seen in read)
    return Found(
        error=np.mean([float(discogan.reconstruction(again[name], images[name])) for name in images]),
        right=np.mean(
            [read[1]["a"]["colour"] == COLOURS.index("red"), read[1]["b"]["colour"] == COLOURS.index("blue")]
        ),
        kept=np.mean([readers.score(back[name], before[name]) for name in before]),
        moved=np.mean([readers.score(there["a"], before["b"]), readers.score(there["b"], before["a"])]),
    )


@functools.cache
def played(seed, **changes):
    """What is found after 300, 600 and 1,000 minibatches."""
    made, images = load("default", data={"size": 16}, **changes), collections(2000, seed)
    return [judged(made, state, seed) for state in train(made, [100, 200, 333], seed, images)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_relation_is_one_to_one(seed):
    """1,000 minibatches of 16 at width 16, of which the first 300 hardly ask for the way back. Whether a translation
    leaves a shape in its place is not asked: no part of the game says so (printed, R^2). That the round trip does is: a
    relation that is one to one can be undone. Bars: the sheet's .03 for the squared error, .95 for the domain, and half
    of the error at the end of the curriculum when twice as many have passed; .9 for the R^2 of places."""
    switch, twice, last = played(seed)
    print(f"seed {seed}: at 300 {switch}, at 600 {twice}, at 1,000 {last}")
    assert twice.error <= switch.error / 2
    assert last.error < 0.03
    assert last.right >= 0.95
    assert last.kept >= 0.9


@pytest.mark.slow
def test_without_the_way_back_it_is_not():
    """Adversaries and features alone (r = 0): the round trip loses at least twice as much (4.2 times in PyTorch, after
    1,500 minibatches). Here they have not found the other colour either by then: to discriminators without biases and
    with batch norm, images that are all darker by one factor are the same, and it is the way back that puts this right.
    """
    whole, alone = played(0)[-1], played(0, starting_rate=0.0, rate=0.0)[-1]
    print(f"with the way back {whole}, without {alone}")
    assert alone.error > 2 * whole.error
    assert alone.kept < 0.5 < whole.kept
