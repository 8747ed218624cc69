"""The conditional GAN. By default grey shapes of four classes at 16x16, drawn by the library itself.

    python launch/main.py --config experiments/cgan.py            # minutes on two cores
    python launch/main.py --config experiments/cgan.py:mnist      # the paper's networks, with Adam
    python launch/main.py --config experiments/cgan.py:mirza2014  # the paper's own descent
    python launch/main.py --config experiments/cgan.py:smoke

The convolutional conditional GAN is experiments/dcgan.py:mnist_conditional.

Expect samples of the class that was asked for, on MNIST 98 to 99 % of them in the eyes of a classifier
(`benchmarks/recognised.py`); the paper reports a Parzen-window log-likelihood of 132 +- 1.8 nats there (table 1).
"""

from gan_jax import config as base


def get_config(variant="default"):
    config = base.defaults(gan="cgan")
    config.steps, config.batch_size, config.steps_per_call = 5_000, 128, 10
    config.log_every, config.sample_every, config.save_every = 100, 500, 1_000
    config.data = base.data(name="shapes", resolution=16, channels=1, size=20_000, on_device=True)
    config.data.options = base.dict(
        only=("ring", "square", "triangle", "cross")
    )  # the others are alike in so few pixels
    config.model = base.dict(
        g_units=(200, 1000, 1200),  # hidden units of the noise, of the label, of both together
        d_units=(240, 50, 240),  # maxout units of the image, of the label, of both together
        g_dropout=0.0,  # after every hidden layer, in training; it takes the place of the noise, which is then ignored
        d_dropout=0.5,
        latent="normal",  # with the paper's unit hypercube and these initial weights noise is hardly heard
        latent_size=100,
        loss="non_saturating",
        real_label=1.0,
        d_loss_scale=1.0,
        penalty="none",
        penalty_weight=0.0,
        rounds=1,
        updates="sequential",
        tricks=base.tricks(),  # noise, soft and flipped labels, ...: gan_jax/tricks.py
        conditional=True,
        half_life=0.0,  # of the averaged generator, in images; 0 samples the generator itself
        g_optimizer=base.optimizer("adam", 2e-4, b1=0.5, b2=0.999),  # not the paper's, see `:mirza2014`
        d_optimizer=base.optimizer("adam", 2e-4, b1=0.5, b2=0.999),
    )
    match variant:
        case "default":
            pass
        case "mnist":
            config.steps, config.sample_every = 100 * 468, 2_340  # epochs
            config.data = base.data(name="mnist", on_device=True)
            config.model.half_life = 100_000.0  # not the paper's either; samples of its own class are a hundredth more
        case "mirza2014":
            config.steps, config.batch_size, config.sample_every = 288_000, 100, 5_000  # until the rate has come down
            config.data = base.data(name="mnist", on_device=True)
            config.model.update(updates="simultaneous", d_loss_scale=0.5, g_dropout=0.5, latent="unit_hypercube")
            config.model.g_optimizer = base.optimizer("mirza_sgd", 0.1, b1=0.5, b2=0.7)
            config.model.d_optimizer = base.optimizer("mirza_sgd", 0.1, b1=0.5, b2=0.7)
        case "smoke":
            config.steps, config.batch_size, config.steps_per_call, config.preview = 6, 16, 1, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data.update(resolution=8, size=64)
            config.model.update(g_units=(16, 16, 32), d_units=(16, 8, 16), latent_size=8)
        case _:
            raise base.unknown_variant(variant, "mnist", "mirza2014", "smoke")
    return config
