"""Trains a GAN.

    python launch/main.py --config experiments/dcgan.py
    python launch/main.py --config experiments/dcgan.py:mnist --config.batch_size=128 --workdir runs/mnist

Without --workdir a new run directory is made under runs/. The same command with the --workdir of a run that was stopped
continues it. On several hosts start the same command on each, with --distributed and a --workdir that all can see.
"""

import pathlib

from absl import app, flags, logging
from ml_collections import config_flags

from gan_jax import cli

CONFIG = config_flags.DEFINE_config_file("config", None, "An experiment: FILE.py or FILE.py:variant.")
WORKDIR = flags.DEFINE_string("workdir", None, "The run directory; a new one under runs/ if not given.")
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Join the other processes of this job.")
COORDINATOR = flags.DEFINE_string("coordinator", "", "HOST:PORT of process 0, where no scheduler tells.")
PROCESSES = flags.DEFINE_integer("processes", 0, "With --coordinator: how many processes there are.")
PROCESS = flags.DEFINE_integer("process", -1, "With --coordinator: which one this is, from 0.")
flags.mark_flag_as_required("config")


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument: {arguments[1]}")
    import jax  # after the flags are known to be right, so that a typing error is answered at once

    from gan_jax import config as base
    from gan_jax import contract, parallel
    from gan_jax.data import datasets
    from gan_jax.errors import InputError
    from gan_jax.train import evaluator, loop, workdir

    logging.set_verbosity(logging.WARNING)
    if DISTRIBUTED.value and not WORKDIR.value:
        raise InputError("--distributed needs --workdir: a folder that all processes can see")
    base.validate(CONFIG.value)
    evaluator.check(CONFIG.value)
    parallel.initialize(DISTRIBUTED.value, COORDINATOR.value, PROCESSES.value, PROCESS.value)
    config = datasets.resolve(CONFIG.value)
    stages = contract.load(config)
    mesh = parallel.make_mesh(config.mesh)
    for stage in stages:
        parallel.check_batch_size(stage.batch_size, mesh)
        if isinstance(stage.gan, contract.Checked):
            stage.gan.check()
    place = pathlib.Path(WORKDIR.value) if WORKDIR.value else workdir.fresh(config.gan)
    workdir.prepare(place, config)
    speak = print if jax.process_index() == 0 else (lambda *args, **kwargs: None)
    speak(
        f"{config.gan} on {config.data.name}, {jax.device_count()} x {jax.devices()[0].device_kind}: {place}",
        flush=True,
    )
    step = loop.train(config, stages, place)
    total = sum(stage.steps for stage in stages)
    if step < total:
        speak(f"told to stop: saved step {step} of {total}; the same command with --workdir={place} continues")
    else:
        speak(f"done: {total} steps in {place}")


if __name__ == "__main__":
    cli.run(main)
