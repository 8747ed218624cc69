"""WGAN and DCGAN without batch norm in the generator, on shapes: the distance of their samples to data, and a picture.

    python benchmarks/no_batch_norm.py                        # three minutes on two cores
    python benchmarks/no_batch_norm.py --output nobn.png      # WGAN's samples on the left, DCGAN's on the right

Both train the networks of `experiments/wgan.py:shapes_nobn`, whose generator has as many filters at 4x4 as at 16x16 and
nothing that holds its scales (WGAN, figure 6): WGAN as that experiment says, DCGAN by the loss and the optimiser of
`experiments/dcgan.py`. Their discriminators make equally many moves. The distance is sliced Wasserstein-1 on pixels in
-1..1, beside what copies of the mean image have, and what other data has.
"""

import argparse
import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import contract, losses, optimizers, penalties
from gan_jax.data import datasets, display
from gan_jax.gans import gan

EXPERIMENTS = pathlib.Path(__file__).parents[1] / "experiments"
IMAGES = 8_192
STEPS = 600  # of WGAN's generator
SAMPLES = 1_000
BATCH_SIZE = 64


def experiment(name: str, variant: str):
    spec = importlib.util.spec_from_file_location(f"experiment_{name}", EXPERIMENTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)


def opponents(seed: int):
    """WGAN's game, DCGAN's with the same networks, and images [n, 16, 16, 3] in [-1, 1]."""
    config = experiment("wgan", "shapes_nobn")
    config.update({"seed": seed, "data": {"size": IMAGES}})
    config = datasets.resolve(config)
    wgan = contract.load(config)[0].gan
    settings = experiment("dcgan", "default").model
    dcgan = gan.TwoPlayerGame(
        generator=wgan.generator,
        discriminator=wgan.discriminator,
        g_tx=optimizers.build(settings.g_optimizer),
        d_tx=optimizers.build(settings.d_optimizer),
        loss=losses.build(settings.loss),
        penalty=penalties.build("none", 0.0),
        latent=wgan.latent,
        latent_size=wgan.latent_size,
    )
    images = datasets.open(config.data).read(np.arange(IMAGES))["image"]
    return wgan, dcgan, jnp.asarray(images, jnp.float32) / 127.5 - 1.0


def samples(game, data, steps: int, seed: int) -> np.ndarray:
    """1,000 samples after so many steps. Moves are compiled one by one: convolutions in loops are slow on CPUs."""
    key = jax.random.key(seed)
    state = jax.jit(game.init)(key, {"image": data[:BATCH_SIZE]})
    watch = jax.jit(game.discriminator_move, donate_argnums=(1,))
    paint = jax.jit(game.generator_move, donate_argnums=(0,))
    g, players, seen = state.g, (state.d, state.memory), 0
    for step in range(steps):
        *rounds, last = jax.random.split(jax.random.fold_in(key, step), game.rounds + 1)
        for round_key in rounds:
            batch = {"image": data[seen % len(data) :][:BATCH_SIZE]}
            players, _ = watch(g, players, batch, round_key)
            seen += BATCH_SIZE
        g, _ = paint(g, players[0], batch, last)
    z = game.latent(jax.random.key(100 + seed), SAMPLES, game.latent_size)
    return np.asarray(jax.jit(lambda g, z: contract.apply(game.generator, g, z, train=False)[0])(g, z))


def distance(a: np.ndarray, b: np.ndarray, directions: int = 128) -> float:
    """The mean distance between sorted projections of two sets of equally many images: sliced Wasserstein-1."""
    lines = np.random.default_rng(0).standard_normal((a[0].size, directions))
    lines /= np.linalg.norm(lines, axis=0)
    a, b = (np.sort(x.reshape(len(x), -1) @ lines, axis=0) for x in (a, b))
    return float(np.abs(a - b).mean())


def result(seed: int) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Distances to data, of both and of copies of the mean image, and the samples of both."""
    wgan, dcgan, data = opponents(seed)
    made = {"wgan": samples(wgan, data, STEPS, seed), "dcgan": samples(dcgan, data, STEPS * wgan.rounds, seed)}
    real, mean = np.asarray(data[:SAMPLES]), np.asarray(data.mean(axis=0))
    known = {**made, "mean": np.broadcast_to(mean, real.shape), "data": np.asarray(data[SAMPLES : 2 * SAMPLES])}
    return {name: distance(real, images) for name, images in known.items()}, made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, help="a PNG file")
    given = parser.parse_args()
    distances, made = result(given.seed)
    print(", ".join(f"{name} {value:.3f}" for name, value in distances.items()))
    if given.output:
        grids = [display.image_grid(images[:64]) for images in made.values()]
        display.save_png(given.output, display.join(grids, axis=1, gap=4))


if __name__ == "__main__":
    main()
