"""Datasets as random access: a source has a length and reads any records at once.

What the rest of the library asks of a source, and what the worlds of `data/worlds/` offer too:

    domain       "image" or "point": the key of the main array; "b" of images to translate `a` into (translation.py)
    classes      names of the labels, () if there are none
    resolution   (H, W), and channels; None for points
    len(source)  number of records
    read(indices int64 [n]) -> {field: array with a leading axis n}
                 image uint8 [n,H,W,C], label int32 [n], point float32 [n,D], ...

The sources of real images also take `where` float32 [n,2] in [0,1): the place of a random crop in each image.
"""

import contextlib
import dataclasses
import difflib
import io
import os
import pathlib
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from absl import logging
from PIL import Image, ImageOps

from gan_jax.data.transforms import CENTRE, Fit
from gan_jax.errors import InputError, choices

ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT, TRANSPOSED = 1, range(5, 9)  # its values: nothing to do, quarter turns
KEPT = 2**28  # bytes of decoded images that a folder keeps where small windows are cut of them again and again
COMMAND = "python launch/prepare.py --name {name}"


def decode(file, what: str) -> np.ndarray:
    """An encoded image (a path or a binary file) as uint8 [h,w,c]: grey 1, RGB 3, with transparency 4 channels.

    The first frame of an animation, turned as its EXIF orientation says; palettes are looked up, 16 bits of grey
    become 8, CMYK and the like become RGB. `what` names the image in errors.

    Raises:
      InputError: if the image cannot be read, or has floating-point pixels, whose range nobody knows.
    """
    try:
        with Image.open(file) as image:
            if _orientation(image) != UPRIGHT:
                ImageOps.exif_transpose(image, in_place=True)
            if image.mode == "F":
                raise InputError(f"{what}: floating-point pixels have no known range; save the image with 8 or 16 bits")
            if image.mode.startswith("I"):
                return (np.clip(np.asarray(image), 0, 65535) // 256).astype(np.uint8)[..., None]
            pixels = np.asarray(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[_channels(image)]))
            return pixels if pixels.ndim == 3 else pixels[..., None]
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise what they like: OSError, SyntaxError, struct.error...
        raise InputError(f"{what}: cannot be read as an image ({str(error) or type(error).__name__})") from error


def _orientation(image: Image.Image) -> int:
    if image.format == "PNG" and "exif" not in image.info:
        return UPRIGHT  # Pillow would decode the whole image to look behind the pixels, where it may stand too
    return image.getexif().get(ORIENTATION, UPRIGHT)


def _channels(image: Image.Image) -> int:
    if image.has_transparency_data:
        return 4
    return 1 if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;") else 3


def _header(path: str) -> tuple[tuple[int, int], int]:
    """((height, width), channels) as `decode` will give them, without decoding."""
    try:
        with Image.open(path) as image:
            turned = _orientation(image) in TRANSPOSED
            return image.size if turned else image.size[::-1], _channels(image)
    except Exception as error:
        raise InputError(f"{path}: cannot be read as an image ({str(error) or type(error).__name__})") from error


class Folder:
    """All images below a folder, of any format that Pillow reads, in sorted order.

    Sub-folders are classes, by the first folder below `path`; images directly in `path` have no labels. Other files
    and hidden ones are passed over. Headers are read here if size or channels must be found out; pixels in `read`.

    Raises:
      InputError: no such folder, no images, images both beside and inside sub-folders, an unreadable image, or, where
        no `resolution` or `channels` is given, images that differ in it.
    """

    domain = "image"

    def __init__(
        self,
        path,
        resolution: tuple[int, int] | None = None,
        channels: int | None = None,
        crop: str = "none",
        enlarged: tuple[int, int] | None = None,
    ):
        self.path = os.path.expanduser(path)
        self.files = _images_below(self.path)
        tops = [os.path.relpath(file, self.path).split(os.sep)[:-1][:1] for file in self.files]
        loose, inside = tops.count([]), len(tops) - tops.count([])
        if loose and inside:
            raise InputError(
                f"config.data.path={path}: {loose} images lie directly in the folder and {inside} in sub-folders; "
                "put all into sub-folders, one per class, or all directly in the folder"
            )
        self.classes = tuple(sorted({name for (name,) in tops})) if inside else ()
        numbers = {name: number for number, name in enumerate(self.classes)}
        self._labels = np.array([numbers[name] for (name,) in tops] if inside else [], np.int32)
        if resolution is None or channels is None:
            found = self._scan(resolution is None, channels is None)
            resolution, channels = resolution or found[0], channels or found[1]
        self.resolution, self.channels = resolution, channels
        self._fit = Fit(resolution, channels, crop, enlarged)
        self._kept: dict[int, np.ndarray] = {}
        self._room = KEPT if crop == "patch" else 0

    def _scan(self, sizes: bool, channels: bool) -> tuple[tuple[int, int], int]:
        with ThreadPoolExecutor(16) as pool:
            headers = list(pool.map(_header, self.files))
        for file, (size, kind) in zip(self.files, headers, strict=True):
            if sizes and size != headers[0][0]:
                a, b = headers[0][0], size
                raise InputError(
                    f"config.data.path={self.path}: images differ in size: {self.files[0]} is {a[0]}x{a[1]}, {file} "
                    f"is {b[0]}x{b[1]} (height x width); set --config.data.resolution, e.g. {min(a)}, and "
                    "config.data.crop"
                )
            if channels and kind != headers[0][1]:
                names = {1: "grey (1 channel)", 3: "RGB (3 channels)", 4: "RGBA (4 channels)"}
                raise InputError(
                    f"config.data.path={self.path}: images differ in channels: {self.files[0]} is "
                    f"{names[headers[0][1]]}, {file} is {names[kind]}; set config.data.channels=1 or 3"
                )
        return headers[0]

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: np.ndarray, where: np.ndarray | None = None) -> dict[str, np.ndarray]:
        batch = {"image": fitted([self._decoded(int(i)) for i in indices], self._fit, where)}
        return batch | {"label": self._labels[indices]} if self.classes else batch

    def _decoded(self, index: int) -> np.ndarray:
        image = self._kept.get(index)
        if image is None:
            image = decode(self.files[index], self.files[index])
            if image.nbytes <= self._room:
                self._room -= image.nbytes
                self._kept[index] = image
        return image


def _images_below(path: str) -> list[str]:
    if not os.path.isdir(path):
        raise InputError(f"config.data.path={path}: no such folder")
    Image.init()
    formats = Image.registered_extensions()
    found = []
    for folder, folders, files in os.walk(path, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and formats.get(os.path.splitext(name)[1].lower()) in Image.OPEN:
                found.append(os.path.join(folder, name))
    if not found:
        raise InputError(f"config.data.path={path}: no images in this folder (by extension, e.g. .png, .jpg, .webp)")
    return sorted(found)


def fitted(images: list[np.ndarray], fit: Fit, where: np.ndarray | None) -> np.ndarray:
    """uint8 [n,H,W,C] of so many images of any size; `where` [n,2] tells random crops their places."""
    where = [CENTRE] * len(images) if where is None else where
    return np.stack([fit(image, place) for image, place in zip(images, where, strict=True)])


class TFDS:
    """A dataset that launch/prepare.py has written as ArrayRecord; TensorFlow is not imported.

    Images are decoded by Pillow like those of a folder, several times faster than by TFDS itself without OpenCV.

    Raises:
      InputError: unknown name or split, not prepared, no images, or images of many sizes and no `resolution`.
    """

    domain = "image"

    def __init__(
        self,
        name: str,
        split: str = "train",
        data_dir: str = "",
        resolution: tuple[int, int] | None = None,
        channels: int | None = None,
        crop: str = "none",
        known: tuple[str, ...] = (),
    ):
        import tensorflow_datasets as tfds  # half a second that worlds and folders need not pay

        self.name, self.split = name, split
        with _quiet():
            builder = tfds_builder(name, data_dir, known)
            if not builder.is_prepared():
                command = COMMAND.format(name=name) + (f" --data_dir {data_dir}" if data_dir else "")
                raise InputError(f"config.data.name='{name}' is not prepared in {builder.data_path}; run: {command}")
            features = builder.info.features
            self._image = _feature(features, tfds.features.Image, "image")
            self._label = _feature(features, tfds.features.ClassLabel, "label")
            if self._image is None:
                raise InputError(f"config.data.name='{name}' has no images; its features are {choices(features)}")
            images = [key for key in features if isinstance(features[key], tfds.features.Image)]
            self._records = _open_split(builder, split, decoders=dict.fromkeys(images, tfds.decode.SkipDecoding()))
        label = features[self._label] if self._label else None
        self.classes = tuple(label.names or map(str, range(label.num_classes))) if label else ()
        height, width, own = features[self._image].shape
        if resolution is None and None in (height, width):
            raise InputError(f"config.data.name='{name}' has images of many sizes; set --config.data.resolution")
        self.resolution, self.channels = resolution or (height, width), channels or own or 3
        self._fit = Fit(self.resolution, self.channels, crop)

    def __len__(self) -> int:
        return len(self._records)

    def read(self, indices: np.ndarray, where: np.ndarray | None = None) -> dict[str, np.ndarray]:
        records = self._records.__getitems__([int(i) for i in indices])
        images = [
            decode(io.BytesIO(record[self._image]), f"{self.name}/{self.split}, record {i}")
            for i, record in zip(indices, records, strict=True)
        ]
        batch = {"image": fitted(images, self._fit, where)}
        return batch | {"label": np.array([r[self._label] for r in records], np.int32)} if self._label else batch


def tfds_builder(name: str, data_dir: str = "", known: tuple[str, ...] = (), **options):
    """TFDS's builder of that name. `known`: names that are no datasets of TFDS, but could have been meant.

    Raises:
      InputError: unknown name, version or configuration, with the nearest names.
    """
    import tensorflow_datasets as tfds

    if not re.fullmatch(r"\w+(/[\w.-]+)?(:[\d.*]+)?", name):
        raise InputError(f"'{name}' is not a dataset's name: NAME, NAME/CONFIGURATION or NAME:VERSION")
    try:
        return tfds.builder(name, data_dir=os.path.expanduser(data_dir) or None, **options)
    except tfds.core.registered.DatasetNotFoundError:
        names = [*known, *tfds.list_builders(with_community_datasets=False)]
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        own = f"{', '.join(known)}, and those of TFDS, " if known else ""
        raise InputError(
            f"unknown dataset '{name}'.{hint} Choices: {own}https://www.tensorflow.org/datasets/catalog"
        ) from None
    except (ValueError, AssertionError, ImportError) as error:  # unknown configuration or version, missing package
        if "File format is already set" in str(error):
            raise InputError(
                f"dataset '{name}' lies in {data_dir or '~/tensorflow_datasets'} already, but not as ArrayRecord; "
                "name another folder with --data_dir"
            ) from error
        raise InputError(f"dataset '{name}': {' '.join(str(error).split())}") from error


def _open_split(builder, split: str, **options):
    try:
        return builder.as_data_source(split, **options)
    except NotImplementedError:
        raise InputError(
            f"config.data.name='{builder.name}' is prepared in {builder.data_path}, but not as ArrayRecord; prepare it "
            f"once more elsewhere: {COMMAND.format(name=builder.name)} --data_dir FOLDER"
        ) from None
    except ValueError as error:
        if "split" not in str(error).lower():
            raise
        splits = builder.info.splits
        raise InputError(
            f"config.data.split='{split}' is not a split of {builder.name}. Choices: {choices(splits)}, or a part "
            f"such as '{min(splits)}[:10%]'"
        ) from None


def _feature(features, kind: type, usual: str) -> str | None:
    """The key of the feature of that kind: the usual one, else the first."""
    keys = [key for key in features if isinstance(features[key], kind)]
    return usual if usual in keys else next(iter(keys), None)


@contextlib.contextmanager
def _quiet():
    """TFDS warns through absl of what the InputErrors here say better."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


class Memory:
    """Arrays in memory: `image` uint8 [N,H,W] or [N,H,W,C], or `point` [N,D]; optionally `label`, integers from 0.

    Raises:
      InputError: naming the array and what it should have been.
    """

    def __init__(self, arrays: dict[str, np.ndarray], name: str = "arrays in memory"):
        if ("image" in arrays) == ("point" in arrays):
            raise InputError(f"{name}: needs either 'image' or 'point', has {choices(arrays) or 'nothing'}")
        self.domain = "image" if "image" in arrays else "point"
        main = np.asarray(arrays[self.domain])
        if self.domain == "image":
            if main.dtype != np.uint8 or main.ndim not in (3, 4) or 0 in main.shape:
                raise InputError(
                    f"{name}: 'image' is {main.dtype} {list(main.shape)}, must be uint8 [N,H,W] or [N,H,W,C] in 0..255"
                )
            main = main if main.ndim == 4 else main[..., None]
        elif main.ndim != 2 or not np.issubdtype(main.dtype, np.number) or 0 in main.shape:
            raise InputError(f"{name}: 'point' is {main.dtype} {list(main.shape)}, must be numbers [N,D]")
        elif not np.isfinite(main).all():
            raise InputError(f"{name}: 'point' has values that are not finite")
        self._arrays = {self.domain: main if self.domain == "image" else main.astype(np.float32)}
        if "label" in arrays:
            self._arrays["label"] = _check_labels(np.asarray(arrays["label"]), len(main), name)
        self.classes = tuple(map(str, range(self._arrays["label"].max() + 1))) if "label" in arrays else ()
        self.resolution = main.shape[1:3] if self.domain == "image" else None
        self.channels = main.shape[-1]

    def __len__(self) -> int:
        return len(self._arrays[self.domain])

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {field: array[indices] for field, array in self._arrays.items()}


def _check_labels(labels: np.ndarray, records: int, name: str) -> np.ndarray:
    if labels.shape != (records,) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise InputError(
            f"{name}: 'label' is {labels.dtype} {list(labels.shape)}, must be integers from 0 of shape [{records}]"
        )
    return labels.astype(np.int32)


def from_npz(path) -> Memory:
    """The arrays of an .npz file (numpy.savez) as a source. InputError if it is missing or not such a file."""
    path = pathlib.Path(path).expanduser()
    try:
        with np.load(path, allow_pickle=False) as file:
            return Memory({key: file[key] for key in file.files}, name=str(path))
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"config.data.path={path}: no such file") from None
    except Exception as error:
        raise InputError(f"config.data.path={path}: cannot be read as .npz ({error})") from error


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A source of images seen at another resolution or in other channels."""

    source: object
    fit: Fit
    domain = "image"

    classes = property(lambda self: self.source.classes)
    resolution = property(lambda self: self.fit.resolution or self.source.resolution)
    channels = property(lambda self: self.fit.channels or self.source.channels)

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: np.ndarray, where: np.ndarray | None = None) -> dict[str, np.ndarray]:
        batch = self.source.read(indices)
        return batch | {"image": fitted(list(batch["image"]), self.fit, where)}


@dataclasses.dataclass(frozen=True)
class Subset:
    """`size` records of a source, evenly spaced, so that a folder sorted by class keeps all of its classes."""

    source: object
    size: int

    domain = property(lambda self: self.source.domain)
    classes = property(lambda self: self.source.classes)
    resolution = property(lambda self: self.source.resolution)
    channels = property(lambda self: self.source.channels)

    def __len__(self) -> int:
        return self.size

    def read(self, indices: np.ndarray, *where: np.ndarray) -> dict[str, np.ndarray]:
        return self.source.read(np.asarray(indices) * len(self.source) // self.size, *where)
