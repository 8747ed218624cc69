"""What lines of the log say of a game, and that warnings are given where one has failed and nowhere else."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from gan_jax import config as base
from gan_jax import latents, parallel
from gan_jax.analysis import restore
from gan_jax.contract import Judge, Stage, count, load
from gan_jax.data import datasets
from gan_jax.train import diagnostics
from gan_jax.train import step as compiled
from gan_jax.train.diagnostics import EARLY, LASTING, SPAN, Diagnostics
from gan_jax.train.writer import Progress
from tests import experiments, test_resume

NOWHERE = pathlib.Path("does-not-exist")

# ------------------------------------------------------------------------------------------------------- measures


@struct.dataclass
class Stubbed:
    step: jax.Array
    spread: jax.Array


@dataclasses.dataclass(frozen=True)
class Stub:
    """Samples are normal about 0, as wide as the state says; the critic knows where the ring is."""

    rounds: int = 1

    def init(self, rng, batch):
        return Stubbed(jnp.int32(0), jnp.float32(0.1))

    def train_step(self, state, batch, rng):
        return state, {}

    def sample(self, state, batch, rng):
        return state.spread * latents.normal(rng, count(batch), 2)

    def score(self, state, examples, batch):
        return -jnp.abs(jnp.linalg.norm(examples, axis=1) - 1.4144)


class Labelled(Stub):
    """Its critic looks for the mode that it is told."""

    def score(self, state, examples, batch):
        angles = 2 * jnp.pi * batch["label"].astype(jnp.float32) / 8
        centres = 1.4144 * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
        return -jnp.linalg.norm(examples - centres, axis=1)


def ask(gan, spread=0.1, devices=8, **data):
    """What the diagnostics find in a stub."""
    config = experiments.get_config("gan")
    config.update({"log_every": 100, "data": data})
    config = datasets.resolve(config)
    mesh = parallel.make_mesh({"data": -1}, jax.devices()[:devices])
    with jax.set_mesh(mesh):
        key = compiled.root_key(0, mesh)
        state = parallel.replicate(Stubbed(np.int32(0), np.float32(spread)), mesh)
        return Diagnostics(config, Stage("stub", gan, 100, 64), 0, state, key, mesh, NOWHERE)(state, {})


def test_diversity_is_that_of_samples_over_that_of_the_data():
    """The mean distance of two points of N(0, s^2) in the plane is s sqrt(pi); that of the ring is counted out."""
    points = datasets.open(datasets.resolve(experiments.get_config("gan")).data).read(np.arange(1000))["point"]
    ring = np.linalg.norm(points[:, None] - points, axis=-1).sum() / (1000 * 999)
    for spread in (0.1, 1.0):
        found = ask(Stub(), spread)
        assert found["diversity/samples"] == pytest.approx(spread * np.sqrt(np.pi) / ring, rel=0.1)


def test_accuracy_is_that_of_the_critic_on_pairs():
    found = ask(Stub())
    assert found.keys() == {"diversity/samples", "accuracy/train", "accuracy/held_out"}
    assert found["accuracy/train"] == found["accuracy/held_out"] == 1.0
    seen = {"train": np.array([3.0, 1.0]), "held_out": np.array([0.0, 2.0]), "fake": np.array([0.0, 2.0])}
    measured = diagnostics.measures({**seen, "diversity": np.array(0.5)})
    assert measured == {"diversity/samples": 0.5, "accuracy/train": 0.75, "accuracy/held_out": 0.5}
    scaled = diagnostics.measures({name: 1e6 * scores - 1e9 for name, scores in seen.items()})
    assert scaled == {"accuracy/train": 0.75, "accuracy/held_out": 0.5}


def test_what_is_not_a_number_is_left_out():
    assert diagnostics.measures({"diversity": np.array(np.nan)}) == {}
    scores = {"train": np.array([np.nan]), "fake": np.array([1.0]), "diversity": np.array(np.inf)}
    assert diagnostics.measures(scores) == {}


def test_a_gan_that_gives_no_scores():
    @dataclasses.dataclass(frozen=True)
    class Silent:
        rounds: int = 1
        init, train_step, sample = Stub.init, Stub.train_step, Stub.sample

    assert not isinstance(Silent(), Judge)
    assert ask(Silent()).keys() == {"diversity/samples"}


def test_examples_go_with_their_own_labels():
    """With any others, or none, the critic would find most examples far from the mode that it looks for."""
    assert ask(Labelled())["accuracy/train"] > 0.99


def test_a_number_of_devices_that_does_not_divide_the_examples():
    three, eight = ask(Stub(), 1.0, devices=3), ask(Stub(), 1.0)
    assert three == pytest.approx(eight, rel=1e-5)


def test_fewer_records_than_would_be_looked_at():
    assert ask(Stub(), size=20)["accuracy/train"] == 1.0


def test_how_many_examples_a_step_can_afford():
    known = {(256, 200): 256, (64, 100): 256, (64, 50): 128, (64, 2): 32, (1, 100): 16, (4096, 10): 256}
    assert {key: diagnostics.affordable(*key) for key in known} == known


def opened(name, **changes):
    run = experiments.open_run(name, **changes)
    with jax.set_mesh(run.mesh):
        state = run.begin()
        return run, state, Diagnostics(run.config, run.stage, 0, state, run.key, run.mesh, NOWHERE)


def stored(count, example, domain):
    """The shapes of `count` examples as a population holds them: images in bytes."""
    kept = {"image": "uint8"}.get(domain, "float32")
    return {
        name: jax.ShapeDtypeStruct((count, *leaf.shape), kept if name == domain else leaf.dtype)
        for name, leaf in example.items()
    }


@experiments.every(pytest.mark.battery)
def test_every_gan_is_asked(name):
    """Shapes alone are traced: `test_resume.py` trains each of them with its diagnostics."""
    run = experiments.open_run(name)
    config = restore.stage_config(run.config, run.stage)
    batch = stored(16, restore.example_spec(config), config.data.domain)
    with jax.set_mesh(run.mesh):
        seen = jax.eval_shape(
            lambda *arguments: diagnostics.look(run.stage.gan, *arguments, config.data.domain, 12, run.key),
            run.abstract(),
            {"train": batch, "held_out": batch},
        )
    scores = {"train", "held_out", "fake"} if isinstance(run.stage.gan, Judge) else set()
    assert seen.keys() == {"diversity", *scores}
    assert all(seen[score].shape == (12,) and seen[score].dtype == "float32" for score in scores)


def test_the_same_examples_and_latents_every_time():
    _, state, diagnose = opened("gan")
    with jax.transfer_guard("disallow"):
        found = diagnose(state, {})
    assert found.keys() == {"diversity/samples", "accuracy/train", "accuracy/held_out"}
    assert diagnose(state, {}) == found


def test_nothing_is_asked_where_it_is_not_wanted():
    _, state, diagnose = opened("gan", diagnose=False)
    assert diagnose(state, {"loss/d": 0.0}) == {}


def test_classes_of_images():
    data = base.data(name="shapes", resolution=16, size=64)
    run = experiments.get_config("gan")
    run.data = data
    run.model.conditional = True
    config = datasets.resolve(run)
    mesh = parallel.make_mesh(config.mesh)
    (stage,) = load(config)
    with jax.set_mesh(mesh):
        key, spec = compiled.root_key(0, mesh), restore.batch_spec(config, stage, mesh)
        batch = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype, device=leaf.sharding), spec)
        state = compiled.begin(stage.gan, key, batch, 0, mesh, None)
        found = Diagnostics(config, stage, 0, state, key, mesh, NOWHERE)(state, {})
    assert found.keys() == {"diversity/samples", "accuracy/train", "accuracy/held_out"}


@pytest.mark.parametrize("name", ["gan", "dcgan"])
def test_it_costs_less_than_two_hundredths_of_a_step(name):
    config = datasets.resolve(experiments.get_config(name, "default"))
    mesh = parallel.make_mesh({"data": -1}, jax.devices()[:1])
    (stage,) = load(config)
    with jax.set_mesh(mesh):
        key, spec = compiled.root_key(0, mesh), restore.batch_spec(config, stage, mesh)
        state = compiled.abstract_state(stage.gan, key, spec, mesh)
        examples = diagnostics.affordable(stage.batch_size, config.log_every)
        batch = {name: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for name, leaf in spec.items()}
        one = stored(examples, restore.example_spec(config), config.data.domain)
        domain, batches = config.data.domain, {"train": one, "held_out": one}
        step = jax.jit(stage.gan.train_step).lower(state, batch, key)
        asked = jax.jit(lambda s, b, k: diagnostics.look(stage.gan, s, b, domain, examples, k)).lower(
            state, batches, key
        )
    assert asked.cost_analysis()["flops"] / config.log_every < 0.02 * step.cost_analysis()["flops"]


# ------------------------------------------------------------------------------------------------------- rules


def lines(number, **series):
    """Lines of the log from values that stay, or follow each other."""
    columns = {name.replace("_", "/", 1): np.broadcast_to(values, number) for name, values in series.items()}
    return [{name: float(values[place]) for name, values in columns.items()} for place in range(number)]


def said(history, count=256):
    """For every line, the names of its warnings."""
    every = [diagnostics.warnings(history[: end + 1], count) for end in range(len(history))]
    assert all(isinstance(text, str) and len(text) > 40 for found in every for text in found.values())
    return [{name.removeprefix("warning/") for name in found} for found in every]


def first(history, name, count=256):
    """The line at which a warning begins, counted from 1; 0 if it never does."""
    told = [name in names for names in said(history, count)]
    return told.index(True) + 1 if any(told) else 0


@pytest.mark.parametrize("seed", range(3))
def test_sound_games_are_left_alone(seed):
    rng, n = np.random.default_rng(seed), 120

    def noisy(level, size):
        return level + size * rng.standard_normal(n)

    converged = lines(
        n,
        accuracy_train=noisy(0.55, 0.05),
        accuracy_held_out=noisy(0.54, 0.05),
        diversity_samples=noisy(0.95, 0.05),
        loss_d=noisy(1.3, 0.1),
        grad_g=np.exp(noisy(0, 0.5)),
    )
    easy = np.clip(noisy(0.995, 0.004), 0, 1)  # a Wasserstein critic of images: always right, and none the worse
    critic = lines(
        n,
        accuracy_train=easy,
        accuracy_held_out=easy - 0.01,
        diversity_samples=np.clip(np.linspace(0, 4, n), 0.1, 0.8),  # grey at first, for eight lines
        loss_d=noisy(-5, 1),
        grad_g=np.exp(noisy(0, 1) - np.linspace(0, 2, n)),
    )
    settling = 0.5 + 0.45 * np.exp(-np.arange(n) / 10) * np.cos(np.arange(n))  # swings that die out
    dying = lines(n, accuracy_train=settling, accuracy_held_out=settling, loss_d=noisy(1, 0.5), grad_g=1.0)
    for history in (converged, critic, dying, lines(n, loss_d=0.001, grad_g=1e-9), lines(n)):
        assert not set().union(*said(history))


def test_a_discriminator_that_has_won():
    n = 60
    vanishing = lines(n, accuracy_train=1.0, accuracy_held_out=0.995, loss_d=-3.0, grad_g=np.exp(-np.arange(n) / 2))
    begin = first(vanishing, "won")
    assert EARLY + LASTING <= begin <= 15  # within ten lines of its fall to a fiftieth, exp(-8 / 2)
    assert all("won" in names for names in said(vanishing)[begin:])  # however long it lasts
    assert "0.0%" in diagnostics.warnings(vanishing, 256)["warning/won"]
    solved = lines(n, accuracy_train=1.0, loss_d=1e-3, grad_g=np.linspace(1, 100, n))  # non-saturating
    assert first(solved, "won") == EARLY + LASTING
    for other in (
        lines(n, accuracy_train=0.97, accuracy_held_out=0.97, loss_d=1e-3, grad_g=1.0),  # not always right
        lines(n, accuracy_train=1.0, accuracy_held_out=0.9, loss_d=1e-3, grad_g=1.0),  # only of what it has seen
        lines(n, accuracy_train=1.0, loss_d=0.3, grad_g=np.where(np.arange(n) == 7, 1e4, 1.0)),  # one spike
        lines(n, accuracy_train=np.where(np.arange(n) % LASTING, 1.0, 0.9), loss_d=1e-3, grad_g=1.0),
    ):
        assert first(other, "won") == 0


def test_samples_that_are_alike():
    assert first(lines(30, diversity_samples=0.1), "collapse") == EARLY + LASTING
    fallen = np.where(np.arange(60) < 40, 0.9, 0.05)
    assert first(lines(60, diversity_samples=fallen), "collapse") == 40 + LASTING
    assert "5%" in diagnostics.warnings(lines(60, diversity_samples=fallen), 256)["warning/collapse"]
    recovers = np.where((np.arange(60) > 20) & (np.arange(60) < 30), 0.05, 0.9)
    told = said(lines(60, diversity_samples=recovers))
    assert "collapse" in told[29]
    assert not set().union(*told[30:])
    assert first(lines(60, diversity_samples=0.4), "collapse") == 0


def test_players_that_chase_each_other():
    places = np.arange(60)
    chase = 0.5 + 0.4 * np.sin(places)  # six or seven lines from top to top
    assert first(lines(60, accuracy_train=chase), "oscillation") == EARLY + SPAN
    growing = 0.5 + 0.4 * np.minimum(places / 40, 1) * np.sin(places)
    assert EARLY + SPAN < first(lines(60, accuracy_train=growing), "oscillation") < 50
    for other in (
        0.5 + 0.2 * np.sin(places),  # too small: so far a clipped critic wavers at its equilibrium
        np.where(places < 30, 0.95, 0.5),  # a single move
        0.5 + 0.4 * np.sin(places / 8),  # a few slow ones
        0.5 + 0.4 * np.sin(places) * np.exp(-places / 12),  # dying out
    ):
        assert first(lines(60, accuracy_train=other), "oscillation") == 0


def test_how_often_a_series_turns():
    assert diagnostics.swings(np.array([0.0, 1.0, 0.0, 1.0]), 0.5) == 3
    assert diagnostics.swings(np.array([0.0, 0.4, 0.8, 0.7, 0.2]), 0.5) == 2
    assert diagnostics.swings(np.array([0.0, 0.3, 0.0, 0.3]), 0.5) == 0
    assert diagnostics.swings(np.array([1.0, 0.0, 0.3, -1.0, 0.0]), 0.5) == 2


def test_a_discriminator_that_learns_by_heart():
    gap = lines(30, accuracy_train=0.95, accuracy_held_out=0.75)
    assert first(gap, "overfitting") == EARLY + LASTING
    assert first(gap, "overfitting", count=32) == 0  # the error of 32 examples is half as large
    assert first(lines(30, accuracy_train=1.0, accuracy_held_out=0.55), "overfitting", count=32) == EARLY + LASTING
    assert first(lines(30, accuracy_train=0.95, accuracy_held_out=0.85), "overfitting") == 0
    assert first(lines(30, accuracy_train=0.95), "overfitting") == 0  # no held-out data


# ---------------------------------------------------------------------------------------------- in the training loop


@pytest.fixture
def hasty(monkeypatch):
    """Rules that warn of a sound game from the second line of a stage on."""
    monkeypatch.setattr(diagnostics, "EARLY", 0)
    monkeypatch.setattr(diagnostics, "LASTING", 2)
    monkeypatch.setattr(diagnostics, "COLLAPSED", 1e9)


@pytest.mark.battery
def test_a_resumed_run_warns_as_if_it_had_not_been_stopped(hasty, tmp_path):
    """With two stages, whose lines are judged apart; stopped within the first, on the boundary, within the second."""
    config = test_resume.prepared(save_every=3, log_every=1)
    straight = test_resume.final(config, tmp_path / "straight", test_resume.two_stages(config))
    assert [line["step"] for line in straight[1] if "warning/collapse" in line] == [2, 3, 4, 6, 7, 8]
    for stop in (3, 4, 6):
        place = tmp_path / str(stop)
        test_resume.stopped(config, test_resume.two_stages(config), place, calls=stop)
        test_resume.assert_same(straight, test_resume.final(config, place, test_resume.two_stages(config)))


def test_a_warning_is_said_once_and_stays_in_the_log(hasty, tmp_path, capsys):
    config = test_resume.prepared(steps=6, log_every=1)
    _, log = test_resume.final(config, tmp_path)
    out = capsys.readouterr().out
    assert out.count("warning/collapse: mode collapse: two samples differ by") == 1
    assert "step 2: warning/collapse" in out
    assert sum("warning/collapse" in line for line in log) == 5


def test_a_second_warning_is_said_too(capsys):
    progress = Progress(0, 100, active=True)
    progress.line(5, {"loss/d": 2.5, "warning/won": "it has won"})
    progress.line(6, {"loss/d": 2.5, "warning/won": "it has won", "warning/collapse": "all alike"})
    out = capsys.readouterr().out.splitlines()
    assert out[::2] == ["step 5: warning/won: it has won", "step 6: warning/collapse: all alike"]
    assert [line.partition("  ")[0] for line in out[1::2]] == ["step 5/100", "step 6/100"]


# ------------------------------------------------------------------------------------------------------- real games


def played(count, every, seed=0, data=None, **model):
    """The warnings of every line of a little game of perceptrons."""
    changes = {"seed": seed, "log_every": every, "model": {"widths": (64, 64), **model}}
    run, state, diagnose = opened("gan", devices=1, **changes, **({"data": data} if data else {}))
    advance, found = run.compile(state, every), []
    for line in range(count):
        state, metrics = advance(state, run.batch(line * every, every), run.key)
        values = {name: float(np.mean(value)) for name, value in jax.device_get(metrics).items()}
        found.append(values | diagnose(state, values))
    print({name: [round(line[name], 3) for line in found][:: max(1, count // 8)] for name in diagnostics.READ})
    return [{name.removeprefix("warning/") for name in line if name.startswith("warning/")} for line in found]


FAR = {"options": {"kind": "ring", "radius": 8.0, "std": 0.05}}  # where no sample of an untrained generator is
STILL = base.optimizer("adam", 0.0)


@pytest.mark.parametrize("loss", ["minimax", "non_saturating"])
def test_a_generator_that_does_not_move_loses(loss):
    """Its samples also lie close together, compared with a ring of that radius."""
    told = played(20, 25, data=FAR, loss=loss, g_optimizer=STILL)
    assert "won" in told[-1]
    assert told[-1] <= {"won", "collapse"}
    assert not set().union(*told[: EARLY + LASTING - 1])


def test_a_generator_that_makes_one_thing():
    """Neither player moves: samples stay where they were born, close together for a ring of that radius."""
    told = played(12, 10, d_optimizer=STILL, g_optimizer=STILL, data=FAR)
    assert told[-1] == {"collapse"}


def test_players_without_a_fixed_point_chase_each_other():
    """A Wasserstein loss without any bound on the critic, both players moving at once and fast. Of four seeds each was
    told so on 10 to 35 of 60 lines."""
    fast = base.optimizer("adam", 5e-3, b1=0.9)
    told = played(60, 40, loss="wasserstein", updates="simultaneous", g_optimizer=fast, d_optimizer=fast)
    assert any("oscillation" in names for names in told)


@pytest.mark.slow
def test_a_discriminator_of_few_examples_learns_them_by_heart():
    """Data and samples are the same blob, but for 96 points that return and a discriminator with room for them: what it
    accepts of them grows from .76 to .92 and more, of others it falls from .69 to .64, and twelve lines suffice."""
    blob = {"size": 96, "options": {"kind": "ring", "radius": 1e-3, "std": 1.0}}
    told = played(20, 150, data=blob, widths=(256, 256), d_optimizer=base.optimizer("adam", 4e-3), g_optimizer=STILL)
    assert "overfitting" in told[-1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "model",
    [
        {},
        {"penalty": "wgan_gp", "penalty_weight": 0.1},
        {"loss": "wasserstein", "penalty": "wgan_gp", "penalty_weight": 0.1, "rounds": 5},
        {"loss": "wasserstein", "penalty": "clip", "penalty_weight": 0.1, "rounds": 5},
        {"loss": "least_squares"},
        {"loss": "hinge"},
    ],
    ids=lambda model: "-".join(str(value) for value in model.values()) or "plain",
)
def test_sound_games_on_the_ring_are_left_alone(seed, model):
    """Also where modes are dropped, as plain GANs do: that is not collapse."""
    told = played(40, 50, seed=seed, **model)
    assert not set().union(*told)
