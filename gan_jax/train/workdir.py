"""A run directory: config.json, environment.json, metrics.jsonl, samples/, checkpoints/."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys

import jax
from ml_collections import ConfigDict

from gan_jax import config as base
from gan_jax.errors import InputError

FIXED = ("gan", "seed", "batch_size", "dtype", "model", "data")  # sections that a resumed run may not change
HARMLESS = ("data.path", "data.workers", "data.on_device")  # but for these keys in them


def fresh(gan: str) -> pathlib.Path:
    """A new place under runs/, named after the paper and the time."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return pathlib.Path("runs") / f"{gan}-{stamp}-{os.getpid()}"


def prepare(workdir: pathlib.Path, config: ConfigDict) -> None:
    """Makes the directory, or checks that the run in it is this one, and records the config and the environment.

    Raises:
      InputError: if it belongs to another run (naming the keys that differ), or cannot be written to.
    """
    if (workdir / "config.json").exists():
        refuse_other_run(workdir, config)
    if jax.process_index() != 0:
        return
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        _replace(workdir / "config.json", base.to_json(config))
        record = workdir / "environment.json"
        sessions = json.loads(record.read_text()) if record.exists() else []
        _replace(record, json.dumps([*sessions, environment()], indent=2) + "\n")
    except OSError as error:
        raise InputError(f"--workdir={workdir} cannot be written to: {error.strerror or error}") from None


def refuse_other_run(workdir: pathlib.Path, config: ConfigDict) -> None:
    """Raises InputError, naming the keys, if the run in `workdir` differs in what a resumed run may not change."""
    changed = [
        line
        for line in base.differences(load_config(workdir), config, FIXED)
        if not line.startswith(tuple(f"{key}:" for key in HARMLESS))
    ]
    if changed:
        raise InputError(
            f"--workdir={workdir} holds another run: {'; '.join(changed[:5])}"
            f"{' ...' if len(changed) > 5 else ''}. Resume it with its own config, or name a new --workdir"
        )


def load_config(workdir: pathlib.Path) -> ConfigDict:
    """The resolved config of a run.

    Raises:
      InputError: if this is not a run directory.
    """
    path = pathlib.Path(workdir) / "config.json"
    try:
        return base.from_json(path.read_text())
    except OSError:
        raise InputError(f"--workdir={workdir} is not a run directory: it has no config.json") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from None


def environment() -> dict:
    """Where and with what this session runs."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]],
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "devices": [f"{jax.device_count()} x {jax.devices()[0].device_kind}", jax.default_backend()],
        "processes": jax.process_count(),
    }


def _commit() -> str:
    """The commit of the code that runs, with `+changes` if files differ from it."""
    here = pathlib.Path(__file__).parent

    def git(*arguments):
        return subprocess.run(
            ["git", "-C", here, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown: not a git checkout"


def _replace(path: pathlib.Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)
