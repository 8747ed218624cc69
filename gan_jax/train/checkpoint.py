"""Checkpoints: one pytree and one integer, written in the background, readable on any other mesh.

This is the only file that knows Orbax.
"""

import dataclasses
import logging
import pathlib
import shutil

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from gan_jax.contract import PyTree
from gan_jax.errors import InputError, TrainingFailure


@dataclasses.dataclass
class LatestAndBest:
    """Which checkpoints stay: the `number` newest, and the best."""

    number: int
    best: int | None = None

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        newest = len(checkpoints) - self.number
        return [place >= newest or info.step == self.best for place, info in enumerate(checkpoints)]


class Checkpoints:
    """The folder `checkpoints/` of a run: `<step>/` holds the state after that many steps."""

    def __init__(self, folder: pathlib.Path, keep: int):
        self.folder = pathlib.Path(folder).absolute()
        self._policy = LatestAndBest(keep)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._policy, enable_async_checkpointing=True, create=True
        )
        try:
            self._manager = ocp.CheckpointManager(epath.Path(self.folder), options=options)
        except OSError as error:
            raise InputError(f"checkpoints cannot be written to {self.folder}: {error.strerror or error}") from None
        self._calls = 0

    def steps(self) -> list[int]:
        """Steps that were saved to the end, the oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: PyTree, unread: dict, best: int | None = None) -> None:
        """Begins to write; returns when the state may be donated. `unread` is the meter's unfinished line.

        best: the step whose checkpoint stays however old it is.
        """
        self._policy.best = best
        if step in self._manager.all_steps():
            return
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), meter=ocp.args.JsonSave(unread))
        self._do(lambda: self._manager.save(step, args=items, force=True))

    def restore(self, step: int, abstract: PyTree) -> tuple[PyTree, dict]:
        """The state and the meter's unfinished line. `abstract` gives shapes, dtypes and the shardings wanted now.

        Raises:
          Exception: whatever the reader stumbled over, if the files are damaged.
        """
        items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), meter=ocp.args.JsonRestore())
        restored = self._manager.restore(step, args=items)
        # A restored array may own its memory in a way that cannot be donated; a copy made by XLA can.
        shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
        state = jax.jit(lambda state: jax.tree.map(jnp.copy, state), out_shardings=shardings)(restored.state)
        return state, restored.meter

    def newest(self, abstract_at) -> tuple[int, PyTree, dict] | None:
        """The newest checkpoint that can be read, as `(step, state, unread)`; None if there is none at all.

        A damaged one is said aloud, set aside under `damaged/`, and the one before it is used.

        Args:
          abstract_at: a function of the step that gives the abstract state to restore into.
        Raises:
          InputError: if there are checkpoints and none can be read.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return step, *self.restore(step, abstract_at(step))
            except Exception as error:
                reason = str(error).strip().split("\n")[0][:200]
                logging.warning("checkpoint %d cannot be read (%s); trying the one before it", step, reason)
                self._set_aside(step)
        if steps:
            raise InputError(f"none of the checkpoints in {self.folder} can be read; they are kept under damaged/")
        return None

    def _set_aside(self, step: int) -> None:
        if jax.process_index() == 0:
            place = self.folder.parent / "damaged"
            place.mkdir(exist_ok=True)
            shutil.rmtree(place / str(step), ignore_errors=True)
            shutil.move(self.folder / str(step), place / str(step))
        multihost_utils.sync_global_devices(f"gan_jax: set checkpoint {step} aside")
        self._manager.reload()

    def preempted(self) -> bool:
        """Whether to save and leave: some process was told to stop, and all agreed to do it here.

        Must be called the same number of times by every process; the agreement is on the number of the call.
        """
        self._calls += 1
        return self._manager.reached_preemption(self._calls)

    def wait(self) -> None:
        self._do(self._manager.wait_until_finished)

    def close(self) -> None:
        self._do(self._manager.close)

    def _do(self, action) -> None:
        try:
            action()
        except Exception as error:
            reason = str(error).strip().split("\n")[0][:300]
            last = self.steps()[-1:] or ["none"]
            raise TrainingFailure(
                f"cannot write a checkpoint in {self.folder}: {reason} (last good one: {last[0]})"
            ) from error
