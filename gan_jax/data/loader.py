"""Batches as a function of (seed, step): in what order records are read, and how they reach the devices.

The stream of a seed is endless. Position p of it holds record `shuffled(p)`, mirrored if `coin(p)`; minibatch m holds
positions m B to (m + 1) B - 1, and a step consumes `rounds` minibatches. Of unpaired data (a source with `parts`) each
part has a seed, and so an order, of its own. Nothing depends on the number of processes or devices, and no state is
saved: a resumed run asks for the next step. Grain runs the threads that read ahead. It does not shuffle: a call into
its `shuffle` costs 6 to 10 microseconds a record, longer than a small network takes to train on one, while the
permutation here is computed for whole arrays of positions.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import grain
import jax
import numpy as np
from ml_collections import ConfigDict

from gan_jax import parallel
from gan_jax.data import datasets, transforms
from gan_jax.errors import InputError

ON_DEVICE_LIMIT = 4 * 2**30  # bytes; beyond it a dataset crowds out the network it trains
SHUFFLE, MIRROR, CROP_DOWN, CROP_ACROSS, PREVIEW, PART = range(6)  # streams of random bits
HALF_ROUNDS = 8  # of the permutation
READ_AT_ONCE = 256  # records, when a whole dataset is read


def _mix(bits: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): a bijection of uint64 that looks random."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def random_bits(seed: int, stream: int, counter: np.ndarray) -> np.ndarray:
    """64 random bits for every element of `counter`, a pure function of all three."""
    key = _mix(_mix(np.array([seed % 2**64], np.uint64)) + np.uint64(stream))
    return _mix(_mix(np.asarray(counter).astype(np.uint64) ^ key) + key)


def shuffled(seed: int, positions: np.ndarray, records: int) -> np.ndarray:
    """The record at each position of the stream: in every epoch another permutation of all records.

    A Feistel network over pairs (left, right) of numbers below about the square root of `records`: each half in turn
    is shifted by a hash of the other, which is a bijection whatever the hash. The few pairs that stand for no record
    are sent through again (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).

    positions: int64 [...], not negative. Returns int64 [...] in [0, records).
    """
    epoch, index = np.divmod(np.asarray(positions, np.int64).ravel(), records)
    keys = random_bits(seed, SHUFFLE, epoch)
    rights = math.isqrt(records - 1) + 1
    lefts = -(-records // rights)
    sizes = np.uint64(lefts), np.uint64(rights)
    index = index.astype(np.uint64)
    outside = np.arange(len(index))
    while len(outside):
        halves = list(np.divmod(index[outside], sizes[1]))
        for step in range(HALF_ROUNDS):
            side = step % 2
            bits = _mix((halves[1 - side] + np.uint64(step << 56)) ^ keys[outside])
            halves[side] = (halves[side] + bits) % sizes[side]
        index[outside] = halves[0] * sizes[1] + halves[1]
        outside = outside[index[outside] >= records]
    return index.astype(np.int64).reshape(np.shape(positions))


def coin(seed: int, positions: np.ndarray) -> np.ndarray:
    """Whether the image at each position is mirrored, bool."""
    return random_bits(seed, MIRROR, positions) >> np.uint64(63) == 1


def crop_places(seed: int, positions: np.ndarray) -> np.ndarray:
    """Where the image at each position [n] is cut: (down, across), float64 [n,2] in [0,1)."""
    bits = [random_bits(seed, stream, positions) for stream in (CROP_DOWN, CROP_ACROSS)]
    return (np.stack(bits, axis=-1) >> np.uint64(11)) * 2.0**-53


class Part(NamedTuple):
    """A source that is read in an order of its own: all of the data, but for unpaired data."""

    source: object
    number: int
    fields: tuple[str, ...]

    def seed(self, seed: int) -> int:
        return int(random_bits(seed, PART, np.array([self.number]))[0]) if self.number else seed

    def key(self, name: str) -> str:
        """The name of an array that belongs to this part alone."""
        return f"{name}/{self.number}" if self.number else name


class Loader:
    """The batches of one stage.

    section: a resolved data section (`datasets.resolve`). batch_size: examples of a minibatch, over all devices.
    rounds: minibatches per step; more than one add an axis.

    Raises:
      InputError: if the data cannot be opened, does not fit the mesh or the device's memory, or asks for what
        contradicts itself.
    """

    def __init__(self, section: ConfigDict, *, seed: int, batch_size: int, rounds: int, mesh: jax.sharding.Mesh):
        parallel.check_batch_size(batch_size, mesh)
        self.source = datasets.open(section)
        self.section, self.seed, self.batch_size, self.rounds, self.mesh = section, seed, batch_size, rounds, mesh
        self.rows = parallel.local_rows(mesh, batch_size)
        self._axis = 1 if rounds == 1 else 2  # where the examples are: after the steps and the rounds
        sources = getattr(self.source, "parts", (self.source,))
        examples = [source.read(np.zeros(1, np.int64)) for source in sources]
        self._parts = [Part(sources[k], k, tuple(example)) for k, example in enumerate(examples)]
        self._example = {field: array for example in examples for field, array in example.items()}
        _check(section, self._example, len(self.source))
        self._table = None
        images = frozenset(f for f, a in self._example.items() if _is_image(a))
        self._finish = partial(_finish, parts=self._parts, images=images)
        self._finish_call = jax.jit(self._finish, out_shardings=parallel.batch_sharding(mesh, self._axis))

    def calls(self, plan: Iterable[tuple[int, int]]) -> Iterator[dict[str, jax.Array]]:
        """The batches of every call `(first step, number of steps)` of the plan, read ahead in threads.

        Yields dicts of global arrays [steps, (rounds,) B, ...]: uint8 images as float32 in [-1, 1], all else as read.
        The threads end with the iterator.

        Raises:
          InputError: if a record cannot be read, at the call that needs it.
        """
        plan = list(plan)
        if self.section.on_device and self._table is None:
            self._table = self._upload()
        local_calls = self._indices(plan) if self.section.on_device else self._read_ahead(plan)
        with contextlib.closing(local_calls):
            for local in local_calls:
                with jax.transfer_guard_host_to_device("allow"):  # the one transfer that is meant
                    batch = {
                        field: parallel.global_array(array, self.rows, self.mesh, self.batch_size, self._axis)
                        for field, array in local.items()
                    }
                yield self._finish_call(batch, self._table)

    def spec(self, steps: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes, dtypes and shardings of a call's batches. Reads nothing."""
        lead = (steps, *([self.rounds] if self.rounds > 1 else []), self.batch_size)
        raw = {field: jax.ShapeDtypeStruct((*lead, *a.shape[1:]), a.dtype) for field, a in self._example.items()}
        sharding = parallel.batch_sharding(self.mesh, self._axis)
        return {
            field: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
            for field, leaf in jax.eval_shape(self._finish, raw, None).items()
        }

    def preview(self, examples: int) -> dict[str, jax.Array]:
        """A fixed batch for pictures, on every device: the first examples of a stream of its own, not mirrored.

        Labels, if there are any, are replaced by conditions: in a square grid of ceil(sqrt(examples)) columns, row r
        shows class r modulo the number of classes.
        """
        seed = int(random_bits(self.seed, PREVIEW, np.zeros(1))[0])
        batch = self._read(seed, np.arange(examples))
        if "label" in batch and self.source.classes:
            rows = np.arange(examples) // math.ceil(math.sqrt(examples))
            batch["label"] = (rows % len(self.source.classes)).astype(np.int32)
        everywhere = parallel.replicated(self.mesh)
        return jax.jit(self._finish, out_shardings=everywhere)({k: self._everywhere(v) for k, v in batch.items()}, None)

    def minibatch(self, number: int, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Minibatch `number` of the stream on the host: all fields as read and, with `flip`, `mirror` bool.

        rows: which of the B examples; None is all of them. Each is the same whichever others are asked for.
        """
        positions = number * self.batch_size + (np.arange(self.batch_size) if rows is None else rows)
        return self._read(self.seed, positions) | self._flips(positions)

    def _read(self, seed: int, positions: np.ndarray) -> dict[str, np.ndarray]:
        batch = {}
        for part in self._parts:
            own = part.seed(seed)
            where = [crop_places(own, positions)] if self.section.crop in transforms.PLACED else []
            batch |= part.source.read(shuffled(own, positions, len(part.source)), *where)
        return batch

    def _flips(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        parts = self._parts if self.section.flip else []
        return {part.key("mirror"): coin(part.seed(self.seed), positions) for part in parts}

    def _read_ahead(self, plan: list[tuple[int, int]]) -> Iterator[dict[str, np.ndarray]]:
        """The local part of every call, read minibatch by minibatch in threads."""
        rounds, workers = self.rounds, self.section.workers
        numbers = np.fromiter((m for step, n in plan for m in range(step * rounds, (step + n) * rounds)), np.int64)
        options = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=2 * workers)
        pipeline = grain.MapDataset.source(numbers).map(lambda number: self.minibatch(int(number), self.rows))
        minibatches = iter(pipeline.to_iter_dataset(options))
        try:
            for _, steps in plan:
                read = [next(minibatches) for _ in range(steps * rounds)]
                yield {field: self._stack([batch[field] for batch in read], steps) for field in read[0]}
        finally:
            minibatches.close()

    def _stack(self, arrays: list[np.ndarray], steps: int) -> np.ndarray:
        lead = (steps, self.rounds) if self.rounds > 1 else (steps,)
        return np.stack(arrays).reshape(*lead, *arrays[0].shape)

    def _indices(self, plan: list[tuple[int, int]]) -> Iterator[dict[str, np.ndarray]]:
        """The same for a dataset on the device: which records, and which of them to mirror."""
        for step, steps in plan:
            lead = (steps, self.rounds) if self.rounds > 1 else (steps,)
            minibatches = step * self.rounds + np.arange(math.prod(lead)).reshape(*lead, 1)
            positions = minibatches * self.batch_size + self.rows
            records = {
                part.key("record"): shuffled(part.seed(self.seed), positions, len(part.source)).astype(np.int32)
                for part in self._parts
            }
            yield records | self._flips(positions)

    def _upload(self) -> dict[str, jax.Array]:
        """The whole dataset, on every device."""
        table = {}
        for part in self._parts:
            records = np.arange(len(part.source))
            pieces = [records[i : i + READ_AT_ONCE] for i in range(0, len(records), READ_AT_ONCE)]
            with ThreadPoolExecutor(max(1, self.section.workers)) as pool:
                read = list(pool.map(part.source.read, pieces))
            table |= {f: self._everywhere(np.concatenate([piece[f] for piece in read])) for f in part.fields}
        return table

    def _everywhere(self, array: np.ndarray) -> jax.Array:
        with jax.transfer_guard_host_to_device("allow"):
            return jax.make_array_from_callback(array.shape, parallel.replicated(self.mesh), lambda i: array[i])


def _finish(batch: dict, table: dict | None, *, parts: list[Part], images: frozenset[str]) -> dict:
    """On the device: looks records up in the table, if there is one; turns images to floats and mirrors them."""
    finished = {}
    for part in parts:
        mask = batch.get(part.key("mirror"))
        for field in part.fields:
            array = batch[field] if table is None else table[field]
            if table is not None:
                array = array.at[batch[part.key("record")]].get(mode="promise_in_bounds")
            if field in images:
                array = transforms.to_float(array)
                array = array if mask is None else transforms.mirror(array, mask)
            finished[field] = array
    return finished


def _is_image(array: np.ndarray) -> bool:
    return array.dtype == np.uint8 and array.ndim == 4


def _check(section: ConfigDict, example: dict[str, np.ndarray], records: int) -> None:
    """Refuses what would fail later, or silently give wrong batches."""
    for field, array in example.items():
        if array.dtype.kind not in "biuf":
            raise InputError(f"config.data.options.fields: '{field}' is text, which no device can hold; leave it out")
        if section.flip and field not in ("label", "labelled_label") and not _is_image(array):
            raise InputError(
                f"config.data.flip=True mirrors images, not the field '{field}'; use False or leave it out"
            )
    if section.workers < 0:
        raise InputError(f"config.data.workers={section.workers} must be 0 (read without threads) or more")
    if not section.on_device:
        return
    if section.crop in transforms.PLACED:
        raise InputError(
            "config.data.on_device=True keeps every image as it is; it needs config.data.crop=none or center"
        )
    size = records * sum(array.nbytes for array in example.values())
    if size > ON_DEVICE_LIMIT:
        raise InputError(
            f"config.data.on_device=True: {records} records take {size / 2**30:.1f} GiB, more than the "
            f"{ON_DEVICE_LIMIT / 2**30:.0f} GiB that fit beside a network; use False, a smaller size or resolution"
        )
