"""E-GAN. By default eight Gaussians on a ring, with perceptrons; `:cifar10` and `:bedroom` are the authors' settings.

    python launch/main.py --config experiments/egan.py              # ring of 8, two minutes on two cores
    python launch/main.py --config experiments/egan.py:ring         # the same
    python launch/main.py --config experiments/egan.py:grid         # 25 modes
    python launch/main.py --config experiments/egan.py:swiss_roll
    python launch/main.py --config experiments/egan.py:toy          # the authors' networks and rates, 100,000 steps
    python launch/main.py --config experiments/egan.py:cifar10
    python launch/main.py --config experiments/egan.py:cifar10_gp   # with a gradient penalty on the discriminator
    python launch/main.py --config experiments/egan.py:bedroom      # LSUN at 64x64
    python launch/main.py --config experiments/egan.py:smoke

A step costs three moves of a generator, three evaluations and those of the discriminator. `survived_*` are the shares
of the mutations among the survivors.

Expect 7 to 8 of the ring's 8 modes; on CIFAR-10 an inception score of 7.34 +- .07 with eight survivors and a gradient
penalty (as the paper reports):
    python launch/main.py --config experiments/egan.py:cifar10_gp --config.model.survivors=8
"""

from gan_jax import config as base

KNOWN = ("ring", "grid", "swiss_roll", "toy", "cifar10", "cifar10_gp", "bedroom", "smoke")


def get_config(variant="default"):
    config = base.defaults(gan="egan")
    config.steps, config.batch_size, config.steps_per_call = 3_000, 256, 50
    config.log_every, config.sample_every, config.save_every = 200, 500, 1_000
    config.preview = 2_048
    config.data = base.data(name="gaussians", on_device=True, options=base.dict(kind="ring", std=0.05))
    config.model = base.dict(
        nets="mlp",
        widths=(128, 128, 128),
        latent="normal",
        latent_size=2,
        mutations=("heuristic", "minimax", "least_squares"),
        survivors=1,  # mu
        gamma=0.01,  # weight of the diversity; on this ring .5, the paper's for toys, finds 3 or 4 modes
        noise="fresh",  # or "shared": children of one step get the same latents
        rounds=1,  # moves of the discriminator in a step
        showing=1,  # minibatches of samples by which a child is judged
        penalty="none",
        penalty_weight=0.0,
        half_life=0.0,  # of the averaged generator, in images; 0 samples the fittest itself
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
            config.steps, config.batch_size = 100_000, 64
            authors(config, "toy", width=512, gamma=2.0, rounds=1, showing=4)  # their beta is 1
            config.model.latent_size = 2
            config.model.g_optimizer = base.optimizer("adam", 1e-4, b1=0.5)
            config.model.d_optimizer = base.optimizer("adam", 1e-4, b1=0.0)
        case "cifar10":
            pictures(config, steps=100 * 100_000 // 96)  # 100 epochs of all images and their mirrored copies
            config.data = base.data(name="cifar10", on_device=True, flip=True)
            authors(config, "small", width=128, gamma=0.004, rounds=3, showing=8)
        case "cifar10_gp":
            pictures(config, steps=100 * 100_000 // 96)
            config.data = base.data(name="cifar10", on_device=True, flip=True)
            authors(config, "small", width=128, gamma=0.004, rounds=3, showing=8)
            config.model.update(penalty="wgan_gp", penalty_weight=2.0)  # 10 in their PyTorch code
            config.model.d_optimizer = base.optimizer("adam", 2e-4, b1=0.0)
        case "bedroom":
            pictures(config, steps=6 * 3_032_640 // 96)  # 6 epochs
            config.data = base.data(name="lsun/bedroom", resolution=64, crop="center", flip=True)
            authors(config, "large", width=128, gamma=0.002, rounds=3, showing=3)
        case "smoke":
            config.steps, config.batch_size, config.steps_per_call, config.preview = 6, 64, 1, 64
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.model.update(widths=(16,), mutations=("heuristic", "least_squares"), survivors=2, rounds=2)
        case _:
            raise base.unknown_variant(variant, *KNOWN)
    return config


def authors(config, nets: str, width: int, **values):
    """The authors' networks in place of the perceptrons, and what their experiments share."""
    del config.model.widths
    config.model.update(nets=nets, latent="uniform", latent_size=100, **values)
    config.model.update(base.dict(g_width=width, d_width=width))
    config.model.g_optimizer = base.optimizer("adam", 2e-4, b1=0.5)
    config.model.d_optimizer = base.optimizer("adam", 2e-4, b1=0.5)


def pictures(config, steps: int):
    config.steps, config.batch_size, config.steps_per_call, config.preview = steps, 32, 1, 64
    config.log_every, config.sample_every, config.save_every = 100, 1_000, 5_000
