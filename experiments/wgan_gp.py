"""WGAN-GP. By default eight Gaussians on a ring, with perceptrons.

    python launch/main.py --config experiments/wgan_gp.py                     # the ring, two minutes on two cores
    python launch/main.py --config experiments/wgan_gp.py:ring                # the same
    python launch/main.py --config experiments/wgan_gp.py:grid                # 25 modes
    python launch/main.py --config experiments/wgan_gp.py:swiss_roll
    python launch/main.py --config experiments/wgan_gp.py:toy                 # `gan_toy.py` of the authors
    python launch/main.py --config experiments/wgan_gp.py:toy_fixed           # its critic against data plus noise
    python launch/main.py --config experiments/wgan_gp.py:shapes              # 32x32, small convolutions, two cores
    python launch/main.py --config experiments/wgan_gp.py:mnist
    python launch/main.py --config experiments/wgan_gp.py:cifar10
    python launch/main.py --config experiments/wgan_gp.py:cifar10_resnet
    python launch/main.py --config experiments/wgan_gp.py:cifar10_conditional
    python launch/main.py --config experiments/wgan_gp.py:lsun64              # bedrooms, the good residual pair
    python launch/main.py --config experiments/wgan_gp.py:lsun64_resnet101    # and the zoo of section 4:
    python launch/main.py --config experiments/wgan_gp.py:lsun64_dcgan
    python launch/main.py --config experiments/wgan_gp.py:lsun64_constant
    python launch/main.py --config experiments/wgan_gp.py:lsun64_mlp_generator
    python launch/main.py --config experiments/wgan_gp.py:lsun64_no_norm
    python launch/main.py --config experiments/wgan_gp.py:lsun64_gated
    python launch/main.py --config experiments/wgan_gp.py:lsun64_tanh
    python launch/main.py --config experiments/wgan_gp.py:smoke

Every network of the zoo can be trained as its rivals were, too:
    python launch/main.py --config experiments/wgan_gp.py:lsun64_gated --config.model.loss=least_squares \\
        --config.model.penalty=none --config.model.rounds=1 --config.model.d_norm=batch

Expect 8 of 8 and 25 of 25 modes; on CIFAR-10 an Inception score of 7.86 +- .07 without labels after 100,000 generator
steps of the residual pair, 8.42 with labels (paper, table 3). Without labels mimicry reports FID 22.29.
"""

from gan_jax import config as base

ZOO = ("dcgan", "constant", "mlp_generator", "no_norm", "gated", "tanh", "resnet101")


def get_config(variant="default"):
    config = base.defaults(gan="wgan_gp")
    config.steps, config.batch_size, config.steps_per_call = 2_000, 256, 50
    config.log_every, config.sample_every, config.save_every = 100, 500, 1_000
    config.preview = 2_048
    config.data = base.data(name="gaussians", on_device=True, options=base.dict(kind="ring", std=0.05))
    config.model = base.dict(
        nets="mlp",  # the table is in the head of gan_jax/gans/wgan_gp.py
        width=128,  # units of a layer, or filters next to the image
        g_norm="none",  # "batch" in most generators of images
        d_norm="none",  # "layer" wherever others have batch norm
        latent="normal",
        latent_size=2,
        loss="wasserstein",
        real_label=1.0,
        d_loss_scale=1.0,
        penalty="wgan_gp",  # or "wgan_gp_one_sided"
        penalty_weight=0.1,  # lambda; 10 for images
        rounds=5,  # n_critic
        updates="sequential",
        tricks=base.tricks(),
        conditional=False,
        half_life=0.0,  # of the averaged generator, in images; 0 samples the generator itself, as the paper does
        g_optimizer=base.optimizer("adam", 1e-3, b1=0.5, b2=0.9),
        d_optimizer=base.optimizer("adam", 1e-3, b1=0.5, b2=0.9),
    )
    match variant:
        case "default" | "ring":
            pass
        case "grid":
            config.steps, config.data.options = 6_000, base.dict(kind="grid", std=0.05)  # after 3,000 some are thin
        case "swiss_roll":
            config.steps, config.data.options = 3_000, base.dict(kind="swiss_roll")
        case "toy" | "toy_fixed":
            config.steps, config.data.options = 100_000, base.dict(kind="ring")
            config.model.update(nets={"toy": "mlp", "toy_fixed": "mlp_fixed"}[variant], width=512)
            adam(config.model, 1e-4, b1=0.5)
        case "shapes":
            images(config, "cifar10", width=16, steps=1_000, g_norm="batch")
            config.log_every, config.sample_every, config.save_every = 25, 250, 500
            config.data = base.data(name="shapes", resolution=32, size=20_000, on_device=True)
            adam(config.model, 2e-4, b1=0.5)
        case "mnist":
            images(config, "mnist", width=64, steps=200_000)
            config.data, config.batch_size = base.data(name="mnist", on_device=True), 50
            adam(config.model, 1e-4, b1=0.5)
        case "cifar10":
            images(config, "cifar10", width=128, steps=200_000, g_norm="batch")
            config.data = base.data(name="cifar10", on_device=True)
            adam(config.model, 1e-4, b1=0.5)
        case "cifar10_resnet" | "cifar10_conditional":
            images(config, "cifar10_resnet", width=128, steps=100_000, g_norm="batch")
            config.data = base.data(name="cifar10", on_device=True)
            config.model.conditional = variant == "cifar10_conditional"
            config.model.tricks.g_batches = 2
            adam(config.model, 2e-4, b1=0.0, decay_steps=100_000)  # both fall to 0 with the generator's steps
        case "lsun64":
            lsun64(config, "good")
        case "smoke":
            images(config, "good", width=4, steps=6, g_norm="batch", d_norm="layer")
            config.batch_size, config.preview = 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data = base.data(name="shapes", resolution=8, size=64, on_device=True)
            # Constants cancel in the Wasserstein loss, so biases at the end of a critic never move; smoothed labels, of
            # no use otherwise, move them, as the tests want of every parameter. Biases before a batch norm have
            # gradients that are all rounding, of which Adam makes steps as large as the rate: it is small here.
            config.model.update(latent_size=8, rounds=2, real_label=0.9)
            adam(config.model, 1e-5, b1=0.0)
        case _ if variant.removeprefix("lsun64_") in ZOO:
            lsun64(config, variant.removeprefix("lsun64_"))
        case _:
            known = ("ring", "grid", "swiss_roll", "toy", "toy_fixed", "shapes", "mnist", "cifar10", "cifar10_resnet")
            known += ("cifar10_conditional", "lsun64", *(f"lsun64_{nets}" for nets in ZOO), "smoke")
            raise base.unknown_variant(variant, *known)
    return config


def images(config, nets: str, width: int, steps: int, g_norm: str = "none", d_norm: str = "none"):
    """What the authors' scripts for images have in common."""
    config.steps, config.batch_size, config.steps_per_call, config.preview = steps, 64, 1, 64
    config.log_every, config.sample_every, config.save_every = 100, 2_000, 5_000
    config.model.update(nets=nets, width=width, g_norm=g_norm, d_norm=d_norm, latent_size=128, penalty_weight=10.0)


def adam(model, rate: float, b1: float, decay_steps: int = 0):
    """The same for both players. `decay_steps` counts generator steps, of which the critic makes `rounds` each."""
    model.g_optimizer = base.optimizer("adam", rate, b1=b1, b2=0.9, decay_steps=decay_steps)
    model.d_optimizer = base.optimizer("adam", rate, b1=b1, b2=0.9, decay_steps=decay_steps * model.rounds)


def lsun64(config, name: str):
    """`gan_64x64.py` on LSUN bedrooms. Its Adam has b1 = 0, the paper's appendix E .5."""
    norms = {"no_norm": ("none", "none"), "constant": ("none", "layer"), "mlp_generator": ("none", "layer")}
    g_norm, d_norm = norms.get(name, ("batch", "layer"))
    images(config, {"no_norm": "dcgan"}.get(name, name), width=64, steps=200_000, g_norm=g_norm, d_norm=d_norm)
    config.data = base.data(name="lsun/bedroom", resolution=64, crop="center")
    adam(config.model, 1e-4, b1=0.0)
