"""Images `a` to translate into images `b`: aligned pairs, or two collections that know nothing of each other.

    View         images of another source under the names `a` and `b`
    Pairs        two folders, matched by the names of their files
    SideBySide   one folder of images that hold both halves, as pix2pix ships them
    Unpaired     two collections, each in an order of its own
    Half         one half of images that hold two: pairs that are taken apart
    downsampled  images of any source as `b`, and what is left of them at a smaller size as `a`

`b` is the main array (`domain`), what a translator is to make. Folders may have splits, as pix2pix and CycleGAN name
them: `trainA` and `trainB`, or `A/train` and `B/train`, or `train` with both halves side by side. One without splits is
all training images.
"""

import dataclasses
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Mapping
from operator import itemgetter

import numpy as np

from gan_jax.data.sources import Folder, Subset, decode, fitted
from gan_jax.data.transforms import Fit, bicubic
from gan_jax.errors import InputError, choose

DIRECTIONS = {"AtoB": ("a", "b"), "BtoA": ("b", "a")}  # what the first and the second folder, or half, are called
IMAGE = itemgetter("image")


@dataclasses.dataclass(frozen=True)
class View:
    """What a source shows under other names: `make` is {name: function of the fields that it read}."""

    source: object
    make: Mapping[str, Callable[[dict], np.ndarray]]
    domain = "b"
    classes = ()

    resolution = property(lambda self: self.source.resolution)
    channels = property(lambda self: self.source.channels)

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: np.ndarray, *where: np.ndarray) -> dict[str, np.ndarray]:
        found = self.source.read(indices, *where)
        return {name: make(found) for name, make in self.make.items()}


def downsampled(source, factor: int) -> View:
    """Pairs to learn super-resolution from: images `b` [n,H,W,C], and `a` [n,H/factor,W/factor,C], the same made
    smaller by MATLAB's bicubic filter. What is cut is cut before, so that pixels of both meet exactly.

    Raises:
      InputError: for a factor that is none or does not divide the sides, or a source of anything but images.
    """
    if factor < 2:
        raise InputError(f"config.data.downsample={factor} must be at least 2, or None for images that are no pairs")
    if source.domain != "image":
        raise InputError(f"config.data.downsample={factor} makes images smaller, and this dataset holds no images")
    height, width = source.read(np.zeros(1, np.int64))["image"].shape[1:3]
    if height % factor or width % factor:
        raise InputError(
            f"config.data.downsample={factor} must divide both sides of config.data.resolution=({height}, {width})"
        )
    size = (height // factor, width // factor)
    return View(source, {"a": lambda found: bicubic(found["image"], size), "b": IMAGE})


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Record i is record i of each part; a random crop cuts all of them at one place."""

    sides: tuple  # of sources of one field each
    domain = "b"
    classes = ()

    def __len__(self) -> int:
        return len(self.sides[0])

    def read(self, indices: np.ndarray, *where: np.ndarray) -> dict[str, np.ndarray]:
        read = [part.read(indices, *where) for part in self.sides]
        return {name: array for fields in read for name, array in fields.items()}


@dataclasses.dataclass(frozen=True)
class Unpaired:
    """Two collections, of which a loader reads each in an order, and cuts and mirrors it in a way, of its own.

    As a source of records it is as long as the longer one, and record i holds image i of each, counted round.
    """

    parts: tuple  # of sources of one field each
    domain = "b"
    classes = ()

    def __len__(self) -> int:
        return max(map(len, self.parts))

    def at_most(self, size: int) -> "Unpaired":
        """At most `size` records of each, evenly spaced."""
        return Unpaired(tuple(part if len(part) <= size else Subset(part, size) for part in self.parts))

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        read = [part.read(np.asarray(indices) % len(part)) for part in self.parts]
        return {name: array for fields in read for name, array in fields.items()}


class SideBySide:
    """All images below a folder, each of which holds a pair: its left and its right half, of equal width.

    names: of the two halves. Other arguments are those of `Folder`, for one half.

    Raises:
      InputError: as `Folder` does, and for an odd width.
    """

    domain = "b"
    classes = ()

    def __init__(self, path, names: tuple[str, str], resolution, channels, crop: str, enlarged):
        whole = Folder(path, resolution and (resolution[0], 2 * resolution[1]), channels)
        self.names, self.path, self.files = names, whole.path, whole.files
        self.resolution = (whole.resolution[0], whole.resolution[1] // 2)
        self.channels = whole.channels
        self._fit = Fit(self.resolution, self.channels, crop, enlarged)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: np.ndarray, where: np.ndarray | None = None) -> dict[str, np.ndarray]:
        pairs = [halves(decode(self.files[i], self.files[i]), self.files[i]) for i in indices]
        return {
            name: fitted(list(images), self._fit, where)
            for name, images in zip(self.names, zip(*pairs, strict=True), strict=True)
        }


def halves(image: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray]:
    """The left and the right half of an image [h,2w,c]. InputError, which calls the image `what`, for an odd width."""
    width = image.shape[1]
    if width % 2:
        raise InputError(f"{what} is {width} pixels wide: two images of equal width side by side have an even width")
    return image[:, : width // 2], image[:, width // 2 :]


class Half:
    """The half of that name of some of the images of a `SideBySide`; `change` is made of it at its own size."""

    domain = "b"
    classes = ()

    def __init__(self, whole: SideBySide, name: str, files: list, change: Callable[[np.ndarray], np.ndarray]):
        self.resolution, self.channels = whole.resolution, whole.channels
        self._fit, self._name, self._side = whole._fit, name, whole.names.index(name)
        self.files, self._change = files, change

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: np.ndarray, where: np.ndarray | None = None) -> dict[str, np.ndarray]:
        files = [self.files[i] for i in indices]
        images = [self._change(halves(decode(file, file), file)[self._side]) for file in files]
        return {self._name: fitted(images, self._fit, where)}


def thickened(image: np.ndarray, pixels: int) -> np.ndarray:
    """Dark lines on a light ground, uint8 [h,w,c], wider by so many pixels at each side: each pixel becomes as dark as
    its darkest neighbour, so that thin lines are still there when the image is made smaller."""
    for _ in range(pixels):
        around = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
        image = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(0, 1)).min(axis=(-2, -1))
    return image


def pairs(path: str, split: str, direction: str, resolution, channels, crop: str, enlarged) -> Pairs | SideBySide:
    """The pairs below a folder, in whichever of the two forms they are there.

    direction: "AtoB" calls the first folder, or the left half, `a`; "BtoA" calls it `b`.
    enlarged: for crop="random": the size (H, W) that images are stretched to before a window is cut.

    Raises:
      InputError: for a folder that is not there or holds neither form, or files without a partner.
    """
    names, places = check(path, direction, resolution, crop, enlarged), two_folders(path, split)
    if places is None:
        place = pathlib.Path(path).expanduser() / split
        if not place.is_dir() and split != "train":
            raise InputError(f"config.data.split='{split}': {path} has none: {looked_for(split)}; nor a folder {split}")
        return SideBySide(place if place.is_dir() else path, names, resolution, channels, crop, enlarged)
    folders = [Folder(place, resolution, channels, crop, enlarged) for place in places]
    _match(*folders)
    _check_shapes(*folders)
    return Pairs(tuple(View(folder, {name: IMAGE}) for name, folder in zip(names, folders, strict=True)))


def unpaired(path: str, split: str, direction: str, resolution, channels, crop: str, enlarged) -> Unpaired:
    """The two collections below a folder; arguments and errors are those of `pairs`."""
    names, places = check(path, direction, resolution, crop, enlarged), two_folders(path, split)
    if places is None:
        raise InputError(f"config.data.path={path}: no two folders of images; there should be {looked_for(split)}")
    folders = [Folder(place, resolution, channels, crop, enlarged) for place in places]
    _check_shapes(*folders)
    return Unpaired(tuple(View(folder, {name: IMAGE}) for name, folder in zip(names, folders, strict=True)))


def apart(
    path: str, split: str, direction: str, resolution, channels, crop: str, enlarged, thicken: int = 0
) -> Unpaired:
    """Pairs side by side, taken apart: the left halves of the first half of the files and the right halves of the
    others, so that no image has its partner there (Kim et al., 2017, arXiv:1703.05192, authors' code).

    thicken: pixels by which dark lines of the left halves are widened at each side. Other arguments and errors are
    those of `pairs`.
    """
    if thicken < 0:
        raise InputError(f"config.data.options.thicken={thicken} must be 0 (as they are) or more")
    names, place = check(path, direction, resolution, crop, enlarged), os.path.join(os.path.expanduser(path), split)
    if not os.path.isdir(place):
        raise InputError(f"config.data.path={path}: no folder '{split}' of images that hold two halves")
    whole = SideBySide(place, names, resolution, channels, crop, enlarged)
    middle = len(whole) // 2
    if not middle:
        raise InputError(f"config.data.path={path}: one image in '{split}' cannot give both domains")
    left = Half(whole, names[0], whole.files[:middle], lambda image: thickened(image, thicken))
    right = Half(whole, names[1], whole.files[middle:], lambda image: image)
    return Unpaired((left, right))


def check(path: str, direction: str, resolution, crop: str, enlarged) -> tuple[str, str]:
    """What the two sides are called. InputError for what cannot be."""
    if not path:
        raise InputError(
            "config.data.path is empty; name the folder of both kinds of images: --config.data.path=FOLDER"
        )
    if not os.path.isdir(os.path.expanduser(path)):
        raise InputError(f"config.data.path={path}: no such folder")
    if enlarged is not None:
        if crop == "none":
            raise InputError(f"config.data.options.enlarged={enlarged} is for config.data.crop='random', not 'none'")
        if resolution is None or min(np.subtract(enlarged, resolution)) < 0:
            raise InputError(
                f"config.data.options.enlarged={enlarged} must be at least config.data.resolution={resolution}, the "
                "size of the windows"
            )
    return choose(direction, DIRECTIONS, "direction (config.data.options.direction)")


def two_folders(path: str, split: str) -> tuple[str, str] | None:
    """The folders of the two sides; None if there are no two."""
    candidates = [(f"{split}A", f"{split}B"), (f"A/{split}", f"B/{split}")] + [("A", "B")] * (split == "train")
    for pair in candidates:
        found = [os.path.join(os.path.expanduser(path), name) for name in pair]
        if all(map(os.path.isdir, found)):
            return tuple(found)
    return None


def looked_for(split: str) -> str:
    return f"{split}A and {split}B, or A/{split} and B/{split}" + (", or A and B" if split == "train" else "")


def _match(first: Folder, second: Folder) -> None:
    """Puts partners at one place: files of one name, whatever its ending, in the same sub-folder."""

    def name(folder, file):
        return os.path.splitext(os.path.relpath(file, folder.path))[0]

    for folder in (first, second):
        folder.files.sort(key=lambda file, folder=folder: name(folder, file))
    counts = [Counter(name(folder, file) for file in folder.files) for folder in (first, second)]
    alone = sorted(known for known in counts[0] | counts[1] if any(count[known] != 1 for count in counts))
    if alone:
        raise InputError(
            f"pairs are matched by name, and {len(alone)} names are not in each of {first.path} and {second.path} "
            f"once: {', '.join(alone[:3])}{', ...' if len(alone) > 3 else ''}"
        )


def _check_shapes(first: Folder, second: Folder) -> None:
    a, b = ((*folder.resolution, folder.channels) for folder in (first, second))
    key = "resolution" if a[:2] != b[:2] else "channels"
    if a != b:
        raise InputError(f"images of {first.path} are {a}, of {second.path} {b} (H, W, C); set --config.data.{key}")
