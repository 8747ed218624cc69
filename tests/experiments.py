"""What the tests need to know of the experiments: every file in experiments/, and a run of its `:smoke` variant."""

import importlib.util
import pathlib
from dataclasses import dataclass

import jax
import pytest

from gan_jax import contract, parallel
from gan_jax.data import datasets
from gan_jax.data.loader import Loader
from gan_jax.train import loop
from gan_jax.train import step as compiled

ROOT = pathlib.Path(__file__).parents[1]
NAMES = sorted(path.stem for path in (ROOT / "experiments").glob("*.py"))
QUICK = {"gan", "egan"}  # the classical game, a population


def every(mark):
    """The names of all experiments; those that the quick suite does without have this mark."""
    return pytest.mark.parametrize("name", [pytest.param(name, marks=[mark] * (name not in QUICK)) for name in NAMES])


def get_config(name: str, variant: str = "smoke"):
    """The config of `experiments/<name>.py:<variant>`."""
    spec = importlib.util.spec_from_file_location(f"experiment_{name}", ROOT / "experiments" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)


@dataclass(frozen=True)
class Run:
    """A stage of an experiment, put on a mesh."""

    config: object
    stage: contract.Stage
    mesh: jax.sharding.Mesh
    loader: Loader
    key: jax.Array

    def begin(self):
        with jax.set_mesh(self.mesh):
            return compiled.begin(self.stage.gan, self.key, self.batch(0), 0, self.mesh, None)

    def abstract(self):
        with jax.set_mesh(self.mesh):
            return compiled.abstract_state(self.stage.gan, self.key, self.loader.spec(1), self.mesh)

    def place(self, state):
        """A state on the host, or of other devices, on those of this run."""
        return jax.tree.map(lambda leaf, spec: jax.device_put(leaf, spec.sharding), state, self.abstract())

    def batch(self, step, steps=1):
        return next(iter(self.loader.calls([(step, steps)])))

    def compile(self, state, steps=1):
        with jax.set_mesh(self.mesh):
            return compiled.compile_step(self.stage.gan, state, self.loader.spec(steps), self.key, self.mesh)

    def sample(self, state):
        with jax.set_mesh(self.mesh):
            conditions = self.loader.preview(self.config.preview)
            return compiled.compile_preview(self.stage.gan, state, conditions, self.key, self.mesh)(
                state, conditions, self.key
            )


def open_run(name: str, devices: int = 8, stage: int = 0, axes=None, **changes) -> Run:
    """The smoke variant of an experiment on this many devices, with some loop-level keys changed."""
    config = get_config(name)
    config.update(changes)
    config = datasets.resolve(config)
    mesh = parallel.make_mesh(axes or {"data": -1, "fsdp": 1}, jax.devices()[:devices])
    chosen = contract.load(config)[stage]
    key = compiled.root_key(config.seed, mesh)
    return Run(config, chosen, mesh, loop.open_loader(config, chosen, mesh), key)
