"""What metrics look at: functions from a batch of examples to arrays, with the networks behind them.

An extractor says in one line what it is, weights and resizer included: values of two extractors are never compared.
`collect` sends a population through any number of them in one pass.
"""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from gan_jax import parallel
from gan_jax.analysis.sampler import Sampler
from gan_jax.contract import PyTree
from gan_jax.errors import InputError, choose
from gan_jax.metrics import classifier, probe, resize, similarity, sliced_wasserstein
from gan_jax.metrics.populations import Population, fingerprint
from gan_jax.nets import inception, vgg, weights

RESIZERS = {"tf1": resize.tf1_bilinear, "clean": resize.clean}
PATCH_IMAGES = 16_384  # images whose patches are compared, as in ProGAN


@dataclasses.dataclass(frozen=True)
class Extractor:
    """`apply(params, examples [B, ...], first) -> {output: [k B, ...]}`, where `first` is the index of the first one.

    protocol: what it is, for people and for comparisons; empty if there is nothing to say.
    limit: the most examples it looks at, evenly spaced in the population; None is all.
    cached: whether its outputs of real data are kept in the cache folder.
    """

    name: str
    protocol: str
    params: PyTree
    apply: Callable
    limit: int | None = None
    cached: bool = False


@dataclasses.dataclass(frozen=True)
class Needs:
    """What extractors are built from: who is measured, against whom, and where the weights of networks are.

    inception, vgg, lpips: paths of weight files; "" is the cache folder, "random" is random weights.
    """

    fake: Population | None
    real: Population | None
    held_out: Population | None
    sampler: Sampler | None = None
    inception: str = ""
    vgg: str = ""
    lpips: str = ""
    resizer: str = "tf1"
    seed: int = 0
    samples: int = 0  # how many, for metrics that draw latents of their own

    @property
    def shape(self) -> tuple[int, ...]:
        return next(p for p in (self.fake, self.real) if p is not None).shape


class Collected(dict):
    """`[extractor][output]`: what a population gave, arrays on the host in the order of the examples."""

    labels: np.ndarray  # int32 [N]


def collect(population: Population, extractors: Sequence[Extractor], batch_size: int, what: str) -> Collected:
    """One pass of a population through all these extractors."""
    size = population.whole(batch_size)
    programs = [jax.jit(e.apply, out_shardings=parallel.replicated(population.mesh)) for e in extractors]
    params = [parallel.replicate(e.params, population.mesh) for e in extractors]
    kept: list[dict[str, list]] = [{} for _ in extractors]
    labels, start = [], 0

    def keep(made, start: int, number: int) -> None:
        for parts, outputs, extractor in zip(kept, jax.device_get(made), extractors, strict=True):
            rows = _rows(start, number, extractor.limit, population.count)
            for name, array in outputs.items():
                parts.setdefault(name, []).append(_of_examples(array, rows, size))

    waiting = None  # the batch before, which is fetched while the devices work on the next one
    with tqdm(total=population.count, desc=what, unit="example", disable=None, leave=False) as bar:
        for examples, given, number in population.batches(size):
            with jax.set_mesh(population.mesh):
                made = [run(p, examples, np.int32(start)) for run, p in zip(programs, params, strict=True)]
            if waiting is not None:
                keep(*waiting)
            waiting = made, start, number
            labels.append(given[:number])
            start += number
            bar.update(number)
    keep(*waiting)
    result = Collected(
        (extractor.name, {name: np.concatenate(arrays) for name, arrays in parts.items()})
        for extractor, parts in zip(extractors, kept, strict=True)
    )
    result.labels = np.concatenate(labels)
    return result


def collect_reference(
    population: Population, extractors: Sequence[Extractor], batch_size: int
) -> tuple[Collected, str]:
    """`collect` of real data, with what the cache holds of it, and the hash of the data.

    The cache is found by the content of the data and by the extractor's protocol: neither a path nor a date counts.
    """
    mark = fingerprint(population, batch_size)
    places = {e.name: _place(mark, e, population.count) for e in extractors if e.cached}
    known = {name: place for name, place in places.items() if place.exists()}
    missing = [extractor for extractor in extractors if extractor.name not in known]
    collected = collect(population, missing, batch_size, "reference")
    if jax.process_index() == 0:
        for extractor in missing:
            if extractor.cached:
                _save(places[extractor.name], collected[extractor.name])
    for name, place in known.items():
        collected[name] = dict(np.load(place))
    return collected, mark


def build(name: str, needs: Needs) -> Extractor:
    """The extractor of this name.

    Raises:
      InputError: if there is none, it does not apply to these examples, or its weights are missing.
    """
    return choose(name, BY_NAME, "extractor")(needs)


def _rows(start: int, number: int, limit: int | None, count: int) -> np.ndarray:
    """Which of the examples `start` to `start + number - 1` are among `limit` evenly spaced ones of `count`."""
    if limit is None or limit >= count:
        return np.arange(number)
    return np.flatnonzero(np.arange(start, start + number) * limit % count < limit)


def _of_examples(array: np.ndarray, rows: np.ndarray, size: int) -> np.ndarray:
    """The part of an output [k size, ...] or [size / 2, ...] that belongs to these examples."""
    if len(array) < size:  # one for each pair: whole pairs, as far as both count
        return array[rows[1::2] // 2]
    return array.reshape(size, -1, *array.shape[1:])[rows].reshape(-1, *array.shape[1:])


def _place(mark: str, extractor: Extractor, count: int) -> pathlib.Path:
    what = hashlib.sha256(f"{mark} {count} {extractor.protocol}".encode()).hexdigest()[:20]
    return weights.cache() / "features" / f"{extractor.name}-{what}.npz"


def _save(place: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    partial.replace(place)


# ------------------------------------------------------------------------------------------------ the extractors


def require_images(needs: Needs, what: str) -> None:
    if len(needs.shape) != 3:
        raise InputError(f"{what} looks at images, and these are points")


def rgb(images: jax.Array) -> jax.Array:
    """uint8 [B,H,W,C] of one or three channels to float32 [B,H,W,3] in 0..255."""
    images = images.astype(jnp.float32)
    return jnp.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images


def require_rgb(needs: Needs, what: str) -> None:
    require_images(needs, what)
    if needs.shape[-1] not in (1, 3):
        raise InputError(
            f"{what} sees grey or RGB images, and these have {needs.shape[-1]} channels; "
            "':pixels' or ':classifier' take any number"
        )


def _of_images(needs: Needs) -> Extractor:
    require_images(needs, "this metric")
    return Extractor("images", "", (), lambda _, images, first: {"images": images})


def _of_pixels(needs: Needs) -> Extractor:
    def flat(_, examples, first):
        scale = 255.0 if examples.dtype == jnp.uint8 else 1.0
        return {"features": examples.reshape(len(examples), -1).astype(jnp.float32) / scale}

    return Extractor("pixels", "values, images in [0, 1]", (), flat)


def _of_patches(needs: Needs) -> Extractor:
    require_images(needs, "swd")
    sliced_wasserstein.levels(*needs.shape[:2])
    limit = min([PATCH_IMAGES, *(p.count for p in (needs.fake, needs.real) if p is not None)])

    def cut(_, images, first):
        return {str(k): v for k, v in sliced_wasserstein.descriptors(images, needs.seed, first).items()}

    return Extractor("patches", f"128 patches of each of {limit} images", (), cut, limit=limit)


def _of_pairs(needs: Needs) -> Extractor:
    require_images(needs, "ms_ssim")

    def compare(_, images, first):
        images = images.astype(jnp.float32)
        return {"similarity": similarity.ms_ssim(images[0::2], images[1::2])}

    return Extractor("pairs", "pairs of consecutive images", (), compare)


def _of_inception(needs: Needs) -> Extractor:
    require_rgb(needs, "inception")
    resizer = choose(needs.resizer, RESIZERS, "resizer")
    params, origin = frozen("inception", needs.inception, inception.load, lambda: inception.init(needs.seed))

    def look(params, images, first):
        seen = inception.features(params, rgb(images), resizer)
        return {"features": seen["pool"], "logits": seen["logits"]}

    return Extractor("inception", f"inception-2015-12-05, {origin}, resize {needs.resizer}", params, look, cached=True)


def _of_vgg(needs: Needs) -> Extractor:
    require_rgb(needs, "vgg")
    params, origin = frozen("vgg16", needs.vgg, vgg.load, lambda: vgg.init(needs.seed))

    def look(params, images, first):
        return {"features": vgg.embed(params, rgb(images))}

    return Extractor("vgg", f"VGG16 fc2, {origin}", params, look, cached=True)


def frozen(name: str, path: str, load: Callable, init: Callable) -> tuple[PyTree, str]:
    """Parameters of a frozen network, and a word on where they come from."""
    return (
        (init(), "RANDOM WEIGHTS")
        if path == "random"
        else (load(_file(name, path)), f"weights {weight_hash(name, path)}")
    )


def weight_hash(name: str, path: str) -> str:
    """The first digits of the hash of a weight file."""
    return weights.sha256(_file(name, path))[:8]


def _file(name: str, path: str) -> pathlib.Path:
    file = pathlib.Path(path) if path else weights.find(name)
    if not file.is_file():
        raise InputError(f"weights of {name}: {file} is not a file")
    return file


def _of_classifier(needs: Needs) -> Extractor:
    require_images(needs, "classifier")
    real = needs.real
    if real is None or not real.labelled:
        raise InputError("the classifier is trained on the labels of the reference, and it has none")
    params, accuracy, identity = _fitted(real)

    def look(params, images, first):
        return classifier.features(params, images)

    protocol = f"small CNN {identity}, {100 * accuracy:.2f} % on reals it did not see"
    return Extractor("classifier", protocol, params, look, cached=True)


def _fitted(real: Population) -> tuple[PyTree, float, str]:
    """The classifier of a dataset, trained once."""
    collected = collect(real, [_images], 256, "classifier's data")
    return classifier.cached(collected["images"]["images"], collected.labels, real.classes, weights.cache())


def _of_critic(needs: Needs) -> Extractor:
    """The discriminator's own features: its convolutions' outputs, rectified and pooled to 4x4 (Radford et al., 2015,
    section 5.1)."""
    require_images(needs, "critic")
    sampler = needs.sampler
    if sampler is None or not hasattr(sampler.gan, "discriminator") or not hasattr(sampler.state, "d"):
        raise InputError("critic looks at the features of a run's discriminator, and there is none")
    if sampler.classes:
        raise InputError("critic: a discriminator that is told the label has no features of the image alone")

    def look(params, images, first):
        return {"features": probe.pooled(probe.feature_maps(sampler.gan.discriminator, params, images))}

    d = sampler.state.d
    return Extractor("critic", f"discriminator after {sampler.step} steps", {"params": d.params, **d.stats}, look)


_images = Extractor("images", "", (), lambda _, images, first: {"images": images})
BY_NAME: dict[str, Callable[[Needs], Extractor]] = {
    "images": _of_images,
    "pixels": _of_pixels,
    "patches": _of_patches,
    "pairs": _of_pairs,
    "inception": _of_inception,
    "vgg": _of_vgg,
    "classifier": _of_classifier,
    "critic": _of_critic,
}
EXCHANGEABLE = ("classifier", "inception", "pixels", "vgg", "critic")  # those that give features
