"""Numbers of a trained GAN, or of any folder of images, with the protocol they were measured by.

    python launch/evaluate.py --workdir runs/x --metrics fid,kid,swd
    python launch/evaluate.py --workdir runs/x --metrics fid:classifier,1nn,tstr --samples 10000 --step 3000
    python launch/evaluate.py --folder my/samples --reference my/photos --metrics fid,precision_recall
    python launch/evaluate.py --compare runs/x,runs/y

The reference is the data that the run was trained on (`--data` if it lies elsewhere now), whole; held-out examples are
its test split. Values are printed and appended to the run's metrics.jsonl, all of them or none; `--compare` puts the
last ones of several runs side by side and refuses what was not measured alike.

Networks other people trained are needed by fid, kid, is (`python launch/prepare.py --weights inception`),
precision_recall, density_coverage (`vgg16`), lpips, ppl_z and ppl_w (`vgg16`, `lpips`). `name:classifier` takes the
features of a small network that is trained on the reference's labels instead, `name:pixels` the pixels.
"""

import os
import pathlib

from absl import flags, logging

from gan_jax import cli
from gan_jax.errors import InputError

WORKDIR = flags.DEFINE_string("workdir", None, "The run directory.")
METRICS = flags.DEFINE_string("metrics", None, "Names with commas between, each as fid or fid:classifier.")
STEP = flags.DEFINE_integer("step", None, "Which checkpoint; the newest if not given.")
WEIGHTS = flags.DEFINE_enum("weights", "average", ["average", "raw"], "The generator's running average, or itself.")
SAMPLES = flags.DEFINE_integer("samples", None, "How many; as many as the reference has, at most 50,000, if not given.")
SEED = flags.DEFINE_integer("seed", 0, "Of the latents and of what metrics draw.")
TRUNCATION = flags.DEFINE_float("truncation", None, "Draw latents beyond this bound again; normal latents only.")
STANDING = flags.DEFINE_integer(
    "standing", 0, "BigGAN: take moments of batch norm from so many batches of such samples.", lower_bound=0
)
FOLDER = flags.DEFINE_string("folder", None, "Images (a folder, or an NPZ file) that are measured instead of a run's.")
REFERENCE = flags.DEFINE_string("reference", None, "Images they are measured against; the run's data if not given.")
TEST = flags.DEFINE_string("test", None, "Images that were held out; the data's test split if not given.")
RESOLUTION = flags.DEFINE_integer("resolution", None, "Bring images of all folders to this height and width.")
REFERENCE_SIZE = flags.DEFINE_integer("reference_size", None, "Take only so many of the reference.", lower_bound=1)
DATA = flags.DEFINE_string("data", None, "Where the run's data lies now (config.data.path).")
RESIZER = flags.DEFINE_string("resizer", "tf1", "How images reach Inception's size: tf1 (the standard) or clean.")
INCEPTION = flags.DEFINE_string("inception", "", "A file of Inception's weights, or 'random'.")
VGG = flags.DEFINE_string("vgg", "", "A file of VGG-16's weights, or 'random'.")
LPIPS = flags.DEFINE_string("lpips", "", "A file of LPIPS's weights, or 'random'.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images looked at at once.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", None, "With --folder: a file to append the values to, as metrics.jsonl.")
COMPARE = flags.DEFINE_string("compare", None, "Run directories with commas between, whose last values are shown.")
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Join the other processes of this job.")
COORDINATOR = flags.DEFINE_string("coordinator", "", "HOST:PORT of process 0, where no scheduler tells.")
PROCESSES = flags.DEFINE_integer("processes", 0, "With --coordinator: how many processes there are.")
PROCESS = flags.DEFINE_integer("process", -1, "With --coordinator: which one this is, from 0.")

MOST_SAMPLES = 50_000


def main(_):
    if COMPARE.value:
        return compare(COMPARE.value.split(","))
    if (WORKDIR.value is None) == (FOLDER.value is None):
        raise InputError("name either a run (--workdir) or images (--folder)")
    if METRICS.value is None:
        from gan_jax.metrics.catalogue import BY_NAME

        raise InputError(f"--metrics is missing. Choices: {', '.join(sorted(BY_NAME))}")
    for flag in (SAMPLES, REFERENCE_SIZE):
        if flag.value is not None and flag.value < 1:
            raise InputError(f"--{flag.name}={flag.value} must be at least 1")
    from gan_jax import parallel

    logging.set_verbosity(logging.WARNING)
    if DISTRIBUTED.value:
        parallel.initialize(True, COORDINATOR.value, PROCESSES.value, PROCESS.value)
    import jax

    from gan_jax.metrics import evaluation, records

    requests = evaluation.parse(METRICS.value)
    needs, step, log = of_folders(requests) if FOLDER.value else of_run(requests)
    values = evaluation.evaluate(requests, needs, BATCH_SIZE.value)
    if jax.process_index() != 0:
        return
    print(records.table({str(FOLDER.value or WORKDIR.value): {v.name: v.value for v in values}}))
    for protocol in dict.fromkeys(v.protocol for v in values):
        print(protocol)
    if log is not None:
        try:
            records.append(log, step, values)
        except OSError as error:
            raise InputError(f"{log} cannot be written: {error.strerror or error}") from None


def of_run(requests):
    """What is measured of a run: (needs, step, log)."""
    import gan_jax
    from gan_jax.analysis import standing
    from gan_jax.metrics import populations

    sampler = gan_jax.load(WORKDIR.value, STEP.value, weights=WEIGHTS.value)
    if STANDING.value:
        sampler = standing.standing(
            sampler, STANDING.value, BATCH_SIZE.value, seed=SEED.value, truncation=TRUNCATION.value
        )
    sides = {side for request in requests for side in request.populations}
    data, mesh = sampler.config.data.copy_and_resolve_references(), sampler.mesh
    if DATA.value is not None:
        data.path = DATA.value
    real = held_out = None
    if REFERENCE.value:
        real = populations.folder(REFERENCE.value, mesh, RESOLUTION.value, REFERENCE_SIZE.value)
    elif "real" in sides:
        real = populations.real(data, mesh, REFERENCE_SIZE.value)
    if "held_out" in sides:
        held_out = folder(TEST.value, mesh) if TEST.value else populations.held_out(data, mesh)
    number = SAMPLES.value or min(MOST_SAMPLES, real.count if real else sampler.config.data.examples)
    fake = populations.generated(sampler, number, SEED.value, TRUNCATION.value) if "fake" in sides else None
    return finished(fake, real, held_out, sampler, number), sampler.step, pathlib.Path(WORKDIR.value) / "metrics.jsonl"


def of_folders(requests):
    """What is measured of a folder of images: (needs, step, log)."""
    from gan_jax import parallel

    mesh = parallel.make_mesh({"data": -1, "fsdp": 1})
    fake = folder(FOLDER.value, mesh, SAMPLES.value)
    real = folder(REFERENCE.value, mesh, REFERENCE_SIZE.value) if REFERENCE.value else None
    held_out = folder(TEST.value, mesh) if TEST.value else None
    log = pathlib.Path(OUTPUT.value) if OUTPUT.value else None
    return finished(fake, real, held_out, None, fake.count), 0, log


def folder(path, mesh, count=None):
    from gan_jax.metrics import populations

    return populations.folder(os.path.expanduser(path), mesh, RESOLUTION.value, count)


def finished(fake, real, held_out, sampler, samples):
    from gan_jax.metrics.extractors import Needs

    return Needs(
        fake=fake,
        real=real,
        held_out=held_out,
        sampler=sampler,
        inception=INCEPTION.value,
        vgg=VGG.value,
        lpips=LPIPS.value,
        resizer=RESIZER.value,
        seed=SEED.value,
        samples=samples,
    )


def compare(runs: list[str]) -> None:
    """The last values of every run, side by side."""
    from gan_jax.metrics import evaluation, records

    found = {run: records.latest(pathlib.Path(run) / "metrics.jsonl") for run in runs}
    if METRICS.value is not None:
        wanted = [request.main for request in evaluation.parse(METRICS.value)]
        found = {run: {name: m for name, m in values.items() if name in wanted} for run, values in found.items()}
    for run, values in found.items():
        if not values:
            raise InputError(f"{run} has no measured values of this kind; measure it with --workdir={run}")
    for name in dict.fromkeys(name for values in found.values() for name in values):
        records.refuse_unequal(name, {run: values[name].protocol for run, values in found.items() if name in values})
    print(records.table({run: {name: m.value for name, m in values.items()} for run, values in found.items()}))


if __name__ == "__main__":
    cli.run(main)
