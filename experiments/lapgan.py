"""LAPGAN. By default cartoon faces at 32x32 through the pyramid 8, 16, 32, drawn by the library itself.

    python launch/main.py --config experiments/lapgan.py                      # minutes on two cores
    python launch/main.py --config experiments/lapgan.py:cifar10              # the authors' networks
    python launch/main.py --config experiments/lapgan.py:cifar10_conditional
    python launch/main.py --config experiments/lapgan.py:cifar10_sgd          # with the authors' descent as well
    python launch/main.py --config experiments/lapgan.py:stl                  # 8, 16, 32, 64, 96
    python launch/main.py --config experiments/lapgan.py:lsun                 # 4, 8, 16, 32, 64, `small`, gated
    python launch/main.py --config experiments/lapgan.py:lsun_large
    python launch/main.py --config experiments/lapgan.py:smoke

Each level is a stage; all have the same number of steps. A step takes two minibatches of `batch_size`, so 64 is the
authors' batch of 128, half of it generated.

Expect no score to compare with: the paper reports that people took 40 % of its class-conditional samples of CIFAR-10
for real, and Parzen-window likelihoods that need the authors' code. Every level's `accuracy/d` should stay below .8 and
its `loss/d` above .5, of at most .69 where the discriminator is lost.
"""

from gan_jax import config as base


def get_config(variant="default"):
    config = base.defaults(gan="lapgan")
    config.steps, config.batch_size = 3_000, 32
    config.log_every, config.sample_every, config.save_every = 50, 250, 500
    config.data = base.data(name="faces", resolution=32, size=20_000, on_device=True)
    config.model = base.dict(
        coarser=(8, 16),  # heights of the levels below that of the data
        nets=("conv", "conv"),  # of each of the finer levels; also "grouped" and "dense"
        g_width=16,  # channels of "conv"; the authors' 64 take sixteen times as long
        d_width=16,
        dense_width=1024,  # units of the generator in "dense"; the discriminator has half of them
        coarsest="relu",  # or "sigmoid", the activation of the second layer of `train_cifar.lua`
        g_hidden=(600, 600),  # of the coarsest level
        d_hidden=(600, 600),
        latent_size=100,
        dropout=0.5,  # of the coarsest discriminator
        dropout_conv=0.5,  # of those in "conv"; 0 in the authors' code for LSUN
        up="linear",  # or "nearest"
        pixels="standardised",  # or "unchanged"
        gate="none",  # or "lsun": one player at a time, as the losses say
        conditional=False,
        half_life=0.0,  # of the averaged generators, in images; 0 samples the generators themselves
        g_optimizer=base.optimizer("adam", 2e-4, b1=0.5),  # ours: the authors' descent is slow and fragile
        d_optimizer=base.optimizer("adam", 2e-4, b1=0.5),
    )
    match variant:
        case "default":
            pass
        case "cifar10":
            cifar10(config)
        case "cifar10_conditional":
            cifar10(config)
            config.model.update(coarsest="relu", conditional=True)
        case "cifar10_sgd":
            cifar10(config)
            config.model.update(g_optimizer=eyescream_sgd(), d_optimizer=eyescream_sgd())
        case "stl":
            cifar10(config)
            config.steps, config.sample_every = 5 * 40_000, 5_000
            config.data = base.data(name="stl10", split="unlabelled", on_device=False)
            config.model.update(coarser=(8, 16, 32, 64), nets=("conv",) * 4)
        case "lsun":
            lsun(config, "conv")
        case "lsun_large":
            lsun(config, "grouped")
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data.update(resolution=16, size=64)
            config.model.update(coarser=(4, 8), nets=("dense", "conv"), g_width=4, d_width=4, dense_width=16)
            config.model.update(g_hidden=(16, 16), d_hidden=(16, 16), latent_size=8)
        case _:
            known = ("cifar10", "cifar10_conditional", "cifar10_sgd", "stl", "lsun", "lsun_large", "smoke")
            raise base.unknown_variant(variant, *known)
    return config


def cifar10(config):
    """The settings of the authors' scripts for CIFAR-10."""
    config.steps, config.batch_size = 3 * 40_000, 64
    config.log_every, config.sample_every, config.save_every = 100, 5_000, 5_000
    config.data = base.data(name="cifar10", split="train[:45000]", on_device=True)
    config.model.update(g_width=64, d_width=64, coarsest="sigmoid", g_hidden=(8000, 8000), d_hidden=(1600, 1600))


def lsun(config, nets):
    """The settings of the authors' code for bedrooms; `nets` are those of the levels from 16 pixels on."""
    config.steps, config.batch_size = 5 * 50_000, 64
    config.log_every, config.sample_every, config.save_every = 100, 5_000, 5_000
    config.data = base.data(name="lsun/bedroom", resolution=64, crop="center")
    config.model.update(coarser=(4, 8, 16, 32), nets=("dense", *[nets] * 3), g_width=128, d_width=64, gate="lsun")
    config.model.update(dropout_conv=0.0, g_optimizer=eyescream_sgd(), d_optimizer=eyescream_sgd())


def eyescream_sgd():
    """Momentum from 0 to .7."""
    return base.optimizer("eyescream_sgd", 0.02, b1=0.0, b2=0.7)
