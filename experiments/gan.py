"""The first GAN. By default eight Gaussians on a ring, with perceptrons; `:mnist` is the paper's own setting.

    python launch/main.py --config experiments/gan.py            # ring of 8, a minute on two cores
    python launch/main.py --config experiments/gan.py:grid       # 25 modes
    python launch/main.py --config experiments/gan.py:swiss_roll
    python launch/main.py --config experiments/gan.py:mnist      # `mnist.yaml` of the authors
    python launch/main.py --config experiments/gan.py:smoke

Expect 5 to 7 of the 8 modes: plain GANs drop modes, and so does this one. A gradient penalty finds all eight:
    python launch/main.py --config experiments/gan.py --config.model.penalty=wgan_gp --config.model.penalty_weight=0.1

On MNIST the paper reports a Parzen-window log-likelihood of 225 +- 2 nats (table 1).
"""

from gan_jax import config as base


def get_config(variant="default"):
    config = base.defaults(gan="gan")
    config.steps, config.batch_size, config.steps_per_call = 4_000, 256, 50
    config.log_every, config.sample_every, config.save_every = 200, 500, 1_000
    config.preview = 2_048
    config.data = base.data(name="gaussians", on_device=True, options=base.dict(kind="ring", std=0.05))
    config.model = base.dict(
        nets="mlp",  # "goodfellow2014" for the networks of the paper
        widths=(128, 128, 128),
        g_dropout=0.0,  # dropout and Gaussian noise in the generator's hidden layers
        g_noise=0.0,
        d_statistics="none",  # or "minibatch_discrimination", "minibatch_stddev"
        latent="normal",
        latent_size=2,
        loss="non_saturating",
        real_label=1.0,  # 0.9 is one-sided label smoothing
        d_loss_scale=1.0,  # 0.5 in the authors' code
        penalty="none",
        penalty_weight=0.0,
        rounds=1,  # the k of Algorithm 1
        updates="sequential",
        tricks=base.tricks(),  # noise, soft and flipped labels, replay, ...: gan_jax/tricks.py
        conditional=False,
        half_life=0.0,  # of the averaged generator, in images; 0 samples the generator itself
        g_optimizer=base.optimizer("adam", 1e-3, b1=0.5, b2=0.9),
        d_optimizer=base.optimizer("adam", 1e-3, b1=0.5, b2=0.9),
    )
    match variant:
        case "default":
            pass
        case "grid":
            config.data.options = base.dict(kind="grid", std=0.05)
        case "swiss_roll":
            config.data.options = base.dict(kind="swiss_roll")
        case "mnist":
            config.steps, config.batch_size, config.preview = 250 * 500, 100, 64
            config.data = base.data(name="mnist", on_device=True)
            config.model.update(nets="goodfellow2014", widths=(1200, 1200), latent_size=100)
            config.model.update(latent="uniform_unit_variance", updates="simultaneous", d_loss_scale=0.5)
            config.model.g_optimizer = base.optimizer("goodfellow_sgd", 0.1, b1=0.5, b2=0.7)
            config.model.d_optimizer = base.optimizer("goodfellow_sgd", 0.1, b1=0.5, b2=0.7)
        case "smoke":
            config.steps, config.batch_size, config.steps_per_call, config.preview = 6, 64, 1, 64
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.model.widths = (32, 32)
        case _:
            raise base.unknown_variant(variant, "grid", "swiss_roll", "mnist", "smoke")
    return config
