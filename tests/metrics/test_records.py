"""Values in metrics.jsonl, and what may be compared."""

import json

import pytest

from gan_jax.errors import InputError
from gan_jax.metrics import records
from gan_jax.metrics.records import Measured, Value
from gan_jax.train.writer import Writer

FID = Value("fid/inception", 12.5, "metric fid; features a; samples 100")


def test_a_line_holds_values_and_their_protocols(tmp_path):
    log = tmp_path / "run" / "metrics.jsonl"
    records.append(log, 30, [FID, FID._replace(name="kid", value=0.1)])
    (line,) = records.read(log)
    assert line.pop("evaluated").startswith("20")
    assert line == {
        "step": 30,
        "fid/inception": 12.5,
        "kid": 0.1,
        "protocol/fid/inception": FID.protocol,
        "protocol/kid": FID.protocol,
    }


def test_history_is_in_the_order_of_steps_and_keeps_protocols_apart(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 40, "loss/d": 1.5}\n')
    records.append(log, 40, [FID])
    records.append(log, 20, [FID._replace(value=20.0)])
    records.append(log, 40, [FID._replace(value=12.0)])  # measured again
    records.append(log, 40, [FID._replace(value=99.0, protocol="another")])
    found = records.history(log)
    assert found["loss/d"] == [Measured(40, 1.5, "")]
    assert found["fid/inception"] == [
        Measured(20, 20.0, FID.protocol),
        Measured(40, 12.0, FID.protocol),
        Measured(40, 99.0, "another"),
    ]
    assert records.latest(log) == {"fid/inception": Measured(40, 99.0, "another")}


def test_what_was_not_measured_alike_is_not_compared():
    records.refuse_unequal("fid", {"a": "x; samples 100", "b": "x; samples 100"})
    with pytest.raises(InputError, match=r"fid of a and of b .* \[samples 100\], the other \[samples 50\]"):
        records.refuse_unequal("fid", {"a": "x; samples 100", "b": "x; samples 50"})


def test_a_line_that_is_being_written_is_not_read_and_damage_is_told(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 1, "a": 1}\n{"step": 2, "a"')
    assert records.read(log) == [{"step": 1, "a": 1}]
    log.write_text('{"step": 1, "a": 1\n')
    with pytest.raises(InputError, match="line 1 is no JSON object with a step"):
        records.read(log)
    with pytest.raises(InputError, match="cannot be read"):
        records.read(tmp_path / "nowhere.jsonl")


def test_training_goes_on_where_it_stood_whatever_was_evaluated_since(tmp_path):
    writer = Writer(tmp_path, active=True)
    writer.scalars(10, {"loss/d": 1.0})
    writer.scalars(20, {"loss/d": 2.0} | records.fields([FID]))
    writer.close()
    records.append(tmp_path / "metrics.jsonl", 10, [FID])
    writer = Writer(tmp_path, active=True)
    writer.scalars(20, {"loss/d": 2.0})  # was there
    writer.scalars(30, {"loss/d": 3.0})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 10, 30]


def test_a_table():
    text = records.table({"a": {"fid": 1.0, "kid": 2.0}, "runs/long-name": {"fid": 3.25}})
    assert text.splitlines() == [
        "              a  runs/long-name",
        "fid      1.0000          3.2500",
        "kid      2.0000               -",
    ]
