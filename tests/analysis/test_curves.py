"""Curves from metrics.jsonl: which runs belong together, which steps they share, and what cannot be drawn."""

import json

import numpy as np
import pytest

from gan_jax.analysis import curves
from gan_jax.errors import InputError
from gan_jax.metrics import records


@pytest.fixture
def run(tmp_path):
    """Makes a run directory with this config and these lines."""

    def make(name, lines, tail="", **config):
        place = tmp_path / name
        place.mkdir()
        config = {"gan": "gan", "seed": 0, "data": {"name": "x"}, "model": {"loss": "hinge"}} | config
        (place / "config.json").write_text(json.dumps(config))
        text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
        (place / "metrics.jsonl").write_text(text + tail)
        return place

    return make


def line(step, **values):
    return {"step": step, **values}


def test_lines_of_training_and_of_evaluation(run):
    lines = [line(1, loss=0.5), line(2, loss=0.25, name="text", flag=True), line(2, fid=9.0), line(2, fid=8.0)]
    place = run("a", lines, tail='{"step": 3, "lo')
    assert curves.read(place) == {"loss": {1: 0.5, 2: 0.25}, "fid": {2: 8.0}}


def test_what_cannot_be_read(run, tmp_path):
    with pytest.raises(InputError, match=r"has no metrics\.jsonl"):
        curves.read(tmp_path)
    with pytest.raises(InputError, match="has no numbers yet"):
        curves.read(run("empty", []))
    for number, wrong in enumerate(("{\n", '{"loss": 1}\n', "[]\n")):
        with pytest.raises(InputError, match="line 2 is no JSON object with a step"):
            curves.read(run(f"wrong{number}", [line(1, loss=1.0), wrong]))
    with pytest.raises(InputError, match="is not a run directory"):
        curves.curves([tmp_path])


def test_runs_of_other_seeds_are_one_line(run):
    first = run("a", [line(1, d=1.0), line(2, d=3.0), line(3, d=5.0)], seed=1)
    second = run("b", [line(1, d=2.0), line(2, d=1.0)], seed=2, data={"name": "x", "path": "elsewhere", "workers": 3})
    ((name, found),) = curves.curves([first, second])["d"].items()
    assert name == "gan"
    assert found.runs == 2
    assert found.steps.tolist() == [1, 2]  # what both have
    np.testing.assert_allclose([found.mean, found.low, found.high], [[1.5, 2], [1, 1], [2, 3]])


def test_others_are_named_by_what_differs(run):
    lines = [line(1, d=1.0)]
    places = [run("a", lines), run("b", lines, seed=5), run("c", lines, model={"loss": "lsgan", "rounds": 5})]
    groups = curves.group(places)
    assert {name: [place.name for place in runs] for name, runs in groups.items()} == {
        "model.loss=hinge, model.rounds=absent": ["a", "b"],
        "model.loss=lsgan, model.rounds=5": ["c"],
    }
    other = run("d", lines, gan="dcgan", model={"width": 3, "depth": 4})
    assert set(curves.group([places[0], other])) == {str(places[0]), str(other)}
    assert list(curves.group(places[:1])) == ["a"]
    with pytest.raises(InputError, match="names a run twice"):
        curves.group([places[0], places[0]])


def test_a_metric_that_only_some_runs_have(run):
    places = [run("a", [line(1, d=1.0), line(1, fid=7.0)]), run("b", [line(1, d=3.0)], seed=1)]
    found = curves.curves(places)
    assert list(found) == ["d", "fid"]
    assert (found["fid"]["gan"].runs, found["fid"]["gan"].mean.tolist()) == (1, [7.0])
    assert list(curves.curves(places, ["fid"])) == ["fid"]
    with pytest.raises(InputError, match=r"unknown metric: 'fod'\. Did you mean 'fid'.* Choices: d, fid"):
        curves.curves(places, ["fod"])
    places[1].joinpath("metrics.jsonl").write_text('{"step": 2, "d": 1}\n')
    with pytest.raises(InputError, match="'d': runs of one config have it at no step in common"):
        curves.curves(places)


def test_a_panel_for_every_metric_in_which_lines_and_bands_are_seen():
    steps = np.arange(30)
    up = curves.Curve(steps, steps / 30, steps / 30 - 0.3, steps / 30 + 0.3, 3)
    down = curves.Curve(steps[::10], 1 - steps[::10] / 30, 1 - steps[::10] / 30, 1 - steps[::10] / 30, 1)
    one = curves.picture({"loss": {"a": up}})
    both = curves.picture({"loss": {"a": up, "b": down}, "fid": {"b": down}, "kid": {"b": down}})
    assert one.dtype == both.dtype == np.uint8
    assert both.shape == (2 * one.shape[0], 2 * one.shape[1], 3)

    def shown(picture, colour):
        return (np.abs(picture.astype(int) - colour).max(axis=-1) < 12).sum()

    blue, pale, orange = (31, 119, 180), (210, 228, 240), (255, 127, 14)
    assert shown(one, blue) > 300
    assert shown(one, pale) > 10_000
    assert shown(one, orange) == 0
    half = both[:, one.shape[1] :]
    assert shown(half, orange) > 100  # of a group the same colour in every panel
    assert shown(half, blue) == 0


def test_what_was_measured_in_different_ways_has_panels_of_its_own(run):
    first, second = run("a", [line(1, d=1.0)], seed=1), run("b", [line(1, d=2.0)], seed=2)
    for place, count in ((first, 100), (second, 50)):
        records.append(place / "metrics.jsonl", 1, [records.Value("fid", 3.0, f"metric fid; samples {count}")])
    assert list(curves.curves([first, second])) == ["d", "fid\nsamples 100", "fid\nsamples 50"]
    records.append(second / "metrics.jsonl", 1, [records.Value("fid", 5.0, "metric fid; samples 100")])
    found = curves.curves([first, second], ["fid"])
    assert [next(iter(lines.values())).runs for lines in found.values()] == [2, 1]
