"""The mean of every metric since the last line of the log, without waiting for the device."""

import math

import jax
import numpy as np

from gan_jax.errors import TrainingFailure


class Meter:
    """Metrics of single steps, kept on the device until they are read; then summed one after the other in double
    precision, so that a window that was interrupted and resumed has the mean of one that was not."""

    def __init__(self, totals: dict[str, float] | None = None, steps: int = 0):
        self.totals = dict(totals or {})
        self.steps = steps
        self._waiting: list[tuple[int, dict[str, jax.Array]]] = []

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """`metrics` are [n] each: those of the steps `step + 1` to `step + n`."""
        self._waiting.append((step, metrics))

    def fold(self) -> None:
        """Fetches what waits on the device.

        Raises:
          TrainingFailure: if a value is not finite, naming the metric and the step that brought it.
        """
        waiting, self._waiting = self._waiting, []
        for start, metrics in zip([step for step, _ in waiting], jax.device_get([m for _, m in waiting]), strict=True):
            for offset in range(len(next(iter(metrics.values())))):
                self._sum({name: values[offset] for name, values in metrics.items()}, start + offset + 1)
                self.steps += 1

    def _sum(self, values: dict[str, np.floating], step: int) -> None:
        for name in sorted(values, key=lambda name: not name.startswith("loss/")):  # it spoils the others
            if not math.isfinite(values[name]):
                raise TrainingFailure(f"{name} is {values[name]} at step {step}")
        for name, value in values.items():
            self.totals[name] = self.totals.get(name, 0.0) + float(value)

    def read(self) -> dict[str, float]:
        """Means since the last reading."""
        self.fold()
        means = {name: total / self.steps for name, total in self.totals.items()}
        self.totals, self.steps = {}, 0
        return means

    def unread(self) -> dict:
        """What the next line has so far: a checkpoint keeps it, and `Meter(**unread)` continues it."""
        self.fold()
        return {"totals": dict(self.totals), "steps": self.steps}
