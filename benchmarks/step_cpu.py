"""A training step on the CPU beside the same networks in PyTorch, on the same cores, in one run.

    pip install torch
    python benchmarks/step_cpu.py

DCGAN at 32x32 with 64 filters and batches of 64, and the perceptrons of experiments/gan.py with batches of 256. Every
contestant is a process of its own; they take turns, one step each time, so that a machine that is slow for a while is
slow for all. "reused fakes" is the PyTorch example's order, in which the generator's step saves a pass through the
generator; the others draw fresh noise, as Algorithm 1 of Goodfellow et al. says. The aim is at most 1.05 times PyTorch.
"""

import datetime
import importlib.util
import itertools
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[1]
ROUNDS = {"dcgan": 15, "mlp": 300}
CONTESTANTS = {
    "dcgan": ("jax", "torch", "torch channels last", "torch reused fakes"),
    "mlp": ("jax", "torch"),
}


def jax_step(game: str):
    config = experiment({"dcgan": "dcgan", "mlp": "gan"}[game])
    if game == "dcgan":
        config.data.update(size=64, on_device=False)
        config.model.update(g_width=64, d_width=64, half_life=0.0)
    return compiled_step(config)


def experiment(name: str, variant: str = "default"):
    """The config of `experiments/<name>.py:<variant>`."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)


def compiled_step(config):
    """The library's own compiled step on one fixed batch, of the last stage if there are several."""
    import jax
    from absl import flags

    flags.FLAGS.mark_as_parsed()
    from gan_jax import contract, parallel
    from gan_jax.data import datasets
    from gan_jax.train import loop
    from gan_jax.train import step as compiled

    config = datasets.resolve(config)
    *_, stage = contract.load(config)
    mesh = parallel.make_mesh({"data": 1, "fsdp": 1}, jax.devices()[:1])
    with jax.set_mesh(mesh):
        key = compiled.root_key(0, mesh)
        loader = loop.open_loader(config, stage, mesh)
        batch = next(loader.calls([(0, 1)]))
        state = compiled.begin(stage.gan, key, batch, 0, mesh, None)
        advance = compiled.compile_step(stage.gan, state, loader.spec(1), key, mesh)

    def step():
        nonlocal state
        state, metrics = advance(state, batch, key)
        jax.block_until_ready(metrics)

    return step


def torch_pair(game: str):
    """(generator, discriminator, latent size, real batch) as the experiments build them."""
    import torch
    from torch import nn

    if game == "mlp":

        def perceptron(inputs, outputs):
            widths = (inputs, 128, 128, 128)
            hidden = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
            return nn.Sequential(*hidden, nn.Linear(128, outputs))

        return perceptron(2, 2), perceptron(2, 1), (2,), torch.randn(256, 2)

    def up(inputs, outputs):
        return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)

    def down(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)

    def block(conv, features, activation):
        return [conv, nn.BatchNorm2d(features), activation]

    leaky = nn.LeakyReLU(0.2)
    first = nn.ConvTranspose2d(100, 256, 4, 1, 0, bias=False)
    hidden = block(first, 256, nn.ReLU()) + block(up(256, 128), 128, nn.ReLU()) + block(up(128, 64), 64, nn.ReLU())
    generator = nn.Sequential(*hidden, up(64, 3), nn.Tanh())
    body = [down(3, 64), leaky, *block(down(64, 128), 128, leaky), *block(down(128, 256), 256, leaky)]
    discriminator = nn.Sequential(*body, nn.Flatten(), nn.Linear(4096, 1, bias=False))
    return generator, discriminator, (100, 1, 1), torch.rand(64, 3, 32, 32) * 2 - 1


def torch_step(game: str, kind: str):
    import torch
    from torch.nn.functional import softplus

    generator, discriminator, latent, real = torch_pair(game)
    if "channels last" in kind:
        generator, discriminator = (net.to(memory_format=torch.channels_last) for net in (generator, discriminator))
        real = real.contiguous(memory_format=torch.channels_last)
    rate, betas = (2e-4, (0.5, 0.999)) if game == "dcgan" else (1e-3, (0.5, 0.9))
    g_tx = torch.optim.Adam(generator.parameters(), rate, betas)
    d_tx = torch.optim.Adam(discriminator.parameters(), rate, betas)
    reuse = "reused" in kind

    def step():
        d_tx.zero_grad()
        with torch.set_grad_enabled(reuse):
            fake = generator(torch.randn(len(real), *latent))
        loss = softplus(-discriminator(real)).mean() + softplus(discriminator(fake.detach())).mean()
        loss.backward()
        d_tx.step()
        g_tx.zero_grad()
        cost = softplus(-discriminator(fake if reuse else generator(torch.randn(len(real), *latent)))).mean()
        cost.backward()
        g_tx.step()
        return loss.item(), cost.item()

    return step


def contest(step, warm: int = 5) -> None:
    """A contestant's process: one timed step for every line on its input, after some to warm up."""
    for _ in range(warm):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print(time.perf_counter() - start, flush=True)


def take_turns(script: str, game: str, kinds: tuple[str, ...], rounds: int) -> None:
    """Starts `script game kind` for every kind, "jax" among them, lets them take turns and prints their times."""
    started = {
        kind: subprocess.Popen(
            [sys.executable, script, game, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for kind in kinds
    }
    for process in started.values():
        assert process.stdout.readline().strip() == "ready"
    times = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, process in started.items():
            process.stdin.write("\n")
            process.stdin.flush()
            times[kind].append(float(process.stdout.readline()))
    for process in started.values():
        process.stdin.close()
        process.wait()
    print(f"{game:<8}{'':<20}{'median ms':>10}{'best ms':>9}{'jax / this':>11}")
    for kind, found in times.items():
        ratio = statistics.median(a / b for a, b in zip(times["jax"], found, strict=True))
        print(f"{'':<8}{kind:<20}{statistics.median(found) * 1e3:>10.1f}{min(found) * 1e3:>9.1f}{ratio:>11.2f}")


def machine() -> str:
    """One line about where and when this runs; ends the program where PyTorch is missing."""
    if importlib.util.find_spec("torch") is None:
        sys.exit("error: PyTorch is not installed; pip install torch")
    return f"{datetime.date.today()}  {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def main() -> None:
    print(machine())
    for game, kinds in CONTESTANTS.items():
        take_turns(__file__, game, kinds, ROUNDS[game])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _, game, kind = sys.argv
        contest(jax_step(game) if kind == "jax" else torch_step(game, kind))
    else:
        main()
