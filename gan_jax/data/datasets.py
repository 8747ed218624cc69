"""From the data section of a config to a source: the table of names, and what the networks must know of the data."""

import inspect
from collections.abc import Callable

import numpy as np
from ml_collections import ConfigDict

from gan_jax.data import sources, translation, worlds
from gan_jax.data.labels import FewLabels
from gan_jax.data.transforms import CROPS, Fit
from gan_jax.errors import InputError, choices, choose


def open(section: ConfigDict):
    """The source that a data section describes (`sources.py` says what a source is).

    `name` is a world, "folder", "pairs", "unpaired", "apart", "memory" or a dataset of TFDS; see `config.data()` for
    the other keys.

    Raises:
      InputError: naming the key and what would be right.
    """
    source = _open(section)
    known, factor = section.get("labels_per_class"), section.get("downsample")  # a run may be older than the keys
    source = source if known is None else FewLabels(source, known, section.label_seed)
    return source if factor is None else translation.downsampled(source, factor)


def _open(section: ConfigDict):
    name = section.name
    choose(section.crop, dict.fromkeys(CROPS), "crop (config.data.crop)")
    if section.size is not None and section.size < 1:
        raise InputError(f"config.data.size={section.size} must be at least 1")
    if name in worlds.BY_NAME:
        return _world(section, worlds.BY_NAME[name])
    for option in section.options:
        if name not in OPTIONS:
            raise InputError(f"config.data.options.{option}: '{name}' has no options; only worlds have, and pairs")
        choose(option, dict.fromkeys(OPTIONS[name]), f"option of '{name}' (config.data.options)")
    source = FILES.get(name, _tfds)(section)
    if section.flip and source.domain == "point":
        raise InputError(f"config.data.flip=True mirrors images, but '{name}' holds points")
    if section.size is None or section.size == len(source):
        return source
    if section.size > len(source):
        raise InputError(f"config.data.size={section.size}: '{name}' has only {len(source)} records")
    if isinstance(source, translation.Unpaired):
        return source.at_most(section.size)
    return sources.Subset(source, section.size)


def resolve(config: ConfigDict) -> ConfigDict:
    """A copy in which `config.data` says what the data really is, for networks to be built from.

    `resolution` becomes (H, W), None for points; `channels` the last dimension of the main array; new are `domain`,
    `classes` (number of labels, 0 without), `examples` (number of records), `source_shape`, the (H, W, C) of images
    that are to be translated, and `paired`, whether what they should become is known: None for all others, as in runs
    that are older than a key. Resolving again changes nothing.

    Raises:
      InputError: if the data cannot be opened, or its first record cannot be read.
    """
    source = open(config.data)
    domain, first = source.domain, source.read(np.zeros(1, np.int64))
    if domain not in first:
        raise InputError(f"config.data.options.fields: '{domain}' must be among them, got {choices(first)}")
    return _told(
        config,
        resolution=first[domain].shape[1:3] if first[domain].ndim == 4 else None,
        channels=first[domain].shape[-1],
        domain=domain,
        classes=len(source.classes) if "label" in first else 0,
        examples=len(source),
        source_shape=first["a"].shape[1:] if domain == "b" else None,
        paired=(domain == "b" and not isinstance(source, translation.Unpaired)) or None,
    )


def assume(config: ConfigDict, shape: tuple[int, int, int], classes: int = 0) -> ConfigDict:
    """`resolve` for images [H, W, C] that are not at hand, of so many classes: what networks can be built from.

    Of pairs, and of two domains, all images have this shape, but for the small ones of super-resolution.
    """
    section, (height, width, channels) = config.data, shape
    factor = section.get("downsample") or 1
    translated = factor > 1 or section.name in OPTIONS
    return _told(
        config,
        resolution=(height, width),
        channels=channels,
        domain="b" if translated else "image",
        classes=classes,
        examples=section.size or 1,
        source_shape=(height // factor, width // factor, channels) if translated else None,
        paired=(factor > 1 or section.name == "pairs") or None,
    )


def _told(config: ConfigDict, **known) -> ConfigDict:
    values = config.to_dict()
    values["data"] |= known
    resolved = ConfigDict(values)
    return resolved.lock() if config.is_locked else resolved


def _world(section: ConfigDict, world: Callable):
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in section.options.items()}
    known = set(inspect.signature(world).parameters)
    for option in options:
        choose(option, dict.fromkeys(known - {"resolution", "size"}), f"option of {section.name} (config.data.options)")
    if section.crop != "none":
        raise InputError(
            f"config.data.crop='{section.crop}': '{section.name}' is drawn at any resolution, so that nothing is cut; "
            "use 'none'"
        )
    resolution = pair(section.resolution)
    if resolution is not None:
        if "resolution" not in known:
            raise InputError(f"config.data.resolution={resolution}: '{section.name}' holds points; use None")
        options["resolution"] = resolution
    if section.size is not None:
        options["size"] = section.size
    if "fields" in known - set(options):  # labels, as other datasets have them, where there are any
        labelled = world(**options, fields=(world.domain, "label"))
        options["fields"] = labelled.fields if labelled.classes else (world.domain,)
    source = world(**options)
    if source.domain == "point":
        return _points(section, source)
    if source.domain == "b":
        return _views(section, source)
    return source if section.channels is None else sources.Fitted(source, Fit(channels=section.channels))


def _views(section: ConfigDict, source):
    own = source.read(np.zeros(1, np.int64))["b"].shape[-1]
    if section.channels not in (None, own):
        raise InputError(f"config.data.channels={section.channels}: '{section.name}' has {own}; use None")
    return source


def _points(section: ConfigDict, source):
    dimension = source.read(np.zeros(1, np.int64))["point"].shape[-1]
    if section.flip:
        raise InputError(f"config.data.flip=True mirrors images, but '{section.name}' holds points")
    if section.channels not in (None, dimension):
        raise InputError(f"config.data.channels={section.channels}: points of '{section.name}' have {dimension}")
    return source


def _folder(section: ConfigDict) -> sources.Folder:
    if not section.path:
        raise InputError("config.data.path is empty; name the folder of images: --config.data.path=FOLDER")
    return sources.Folder(section.path, pair(section.resolution), section.channels, section.crop)


def _translation(section: ConfigDict):
    """The pairs, or the two collections, below a folder."""
    make, options = getattr(translation, section.name), section.options
    enlarged = pair(options.get("enlarged"), "options.enlarged")
    direction, size = options.get("direction", "AtoB"), pair(section.resolution)
    more = {"thicken": options.thicken} if "thicken" in options else {}
    return make(section.path, section.split, direction, size, section.channels, section.crop, enlarged, **more)


def _memory(section: ConfigDict):
    if not section.path:
        raise InputError("config.data.path is empty; name the file of arrays: --config.data.path=FILE.npz")
    source = sources.from_npz(section.path)
    if source.domain != "image":
        if section.resolution is not None:
            raise InputError(f"config.data.resolution={section.resolution}: {section.path} holds points; use None")
        return _points(section, source)
    return sources.Fitted(source, Fit(pair(section.resolution), section.channels, section.crop))


def _tfds(section: ConfigDict) -> sources.TFDS:
    return sources.TFDS(
        section.name,
        section.split,
        section.path,
        pair(section.resolution),
        section.channels,
        section.crop,
        known=(*worlds.BY_NAME, *FILES),
    )


OPTIONS = {  # of `config.data.options`; worlds have more
    "pairs": ("direction", "enlarged"),
    "unpaired": ("direction", "enlarged"),
    "apart": ("direction", "enlarged", "thicken"),
}
FILES = {"folder": _folder, "memory": _memory, **dict.fromkeys(OPTIONS, _translation)}


def pair(resolution, key: str = "resolution") -> tuple[int, int] | None:
    """(H, W) of what was written in a config: an integer, (H, W) or None."""
    if resolution is None:
        return None
    sizes = tuple(resolution) if isinstance(resolution, tuple | list) else (resolution,)
    sizes = sizes * 2 if len(sizes) == 1 else sizes
    if len(sizes) != 2 or any(not isinstance(size, int) or size < 1 for size in sizes):
        raise InputError(f"config.data.{key}={resolution} must be a positive integer, or two: (height, width)")
    return sizes
