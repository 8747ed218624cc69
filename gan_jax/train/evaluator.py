"""Evaluation while a GAN trains: the metrics that a config names, every `eval_every` steps, and which step was best."""

import dataclasses
import pathlib

import jax
from ml_collections import ConfigDict

from gan_jax.analysis import restore
from gan_jax.analysis import sampler as sampling
from gan_jax.contract import PyTree, Stage
from gan_jax.errors import InputError
from gan_jax.metrics import evaluation, populations, records
from gan_jax.metrics.extractors import Needs


def check(config: ConfigDict) -> None:
    """Refuses metrics that could not be computed while training.

    Raises:
      InputError: for metrics without `eval_every` or the other way round, an unknown one, one that looks at the critic,
        or a `best` that is not among them.
    """
    if bool(config.eval_every) != bool(config.metrics):
        raise InputError(
            f"config.eval_every={config.eval_every} and config.metrics={tuple(config.metrics)} go together: name the "
            "metrics and how often they are computed, or neither"
        )
    requests = evaluation.parse(config.metrics) if config.metrics else ()
    for request in requests:
        if request.extractor == "critic":
            raise InputError(f"config.metrics: '{request.name}' looks at a finished critic; use launch/evaluate.py")
    if config.best and evaluation.parse(config.best)[0] not in requests:
        raise InputError(f"config.best='{config.best}' must be one of config.metrics: {', '.join(config.metrics)}")


class Evaluator:
    """The metrics of one stage. The reference is all of the stage's data, looked at once, before training begins.

    best: the step whose main value of `config.best` was best so far, None without one. A resumed run knows it from
      the log in `workdir`.

    Raises:
      InputError: if a metric does not apply, or needs weights that are not there.
    """

    def __init__(self, config: ConfigDict, stage: Stage, state: PyTree, mesh: jax.sharding.Mesh, workdir: pathlib.Path):
        self.best = None
        if not config.eval_every:
            return
        resolved = restore.stage_config(config, stage)
        requests = evaluation.parse(config.metrics)
        sides = {side for request in requests for side in request.populations}
        self._sampler = sampling.of(stage.gan, state, resolved, 0, mesh, "average")
        self._needs = Needs(
            fake=populations.generated(self._sampler, config.eval_samples),
            real=populations.real(resolved.data, mesh) if "real" in sides else None,
            held_out=populations.held_out(resolved.data, mesh) if "held_out" in sides else None,
            sampler=self._sampler,
            samples=config.eval_samples,
        )
        self._evaluation = evaluation.Evaluation(requests, self._needs)
        self._judge = evaluation.parse(config.best)[0] if config.best else None
        if self._judge and (workdir / "metrics.jsonl").exists():
            for measured in records.history(workdir / "metrics.jsonl").get(self._judge.main, []):
                if measured.step <= int(state.step):
                    self._consider(measured.step, measured.value)

    def __call__(self, state: PyTree, step: int) -> dict[str, float | str]:
        """Every value with its protocol, as a line of the log holds them."""
        with jax.transfer_guard("allow"):
            sampler = dataclasses.replace(self._sampler, state=state, step=step)
            fake = populations.generated(sampler, self._needs.fake.count)
            values = self._evaluation.values(dataclasses.replace(self._needs, fake=fake, sampler=sampler))
        if self._judge:
            self._consider(step, next(value.value for value in values if value.name == self._judge.main))
        return records.fields(values)

    def _consider(self, step: int, value: float) -> None:
        sign = 1 if self._judge.metric.better == "higher" else -1
        if self.best is None or sign * value > sign * self._value:
            self.best, self._value = step, value
