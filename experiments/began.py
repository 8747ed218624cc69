"""BEGAN. By default cartoon faces at 32x32, drawn by the library itself: nothing to download.

    python launch/main.py --config experiments/began.py               # minutes on two cores
    python launch/main.py --config experiments/began.py:celeba        # 64x64, as the widely used implementation has it
    python launch/main.py --config experiments/began.py:celeba_paper  # with what only the paper describes
    python launch/main.py --config experiments/began.py:cifar10
    python launch/main.py --config experiments/began.py:smoke

Watch `convergence` fall, and `diversity/fake` beside `diversity/real`: the first does not notice a collapse. More
diversity comes with `--config.model.gamma=0.7`.

Expect an Inception score of 5.62 on CIFAR-10 (paper, table 1); on CelebA the paper has pictures only.
"""

from gan_jax import config as base


def get_config(variant="default"):
    config = base.defaults(gan="began")
    config.steps, config.batch_size = 3_000, 16
    config.log_every, config.sample_every, config.save_every = 50, 250, 500
    config.data = base.data(name="faces", resolution=32, size=20_000, on_device=True)
    config.model = base.dict(
        nets="convolutional",  # or "mlp", for small images
        width=16,  # channels, the paper's n, 64 or 128
        latent="uniform",
        latent_size=32,
        hidden=32,  # size of the autoencoder's code
        skip="none",  # "concat" joins a decoder's first tensor to every level
        residual_steps=0,  # steps until layers carry nothing of their input; 0 has no vanishing residuals
        gamma=0.7,  # the diversity ratio
        gain=0.005,  # lambda_k; faster than the paper's 0.001, for a training as short as this
        distance="l1",  # or "l2": the paper's eta
        noise="shared",  # or "separate": whether the autoencoder sees the samples that the generator is judged by
        lr_rule="step",  # or "plateau"
        lr_every=100_000,  # steps: the period of "step", the span that "plateau" compares
        lr_floor=0.25,  # share of the first rates, 2e-5 of 8e-5
        half_life=0.0,  # of the averaged generator, in images; 0 samples the generator itself
        g_optimizer=base.optimizer("adam", 4e-4, b1=0.5),
        d_optimizer=base.optimizer("adam", 4e-4, b1=0.5),
    )
    match variant:
        case "default":
            pass
        case "celeba":
            celeba(config)
        case "celeba_paper":
            celeba(config)
            config.model.update(skip="concat", residual_steps=16_000, noise="separate", lr_rule="plateau")
        case "cifar10":
            published(config)
            config.data = base.data(name="cifar10", on_device=True)
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data.update(resolution=16, size=64)
            config.model.update(width=4, latent_size=8, hidden=8, skip="concat", residual_steps=4, lr_rule="plateau")
        case _:
            raise base.unknown_variant(variant, "celeba", "celeba_paper", "cifar10", "smoke")
    return config


def celeba(config):
    published(config)
    config.data = base.data(name="celeb_a", resolution=64, crop="center")


def published(config):
    """What holds for every image size. TensorFlow's Adam keeps b1 = .9 in that implementation, whatever its config
    says; the paper says no more than Adam."""
    config.steps, config.log_every, config.sample_every, config.save_every = 500_000, 100, 5_000, 5_000
    config.model.update(width=128, latent_size=64, hidden=64, gamma=0.5, gain=0.001)
    config.model.g_optimizer = base.optimizer("adam", 8e-5, b1=0.9)
    config.model.d_optimizer = base.optimizer("adam", 8e-5, b1=0.9)
