"""SAGAN. By default coloured shapes with labels, drawn by the library itself: nothing to download.

    python launch/main.py --config experiments/sagan.py               # minutes on two cores
    python launch/main.py --config experiments/sagan.py:cifar10       # BigGAN's small networks, with attention
    python launch/main.py --config experiments/sagan.py:imagenet128   # the paper's: 1,000 classes
    python launch/main.py --config experiments/sagan.py:smoke

Expect on ImageNet at 128x128 an Inception score of 52.52 and FID 18.65 after a million steps (paper).
"""

from gan_jax import config as base


def get_config(variant="default"):
    config = base.defaults(gan="sagan")
    config.steps, config.batch_size = 4_000, 32
    config.log_every, config.sample_every, config.save_every = 50, 500, 500
    config.data = base.data(name="shapes", resolution=16, size=20_000, on_device=True)
    # The other classes are alike in so few pixels.
    config.data.options = base.dict(
        only=("ring", "square", "triangle", "crescent"), backgrounds=("cream", "pale blue", "mint")
    )
    config.model = base.dict(
        g_widths=(64, 32, 16),  # channels of the base and after each block, every one of which doubles the sides
        d_widths=(16, 32),  # channels of the blocks that halve the sides
        d_plain=(64,),  # and of those after them
        attention=(8,),  # heights of the images that self-attention follows; () for none
        norm_decay=0.9,  # of the moving averages of batch norm; .999 in the code, whose runs are longer
        latent="normal",
        latent_size=64,
        loss="hinge",
        real_label=1.0,
        d_loss_scale=1.0,
        penalty="none",
        penalty_weight=0.0,
        rounds=1,
        updates="sequential",
        tricks=base.tricks(),
        conditional=True,
        half_life=2_000.0,  # images; not the paper's, but a short training shows less noise
        g_optimizer=falling(5e-4),  # five times the paper's rates: there are few steps
        d_optimizer=falling(2e-3),
    )
    match variant:
        case "default":
            pass
        case "cifar10":
            published(config, (256,) * 4, (256,) * 2, (256,) * 2, attention=(16,))
            config.steps, config.batch_size = 100_000, 64
            config.data = base.data(name="cifar10", on_device=True)
        case "imagenet128":
            published(config, (1024, 1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024), (1024,), attention=(32,))
            config.steps, config.batch_size = 1_000_000, 256
            config.data = base.data(name="imagenet2012", resolution=128, crop="center", flip=True)
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data.update(resolution=8, size=64)
            config.model.update(g_widths=(8, 8), d_widths=(8,), d_plain=(8,), attention=(4, 8), latent_size=8)
            # Biases before a batch norm have gradients that are all rounding, of which Adam makes steps as large as the
            # rate: a small one keeps one device and eight together.
            rates(config.model, 1e-5, 2e-5)
        case _:
            raise base.unknown_variant(variant, "cifar10", "imagenet128", "smoke")
    return config


def published(config, g_widths, d_widths, d_plain, attention):
    """The settings of the authors' code: nothing is averaged but the moments of batch norm."""
    config.log_every, config.sample_every, config.save_every = 100, 1_000, 5_000
    config.model.update(g_widths=g_widths, d_widths=d_widths, d_plain=d_plain, attention=attention)
    config.model.update(norm_decay=0.999, latent_size=128, half_life=0.0)
    rates(config.model, 1e-4, 4e-4)


def falling(rate: float):
    """A rate that falls to 0 in the second half of 4,000 steps; not the paper's, but a short training ends quietly."""
    return base.optimizer("adam", rate, b1=0.0, b2=0.999, decay_begin=2_000, decay_steps=2_000)


def rates(model, g: float, d: float):
    """Two time scales, one move each."""
    model.g_optimizer = base.optimizer("adam", g, b1=0.0, b2=0.999)
    model.d_optimizer = base.optimizer("adam", d, b1=0.0, b2=0.999)
