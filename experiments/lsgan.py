"""LSGAN. By default eight Gaussians on a ring, with perceptrons; the other variants are the paper's own settings.

    python launch/main.py --config experiments/lsgan.py              # ring of 8, a minute on two cores
    python launch/main.py --config experiments/lsgan.py:ring         # the same
    python launch/main.py --config experiments/lsgan.py:grid         # 25 modes
    python launch/main.py --config experiments/lsgan.py:swiss_roll
    python launch/main.py --config experiments/lsgan.py:toy          # the authors' ring and networks
    python launch/main.py --config experiments/lsgan.py:lsun         # scenes at 112x112, through TFDS
    python launch/main.py --config experiments/lsgan.py:hwdb --config.data.path=/my/characters  # a folder per class
    python launch/main.py --config experiments/lsgan.py:stability_g  # no batch norm in the generator
    python launch/main.py --config experiments/lsgan.py:stability_gd # nor in the discriminator; Pearson's targets
    python launch/main.py --config experiments/lsgan.py:smoke

Expect 5 to 7 of the ring's 8 modes and more than eight of ten samples within three standard deviations of one. The
paper reports no number for images, only that training without batch norm stays stable.
"""

from gan_jax import config as base

KNOWN = ("ring", "grid", "swiss_roll", "toy", "lsun", "hwdb", "stability_g", "stability_gd", "smoke")


def get_config(variant="default"):
    config = base.defaults(gan="lsgan")
    config.steps, config.batch_size, config.steps_per_call = 4_000, 256, 50
    config.log_every, config.sample_every, config.save_every = 200, 500, 1_000
    config.preview = 2_048
    config.data = base.data(name="gaussians", on_device=True, options=base.dict(kind="ring", std=0.05))
    config.model = base.dict(
        nets="mlp",
        widths=(128, 128, 128),
        latent="normal",
        latent_size=2,
        a=0.0,  # the target of fakes, b that of reals, c what the generator wants: Pearson's are -1, 1, 0
        b=1.0,
        c=1.0,
        real_label=1.0,
        d_loss_scale=1.0,
        penalty="none",
        penalty_weight=0.0,
        rounds=1,
        updates="sequential",
        tricks=base.tricks(),  # noise, soft and flipped labels, replay, ...: gan_jax/tricks.py
        conditional=False,
        half_life=0.0,  # of the averaged generator, in images; 0 samples the generator itself
        g_optimizer=base.optimizer("adam", 1e-3, b1=0.5, b2=0.9),
        d_optimizer=base.optimizer("adam", 1e-3, b1=0.5, b2=0.9),
    )
    match variant:
        case "default" | "ring":
            pass
        case "grid":
            config.data.options = base.dict(kind="grid", std=0.05)
        case "swiss_roll":
            config.data.options = base.dict(kind="swiss_roll")
        case "toy":
            config.steps, config.batch_size = 35_000, 512
            config.data.options = base.dict(kind="ring", preset="veegan")  # radius 1, standard deviation .01
            config.model.update(nets="toy", widths=(128, 128), latent_size=256, updates="simultaneous")
            config.model.g_optimizer = base.optimizer("adam", 1e-3, b1=0.5)
            config.model.d_optimizer = base.optimizer("adam", 1e-4, b1=0.5)
        case "lsun":
            pictures(config, "lsun", learning_rate=1e-3, g_width=64, d_width=64)
            config.data = base.data(name="lsun/bedroom", resolution=112, crop="center")
        case "hwdb":
            pictures(config, "characters", learning_rate=2e-4, g_width=128, d_width=64, hidden=1024, coded=256)
            config.data = base.data(name="folder", resolution=28, channels=1)
            config.model.conditional = True
        case "stability_g":
            pictures(config, "stability", learning_rate=2e-4, g_width=64, d_width=64, g_norm="none", d_norm="batch")
            config.data = base.data(name="lsun/bedroom", resolution=64, crop="center")
        case "stability_gd":
            pictures(config, "stability", learning_rate=2e-4, g_width=64, d_width=64, g_norm="none", d_norm="none")
            config.data = base.data(name="lsun/bedroom", resolution=64, crop="center")
            config.model.update(a=-1.0, b=1.0, c=0.0)
            config.model.g_optimizer = base.optimizer("rmsprop_tf1", 2e-4, b1=0.0, b2=0.9)
            config.model.d_optimizer = base.optimizer("rmsprop_tf1", 2e-4, b1=0.0, b2=0.9)
        case "smoke":
            config.steps, config.batch_size, config.steps_per_call, config.preview = 6, 64, 1, 64
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.model.widths = (32, 32)
        case _:
            raise base.unknown_variant(variant, *KNOWN)
    return config


def pictures(config, nets: str, learning_rate: float, **sizes):
    """What the authors' image experiments share, with the sizes of these networks in place of the perceptrons'."""
    config.steps, config.batch_size, config.steps_per_call, config.preview = 250_000, 64, 1, 64
    config.log_every, config.sample_every, config.save_every = 100, 1_000, 5_000
    del config.model.widths
    config.model.update(nets=nets, latent="uniform", latent_size=1024)
    config.model.update(base.dict(**sizes))
    config.model.g_optimizer = base.optimizer("adam", learning_rate, b1=0.5)
    config.model.d_optimizer = base.optimizer("adam", learning_rate, b1=0.5)
