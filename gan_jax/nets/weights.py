"""Weights that others have trained: where their files come from, and how they are read without the framework of origin.

Files are downloaded once, by `python launch/prepare.py --weights NAME`, into `$GAN_JAX_CACHE` or `~/.cache/gan_jax`,
and kept only if their SHA-256 is right. `read` knows PyTorch's state dicts (zip and legacy), TorchScript, TensorFlow's
GraphDef and NPZ. PyTorch's files are pickles, and a pickle is a program: here it may put together dictionaries, lists
and descriptions of tensors; anything else it asks for is refused, nothing is imported and no code of the file runs.
"""

import collections
import hashlib
import http.client
import io
import math
import os
import pathlib
import pickle
import re
import struct
import urllib.parse
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from tqdm import tqdm

from gan_jax.errors import InputError, choose


class File(NamedTuple):
    url: str
    sha256: str  # the whole of it, or its first digits
    what: str


FILES = {
    "inception": File(
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "Inception of 2015-12-05, which FID, KID and the Inception score are defined by (96 MB)",
    ),
    "vgg16": File(
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "torchvision's VGG-16, for precision and recall, LPIPS and the perceptual path length (528 MB)",
    ),
    "lpips": File(
        "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/vgg.pth",
        "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
        "LPIPS's weights of VGG-16's channels, version 0.1 (7 kB)",
    ),
}
COMMAND = "python launch/prepare.py --weights {name}"


# Files


def cache() -> pathlib.Path:
    """The folder of downloaded weights."""
    return pathlib.Path(os.environ.get("GAN_JAX_CACHE") or "~/.cache/gan_jax").expanduser()


def find(name: str) -> pathlib.Path:
    """The file of that name of `FILES`, or of that URL, in the cache folder.

    Raises:
      InputError: an unknown name, or a file that is not there, with the command that gets it.
    """
    file, path = _place(name)
    if not path.is_file():
        raise InputError(f"{file.what}: {path} is not there; get it with: {COMMAND.format(name=name)}")
    return path


def fetch(name: str) -> pathlib.Path:
    """Downloads the file of that name of `FILES`, or of a URL, unless it lies in the cache folder already.

    A URL must name its file as PyTorch's hub does, with the first 8 or more digits of the SHA-256 before the ending.
    The file appears in the cache folder whole and checked, or not at all.

    Raises:
      InputError: an unknown name, a URL without a hash, no network, no space, or other bytes than were expected.
    """
    file, path = _place(name)
    if path.is_file() and sha256(path).startswith(file.sha256):
        return path
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = _download(file.url, part)
        if not digest.startswith(file.sha256):
            raise InputError(f"{file.url}: has sha256 {digest}, must begin with {file.sha256}; nothing was kept")
        part.replace(path)
    except InputError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InputError(f"{file.url} was not downloaded ({error}); by hand, put it in {path}") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def sha256(path: str | os.PathLike) -> str:
    """Of a file's bytes, 64 hexadecimal digits. InputError if it cannot be opened."""
    try:
        with open(pathlib.Path(path).expanduser(), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def _place(name: str) -> tuple[File, pathlib.Path]:
    """What to download, and where to."""
    if "://" not in name:
        file = choose(name, FILES, "weights")
        return file, cache() / f"{name}-{file.sha256[:8]}{pathlib.PurePosixPath(file.url).suffix}"
    base = pathlib.PurePosixPath(urllib.parse.urlsplit(name).path).name
    digits = re.search(r"-([0-9a-f]{8,64})\.\w+$", base)
    if not digits:
        raise InputError(f"{name}: the file's name must end with digits of its sha256, such as NAME-0123abcd.pth")
    return File(name, digits[1], base), cache() / base


def _download(url: str, path: pathlib.Path) -> str:
    """Writes what lies at `url` to `path`; its SHA-256."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=60) as source, open(path, "wb") as target:
        size = int(source.headers.get("Content-Length") or 0)
        with tqdm(total=size or None, unit="B", unit_scale=True, desc=url.rpartition("/")[2], disable=None) as bar:
            while block := source.read(1 << 20):
                digest.update(block)
                target.write(block)
                bar.update(len(block))
    return digest.hexdigest()


# Formats


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """All arrays of a file of weights by name; those of nested dictionaries and modules are joined by dots.

    Names, shapes and orders of axes are the file's own. What is not an array is passed over.

    Raises:
      InputError: no such file, not of a known format, incomplete, without arrays, or with anything in its pickle that
        is not part of a dictionary of tensors.
    """
    path = pathlib.Path(path).expanduser()
    try:
        with open(path, "rb") as file:
            arrays = _format(file.read(4))(file)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # whatever a damaged file leads to
        raise InputError(f"{path}: is damaged or incomplete ({type(error).__name__}: {error})") from error
    if not arrays:
        raise InputError(f"{path}: holds no arrays")
    return arrays


def _format(start: bytes) -> Callable[[io.BufferedIOBase], dict[str, np.ndarray]]:
    if start == b"PK\x03\x04":
        return _read_zip
    if start[:1] == b"\x80":  # how a pickle of protocol 2 begins
        return _read_legacy
    if start[:1] == b"\x0a":  # field 1 of a protocol buffer: a node
        return _read_graph
    raise InputError("is not a file of weights: neither PyTorch, nor TensorFlow's GraphDef, nor NPZ")


class Storage(NamedTuple):
    """Numbers in a row, as PyTorch's pickles point to them."""

    kind: str
    key: str
    size: int
    offset: int = 0


class Tensor(NamedTuple):
    """A view of a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag")


class _Unpickler(pickle.Unpickler):
    """Makes plain data and descriptions of tensors, and refuses the rest.

    The functions and the class that a pickle may use are made anew for each file: it can change its own ones at most.
    """

    def __init__(self, file: io.BufferedIOBase):
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, Storage] = {}
        self.module = type("Module", (), {})  # of TorchScript: attributes without methods
        self._known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch", "Size"): tuple,
            ("torch._utils", "_rebuild_tensor"): lambda *view: Tensor(*view),
            ("torch._utils", "_rebuild_tensor_v2"): lambda *view: Tensor(*view[:4]),
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        }
        self._known |= {("torch", kind): kind for kind in STORAGES}
        self._known |= {("torch.jit._pickle", name): lambda values, *_: values for name in LISTS}

    def find_class(self, module: str, name: str):
        if module.startswith("__torch__"):
            return self.module
        if (module, name) not in self._known:
            raise InputError(f"asks for '{module}.{name}', which is no part of a dictionary of tensors: refused")
        return self._known[module, name]

    def persistent_load(self, pid) -> Storage:
        _, kind, key, _, size, *view = pid
        self.storages[key] = Storage(kind, key, size)
        return self.storages[key]._replace(offset=view[0][1]) if view and view[0] else self.storages[key]

    def arrays(self, tree, data: Callable[[Storage], bytes]) -> dict[str, np.ndarray]:
        """The tensors in what `load` gave. `data`: the bytes of a storage."""
        rows = {}
        for key, storage in self.storages.items():
            rows[key] = np.frombuffer(data(storage), STORAGES[storage.kind])
            if len(rows[key]) != storage.size:
                raise InputError(f"storage '{key}' has {len(rows[key])} numbers, should have {storage.size}")
        return {name: _view(tensor, rows) for name, tensor in self._tensors(tree, ())}

    def _tensors(self, tree, path: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
        if isinstance(tree, Tensor):
            yield ".".join(path), tree
            return
        tree = vars(tree) if isinstance(tree, self.module) else tree
        tree = dict(enumerate(tree)) if isinstance(tree, (list, tuple)) else tree
        if isinstance(tree, dict):
            for key, value in tree.items():
                yield from self._tensors(value, (*path, str(key)))


def _view(tensor: Tensor, rows: dict[str, np.ndarray]) -> np.ndarray:
    (_, key, _, start), offset, shape, strides = tensor
    row = rows[key][start + offset :]
    end = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if min((0, start, offset, *shape, *strides)) < 0 or (math.prod(shape) and end > len(row)):
        raise InputError(f"a tensor of shape {list(shape)} reaches beyond its storage '{key}'")
    steps = [stride * row.itemsize for stride in strides]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(row, shape, steps)).reshape(shape)


def _read_zip(file: io.BufferedIOBase) -> dict[str, np.ndarray]:
    """PyTorch since 1.6 and TorchScript: `*/data.pkl` with the storages in `*/data/KEY`; else NPZ."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = sorted((name for name in names if name.endswith("/data.pkl")), key=len)
        if pickles:
            folder = pickles[0].removesuffix("data.pkl")
            if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
                raise InputError("was written by a big-endian machine, which is not supported")
            unpickler = _Unpickler(archive.open(pickles[0]))
            return unpickler.arrays(unpickler.load(), lambda storage: archive.read(f"{folder}data/{storage.key}"))
    if not all(name.endswith(".npy") for name in names):
        raise InputError("is a zip file, but neither PyTorch's nor NPZ")
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _read_legacy(file: io.BufferedIOBase) -> dict[str, np.ndarray]:
    """PyTorch before 1.6: five pickles (magic number, version, system, tensors, keys), then the storages by key."""
    file.seek(0)
    if [_Unpickler(file).load(), _Unpickler(file).load()] != [0x1950A86A20F9469CFC6C, 1001]:
        raise InputError("is a pickle, but not one of PyTorch's")
    if not _Unpickler(file).load()["little_endian"]:
        raise InputError("was written by a big-endian machine, which is not supported")
    unpickler = _Unpickler(file)
    tree = unpickler.load()
    data = {}
    for key in _Unpickler(file).load():
        (size,) = struct.unpack("<q", file.read(8))
        data[key] = file.read(size * np.dtype(STORAGES[unpickler.storages[key].kind]).itemsize)
    return unpickler.arrays(tree, lambda storage: data[storage.key])


# https://github.com/tensorflow/tensorflow/blob/master/tensorflow/core/framework/types.proto
TENSORFLOW = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 14: ml_dtypes.bfloat16}
REPEATED = {1: (5, "<f4"), 2: (6, "<f8")}  # the field of numbers that are written one by one


def _read_graph(file: io.BufferedIOBase) -> dict[str, np.ndarray]:
    """The constants of a GraphDef by the names of their nodes; integers written one by one (sizes, axes) are left."""
    file.seek(0)
    arrays = {}
    for node in map(_message, _message(memoryview(file.read()))[1]):
        if node[2] != [b"Const"]:
            continue
        for attribute in map(_message, node[5]):
            if attribute[1] == [b"value"]:
                array = _constant(_message(_message(attribute[2][0])[8][0]))
                arrays |= {} if array is None else {bytes(node[1][0]).decode(): array}
    return arrays


def _constant(tensor: dict[int, list]) -> np.ndarray | None:
    """The array of a TensorProto, None where it holds no numbers of a known type."""
    kind = tensor[1][0]
    shape = [sum(_message(size)[1]) for size in _message(tensor[2][0])[2]] if tensor[2] else []
    if tensor[4] and kind in TENSORFLOW:
        return np.frombuffer(tensor[4][0], TENSORFLOW[kind]).reshape(shape)
    if kind not in REPEATED:
        return None
    field, dtype = REPEATED[kind]
    values = np.concatenate([np.zeros(0, dtype), *(np.frombuffer(value, dtype) for value in tensor[field])])
    missing = math.prod(shape) - len(values)  # the last one stands for all that follow
    return np.pad(values, (0, missing), "edge" if len(values) else "constant").reshape(shape)


def _message(buffer: memoryview) -> dict[int, list]:
    """The values of each field of a protocol buffer: integers, or the bytes of anything else."""
    fields, at = collections.defaultdict(list), 0
    while at < len(buffer):
        tag, at = _varint(buffer, at)
        if tag & 7 == 0:
            value, at = _varint(buffer, at)
        else:
            size, at = _varint(buffer, at) if tag & 7 == 2 else ({1: 8, 5: 4}[tag & 7], at)
            value, at = buffer[at : at + size], at + size
        fields[tag >> 3].append(value)
    if at > len(buffer):
        raise ValueError(f"ends {at - len(buffer)} bytes too early")
    return fields


def _varint(buffer: memoryview, at: int) -> tuple[int, int]:
    """(the number at this place, 7 bits in a byte and the lowest first; the place after it)"""
    number = shift = 0
    while True:
        number |= (buffer[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if buffer[at - 1] < 128:
            return number, at
