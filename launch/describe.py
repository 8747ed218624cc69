"""What a training will cost, before it is started: networks, memory, arithmetic, compile time, and what it will see.

    python launch/describe.py --config experiments/dcgan.py
    python launch/describe.py --config experiments/dcgan.py:lsun --config.batch_size=256 --verbose
    python launch/describe.py --config experiments/dcgan.py --nocompile --batch 0 --output batch.png
    python launch/describe.py --config experiments/biggan.py:imagenet128 --shape 128,128,3 --classes 1000
    python launch/describe.py --workdir runs/x

No state is ever allocated: shapes are traced and the step is compiled, so a network that would not fit here can be
described here; `--shape` does without the data, too. Operations are those that XLA counts in the compiled step; a
multiplication with an addition is two.
With JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=8 before the command it is compiled for eight devices.
"""

import math
import pathlib
import time
from collections.abc import Iterator
from functools import partial
from unittest import mock

import numpy as np
from absl import flags, logging
from ml_collections import config_flags

from gan_jax import cli
from gan_jax.errors import InputError

CONFIG = config_flags.DEFINE_config_file("config", None, "An experiment: FILE.py or FILE.py:variant.")
WORKDIR = flags.DEFINE_string("workdir", None, "A run directory, instead of --config.")
SHAPE = flags.DEFINE_string("shape", None, "H,W,C of images that are not at hand; the data is then not opened.")
CLASSES = flags.DEFINE_integer("classes", None, "With --shape: how many classes they have.", lower_bound=0)
COMPILE = flags.DEFINE_bool("compile", True, "Compile the step, for operations, memory and compile time.")
VERBOSE = flags.DEFINE_bool("verbose", False, "List every leaf of every network.")
BATCH = flags.DEFINE_integer("batch", None, "Show the data that this step is trained on, from 0.", lower_bound=0)
OUTPUT = flags.DEFINE_string("output", None, "With --batch: where to save a picture of it, FILE.png.")
PLAYERS = {"g": "generator", "d": "discriminator", "average": "average of the generator"}


def main(_):
    import jax

    from gan_jax import contract
    from gan_jax.train import step as compiled

    logging.set_verbosity(logging.WARNING)
    if OUTPUT.value is not None and BATCH.value is None:
        raise InputError("--output is for the picture of a batch: name its step with --batch")
    if SHAPE.value is not None and BATCH.value is not None:
        raise InputError("--shape describes data that is not at hand, and --batch shows what is in it")
    config, mesh = opened()
    stages = contract.load(config)
    size = " x ".join(f"{name}={count}" for name, count in mesh.shape.items())
    print(f"{config.gan} on {config.data.name}, {mesh.size} x {jax.devices()[0].device_kind} (mesh {size})")
    with jax.set_mesh(mesh):
        key = compiled.root_key(config.seed, mesh)
        for start, stage in contract.spans(stages):
            print(f"\n{stage.name}: steps {start:,} to {start + stage.steps:,}, {stage.batch_size} examples a round")
            show(lines_of_stage(config, stage, key, mesh))
            sought = BATCH.value
            if sought is not None and start <= sought < start + stage.steps:
                show_batch(config, stage, sought, mesh)
    total = sum(stage.steps for stage in stages)
    if BATCH.value is not None and BATCH.value >= total:
        raise InputError(f"--batch={BATCH.value}: this run has steps 0 to {total - 1}")


def opened():
    """The resolved config, of an experiment or of a run, and the mesh to describe it on."""
    from gan_jax import config as base
    from gan_jax import parallel
    from gan_jax.analysis import restore
    from gan_jax.data import datasets
    from gan_jax.train.workdir import load_config

    if (CONFIG.value is None) == (WORKDIR.value is None):
        raise InputError("name what to describe: --config FILE.py or --workdir RUN, one of them")
    if WORKDIR.value is not None:
        config = load_config(pathlib.Path(WORKDIR.value))
        return config, restore.local_mesh(config)
    base.validate(CONFIG.value)
    mesh = parallel.make_mesh(CONFIG.value.mesh)
    if SHAPE.value is not None:
        return datasets.assume(CONFIG.value, parsed_shape(SHAPE.value), CLASSES.value or 0), mesh
    try:
        return datasets.resolve(CONFIG.value), mesh
    except InputError as error:
        raise InputError(f"{error} (--shape=H,W,C describes networks for images that are not at hand)") from None


def parsed_shape(text: str) -> tuple[int, int, int]:
    """(H, W, C) of "H,W,C"."""
    try:
        height, width, channels = (int(part) for part in text.split(","))
        if min(height, width, channels) < 1:
            raise ValueError
    except ValueError:
        raise InputError(f"--shape={text} must be height, width and channels, as 128,128,3") from None
    return height, width, channels


def lines_of_stage(config, stage, key, mesh) -> Iterator[tuple[str, str]]:
    """Names and values of everything there is to say about a stage."""
    from gan_jax import parallel
    from gan_jax.analysis import restore
    from gan_jax.train import step as compiled

    parallel.check_batch_size(stage.batch_size, mesh)
    batch = restore.batch_spec(config, stage, mesh)
    state = compiled.abstract_state(stage.gan, key, batch, mesh)
    for name, net in networks(state):
        yield name, f"{parameters(net):,} parameters"
        for path, leaf in leaves(net.params) if VERBOSE.value else ():
            yield f"  {path}", f"{'x'.join(map(str, leaf.shape)) or 'scalar'} {leaf.dtype}"
    whole, each = state_bytes(state)
    yield "state", f"{readable(whole)}B, {readable(each)}B on each device"
    if COMPILE.value:
        yield from lines_of_program(stage, state, batch, key, mesh)


def networks(state) -> list[tuple[str, object]]:
    """Every `Net` in a state, however deep, with its name: generator and discriminator, or where it stands."""
    import jax

    from gan_jax.contract import Net

    found = jax.tree_util.tree_leaves_with_path(state, is_leaf=lambda node: isinstance(node, Net))
    named = [(jax.tree_util.keystr(path, simple=True, separator="."), node) for path, node in found]
    return [(PLAYERS.get(path, path), node) for path, node in named if isinstance(node, Net)]


def leaves(tree) -> list[tuple[str, object]]:
    """Every leaf with its path, as `Dense_0/kernel`."""
    import jax

    found = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in found]


def parameters(net) -> int:
    return sum(leaf.size for _, leaf in leaves(net.params))


def state_bytes(state) -> tuple[int, int]:
    """Bytes of the whole state, and of what one device holds of it."""
    found = [leaf for _, leaf in leaves(state)]
    whole = sum(leaf.size * leaf.dtype.itemsize for leaf in found)
    each = sum(int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize for leaf in found)
    return whole, each


def lines_of_program(stage, state, batch, key, mesh) -> Iterator[tuple[str, str]]:
    """What the compiler says of one training step."""
    from gan_jax.train import step as compiled

    begin = time.perf_counter()
    program = compiled.compile_step(stage.gan, state, batch, key, mesh)
    seconds = time.perf_counter() - begin
    flops = operations(program, stage, state, batch, key, mesh)
    examples = stage.batch_size * stage.gan.rounds
    memory = program.memory_analysis()
    yield "operations", f"{readable(flops * mesh.size)}FLOP a step, of which each device does {readable(flops)}FLOP"
    yield "", f"{readable(flops * mesh.size / examples)}FLOP for each of {examples} examples"
    if memory is not None:  # not every backend tells
        arguments, outputs = memory.argument_size_in_bytes, memory.output_size_in_bytes
        in_place, temporary = memory.alias_size_in_bytes, memory.temp_size_in_bytes
        yield "memory of a device", f"{readable(arguments + outputs - in_place + temporary)}B in all"
        yield "  arguments", f"{readable(arguments)}B: the state and a batch"
        yield "  outputs", f"{readable(outputs)}B, {readable(in_place)}B of it in place"
        yield "  temporary", f"{readable(temporary)}B"
    yield "compile time", f"{seconds:.1f} s"


def operations(program, stage, state, batch, key, mesh) -> float:
    """Floating-point operations of one step on one device.

    XLA counts the body of a loop once, however often it runs. A step with a scan in it, as over the rounds of a critic,
    is therefore compiled a second time without loops, only to be counted.
    """
    import jax

    from gan_jax.train import step as compiled

    one = compiled.one_round if stage.gan.rounds == 1 else lambda gan, batch: jax.tree.map(lambda leaf: leaf[0], batch)
    traced = jax.make_jaxpr(lambda state, batch, key: stage.gan.train_step(state, one(stage.gan, batch), key))
    if "scan[" in str(traced(state, batch, key)):
        with mock.patch.object(jax.lax, "scan", partial(jax.lax.scan, unroll=True)):
            program = compiled.compile_step(stage.gan, state, batch, key, mesh)
    costs = program.cost_analysis()
    return float((costs[0] if isinstance(costs, list) else costs).get("flops", float("nan")))


def show_batch(config, stage, step: int, mesh) -> None:
    """Prints what a step is trained on, and saves its picture."""
    import jax

    from gan_jax.data import display
    from gan_jax.train import loop

    print(f"\nbatch of step {step}")
    batch = jax.device_get(next(iter(loop.open_loader(config, stage, mesh).calls([(step, 1)]))))
    show(lines_of_batch(batch))
    if OUTPUT.value is None:
        return
    if pathlib.Path(OUTPUT.value).suffix != ".png":
        raise InputError(f"--output={OUTPUT.value} must end in .png")
    examples = {
        name: values.reshape(-1, *values.shape[2 if stage.gan.rounds == 1 else 3 :]) for name, values in batch.items()
    }
    try:
        display.save_png(OUTPUT.value, display.BY_DOMAIN[config.data.domain](examples[config.data.domain], examples))
    except OSError as error:
        raise InputError(f"--output={OUTPUT.value} cannot be written: {error.strerror or error}") from None
    print(f"  picture: {OUTPUT.value}")


def lines_of_batch(batch: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    for name, values in sorted(batch.items()):
        shape = "x".join(map(str, values.shape[1:]))
        yield name, f"{shape} {values.dtype}, from {values.min():.4g} to {values.max():.4g}"
        if name == "label":
            kinds, counts = np.unique(values, return_counts=True)
            yield "  of each", ", ".join(f"{kind}: {count}" for kind, count in zip(kinds, counts, strict=True))


def show(rows: Iterator[tuple[str, str]]) -> None:
    """Prints rows as they come, in two columns."""
    for name, value in rows:
        print(f"  {name:<26}  {value}", flush=True)


def readable(number: float) -> str:
    """1234567 as '1.235 M': in powers of a thousand, bytes too."""
    power = min(int(math.log10(max(number, 1)) // 3), 5) if math.isfinite(number) else 0
    return f"{number / 1000**power:.4g} {['', 'k', 'M', 'G', 'T', 'P'][power]}"


if __name__ == "__main__":
    cli.run(main)
