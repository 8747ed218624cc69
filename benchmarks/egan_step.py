"""What a step of E-GAN costs over the sum of its parts: a population of one, three mutations.

    python benchmarks/egan_step.py

The parts are three moves of a generator, three times the samples and the fitness of a child, and the moves of the
discriminator, each compiled alone. Step and parts take turns, so that a machine that is slow for a while is slow for
both, and the ratio is the median of the ratios of neighbours. The aim is at most 1.1: the selection of the fittest is
nearly free. It may be below 1, as one program computes once what children have in common: the gradient on the data.
"""

import importlib.util
import os
import pathlib
import platform
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from gan_jax import contract
from gan_jax.data import datasets

EXPERIMENTS = pathlib.Path(__file__).parents[1] / "experiments"
WARM, ROUNDS = 2, 15  # turns that are not timed, and that are
SETTINGS = {  # (variant, changes, steps in a turn: half a second or so on two cores)
    "ring, perceptrons 128 x 3": ("ring", {}, 40),
    "faces 32x32, the networks for CIFAR-10 with a quarter of the channels": (
        "cifar10",
        {"data": {"name": "faces", "resolution": 32, "size": 256, "flip": False}, "model": {"rounds": 1, "showing": 1}},
        2,
    ),
}
NARROW = {"g_width": 32, "d_width": 32}


def configure(variant: str, changes: dict) -> ConfigDict:
    spec = importlib.util.spec_from_file_location("egan", EXPERIMENTS / "egan.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(variant)
    config.update(changes)
    if "g_width" in config.model:
        config.model.update(NARROW)
    return datasets.resolve(config)


def functions(config: ConfigDict):
    """(a step, the same work in parts): functions without arguments that return what they computed."""
    (stage,) = contract.load(config)
    gan, size, key = stage.gan, config.batch_size, jax.random.key(0)
    source = datasets.open(config.data).read(np.arange(size * gan.rounds))[gan.domain]
    data = jnp.asarray(source, jnp.float32) / (127.5 if gan.domain == "image" else 1.0)
    rounds = data.reshape(gan.rounds, size, *data.shape[1:])
    batch = {gan.domain: rounds if gan.rounds > 1 else rounds[0]}
    state = jax.jit(gan.init)(key, {gan.domain: rounds[0]})

    def shown(d, child, real, rng):
        fake = contract.apply(gan.generator, child, gan.draw(size * gan.showing)(rng), train=True)[0]
        return gan.fitness(d, real, fake), fake

    def bred(parent, d, rng, mutation):
        return gan.vary(parent, gan.mutations[mutation], d, gan.draw(size)(rng))

    whole, move = jax.jit(gan.train_step), jax.jit(gan.discriminator_move)
    breed, show = jax.jit(bred, static_argnums=3), jax.jit(shown)
    together = jnp.concatenate(list(rounds))

    def step():
        return whole(state, batch, key)

    def parts():
        made = [breed(state.g, state.d, key, name)[0] for name in gan.mutations]
        marks = [show(state.d, child, together, key) for child in made]
        players = (state.d, state.memory)
        for real in rounds:
            players, _ = move(players, {"real": real, "fake": marks[0][1][:size]}, key)
        return made, marks, players

    return step, parts


def seconds(function, times: int) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        made = function()
    jax.block_until_ready(made)
    return (time.perf_counter() - begin) / times


def main() -> None:
    flags.FLAGS.mark_as_parsed()  # grain reads one
    print(
        f"{jax.device_count()} x {jax.devices()[0].device_kind}, {os.cpu_count()} cores, jax {jax.__version__}, ",
        end="",
    )
    print(f"Python {platform.python_version()}\n")
    for title, (variant, changes, times) in SETTINGS.items():
        step, parts = functions(configure(variant, changes))
        turns = [(seconds(step, times), seconds(parts, times)) for _ in range(WARM + ROUNDS)][WARM:]
        whole, pieces = (1e3 * statistics.median(column) for column in zip(*turns, strict=True))
        low, ratio, high = statistics.quantiles([a / b for a, b in turns], n=4)
        print(f"{title}\n    step {whole:.2f} ms, parts {pieces:.2f} ms, ratio {ratio:.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
