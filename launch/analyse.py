"""What a trained GAN has learned, in pictures. The first argument says what to look at:

    interpolate  walks from one sample to another: rows of images, or an animation
    arithmetic   the DCGAN figure: the mean latent of some samples, less that of others, plus that of others
    truncation   the same latents under several bounds, or drawn towards the mean, and how much variety is left
    neighbours   the training images nearest to samples, and whether samples are copies
    mixing       StyleGAN: images whose coarse, middle or fine styles come from others
    noise        StyleGAN: what the noise changes in an image, and how much
    breed        conditional GANs: walks from one class to another, with the latent held
    zoom         one class, told less or more strongly than in training
    hallucinate  one class among faint voices of the others, whose surroundings change
    curves       the metrics of one run or of many; runs that differ in their seeds alone are a mean and a band
    codes        a panel for each code of an InfoGAN, its values from left to right; whether they are the real classes
    upscale      SRGAN: photographs made smaller and enlarged again, beside a bicubic interpolation; PSNR and SSIM
    landscape    points in the plane: samples over the data's density, and the critic's level sets, of one run or many

    python launch/analyse.py interpolate --workdir runs/x
    python launch/analyse.py interpolate --workdir runs/x --samples 3,17,40,8 --frames 30 --format gif
    python launch/analyse.py interpolate --workdir runs/x --space w
    python launch/analyse.py arithmetic --workdir runs/x --positive 3,17,40 --minus 1,2,9 --plus 5,11,30
    python launch/analyse.py truncation --workdir runs/x --bounds 0.5,1,inf
    python launch/analyse.py neighbours --workdir runs/x --neighbours 5
    python launch/analyse.py mixing --workdir runs/x --sources 3,17,40 --destinations 1,2 --psi 0.7
    python launch/analyse.py noise --workdir runs/x --number 3
    python launch/analyse.py breed --workdir runs/x --labels 2,5 --number 4
    python launch/analyse.py zoom --workdir runs/x --labels 2 --strengths 0.5,1,2
    python launch/analyse.py hallucinate --workdir runs/x --labels 2 --others 0.3
    python launch/analyse.py curves --workdir runs/a,runs/b --metrics loss/d,loss/g
    python launch/analyse.py codes --workdir runs/x --number 5
    python launch/analyse.py landscape --workdir runs/a,runs/b
    python launch/analyse.py upscale --workdir runs/x --test photographs

Samples have the numbers that `launch/sample.py` gives them: 0 is the upper left one of its grid. Pictures go to
`analysis/` in the run unless --output says otherwise. Of several runs, `landscape` draws a picture in each and one of
all: in the first, or where --output says.
"""

import pathlib

import numpy as np
from absl import flags, logging

from gan_jax import cli
from gan_jax.errors import InputError

WORKDIR = flags.DEFINE_multi_string("workdir", None, "The run directory; curves and landscape take several: a,b.")
OUTPUT = flags.DEFINE_string("output", None, "A file name in .png or .gif; in the run if not given.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace an output that exists.")
WEIGHTS = flags.DEFINE_enum("weights", "average", ["average", "raw"], "The generator's running average, or itself.")
STEP = flags.DEFINE_integer("step", None, "Which checkpoint; the newest if not given.")
SEED = flags.DEFINE_integer("seed", 0, "Of the latents.")
LABELS = flags.DEFINE_list("labels", None, "Classes to take in turn, row by row or sample by sample; arithmetic: one.")
NUMBER = flags.DEFINE_integer("number", 8, "Rows, and for truncation columns.", lower_bound=1)
CUT = flags.DEFINE_float("truncation", None, "Draw latents beyond this bound again; normal latents only.")
SAMPLES = flags.DEFINE_list(
    "samples", None, "interpolate: from the first to the second, from the third to the fourth..."
)
FRAMES = flags.DEFINE_integer(
    "frames",
    None,
    "interpolate, breed: images of a walk, ends included; 9, or 30 of an animation. hallucinate: columns.",
)
PATH = flags.DEFINE_enum(
    "path", None, ["linear", "spherical"], "interpolate: spherical if not given; linear for uniform latents and styles."
)
SPACE = flags.DEFINE_enum("space", "z", ["z", "w"], "interpolate: of latents, or StyleGAN's of styles.")
FORMAT = flags.DEFINE_enum("format", "png", ["png", "gif"], "interpolate: a picture, or an animation.")
SECONDS = flags.DEFINE_float("seconds", 0.08, "interpolate: how long an image of an animation is seen.", lower_bound=0)
POSITIVE = flags.DEFINE_list("positive", None, "arithmetic: numbers of the samples that are the first term.")
MINUS = flags.DEFINE_list("minus", None, "arithmetic: those whose mean is subtracted.")
PLUS = flags.DEFINE_list("plus", None, "arithmetic: those whose mean is added.")
NOISE = flags.DEFINE_float("noise", 0.25, "arithmetic: reach of the uniform noise around the result.", lower_bound=0)
BOUNDS = flags.DEFINE_list("bounds", None, "truncation: draw again beyond these, inf is none; 0.25,0.5,1,2,inf.")
PSI = flags.DEFINE_list(
    "psi", None, "truncation: instead, these shares of the way from the mean latent. mixing, noise: one of them; 1."
)
SOURCES = flags.DEFINE_list("sources", None, "mixing: numbers of the samples that give styles; 0 to 5.")
DESTINATIONS = flags.DEFINE_list("destinations", None, "mixing: numbers of those that take them; 6 to 8.")
DRAWS = flags.DEFINE_integer("draws", 100, "noise: how many noises each image is made with.", lower_bound=2)
MEASURED = flags.DEFINE_integer("measured", 256, "truncation, neighbours: samples behind the number.", lower_bound=2)
NEIGHBOURS = flags.DEFINE_integer("neighbours", 7, "neighbours: training images for each sample.", lower_bound=1)
TRAINED = flags.DEFINE_integer("trained", 50_000, "neighbours: training images to search, at most.", lower_bound=1)
TEST = flags.DEFINE_string(
    "test", None, "neighbours: a folder or NPZ file of images that were not trained on. upscale: a folder, any sizes."
)
STRENGTHS = flags.DEFINE_list("strengths", None, "zoom: how strongly a class is told; 0.25,0.5,0.75,1,1.5,2.")
OTHERS = flags.DEFINE_float(
    "others", 0.3, "hallucinate: how strongly the others are told, all together.", lower_bound=0
)
EXAMPLES = flags.DEFINE_integer("examples", None, "codes: held-out examples to recognise; all if not given.")
METRICS = flags.DEFINE_list("metrics", None, "curves: which, as loss/d,fid; all if not given.")

SHOWN = 2_000  # points of the background
EVERYWHERE = {"workdir", "output", "overwrite"}
OF_A_SAMPLER = EVERYWHERE | {"weights", "step", "seed", "labels"}


def main(arguments):
    logging.set_verbosity(logging.WARNING)
    verb = arguments[1]
    run, known = VERBS[verb]
    for name in sorted(set().union(*(others for _, others in VERBS.values())) - known):
        if flags.FLAGS[name].present:
            raise InputError(f"--{name} is not for '{verb}'; its flags: --{', --'.join(sorted(known))}")
    run(verb)


def interpolate(verb: str) -> None:
    import jax

    from gan_jax.analysis import arithmetic, interpolation
    from gan_jax.data import display

    sampler, labels = opened()
    sampler.check_latent()
    path = destination(sampled(verb, sampler), FORMAT.value)
    chosen = numbers("samples", int) or range(2 * NUMBER.value)
    if len(chosen) % 2 or (SAMPLES.value and flags.FLAGS["number"].present):
        raise InputError("--samples names a first and a last sample for each row, and so the number of rows")
    z = arithmetic.numbered(sampler, chosen, SEED.value, truncation=CUT.value)
    ends = [jax.tree.map(lambda leaf, first=first: leaf[first::2], z) for first in (0, 1)]
    frames = FRAMES.value or {"png": 9, "gif": 30}[FORMAT.value]
    made = interpolation.interpolate(sampler, *ends, frames, kind=PATH.value, space=SPACE.value, labels=labels)
    background = None
    if sampler.domain == "point":
        background = sampler.sample(SHOWN, SEED.value, labels=labels, truncation=CUT.value)
    if FORMAT.value == "gif":
        write(display.save_gif, path, interpolation.animation(made, background), SECONDS.value)
    else:
        write(display.save_png, path, interpolation.picture(made, background))
    kind = PATH.value or interpolation.natural_path(sampler, SPACE.value)
    print(f"{len(made)} {kind} walks of {frames} frames in {SPACE.value}: {path}")


def arithmetic(verb: str) -> None:
    import jax

    from gan_jax.analysis import arithmetic as tool
    from gan_jax.data import display

    sampler, labels = opened()
    sampler.check_latent()
    need_images(verb, sampler)
    if sampler.classes and (labels is None or len(labels) != 1):
        raise InputError(
            f"arithmetic of a conditional GAN is done within one class: --labels=0 to {sampler.classes - 1}"
        )
    path = destination(sampled(verb, sampler), "png")
    terms = [numbers(name, int) for name in ("positive", "minus", "plus")]
    if not all(terms):
        raise InputError("--positive, --minus and --plus name the samples of the three terms, as 3,17,40")
    z = [tool.numbered(sampler, term, SEED.value, truncation=CUT.value) for term in terms]
    made = tool.arithmetic(sampler, *map(tool.mean, z), noise=NOISE.value, seed=SEED.value, labels=labels)
    everything = sampler.generate(jax.tree.map(lambda *leaves: np.concatenate(leaves), *z), labels)
    examples = np.split(everything, np.cumsum([len(term) for term in terms])[:-1])
    write(display.save_png, path, tool.picture(examples, made))
    print(f"samples {' + '.join(f'mean of {term}' for term in terms).replace(' + ', ' - ', 1)}: {path}")


def truncation(verb: str) -> None:
    from gan_jax.analysis import truncation as tool
    from gan_jax.data import display

    if BOUNDS.value and PSI.value:
        raise InputError("--bounds and --psi are different operations; name one of them")
    kind, values = ("psi", numbers("psi", float)) if PSI.value else ("bound", numbers("bounds", float) or tool.BOUNDS)
    sampler, labels = opened()
    sampler.check_latent()
    path = destination(sampled(verb, sampler), "png")
    number = MEASURED.value if sampler.domain == "point" else NUMBER.value
    made = tool.sweep(sampler, values, kind, number=number, measured=MEASURED.value, seed=SEED.value, labels=labels)
    write(display.save_png, path, tool.picture(made))
    for value, distance in zip(made.values, made.distances, strict=True):
        print(f"{kind} {value:g}: mean distance {distance:.4f}")
    print(path)


def neighbours(verb: str) -> None:
    from gan_jax.analysis import neighbours as tool
    from gan_jax.data import datasets, display

    sampler, labels = opened()
    sampler.check_noise()
    need_images(verb, sampler)
    path = destination(sampled(verb, sampler), "png")
    count = max(NUMBER.value, MEASURED.value)
    held_out = test_images(sampler)
    source = datasets.open(sampler.config.data)
    samples = sampler.sample(count, SEED.value, labels=labels, truncation=CUT.value)
    trained = tool.gallery(source, count=TRAINED.value, mirror=sampler.config.data.flip)
    found = trained.nearest(samples[: NUMBER.value], NEIGHBOURS.value)
    write(display.save_png, path, tool.picture(samples[: NUMBER.value], trained.read(found.indices)))
    searched = f"{min(TRAINED.value, len(source)):,} of {len(source):,} training images"
    if held_out is None:
        distance = np.median(trained.nearest(samples).distances)
        print(f"median distance to {searched}: {distance:.4f}; name real images to compare with by --test")
    else:
        ratio, own, real = tool.memorisation(samples, held_out, trained)
        print(f"median distance to {searched}: samples {own:.4f}, held-out images {real:.4f}, ratio {ratio:.3f}")
    print(path)


def breed(verb: str) -> None:
    from gan_jax.analysis import classes

    sampler, labels = of_classes(2, "two classes, as --labels=2,5")
    frames = FRAMES.value or 9
    draw_rows(verb, sampler, lambda z: classes.breeding(sampler, *labels, z, frames))


def zoom(verb: str) -> None:
    from gan_jax.analysis import classes

    sampler, labels = of_classes(1, "one class, as --labels=2")
    strengths = numbers("strengths", float) or classes.STRENGTHS
    draw_rows(verb, sampler, lambda z: classes.zoom(sampler, *labels, z, strengths))


def hallucinate(verb: str) -> None:
    from gan_jax.analysis import classes

    sampler, labels = of_classes(1, "one class, as --labels=2")
    columns = FRAMES.value or 9
    draw_rows(
        verb, sampler, lambda z: classes.hallucination(sampler, *labels, z, columns, OTHERS.value, seed=SEED.value)
    )


def of_classes(count: int, wanted: str):
    """The sampler, and so many classes of --labels."""
    sampler, labels = opened()
    sampler.check_latent()
    if labels is None or len(labels) != count:
        raise InputError(f"--labels must name {wanted}")
    return sampler, labels


def draw_rows(verb: str, sampler, tool) -> None:
    """The picture that a tool makes of the first latents, a row for each."""
    from gan_jax.analysis import interpolation
    from gan_jax.data import display

    need_images(verb, sampler)
    path = destination(sampled(verb, sampler), "png")
    made = tool(sampler.latents(NUMBER.value, SEED.value, truncation=CUT.value))
    write(display.save_png, path, interpolation.picture(made))
    print(f"{made.shape[0]} latents, {made.shape[1]} columns: {path}")


def mixing(verb: str) -> None:
    from gan_jax.analysis import arithmetic, styles
    from gan_jax.data import display

    sampler, _ = opened()
    sampler.check_styled()
    path = destination(sampled(verb, sampler), "png")
    chosen = numbers("sources", int) or range(6), numbers("destinations", int) or range(6, 9)
    made = styles.mixing(
        sampler, *(arithmetic.numbered(sampler, each, SEED.value) for each in chosen), psi=single_psi()
    )
    write(display.save_png, path, styles.picture(made))
    for name, (start, end) in made.ranges.items():
        print(f"{name}: layers {start} to {end - 1}")
    print(path)


def noise(verb: str) -> None:
    from gan_jax.analysis import noise_variation
    from gan_jax.data import display

    sampler, _ = opened()
    sampler.check_styled()
    path = destination(sampled(verb, sampler), "png")
    made = noise_variation.variation(sampler, NUMBER.value, DRAWS.value, seed=SEED.value, psi=single_psi())
    write(display.save_png, path, noise_variation.picture(made))
    for number, deviation in enumerate(made.deviation):
        print(f"sample {number}: mean deviation {deviation.mean():.4f}, largest {deviation.max():.4f}")
    print(path)


def single_psi() -> float:
    """The one number of --psi; 1 if it was not given."""
    values = numbers("psi", float) or [1.0]
    if len(values) > 1:
        raise InputError(f"--psi={','.join(PSI.value)} must be one number here")
    return values[0]


def curves(verb: str) -> None:
    from gan_jax.analysis import curves as tool
    from gan_jax.data import display

    workdirs = all_workdirs()
    found = tool.curves(workdirs, METRICS.value or ())
    path = destination(pathlib.Path(workdirs[0]) / "analysis" / verb, "png")
    write(display.save_png, path, tool.picture(found))
    for metric, lines in found.items():
        for name, line in lines.items():
            print(f"{metric}  {name}: {line.mean[-1]:.4g} at step {line.steps[-1]}, {line.runs} run(s)")
    print(path)


def codes(verb: str) -> None:
    from gan_jax.analysis import codes as tool
    from gan_jax.data import display
    from gan_jax.metrics import populations

    sampler, labels = opened()
    sampler.check_latent()
    path = destination(sampled(verb, sampler), "png")
    write(display.save_png, path, tool.picture(tool.traverse(sampler, NUMBER.value, seed=SEED.value, labels=labels)))
    try:
        examples = populations.held_out(sampler.config.data, sampler.mesh, EXAMPLES.value)
    except InputError:
        examples = None  # this data has none
    if examples and examples.labelled:
        for name, found in tool.matched(sampler, examples).items():
            partners = ", ".join(f"{code}: {label}" for code, label in enumerate(found.label))
            print(f"{name} is the class of {found.accuracy:.1%} of {examples.count:,} held-out examples ({partners})")
    print(path)


def landscape(verb: str) -> None:
    from gan_jax.analysis import landscape as tool
    from gan_jax.analysis import sampler as sampling
    from gan_jax.data import display

    places, labels = all_workdirs(), numbers("labels", int)
    samplers = {place: sampling.load(place, STEP.value, weights=WEIGHTS.value) for place in places}
    titles = tool.titles({place: sampler.config.gan for place, sampler in samplers.items()})
    together = len(places) > 1
    paths = {p: destination(sampled(verb, s, p), "png", given=not together) for p, s in samplers.items()}
    sheet = destination(pathlib.Path(places[0]) / "analysis" / f"{verb}s", "png") if together else None
    drawn = {p: tool.landscape(s, titles[p], SEED.value, labels=labels) for p, s in samplers.items()}
    for place, one in drawn.items():
        write(display.save_png, paths[place], tool.picture([one]))
        print(f"{one.title}, step {one.step:,}: {tool.said(one)}: {paths[place]}")
    if sheet:
        write(display.save_png, sheet, tool.picture(list(drawn.values())))
        print(sheet)


def upscale(verb: str) -> None:
    from gan_jax.analysis import translation, upscaling
    from gan_jax.data import display

    if TEST.value is None:
        raise InputError("--test names the folder of photographs to make smaller and to enlarge again")
    sampler, _ = opened()
    path, found = destination(sampled(verb, sampler), "png"), []
    for one in upscaling.enlarged(translation.Translator(sampler), TEST.value, SEED.value):
        said = (f"{name} {psnr:.2f} dB, {ssim:.4f}" for name, (psnr, ssim) in one.scores.items())
        print(f"{one.name}: {'; '.join(said)}", flush=True)
        found.append(one)
    for name, (psnr, ssim) in upscaling.means(found).items():
        print(f"mean of {len(found)}, {name}: PSNR {psnr:.2f} dB, SSIM {ssim:.4f}")
    write(display.save_png, path, upscaling.picture(found[: NUMBER.value]))
    print(f"{upscaling.PROTOCOL}: {path}")


def all_workdirs() -> list[str]:
    """The run directories of --workdir, where there may be several."""
    return [part for given in WORKDIR.value for part in given.split(",")]


def opened():
    """The sampler of --workdir, and the classes of --labels."""
    from gan_jax.analysis import sampler as sampling

    if len(WORKDIR.value) > 1:
        raise InputError(f"--workdir={','.join(WORKDIR.value)}: only curves and landscape look at several runs")
    sampler = sampling.load(WORKDIR.value[0], STEP.value, weights=WEIGHTS.value)
    labels = numbers("labels", int)
    sampler.labels(0, labels)
    return sampler, labels


def numbers(name: str, kind: type) -> list | None:
    """The numbers in a flag; None if it was not given."""
    given = flags.FLAGS[name].value
    try:
        if given is not None and not given:
            raise ValueError
        return None if given is None else [kind(part) for part in given]
    except ValueError:
        raise InputError(
            f"--{name}={','.join(given)} must be numbers as {'3,17' if kind is int else '0.5,1'}"
        ) from None


def need_images(verb: str, sampler) -> None:
    if sampler.domain != "image":
        raise InputError(f"'{verb}' shows images; this run makes {sampler.domain}s")


def test_images(sampler) -> np.ndarray | None:
    """Real images that the run was not trained on, of --test or of the same dataset; None if there are none."""
    import jax.numpy as jnp

    from gan_jax.data import transforms
    from gan_jax.metrics import populations

    number = MEASURED.value
    if TEST.value:
        real = populations.folder(TEST.value, sampler.mesh)
        if real.shape != sampler.shape:
            raise InputError(f"--test={TEST.value} has images {list(real.shape)}; this run makes {list(sampler.shape)}")
    else:
        try:
            real = populations.held_out(sampler.config.data, sampler.mesh, number)
        except InputError:
            return None
    pieces = [np.asarray(images)[:count] for images, _, count in real.batches(real.whole(64))]
    return np.asarray(transforms.to_float(jnp.asarray(np.concatenate(pieces)[:number])))


def sampled(verb: str, sampler, place: str = "") -> pathlib.Path:
    """Where the picture of a sampler goes, without its ending."""
    name = f"{verb}_step_{sampler.step:08d}_{sampler.weights}_seed_{SEED.value}"
    return pathlib.Path(place or WORKDIR.value[0]) / "analysis" / name


def destination(default: pathlib.Path, form: str, given: bool = True) -> pathlib.Path:
    """The file to write: --output, unless that is not `given` for it. InputError if it exists or ends otherwise."""
    path = pathlib.Path(OUTPUT.value) if OUTPUT.value and given else default.with_name(f"{default.name}.{form}")
    if path.suffix != f".{form}":
        raise InputError(f"--output={path} must be a file name in .{form}")
    if path.exists() and not OVERWRITE.value:
        raise InputError(f"{path} exists; --overwrite replaces it, or name another --output")
    return path


def write(save, path: pathlib.Path, *content) -> None:
    try:
        save(path, *content)
    except OSError as error:
        raise InputError(f"--output={path} cannot be written: {error.strerror or error}") from None


VERBS = {
    "interpolate": (
        interpolate,
        OF_A_SAMPLER | {"number", "truncation", "samples", "frames", "path", "space", "format", "seconds"},
    ),
    "arithmetic": (arithmetic, OF_A_SAMPLER | {"truncation", "positive", "minus", "plus", "noise"}),
    "truncation": (truncation, OF_A_SAMPLER | {"number", "measured", "bounds", "psi"}),
    "mixing": (mixing, OF_A_SAMPLER - {"labels"} | {"sources", "destinations", "psi"}),
    "noise": (noise, OF_A_SAMPLER - {"labels"} | {"number", "draws", "psi"}),
    "neighbours": (neighbours, OF_A_SAMPLER | {"number", "truncation", "measured", "neighbours", "trained", "test"}),
    "breed": (breed, OF_A_SAMPLER | {"number", "truncation", "frames"}),
    "zoom": (zoom, OF_A_SAMPLER | {"number", "truncation", "strengths"}),
    "hallucinate": (hallucinate, OF_A_SAMPLER | {"number", "truncation", "frames", "others"}),
    "curves": (curves, EVERYWHERE | {"metrics"}),
    "codes": (codes, OF_A_SAMPLER | {"number", "examples"}),
    "landscape": (landscape, OF_A_SAMPLER),
    "upscale": (upscale, OF_A_SAMPLER - {"labels"} | {"number", "test"}),
}
flags.mark_flag_as_required("workdir")

if __name__ == "__main__":
    cli.run(main, VERBS)
