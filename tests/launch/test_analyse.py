"""launch/analyse.py: every verb on a run of a few steps, what is refused, and the verbs themselves."""

import functools
import json
import sys

import numpy as np
import pytest
from absl import flags
from PIL import Image

from gan_jax import cli
from gan_jax import config as base
from gan_jax.analysis import sampler as sampling
from gan_jax.errors import InputError
from tests import experiments
from tests.analysis.linear import Linear
from tests.analysis.test_styles import small_stylegan
from tests.launch import test_scripts
from tests.launch.test_sample import contents, program, train


def call(verb, *arguments):
    """What `python launch/analyse.py <verb> <arguments>` does, in this process."""
    with program("analyse") as module:
        module.main(cli._parse(["analyse", *filter(None, [verb]), *map(str, arguments)], module.VERBS))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A GAN on 48 small faces, and what loads it: once."""
    config = experiments.get_config("gan")
    config.data = base.data(name="faces", resolution=16, size=48)
    return train(tmp_path_factory.mktemp("faces"), config), functools.cache(sampling.load)


@pytest.fixture
def faces(trained, monkeypatch):
    place, load = trained
    monkeypatch.setattr(sampling, "load", lambda workdir, step, weights: load(str(workdir), step, weights=weights))
    return place


@pytest.fixture
def run(monkeypatch, tmp_path):
    """A run directory, whose sampler is this one."""

    def open_run(**fields):
        monkeypatch.setattr(sampling, "load", lambda *_, **__: Linear(**fields))
        return tmp_path / "run"

    return open_run


def size(path):
    return Image.open(path).size


def test_every_verb_draws_into_the_run_and_changes_nothing_else(faces, capsys):
    before = contents(faces)
    call("interpolate", "--workdir", faces, "--number=2", "--frames=3")
    call("arithmetic", "--workdir", faces, "--positive=0,1", "--minus=2", "--plus=3,4,5")
    call("truncation", "--workdir", faces, "--number=3", "--measured=4")
    call("neighbours", "--workdir", faces, "--number=2", "--measured=16", "--neighbours=4")
    call("curves", "--workdir", faces)
    said = capsys.readouterr().out
    pictures = sorted((faces / "analysis").iterdir())
    stem = "step_00000006_average_seed_0.png"
    assert [path.name for path in pictures] == [
        f"arithmetic_{stem}", "curves.png", f"interpolate_{stem}", f"neighbours_{stem}", f"truncation_{stem}"
    ]  # fmt: skip
    for path in pictures:
        assert f"{path}\n" in said
        assert np.asarray(Image.open(path)).std() > 1
    assert size(pictures[2]) == (3 * 66 + 2, 2 * 66 + 2)
    assert "2 spherical walks of 3 frames" in said
    assert "mean of [0, 1] - mean of [2] + mean of [3, 4, 5]" in said
    assert said.count("mean distance") == 5
    assert "to 48 of 48 training images" in said
    assert "ratio " in said
    assert "loss/d  " in said
    after = contents(faces)
    assert {path: after[path] for path in before} == before
    with pytest.raises(InputError, match=r"curves\.png exists; --overwrite"):
        call("curves", "--workdir", faces)
    call("curves", "--workdir", faces, "--overwrite", "--metrics=loss/d")
    assert size(pictures[1])[0] < 800  # one panel


def test_numbers_are_those_of_sampled_files(faces, tmp_path):
    call("interpolate", "--workdir", faces, "--samples=4,1", "--frames=2", "--output", tmp_path / "walk.png")
    with program("sample") as sample:
        flags.FLAGS(["sample", f"--workdir={faces}", "--number=5", "--format=png", f"--output={tmp_path / 'files'}"])
        sample.main([])
    walk = np.asarray(Image.open(tmp_path / "walk.png"))
    for place, number in enumerate((4, 1)):
        image = np.asarray(Image.open(tmp_path / f"files/{number:06d}.png")).repeat(4, axis=0).repeat(4, axis=1)
        shown = walk[2:66, 2 + 66 * place :][:, :64]
        np.testing.assert_allclose(shown.astype(int), image.astype(int), atol=1)


def test_of_styles(monkeypatch, tmp_path, capsys, run):
    """Pictures of the layers, of the noise and of truncated styles; only of a generator that has any."""
    monkeypatch.setattr(sampling, "load", lambda *_, **__: small_stylegan())
    place = tmp_path / "run"
    call("mixing", "--workdir", place, "--sources=0,1,2", "--destinations=5,4", "--psi=0.7")
    call("noise", "--workdir", place, "--number=2", "--draws=4", "--psi=0")
    call("truncation", "--workdir", place, "--psi=0,1", "--number=2", "--measured=4")
    said = capsys.readouterr().out
    assert "coarse: layers 0 to 1\nmiddle: layers 2 to 3\n" in said
    assert "sample 1: mean deviation 0." in said
    assert said.count("mean distance") == 2
    stem = "step_00000000_average_seed_0.png"
    assert size(place / f"analysis/mixing_{stem}")[0] >= 4 * 66 + 2
    assert size(place / f"analysis/noise_{stem}")[1] >= 2 * 66 + 2
    with pytest.raises(InputError, match=r"--psi=0\.5,1 must be one number"):
        call("mixing", "--workdir", place, "--psi=0.5,1", "--overwrite")
    with pytest.raises(InputError, match="no styles"):
        call("noise", "--workdir", run())


def test_an_animation(run, tmp_path):
    path = tmp_path / "walk.gif"
    call("interpolate", "--workdir", run(), "--number=4", "--frames=4", "--format=gif", "--output", path)
    with Image.open(path) as animation:
        assert animation.size == (2 * 66 + 2, 2 * 66 + 2)
        assert animation.n_frames == 6
    with pytest.raises(InputError, match=r"must be a file name in \.gif"):
        call("interpolate", "--workdir", run(), "--format=gif", "--output", tmp_path / "walk.png")


def test_conditions(run, tmp_path, capsys):
    place, terms = run(classes=3, latent="uniform"), ("--positive=0", "--minus=1", "--plus=2")
    call("interpolate", "--workdir", place, "--number=2", "--frames=3", "--labels=1", "--output", tmp_path / "a.png")
    assert "2 linear walks" in capsys.readouterr().out
    call("arithmetic", "--workdir", place, *terms, "--labels=1", "--output", tmp_path / "b.png")
    assert (tmp_path / "b.png").exists()
    for labels in ([], ["--labels=1,2"]):
        with pytest.raises(InputError, match="within one class: --labels=0 to 2"):
            call("arithmetic", "--workdir", place, *terms, *labels)
    with pytest.raises(InputError, match="leaves the box of uniform latents"):
        call("interpolate", "--workdir", place, "--path=spherical")
    with pytest.raises(InputError, match="for normal latents"):
        call("truncation", "--workdir", place)


def test_points_are_scattered_or_refused(run, tmp_path):
    place = run(domain="point", generator=lambda z: np.asarray(z)[:, :2])
    call("interpolate", "--workdir", place, "--output", tmp_path / "a.png")
    call("truncation", "--workdir", place, "--psi=0.5,1", "--measured=64", "--output", tmp_path / "b.png")
    assert size(tmp_path / "a.png") == (512, 512)
    assert size(tmp_path / "b.png")[1] == 2 * 512
    for arguments in (["neighbours"], ["arithmetic", "--positive=0", "--minus=1", "--plus=2"]):
        with pytest.raises(InputError, match="shows images; this run makes points"):
            call(*arguments, "--workdir", place)


def test_real_images_of_a_folder(faces, tmp_path, capsys):
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        (tmp_path / "real").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"real/{number}.png")
    call("neighbours", "--workdir", faces, "--test", tmp_path / "real", "--trained=20", "--output", tmp_path / "a.png")
    assert "to 20 of 48 training images" in capsys.readouterr().out
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "small.png")
    (tmp_path / "other").mkdir()
    (tmp_path / "small.png").rename(tmp_path / "other/small.png")
    with pytest.raises(InputError, match=r"has images \[8, 8, 3\]; this run makes \[16, 16, 3\]"):
        call("neighbours", "--workdir", faces, "--test", tmp_path / "other", "--output", tmp_path / "b.png")


def test_curves_of_several_runs(faces, tmp_path, capsys):
    places = []
    for seed in (0, 1, 2):
        place = tmp_path / f"seed{seed}"
        place.mkdir()
        config = json.loads((faces / "config.json").read_text()) | {"seed": seed}
        (place / "config.json").write_text(json.dumps(config))
        (place / "metrics.jsonl").write_text(f'{{"step": 10, "fid": {10 + seed}}}\n')
        places.append(str(place))
    call("curves", "--workdir", ",".join(places[:2]), "--workdir", places[2], "--output", tmp_path / "a.png")
    assert "fid  gan: 11 at step 10, 3 run(s)" in capsys.readouterr().out
    with pytest.raises(InputError, match="only curves and landscape look at several runs"):
        call("truncation", "--workdir", ",".join(places), "--workdir", places[0])
    with pytest.raises(InputError, match=r"unknown metric: 'swd'.* Choices: fid"):
        call("curves", "--workdir", places[0], "--metrics=swd")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["curves", "--psi=1"], "--psi is not for 'curves'; its flags: --metrics,"),
        (["truncation", "--psi=1", "--bounds=1"], "--bounds and --psi are different operations"),
        (["truncation", "--bounds=1,x"], "--bounds=1,x must be numbers as 0.5,1"),
        (["interpolate", "--samples=1,2,3"], "a first and a last sample for each row"),
        (["interpolate", "--samples="], "--samples= must be numbers as 3,17"),
        (["interpolate", "--frames=1"], "at least 2 frames"),
        (["arithmetic", "--positive=1"], "--positive, --minus and --plus name the samples"),
        (["interpolat"], r"unknown verb \(the first argument\): 'interpolat'. Did you mean 'interpolate'\?"),
        ([None], "the first argument says what to do. Choices: arithmetic, "),
        (["curves", "more"], "unexpected argument 'more'"),
    ],
)
def test_mistakes(run, arguments, message):
    with pytest.raises(InputError, match=message):
        call(*arguments, "--workdir", run())
    assert not run().exists()


def test_help_lists_the_verbs_and_a_mistake_is_one_line():
    answer = test_scripts.run(sys.executable, "launch/analyse.py", "--help")
    assert answer.returncode == 0
    with program("analyse") as module:
        assert all(f"    {verb} " in answer.stdout for verb in module.VERBS)
    answer = test_scripts.run(sys.executable, "launch/analyse.py", "dance", "--workdir=x")
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: unknown verb (the first argument): 'dance'. Choices: arithmetic, ")
    assert answer.stderr.count("\n") == 1
