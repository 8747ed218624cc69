"""The battery: what must be true of every GAN. It runs over `experiments/*.py:smoke`; a new paper joins by existing.

The quick suite runs it for two of them, `pytest -m battery` for all the others.
"""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from gan_jax import config as base
from gan_jax import contract
from gan_jax.analysis import restore
from gan_jax.data import datasets
from gan_jax.layers import norm
from gan_jax.train.checkpoint import Checkpoints
from tests import experiments

every_gan = experiments.every(pytest.mark.battery)
BATCH = 8 * 37  # 296 appears in no network, so an array with such an axis holds the global batch


@pytest.fixture(scope="module")
def run():
    """Runs by name and number of devices, each made once."""
    made = {}

    def get(name, devices=8):
        if (name, devices) not in made:
            made[name, devices] = experiments.open_run(name, devices, batch_size=BATCH)
        return made[name, devices]

    return get


@pytest.fixture(scope="module")
def program(run):
    """The compiled step of a run; each compiled once, as compiling is nearly all that the battery does."""
    made = {}

    def get(name, devices=8):
        if (name, devices) not in made:
            made[name, devices] = run(name, devices).compile(run(name, devices).abstract())
        return made[name, devices]

    return get


@pytest.fixture(scope="module")
def trained(run, program):
    """(state before, state after three donated steps, metrics of the three), on the host."""
    made = {}

    def get(name, devices=8):
        if (name, devices) not in made:
            start = None if devices == 8 else run(name, devices).place(get(name)[0])
            made[name, devices] = train(run(name, devices), program(name, devices), start)
        return made[name, devices]

    return get


def train(run, advance, state=None, steps=3, key=None):
    state = run.begin() if state is None else state
    before, metrics = jax.device_get(state), []
    for step in range(steps):
        state, seen = advance(state, run.batch(step), run.key if key is None else key)
        metrics.append({name: value[0] for name, value in jax.device_get(seen).items()})
    return before, state, metrics


def spec(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)


@every_gan
def test_a_step_gives_back_the_state_it_got(run, trained, name):
    abstract = run(name).abstract()
    _, after, _ = trained(name)  # compiled once ahead of time: another shape or dtype would have been refused
    assert spec(abstract) == spec(after)
    assert int(after.step) == 3


@every_gan
def test_every_player_moves(trained, name):
    before, after, _ = trained(name)
    nets = [field for field in vars(before) if isinstance(getattr(before, field), contract.Net)]
    assert nets
    for field in nets:
        old, new = getattr(before, field).params, jax.device_get(getattr(after, field).params)
        still = [
            jax.tree_util.keystr(path)
            for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(old), jax.tree.leaves(new), strict=True)
            if np.array_equal(a, b)
        ]
        assert not still, f"{field}: these did not move"
    if hasattr(before, "frozen"):
        jax.tree.map(np.testing.assert_array_equal, before.frozen, jax.device_get(after.frozen))


@every_gan
def test_metrics_are_finite_scalars_with_the_shared_names(trained, name):
    _, _, metrics = trained(name)
    legal = re.compile(r"^(loss|score|penalty|grad|accuracy|diversity|monitor)/[a-z0-9_]+$|^[a-z_]+$")
    for line in metrics:
        assert line
        for key, value in line.items():
            assert legal.match(key), key
            assert value.dtype == np.float32
            assert value.shape == ()
            assert np.isfinite(value), key
    assert all(line.keys() == metrics[0].keys() for line in metrics)


@every_gan
def test_a_step_is_a_function_of_its_arguments(run, program, trained, name):
    first, again = trained(name), train(run(name), program(name))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(first[1]), jax.device_get(again[1]))
    assert first[2] == again[2]
    other = train(run(name), program(name), key=jax.device_put(jax.random.key(999), run(name).key.sharding))
    assert (other[2] == first[2]) == getattr(run(name).stage.gan, "deterministic", False)  # in which nothing is drawn


@every_gan
def test_no_key_is_used_twice(run, name):
    with jax.debug_key_reuse(True), jax.set_mesh(run(name).mesh):  # it is found out while lowering
        gan, batch = run(name).stage.gan, jax.tree.map(lambda leaf: leaf[0], run(name).batch(0))
        one = jax.tree.map(lambda leaf: leaf[0], batch) if gan.rounds > 1 else batch
        state, key = run(name).abstract(), jax.random.key(1)
        jax.jit(gan.init).lower(key, one)
        jax.jit(gan.train_step).lower(state, batch, key)
        jax.jit(gan.sample).lower(state, one, key)


@every_gan
def test_no_two_leaves_share_a_buffer(trained, name):
    _, state, _ = trained(name)
    places = [
        shard.data.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state) for shard in leaf.addressable_shards
    ]
    assert len(places) == len(set(places))


@every_gan
def test_samples_look_like_the_data(run, trained, name):
    run, (_, state, _) = run(name), trained(name)
    samples = jax.device_get(run.sample(state))
    for sample in jax.tree.leaves(samples):
        assert sample.shape[0] == run.config.preview
        assert np.isfinite(sample).all()
    for sample in jax.tree.leaves(samples) if run.config.data.domain != "point" else []:
        assert sample.shape[1:] == base.example_shape(restore.stage_config(run.config, run.stage).data)
        assert sample.dtype == np.float32
        assert np.abs(sample).max() <= 1.0
        assert sample.std(axis=0).max() > 0.0, "all samples are one"


@every_gan
def test_work_is_split_over_the_devices(run, program, name):
    costs = {devices: program(name, devices).cost_analysis()["flops"] for devices in (1, 8)}
    assert costs[8] < costs[1] / 7, f"FLOPs per device: {costs[8]:.3g} of {costs[1]:.3g}"
    coupled = getattr(run(name).stage.gan, "coupled", 0)  # numbers per example that the paper compares across a batch
    gathers = re.findall(r"= \w+\[([\d,]+)\]\S* all-gather", program(name).as_text())
    shapes = [tuple(map(int, shape.split(","))) for shape in gathers]
    assert not [shape for shape in shapes if BATCH in shape and math.prod(shape) > BATCH * coupled]


def assert_alike(before, first, second):
    """Two trainings from one state are the same, but for rounding, of which two things make more than it is. Adam
    divides by the root of tiny squares: the bound is three steps of the learning rate for the few entries whose
    gradient is all rounding, and a hundredth of that in the mean. And a rectifier that is on here and off there changes
    gradients, their norms and moments by its whole share, half a percent in small networks: these may differ by 2 % of
    what they have become in three steps. For parameters that is little, as they have moved little. Losses and scores
    have none of it: of no GAN they were farther apart than 4e-6."""
    for a, b in zip(first[2], second[2], strict=True):
        for key in a:
            rtol = 2e-2 if key.startswith("grad/") else 1e-4
            np.testing.assert_allclose(a[key], b[key], rtol=rtol, atol=1e-5, err_msg=key)
    states = (before, jax.device_get(first[1]), jax.device_get(second[1]))
    for start, a, b in zip(*map(jax.tree.leaves, states), strict=True):
        if jnp.issubdtype(a.dtype, jnp.floating):
            apart, moved = np.abs(a - b), np.abs(a - start)
            assert apart.max() <= 6e-3 * max(1.0, np.abs(a).max()) + 2e-2 * moved.max()
            assert apart.mean() <= 6e-5 * max(1.0, np.abs(a).mean()) + 2e-2 * moved.mean()


@every_gan
def test_one_device_and_eight_agree(trained, name):
    eight = trained(name)
    assert_alike(eight[0], eight, trained(name, devices=1))


@pytest.mark.battery
def test_a_mean_of_each_devices_share_would_be_found_out(run, trained, monkeypatch):
    """SNGAN with batch norm over eighths of a batch of 296: scores of samples are off by a thousandth."""
    over_all = norm.statistics

    def over_eighths(layer, x, *settings):
        parts = x.reshape(8, -1, *x.shape[1:])
        axes = tuple(range(1, parts.ndim - 1))
        parts = (parts - parts.mean(axes, keepdims=True)) / parts.std(axes, keepdims=True)
        return over_all(layer, parts.reshape(x.shape), *settings)

    eight = trained("sngan")
    monkeypatch.setattr(norm, "statistics", over_eighths)
    jax.clear_caches()  # of what was traced without
    here = run("sngan", devices=1)
    other = train(here, here.compile(here.abstract()), here.place(eight[0]))
    with pytest.raises(AssertionError, match="score/fake"):
        assert_alike(eight[0], eight, other)


@every_gan
def test_nothing_large_is_baked_into_the_program(run, name):
    run = run(name)
    with jax.set_mesh(run.mesh):
        batch = jax.tree.map(lambda leaf: leaf[0], run.batch(0))
        traced = jax.make_jaxpr(run.stage.gan.train_step)(run.abstract(), batch, run.key)
    assert sum(getattr(constant, "nbytes", 0) for constant in traced.consts) < 1e6


@every_gan
def test_a_checkpoint_is_read_back_on_another_mesh(trained, name, tmp_path):
    _, state, _ = trained(name)
    saved = Checkpoints(tmp_path, keep=1)
    saved.save(3, state, {"totals": {"loss/g": 0.1}, "steps": 1})
    saved.close()
    other = experiments.open_run(name, devices=4, axes={"data": 2, "fsdp": 2})
    restored, unread = Checkpoints(tmp_path, keep=1).restore(3, other.abstract())
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), jax.device_get(restored))
    assert unread == {"totals": {"loss/g": 0.1}, "steps": 1}
    assert type(restored) is type(state)


class Recording:
    """A config section that remembers which of its keys were asked for."""

    def __init__(self, section, prefix, read):
        self._section, self._prefix, self._read = section, prefix, read

    def __getattr__(self, key):
        value = self._section[key]
        if isinstance(value, ConfigDict):
            return Recording(value, f"{self._prefix}{key}.", self._read)
        self._read.add(f"{self._prefix}{key}")
        return value

    __getitem__ = __getattr__


@pytest.mark.parametrize("name", experiments.NAMES)
def test_every_key_of_the_model_is_read(name):
    config = datasets.resolve(experiments.get_config(name))
    read = set()

    class Config:
        model = Recording(config.model, "", read)

        def __getattr__(self, key):
            return config[key]

    contract.load(Config())
    flat = ConfigDict(config.model).to_dict()
    keys = {
        f"{a}.{b}" if isinstance(v, dict) else a for a, v in flat.items() for b in (v if isinstance(v, dict) else [0])
    }
    assert not keys - read, "keys that nothing reads"
