"""Does a game play the same in bfloat16? StyleGAN and BigGAN as their experiments say, in float32 and in bfloat16.

    python benchmarks/bfloat16.py                               # a fifth of the steps of each
    python benchmarks/bfloat16.py --games biggan --scale 1.0 --output bfloat16.png

Of both the seed is the same, and so are parameters at the start, data and latents. Features and convolutions are in
the given type; parameters, statistics, logits and losses stay in float32, and no loss is scaled. Shown are means over a
twelfth of the steps, and in the end the sliced Wasserstein distance (x 1e3) of samples of the averaged generators to
data. On most CPUs bfloat16 is emulated and slow.
"""

import argparse
import pathlib

import numpy as np
from growing import TITLE, Referee, line, play
from ml_collections import ConfigDict
from step_cpu import experiment

from gan_jax.analysis import curves
from gan_jax.data import datasets, display

GAMES, DTYPES = ("stylegan", "biggan"), ("float32", "bfloat16")
METRICS = ("loss/d", "loss/g", "score/real", "score/fake")
POINTS = 12


def configure(game: str, dtype: str, scale: float, seed: int) -> ConfigDict:
    config = experiment(game)
    config.update({"seed": seed, "dtype": dtype, "steps": max(POINTS, round(config.steps * scale))})
    return datasets.resolve(config)


def result(config: ConfigDict, referee: Referee) -> tuple[np.ndarray, float, float]:
    """The metrics at every step [steps, 4], the distance at the end, and milliseconds per step."""
    told = []
    for now in play(config):
        told.append([float(np.asarray(now.metrics[name])[0]) for name in METRICS])
    return np.array(told), referee.distance(referee.samples(now)), 1e3 * now.seconds / config.steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", default=",".join(GAMES))
    parser.add_argument("--scale", type=float, default=0.2, help="share of each experiment's steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, help="a PNG file of the curves")
    given = parser.parse_args()
    panels = {}
    for game in given.games.split(","):
        configs = {dtype: configure(game, dtype, given.scale, given.seed) for dtype in DTYPES}
        referee = Referee(configs["float32"])
        found = {dtype: result(config, referee) for dtype, config in configs.items()}
        steps = configs["float32"].steps
        ends = [round(steps * (i + 1) / POINTS) for i in range(POINTS)]
        means = {
            dtype: np.array([piece.mean(axis=0) for piece in np.split(told, ends[:-1])])
            for dtype, (told, *_) in found.items()
        }
        print(f"{game}, {steps} steps: float32, bfloat16\n{'to step':>9}" + "".join(f"{name:>20}" for name in METRICS))
        for place, end in enumerate(ends):
            pairs = zip(*(means[dtype][place] for dtype in DTYPES), strict=True)
            print(f"{end:>9}" + "".join(f"{a:>12.3f}{b:>8.3f}" for a, b in pairs))
        for dtype, (_, distance, each) in found.items():
            print(f"{dtype}: {TITLE} {distance:.1f}, {each:.1f} ms a step")
        print(f"of other data {referee.floor:.1f}", flush=True)
        for i, name in enumerate(METRICS):
            panels[f"{game} {name}"] = {dtype: line(ends, mean[:, i]) for dtype, mean in means.items()}
    if given.output:
        display.save_png(given.output, curves.picture(panels))


if __name__ == "__main__":
    main()
