"""The only file that mentions meshes: which device holds what, and how processes find each other.

A mesh has two axes. `data` splits the examples of a batch; `fsdp` splits them too, and also the large leaves of the
state. With `fsdp = 1` the state is replicated. All code is written for the global view: arrays have their global shape
and the compiler places the communication.
"""

import math
import socket
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict

from gan_jax.errors import InputError

BATCH_AXES = ("data", "fsdp")
ALONE_FOR = 10 * 365 * 24 * 3600  # seconds for which a process that is alone may be silent
SMALLEST_SHARDED_LEAF = 2**14  # elements; splitting a smaller leaf costs more in messages than it saves in memory


def initialize(distributed: bool = False, coordinator: str = "", processes: int = 0, process: int = -1) -> None:
    """Joins the cluster, or founds a cluster of one. Must run before any device is asked for.

    Alone we still start JAX's distributed runtime, because its preemption service is what notices a SIGTERM. It ends a
    process that was silent for 100 seconds, and a laptop that slept was; with nobody to wait for it, that is no error.

    Args:
      distributed: whether other processes take part. Without the arguments below, JAX detects Slurm, Open MPI,
        Kubernetes and TPU pods by itself.
      coordinator: `host:port` of process 0.
      processes, process: their number, and which of them this one is.
    """
    if jax.distributed.is_initialized():
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if not distributed:
        address = f"127.0.0.1:{_free_port()}"
        jax.distributed.initialize(
            address,
            num_processes=1,
            process_id=0,
            heartbeat_timeout_seconds=ALONE_FOR,
            coordinator_bind_address=address,
        )
    elif coordinator:
        if processes < 1 or not 0 <= process < processes:
            raise InputError(
                f"--coordinator needs --processes N and --process 0..N-1, got --processes={processes} "
                f"--process={process}"
            )
        jax.distributed.initialize(coordinator, num_processes=processes, process_id=process)
    else:
        try:
            jax.distributed.initialize()
        except ValueError as error:
            raise InputError(
                f"--distributed: no cluster was detected ({error}). Start under Slurm, Open MPI, Kubernetes or on a "
                "TPU pod, or name one with --coordinator HOST:PORT --processes N --process I"
            ) from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_mesh(axes: Mapping[str, int] | ConfigDict, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh over these devices, all by default. One of the sizes in `axes` (`data`, `fsdp`) may be -1: what is left.

    Raises:
      InputError: if the sizes do not multiply to the number of devices.
    """
    unknown = set(axes) - set(BATCH_AXES)
    if unknown:
        raise InputError(f"config.mesh: unknown axis {sorted(unknown)}. Choices: {', '.join(BATCH_AXES)}")
    sizes = [int(axes.get(name, 1)) for name in BATCH_AXES]
    count = len(devices) if devices else jax.device_count()
    known = math.prod(size for size in sizes if size != -1)
    valid = all(size == -1 or size > 0 for size in sizes) and sizes.count(-1) <= 1
    if valid and -1 in sizes and count % known == 0:
        sizes[sizes.index(-1)] = count // known
    if not valid or math.prod(sizes) != count:
        raise InputError(
            f"config.mesh: data={axes.get('data', 1)} x fsdp={axes.get('fsdp', 1)} does not cover the {count} "
            "device(s); the sizes must multiply to that number, and one of them may be -1 for 'whatever is left'"
        )
    return jax.make_mesh(tuple(sizes), BATCH_AXES, axis_types=(AxisType.Auto, AxisType.Auto), devices=devices)


def batch_shards(mesh: Mesh) -> int:
    """Into how many parts the examples of a batch are split."""
    return math.prod(mesh.shape[name] for name in BATCH_AXES)


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    shards = batch_shards(mesh)
    if batch_size < 1 or batch_size % shards:
        raise InputError(
            f"config.batch_size={batch_size} is not divisible by the {shards} devices that share a batch; "
            f"use a multiple of {shards}"
        )


def batch_sharding(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Sharding of an array whose `axis` counts examples."""
    return NamedSharding(mesh, P(*[None] * axis, BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P())


def state_sharding(state, mesh: Mesh):
    """A sharding for every leaf: replicated, or, on a mesh with `fsdp > 1`, large leaves split along their longest
    dimension that divides evenly. Parameters, optimiser state and averages alike."""

    def sharding(leaf):
        parts = mesh.shape["fsdp"]
        dimensions = [i for i, size in enumerate(leaf.shape) if size % parts == 0]
        if parts == 1 or math.prod(leaf.shape) < SMALLEST_SHARDED_LEAF or not dimensions:
            return replicated(mesh)
        longest = max(dimensions, key=lambda i: leaf.shape[i])
        return NamedSharding(mesh, P(*["fsdp" if i == longest else None for i in range(leaf.ndim)]))

    return jax.tree.map(sharding, state)


def constrain(x: jax.Array, axis: int = 0) -> jax.Array:
    """Says that `axis` of `x` counts examples, so that it is split over the mesh in force.

    Does nothing outside a mesh, or where the examples do not divide evenly.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or x.shape[axis] % math.prod(mesh.shape[name] for name in BATCH_AXES):
        return x
    return jax.lax.with_sharding_constraint(x, P(*[None] * axis, BATCH_AXES))


def local_rows(mesh: Mesh, batch_size: int) -> np.ndarray:
    """Which examples of a global batch this process must provide, in increasing order."""
    places = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
    return np.unique(np.concatenate([np.arange(batch_size)[rows] for (rows,) in places.values()]))


def global_array(local: np.ndarray, rows: np.ndarray, mesh: Mesh, batch_size: int, axis: int = 0) -> jax.Array:
    """The global array of which this process holds `rows` along `axis`; `local` has them in that order."""
    shape = (*local.shape[:axis], batch_size, *local.shape[axis + 1 :])
    first = {int(row): place for place, row in enumerate(rows)}

    def shard(index):
        start, stop, _ = index[axis].indices(batch_size)
        return local[(slice(None),) * axis + (slice(first[start], first[start] + stop - start),)]

    return jax.make_array_from_callback(shape, batch_sharding(mesh, axis), shard)


def replicate(tree, mesh: Mesh):
    """The arrays of `tree`, equal on every process, as global arrays on every device; those that are already on the
    devices of the mesh stay as they are."""

    def place(leaf):
        if isinstance(leaf, jax.Array) and leaf.sharding.device_set == set(mesh.devices.flat):
            return leaf
        leaf = np.asarray(leaf)
        return jax.make_array_from_callback(leaf.shape, replicated(mesh), lambda index: leaf[index])

    return jax.tree.map(place, tree)


def fetch(tree):
    """The arrays of `tree` as NumPy arrays of their global shape, on every process."""
    addressable = all(leaf.is_fully_addressable for leaf in jax.tree.leaves(tree))
    return jax.device_get(tree) if addressable else multihost_utils.process_allgather(tree, tiled=True)
