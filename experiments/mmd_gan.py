"""MMD GAN, its ancestor and its successors. By default GMMN, which has no critic, on eight Gaussians on a ring.

    python launch/main.py --config experiments/mmd_gan.py                # ring of 8, half a minute on two cores
    python launch/main.py --config experiments/mmd_gan.py:ring           # the same
    python launch/main.py --config experiments/mmd_gan.py:grid           # 25 modes
    python launch/main.py --config experiments/mmd_gan.py:swiss_roll
    python launch/main.py --config experiments/mmd_gan.py:ring_critic    # the ring again, with a critic
    python launch/main.py --config experiments/mmd_gan.py:mnist          # Li et al., 2017, here and in the next three
    python launch/main.py --config experiments/mmd_gan.py:cifar10
    python launch/main.py --config experiments/mmd_gan.py:celeba
    python launch/main.py --config experiments/mmd_gan.py:lsun
    python launch/main.py --config experiments/mmd_gan.py:binkowski2018  # "Demystifying MMD GANs", CIFAR-10
    python launch/main.py --config experiments/mmd_gan.py:wang2019       # the repulsive loss, CIFAR-10
    python launch/main.py --config experiments/mmd_gan.py:smoke

Expect 8 of 8 modes on the ring. On CIFAR-10 an Inception score of 6.17 for MMD GAN (paper, table 1), an FID near 40 for
`:binkowski2018` and of 17 to 19 for `:wang2019`.
"""

from gan_jax import config as base

TOYS, IMAGES = ("ring", "grid", "swiss_roll", "ring_critic"), ("mnist", "cifar10", "celeba", "lsun")
KNOWN = (*TOYS, *IMAGES, "binkowski2018", "wang2019", "smoke")


def get_config(variant="default"):
    config = base.defaults(gan="mmd_gan")
    config.steps, config.batch_size, config.steps_per_call = 2_000, 256, 50
    config.log_every, config.sample_every, config.save_every = 200, 500, 1_000
    config.preview = 2_048
    config.data = base.data(name="gaussians", on_device=True, options=base.dict(kind="ring", std=0.05))
    config.model = base.dict(
        critic="none",  # GMMN; or "learned"
        nets="mlp",  # or "li2017", "binkowski2018", "wang2019"
        width=128,  # hidden units, or channels next to the image
        features=16,  # of the critic
        kernel="mix_rbf",  # or "mix_rq", "mix_rq_dot"
        scales=(0.05, 0.1, 0.2, 0.4, 0.8),  # sigmas, or alphas
        loss="mmd2",  # or "mmd", its root; "repulsive", "repulsive_bounded"
        rank_weight=0.0,  # of the order of mean features, for both players
        autoencoder_weight=0.0,  # of the reconstruction error; 0 has no decoder
        penalty="witness",  # or "witness_columns"
        penalty_weight=0.0,
        slope=1.0,  # that the witness is to have
        activation_weight=0.0,  # of the critic's squared activations
        clip=0.0,  # of the encoder's weights; 0 leaves them
        gradient_clip=0.0,  # of the norm of each variable's gradient; 0 leaves them
        rounds=1,  # critic moves in a step
        schedule="constant",  # or "released": 100 critic moves now and then
        latent="normal",
        latent_size=2,
        half_life=0.0,  # of the averaged generator, in images; 0 samples the generator itself
        g_optimizer=base.optimizer("adam", 1e-3, b1=0.9, b2=0.999),
        d_optimizer=base.optimizer("adam", 1e-3, b1=0.9, b2=0.999),
    )
    match variant:
        case "default" | "ring":
            pass
        case "grid":
            config.steps = 4_000
            config.data.options = base.dict(kind="grid", std=0.05)
        case "swiss_roll":
            config.data.options = base.dict(kind="swiss_roll")
        case "ring_critic":
            with_critic(config)
        case "mnist":
            config.data = base.data(name="mnist", resolution=32, on_device=True)
            li2017(config, size=10)
        case "cifar10":
            config.data = base.data(name="cifar10", on_device=True)
            li2017(config, size=128)
        case "celeba":
            config.data = base.data(name="celeb_a", resolution=64, crop="center")
            li2017(config, size=64)
        case "lsun":
            config.data = base.data(name="lsun/bedroom", resolution=64, crop="center")
            li2017(config, size=128)
        case "binkowski2018":
            binkowski2018(config)
        case "wang2019":
            wang2019(config)
        case "smoke":
            with_critic(config)
            config.steps, config.batch_size, config.steps_per_call, config.preview = 6, 64, 1, 64
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.model.update(width=32, features=4, rounds=2, autoencoder_weight=8.0, rank_weight=1.0)
        case _:
            raise base.unknown_variant(variant, *KNOWN)
    return config


def with_critic(config):
    """A critic for points, after Bińkowski et al. (2018)."""
    config.steps = 2_000
    config.model.update(
        critic="learned", kernel="mix_rq", scales=(0.2, 0.5, 1.0, 2.0, 5.0), penalty_weight=1.0, rounds=5
    )
    config.model.g_optimizer = base.optimizer("adam", 1e-3, b1=0.5, b2=0.9)
    config.model.d_optimizer = base.optimizer("adam", 1e-3, b1=0.5, b2=0.9)


def on_images(config, steps):
    config.steps, config.batch_size, config.steps_per_call, config.preview = steps, 64, 1, 64
    config.log_every, config.sample_every, config.save_every = 100, 1_000, 1_000


def li2017(config, size):
    """`run_exp.sh` of the authors: as many features as latents. How long they train is not said."""
    on_images(config, steps=50_000)
    config.model.update(critic="learned", nets="li2017", width=64, features=size, latent_size=size)
    config.model.update(scales=(1.0, 2.0, 4.0, 8.0, 16.0), loss="mmd", rank_weight=16.0, autoencoder_weight=8.0)
    config.model.update(clip=0.01, rounds=5, schedule="released")
    config.model.g_optimizer = base.optimizer("rmsprop", 5e-5, b1=0.0, b2=0.99)
    config.model.d_optimizer = base.optimizer("rmsprop", 5e-5, b1=0.0, b2=0.99)


def binkowski2018(config):
    """`cifar10.sh` of the authors, with the paper's alphas; the code's are .1, 1 and 10."""
    on_images(config, steps=150_000)
    config.data = base.data(name="cifar10", on_device=True)
    config.model.update(critic="learned", nets="binkowski2018", width=64, features=16)
    config.model.update(kernel="mix_rq_dot", scales=(0.2, 0.5, 1.0, 2.0, 5.0), loss="mmd2")
    # Slopes of 1 on images in [0, 1] are slopes of 1/2 on ours, in [-1, 1]: (2 s - 1)^2 = 4 (s - 1/2)^2.
    config.model.update(penalty_weight=4.0, slope=0.5, activation_weight=1.0, gradient_clip=1.0, rounds=5)
    config.model.update(latent="uniform", latent_size=100)
    config.model.g_optimizer = base.optimizer("adam", 1e-4, b1=0.5, b2=0.9)
    config.model.d_optimizer = base.optimizer("adam", 1e-4, b1=0.5, b2=0.9)


def wang2019(config):
    """The bounded repulsive loss; the paper chooses among rates of both players."""
    on_images(config, steps=100_000)
    config.data = base.data(name="cifar10", on_device=True)
    config.model.update(critic="learned", nets="wang2019", width=64, features=16)
    config.model.update(kernel="mix_rbf", scales=(1.0,), loss="repulsive_bounded", latent_size=128)
    config.model.g_optimizer = base.optimizer("adam", 1e-4, b1=0.5, b2=0.999)
    config.model.d_optimizer = base.optimizer("adam", 2e-4, b1=0.5, b2=0.999)
