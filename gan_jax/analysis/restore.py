"""A run directory, opened to be looked at: nothing in it is changed, no data is needed, and any devices will do."""

import logging
import math
import pathlib
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.interpreters import partial_eval
from ml_collections import ConfigDict

from gan_jax import config as base
from gan_jax import contract, parallel
from gan_jax.contract import GAN, Batch, PyTree, Stage
from gan_jax.data.datasets import pair
from gan_jax.errors import InputError
from gan_jax.train import step as compiled
from gan_jax.train.checkpoint import Checkpoints
from gan_jax.train.workdir import load_config


@dataclass(frozen=True)
class Run:
    """A run as it stood after `step` steps, on the devices of this machine."""

    config: ConfigDict  # resolved
    step: int
    stage: Stage
    state: PyTree
    mesh: jax.sharding.Mesh
    key: jax.Array  # the run's root key


def load(workdir: pathlib.Path, step: int | None = None) -> Run:
    """The run in `workdir` at `step`, or at its newest checkpoint that can be read; a damaged one is said aloud.

    Raises:
      InputError: if this is not a run directory, or has no such checkpoint, or none that can be read.
    """
    config = load_config(workdir)
    stages = contract.load(config)
    mesh = local_mesh(config)
    folder = pathlib.Path(workdir) / "checkpoints"
    if not folder.is_dir():
        raise InputError(f"--workdir={workdir} has no checkpoints yet")
    saved = Checkpoints(folder, config.keep)
    try:
        with jax.set_mesh(mesh):
            key = compiled.root_key(config.seed, mesh)
            for candidate in _candidates(saved.steps(), step, workdir):
                stage = stage_of(stages, candidate)
                abstract = compiled.abstract_state(stage.gan, key, batch_spec(config, stage, mesh), mesh)
                try:
                    state, _ = saved.restore(candidate, abstract)
                except Exception as error:  # whatever the reader stumbled over
                    reason = str(error).strip().split("\n")[0][:200]
                    logging.warning("checkpoint %d of %s cannot be read (%s)", candidate, workdir, reason)
                else:
                    return Run(config, candidate, stage, state, mesh, key)
    finally:
        saved.close()
    which = "no checkpoint can be read" if step is None else f"checkpoint {step} cannot be read"
    raise InputError(f"--workdir={workdir}: {which}")


def _candidates(steps: list[int], step: int | None, workdir: pathlib.Path) -> list[int]:
    if not steps:
        raise InputError(f"--workdir={workdir} has no checkpoints yet")
    if step is not None and step not in steps:
        raise InputError(f"--step={step}: {workdir} has no such checkpoint. Choices: {', '.join(map(str, steps))}")
    return steps[::-1] if step is None else [step]


def stage_of(stages: tuple[Stage, ...], step: int) -> Stage:
    """The stage whose state is saved after `step` steps."""
    return next((stage for start, stage in contract.spans(stages) if step <= start + stage.steps), stages[-1])


def local_mesh(config: ConfigDict) -> jax.sharding.Mesh:
    """A mesh of the devices there are, that splits the state as far as the run did and the devices allow."""
    devices, parts = jax.device_count(), config.mesh.fsdp
    parts = devices if parts == -1 else math.gcd(parts, devices)
    return parallel.make_mesh({"data": -1, "fsdp": parts})


def stage_config(config: ConfigDict, stage: Stage) -> ConfigDict:
    """The resolved config with its data as this stage asks for it."""
    values = config.to_dict()
    values["data"] |= stage.data
    values["data"]["resolution"] = pair(values["data"]["resolution"])
    return ConfigDict(values)


def example_spec(config: ConfigDict) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of a single example, from the resolved config of a stage alone.

    The main array, the label, the source of a translation, and the known example of a dataset with few labels; further
    fields of a world, which only `config.data.options` can ask for, are absent.
    """
    spec = {config.data.domain: jax.ShapeDtypeStruct(base.example_shape(config.data), jnp.float32)}
    spec |= {"label": jax.ShapeDtypeStruct((), jnp.int32)} if config.data.classes else {}
    source = config.data.get("source_shape")  # a run may be older than the key
    spec |= {"a": jax.ShapeDtypeStruct(tuple(source), jnp.float32)} if source else {}
    few = config.data.get("labels_per_class") is not None
    return spec | ({f"labelled_{name}": leaf for name, leaf in spec.items()} if few else {})


def batch_spec(config: ConfigDict, stage: Stage, mesh: jax.sharding.Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """What the loader of a stage gives for one step, `[1, (rounds,) B, ...]`."""
    rounds = stage.gan.rounds
    lead = (1, rounds, stage.batch_size) if rounds > 1 else (1, stage.batch_size)
    divides = stage.batch_size % parallel.batch_shards(mesh) == 0  # or the run was on other devices than these
    sharding = parallel.batch_sharding(mesh, len(lead) - 1) if divides else parallel.replicated(mesh)
    return {
        name: jax.ShapeDtypeStruct((*lead, *leaf.shape), leaf.dtype, sharding=sharding)
        for name, leaf in example_spec(stage_config(config, stage)).items()
    }


def conditions(gan: GAN, state: PyTree, config: ConfigDict, mesh: jax.sharding.Mesh) -> frozenset[str]:
    """The fields of a batch on whose values, and not only on whose length, the samples depend: `label`, or a source."""
    batch = {name: jax.ShapeDtypeStruct((1, *leaf.shape), leaf.dtype) for name, leaf in example_spec(config).items()}

    def sample(batch: Batch, state: PyTree, seed: jax.Array):
        return gan.sample(state, batch, jax.random.key(seed))

    with jax.set_mesh(mesh):
        program = jax.make_jaxpr(sample)(batch, state, jnp.uint32(0)).jaxpr
    _, used = partial_eval.dce_jaxpr(program, [True] * len(program.outvars))
    return frozenset(name for name, use in zip(sorted(batch), used, strict=False) if use)
