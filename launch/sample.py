"""Samples of a trained GAN: one picture of many, single PNG files, or arrays in an NPZ file; or images, translated.

    python launch/sample.py --workdir runs/x                        # the picture that training shows, of other latents
    python launch/sample.py --workdir runs/x --number 100 --format png --output faces --truncation 0.7
    python launch/sample.py --workdir runs/x --number 50000 --format npz --output samples.npz
    python launch/sample.py --workdir runs/x --labels 0,1,2 --weights raw --step 3000
    python launch/sample.py --workdir runs/x --truncation 0.5 --standing 16                        # BigGAN
    python launch/sample.py --workdir runs/y --input photos --output translated                    # pix2pix, CycleGAN
    python launch/sample.py --workdir runs/z --input small --output large                          # SRGAN

The data that the run was trained on need not be there, nor as many devices. Sample i of a seed is the same whatever
the number of samples, the batch size and the devices (`gan_jax/analysis/sampler.py`).

A GAN that translates needs `--input`, a folder of images. Each becomes a PNG file of the same name in `--output`, of
the size of the run's images or, with `--keep_size`, of its own. Where images are made larger, each is, from its own
size.

An NPZ file holds `samples`, uint8 [N,H,W,C] (points: float32 [N,D]), and of a conditional GAN `labels`, int32 [N].
"""

import pathlib
import zipfile
from collections.abc import Iterator

import numpy as np
from absl import flags, logging

from gan_jax import cli
from gan_jax.errors import InputError

SUFFIX = {"grid": ".png", "png": "", "npz": ".npz"}
WORKDIR = flags.DEFINE_string("workdir", None, "The run directory.")
NUMBER = flags.DEFINE_integer("number", None, "How many samples; as many as in a picture of the run if not given.")
FORMAT = flags.DEFINE_enum("format", "grid", sorted(SUFFIX), "One picture, N files 000000.png..., or one NPZ file.")
OUTPUT = flags.DEFINE_string("output", None, "A folder, or a file name for grid and npz; in the run if not given.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace an output that exists.")
WEIGHTS = flags.DEFINE_enum("weights", "average", ["average", "raw"], "The generator's running average, or itself.")
STEP = flags.DEFINE_integer("step", None, "Which checkpoint; the newest if not given.")
SEED = flags.DEFINE_integer("seed", 0, "Of the latents.")
LABELS = flags.DEFINE_string("labels", None, "Classes to take in turn, as 3 or 0,1,2; all of them if not given.")
TRUNCATION = flags.DEFINE_float("truncation", None, "Draw latents beyond this bound again; normal latents only.")
STANDING = flags.DEFINE_integer(
    "standing", 0, "BigGAN: take moments of batch norm from so many batches of such samples.", lower_bound=0
)
INPUT = flags.DEFINE_string("input", None, "A folder of images to translate.")
TO = flags.DEFINE_enum("to", "b", ["a", "b"], "The domain to translate into, where a GAN translates both ways.")
KEEP_SIZE = flags.DEFINE_bool("keep_size", False, "Translate images at their own sizes.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Samples made at once.", lower_bound=1)
flags.mark_flag_as_required("workdir")

Batches = Iterator[tuple[np.ndarray, np.ndarray]]  # samples [n, ...] and their labels [n]


def main(_):
    from gan_jax.analysis import sampler as sampling
    from gan_jax.analysis import standing

    logging.set_verbosity(logging.WARNING)
    if NUMBER.value is not None and NUMBER.value < 1:
        raise InputError(f"--number={NUMBER.value} must be at least 1")
    sampler = sampling.load(pathlib.Path(WORKDIR.value), STEP.value, weights=WEIGHTS.value)
    if INPUT.value is not None:
        translate(sampler)
        return
    sampler.check_noise()
    sampler.check_truncation(TRUNCATION.value)
    labels = parse_labels(LABELS.value)
    sampler.labels(0, labels)
    if STANDING.value:
        sampler = standing.standing(
            sampler, STANDING.value, BATCH_SIZE.value, seed=SEED.value, truncation=TRUNCATION.value, labels=labels
        )
    number = NUMBER.value or sampler.config.preview
    name = f"step_{sampler.step:08d}_{sampler.weights}_seed_{SEED.value}"
    place = destination(OUTPUT.value, pathlib.Path(WORKDIR.value) / "sampled", name, FORMAT.value, OVERWRITE.value)
    batches = sampler.stream(
        number, SEED.value, labels=labels, truncation=TRUNCATION.value, batch_size=BATCH_SIZE.value
    )
    try:
        if FORMAT.value == "grid":
            save_grid(place, batches, sampler.domain)
        elif FORMAT.value == "png":
            save_files(place, batches)
        else:
            save_npz(place, batches, number, conditional=bool(sampler.classes))
    except OSError as error:
        raise InputError(f"--output={place} cannot be written: {error.strerror or error}") from None
    print(f"{number} samples of step {sampler.step}, {sampler.weights} weights, seed {SEED.value}: {place}")


def translate(sampler) -> None:
    """Translates the folder `--input` into `--output`, file by file."""
    from gan_jax.analysis import translation
    from gan_jax.data import display

    translator = translation.Translator(sampler, TO.value)
    if OUTPUT.value is None or pathlib.Path(OUTPUT.value).suffix in (".png", ".npz"):
        raise InputError(f"--output={OUTPUT.value}: --input needs a folder to write its translations in")
    number, place = 0, pathlib.Path(OUTPUT.value)
    for name, image in translation.folder(translator, INPUT.value, SEED.value, KEEP_SIZE.value):
        path = (place / name).with_suffix(".png")
        if path.exists() and not OVERWRITE.value:
            raise InputError(f"{path} exists; --overwrite replaces it, or name another --output")
        try:
            display.save_png(path, image[..., 0] if image.shape[-1] == 1 else image)
        except OSError as error:
            raise InputError(f"--output={place} cannot be written: {error.strerror or error}") from None
        number += 1
    print(f"{number} images translated by step {sampler.step}, {sampler.weights} weights: {place}")


def parse_labels(text: str | None) -> list[int] | None:
    """The classes in `text`, as 3 or 0,1,2; None if nothing was given."""
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--labels={text} must be classes as 3 or 0,1,2") from None


def destination(output: str | None, home: pathlib.Path, name: str, form: str, overwrite: bool) -> pathlib.Path:
    """The file or folder to write: `output`, or `name` in the folder `output` or in `home`.

    Raises:
      InputError: if it exists, unless `overwrite`, or has the ending of another format.
    """
    path = pathlib.Path(output) if output else home / name
    if path.suffix in (".png", ".npz") and path.suffix != SUFFIX[form]:
        wanted = f"a name in {SUFFIX[form]}" if SUFFIX[form] else "a folder"
        raise InputError(f"--output={output}: --format={form} writes {wanted}")
    if form != "png" and path.suffix != SUFFIX[form]:
        path = path / f"{name}{SUFFIX[form]}" if output else path.with_name(name + SUFFIX[form])
    there = files_in(path) if form == "png" else [path] if path.exists() else []
    if there and not overwrite:
        raise InputError(f"{there[0]} exists; --overwrite replaces it, or name another --output")
    for file in there if form == "png" else []:  # files are replaced, but a longer series would be mixed with this one
        file.unlink()
    return path


def files_in(folder: pathlib.Path) -> list[pathlib.Path]:
    """The numbered pictures of an earlier call."""
    return sorted(folder.glob("[0-9][0-9][0-9][0-9][0-9][0-9]*.png"))


def to_pixels(samples: np.ndarray) -> np.ndarray:
    """Images float32 [n,H,W,C] in [-1,1] to uint8; anything else as it is."""
    from gan_jax.data.transforms import to_uint8

    return to_uint8(samples) if samples.ndim == 4 else samples


def save_grid(path: pathlib.Path, batches: Batches, domain: str) -> None:
    from gan_jax.data import display

    samples = np.concatenate([samples for samples, _ in batches])
    display.save_png(path, display.BY_DOMAIN[domain](samples, {}))


def save_files(folder: pathlib.Path, batches: Batches) -> None:
    """One file for each image: grey, RGB or RGBA."""
    from gan_jax.data import display

    number = 0
    for samples, _ in batches:
        if samples.ndim != 4 or samples.shape[-1] not in (1, 3, 4):
            raise InputError(f"--format=png is for images of 1, 3 or 4 channels, not {samples.shape[1:]}; use npz")
        for image in to_pixels(samples):
            display.save_png(folder / f"{number:06d}.png", image[..., 0] if image.shape[-1] == 1 else image)
            number += 1


def save_npz(path: pathlib.Path, batches: Batches, number: int, conditional: bool) -> None:
    """An NPZ file, written batch by batch: no more than one is ever in memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    given = []
    with zipfile.ZipFile(partial, "w") as archive:
        with archive.open("samples.npy", "w", force_zip64=True) as file:
            for samples, labels in batches:
                samples = np.ascontiguousarray(to_pixels(samples))
                if not given:
                    header = {"descr": samples.dtype.str, "fortran_order": False, "shape": (number, *samples.shape[1:])}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(samples.data)
                given.append(labels)
        if conditional:
            with archive.open("labels.npy", "w") as file:
                np.lib.format.write_array(file, np.concatenate(given))
    partial.replace(path)


if __name__ == "__main__":
    cli.run(main)
