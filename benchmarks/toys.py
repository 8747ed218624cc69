"""How well each game learns distributions in the plane that are known: modes found, quality, and distance, as a table.

    python benchmarks/toys.py                                   # every game on ring, grid and swiss roll: hours
    python benchmarks/toys.py --games gan,wgan_gp --kinds ring --seeds 1 --scale 0.1
    python benchmarks/toys.py --output toys.jsonl               # what is done is kept; the same command goes on

Each is `experiments/<game>.py:<kind>` as it stands, for its own number of steps (times --scale). Steps run in one
compiled loop over points that are on the device: no loader, log or checkpoint, which other benchmarks time. Measured
are 2,500 samples, against centres and fresh points of the same world:

    modes     modes with at least 20 high-quality samples; in parentheses those with at least one
    quality   share of samples within three standard deviations of a mode; of data .989
    KL        KL(shares of the modes || equal shares), of samples within a quarter of the smallest distance of modes
    W1        sliced Wasserstein-1 distance to 2,500 fresh points, in standard deviations of the data; in parentheses
              that of 2,500 other real points, the mean of eight draws: no game beats it but by chance
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import pathlib
import sys
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gan_jax import contract
from gan_jax.contract import Stage
from gan_jax.data import datasets
from gan_jax.data.worlds import Gaussians
from gan_jax.errors import InputError, choose
from gan_jax.metrics import modes

EXPERIMENTS = pathlib.Path(__file__).parents[1] / "experiments"
GAMES = ("gan", "lsgan", "wgan", "wgan_gp", "sngan", "fgan", "ebgan", "mmd_gan", "egan")
KINDS = ("ring", "grid", "swiss_roll")
SAMPLES = 2_500  # as many as published figures take
POINTS = 102_400  # of a world that a game sees, again and again; a multiple of the batch sizes
DIRECTIONS = 64  # evenly spaced over half a turn: in the plane a finer fan changes the third digit
COLUMNS = ("modes", "touched", "quality", "kl", "w1", "floor", "seconds")


def configure(game: str, kind: str, seed: int, scale: float = 1.0) -> ConfigDict:
    """The resolved config of a game on a kind of points, its steps times `scale`.

    Raises:
      InputError: if there is no such experiment, or it has no such variant.
    """
    path = EXPERIMENTS / f"{game}.py"
    if not path.exists():
        raise InputError(f"experiments/{game}.py does not exist")
    spec = importlib.util.spec_from_file_location(f"experiment_{game}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        config = module.get_config(kind)
    except InputError:
        config = module.get_config()  # which may be that kind by default
        if config.data.options.get("kind") != kind:
            raise
    config.update({"seed": seed, "steps": max(1, round(config.steps * scale))})
    config.data.options = ConfigDict({**config.data.options, "seed": seed})
    return datasets.resolve(config)


def play(config: ConfigDict) -> tuple[np.ndarray, float]:
    """2,500 samples of the trained game, and the seconds that its steps took."""
    (stage,) = contract.load(config)
    minibatches = table(config, stage)
    count, rounds = len(jax.tree.leaves(minibatches)[0]), stage.gan.rounds
    key = jax.random.key(config.seed)

    def body(state, step):
        places = (step * rounds + jnp.arange(rounds)) % count
        batch = jax.tree.map(lambda leaf: leaf[places] if rounds > 1 else leaf[places[0]], minibatches)
        return stage.gan.train_step(state, batch, jax.random.fold_in(key, step))[0], None

    start, draw = jax.random.split(jax.random.fold_in(key, 2**32 - 1))
    state = jax.jit(stage.gan.init)(start, jax.tree.map(lambda leaf: leaf[0], minibatches))
    train = jax.jit(lambda state: jax.lax.scan(body, state, jnp.arange(stage.steps))[0]).lower(state).compile()
    began = time.perf_counter()
    state = jax.block_until_ready(train(state))
    seconds = time.perf_counter() - began
    told = {name: jnp.zeros((SAMPLES, *leaf.shape[2:]), leaf.dtype) for name, leaf in minibatches.items()}
    return np.asarray(jax.jit(stage.gan.sample)(state, told, draw)), seconds


def table(config: ConfigDict, stage: Stage) -> dict[str, jax.Array]:
    """The points as minibatches [count, batch, ...]."""
    records = datasets.open(config.data).read(np.arange(POINTS - POINTS % stage.batch_size))
    return {name: jnp.asarray(a).reshape(-1, stage.batch_size, *a.shape[1:]) for name, a in records.items()}


def measure(samples: np.ndarray, world: Gaussians) -> dict[str, float]:
    """Every column but the seconds, against points that the world does not hold."""
    fresh, *others = (points(world, world.seed + 10_000 * place) for place in range(1, 10))
    floor = np.mean([sliced_wasserstein(real, fresh) for real in others])  # a single one varies by half of it
    found = {"w1": sliced_wasserstein(samples, fresh), "floor": float(floor)}
    if not len(world.centres):
        return found
    apart = np.linalg.norm(world.centres[:, None] - world.centres, axis=-1)
    nearest = apart[apart > 0].min()
    covered = modes.coverage(samples, world.centres, world.std, radius=nearest / 4)
    found |= {"modes": covered.covered_well, "touched": covered.covered, "of": len(world.centres)}
    return found | {"quality": covered.high_quality, "kl": covered.kl}


def points(world: Gaussians, seed: int) -> np.ndarray:
    """Fresh points of the same world."""
    return dataclasses.replace(world, seed=seed, fields=("point",)).read(np.arange(SAMPLES))["point"]


def sliced_wasserstein(samples: np.ndarray, real: np.ndarray) -> float:
    """The mean over directions of the exact Wasserstein-1 distance of projections, in standard deviations of `real`
    (the root of the mean variance of its axes): 2 / pi = .64 for a shift by one of them."""
    angles = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    directions = np.stack([np.cos(angles), np.sin(angles)])
    one, other = (np.sort(cloud.astype(np.float64) @ directions, axis=0) for cloud in (samples, real))
    return float(np.abs(one - other).mean() / np.sqrt(real.astype(np.float64).var(axis=0).mean()))


def result(game: str, kind: str, seed: int, scale: float = 1.0) -> dict:
    """One line of the output: which game, and every column."""
    config = configure(game, kind, seed, scale)
    samples, seconds = play(config)
    measured = measure(samples, datasets.open(config.data))
    told = {"game": game, "kind": kind, "seed": seed, "scale": scale, "steps": config.steps}
    return told | measured | {"seconds": seconds}


def identity(line: dict) -> tuple:
    return tuple(line[key] for key in ("game", "kind", "seed", "scale"))


def read(path: pathlib.Path | None) -> dict[tuple, dict]:
    """What is done. A line that was not finished is not."""
    done = {}
    for text in path.read_text().splitlines() if path is not None and path.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            line = json.loads(text)
            done[identity(line)] = line
    return done


def append(path: pathlib.Path, line: dict) -> None:
    """Adds a line, below whatever an interrupted one has left."""
    torn = path.exists() and not path.read_text().endswith("\n")
    with path.open("a") as file:
        file.write("\n" * torn + json.dumps(line) + "\n")


def run(wanted: Sequence[tuple], path: pathlib.Path | None, make: Callable = result) -> list[dict]:
    """The results of all that is wanted (game, kind, seed, scale), made where `path` does not hold them yet."""
    done = read(path)
    for which in wanted:
        if which in done:
            continue
        try:
            line = make(*which)
        except InputError as error:
            print(f"{which[0]}:{which[1]} is left out: {error}", file=sys.stderr)
            continue
        done[which] = line
        shown = {name: round(value, 4) for name, value in line.items() if isinstance(value, float)}
        print(f"{which[0]}:{which[1]} seed {which[2]}: {shown}", file=sys.stderr, flush=True)
        if path is not None:
            append(path, line)
    return [done[which] for which in wanted if which in done]


def markdown(lines: Sequence[dict]) -> str:
    """A row for every game and kind: means over the seeds, and from the least to the greatest."""
    rows = ["| data | game | seeds | modes | quality | KL | W1 (real) | seconds |", "|" + "---|" * 8]
    for kind in dict.fromkeys(line["kind"] for line in lines):
        for game in dict.fromkeys(line["game"] for line in lines if line["kind"] == kind):
            own = [line for line in lines if (line["kind"], line["game"]) == (kind, game)]
            cells = {name: spread([line[name] for line in own if name in line]) for name in COLUMNS}
            known = "of" in own[0]
            found = f"{cells['modes']} of {own[0]['of']} ({cells['touched']})" if known else "-"
            distance = f"{cells['w1']} ({np.mean([line['floor'] for line in own]):.3f})"
            columns = (kind, game, len(own), found, cells["quality"], cells["kl"], distance, cells["seconds"])
            rows.append("| " + " | ".join(map(str, columns)) + " |")
    return "\n".join(rows)


def spread(values: Sequence[float]) -> str:
    """`7.3, 7 to 8`: the mean and, where they differ, the least and the greatest."""
    if not values:
        return "-"
    places = 0 if max(values) >= 20 else 1 if isinstance(values[0], int) else 3
    mean, low, high = (f"{value:.{places}f}" for value in (np.mean(values), min(values), max(values)))
    if isinstance(values[0], int):
        low, high, mean = str(min(values)), str(max(values)), mean.removesuffix(".0")
    return mean if low == high else f"{mean}, {low} to {high}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", default=",".join(GAMES), help="experiments, as gan,wgan_gp")
    parser.add_argument("--kinds", default=",".join(KINDS), help="distributions: ring, grid, swiss_roll")
    parser.add_argument("--seeds", type=int, default=3, help="so many, from 0")
    parser.add_argument("--scale", type=float, default=1.0, help="share of each experiment's steps")
    parser.add_argument("--output", type=pathlib.Path, help="a file of JSON lines, where an interrupted table goes on")
    given = parser.parse_args()
    games, kinds = given.games.split(","), given.kinds.split(",")
    try:
        for kind in kinds:
            choose(kind, dict.fromkeys(KINDS), "kind (--kinds)")
        for game in games:
            choose(game, {path.stem: path for path in EXPERIMENTS.glob("*.py")}, "game (--games)")
    except InputError as error:
        parser.error(str(error))
    wanted = [(game, kind, seed, given.scale) for kind in kinds for game in games for seed in range(given.seeds)]
    print(markdown(run(wanted, given.output)))


if __name__ == "__main__":
    main()
