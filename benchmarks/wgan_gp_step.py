"""A training step of WGAN-GP on the CPU beside the same in PyTorch: gradients of second order, five critic steps.

    pip install torch
    python benchmarks/wgan_gp_step.py        # or with the number of rounds: python benchmarks/wgan_gp_step.py 3

The networks of `gan_cifar.py` with 64 filters next to the image and batches of 64, on 32x32 images. One step is five of
the critic, each with its penalty, and one of the generator. Contestants are processes that take turns, as in
`step_cpu.py`. The aim is at most 1.05 times PyTorch.
"""

import sys

import step_cpu

ROUNDS = 10
WARM = 2
KINDS = ("jax", "torch", "torch channels last")
WIDTH, BATCH, CRITIC_STEPS, WEIGHT = 64, 64, 5, 10.0


def jax_step():
    config = step_cpu.experiment("wgan_gp", "shapes")
    config.data.update(size=BATCH * CRITIC_STEPS, on_device=False)
    config.model.width = WIDTH
    return step_cpu.compiled_step(config)


def torch_pair():
    """(generator, critic), as `config.model.nets = "cifar10"` builds them for 32x32."""
    from torch import nn

    def up(inputs, outputs):
        return nn.ConvTranspose2d(inputs, outputs, 5, 2, 2, output_padding=1)

    def down(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 5, 2, 2)

    base, leaky = 4 * WIDTH, nn.LeakyReLU(0.2)
    start = [nn.Linear(128, 16 * base), nn.BatchNorm1d(16 * base), nn.ReLU(), nn.Unflatten(1, (base, 4, 4))]
    first = [up(base, 2 * WIDTH), nn.BatchNorm2d(2 * WIDTH), nn.ReLU()]
    second = [up(2 * WIDTH, WIDTH), nn.BatchNorm2d(WIDTH), nn.ReLU()]
    generator = nn.Sequential(*start, *first, *second, up(WIDTH, 3), nn.Tanh())
    body = [down(3, WIDTH), leaky, down(WIDTH, 2 * WIDTH), leaky, down(2 * WIDTH, base), leaky]
    return generator, nn.Sequential(*body, nn.Flatten(), nn.Linear(16 * base, 1))


def torch_step(kind: str):
    import torch

    generator, critic = torch_pair()
    real = torch.rand(CRITIC_STEPS, BATCH, 3, 32, 32) * 2 - 1
    if "channels last" in kind:
        generator, critic = (net.to(memory_format=torch.channels_last) for net in (generator, critic))
    g_tx = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.9))
    d_tx = torch.optim.Adam(critic.parameters(), 2e-4, (0.5, 0.9))

    def penalty(x, fake):
        share = torch.rand(BATCH, 1, 1, 1)
        between = (x + share * (fake - x)).requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return ((slope.flatten(1).square().sum(1) + 1e-12).sqrt() - 1).square().mean()

    def step():
        for x in real:
            d_tx.zero_grad()
            with torch.no_grad():
                fake = generator(torch.randn(BATCH, 128))
            cost = critic(fake).mean() - critic(x).mean() + WEIGHT * penalty(x, fake)
            cost.backward()
            d_tx.step()
        g_tx.zero_grad()
        loss = -critic(generator(torch.randn(BATCH, 128))).mean()
        loss.backward()
        g_tx.step()
        return cost.item(), loss.item()

    return step


def main(rounds: int) -> None:
    print(step_cpu.machine())
    step_cpu.take_turns(__file__, "wgan_gp", KINDS, rounds)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        kind = sys.argv[2]
        step_cpu.contest(jax_step() if kind == "jax" else torch_step(kind), WARM)
    else:
        main(int(sys.argv[1]) if len(sys.argv) == 2 else ROUNDS)
