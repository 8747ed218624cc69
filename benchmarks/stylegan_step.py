"""A training step of StyleGAN on the CPU beside the same in PyTorch: styles, noise, filters, R1 in every step.

    pip install torch
    python benchmarks/stylegan_step.py        # or with the number of rounds: python benchmarks/stylegan_step.py 3

The last stage of `experiments/stylegan.py`, 32x32 in batches of 16, while it fades in. Contestants are processes that
take turns, as in `step_cpu.py`. "unfused" doubles and halves sides in one operation after the convolution, or before
it, instead of by a larger kernel; "no R1" leaves the penalty out, and so shows what it costs.
"""

import sys

import step_cpu

ROUNDS, WARM = 40, 5
KINDS = ("jax", "jax unfused", "jax no R1", "torch", "torch unfused", "torch channels last", "torch no R1")


def config(kind: str):
    config = step_cpu.experiment("stylegan")
    config.data.update(size=64, on_device=False)
    config.model.update(noise="pixel", mixing=0.9)  # configuration F
    if "unfused" in kind:
        config.model.fused_from = 1024
    if "no R1" in kind:
        config.model.penalty = "none"
    return config


def torch_step(kind: str):
    import torch
    import torch_stylegan as nets
    from torch.nn.functional import avg_pool2d, interpolate, softplus

    told = config(kind)
    model, batch, side = told.model, told.batch_size, told.data.resolution
    widths = [min(model.width >> i, model.most_width) for i in range(side.bit_length() - 1)]
    up, down = (nets.up, nets.down) if "unfused" in kind else (nets.fused_up, nets.fused_down)
    style = (model.latent_size, model.mapping_layers, model.mapping_rate, model.mixing)
    generator = nets.Generator(widths[1:], *style, up)
    discriminator = nets.Discriminator(widths[1:], widths[0], model.stddev_group, down)
    average = [weight.detach().clone() for weight in generator.parameters()]
    decay, fade, seen = 0.5 ** (batch / model.half_life), 1.0, torch.rand(batch, 3, side, side) * 2 - 1
    if "channels last" in kind:
        generator, discriminator = (net.to(memory_format=torch.channels_last) for net in (generator, discriminator))
        seen = seen.contiguous(memory_format=torch.channels_last)
    g_tx, d_tx = (
        torch.optim.Adam(net.parameters(), optimizer.learning_rate, (optimizer.b1, optimizer.b2))
        for net, optimizer in ((generator, model.g_optimizer), (discriminator, model.d_optimizer))
    )

    def step():
        nonlocal fade
        d_tx.zero_grad()
        real = (1 - fade) * seen + fade * interpolate(avg_pool2d(seen, 2), scale_factor=2)
        real.requires_grad_(model.penalty == "r1")
        with torch.no_grad():
            fake = generator(torch.randn(batch, model.latent_size), fade)
        logits = discriminator(real, fade)
        cost = softplus(-logits).mean() + softplus(discriminator(fake, fade)).mean()
        if model.penalty == "r1":
            (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
            cost = cost + model.penalty_weight / 2 * slope.square().sum((1, 2, 3)).mean()
        cost.backward()
        d_tx.step()
        g_tx.zero_grad()
        discriminator.requires_grad_(False)
        loss = softplus(-discriminator(generator(torch.randn(batch, model.latent_size), fade), fade)).mean()
        loss.backward()
        discriminator.requires_grad_(True)
        g_tx.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, list(generator.parameters()), 1 - decay)
        fade = max(0.0, fade - batch / model.fade_images)
        return cost.item(), loss.item()

    return step


def main(rounds: int) -> None:
    print(step_cpu.machine())
    step_cpu.take_turns(__file__, "stylegan", KINDS, rounds)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        kind = sys.argv[2]
        made = step_cpu.compiled_step(config(kind)) if kind.startswith("jax") else torch_step(kind)
        step_cpu.contest(made, WARM)
    else:
        main(int(sys.argv[1]) if len(sys.argv) == 2 else ROUNDS)
