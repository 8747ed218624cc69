"""launch/describe.py: what it says is what the training has, and it allocates nothing to find out."""

import re

import jax
import numpy as np
import pytest
from PIL import Image

from gan_jax.contract import Net
from gan_jax.data import datasets
from gan_jax.errors import InputError
from gan_jax.train import workdir
from tests import experiments
from tests.launch.test_sample import call, program


def described(capsys, *arguments):
    """The rows that it prints, by name, in the order of their first appearance."""
    call("describe", *arguments)
    rows = re.findall(r"^ {2,4}(\S.*?)? {2,}(\S.*)$", capsys.readouterr().out, flags=re.MULTILINE)
    return {name.strip(): value for name, value in reversed(rows)}


def config(name, variant="smoke"):
    return f"--config={experiments.ROOT}/experiments/{name}.py:{variant}"


def number(text):
    """1.5 of `1.5 M...`, in units."""
    value, unit = re.match(r"([\d.]+) ([kMGTP]?)", text).groups()
    return float(value) * 1000 ** " kMGTP".index(unit or " ")


@experiments.every(pytest.mark.battery)
def test_networks_and_state_are_those_of_the_training(name, capsys):
    rows = described(capsys, config(name), "--nocompile")
    state = experiments.open_run(name).abstract()
    with program("describe") as describe:
        found = describe.networks(state)
    assert {"generator", "discriminator"} & {label for label, _ in found}
    for label, net in found:
        assert rows[label] == f"{sum(leaf.size for leaf in jax.tree.leaves(net.params)):,} parameters"
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    np.testing.assert_allclose(number(rows["state"]), held, rtol=1e-3)
    assert "operations" not in rows


def test_every_net_is_found_wherever_it_stands():
    net = Net(params={"w": np.zeros((2, 3))}, stats={})
    with program("describe") as describe:
        found = describe.networks({"g": net, "players": (net, {"critic": net}), "memory": np.zeros(3)})
        assert [name for name, _ in found] == ["generator", "players.0", "players.1.critic"]
        assert {describe.parameters(found) for _, found in found} == {6}


def test_leaves_on_request(capsys):
    rows = described(capsys, config("gan"), "--nocompile", "--verbose")
    assert rows["Dense_1/kernel"] == "32x32 float32"


def test_what_would_not_fit_here_is_described_here(capsys):
    """Two trillion parameters."""
    rows = described(capsys, config("gan"), "--config.model.widths=(1_000_000, 1_000_000)", "--nocompile")
    assert rows["generator"] == f"{2 * 10**6 + 10**12 + 2 * 10**6 + 2 * 10**6 + 2:,} parameters"
    assert number(rows["state"]) > 10**13


def test_data_that_is_not_at_hand(capsys):
    """The published networks for ImageNet, to the last parameter; pairs, and small images beside large ones."""
    rows = described(capsys, config("biggan", "imagenet128"), "--shape=128,128,3", "--classes=1000", "--nocompile")
    assert rows["generator"] == "70,433,988 parameters"
    assert rows["discriminator"] == "87,982,370 parameters"
    with pytest.raises(InputError, match="--shape=H,W,C describes"):
        call("describe", config("biggan", "imagenet128"), "--nocompile")
    found = datasets.assume(experiments.get_config("pix2pix", "facades"), (256, 256, 3)).data
    assert (found.domain, found.source_shape, found.paired) == ("b", (256, 256, 3), True)
    found = datasets.assume(experiments.get_config("srgan", "x4"), (96, 96, 3)).data
    assert (found.domain, found.source_shape, found.paired) == ("b", (24, 24, 3), True)
    found = datasets.assume(experiments.get_config("cyclegan", "horse2zebra"), (256, 256, 3)).data
    assert (found.domain, found.source_shape, found.paired) == ("b", (256, 256, 3), None)
    found = datasets.assume(experiments.get_config("discogan", "edges2shoes"), (64, 64, 3)).data
    assert (found.domain, found.source_shape, found.paired) == ("b", (64, 64, 3), None)
    assert datasets.assume(experiments.get_config("sagan", "imagenet128"), (128, 128, 3), 1000).data.classes == 1000


def test_fsdp_divides_the_state(capsys):
    rows = described(capsys, config("gan"), "--nocompile", "--config.model.widths=(512, 512)", "--config.mesh.fsdp=8")
    whole, each = map(number, rows["state"].split(", "))
    assert each < 0.2 * whole


def test_operations_are_those_of_all_devices_and_all_rounds(capsys):
    """Also where the rounds are a loop, whose body XLA counts once."""
    one, four = (
        number(described(capsys, config("gan"), f"--config.model.rounds={rounds}")["operations"]) for rounds in (1, 4)
    )
    macs = 2 * 32 + 32 * 32 + 32 * 2  # of a pass of the generator, and within 3 % of the discriminator's
    critic = 7 * 2 * macs * 64  # a sample; forward and twice as much back, on data and on samples
    generator = 5 * 2 * macs * 64  # a sample and its logit; back to the input of the one, twice as much in the other
    np.testing.assert_allclose(one, critic + generator, rtol=0.35)  # the rest is element by element, and the optimiser
    np.testing.assert_allclose((four - one) / 3, critic, rtol=0.35)


def test_memory_and_time(capsys):
    rows = described(capsys, config("gan"))
    held, batch = number(rows["state"]), 64 * 3 * 4 / 8
    np.testing.assert_allclose(number(rows["arguments"]), held + batch, rtol=0.05)
    assert number(rows["memory of a device"]) > number(rows["arguments"])
    assert re.fullmatch(r"\d+\.\d s", rows["compile time"])


def test_the_batch_of_a_step(capsys, tmp_path):
    rows = described(capsys, config("dcgan"), "--nocompile", "--batch=2", f"--output={tmp_path}/batch.png")
    batch = jax.device_get(experiments.open_run("dcgan").batch(2))
    low, high = batch["image"].min(), batch["image"].max()
    assert rows["image"] == f"16x16x16x3 float32, from {low:.4g} to {high:.4g}"
    counts = {int(kind): int(count) for kind, count in re.findall(r"(\d+): (\d+)", rows["of each"])}
    assert counts == dict(zip(*map(np.ndarray.tolist, np.unique(batch["label"], return_counts=True)), strict=True))
    assert np.asarray(Image.open(tmp_path / "batch.png")).std() > 10


def test_the_rounds_of_a_batch(capsys, tmp_path):
    arguments = (config("gan"), "--nocompile", "--config.model.rounds=2", "--batch=0", f"--output={tmp_path}/batch.png")
    rows = described(capsys, *arguments)
    assert rows["point"].startswith("2x64x2 float32")
    assert (tmp_path / "batch.png").exists()


def test_a_run_directory(capsys, tmp_path):
    run = experiments.open_run("gan", batch_size=32)
    workdir.prepare(tmp_path, run.config)
    assert described(capsys, f"--workdir={tmp_path}", "--nocompile") == described(
        capsys, config("gan"), "--config.batch_size=32", "--nocompile"
    )


def test_mistakes(capsys, tmp_path):
    for arguments, message in (
        ((), "one of them"),
        ((config("gan"), f"--workdir={tmp_path}"), "one of them"),
        ((f"--workdir={tmp_path}",), r"no config\.json"),
        ((config("gan"), "--nocompile", "--batch=6"), "has steps 0 to 5"),
        ((config("gan"), "--output=x.png"), "--batch"),
        ((config("gan"), "--nocompile", "--batch=0", f"--output={tmp_path}/x.gif"), r"must end in \.png"),
        ((config("gan"), "--config.batch_size=60"), "not divisible"),
        ((config("gan"), "--config.dtype=int8"), r"config\.dtype"),
        ((config("dcgan"), "--shape=32,32"), "must be height, width and channels"),
        ((config("dcgan"), "--shape=32,32,3", "--batch=0"), "not at hand"),
    ):
        with pytest.raises(InputError, match=message):
            call("describe", *arguments)
    assert list(tmp_path.iterdir()) == []
