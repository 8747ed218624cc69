"""EBGAN. By default cartoon faces at 32x32, drawn by the library itself: nothing to download.

    python launch/main.py --config experiments/ebgan.py              # minutes on two cores
    python launch/main.py --config experiments/ebgan.py:ring         # 8 modes
    python launch/main.py --config experiments/ebgan.py:grid         # 25 modes
    python launch/main.py --config experiments/ebgan.py:swiss_roll
    python launch/main.py --config experiments/ebgan.py:mnist        # the best of the paper's grid
    python launch/main.py --config experiments/ebgan.py:mnist_pt     # with the pulling-away term
    python launch/main.py --config experiments/ebgan.py:celeba       # 64x64, EBGAN-PT like all that follow
    python launch/main.py --config experiments/ebgan.py:lsun
    python launch/main.py --config experiments/ebgan.py:imagenet128
    python launch/main.py --config experiments/ebgan.py:imagenet256
    python launch/main.py --config experiments/ebgan.py:smoke

The paper states neither the size of its minibatches nor the length of its trainings: both are ours.

Expect no single figure to compare with: the paper has histograms over settings, and pictures.
"""

from gan_jax import config as base


def get_config(variant="default"):
    config = base.defaults(gan="ebgan")
    config.steps, config.batch_size = 2_000, 64
    config.log_every, config.sample_every, config.save_every = 50, 250, 500
    config.data = base.data(name="faces", resolution=32, size=20_000, on_device=True)
    config.model = base.dict(
        nets="convolutional",  # or "fully_connected"
        init="paper",  # or "he_uniform"
        g_widths=(128, 64, 32),  # of the generator's layers, from z on
        d_widths=(32, 64, 128),  # of the encoder's
        g_norm="batch",  # or "none"
        d_norm="batch",
        d_dropout=0.0,  # in the encoder; part of the paper's grid
        noise_planes=(),  # "convolutional": channels of noise joined to the input of each layer after the first
        output="4c2s",  # "convolutional": kernel and stride of the generator's last layer; "3c" for ImageNet
        margin=10.0,  # up to which energies of samples are raised: a length in the space of examples
        latent="normal",
        latent_size=100,
        d_loss_scale=1.0,
        penalty="none",
        penalty_weight=0.0,
        rounds=1,
        updates="sequential",
        tricks=base.tricks(),  # EBGAN-PT: g_penalty="pulling_away", g_penalty_weight=0.1
        conditional=False,
        half_life=10_000.0,  # images; not the paper's, but a short training shows less noise
        g_optimizer=base.optimizer("adam", 2e-4, b1=0.5),
        d_optimizer=base.optimizer("adam", 2e-4, b1=0.5),
    )
    match variant:
        case "default":
            pass
        case "ring" | "grid" | "swiss_roll":
            points(config, variant)
        case "mnist":
            mnist(config)
        case "mnist_pt":
            mnist(config)
            pulling_away(config)
        case "celeba":
            large(config, "celeb_a", 64, margin=20.0)
            config.data.crop = "center"
        case "lsun":
            large(config, "lsun/bedroom", 64, margin=80.0)
            config.data.crop = "center"
        case "imagenet128":
            imagenet(config, 128, margin=40.0)
            config.model.update(g_widths=(1024, 512, 256, 128, 64, 64), noise_planes=(64, 32, 16, 8, 4))
        case "imagenet256":
            imagenet(config, 256, margin=80.0)
            config.model.update(g_widths=(2048, 1024, 512, 256, 128, 64, 64), noise_planes=(64, 32, 16, 8, 4, 2))
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data.update(resolution=16, size=64)
            config.model.update(g_widths=(8, 4), d_widths=(4, 8), noise_planes=(2,), latent_size=8)
        case _:
            known = ("ring", "grid", "swiss_roll", "mnist", "mnist_pt", "celeba", "lsun", "imagenet128", "imagenet256")
            raise base.unknown_variant(variant, *known, "smoke")
    return config


def points(config, kind):
    """Not the paper's: the toys that all GANs of this library are tried on. The margin is about the distance between
    neighbouring modes of the ring."""
    config.steps, config.batch_size, config.steps_per_call, config.preview = 4_000, 256, 50, 2_048
    config.log_every, config.sample_every = 200, 500
    options = base.dict(kind=kind) if kind == "swiss_roll" else base.dict(kind=kind, std=0.05)
    config.data = base.data(name="gaussians", on_device=True, options=options)
    config.model.update(nets="fully_connected", init="he_uniform", g_norm="none", d_norm="none", latent_size=2)
    config.model.update(g_widths=(128, 128, 128), d_widths=(128, 128, 128), margin=1.0, half_life=0.0)
    config.model.g_optimizer = base.optimizer("adam", 1e-3, b1=0.5, b2=0.9)
    config.model.d_optimizer = base.optimizer("adam", 1e-3, b1=0.5, b2=0.9)


def mnist(config):
    """nLayerG 5, nLayerD 2, sizeG 1600, sizeD 1024 (section 4.1); rate 1e-3, margin 10."""
    config.steps, config.log_every, config.sample_every, config.save_every = 50_000, 100, 1_000, 5_000
    config.data = base.data(name="mnist", on_device=True)
    config.model.update(nets="fully_connected", g_widths=(1600,) * 4, d_widths=(1024,), margin=10.0, half_life=0.0)
    config.model.g_optimizer = base.optimizer("adam", 1e-3, b1=0.5)
    config.model.d_optimizer = base.optimizer("adam", 1e-3, b1=0.5)


def pulling_away(config):
    config.model.tricks.update(g_penalty="pulling_away", g_penalty_weight=0.1)


def large(config, name, resolution, margin):
    """The networks for 64x64 (appendix), trained as the paper says DCGAN was."""
    config.steps, config.batch_size, config.sample_every, config.save_every = 100_000, 128, 2_000, 5_000
    config.data = base.data(name=name, resolution=resolution)
    config.model.update(g_widths=(1024, 512, 256, 128), d_widths=(64, 128, 256), margin=margin, half_life=0.0)
    pulling_away(config)


def imagenet(config, resolution, margin):
    """Deeper, with noise at every level and a last convolution that keeps the size (appendix)."""
    large(config, "imagenet2012", resolution, margin)
    config.data.crop = "center"
    config.model.update(d_widths=(64, 128, 256, 512), output="3c")
