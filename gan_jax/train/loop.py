"""The one training loop. Everything that can happen in a step stands in `train`, in order; there are no callbacks."""

import pathlib
from collections.abc import Iterator

import jax
from ml_collections import ConfigDict

from gan_jax import parallel
from gan_jax.contract import Stage, spans
from gan_jax.data import display
from gan_jax.data.loader import Loader
from gan_jax.errors import TrainingFailure
from gan_jax.train import step as compiled
from gan_jax.train.checkpoint import Checkpoints
from gan_jax.train.diagnostics import Diagnostics
from gan_jax.train.evaluator import Evaluator
from gan_jax.train.meter import Meter
from gan_jax.train.writer import Progress, Writer


def train(config: ConfigDict, stages: tuple[Stage, ...], workdir: pathlib.Path) -> int:
    """Trains all stages, from the newest checkpoint in `workdir` if there is one.

    Every process runs every line; the writer and the checkpoints decide who writes.

    Returns:
      The number of steps done: fewer than all of them if the run was told to stop (SIGTERM), after saving.
    Raises:
      TrainingFailure: if a metric is not finite or a file cannot be written; the last good checkpoint is kept.
      InputError: if the data or a checkpoint cannot be read.
    """
    mesh = parallel.make_mesh(config.mesh)
    main = jax.process_index() == 0
    writer = Writer(workdir, mirrors=config.writers, config=config.to_dict(), active=main)
    saved = Checkpoints(workdir / "checkpoints", config.keep)
    total = sum(stage.steps for stage in stages)
    try:
        with jax.set_mesh(mesh):
            key = compiled.root_key(config.seed, mesh)

            def abstract_at(step):
                stage = next(stage for start, stage in spans(stages) if step <= start + stage.steps)
                loader = open_loader(config, stage, mesh)
                return compiled.abstract_state(stage.gan, key, loader.spec(1), mesh)

            step, state, unread = saved.newest(abstract_at) or (0, None, {})
            meter = Meter(**unread)
            progress = Progress(step, total, active=main)
            for start, stage in spans(stages):
                end = start + stage.steps
                if step >= end:
                    continue
                loader = open_loader(config, stage, mesh)
                if step == start:
                    first = next(loader.calls([(step, 1)]))
                    state = compiled.begin(stage.gan, key, first, step, mesh, previous=state)
                conditions = loader.preview(config.preview)
                preview = compiled.compile_preview(stage.gan, state, conditions, key, mesh)
                evaluate = Evaluator(config, stage, state, mesh, workdir)
                diagnose = Diagnostics(config, stage, start, state, key, mesh, workdir)
                advance, calls = {}, list(plan(step, end, config))
                with jax.transfer_guard("disallow"):
                    for (_, size), batch in zip(calls, loader.calls(calls), strict=True):
                        if size not in advance:
                            advance[size] = compiled.compile_step(stage.gan, state, loader.spec(size), key, mesh)
                        state, metrics = advance[size](state, batch, key)
                        meter.add(step, metrics)
                        step += size
                        progress.advance(size)
                        values = evaluate(state, step) if due(step, config.eval_every) else {}
                        if due(step, config.log_every) or step == total:
                            values = meter.read() | values
                            values |= diagnose(state, values)
                        if values:
                            writer.scalars(step, values)
                            progress.line(step, values)
                        if due(step, config.sample_every) or step == total:
                            samples = jax.device_get(preview(state, conditions, key))
                            picture = display.BY_DOMAIN[config.data.domain](samples, jax.device_get(conditions))
                            writer.picture(step, picture)
                        preempted = saved.preempted()
                        best = evaluate.best == step
                        if due(step, config.save_every) or step == end or best or preempted:
                            saved.save(step, state, meter.unread(), best=evaluate.best)
                        if preempted:
                            return step
    except OSError as error:
        raise TrainingFailure(f"cannot write in {workdir}: {error.strerror or error}") from error
    finally:
        saved.close()
        writer.close()
    return step


def open_loader(config: ConfigDict, stage: Stage, mesh: jax.sharding.Mesh) -> Loader:
    """The data as this stage asks for it."""
    section = ConfigDict({**config.data.to_dict(), **stage.data})
    return Loader(section, seed=config.seed, batch_size=stage.batch_size, rounds=stage.gan.rounds, mesh=mesh)


def due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def plan(step: int, end: int, config: ConfigDict) -> Iterator[tuple[int, int]]:
    """`(first step, number of steps)` of every call: `steps_per_call` of them where that passes over nothing that is
    due, one elsewhere."""
    keys = ("log_every", "sample_every", "eval_every", "save_every")
    intervals = [config[key] for key in keys if config[key] > 0]
    while step < end:
        next_stop = min([end, *(every * (step // every + 1) for every in intervals)])
        size = config.steps_per_call if step + config.steps_per_call <= next_stop else 1
        yield step, size
        step += size
