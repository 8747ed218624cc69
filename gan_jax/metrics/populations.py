"""What is measured: images (or points) in a fixed order, real or generated, and a description that tells them apart.

A population is read once, in batches that are split over the devices, whoever asks for how much of it.
"""

import collections
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from ml_collections import ConfigDict

from gan_jax import config as base
from gan_jax import parallel
from gan_jax.analysis.sampler import Sampler
from gan_jax.data import datasets, transforms, worlds
from gan_jax.errors import InputError

HELD_OUT = {"train": "test"}  # where a split of TFDS has another that it was not drawn from
Batches = Iterator[tuple[jax.Array, np.ndarray, int]]  # examples [B, ...] on the devices, labels [B], how many count


@dataclasses.dataclass(frozen=True)
class Population:
    """`count` examples of `shape`: images as uint8 (what a file would hold), points as float32.

    source: says what they are; together with `count` it is their part of a value's protocol.
    labelled: whether `batches` gives labels that mean something; `classes` is their number, 0 if nobody knows it.
    batches: `batches(batch_size)` goes through all of them; the last batch is filled up.
    names: of the files, where they come from a folder.
    """

    source: str
    count: int
    shape: tuple[int, ...]
    classes: int
    labelled: bool
    mesh: jax.sharding.Mesh
    batches: Callable[[int], Batches]
    names: tuple[str, ...] = ()

    @property
    def domain(self) -> str:
        return "image" if len(self.shape) == 3 else "point"

    def whole(self, batch_size: int) -> int:
        """`batch_size`, or what is enough for all, as a number that the devices can share and pairs fit in."""
        shards = 2 * parallel.batch_shards(self.mesh)
        return -(-min(batch_size, self.count) // shards) * shards


def generated(sampler: Sampler, count: int, seed: int = 0, truncation: float | None = None) -> Population:
    """Samples 0 to `count - 1` of a seed, the classes in turn, rounded to bytes as their files would be."""
    sampler.check_noise()
    sampler.check_truncation(truncation)
    quantise = jax.jit(transforms.to_uint8) if sampler.domain == "image" else (lambda points: points)

    def batches(batch_size: int) -> Batches:
        samples = sampler.batches(count, seed, truncation=truncation, batch_size=batch_size)
        return ((quantise(images), labels, number) for images, labels, number in samples)

    cut = "none" if truncation is None else f"{truncation:g}"
    source = f"{sampler.weights} weights, seed {seed}, truncation {cut}"
    classes = sampler.classes
    return Population(source, count, sampler.shape, classes, classes > 0, sampler.mesh, batches)


def real(
    section: ConfigDict, mesh: jax.sharding.Mesh, count: int | None = None, field: str | None = None
) -> Population:
    """The records of a data section, `count` of them evenly spaced or all; never mirrored, cut at the centre, and with
    their labels, also those that a semi-supervised game was not shown. `field` is the array to look at, as "a" of
    pairs; the main one if not given.

    Raises:
      InputError: if the data cannot be opened, or there are fewer.
    """
    section = ConfigDict(section.to_dict())
    section.crop = "center" if section.crop == "random" else section.crop
    section.labels_per_class = None
    data = datasets.open(section)
    if count is not None and count > len(data):
        raise InputError(f"{count} reference images were asked for, and '{section.name}' has only {len(data)}")
    if count is not None and count < len(data):
        section.size = count
        data = datasets.open(section)
    first, field = data.read(np.zeros(1, np.int64)), field or data.domain
    shape = first[field].shape[1:]
    labelled = "label" in first and len(data.classes) > 0
    fields = (field, "label") if labelled else (field,)

    def batches(batch_size: int) -> Batches:
        rows = parallel.local_rows(mesh, batch_size)
        starts = range(0, len(data), batch_size)
        records = [np.minimum(start + rows, len(data) - 1) for start in starts]
        for start, local in zip(starts, _read_ahead(data.read, records, section.workers), strict=True):
            batch = {name: parallel.global_array(local[name], rows, mesh, batch_size) for name in fields}
            labels = parallel.fetch(batch["label"]) if labelled else np.zeros(batch_size, np.int32)
            yield batch[field], labels, min(batch_size, len(data) - start)

    return Population(
        source=_describe(section, shape),
        count=len(data),
        shape=shape,
        classes=len(data.classes) if labelled else 0,
        labelled=labelled,
        mesh=mesh,
        batches=batches,
        names=_names(data),
    )


def held_out(
    section: ConfigDict, mesh: jax.sharding.Mesh, count: int | None = None, field: str | None = None
) -> Population:
    """Real examples that the data section does not hold: the test split, or a world drawn from another seed.

    Raises:
      InputError: if the dataset has none.
    """
    section = ConfigDict(section.to_dict())
    if section.name in worlds.BY_NAME:
        section.options = {**section.options, "seed": section.options.get("seed", 0) + 1}
    elif section.split.partition("[")[0] in HELD_OUT and section.name not in ("folder", "memory"):
        section.split, section.size = HELD_OUT[section.split.partition("[")[0]], None
    else:
        raise InputError(f"'{section.name}' has no examples that were held out; name a folder of them with --test")
    return real(section, mesh, count, field)


def folder(
    path: str | os.PathLike, mesh: jax.sharding.Mesh, resolution: int | None = None, count: int | None = None
) -> Population:
    """The images below a folder, or the array in an NPZ file."""
    name = "memory" if str(path).endswith(".npz") else "folder"
    return real(base.data(name=name, path=str(path), resolution=resolution), mesh, count)


def fingerprint(population: Population, batch_size: int = 256) -> str:
    """Hash of every byte of a population and of its labels, 16 hexadecimal digits."""
    digest = hashlib.sha256(repr((population.count, population.shape, population.labelled)).encode())
    for examples, labels, number in population.batches(population.whole(batch_size)):
        digest.update(np.ascontiguousarray(parallel.fetch(examples)[:number]).data)
        digest.update(np.ascontiguousarray(labels[:number], np.int32).data)
    return digest.hexdigest()[:16]


def _read_ahead(read: Callable, records: list[np.ndarray], workers: int) -> Iterator[dict[str, np.ndarray]]:
    """`read` of each of them, in order, in threads that stay a few batches ahead."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        waiting = collections.deque()
        for indices in records:
            waiting.append(pool.submit(read, indices))
            if len(waiting) > max(1, workers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _describe(section: ConfigDict, shape: tuple[int, ...]) -> str:
    """What a data section is, without where it lies."""
    path = pathlib.Path(section.path).name if section.name in datasets.FILES else ""
    options = [f"{key}={value}" for key, value in sorted(section.options.items())]
    split = "" if section.name in (*worlds.BY_NAME, "folder", "memory") else section.split
    words = [section.name, path, split, *options, "x".join(map(str, shape)), f"crop {section.crop}"]
    return " ".join(word for word in words if word)


def _names(data) -> tuple[str, ...]:
    root = getattr(data, "path", "")
    return tuple(os.path.relpath(file, root) for file in getattr(data, "files", ()))
