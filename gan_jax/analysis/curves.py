"""Curves of one run or of many, from what they wrote to metrics.jsonl.

Runs whose configs differ in nothing but the seed are one line, their mean, in a band from the least to the greatest of
them. A line of the log need not have every metric: those of training and of evaluation come in lines of their own. What
was measured by different protocols is never drawn in one panel.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gan_jax.errors import InputError, choose
from gan_jax.metrics import records
from gan_jax.train.workdir import HARMLESS, load_config

Log = Mapping[str, Mapping[int, float]]  # metric, and its protocol after a newline if it has one -> step -> value
IGNORED = ("seed", "writers", "mesh", "keep", *HARMLESS)  # keys in which runs of one line may differ
NAMED = 3  # so many differing keys are named in the legend; of more, the directories
WIDTH, HEIGHT, DPI = 6.4, 4.0, 110  # of one panel in inches; dots per inch


class Curve(NamedTuple):
    steps: Int[np.ndarray, "n"]  # those that all the runs have, rising
    mean: Float[np.ndarray, "n"]
    low: Float[np.ndarray, "n"]  # the least of the runs
    high: Float[np.ndarray, "n"]
    runs: int


def read(workdir: str | pathlib.Path) -> Log:
    """The numbers in a run's metrics.jsonl. Of two lines with one metric, protocol and step the later counts.

    Raises:
      InputError: if there is no such file, no line in it, or a line that is no JSON object with a step.
    """
    path = pathlib.Path(workdir) / "metrics.jsonl"
    if not path.is_file():
        raise InputError(f"--workdir={workdir} has no metrics.jsonl")
    log: dict[str, dict[int, float]] = {}
    for name, measured in records.history(path).items():
        for step, value, protocol in measured:
            log.setdefault(f"{name}\n{protocol}".strip(), {})[step] = float(value)
    if not log:
        raise InputError(f"{path} has no numbers yet")
    return log


def group(workdirs: Sequence[str | pathlib.Path]) -> dict[str, list[pathlib.Path]]:
    """The runs that differ only in their seeds (or where they ran), under names that tell the groups apart.

    Raises:
      InputError: if one is no run directory, or is named twice.
    """
    places = [pathlib.Path(workdir) for workdir in workdirs]
    if len({place.resolve() for place in places}) < len(places):
        raise InputError(f"--workdir={','.join(map(str, places))} names a run twice")
    groups: dict[str, list[pathlib.Path]] = {}
    keys = {}
    for place in places:
        config = _flat(load_config(place).to_dict())
        config = {key: value for key, value in config.items() if not _ignored(key)}
        text = repr(sorted(config.items()))
        groups.setdefault(text, []).append(place)
        keys[text] = config
    differing = [
        key for key in sorted(set().union(*keys.values())) if len({repr(c.get(key)) for c in keys.values()}) > 1
    ]
    return {_name(keys[text], differing, runs): runs for text, runs in groups.items()}


def curve(logs: Sequence[Log], metric: str) -> Curve | None:
    """The mean of a metric over those runs that have it, at the steps that all of these have; None if none has it.

    Raises:
      InputError: if they have no step in common.
    """
    series = [log[metric] for log in logs if metric in log]
    if not series:
        return None
    steps = sorted(set.intersection(*(set(one) for one in series)))
    if not steps:
        raise InputError(f"metric '{metric}': runs of one config have it at no step in common")
    values = np.array([[one[step] for step in steps] for one in series])
    return Curve(np.array(steps), values.mean(axis=0), values.min(axis=0), values.max(axis=0), len(series))


def curves(workdirs: Sequence[str | pathlib.Path], metrics: Sequence[str] = ()) -> dict[str, dict[str, Curve]]:
    """{title: {group of runs: curve}}, of these metrics or all, in the order in which runs write them.

    A title is the metric's name; where it was measured in several ways, each has a title that says in what it differs.

    Raises:
      InputError: for no run directory, no metrics.jsonl, or a metric that none of the runs has.
    """
    logs = {name: [read(run) for run in runs] for name, runs in group(workdirs).items()}
    known = dict.fromkeys(key for group_logs in logs.values() for log in group_logs for key in log)
    names = dict.fromkeys(key.split("\n")[0] for key in known)
    for metric in metrics:
        choose(metric, names, "metric")
    found = {}
    for metric in metrics or names:
        ways = [key for key in known if key.split("\n")[0] == metric]
        for key, title in zip(ways, _titles(ways), strict=True):
            lines = {name: curve(group_logs, key) for name, group_logs in logs.items()}
            found[title] = {name: line for name, line in lines.items() if line is not None}
    return found


def _titles(ways: Sequence[str]) -> list[str]:
    """Each metric's name, with those parts of its protocol that not all of these have."""
    parts = [(way.split("\n")[1] if "\n" in way else "training").split("; ") for way in ways]
    shared = set.intersection(*map(set, parts))
    rests = ["; ".join(part for part in own if part not in shared) for own in parts]
    return [way.split("\n")[0] + (f"\n{rest}" if rest else "") for way, rest in zip(ways, rests, strict=True)]


def picture(found: Mapping[str, Mapping[str, Curve]], across: str = "step") -> np.ndarray:
    """A panel for each metric: uint8 [height, width, 3]. across: what the places of its points are."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(len(found), 2)
    rows = -(-len(found) // columns)
    figure = Figure((WIDTH * columns, HEIGHT * rows), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    names = list(dict.fromkeys(name for lines in found.values() for name in lines))
    for place, (metric, lines) in enumerate(found.items(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        for name, line in lines.items():
            colour = f"C{names.index(name)}"  # of a group the same in every panel
            dots = "o" if len(line.steps) < 20 else None
            label = f"{name} ({line.runs} runs)" if line.runs > 1 else name
            axes.plot(line.steps, line.mean, color=colour, marker=dots, markersize=4, linewidth=1.5, label=label)
            if line.runs > 1:
                axes.fill_between(line.steps, line.low, line.high, color=colour, alpha=0.2, linewidth=0)
        axes.set_title(metric, loc="left", wrap=True, fontsize="medium" if "\n" in metric else "large")
        axes.set_xlabel(across)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _flat(value, prefix: str = "") -> dict[str, object]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {
        key: leaf for name, item in value.items() for key, leaf in _flat(item, f"{prefix}.{name}".lstrip(".")).items()
    }


def _ignored(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in IGNORED)


def _name(config: Mapping[str, object], differing: Sequence[str], runs: Sequence[pathlib.Path]) -> str:
    """`model.loss=hinge`, by all that tells this group from the others; its first directory if that is much."""
    if not differing:
        return runs[0].resolve().name if len(runs) == 1 else str(config["gan"])
    if len(differing) > NAMED:
        return str(runs[0])
    return ", ".join(f"{key}={config.get(key, 'absent')}" for key in differing)
