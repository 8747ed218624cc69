"""WGAN. By default eight Gaussians on a ring, with perceptrons; the other variants are the paper's own settings.

    python launch/main.py --config experiments/wgan.py              # ring of 8, a minute or two on two cores
    python launch/main.py --config experiments/wgan.py:ring         # the same
    python launch/main.py --config experiments/wgan.py:grid         # 25 modes
    python launch/main.py --config experiments/wgan.py:swiss_roll
    python launch/main.py --config experiments/wgan.py:shapes_nobn  # small images without batch norm in the generator
    python launch/main.py --config experiments/wgan.py:lsun         # bedrooms at 64x64, as the authors' code trains
    python launch/main.py --config experiments/wgan.py:lsun_nobn    # figure 6: no batch norm, 512 filters everywhere
    python launch/main.py --config experiments/wgan.py:lsun_mlp     # figure 7: the generator is a perceptron
    python launch/main.py --config experiments/wgan.py:cifar10
    python launch/main.py --config experiments/wgan.py:smoke

Expect all 8 modes of the ring, with diffuse samples; on CIFAR-10 an inception score near 6 and a FID above 40 (Miyato
et al., 2018, table 2: 6.41 and 42.6 for weight clipping, with other networks). Watch `monitor/wasserstein`: it falls as
samples get better, and rises or stays where a training goes wrong.
"""

from gan_jax import config as base

KNOWN = ("ring", "grid", "swiss_roll", "shapes_nobn", "lsun", "lsun_nobn", "lsun_mlp", "cifar10", "smoke")


def get_config(variant="default"):
    config = base.defaults(gan="wgan")
    config.steps, config.batch_size, config.steps_per_call = 2_000, 256, 25
    config.log_every, config.sample_every, config.save_every = 100, 250, 500
    config.preview = 2_048
    config.data = base.data(name="gaussians", on_device=True, options=base.dict(kind="ring", std=0.05))
    config.model = base.dict(
        generator="toy",  # or "dcgan", "mlp"
        critic="toy",
        widths=(128, 128, 128),
        latent="normal",
        latent_size=2,
        clip=0.1,  # the paper's c is .01, which gives a network as small as this one too weak a signal
        clip_order="after",
        rounds=5,  # n_critic
        schedule="constant",  # or "released": 100 critic moves now and then
        d_loss_scale=1.0,
        updates="sequential",
        tricks=base.tricks(),  # noise, soft and flipped labels, replay, ...: gan_jax/tricks.py
        half_life=0.0,  # of the averaged generator, in images; 0 samples the generator itself
        g_optimizer=base.optimizer("rmsprop", 5e-4, b1=0.0, b2=0.99),
        d_optimizer=base.optimizer("rmsprop", 5e-4, b1=0.0, b2=0.99),
    )
    match variant:
        case "default" | "ring":
            pass
        case "grid":
            config.steps = 5_000
            config.data.options = base.dict(kind="grid", std=0.05)
        case "swiss_roll":
            config.data.options = base.dict(kind="swiss_roll")
        case "shapes_nobn":  # where a DCGAN of the same networks fails: see tests/gans/test_wgan.py
            released(config)
            config.steps, config.sample_every, config.save_every = 2_000, 200, 500
            config.data = base.data(name="shapes", resolution=16, size=20_000, on_device=True)
            config.model.update(g_width=32, d_width=16, latent_size=32, filters="constant", g_norm="none")
            config.model.update(clip=0.1, clip_order="after", rounds=3, schedule="constant")
            config.model.g_optimizer.learning_rate = config.model.d_optimizer.learning_rate = 2e-3
        case "lsun":
            released(config)
            config.data = base.data(name="lsun/bedroom", resolution=64, crop="center")
        case "lsun_nobn":
            released(config)
            config.data = base.data(name="lsun/bedroom", resolution=64, crop="center")
            config.model.update(g_width=512, filters="constant", g_norm="none")
        case "lsun_mlp":
            released(config)
            config.data = base.data(name="lsun/bedroom", resolution=64, crop="center")
            config.model.update(generator="mlp", hidden=(512, 512, 512))
        case "cifar10":
            released(config)
            config.steps, config.sample_every, config.save_every = 20_000, 1_000, 1_000  # 100,000 moves of the critic
            config.data = base.data(name="cifar10", on_device=True)
        case "smoke":
            released(config)
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data = base.data(name="faces", resolution=16, size=64, on_device=True)
            config.model.update(g_width=4, d_width=4, latent_size=8, rounds=2, schedule="constant", clip_order="after")
        case _:
            raise base.unknown_variant(variant, *KNOWN)
    return config


def released(config):
    """What `main.py` of the authors does on images: DCGAN's networks, long steps now and then, clipping first."""
    config.steps, config.batch_size, config.steps_per_call = 25 * 3_033_042 // (5 * 64), 64, 1  # 25 epochs
    config.log_every, config.sample_every, config.save_every, config.preview = 50, 500, 1_000, 64
    del config.model.widths
    config.model.update(generator="dcgan", critic="dcgan", latent_size=100)
    config.model.update(base.dict(g_width=64, d_width=64, filters="halving", extra=0, g_norm="batch", d_norm="batch"))
    config.model.update(clip=0.01, clip_order="before", schedule="released")
    config.model.g_optimizer = base.optimizer("rmsprop", 5e-5, b1=0.0, b2=0.99)
    config.model.d_optimizer = base.optimizer("rmsprop", 5e-5, b1=0.0, b2=0.99)
