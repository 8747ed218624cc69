"""A training step of CycleGAN on the CPU beside the same in PyTorch: two translators, two critics, pools of 50.

    pip install torch
    python benchmarks/cyclegan_step.py        # or with the number of rounds: python benchmarks/cyclegan_step.py 3

The paper's networks with 6 blocks and critics of 70x70 patches, 64 filters each, on pairs of single images of 64x64,
with cycle and identity losses. The translators move together, then the critics, on the translations of that move.
Contestants are processes that take turns, as in `step_cpu.py`. The aim is at most 1.05 times PyTorch.
"""

import itertools
import random
import sys

import step_cpu

ROUNDS, WARM = 10, 2
KINDS = ("jax", "torch", "torch channels last")
SIDE, BATCH, WIDTH, BLOCKS, CYCLE, IDENTITY, POOL = 64, 1, 64, 6, 10.0, 0.5, 50


def jax_step():
    config = step_cpu.experiment("cyclegan")
    config.batch_size = BATCH
    config.data.update(resolution=SIDE, size=64, on_device=False)
    config.model.update(g_width=WIDTH, d_width=WIDTH, blocks=BLOCKS, patch=70)
    config.model.update(cycle=CYCLE, identity=IDENTITY, pool=POOL)
    return step_cpu.compiled_step(config)


def translator():
    """`gan_jax.nets.translator.ResNet` in PyTorch."""
    from torch import nn

    def block(conv, features):
        return [conv, nn.InstanceNorm2d(features), nn.ReLU()]

    def mirrored(inputs, outputs, size):
        return [nn.ReflectionPad2d(size // 2), nn.Conv2d(inputs, outputs, size)]

    class Residual(nn.Sequential):
        def forward(self, h):
            return h + super().forward(h)

    widths = (WIDTH, 2 * WIDTH, 4 * WIDTH)
    most = widths[-1]
    layers = [*mirrored(3, WIDTH, 7), nn.InstanceNorm2d(WIDTH), nn.ReLU()]
    for a, b in itertools.pairwise(widths):
        layers += block(nn.Conv2d(a, b, 3, 2, 1), b)
    for _ in range(BLOCKS):
        first = [*mirrored(most, most, 3), nn.InstanceNorm2d(most), nn.ReLU()]
        layers.append(Residual(*first, *mirrored(most, most, 3), nn.InstanceNorm2d(most)))
    for a, b in itertools.pairwise(reversed(widths)):
        layers += block(nn.ConvTranspose2d(a, b, 3, 2, 1, output_padding=1), b)
    return nn.Sequential(*layers, *mirrored(WIDTH, 3, 7), nn.Tanh())


def critic():
    """`gan_jax.nets.patchgan.PatchGAN` of 70x70 pixels in PyTorch."""
    from torch import nn

    layers = [nn.Conv2d(3, WIDTH, 4, 2, 1), nn.LeakyReLU(0.2)]
    for (a, b), stride in zip(itertools.pairwise((WIDTH, 2 * WIDTH, 4 * WIDTH, 8 * WIDTH)), (2, 2, 1), strict=True):
        layers += [nn.Conv2d(a, b, 4, stride, 1), nn.InstanceNorm2d(b), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(8 * WIDTH, 1, 4, 1, 1))


def exchanged(pool: list, images):
    """What the critic is shown in place of these images, some of which enter the pool."""
    import torch

    shown = []
    for image in images:
        if len(pool) < POOL:
            pool.append(image)
        elif random.random() < 0.5:
            slot = random.randrange(POOL)
            pool[slot], image = image, pool[slot]
        shown.append(image)
    return torch.stack(shown)


def torch_step(kind: str):
    import torch
    from torch.nn.functional import l1_loss

    nets = {name: (translator(), critic()) for name in "ab"}  # by the domain that they make and judge
    real = {name: torch.rand(BATCH, 3, SIDE, SIDE) * 2 - 1 for name in nets}
    if "channels last" in kind:
        nets = {k: [net.to(memory_format=torch.channels_last) for net in pair] for k, pair in nets.items()}
        real = {k: x.contiguous(memory_format=torch.channels_last) for k, x in real.items()}
    makers, judges = ({k: pair[i] for k, pair in nets.items()} for i in (0, 1))
    g_tx, d_tx = (
        torch.optim.Adam([weight for net in side.values() for weight in net.parameters()], 2e-4, (0.5, 0.999))
        for side in (makers, judges)
    )
    pools, other = {"a": [], "b": []}, {"a": "b", "b": "a"}

    def to(target, logits):
        return (logits - target).square().mean()

    def step():
        g_tx.zero_grad()
        for judge in judges.values():
            judge.requires_grad_(False)
        made = {k: make(real[other[k]]) for k, make in makers.items()}
        cost = sum(to(1, judges[k](fake)) for k, fake in made.items())
        cost = cost + CYCLE * sum(l1_loss(make(made[other[k]]), real[k]) for k, make in makers.items())
        cost = cost + CYCLE * IDENTITY * sum(l1_loss(make(real[k]), real[k]) for k, make in makers.items())
        cost.backward()
        g_tx.step()
        d_tx.zero_grad()
        for judge in judges.values():
            judge.requires_grad_(True)
        shown = {k: exchanged(pools[k], fake.detach()) for k, fake in made.items()}
        loss = sum(to(1, judge(real[k])) + to(0, judge(shown[k])) for k, judge in judges.items()) / 2
        loss.backward()
        d_tx.step()
        return cost.item(), loss.item()

    return step


def main(rounds: int) -> None:
    print(step_cpu.machine())
    step_cpu.take_turns(__file__, "cyclegan", KINDS, rounds)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        kind = sys.argv[2]
        step_cpu.contest(jax_step() if kind == "jax" else torch_step(kind), WARM)
    else:
        main(int(sys.argv[1]) if len(sys.argv) == 2 else ROUNDS)
