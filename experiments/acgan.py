"""AC-GAN. By default shapes of four classes at 16x16, drawn by the library itself, with small networks of its kind.

    python launch/main.py --config experiments/acgan.py                  # minutes on two cores
    python launch/main.py --config experiments/acgan.py:mnist            # keras-acgan
    python launch/main.py --config experiments/acgan.py:cifar10
    python launch/main.py --config experiments/acgan.py:cifar10_wgan_gp  # WGAN-GP's residual pair, with labels
    python launch/main.py --config experiments/acgan.py:imagenet64 --config.data.path=/my/ten/classes
    python launch/main.py --config experiments/acgan.py:imagenet128 --config.data.path=/my/ten/classes
    python launch/main.py --config experiments/acgan.py:smoke

The paper trains 100 models of ten ImageNet classes each: `path` is a folder with one sub-folder for each class.

Expect an Inception score of 8.25 +- .07 on CIFAR-10, the best of 27 settings (paper), and 8.42 +- .10 of
`:cifar10_wgan_gp` (Gulrajani et al., 2017, table 3).
"""

from gan_jax import config as base


def get_config(variant="default"):
    config = base.defaults(gan="acgan")
    config.steps, config.batch_size = 3_000, 64
    config.log_every, config.sample_every, config.save_every = 50, 250, 500
    config.data = base.data(name="shapes", resolution=16, size=20_000, on_device=True)
    config.data.options = base.dict(
        only=("ring", "square", "triangle", "cross")
    )  # the others are alike in so few pixels
    config.model = base.dict(
        nets="odena2016",  # or "lukedeo", "gulrajani2017"
        g_widths=(64, 32),  # maps of the base and of all transposed convolutions but the last
        d_widths=(16, 32, 64, 128),  # maps; the first convolution and every other one after it halve the sides
        d_norm="batch",  # or "none", which a gradient penalty needs
        d_dropout=0.5,
        d_noise=0.0,  # the paper tries 0, 0.1 and 0.2
        latent="normal",
        latent_size=100,
        loss="non_saturating",  # of the source
        real_label=1.0,
        d_loss_scale=1.0,
        real_class_weight=1.0,  # of the cross-entropy of classes: the discriminator's on data,
        fake_class_weight=1.0,  # and on samples,
        g_class_weight=1.0,  # and the generator's
        penalty="none",
        penalty_weight=0.0,
        rounds=1,
        g_batches=1,
        half_life=0.0,  # of the averaged generator, in images; 0 samples the generator itself
        g_optimizer=base.optimizer("adam", 2e-4, b1=0.5, b2=0.999),
        d_optimizer=base.optimizer("adam", 2e-4, b1=0.5, b2=0.999),
    )
    match variant:
        case "default":
            pass
        case "mnist":
            config.steps, config.batch_size, config.sample_every = 50 * 600, 100, 600  # epochs
            config.data = base.data(name="mnist", on_device=True)
            config.model.update(nets="lukedeo", g_widths=(1024, 128, 256, 128), d_widths=(32, 64, 128, 256))
            config.model.update(d_norm="none", d_dropout=0.3, latent="uniform", g_batches=2)
            config.model.update(d_loss_scale=0.5, real_class_weight=0.5, fake_class_weight=0.5)  # means over both
        case "cifar10":
            published(config, name="cifar10", on_device=True)
            config.model.g_widths = (384, 192, 96)
        case "cifar10_wgan_gp":
            published(config, name="cifar10", on_device=True)
            config.steps, config.batch_size = 100_000, 64
            config.model.update(nets="gulrajani2017", g_widths=(128,) * 4, d_widths=(128,) * 4, latent_size=128)
            config.model.update(d_norm="none", d_dropout=0.0)
            config.model.update(loss="wasserstein", penalty="wgan_gp", penalty_weight=10.0, rounds=5, g_batches=2)
            config.model.update(fake_class_weight=0.0, g_class_weight=0.1)
            rate = {"b1": 0.0, "b2": 0.9, "decay_steps": 100_000}
            config.model.g_optimizer = base.optimizer("adam", 2e-4, **rate)
            config.model.d_optimizer = base.optimizer("adam", 2e-4, **rate | {"decay_steps": 500_000})
        case "imagenet64":
            published(config, name="folder", resolution=64, channels=3, crop="center")
            config.model.g_widths = (768, 384, 256, 192)
        case "imagenet128":
            published(config, name="folder", resolution=128, channels=3, crop="center")
            config.model.g_widths = (768, 384, 256, 192, 96)
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data.update(resolution=8, size=64)
            config.model.update(g_widths=(8, 8), d_widths=(4, 8), latent_size=8)
        case _:
            known = ("mnist", "cifar10", "cifar10_wgan_gp", "imagenet64", "imagenet128", "smoke")
            raise base.unknown_variant(variant, *known)
    return config


def published(config, **data):
    """The paper's discriminator and schedule (table 1): one model of ten classes."""
    config.steps, config.batch_size, config.log_every = 50_000, 100, 100
    config.sample_every, config.save_every = 1_000, 5_000
    config.data = base.data(**data)
    config.model.d_widths = (16, 32, 64, 128, 256, 512)
