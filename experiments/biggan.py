"""BigGAN. By default coloured shapes with labels, drawn by the library itself: nothing to download.

    python launch/main.py --config experiments/biggan.py                  # minutes on two cores
    python launch/main.py --config experiments/biggan.py:cifar10          # the author's script: narrow, four D steps
    python launch/main.py --config experiments/biggan.py:cifar100
    python launch/main.py --config experiments/biggan.py:imagenet128      # the paper's: batches of 2048, 1,000 classes
    python launch/main.py --config experiments/biggan.py:imagenet256
    python launch/main.py --config experiments/biggan.py:imagenet512
    python launch/main.py --config experiments/biggan.py:imagenet128_script  # the author's: eight GPUs, one D step
    python launch/main.py --config experiments/biggan.py:deep128          # BigGAN-deep
    python launch/main.py --config experiments/biggan.py:deep256
    python launch/main.py --config experiments/biggan.py:smoke

A batch that does not fit is accumulated, `--config.model.pieces=8`; a state that does not is split over the devices,
`--config.mesh.data=1 --config.mesh.fsdp=-1`; and `--config.dtype=bfloat16` is faster where there are units for it.

Expect on ImageNet at 128x128 an Inception score of 98.8 and FID 8.7 without truncation, 124.5 and 5.7 of BigGAN-deep;
on CIFAR-10 9.22 and 14.73 (paper).
"""

import math

from gan_jax import config as base


def get_config(variant="default"):
    config = base.defaults(gan="biggan")
    config.steps, config.batch_size = 4_000, 32
    config.log_every, config.sample_every, config.save_every = 50, 500, 500
    config.data = base.data(name="shapes", resolution=16, size=20_000, on_device=True)
    # The other classes are alike in so few pixels.
    config.data.options = base.dict(
        only=("ring", "square", "triangle", "crescent"), backgrounds=("cream", "pale blue", "mint")
    )
    config.model = base.dict(
        nets="biggan",  # or "deep"
        g_widths=(64, 32, 16),  # channels of the base and after each size
        d_widths=(16, 32),  # channels of the blocks that halve the sides; in "deep" the first does not, but is its stem
        d_plain=(64,),  # and of those after them
        attention=(8,),  # heights of the images that self-attention follows; () for none
        skip_z="chunks",  # how z reaches the blocks: a chunk for each, "all" of it, or "none"
        embedding=32,  # size of the embedding of the class that all blocks share; 0 for tables in each norm
        init="orthogonal",  # or "normal", "glorot"
        norm_decay=0.9,  # of the moving averages of batch norm
        latent="normal",
        latent_size=48,  # three chunks of 16
        loss="hinge",
        penalty="none",  # of the discriminator; the paper tries "r1" with a weight of 10
        penalty_weight=0.0,
        orthogonal=1e-4,  # beta: filters of the generator are to be orthogonal
        rounds=1,  # as in the author's script; 2 in the paper
        pieces=1,  # microbatches that a gradient is accumulated over
        half_life=2_000.0,  # images, of the averaged generator
        average_from=0,  # the step before which the average is a copy
        g_optimizer=falling(1e-3),  # ten and five times the script's rates: there are few steps
        d_optimizer=falling(2e-3),
    )
    match variant:
        case "default":
            pass
        case "cifar10" | "cifar100":
            config.steps, config.batch_size = 125_000, 50  # 500 epochs of four minibatches to a step
            config.log_every, config.sample_every, config.save_every = 100, 1_000, 5_000
            config.data = base.data(name=variant, on_device=True)
            config.model.update(g_widths=(256,) * 4, d_widths=(256,) * 2, d_plain=(256,) * 2, attention=())
            config.model.update(skip_z="none", embedding=0, init="normal", latent_size=128, orthogonal=0.0, rounds=4)
            average(config, decay=0.9999, begin=1_000)
            rates(config.model, 2e-4, 2e-4)
        case "imagenet128" | "imagenet256" | "imagenet512" | "imagenet128_script":
            side = int(variant.removeprefix("imagenet").removesuffix("_script"))
            imagenet(config, side)
            config.model.update(g_widths=scaled(96, *G_WIDTHS[side]), d_widths=scaled(96, *D_WIDTHS[side]))
            config.model.update(d_plain=(16 * 96,), latent_size={128: 120, 256: 140, 512: 128}[side])
            if variant == "imagenet128_script":
                config.steps = 150_000
                config.model.update(rounds=1, pieces=8, orthogonal=0.0)
                rates(config.model, 1e-4, 4e-4)
        case "deep128" | "deep256":
            side = int(variant.removeprefix("deep"))
            imagenet(config, side)
            widths = {128: (1, 2, 4, 8, 16, 16), 256: (1, 2, 4, 8, 8, 16, 16)}[side]
            config.model.update(nets="deep", skip_z="all", latent_size=128, d_plain=())
            config.model.update(g_widths=scaled(128, *G_WIDTHS[side]), d_widths=scaled(128, *widths))
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data.update(resolution=8, size=64)
            config.model.update(g_widths=(8, 8), d_widths=(8,), d_plain=(8,), attention=(4, 8))
            config.model.update(embedding=4, latent_size=8, rounds=2)
            # Biases before a batch norm have gradients that are all rounding, of which Adam makes steps as large as the
            # rate: a small one keeps one device and eight together.
            rates(config.model, 1e-5, 2e-5)
        case _:
            known = ("cifar10", "cifar100", "imagenet128", "imagenet256", "imagenet512", "imagenet128_script")
            raise base.unknown_variant(variant, *known, "deep128", "deep256", "smoke")
    return config


G_WIDTHS = {  # in units of the width, of the base and after each size
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}
D_WIDTHS = {128: (1, 2, 4, 8, 16), 256: (1, 2, 4, 8, 8, 16), 512: (1, 1, 2, 4, 8, 8, 16)}


def scaled(width: int, *multiples: int) -> tuple[int, ...]:
    return tuple(width * multiple for multiple in multiples)


def imagenet(config, side: int):
    """The paper's settings (appendix C)."""
    config.steps, config.batch_size = 200_000, 2048
    config.log_every, config.sample_every, config.save_every = 100, 1_000, 2_500
    config.data = base.data(name="imagenet2012", resolution=side, crop="center", flip=True)
    config.model.update(attention=(64,), embedding=128, rounds=2)
    average(config, decay=0.9999, begin=20_000)
    rates(config.model, 5e-5, 2e-4)


def falling(rate: float):
    """A rate that falls to 0 in the second half of 4,000 steps; not the paper's, but a short training ends quietly."""
    return base.optimizer("adam", rate, b1=0.0, b2=0.999, decay_begin=2_000, decay_steps=2_000)


def average(config, decay: float, begin: int):
    """A running average of that decay for each step, from step `begin` on."""
    config.model.update(half_life=config.batch_size * math.log(0.5) / math.log(decay), average_from=begin)


def rates(model, g: float, d: float):
    model.g_optimizer = base.optimizer("adam", g, b1=0.0, b2=0.999)
    model.d_optimizer = base.optimizer("adam", d, b1=0.0, b2=0.999)
