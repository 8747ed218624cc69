"""DCGAN. By default cartoon faces at 32x32, drawn by the library itself: nothing to download.

    python launch/main.py --config experiments/dcgan.py                    # at most ten minutes on two cores
    python launch/main.py --config experiments/dcgan.py:mnist              # 28x28 digits, through TFDS
    python launch/main.py --config experiments/dcgan.py:mnist_conditional  # the paper's conditional network
    python launch/main.py --config experiments/dcgan.py:cifar10
    python launch/main.py --config experiments/dcgan.py:lsun               # the paper's bedrooms at 64x64
    python launch/main.py --config experiments/dcgan.py:folder --config.data.path=/my/images --config.data.resolution=64
    python launch/main.py --config experiments/dcgan.py:smoke

Expect FID 28.95 on CIFAR-10 (mimicry's reimplementation); 2.98 % nearest-neighbour test error from 50,000 samples of
conditional MNIST (paper, table 3).
"""

from gan_jax import config as base


def get_config(variant="default"):
    config = base.defaults(gan="dcgan")
    config.steps, config.batch_size = 3_000, 64
    config.log_every, config.sample_every, config.save_every = 50, 250, 500
    config.data = base.data(name="faces", resolution=32, size=20_000, on_device=True)
    config.model = base.dict(
        g_width=32,  # half of the published width: a step takes a third of the time on two cores
        d_width=32,
        kernel=4,
        hidden=(),
        g_norm="batch",  # or "none", or "virtual" for virtual batch norm
        d_norm="batch",  # or "none"
        norm_units=False,
        affine=True,
        epsilon=1e-5,
        g_dropout=0.0,  # dropout and Gaussian noise in the generator's hidden layers
        g_noise=0.0,
        d_statistics="none",  # or "minibatch_discrimination", "minibatch_stddev"
        latent="normal",
        latent_size=100,
        loss="non_saturating",
        real_label=1.0,
        d_loss_scale=1.0,
        penalty="none",
        penalty_weight=0.0,
        rounds=1,
        updates="sequential",
        tricks=base.tricks(),  # noise, soft and flipped labels, replay, ...: gan_jax/tricks.py
        conditional=False,
        half_life=10_000.0,  # images; not the paper's, but a short training shows less noise
        g_optimizer=base.optimizer("adam", 2e-4, b1=0.5, b2=0.999),
        d_optimizer=base.optimizer("adam", 2e-4, b1=0.5, b2=0.999),
    )
    match variant:
        case "default":
            pass
        case "mnist":
            config.data = base.data(name="mnist", on_device=True)
        case "mnist_conditional":
            config.steps, config.batch_size = 200 * 195, 128  # epochs of 390 minibatches, two to a step
            config.data = base.data(name="mnist", split="train[:50000]", on_device=True)
            radford2015(config.model, l2=2.5e-5, decay_begin=100 * 195, decay_steps=100 * 195)
            config.model.update(g_width=64, d_width=64, hidden=(1024,), affine=False, conditional=True)
        case "cifar10":
            config.steps, config.log_every, config.sample_every, config.save_every = 100_000, 100, 5_000, 5_000
            config.data = base.data(name="cifar10", on_device=True)
            config.model.update(g_width=64, d_width=64, half_life=0.0)
        case "lsun":
            config.steps, config.batch_size, config.sample_every = 5 * 3_033_042 // 256, 128, 1_000
            config.data = base.data(name="lsun/bedroom", resolution=64, crop="center")
            radford2015(config.model, l2=1e-5)
            config.model.update(g_width=128, d_width=128)
        case "folder":
            config.steps, config.sample_every = 25_000, 1_000
            config.data = base.data(name="folder", crop="center")
            config.model.update(g_width=64, d_width=64)
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data.update(resolution=16, size=64)
            config.model.update(g_width=4, d_width=4, latent_size=8)
        case _:
            raise base.unknown_variant(variant, "mnist", "mnist_conditional", "cifar10", "lsun", "folder", "smoke")
    return config


def radford2015(model, **optimizer):
    """The settings of the authors' Theano code; `l2` is the weight of its penalty on all parameters."""
    model.update(kernel=5, norm_units=True, epsilon=1e-8, latent="uniform", updates="alternating", rounds=2)
    model.half_life = 0.0
    model.g_optimizer = base.optimizer("adam", 2e-4, b1=0.5, b2=0.999, **optimizer)
    model.d_optimizer = base.optimizer("adam", 2e-4, b1=0.5, b2=0.999, **optimizer)
