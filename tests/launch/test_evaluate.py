"""launch/evaluate.py: runs and folders, all values or none."""

import functools
import json
import sys

import numpy as np
import pytest

from gan_jax import config as base
from gan_jax.errors import InputError
from gan_jax.metrics import classifier, records
from tests import experiments
from tests.launch import test_scripts
from tests.launch.test_sample import call, train
from tests.metrics.test_evaluation import cache, images_in  # noqa: F401  (a fixture)


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    return train(tmp_path_factory.mktemp("points"), experiments.get_config("gan"))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A conditional GAN on images of three classes."""
    place = tmp_path_factory.mktemp("labelled")
    config = experiments.get_config("gan")
    config.data = base.data(name="folder", path=str(images_in(place / "data", 150, shape=(8, 8, 1), classes=3)))
    config.model.update(conditional=True)
    return train(place / "run", config)


def log_of(run):
    return [line for line in records.read(run / "metrics.jsonl") if "evaluated" in line]


def test_a_run_is_measured_and_the_values_kept(points, capsys):
    before = (points / "metrics.jsonl").read_text()
    call("evaluate", "--workdir", points, "--metrics=modes,1nn,fid:pixels", "--samples=64", "--reference_size=64")
    shown = capsys.readouterr().out
    assert (points / "metrics.jsonl").read_text().startswith(before)
    (line,) = log_of(points)
    assert line["step"] == 6
    for name in ("modes/pixels", "high_quality/pixels", "1nn/pixels", "fid/pixels"):
        assert name in shown
        assert f"protocol/{name}" in line
        assert f"{line[name]:.4f}" in shown
    assert "average weights, seed 0, truncation none" in line["protocol/fid/pixels"]
    call("evaluate", "--workdir", points, "--metrics=fid:pixels", "--samples=64", "--reference_size=64", "--step=3")
    call("evaluate", "--workdir", points, "--metrics=fid:pixels", "--samples=64", "--reference_size=64")
    *_, earlier, again = log_of(points)
    assert earlier["step"] == 3
    assert earlier["fid/pixels"] != again["fid/pixels"] == line["fid/pixels"]


def test_labels_reach_the_metrics_that_need_them(labelled, tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, "fit", functools.partial(classifier.fit, steps=20))  # no matter what it learns
    test = images_in(tmp_path / "test", 30, seed=1, shape=(8, 8, 1), classes=3)
    call("evaluate", "--workdir", labelled, "--metrics=is:classifier", "--samples=40")
    assert 1 <= log_of(labelled)[-1]["is/classifier"] <= 3
    call("evaluate", "--workdir", labelled, "--metrics=nn_error,fid:classifier", "--test", test, "--samples=40")
    line = log_of(labelled)[-1]
    assert 0 <= line["nn_error/pixels"] <= 1
    assert line["fid/classifier"] > 0
    assert "% on reals it did not see" in line["protocol/fid/classifier"]


def test_folders_without_any_model(tmp_path, capsys):
    a, b = images_in(tmp_path / "a", 24), images_in(tmp_path / "b", 24, seed=1)
    log = tmp_path / "values.jsonl"
    call("evaluate", "--folder", a, "--reference", b, "--metrics=fid:pixels,paired,swd,ms_ssim", "--output", log)
    (line,) = records.read(log)
    assert line["step"] == 0
    assert line["fid/pixels"] > 0
    assert "swd_average" in capsys.readouterr().out
    call("evaluate", "--folder", a, "--reference", a, "--metrics=fid:pixels,paired")
    assert "1.0000" in capsys.readouterr().out


def test_runs_side_by_side(points, tmp_path, capsys):
    for name, count in (("a", 100), ("b", 100), ("c", 50)):
        value = records.Value("fid/pixels", 1.5, f"metric fid; samples {count}")
        records.append(tmp_path / name / "metrics.jsonl", 10, [value, records.Value("swd", 2.0, "metric swd")])
    call("evaluate", f"--compare={tmp_path}/a,{tmp_path}/b")
    assert "fid/pixels" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"fid/pixels of .*a and of .*c cannot be compared.*samples 100.*samples 50"):
        call("evaluate", f"--compare={tmp_path}/a,{tmp_path}/c")
    with pytest.raises(InputError, match="has no measured values"):
        call("evaluate", f"--compare={tmp_path}/a,{points}", "--metrics=kid")


def test_a_failed_evaluation_leaves_no_numbers(points, monkeypatch):
    before = (points / "metrics.jsonl").read_text()
    with pytest.raises(InputError, match="metric 'kid'"):  # after the pass over the data, fewer than a subset
        call("evaluate", "--workdir", points, "--metrics=fid:pixels,kid:pixels", "--samples=64", "--reference_size=64")
    with pytest.raises(InputError, match="these are points"):
        call("evaluate", "--workdir", points, "--metrics=fid:pixels,swd")
    assert (points / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"either a run \(--workdir\) or images"),
        (["--workdir=x", "--folder=y"], "either a run"),
        (["--folder=y"], "--metrics is missing. Choices: 1nn"),
        (["--folder=/nowhere", "--metrics=fid:pixels"], "/nowhere"),
        (["--workdir=/nowhere", "--metrics=fid"], "not a run directory"),
        (["--folder=y", "--metrics=fid", "--samples=0"], "--samples=0 must be at least 1"),
    ],
)
def test_wrong_commands(arguments, message):
    with pytest.raises(InputError, match=message):
        call("evaluate", *arguments)


def test_empty_folders_and_other_sizes(tmp_path):
    (tmp_path / "empty").mkdir()
    a, b = images_in(tmp_path / "a", 8), images_in(tmp_path / "b", 8, shape=(8, 8, 3))
    with pytest.raises(InputError, match="empty"):
        call("evaluate", "--folder", tmp_path / "empty", "--reference", a, "--metrics=fid:pixels")
    with pytest.raises(InputError, match=r"16x16x3 and 8x8x3 cannot be compared.*--resolution"):
        call("evaluate", "--folder", a, "--reference", b, "--metrics=fid:pixels")
    call("evaluate", "--folder", a, "--reference", b, "--metrics=fid:pixels", "--resolution=8")


@pytest.mark.processes
def test_one_device_and_two_processes_measure_the_same(labelled):
    """Eight devices here, one device in another process, two processes of two devices each.

    There are more images than the 64 features: the root of a covariance that is singular would turn rounding of 1e-7
    into 3e-4. What is left is a sample that rounding puts on the other side of the edge between two bytes, which moves
    the score of 15 images by some 4e-4 (seen once).
    """
    flags = ["--metrics=fid:pixels,1nn,fid:classifier,is:classifier", "--samples=150", f"--workdir={labelled}"]
    call("evaluate", *flags)
    eight = log_of(labelled)[-1]
    single = test_scripts.run(sys.executable, "launch/evaluate.py", *flags, JAX_NUM_CPU_DEVICES="1")
    assert single.returncode == 0, single.stderr
    one = log_of(labelled)[-1]
    both = test_scripts.run(
        sys.executable, "launch/cluster.py", "--program=evaluate", "--processes=2", "--devices=2", "--", *flags
    )
    assert both.returncode == 0, both.stderr
    two = log_of(labelled)[-1]
    names = [name for name in eight if f"protocol/{name}" in eight]
    assert len(names) == 7
    for other in (one, two):
        for name in names:
            np.testing.assert_allclose(other[name], eight[name], rtol=1e-3, atol=1e-5, err_msg=name)
            assert other[f"protocol/{name}"] == eight[f"protocol/{name}"]


def test_lines_are_json(points):
    for line in (points / "metrics.jsonl").read_text().splitlines():
        assert json.loads(line)["step"] > 0
