"""CycleGAN: exact losses, who moves whom, pools, the schedule, and what a translation must keep."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from gan_jax import contract, losses, tricks
from gan_jax.data import datasets, transforms
from gan_jax.data.worlds import Shapes
from gan_jax.errors import InputError
from gan_jax.gans import cyclegan
from gan_jax.metrics import readers
from gan_jax.nets import translator
from tests import experiments


def load(variant="smoke", data=None, **changes):
    config = experiments.get_config("cyclegan", variant)
    config.model.update(changes)
    config.data.update(data or {})
    return contract.load(datasets.resolve(config))[0].gan


class Says(nn.Module):
    """Logits [B, 2, 2] that are one parameter, whatever is seen."""

    value: float = 0.0

    @nn.compact
    def __call__(self, x, *, train):
        return jnp.zeros((x.shape[0], 2, 2)) + self.param("logit", nn.initializers.constant(self.value), ())


class Shifted(nn.Module):
    """Its input, brighter by one parameter."""

    by: float

    @nn.compact
    def __call__(self, x, *, train):
        return x + self.param("shift", nn.initializers.constant(self.by), ())


def game(logit=0.0, **changes):
    fields = {
        "translators": translator.Both(a=Shifted(-0.3), b=Shifted(0.1)),
        "critics": translator.Both(a=Says(logit), b=Says(logit)),
        "g_tx": optax.sgd(0.0),
        "d_tx": optax.sgd(0.0),
        "loss": losses.scaled(losses.build("least_squares"), g=2.0),
    }
    return cyclegan.CycleGAN(**(fields | changes))


def batch(seed=0, side=8, count=4):
    drawn = np.random.default_rng(seed).uniform(-0.5, 0.5, (2, count, side, side, 3)).astype(np.float32)
    return {"a": jnp.asarray(drawn[0]), "b": jnp.asarray(drawn[1])}


@pytest.mark.parametrize(("logit", "g", "d"), [(0.0, 1.0, 0.5), (0.5, 0.25, 0.25), (1.0, 0.0, 0.5)])
def test_losses_of_discriminators_that_say_one_thing(logit, g, d):
    """For each direction; metrics hold the sum of both."""
    made = game(logit)
    state = made.init(jax.random.key(0), batch())
    _, metrics = jax.jit(made.train_step)(state, batch(), jax.random.key(1))
    assert float(metrics["loss/g"]) == pytest.approx(2 * g, abs=1e-6)
    assert float(metrics["loss/d"]) == pytest.approx(2 * d, abs=1e-6)
    # to B adds .1 and to A takes .3, so both ways around .2 is lost; where they are already images move by .1 and .3
    assert float(metrics["loss/cycle"]) == pytest.approx(0.2 + 0.2, rel=1e-4)
    assert float(metrics["loss/identity"]) == pytest.approx(0.1 + 0.3, rel=1e-4)


def test_weights_of_what_the_translators_pay():
    """An identity loss of .2 counts 10 x .5 x .2 = 1; it is not computed where its weight is 0."""
    made = game(translators=translator.Both(a=Shifted(-0.2), b=Shifted(0.2)))
    state = made.init(jax.random.key(0), batch())
    paid = {}
    for name, changes in {
        "all": {},
        "no cycle": {"cycle": 0.0},
        "no identity": {"identity_loss": cyclegan.nothing},
    }.items():
        played = dataclasses.replace(made, **changes)
        paid[name] = float(played.generator_loss(state, batch(), state.g.params)[0])
    assert paid == pytest.approx({"all": 2.0 + 10 * 0.5 * 0.4, "no cycle": 2.0, "no identity": 2.0}, rel=1e-4)
    assert load(identity=0.0).identity_loss is cyclegan.nothing
    costs = {}
    for identity in (0.0, 0.5):
        played = load(identity=identity)
        lowered = jax.jit(played.train_step).lower(
            jax.eval_shape(played.init, jax.random.key(0), batch()), batch(), jax.random.key(1)
        )
        costs[identity] = lowered.as_text().count("stablehlo.convolution")
    assert costs[0.5] > costs[0.0] * 1.15


@pytest.fixture(scope="module")
def smoke():
    made = load(pool=8)
    state = jax.jit(made.init)(jax.random.key(0), batch(3))
    return made, state, jax.jit(made.train_step), jax.jit(made.sample)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_discriminators_are_shown_what_the_translators_made_before_they_moved(smoke):
    """In an empty pool the first translations are stored as they are: those of the old parameters."""
    _, state, step, sample = smoke
    after, _ = step(state, batch(3), jax.random.key(1))
    before = sample(state, batch(3), jax.random.key(2))
    for name, pool in after.memory.items():
        np.testing.assert_allclose(pool.samples[:4], before[name], atol=1e-5)
        assert int(pool.filled) == 4
        assert not pool.samples[4:].any()
    assert not same(after.g.params, state.g.params)
    assert not same(after.d.params, state.d.params)


@pytest.mark.parametrize("still", ["g_tx", "d_tx"])
def test_neither_move_touches_the_other_player(still):
    made = dataclasses.replace(game(0.3, g_tx=optax.sgd(0.1), d_tx=optax.sgd(0.1)), **{still: optax.sgd(0.0)})
    state = made.init(jax.random.key(0), batch())
    after, _ = jax.jit(made.train_step)(state, batch(), jax.random.key(1))
    player, other = ("g", "d") if still == "g_tx" else ("d", "g")
    assert same(getattr(after, player).params, getattr(state, player).params)
    assert not same(getattr(after, other).params, getattr(state, other).params)


def test_the_translators_meet_the_discriminators_before_they_move():
    """With a fixed rate the translators' gradient does not know the rate of the discriminators."""
    moved = [
        jax.jit(made.train_step)(made.init(jax.random.key(0), batch()), batch(), jax.random.key(1))[0].g.params
        for made in (game(0.3, g_tx=optax.sgd(0.1), d_tx=optax.sgd(rate)) for rate in (0.0, 0.5))
    ]
    assert same(*moved)


def test_the_pools_of_the_domains_are_independent():
    made = game(replay=tricks.replay(4, 0.5), translators=translator.Both(a=Shifted(0.0), b=Shifted(0.0)))
    step = jax.jit(made.train_step)
    state = made.init(jax.random.key(0), batch())
    kept = []
    for number in range(12):
        state, _ = step(state, batch(number), jax.random.key(number))
        images = batch(number)
        entered = {
            name: [
                any(np.allclose(slot, image, atol=1e-6) for slot in np.asarray(state.memory[name].samples))
                for image in images["b" if name == "a" else "a"]
            ]
            for name in ("a", "b")
        }
        kept += [pair for pair in zip(entered["a"], entered["b"], strict=True) if number > 0]
    kept = np.array(kept)
    assert 0 < kept.mean() < 1
    assert 0.2 < (kept[:, 0] == kept[:, 1]).mean() < 0.8  # of 44 pairs; four deviations are .3


def test_samples_translate_both_ways(smoke):
    _, state, _, sample = smoke
    found = sample(state, batch(3), jax.random.key(0))
    assert {name: images.shape for name, images in found.items()} == {"a": (4, 8, 8, 3), "b": (4, 8, 8, 3)}
    other = batch(3) | {"b": batch(4)["b"]}
    changed = sample(state, other, jax.random.key(0))
    np.testing.assert_array_equal(found["b"], changed["b"])  # made of `a` alone
    assert np.abs(found["a"] - changed["a"]).max() > 1e-4


@pytest.mark.parametrize(("variant", "epoch"), [("horse2zebra", 1334), ("cityscapes", 2975)])
def test_rates_stay_for_a_hundred_epochs_and_fall_for_a_hundred(variant, epoch):
    config = experiments.get_config("cyclegan", variant)
    assert config.steps == 200 * epoch
    for section in (config.model.g_optimizer, config.model.d_optimizer):
        rate = optax.linear_schedule(section.learning_rate, 0.0, section.decay_steps, section.decay_begin)
        found = [float(rate(epoch * number)) for number in (0, 99, 100, 150, 199)]
        np.testing.assert_allclose(found, [2e-4, 2e-4, 1.9802e-4, 9.90e-5, 1.98e-6], rtol=1e-3)


def test_the_papers_settings(real_data):
    config = experiments.get_config("cyclegan", "horse2zebra")
    assert (config.data.resolution, config.data.options.enlarged, config.model.blocks) == (256, 286, 9)
    config = experiments.get_config("cyclegan", "facades128")
    assert (config.data.resolution, config.data.options.enlarged, config.model.blocks) == (128, 143, 6)
    made = load("facades128", data={"path": str(real_data / "unpaired/facades128")})
    x = jax.ShapeDtypeStruct((1, 128, 128, 3), jnp.float32)
    state = jax.eval_shape(made.init, jax.random.key(0), {"a": x, "b": x})
    assert [sum(leaf.size for leaf in jax.tree.leaves(net.params)) for net in (state.g, state.d)] == [
        2 * 7_837_699,
        2 * 2_764_737,
    ]
    assert state.memory["a"].samples.shape == (50, 128, 128, 3)


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        ({"name": "shapes"}, {}, "translates between two domains, and 'shapes' is one"),
        ({"resolution": 10}, {}, r"a residual translator takes multiples of 4.*\(8, 8\)"),
        ({"resolution": 25}, {"nets": "unet"}, "a U-Net halves"),
        ({}, {"nets": "resnets"}, r"translators.*Did you mean 'resnet'"),
        ({}, {"patch": 34}, r"config\.model\.patch=34 is for larger images than 8x8: at most 16"),
        ({}, {"pool": -1}, r"config\.model\.pool=-1 must be 0 \(nothing\) or more"),
    ],
)
def test_mistakes(data, changes, message):
    with pytest.raises(InputError, match=message):
        load(data=data, **changes)


def test_unets_may_translate():
    made = load(nets="unet", data={"resolution": 16})
    x = jax.ShapeDtypeStruct((1, 16, 16, 3), jnp.float32)
    state = jax.eval_shape(made.init, jax.random.key(0), {"a": x, "b": x})
    assert not state.g.stats
    assert jax.eval_shape(made.sample, state, {"a": x, "b": x}, jax.random.key(0))["b"].shape == x.shape


# ------------------------------------------------------------------------------------------------------------ toys

SHAPES = {"only": ("circle", "square", "triangle"), "backgrounds": ("grey",)}
RED_TO_BLUE = {"a": SHAPES | {"colours": ("red",)}, "b": SHAPES | {"colours": ("blue",)}}


def collections(count: int, seed: int, drawn):
    """Images of both domains, of other records, in [-1, 1]."""
    found = {
        name: Shapes((32, 32), own, **drawn[name]).read(np.arange(count)) for name, own in (("a", seed), ("b", ~seed))
    }
    return {name: transforms.to_float(jnp.asarray(read["image"])) for name, read in found.items()}


def train(made, steps, seed, images):
    """The state after so many steps on minibatches of 4, drawn from each collection on its own. No scan: on CPUs these
    convolutions are several times slower in one."""

    @jax.jit
    def step(state, images, key):
        a_rng, b_rng, rng = jax.random.split(jax.random.fold_in(key, state.step), 3)
        rows = {name: jax.random.randint(own, (4,), 0, len(images[name])) for name, own in (("a", a_rng), ("b", b_rng))}
        return made.train_step(state, {name: images[name][rows[name]] for name in rows}, rng)[0]

    state = jax.jit(made.init)(jax.random.key(seed), jax.tree.map(lambda leaf: leaf[:4], images))
    for _ in range(steps):
        state = step(state, images, jax.random.key(seed + 1000))
    return state


class Found(NamedTuple):
    """What a reader makes of 128 held-out images of each domain and their translations; means of both ways."""

    cycle: float  # L1 of the round trip
    domain: float  # share of translations that are of the other domain
    kept: dict[str, float]  # of the class or the colour the share, of centre and radius R^2


def judged(made, state, seed, drawn, changed):
    """`changed` is the attribute that tells the domains apart."""
    images, sample = collections(128, 1000 + seed, drawn), jax.jit(made.sample)
    reader = readers.shapes_reader(only=tuple(dict.fromkeys(drawn["a"]["only"] + drawn["b"]["only"])))
    found = sample(state, images, jax.random.key(0))
    again = sample(state, found, jax.random.key(0))
    before, after = (
        {name: reader.predict(np.asarray(transforms.to_uint8(shown[name]))) for name in ("a", "b")}
        for shown in (images, found)
    )

    def kept(field):
        return np.mean([readers.score(after[name][field], before[other][field]) for name, other in ("ab", "ba")])

    wanted = {name: before[name][changed][0] for name in before}  # all are alike in it
    assert all((before[name][changed] == wanted[name]).all() for name in before)
    return Found(
        cycle=float(cyclegan.distance(again, images)) / 2,
        domain=np.mean([np.mean(after[name][changed] == wanted[name]) for name in after]),
        kept={field: float(kept(field)) for field in ("label", "colour", "centre", "radius") if field != changed},
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_red_becomes_blue_and_back_and_shapes_stay_what_and_where_they_are(seed):
    """800 steps of batch 4, no identity loss. Calibrated by the same networks in PyTorch, one seed: a cycle of .032
    after 500 (here .0398, seed 0) and .019 after 1,000, all colours right, an IoU of .81; at the start the cycle is
    about the mean of |x|. Places that are off by a pixel or two, which leaves such an IoU, have an R^2 of .9.

    Without the way back the discriminators still bring the colours, and what was there is found again half as well, or
    worse (in PyTorch .202 instead of .093 on a harder set; 1.5 times is asked for): shapes become any shape of any
    size. Bars for these lie halfway between what seed 0 had with and without: classes .99 and .46, radii .99 and .04.
    """
    images = collections(2000, seed, RED_TO_BLUE)
    whole, alone = (
        judged(made, train(made, 800, seed, images), seed, RED_TO_BLUE, "colour")
        for made in (load("default", data={"size": 16}, cycle=weight) for weight in (10.0, 0.0))
    )
    print(f"seed {seed}: with the way back {whole}, without {alone}")
    assert whole.cycle < 0.04
    assert min(whole.domain, whole.kept["label"]) >= 0.95
    assert min(whole.kept["centre"], whole.kept["radius"]) >= 0.9
    assert alone.cycle > 1.5 * whole.cycle
    assert alone.domain >= 0.95
    assert alone.kept["label"] < 0.72
    assert alone.kept["radius"] < 0.51


CIRCLES_TO_SQUARES = {
    name: {"only": (shape,), "backgrounds": ("grey",)} for name, shape in (("a", "circle"), ("b", "square"))
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_circles_become_squares_of_their_colour_and_back(seed):
    """4,000 steps of batch 4, with the identity loss. After 400 steps of seed 0 .14 of the colours were kept (chance is
    .13), after 1,600 all of them; .47, .63, .97 of the shapes were of the other class after 400, 1,600 and 4,000."""
    made = load("squares", data={"size": 16})
    state = train(made, 4_000, seed, collections(2000, seed, CIRCLES_TO_SQUARES))
    found = judged(made, state, seed, CIRCLES_TO_SQUARES, "label")
    print(f"seed {seed}: {found}")
    assert found.cycle < 0.04
    assert found.domain >= 0.9
    assert min(found.kept.values()) >= 0.9
