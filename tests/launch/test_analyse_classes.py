"""launch/analyse.py breed, zoom and hallucinate, on a generator that paints with what it is told."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gan_jax import parallel
from gan_jax.analysis import sampler as sampling
from gan_jax.errors import InputError
from tests.analysis.linear import Linear
from tests.launch.test_analyse import call


class Painter:
    """Images of one colour: class 0 is red, 1 green, 2 blue; the latent shifts all of them."""

    def generate(self, state, z, batch):
        colour = 2.0 * batch["label"] - 1.0 + 0.0 * z[:, :1]
        return jnp.broadcast_to(jnp.clip(colour, -1, 1)[:, None, None], (len(z), 8, 8, 3))


@dataclasses.dataclass(frozen=True)
class Sampler(Linear):
    classes: int = 3
    gan: object = dataclasses.field(default_factory=Painter)
    state: object = ()
    mesh: object = dataclasses.field(default_factory=lambda: parallel.make_mesh({"data": 1}, jax.devices()[:1]))

    @property
    def config(self):
        return SimpleNamespace(gan="painter", model=super().config.model)


@pytest.fixture
def run(monkeypatch, tmp_path):
    def open_run(**fields):
        monkeypatch.setattr(sampling, "load", lambda *_, **__: Sampler(**fields))
        return tmp_path / "run"

    return open_run


def middles(path, rows, columns):
    """The colour in the middle of every image of a grid, whose cells are 66 pixels apart: [rows, columns, 3]."""
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape == (66 * rows + 2, 66 * columns + 2, 3)
    return picture[34::66, 34::66].astype(int)


def test_breeding(run, capsys):
    place = run()
    call("breed", "--workdir", place, "--labels=0,2", "--number=2", "--frames=3")
    path = place / "analysis" / "breed_step_00000006_average_seed_0.png"
    np.testing.assert_allclose(middles(path, 2, 3)[1], [[255, 0, 0], [127, 0, 127], [0, 0, 255]], atol=1)
    assert f"2 latents, 3 columns: {path}" in capsys.readouterr().out


def test_zoom_and_hallucination(run):
    place = run()
    call("zoom", "--workdir", place, "--labels=1", "--number=1", "--strengths=0.5,1")
    path = place / "analysis" / "zoom_step_00000006_average_seed_0.png"
    np.testing.assert_allclose(middles(path, 1, 2)[0], [[0, 127, 0], [0, 255, 0]], atol=1)
    call("hallucinate", "--workdir", place, "--labels=1", "--number=1", "--frames=4", "--others=1.0")
    seen = middles(place / "analysis" / "hallucinate_step_00000006_average_seed_0.png", 1, 4)[0]
    np.testing.assert_array_equal(seen[0], [0, 255, 0])
    np.testing.assert_allclose(seen[1:].sum(axis=1), np.full(3, 510), atol=3)


@pytest.mark.parametrize(
    ("verb", "arguments", "fields", "message"),
    [
        ("breed", ("--labels=1",), {}, "--labels must name two classes"),
        ("zoom", (), {}, "--labels must name one class"),
        ("zoom", ("--labels=1",), {"classes": 0}, "not told a class"),
        ("hallucinate", ("--labels=1",), {"domain": "point"}, "shows images"),
        ("zoom", ("--labels=1", "--frames=3"), {}, "--frames is not for 'zoom'"),
    ],
)
def test_what_is_refused(run, verb, arguments, fields, message):
    with pytest.raises(InputError, match=message):
        call(verb, "--workdir", run(**fields), *arguments)
