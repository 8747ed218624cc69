"""Does growing save time? ProGAN grown from 4x4 beside the same networks at full size all along, on faces of 64x64.

    python benchmarks/growing.py                                # ten minutes of steps each on two cores
    python benchmarks/growing.py --minutes 30 --output growing.png

Both train for as long: a trial tells how many steps that is, of which the grown networks take the more, and their
schedule is stretched to them. Time is that of the steps alone, without compilation, data and evaluation. The distance
is the sliced Wasserstein distance (x 1e3) between samples of the averaged generators, enlarged to the full size, and
data. In the end: how long each took to come as near to the data as the one that is farther away at its end.
"""

import argparse
import pathlib
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict
from step_cpu import experiment

from gan_jax import contract, parallel
from gan_jax.analysis import curves
from gan_jax.contract import Metrics, PyTree, Stage
from gan_jax.data import datasets, display, transforms
from gan_jax.metrics import sliced_wasserstein
from gan_jax.train import loop
from gan_jax.train import step as compiled

CONTESTANTS = {"grown": 4, "not grown": 64}  # pixels a side of the first stage
TRIAL, POINTS = 50, 12  # steps that are timed beforehand, points of a curve
SAMPLES, AT_ONCE, DIRECTIONS = 512, 64, 128
TITLE = "sliced Wasserstein distance x 1e3"


def configure(first_side: int, steps: int, seed: int = 0) -> ConfigDict:
    """Channels are 8 next to the images, 32 at most: 2 % of the paper's arithmetic."""
    config = experiment("progan", "faces64")
    config.update({"seed": seed, "steps": steps, "data": {"size": 10_000}})
    config.model.update(width=256, most_width=32, first_side=first_side)
    return datasets.resolve(config)


class Moment(NamedTuple):
    """What there is after a step. The next one makes its state of this one, which is then gone."""

    seconds: float  # that all steps have taken so far
    stage: Stage
    state: PyTree
    metrics: Metrics  # float32 [1]


def play(config: ConfigDict) -> Iterator[Moment]:
    """Trains, and stops after every step."""
    flags.FLAGS.mark_as_parsed()  # grain reads one
    mesh = parallel.make_mesh({"data": 1, "fsdp": 1}, jax.devices()[:1])
    seconds, state = 0.0, None
    with jax.set_mesh(mesh):
        key = compiled.root_key(config.seed, mesh)
        for start, stage in contract.spans(contract.load(config)):
            loader = loop.open_loader(config, stage, mesh)
            first = next(loader.calls([(start, 1)]))
            state = compiled.begin(stage.gan, key, first, start, mesh, previous=state)
            advance = compiled.compile_step(stage.gan, state, loader.spec(1), key, mesh)
            for batch in loader.calls((start + step, 1) for step in range(stage.steps)):
                begun = time.perf_counter()
                state, metrics = advance(state, batch, key)
                jax.block_until_ready(metrics)
                seconds += time.perf_counter() - begun
                yield Moment(seconds, stage, state, metrics)


class Referee:
    """Measures samples against the first records of a config's data."""

    def __init__(self, config: ConfigDict):
        source = datasets.open(config.data)
        self.records, other = (source.read(np.arange(SAMPLES) + i) for i in (0, SAMPLES))
        self.real = self.described(self.records["image"], seed=0)
        self.floor = self.distance(other["image"])  # of other data

    def described(self, images: np.ndarray, seed: int) -> dict[int, np.ndarray]:
        pieces = [sliced_wasserstein.descriptors(images[i : i + AT_ONCE], seed, i) for i in self.starts]
        return {level: np.concatenate([piece[level] for piece in pieces]) for level in pieces[0]}

    def distance(self, images: np.ndarray) -> float:
        fake = self.described(images, seed=1)
        return sliced_wasserstein.distances(self.real, fake, repeats=1, directions=DIRECTIONS)["average"]

    def samples(self, now: Moment) -> np.ndarray:
        """Under the conditions of the records, uint8, enlarged to the size of data."""
        draw = jax.jit(lambda state, told, key: transforms.to_uint8(now.stage.gan.sample(state, told, key)))
        told = [{name: a[i : i + AT_ONCE] for name, a in self.records.items()} for i in self.starts]
        images = np.concatenate([draw(now.state, piece, jax.random.key(i)) for i, piece in enumerate(told)])
        times = self.records["image"].shape[1] // images.shape[1]
        return images.repeat(times, axis=1).repeat(times, axis=2)

    @property
    def starts(self) -> range:
        return range(0, SAMPLES, AT_ONCE)


def course(config: ConfigDict, referee: Referee) -> list[tuple[float, float]]:
    """(seconds, distance) at equally many steps from each other."""
    found, due = [], [round(config.steps * (i + 1) / POINTS) for i in range(POINTS)]
    for step, now in enumerate(play(config), start=1):
        if step in due:
            found.append((now.seconds, referee.distance(referee.samples(now))))
            print(f"    {now.seconds:7.0f} s  {now.stage.name:>7}  step {step:6}  {found[-1][1]:7.1f}", flush=True)
    return found


def reached(course: Sequence[tuple[float, float]], distance: float) -> float:
    """After how many seconds a course was first measured at this distance or below."""
    return min(seconds for seconds, value in course if value <= distance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, for each of the two")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, help="a PNG file of both curves")
    given = parser.parse_args()
    referee = Referee(configure(64, TRIAL))
    print(f"{TITLE}, {SAMPLES} images; of other data {referee.floor:.1f}")
    courses = {}
    for name, first_side in CONTESTANTS.items():
        config = partial(configure, first_side, seed=given.seed)
        *_, trial = play(config(TRIAL))
        steps = max(TRIAL, round(60 * given.minutes * TRIAL / trial.seconds))
        print(f"{name}, {steps} steps")
        courses[name] = course(config(steps), referee)
    farther = max(found[-1][1] for found in courses.values())
    times = {name: reached(found, farther) for name, found in courses.items()}
    print(f"{farther:.1f} or less: " + ", ".join(f"{name} after {seconds:.0f} s" for name, seconds in times.items()))
    print(f"not grown / grown: {times['not grown'] / times['grown']:.2f}")
    if given.output:
        lines = {name: line(*zip(*found, strict=True)) for name, found in courses.items()}
        display.save_png(given.output, curves.picture({TITLE: lines}, across="seconds of training"))


def line(places: Sequence[float], values: Sequence[float]) -> curves.Curve:
    """The curve of a single run."""
    values = np.array(values)
    return curves.Curve(np.array(places), values, values, values, runs=1)


if __name__ == "__main__":
    main()
