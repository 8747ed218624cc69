"""What a run leaves for people: metrics.jsonl, pictures, a progress bar, and mirrors of them elsewhere."""

import json
import pathlib
import sys
import time

import numpy as np
from tqdm import tqdm

from gan_jax.data import display
from gan_jax.errors import InputError, choose
from gan_jax.metrics import records
from gan_jax.train.diagnostics import WARNING


class Writer:
    """Writes from process 0; on the others every call does nothing."""

    def __init__(
        self, workdir: pathlib.Path, *, mirrors: tuple[str, ...] = (), config: dict | None = None, active: bool
    ):
        self.active = active
        if not active:
            self._mirrors = []
            return
        self._folder = workdir
        self._path = workdir / "metrics.jsonl"
        self._last = _last_step(self._path)
        self._mirrors = [_mirror(name, workdir, config or {}) for name in mirrors]

    def scalars(self, step: int, values: dict[str, float | str]) -> None:
        """Appends one line. A step that is already there is left alone: a resumed run computes it again, equal.

        Mirrors get the numbers, and not what protocols say of them.
        """
        if not self.active or step <= self._last:
            return
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        self._last = step
        for mirror in self._mirrors:
            mirror.scalars(step, numbers(values))

    def picture(self, step: int, picture: np.ndarray) -> None:
        """Saves uint8 [H, W, 3] as samples/step_<step>.png."""
        if not self.active:
            return
        display.save_png(self._folder / "samples" / f"step_{step:08d}.png", picture)
        for mirror in self._mirrors:
            mirror.picture(step, picture)

    def close(self) -> None:
        for mirror in self._mirrors:
            mirror.close()


def numbers(values: dict[str, float | str]) -> dict[str, float]:
    """Without the text."""
    return {name: value for name, value in values.items() if not isinstance(value, str)}


def _last_step(path: pathlib.Path) -> int:
    """The step of the last whole line that training wrote; what a killed process left of another is cut off.

    Lines that `launch/evaluate.py` has put between them are of steps long past.
    """
    size = path.stat().st_size if path.exists() else 0
    if not size:
        return -1
    with path.open("r+b") as file:
        *lines, rest = file.read().split(b"\n")
        file.truncate(size - len(rest))
    steps = (line["step"] for line in map(json.loads, reversed(lines)) if records.EVALUATED not in line)
    return next(steps, -1)


class _TensorBoard:
    def __init__(self, workdir: pathlib.Path, config: dict):
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise InputError('config.writers has "tensorboard": pip install "gan-jax[tensorboard]"') from None
        self._writer = SummaryWriter(str(workdir / "tensorboard"))

    def scalars(self, step, values):
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step, picture):
        self._writer.add_image("samples", picture, step, dataformats="HWC")

    def close(self):
        self._writer.close()


class _WeightsAndBiases:
    def __init__(self, workdir: pathlib.Path, config: dict):
        try:
            import wandb
        except ImportError:
            raise InputError('config.writers has "wandb": pip install "gan-jax[wandb]"') from None
        self._wandb = wandb
        wandb.init(project="gan_jax", name=workdir.name, id=workdir.name, dir=workdir, config=config, resume="allow")

    def scalars(self, step, values):
        self._wandb.log(values, step=step)

    def picture(self, step, picture):
        self._wandb.log({"samples": self._wandb.Image(picture)}, step=step)

    def close(self):
        self._wandb.finish()


MIRRORS = {"tensorboard": _TensorBoard, "wandb": _WeightsAndBiases}


def _mirror(name: str, workdir: pathlib.Path, config: dict):
    return choose(name, MIRRORS, "writer (config.writers)")(workdir, config)


class Progress:
    """How far, how fast, how long still: a bar on a terminal, a line for every line of the log elsewhere."""

    def __init__(self, done: int, total: int, *, active: bool):
        self._total, self._done = total, done
        self._started, self._first = 0.0, done  # set by the first call, whose time is mostly that of compiling
        self._active = active
        self._said = set()  # warnings: each is said once, and stays in the log as long as it holds
        self._bar = None
        if active and sys.stderr.isatty():
            self._bar = tqdm(total=total, initial=done, unit="step", dynamic_ncols=True, smoothing=0.1)

    def advance(self, steps: int) -> None:
        self._done += steps
        if not self._started:
            self._started, self._first = time.monotonic(), self._done
        if self._bar is not None:
            self._bar.update(steps)

    def line(self, step: int, values: dict[str, float | str]) -> None:
        """Shows the metrics of a line of the log, and says the warnings that are new."""
        if not self._active:
            return
        for name in [name for name in values if name.startswith(WARNING) and name not in self._said]:
            self._said.add(name)
            tqdm.write(f"step {step}: {name}: {values[name]}")
        shown = "  ".join(f"{name} {value:.4g}" for name, value in numbers(values).items())
        if self._bar is not None:
            self._bar.set_postfix_str(shown, refresh=False)
            return
        rate = (step - self._first) / (time.monotonic() - self._started)
        speed = f"  {rate:.3g} steps/s  {_clock((self._total - step) / rate)} left" if rate else ""
        print(f"step {step}/{self._total}  {shown}{speed}", flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
