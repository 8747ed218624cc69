"""Configs: what is refused, and that what is written is what is read."""

import json

import jax.numpy as jnp
import pytest

from gan_jax import config as base
from gan_jax import contract, optimizers
from gan_jax.data import datasets
from gan_jax.errors import InputError
from tests import experiments


@pytest.mark.parametrize("name", experiments.NAMES)
def test_json_brings_back_the_resolved_config(name):
    config = datasets.resolve(experiments.get_config(name))
    again = base.from_json(base.to_json(config))
    assert again.to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("key", "value"), [("steps", 0), ("batch_size", 0), ("steps_per_call", 0), ("log_every", 0), ("save_every", -1)]
)
def test_senseless_numbers_are_refused(key, value):
    config = experiments.get_config("gan")
    config[key] = value
    with pytest.raises(InputError, match=f"config.{key}={value}"):
        base.validate(config)


def test_wrong_names_are_answered_with_the_choices():
    config = datasets.resolve(experiments.get_config("dcgan"))
    for key, wrong, right in (
        ("loss", "hing", "hinge"),
        ("penalty", "wgangp", "wgan_gp"),
        ("latent", "gaussian", "normal"),
        ("updates", "both", "simultaneous"),
    ):
        changed = config.copy_and_resolve_references()
        changed.model[key] = wrong
        with pytest.raises(InputError, match=rf"{wrong}.*{right}"):
            contract.load(changed)
    changed = config.copy_and_resolve_references()
    changed.gan = "dcgam"
    with pytest.raises(InputError, match=r"dcgam.*dcgan"):
        contract.load(changed)
    changed = config.copy_and_resolve_references()
    changed.model.g_optimizer.name = "adma"
    with pytest.raises(InputError, match=r"adma.*adam"):
        contract.load(changed)


def test_labels_asked_of_a_dataset_that_has_none():
    config = datasets.resolve(experiments.get_config("dcgan"))
    config.data.classes = 0
    config.model.conditional = True
    with pytest.raises(InputError, match="needs labels"):
        contract.load(config)


def test_a_resolution_that_the_network_cannot_make():
    config = experiments.get_config("dcgan")
    config.data.resolution = 33
    with pytest.raises(InputError, match=r"33.*base x 2\^k"):
        contract.load(datasets.resolve(config))


@pytest.mark.parametrize("name", sorted(optimizers.BY_NAME))
def test_optimisers_share_one_vocabulary(name):
    tx = optimizers.build(base.optimizer(name, 0.1, b1=0.5, b2=0.9, l2=0.1))
    params = {"w": jnp.ones((2,))}
    net = contract.Net(params=params, stats={}, opt=tx.init(params))
    moved, _ = contract.descend(net, tx, lambda params: (params["w"].sum(), ({}, None)))
    assert float(moved.params["w"].max()) < 1.0  # downhill


def test_a_rate_that_falls_to_zero():
    tx = optimizers.build(base.optimizer("sgd", 1.0, b1=0.0, decay_begin=2, decay_steps=4))
    net = contract.Net(params={"w": jnp.zeros(())}, stats={}, opt=tx.init({"w": jnp.zeros(())}))
    moves = []
    for _ in range(7):
        before = float(net.params["w"])
        net, _ = contract.descend(net, tx, lambda params: (params["w"], ({}, None)))
        moves.append(before - float(net.params["w"]))
    assert moves == pytest.approx([1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0], abs=1e-6)
    with pytest.raises(InputError, match="decay of its own"):
        optimizers.build(base.optimizer("goodfellow_sgd", 0.1, decay_steps=4))


def test_differences_name_the_keys():
    old, new = experiments.get_config("gan"), experiments.get_config("gan")
    new.model.loss = "hinge"
    assert base.differences(old, new, ("model",)) == ["model.loss: non_saturating -> hinge"]


def test_a_run_that_is_older_than_a_key_of_the_data_may_go_on():
    """What the keys of pairs and of few labels say where nobody asked for them is what their absence says."""
    new = datasets.resolve(experiments.get_config("gan"))
    old = new.copy_and_resolve_references().to_dict()
    for key in ("paired", "source_shape", "downsample", "labels_per_class"):
        del old["data"][key]
    assert not base.differences(base.from_json(json.dumps(old)), new, ("data",))
