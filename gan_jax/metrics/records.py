"""Measured values in `metrics.jsonl`: a flat JSON object a line, where `protocol/<name>` says how `<name>` came about.

    {"step": 4500, "evaluated": "2026-11-24T18:00:00+00:00", "fid/inception": 31.2, "protocol/fid/inception": "..."}

Lines that the training loop writes have no `evaluated`: they are in the order of steps and are written again, equal,
when a run is resumed. A line is written at once or not at all.
"""

import datetime
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gan_jax.errors import InputError

PROTOCOL = "protocol/"
EVALUATED = "evaluated"


class Value(NamedTuple):
    """What an evaluation found."""

    name: str  # as it stands in the log: "fid/inception"
    value: float
    protocol: str  # equal exactly where values may be compared


class Measured(NamedTuple):
    """What a log says."""

    step: int
    value: float
    protocol: str  # empty for what training itself reports


def fields(values: Sequence[Value]) -> dict[str, float | str]:
    """The part of a line that holds these values."""
    return {v.name: v.value for v in values} | {PROTOCOL + v.name: v.protocol for v in values}


def append(path: pathlib.Path, step: int, values: Sequence[Value]) -> None:
    """Adds the line of an evaluation that was asked for outside of training."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = json.dumps({"step": step, EVALUATED: now, **fields(values)}) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line.encode())  # one call: a line of another process cannot come in between
    finally:
        os.close(handle)


def read(path: pathlib.Path) -> list[dict]:
    """Every whole line of a log.

    Raises:
      InputError: if there is no such file, or a line is no JSON object with a step.
    """
    found = []
    try:
        lines = path.read_text().split("\n")[:-1]  # what follows the last newline is still being written
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    for number, line in enumerate(lines, start=1):
        try:
            found.append(json.loads(line))
            found[-1]["step"] = int(found[-1]["step"])
        except (ValueError, TypeError, KeyError):
            raise InputError(f"{path}, line {number} is no JSON object with a step: {line[:80]}") from None
    return found


def history(path: pathlib.Path) -> dict[str, list[Measured]]:
    """Everything a log says, by name and in the order of steps. Of two measurements by one protocol, the later."""
    found: dict[str, dict[tuple, Measured]] = {}
    for line in read(path):
        for name, value in line.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and name != "step":
                measured = Measured(line["step"], value, line.get(PROTOCOL + name, ""))
                found.setdefault(name, {})[measured.step, measured.protocol] = measured
    return {name: sorted(values.values(), key=lambda m: m.step) for name, values in found.items()}


def latest(path: pathlib.Path) -> dict[str, Measured]:
    """The last measured value of every name that has a protocol."""
    return {
        name: measured[-1] for name, values in history(path).items() if (measured := [m for m in values if m.protocol])
    }


def refuse_unequal(name: str, protocols: Mapping[str, str]) -> None:
    """Raises InputError if values of `name` were not measured alike; `protocols` maps whose value it is to how.

    The message has what differs, part by part.
    """
    whose = list(protocols)
    parts = {who: protocols[who].split("; ") for who in whose}
    for who in whose[1:]:
        if protocols[who] != protocols[whose[0]]:
            before = "; ".join(part for part in parts[whose[0]] if part not in parts[who]) or "nothing more"
            after = "; ".join(part for part in parts[who] if part not in parts[whose[0]]) or "nothing more"
            raise InputError(
                f"{name} of {whose[0]} and of {who} cannot be compared: the one has [{before}], the other [{after}]"
            )


def table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Values in columns, `{heading: {name: value}}`, as text."""
    names = list(dict.fromkeys(name for values in columns.values() for name in values))
    first = max(map(len, names))
    widths = {heading: max(len(heading), 10) for heading in columns}
    lines = [" " * first + "".join(f"  {heading:>{widths[heading]}}" for heading in columns)]
    for name in names:
        cells = [
            f"  {f'{values[name]:.4f}' if name in values else '-':>{widths[heading]}}"
            for heading, values in columns.items()
        ]
        lines.append(f"{name:<{first}}" + "".join(cells))
    return "\n".join(lines)
