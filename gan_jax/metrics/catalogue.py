"""The metrics by name: what each looks at, and the formula it calls."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data import datasets
from gan_jax.errors import InputError
from gan_jax.metrics import (
    extractors,
    frechet,
    inception_score,
    kernel,
    modes,
    neighbours,
    parzen,
    path_length,
    probe,
    similarity,
    sliced_wasserstein,
    tstr,
)
from gan_jax.metrics.extractors import Collected, Needs
from gan_jax.nets import lpips, vgg

VALIDATION = 1_000  # held-out examples that the bandwidth of a Parzen window is chosen on
CURVE = (1_000, 10_000)  # synthetic images: a generator that collapsed gives no more with more of them
BATCH_SIZE = 64
BOTH, TESTED, LEARNED = ("real", "fake"), ("fake", "held_out"), ("real", "held_out")


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What a formula sees: the outputs of each population, under the extractor it asked for."""

    needs: Needs
    collected: Mapping[str, Collected]  # "fake", "real", "held_out"
    extractor: str

    def features(self, side: str) -> np.ndarray:
        return self.collected[side][self.extractor]["features"]

    def logits(self, side: str) -> np.ndarray:
        outputs = self.collected[side][self.extractor]
        if "logits" not in outputs:
            raise InputError(f"'{self.extractor}' names no classes; use 'inception' or 'classifier'")
        return outputs["logits"]

    def images(self, side: str) -> np.ndarray:
        return self.collected[side]["images"]["images"]

    def labels(self, side: str) -> np.ndarray:
        return self.collected[side].labels


class Metric(NamedTuple):
    """`compute(evidence) -> {name: value}`, of which `main` is the one that a run is judged by.

    extractor, sides: what it looks with, at which populations. labelled: those of them that must have labels.
    settings: the constants of the formula, for the protocol. check: raises InputError where it does not apply.
    """

    compute: Callable[[Evidence], Mapping[str, float]]
    main: str
    extractor: str
    sides: tuple[str, ...]
    settings: str = ""
    better: str = "lower"
    labelled: tuple[str, ...] = ()
    check: Callable[[Needs], None] = lambda needs: None


def fid(evidence: Evidence) -> dict[str, float]:
    real, fake = (frechet.moments(evidence.features(side)) for side in ("real", "fake"))
    return {"fid": frechet.distance(real, fake)}


def kid(evidence: Evidence) -> dict[str, float]:
    mean, std = kernel.kernel_distance(evidence.features("real"), evidence.features("fake"), seed=evidence.needs.seed)
    return {"kid": mean, "kid_std": std}


def score(evidence: Evidence) -> dict[str, float]:
    mean, std = inception_score.score(evidence.logits("fake"))
    return {"is": mean, "is_std": std}


def precision_recall(evidence: Evidence) -> dict[str, float]:
    result = neighbours.precision_recall(evidence.features("real"), evidence.features("fake"))
    return {"precision": result.precision, "recall": result.recall}


def density_coverage(evidence: Evidence) -> dict[str, float]:
    result = neighbours.density_coverage(evidence.features("real"), evidence.features("fake"))
    return {"density": result.density, "coverage": result.coverage}


def two_sample(evidence: Evidence) -> dict[str, float]:
    result = neighbours.two_sample_test(evidence.features("real"), evidence.features("fake"))
    return {"1nn": result.accuracy, "1nn_real": result.real, "1nn_fake": result.fake}


def nn_error(evidence: Evidence) -> dict[str, float]:
    train, test = ((evidence.features(side), evidence.labels(side)) for side in ("fake", "held_out"))
    return {"nn_error": neighbours.classification_error(*train, *test)}


def swd(evidence: Evidence) -> dict[str, float]:
    real, fake = (
        {int(level): array for level, array in evidence.collected[side]["patches"].items()} for side in ("real", "fake")
    )
    return {f"swd_{level}": value for level, value in sliced_wasserstein.distances(real, fake).items()}


def ms_ssim(evidence: Evidence) -> dict[str, float]:
    return {"ms_ssim": float(evidence.collected["fake"]["pairs"]["similarity"].mean(dtype=np.float64))}


def gan_train(evidence: Evidence) -> dict[str, float]:
    """Real on real, synthetic on real, real on synthetic; samples without labels get those of the real classifier."""
    real, test = ((evidence.images(side), evidence.labels(side)) for side in ("real", "held_out"))
    images = evidence.images("fake")
    labels = evidence.labels("fake") if evidence.needs.fake.labelled else None
    counts = [count for count in CURVE if count < len(images)]
    result = tstr.train_on_synthetic(real, test, (images, labels), evidence.needs.real.classes, counts=counts)
    spreads = {"trtr": result.trtr, "tstr": result.tstr, "trts": result.trts, "tstr_gap": result.gap}
    spreads |= {f"tstr_from_{count}": spread for count, spread in result.curve.items()}
    means = {name: spread.mean for name, spread in spreads.items() if spread is not None}
    stds = {f"{name}_std": spread.std for name, spread in spreads.items() if spread is not None}
    variety = {} if result.variety is None else {"class_variety": result.variety}
    return means | stds | variety | {f"tstr_class_{k}": float(share) for k, share in enumerate(result.per_class)}


def paired(evidence: Evidence) -> dict[str, float]:
    """PSNR and SSIM of images that belong together, in the order of their names."""
    real, fake = (evidence.images(side) for side in BOTH)
    return {"psnr": _mean_over(similarity.psnr, real, fake), "ssim": _mean_over(similarity.ssim, real, fake)}


def lpips_distance(evidence: Evidence) -> dict[str, float]:
    real, fake = (evidence.images(side) for side in BOTH)
    measure = perceptual(evidence.needs)
    return {"lpips": _mean_over(lambda a, b: measure(a / 127.5 - 1.0, b / 127.5 - 1.0), real, fake)}


def coverage(evidence: Evidence) -> dict[str, float]:
    """Of the modes of the mixture that the run was trained on."""
    world = datasets.open(evidence.needs.sampler.config.data)
    result = modes.coverage(evidence.features("fake"), world.centres, world.std)
    return {
        "modes": float(result.covered),
        "modes_20": float(result.covered_well),
        "high_quality": result.high_quality,
        "modes_kl": result.kl,
    }


def parzen_window(evidence: Evidence) -> dict[str, float]:
    """Bandwidth chosen on 1,000 held-out examples, likelihood of the others."""
    held_out, samples = evidence.features("held_out"), evidence.features("fake")
    if len(held_out) < 2 * VALIDATION:
        raise InputError(f"parzen needs at least {2 * VALIDATION} held-out examples, and there are {len(held_out)}")
    sigma = parzen.bandwidth(samples, held_out[:VALIDATION])
    mean, error = parzen.log_likelihood(samples, held_out[VALIDATION:], sigma)
    return {"parzen": mean, "parzen_error": error, "parzen_sigma": sigma}


def path_length_z(evidence: Evidence) -> dict[str, float]:
    """Paths between latents on the sphere that normal ones concentrate on; what else is in a latent stays."""
    sampler = evidence.needs.sampler

    def generate(latent, point, labels):
        z = point.shape[1] ** 0.5 * point
        return sampler.programs.generate(sampler.state, latent | {"z": z} if isinstance(latent, dict) else z, labels)

    def place(latent):
        return latent["z"] if isinstance(latent, dict) else latent

    return {"ppl_z": _path_length(evidence.needs, "z", lambda latent, _: latent, place, generate)}


def path_length_w(evidence: Evidence) -> dict[str, float]:
    """Paths between styles, without truncation; the noise stays."""
    sampler = evidence.needs.sampler

    def styles(latent, labels):
        return sampler.programs.styles(sampler.state, latent, labels, np.float32(1.0))

    def generate(latent, point, labels):
        return sampler.programs.generate(sampler.state, latent | {"w": point}, labels)

    return {"ppl_w": _path_length(evidence.needs, "w", styles, lambda latent: latent["w"], generate)}


def _path_length(needs: Needs, space: str, enter: Callable, place: Callable, generate: Callable) -> float:
    """The mean over paths from latent i to latent i + n of n samples: `enter(latent, labels)` makes them latents of
    the space, of which `place(latent)` moves, and `generate(latent, point, labels)` shows a point on the way."""
    sampler, number = needs.sampler, needs.samples
    measure, t = perceptual(needs), np.random.default_rng(needs.seed).random(number, np.float32)
    labels, found = sampler.labels(BATCH_SIZE), []
    for start in range(0, number, BATCH_SIZE):
        rows = np.minimum(np.arange(start, start + BATCH_SIZE, dtype=np.uint32), number - 1)
        with jax.set_mesh(sampler.mesh):
            a, b = (
                enter(sampler.programs.latents(np.uint32(needs.seed), index, np.float32(np.inf)), labels)
                for index in (rows, number + rows)
            )
            show = functools.partial(generate, a, labels=labels)
            found.append(path_length.lengths(show, measure, place(a), place(b), t[rows], space=space))
    return path_length.trimmed_mean(np.concatenate([np.asarray(part) for part in found])[:number])


def critic_probe(evidence: Evidence) -> dict[str, float]:
    train, test = ((evidence.features(side), evidence.labels(side)) for side in ("real", "held_out"))
    accuracy, fit, _ = probe.linear_probe(*train, *test)
    return {"linear_accuracy": accuracy, "linear_train_accuracy": fit}


def perceptual(needs: Needs) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """LPIPS between images float32 [B,H,W,C] in [-1, 1]."""

    def load(path):
        return vgg.load(path, fully_connected=False)

    conv, _ = extractors.frozen("vgg16", needs.vgg, load, lambda: vgg.init(needs.seed, fully_connected=False))
    linear, _ = extractors.frozen("lpips", needs.lpips, lpips.load_linear, lambda: lpips.init_linear(needs.seed))
    run = jax.jit(lpips.distance)
    return lambda a, b: run(conv, linear, extractors.rgb(a), extractors.rgb(b))


def perceptual_protocol(needs: Needs) -> str:
    """Which weights `perceptual` looks with. Raises InputError if they are missing."""

    def origin(name, path):
        return "RANDOM WEIGHTS" if path == "random" else f"weights {extractors.weight_hash(name, path)}"

    return f"VGG16 {origin('vgg16', needs.vgg)}, LPIPS {origin('lpips', needs.lpips)}"


def check_modes(needs: Needs) -> None:
    world = None if needs.sampler is None else datasets.open(needs.sampler.config.data)
    if not hasattr(world, "centres") or not len(world.centres) or world.std is None:
        raise InputError("only a mixture of known modes has them: gaussians of kind ring or grid")


def check_pairs(needs: Needs) -> None:
    """Raises InputError unless these are as many images as there are references, of the same names."""
    extractors.require_images(needs, "this metric")
    if needs.real.count != needs.fake.count:
        raise InputError(f"pairs of images are compared, and there are {needs.fake.count} and {needs.real.count}")
    if not (needs.real.names and needs.fake.names) or needs.sampler is not None:
        raise InputError("pairs of images are compared by the names of their files: use --folder and --reference")
    for one, other in zip(needs.fake.names, needs.real.names, strict=True):
        if one.rpartition(".")[0] != other.rpartition(".")[0]:
            raise InputError(f"pairs of images must have the same names, and {one} stands against {other}")


def check_lpips(needs: Needs) -> None:
    check_pairs(needs)
    extractors.require_rgb(needs, "LPIPS")
    perceptual_protocol(needs)


def check_path_length(needs: Needs) -> None:
    sampler = needs.sampler
    sampler.check_latent()
    _check_perceptual(needs)
    if not (sampler.styled or sampler.config.model.get("latent") in ("normal", "sphere")):
        raise InputError("needs latents that are normal or on a sphere, where a path is an arc")


def check_path_length_w(needs: Needs) -> None:
    needs.sampler.check_styled()
    _check_perceptual(needs)


def _check_perceptual(needs: Needs) -> None:
    sampler = needs.sampler
    if len(sampler.shape) != 3 or sampler.shape[-1] not in (1, 3):
        raise InputError(f"LPIPS sees grey or RGB images, and the samples are {sampler.shape}")
    perceptual_protocol(needs)


def _mean_over(function: Callable, a: np.ndarray, b: np.ndarray, batch_size: int = BATCH_SIZE) -> float:
    """The mean of `function(a, b) -> [B]` over images in 0..255."""
    run, total = jax.jit(function), 0.0
    for start in range(0, len(a), batch_size):
        rows = np.minimum(np.arange(start, start + min(batch_size, len(a))), len(a) - 1)
        values = run(jnp.asarray(a[rows], jnp.float32), jnp.asarray(b[rows], jnp.float32))
        total += float(np.asarray(values, np.float64)[: len(a) - start].sum())
    return total / len(a)


BY_NAME: dict[str, Metric] = {
    "fid": Metric(fid, "fid", "inception", BOTH),
    "kid": Metric(kid, "kid", "inception", BOTH, "100 subsets of 1000"),
    "is": Metric(score, "is", "inception", ("fake",), "10 splits", "higher"),
    "precision_recall": Metric(precision_recall, "precision", "vgg", BOTH, "k=3", "higher"),
    "density_coverage": Metric(density_coverage, "coverage", "vgg", BOTH, "k=5", "higher"),
    "1nn": Metric(two_sample, "1nn", "pixels", BOTH, "leave one out"),
    "nn_error": Metric(nn_error, "nn_error", "pixels", TESTED, labelled=TESTED),
    "swd": Metric(swd, "swd_average", "patches", BOTH, "512 directions"),
    "ms_ssim": Metric(ms_ssim, "ms_ssim", "pairs", ("fake",)),
    "tstr": Metric(
        gan_train,
        "tstr",
        "images",
        ("real", "fake", "held_out"),
        "3 seeds, 1000 steps",
        "higher",
        labelled=("real", "held_out"),
    ),
    "paired": Metric(paired, "psnr", "images", BOTH, "", "higher", check=check_pairs),
    "lpips": Metric(lpips_distance, "lpips", "images", BOTH, check=check_lpips),
    "modes": Metric(coverage, "modes", "pixels", ("fake",), "3 standard deviations", "higher", check=check_modes),
    "parzen": Metric(parzen_window, "parzen", "pixels", TESTED, "1000 validation examples", "higher"),
    "ppl_z": Metric(path_length_z, "ppl_z", "images", (), "epsilon 1e-4", check=check_path_length),
    "ppl_w": Metric(path_length_w, "ppl_w", "images", (), "epsilon 1e-4", check=check_path_length_w),
    "linear": Metric(critic_probe, "linear_accuracy", "critic", LEARNED, "", "higher", labelled=LEARNED),
}
