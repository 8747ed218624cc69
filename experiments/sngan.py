"""SNGAN. By default coloured shapes at 32x32 with labels, drawn by the library itself: nothing to download.

    python launch/main.py --config experiments/sngan.py                       # minutes on two cores
    python launch/main.py --config experiments/sngan.py:ring                  # eight Gaussians, ten times as large
    python launch/main.py --config experiments/sngan.py:grid
    python launch/main.py --config experiments/sngan.py:swiss_roll
    python launch/main.py --config experiments/sngan.py:cifar10               # the plain network, settings C
    python launch/main.py --config experiments/sngan.py:cifar10_a             # settings A to F of table 1
    python launch/main.py --config experiments/sngan.py:cifar10_resnet        # the residual network, hinge loss
    python launch/main.py --config experiments/sngan.py:cifar10_projection    # and with labels
    python launch/main.py --config experiments/sngan.py:stl10                 # 48x48, the plain network
    python launch/main.py --config experiments/sngan.py:stl10_resnet
    python launch/main.py --config experiments/sngan.py:imagenet128           # 1,000 classes, projection
    python launch/main.py --config experiments/sngan.py:smoke

Expect on CIFAR-10 Inception scores of 7.42 +- .08 (plain), 8.22 +- .05 (residual) and 8.62 (with labels), and FID 29.3,
21.7 +- .21 and 17.5 of 5,000 samples against the 10,000 test images; on STL-10 8.28 and 9.10 +- .04, FID 53.1 and 40.1;
on ImageNet an Inception score of 29.7 after 450,000 steps.
"""

from gan_jax import config as base

SETTINGS = {  # rate, b1, b2, rounds (table 1)
    "a": (1e-4, 0.5, 0.9, 5),
    "b": (1e-4, 0.5, 0.999, 1),
    "c": (2e-4, 0.5, 0.999, 1),
    "d": (1e-3, 0.5, 0.9, 5),
    "e": (1e-3, 0.5, 0.999, 5),
    "f": (1e-3, 0.9, 0.999, 5),
}
TOYS = {  # ten times as large as elsewhere: see the head of gan_jax/gans/sngan.py
    "ring": base.dict(kind="ring", radius=14.144, std=0.5),
    "grid": base.dict(kind="grid", spacing=7.072, std=0.5),
    "swiss_roll": base.dict(kind="swiss_roll", scale=10.0),
}


def get_config(variant="default"):
    config = base.defaults(gan="sngan")
    config.steps, config.batch_size = 2_000, 64
    config.log_every, config.sample_every, config.save_every = 50, 250, 500
    config.data = base.data(name="shapes", resolution=32, size=20_000, on_device=True)
    config.model = base.dict(
        nets="cnn",  # "resnet", or "mlp" for points
        g_widths=(128, 64, 32, 16),  # a quarter of the paper's; channels of the base and after each doubling
        d_widths=(16, 32, 64),  # channels of the parts that halve
        d_plain=(128,),  # and of those after them
        head_bias=True,
        latent="normal",
        latent_size=128,
        loss="hinge",  # or "non_saturating"
        real_label=1.0,
        d_loss_scale=1.0,
        penalty="none",
        penalty_weight=0.0,
        rounds=1,  # n_dis
        updates="sequential",
        tricks=base.tricks(),
        conditional=True,
        half_life=10_000.0,  # images; not the paper's, but a short training shows less noise
        g_optimizer=base.optimizer("adam", 2e-4, b1=0.5, b2=0.999),
        d_optimizer=base.optimizer("adam", 2e-4, b1=0.5, b2=0.999),
    )
    match variant:
        case "default":
            pass
        case "ring" | "grid" | "swiss_roll":
            config.steps, config.batch_size, config.steps_per_call, config.preview = 2_000, 256, 25, 2_048
            config.log_every, config.sample_every, config.save_every = 100, 250, 500
            config.data = base.data(name="gaussians", on_device=True, options=TOYS[variant])
            config.model.update(nets="mlp", g_widths=(128,) * 3, d_widths=(128,) * 3, d_plain=(), latent_size=2)
            config.model.update(loss="non_saturating", conditional=False, half_life=0.0)
            settings(config.model, 1e-3, 0.5, 0.9, 5)
        case "cifar10":
            plain(config, "c")
            config.data = base.data(name="cifar10", on_device=True)
        case _ if variant.removeprefix("cifar10_") in SETTINGS:
            plain(config, variant.removeprefix("cifar10_"))
            config.data = base.data(name="cifar10", on_device=True)
        case "cifar10_resnet" | "cifar10_projection":
            residual(config, (256,) * 4, (128,) * 2, (128,) * 2, steps=50_000)  # 100,000 in the paper's text
            config.data = base.data(name="cifar10", on_device=True)
            config.model.update(head_bias=False, conditional=variant == "cifar10_projection")
        case "stl10":
            plain(config, "c")
            config.data = base.data(name="stl10", split="unlabelled", resolution=48, on_device=True)
        case "stl10_resnet":
            residual(config, (512, 256, 128, 64), (64, 128, 256, 512), (1024,), steps=50_000)
            config.data = base.data(name="stl10", split="unlabelled", resolution=48, on_device=True)
        case "imagenet128":
            widths = (64, 128, 256, 512, 1024)
            residual(config, (1024, *widths[::-1]), widths, (1024,), steps=450_000, decay_begin=400_000)
            config.data = base.data(name="imagenet2012", resolution=128, crop="center")
            config.model.conditional = True
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data.update(resolution=8, size=64)
            config.model.update(nets="resnet", g_widths=(8, 8), d_widths=(8,), d_plain=(8,), latent_size=8)
            config.model.head_bias = False  # between logits of -1 and 1 the hinge loss does not move it
            # Biases before a batch norm have gradients that are all rounding, of which Adam makes steps as large as the
            # rate: a small one keeps one device and eight together.
            settings(config.model, 1e-5, 0.0, 0.9, 2)
        case _:
            known = (*TOYS, "cifar10", *(f"cifar10_{name}" for name in SETTINGS), "cifar10_resnet")
            known += ("cifar10_projection", "stl10", "stl10_resnet", "imagenet128", "smoke")
            raise base.unknown_variant(variant, *known)
    return config


def settings(model, rate: float, b1: float, b2: float, rounds: int, decay_begin: int = 0, decay_steps: int = 0):
    """The same for both players. Decays count generator steps, of which the discriminator makes `rounds` each."""
    model.rounds = rounds
    for key, steps in (("g_optimizer", 1), ("d_optimizer", rounds)):
        decay = {"decay_begin": decay_begin * steps, "decay_steps": decay_steps * steps}
        model[key] = base.optimizer("adam", rate, b1=b1, b2=b2, **decay)


def plain(config, name: str):
    """Section 4.1: the plain network and 100,000 generator steps."""
    config.steps, config.log_every, config.sample_every, config.save_every = 100_000, 100, 5_000, 5_000
    config.model.update(g_widths=(512, 256, 128, 64), d_widths=(64, 128, 256), d_plain=(512,))
    config.model.update(loss="non_saturating", conditional=False, half_life=0.0)
    settings(config.model, *SETTINGS[name])


def residual(config, g_widths, d_widths, d_plain, steps: int, decay_begin: int = 0):
    """The authors' code: hinge loss, 64 images for the discriminator, 128 for the generator, a rate that falls to 0."""
    config.steps, config.log_every, config.sample_every, config.save_every = steps, 100, 1_000, 5_000
    config.model.update(nets="resnet", g_widths=g_widths, d_widths=d_widths, d_plain=d_plain)
    config.model.update(conditional=False, half_life=0.0)
    config.model.tricks.g_batches = 2
    settings(config.model, 2e-4, 0.0, 0.9, 5, decay_begin, steps - decay_begin)
