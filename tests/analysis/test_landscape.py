"""A landscape shows what the world, the critic and the samples really are, the right way round."""

import dataclasses

import jax
import numpy as np
import pytest
from PIL import Image

from gan_jax.analysis import landscape as tool
from gan_jax.analysis import sampler as sampling
from gan_jax.data.worlds import Gaussians
from gan_jax.errors import InputError
from tests import experiments
from tests.launch.test_analyse import call
from tests.launch.test_sample import contents, train

FRAME = (-1.0, 3.0, -2.0, 2.0)


@dataclasses.dataclass(frozen=True)
class Plane:
    """A critic that likes what lies to the right, and a little what lies above."""

    right: float = 1.0
    rounds: int = 1

    def init(self, rng, batch): ...

    def train_step(self, state, batch, rng): ...

    def sample(self, state, batch, rng): ...

    def score(self, state, examples, batch):
        assert batch["point"].shape == examples.shape
        return self.right * (examples[:, 0] + 0.1 * examples[:, 1])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of a few steps."""
    config = experiments.get_config("gan")
    return [train(tmp_path_factory.mktemp(name), config) for name in ("one", "two")]


@pytest.fixture(scope="module")
def sampler(runs):
    return sampling.load(runs[0])


def integral(density, frame):
    return density.sum() * ((frame[1] - frame[0]) / (tool.SIDE - 1)) ** 2


def test_the_frame_is_a_square_around_the_data():
    data = np.array([[0.0, 0.0], [2.0, 1.0]])
    assert tool.framed(data) == pytest.approx((-0.3, 2.3, -0.8, 1.8))
    assert tool.framed(data[:1]) == pytest.approx((0, 0, 0, 0), abs=1e-5)


def test_densities_are_those_of_the_data():
    for kind in ("ring", "swiss_roll"):
        world = Gaussians(kind=kind, **({"std": 0.1} if kind == "ring" else {}))
        data = world.read(np.arange(20_000))["point"].astype(np.float64)
        frame = tool.framed(data)
        found = tool.density(world, data, tool.points_of(frame), frame)
        assert integral(found, frame) == pytest.approx(1.0, abs=0.02)
    wide = Gaussians(kind="ring", std=0.3)
    data = wide.read(np.arange(20_000))["point"].astype(np.float64)
    frame, known = tool.framed(data), tool.density(wide, data, tool.points_of(tool.framed(data)), tool.framed(data))
    estimated = tool.density(object(), data, tool.points_of(frame), frame)  # of a world that knows no density
    assert np.abs(estimated - known).max() < 0.2 * known.max()  # the kernel blurs narrow modes


def test_rows_go_up_and_columns_to_the_right(sampler):
    grid = tool.points_of(FRAME)
    np.testing.assert_allclose(grid[0], [-1, -2])
    np.testing.assert_allclose(grid[tool.SIDE - 1], [3, -2])
    np.testing.assert_allclose(grid[-1], [3, 2])
    found = tool.scores(dataclasses.replace(sampler, gan=Plane()), grid)
    np.testing.assert_allclose(found[0, [0, -1]], [-1.2, 2.8], atol=1e-5)
    np.testing.assert_allclose(found[-1, [0, -1]], [-0.8, 3.2], atol=1e-5)


def test_levels_leave_the_extremes_out():
    spike = np.zeros((tool.SIDE, tool.SIDE))
    spike += np.linspace(0, 1, tool.SIDE)
    spike[0, 0] = 1e9
    levels = tool.level_sets(spike)
    assert 0 < levels[0] < levels[-1] < 1
    assert len(levels) == tool.LEVELS
    assert not len(tool.level_sets(np.full((4, 4), 7.0)))
    assert not len(tool.level_sets(np.full((4, 4), np.nan)))


def test_what_a_run_looks_like(sampler):
    drawn = tool.landscape(sampler, number=100)
    assert drawn.title == "gan"
    assert (drawn.modes, drawn.samples.shape, drawn.step) == (8, (100, 2), 6)
    np.testing.assert_array_equal(drawn.samples, sampler.sample(100))
    assert 0 <= drawn.coverage.covered_well <= 8
    assert " of 8 modes, " in tool.said(drawn)
    assert tool.said(drawn._replace(coverage=None)) == "step 6"
    peak = np.unravel_index(drawn.density.argmax(), drawn.density.shape)
    place = tool.points_of(drawn.frame).reshape(tool.SIDE, tool.SIDE, 2)[peak]
    assert np.linalg.norm(place) == pytest.approx(1.4144, abs=0.03)


def test_pictures(sampler):
    drawn = tool.landscape(sampler, number=50)._replace(samples=np.full((500, 2), 1.0, np.float32))
    one, four = tool.picture([drawn]), tool.picture([drawn] * 3)
    assert one.dtype == np.uint8
    assert four.shape[1] == 2 * one.shape[1]
    red = (one[..., 0] > 150) & (one[..., 1] < 110) & (one[..., 2] < 110)
    up, across = np.argwhere(red[: one.shape[0] * 3 // 4]).mean(axis=0) / one.shape[0]
    assert up < 0.45  # (1, 1) lies above the middle and to the right of it
    assert across > 0.55
    flat = tool.picture([drawn._replace(scores=np.zeros((tool.SIDE, tool.SIDE)))])
    assert flat.shape == one.shape
    assert (flat != one).any()  # no level sets


def test_titles():
    assert tool.titles({"runs/a": "gan", "runs/b": "wgan"}) == {"runs/a": "gan", "runs/b": "wgan"}
    told = tool.titles({"runs/a": "gan", "runs/b": "gan", "runs/c": "wgan"})
    assert told == {"runs/a": "gan: runs/a", "runs/b": "gan: runs/b", "runs/c": "wgan"}


def test_what_cannot_be_drawn(sampler):
    class Silent:
        rounds = 1
        init, train_step, sample = Plane.init, Plane.train_step, Plane.sample

    with pytest.raises(InputError, match="'gan' has no critic that scores single examples"):
        tool.landscape(dataclasses.replace(sampler, gan=Silent()))
    faces = experiments.open_run("dcgan")
    with jax.set_mesh(faces.mesh):
        images = sampling.of(faces.stage.gan, faces.begin(), faces.config, 0, faces.mesh, "average")
    with pytest.raises(InputError, match=r"shows points in the plane; 'dcgan' makes \d+x\d+x3"):
        tool.landscape(images)


def test_one_run_and_several(runs, tmp_path, capsys):
    before = contents(runs[0])
    name = "landscape_step_00000006_average_seed_0.png"
    call("landscape", "--workdir", runs[0], "--output", tmp_path / "one.png")
    assert "gan, step 6: " in capsys.readouterr().out
    assert contents(runs[0]) == before
    call("landscape", "--workdir", f"{runs[0]},{runs[1]}", "--step=3", "--seed=5")
    own, sheet = name.replace("06_", "03_").replace("0.png", "5.png"), runs[0] / "analysis/landscapes.png"
    out = capsys.readouterr().out
    assert str(sheet) in out
    for place in runs:
        assert f"gan: {place}, step 3: " in out
        assert (place / "analysis" / own).exists()
    assert Image.open(sheet).width == 2 * Image.open(tmp_path / "one.png").width
    with pytest.raises(InputError, match=r"landscapes\.png exists; --overwrite"):
        call("landscape", "--workdir", runs[0], "--workdir", runs[1])
    assert not (runs[0] / "analysis" / name).exists()  # nothing is written where not all can be
    with pytest.raises(InputError, match="labels were asked of an unconditional GAN"):
        call("landscape", "--workdir", runs[0], "--labels=1")
