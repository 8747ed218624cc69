"""The driver: populations, extractors, protocols, the same numbers on any devices."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

from gan_jax import config as base
from gan_jax import parallel
from gan_jax.data import datasets
from gan_jax.errors import InputError
from gan_jax.metrics import evaluation, extractors, frechet, populations
from gan_jax.metrics.extractors import Needs
from gan_jax.train import evaluator, loop, workdir
from tests import experiments


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache folder of the test's own."""
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GAN_JAX_CACHE", str(place))
    return place


def mesh(devices=8):
    return parallel.make_mesh({"data": -1, "fsdp": 1}, jax.devices()[:devices])


def images_in(folder, count, seed=0, shape=(16, 16, 3), classes=0):
    """Random images in files."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        place = folder / f"{number % classes}" if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels.squeeze()).save(place / f"{number:03d}.png")
    return folder


def shapes(size=48, seed=0, devices=8, resolution=16, count=None):
    section = base.data(name="shapes", resolution=resolution, size=size, options=base.dict(seed=seed))
    return populations.real(section, mesh(devices), count)


def measured(requests, fake, real, **others):
    values = evaluation.evaluate(evaluation.parse(requests), Needs(fake, real, None, **others), batch_size=16)
    return {value.name: value.value for value in values}


def test_a_population_is_its_records_in_order():
    population = shapes(40)
    images, labels = [], []
    for batch, given, number in population.batches(population.whole(16)):
        assert batch.shape == (16, 16, 16, 3)
        images.append(np.asarray(batch)[:number])
        labels.append(given[:number])
    section = base.data(name="shapes", resolution=16, size=40)
    read = datasets.open(section).read(np.arange(40))
    np.testing.assert_array_equal(np.concatenate(images), read["image"])
    np.testing.assert_array_equal(np.concatenate(labels), read["label"])


def test_a_smaller_reference_is_spread_evenly(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "images.npz", image=images)
    population = populations.folder(tmp_path / "images.npz", mesh(), count=10)
    (batch, _, number) = next(population.batches(16))
    np.testing.assert_array_equal(np.asarray(batch)[:number], images[::4])
    with pytest.raises(InputError, match="has only 40"):
        populations.folder(tmp_path / "images.npz", mesh(), count=41)


def test_held_out_examples_of_a_world_are_others():
    section = base.data(name="shapes", resolution=16, size=40)
    train, test = populations.real(section, mesh()), populations.held_out(section, mesh())
    assert populations.fingerprint(train) != populations.fingerprint(test)
    with pytest.raises(InputError, match="--test"):
        populations.held_out(base.data(name="folder", path="x"), mesh())


def test_a_fingerprint_is_of_content_alone(tmp_path):
    one = images_in(tmp_path / "one", 20)
    other = images_in(tmp_path / "other", 20)
    marks = [populations.fingerprint(populations.folder(path, mesh(d))) for path, d in ((one, 8), (other, 2))]
    assert marks[0] == marks[1]
    images_in(tmp_path / "other", 20, seed=1)
    assert populations.fingerprint(populations.folder(other, mesh())) != marks[0]


def test_limits_take_evenly_spaced_examples():
    rows = [start + extractors._rows(start, 10, 7, 30) for start in (0, 10, 20)]
    rows = np.concatenate(rows)
    assert len(rows) == 7
    assert set(np.diff(rows)) <= {4, 5}
    assert len(extractors._rows(0, 10, None, 30)) == 10


def test_outputs_are_those_of_the_examples_whatever_the_batches():
    """One row for each of 42 images, two rows for each, and one for each pair: the filled-up tail does not show."""
    population = shapes(42)
    one = extractors.Extractor("one", "", (), lambda _, x, first: {"mean": x.astype("float32").mean((1, 2, 3))})
    two = extractors.Extractor("two", "", (), lambda _, x, first: {"pixels": x[:, 0, :2, 0].reshape(-1)}, limit=20)
    half = extractors.Extractor(
        "half", "", (), lambda _, x, first: {"both": x[0::2, 0, 0, 0] // 2 + x[1::2, 0, 0, 0] // 2}
    )
    small, large = (extractors.collect(population, [one, two, half], size, "test") for size in (16, 64))
    images = datasets.open(base.data(name="shapes", resolution=16, size=42)).read(np.arange(42))["image"]
    chosen = [i for i in range(42) if i * 20 % 42 < 20]
    for collected in (small, large):
        np.testing.assert_allclose(collected["one"]["mean"], images.mean((1, 2, 3)), rtol=1e-6)
        np.testing.assert_array_equal(collected["two"]["pixels"], images[chosen, 0, :2, 0].reshape(-1))
        np.testing.assert_array_equal(
            collected["half"]["both"], images[0::2, 0, 0, 0] // 2 + images[1::2, 0, 0, 0] // 2
        )
    assert len(chosen) == 20
    np.testing.assert_array_equal(small.labels, large.labels)


def test_fid_of_pixels_is_the_formula_of_the_pixels():
    real, fake = shapes(48), shapes(48, seed=1)
    flat = [
        datasets.open(base.data(name="shapes", resolution=16, size=48, options=base.dict(seed=seed)))
        .read(np.arange(48))["image"].reshape(48, -1).astype(np.float32) / 255
        for seed in (0, 1)
    ]  # fmt: skip
    expected = frechet.distance(*map(frechet.moments, flat))
    np.testing.assert_allclose(measured("fid:pixels", fake, real)["fid/pixels"], expected, rtol=1e-4)
    assert abs(measured("fid:pixels", real, real)["fid/pixels"]) < 1e-3 * expected


def test_one_device_and_eight_agree():
    names = "fid:pixels,swd,1nn"
    many = measured(names, shapes(42, 1), shapes(42))
    one = measured(names, shapes(42, 1, devices=1), shapes(42, devices=1))
    assert many.keys() == one.keys() == {
        "fid/pixels", "swd_16", "swd_average", "1nn/pixels", "1nn_real/pixels", "1nn_fake/pixels"
    }  # fmt: skip
    for name, value in many.items():
        np.testing.assert_allclose(value, one[name], rtol=1e-5, atol=1e-7, err_msg=name)


def test_protocols_say_what_was_done():
    real, fake = shapes(42), shapes(42, 1)
    (value, *_) = evaluation.evaluate(evaluation.parse("1nn"), Needs(fake, real, None))
    assert value.name == "1nn/pixels"
    for part in ("metric 1nn", "features values", "real shapes", "42 examples, sha256", "samples 42, shapes seed=1"):
        assert part in value.protocol
    (other, *_) = evaluation.evaluate(evaluation.parse("1nn"), Needs(fake, shapes(40), None))
    assert other.protocol != value.protocol


def test_features_of_the_reference_are_cached_by_content(cache, monkeypatch):
    looked = []

    def counting(needs):
        def look(_, images, first):
            jax.debug.callback(lambda: looked.append(1))
            return {"features": images.reshape(len(images), -1)[:, :4].astype("float32")}

        return extractors.Extractor("pixels", "four of them", (), look, cached=True)

    monkeypatch.setitem(extractors.BY_NAME, "pixels", counting)
    first = measured("fid:pixels", shapes(40, 1), shapes(40))
    jax.effects_barrier()
    before = len(looked)
    assert measured("fid:pixels", shapes(40, 1), shapes(40)) == first
    jax.effects_barrier()
    assert len(looked) - before == before // 2  # only the samples
    (file,) = (cache / "features").iterdir()
    assert file.suffix == ".npz"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fidd", "unknown metric: 'fidd'. Did you mean 'fid'"),
        ("fid:resnet", "unknown features of metric 'fid': 'resnet'"),
        ("swd:vgg", "looks at patches and at nothing else"),
        ("", "no metric is named"),
        ("fid,,kid", "no metric is named"),
    ],
)
def test_what_is_no_metric(text, message):
    with pytest.raises(InputError, match=message):
        evaluation.parse(text)


def test_metrics_that_do_not_apply_say_so(tmp_path):
    population, tiny = shapes(20), shapes(20, resolution=8)
    points = populations.real(base.data(name="gaussians", size=20), mesh())
    five = np.zeros((20, 16, 16, 5), np.uint8)
    np.savez(tmp_path / "five.npz", image=five)
    channels = populations.folder(tmp_path / "five.npz", mesh())
    for names, fake, real, message in [
        ("fid", points, points, "inception looks at images, and these are points"),
        ("fid", channels, channels, "grey or RGB images, and these have 5 channels"),
        ("fid", population, tiny, "images of 16x16x3 and 8x8x3 cannot be compared"),
        ("fid", population, population, "prepare.py --weights inception"),
        ("fid", None, population, "needs samples"),
        ("fid", population, None, "needs a reference"),
        ("parzen", population, population, "needs examples that were not trained on"),
        ("swd", tiny, tiny, "16"),
        ("kid:pixels", population, population, "metric 'kid': .*20"),
        ("tstr", population, population, "not trained on"),
        ("ppl_z", population, population, "needs a run"),
        ("modes", points, points, "only a mixture of known modes"),
        ("paired", population, population, "--folder"),
        ("linear", population, population, "not trained on"),
        ("is:classifier", channels, channels, "trained on the labels of the reference, and it has none"),
    ]:
        with pytest.raises(InputError, match=message):
            measured(names, fake, real)
    assert set(measured("fid:pixels,1nn", channels, channels)) > {"fid/pixels"}  # any number of channels


def test_pairs_are_compared_by_name(tmp_path):
    a, b = images_in(tmp_path / "a", 10), images_in(tmp_path / "b", 10, seed=1)
    here = [populations.folder(path, mesh()) for path in (a, b)]
    assert measured("paired", here[0], here[0])["ssim"] == pytest.approx(1.0, abs=1e-6)
    assert measured("paired", *here)["psnr"] == pytest.approx(7.75, abs=0.3)  # two uniform images: 10 log10(6)
    (b / "003.png").rename(b / "other.png")
    with pytest.raises(InputError, match="must have the same names"):
        measured("paired", here[0], populations.folder(b, mesh()))


# ------------------------------------------------------------------------------------------------ while training


def trained(place, **changes):
    config = experiments.get_config("gan")
    config.data.size = 256
    config.update(changes)
    evaluator.check(config)
    config = datasets.resolve(config)
    workdir.prepare(place, config)
    from gan_jax import contract

    loop.train(config, contract.load(config), place)
    return [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]


def test_evaluation_in_the_loop_and_the_best_checkpoint(tmp_path):
    changes = {"steps": 8, "log_every": 4, "save_every": 4, "keep": 1, "eval_every": 2, "eval_samples": 64}
    lines = trained(tmp_path, **changes, metrics=("1nn",), best="1nn")
    values = {line["step"]: line["1nn/pixels"] for line in lines if "1nn/pixels" in line}
    assert list(values) == [2, 4, 6, 8]
    assert [line["step"] for line in lines if "loss/d" in line] == [4, 8]
    assert "real gaussians" in lines[0]["protocol/1nn/pixels"]
    best = min(values, key=values.get)
    steps = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdecimal())
    assert steps == sorted({best, 8})


def test_a_resumed_run_remembers_which_was_best(tmp_path):
    changes = {"log_every": 2, "save_every": 2, "keep": 1, "eval_every": 2, "eval_samples": 64}
    whole = trained(tmp_path / "whole", steps=8, **changes, metrics=("1nn",), best="1nn")
    trained(tmp_path / "halves", steps=4, **changes, metrics=("1nn",), best="1nn")
    halves = trained(tmp_path / "halves", steps=8, **changes, metrics=("1nn",), best="1nn")
    assert whole == halves
    kept = [
        sorted(path.name for path in (tmp_path / name / "checkpoints").iterdir() if path.name.isdecimal())
        for name in ("whole", "halves")
    ]
    assert kept[0] == kept[1]


def test_an_evaluation_leaves_the_training_alone(tmp_path):
    """Metrics of the steps are those of a run that was not looked at."""
    plain = trained(tmp_path / "plain", steps=2, log_every=2)
    watched = trained(tmp_path / "watched", steps=2, log_every=2, eval_every=1, metrics=("modes",), eval_samples=64)
    losses = [{k: v for k, v in line.items() if k in plain[0]} for line in watched if "loss/d" in line]
    assert losses == plain


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eval_every": 5}, "go together"),
        ({"metrics": ("fid",)}, "go together"),
        ({"eval_every": 5, "metrics": ("fid",), "best": "kid"}, "config.best='kid' must be one of"),
        ({"eval_every": 5, "metrics": ("linear",)}, "launch/evaluate.py"),
        ({"eval_every": 5, "metrics": ("fidd",)}, "unknown metric"),
    ],
)
def test_configs_that_contradict_themselves(changes, message):
    config = experiments.get_config("gan")
    config.update(changes)
    with pytest.raises(InputError, match=message):
        evaluator.check(config)


def test_the_same_evidence_for_another_state_needs_no_new_programs(tmp_path):
    run = experiments.open_run("gan")
    state = run.begin()
    from gan_jax.analysis import sampler as sampling

    with jax.set_mesh(run.mesh):
        one = sampling.of(run.stage.gan, state, run.config, 0, run.mesh, "average")
    other = dataclasses.replace(one, state=jax.tree.map(lambda x: x, state), step=5)
    assert other.programs is one.programs
