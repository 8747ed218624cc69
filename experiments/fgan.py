"""f-GAN. By default eight Gaussians on a ring, with perceptrons; `:mixture` and `:mnist` are the paper's own.

    python launch/main.py --config experiments/fgan.py            # ring of 8, a minute on two cores
    python launch/main.py --config experiments/fgan.py:ring       # the same
    python launch/main.py --config experiments/fgan.py:grid       # 25 modes
    python launch/main.py --config experiments/fgan.py:swiss_roll
    python launch/main.py --config experiments/fgan.py:mixture    # a Gaussian fitted to a mixture of two (section 2.4)
    python launch/main.py --config experiments/fgan.py:mnist      # section 4
    python launch/main.py --config experiments/fgan.py:lsun       # classrooms at 96x96 (section 4)
    python launch/main.py --config experiments/fgan.py:smoke

Any divergence of table 1, or the other cost of the generator:
    python launch/main.py --config experiments/fgan.py:mixture --config.model.divergence=reverse_kl
    python launch/main.py --config experiments/fgan.py --config.model.generator_cost=minimax

Expect 6 to 8 of the 8 modes on the ring; of `:mixture`, mu 0 and sigma 2.06 under "kl", and one of the two modes (mu 2,
sigma .5) under "reverse_kl". On MNIST the paper reports Parzen-window log-likelihoods of 416 nats for "kl" and 305 for
"gan" (section 4).
"""

import math

from gan_jax import config as base


def get_config(variant="default"):
    config = base.defaults(gan="fgan")
    config.steps, config.batch_size, config.steps_per_call = 4_000, 256, 50
    config.log_every, config.sample_every, config.save_every = 200, 500, 1_000
    config.preview = 2_048
    config.data = base.data(name="gaussians", on_device=True, options=base.dict(kind="ring", std=0.05))
    config.model = base.dict(
        nets="mlp",  # or "nowozin2016", "convolutional", "gaussian"
        g_widths=(128, 128, 128),
        d_widths=(128, 128, 128),
        divergence="jensen_shannon",  # or "kl", "reverse_kl", "pearson", "neyman", "squared_hellinger", ...
        generator_cost="alternative",  # section 3.2; "minimax" is the objective itself
        clip=10.0,  # of the logits, which some divergences exponentiate
        d_loss_scale=1.0,
        penalty="none",
        penalty_weight=0.0,
        latent="normal",
        latent_size=2,
        rounds=1,
        updates="simultaneous",  # Algorithm 1
        tricks=base.tricks(),  # noise, soft and flipped labels, replay, ...: gan_jax/tricks.py
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
        case "mixture":
            config.steps, config.batch_size = 3_000, 1_024
            config.data.options = base.dict(kind="mixture_1d", means=(-2.0, 2.0), stds=(0.5, 0.5), weights=(0.5, 0.5))
            config.model.update(nets="gaussian", g_widths=(), d_widths=(64, 64), divergence="kl", latent_size=1)
            config.model.update(generator_cost="minimax", updates="sequential", rounds=5, clip=math.inf)
            config.model.g_optimizer = base.optimizer("adam", 2e-3, b1=0.5, b2=0.999)
            config.model.d_optimizer = base.optimizer("adam", 1e-3, b1=0.9, b2=0.999)
        case "mnist":
            config.steps, config.batch_size, config.preview = 50_000, 4_096, 64  # the paper trains for an hour
            config.data = base.data(name="mnist", on_device=True)
            config.model.update(nets="nowozin2016", g_widths=(1200, 1200), d_widths=(240, 240), latent_size=100)
            nowozin2016(config.model)
        case "lsun":
            config.steps, config.batch_size, config.preview = 100_000, 64, 64  # 168,103 images; length not given
            config.steps_per_call, config.sample_every = 1, 1_000
            config.data = base.data(name="lsun/classroom", resolution=96, crop="center")
            config.model.update(nets="convolutional", g_widths=(64,), d_widths=(64,), latent_size=100)
            nowozin2016(config.model)
        case "smoke":
            config.steps, config.batch_size, config.steps_per_call, config.preview = 6, 64, 1, 64
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.model.update(g_widths=(32, 32), d_widths=(32, 32), updates="sequential")
        case _:
            raise base.unknown_variant(variant, "ring", "grid", "swiss_roll", "mixture", "mnist", "lsun", "smoke")
    return config


def nowozin2016(model):
    """What the paper's two settings share: DCGAN's latent and optimiser (section 4)."""
    model.update(divergence="kl", latent="uniform", clip=math.inf)
    model.g_optimizer = base.optimizer("adam", 2e-4, b1=0.5, b2=0.999)
    model.d_optimizer = base.optimizer("adam", 2e-4, b1=0.5, b2=0.999)
