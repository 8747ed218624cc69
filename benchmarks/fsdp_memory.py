"""What each device holds of BigGAN as the mesh grows along `fsdp`, which splits the state and the batch.

    python benchmarks/fsdp_memory.py                       # 128x128 in the paper's widths, a batch of 8
    python benchmarks/fsdp_memory.py --batch 32 --axis data  # along `data` only the batch is split

Numbers are the compiler's for one training step (`memory_analysis`). Nothing is allocated, and devices are simulated
on this CPU, whose compiler's temporaries these are: an accelerator's would be others.
"""

import argparse
import math
import sys
import time

import jax
from step_cpu import experiment

DEVICES = (1, 2, 4, 8)


def compiled_step(variant: str, side: int, batch: int, axes: dict[str, int]):
    """(the bytes of the state on each device, the compiled step) on that mesh."""
    from gan_jax import contract, parallel
    from gan_jax.analysis import restore
    from gan_jax.train import step as compiled

    config = experiment("biggan", variant)
    config.batch_size = batch
    config.model.update(rounds=1, pieces=1)
    config.data.update(domain="image", resolution=(side, side), channels=3, classes=1000)
    (stage,) = contract.load(config)
    mesh = parallel.make_mesh(axes, jax.devices()[: max(axes.values())])
    with jax.set_mesh(mesh):
        key, spec = compiled.root_key(0, mesh), restore.batch_spec(config, stage, mesh)
        state = compiled.abstract_state(stage.gan, key, spec, mesh)
        leaves = jax.tree.leaves(state)
        each = sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves)
        return each, compiled.compile_step(stage.gan, state, spec, key, mesh)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8, help="global; a multiple of 8")
    parser.add_argument("--axis", choices=("fsdp", "data"), default="fsdp")
    parser.add_argument("--variant", default="imagenet128")
    parser.add_argument("--side", type=int, default=128)
    given = parser.parse_args()
    if given.batch % max(DEVICES):
        sys.exit(f"error: --batch={given.batch} must be a multiple of {max(DEVICES)}")
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", max(DEVICES))
    print(f"{given.variant}, {given.side}x{given.side}, batch {given.batch}, MB on each device")
    print(f"{given.axis:>8} {'state':>9} {'arguments':>10} {'temporary':>10} {'in all':>9} {'compiled in':>12}")
    for count in DEVICES:
        start, axes = time.perf_counter(), {"data": 1, "fsdp": 1} | {given.axis: count}
        each, program = compiled_step(given.variant, given.side, given.batch, axes)
        memory = program.memory_analysis()
        arguments, temporary = memory.argument_size_in_bytes, memory.temp_size_in_bytes
        total = arguments + memory.output_size_in_bytes - memory.alias_size_in_bytes + temporary
        row = [f"{number / 1e6:.0f}" for number in (each, arguments, temporary, total)]
        seconds = time.perf_counter() - start
        print(f"{count:>8} {row[0]:>9} {row[1]:>10} {row[2]:>10} {row[3]:>9} {seconds:>10.0f} s", flush=True)


if __name__ == "__main__":
    main()
