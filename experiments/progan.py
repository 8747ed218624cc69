"""ProGAN. By default cartoon faces grow from 4x4 to 32x32, drawn by the library itself.

    python launch/main.py --config experiments/progan.py                      # minutes on two cores
    python launch/main.py --config experiments/progan.py --config.model.first_side=32      # the same, not grown
    python launch/main.py --config experiments/progan.py:faces64              # an hour, or a GPU
    python launch/main.py --config experiments/progan.py:celebahq1024         # the code's setting for eight GPUs
    python launch/main.py --config experiments/progan.py:celebahq1024_paper   # the paper's
    python launch/main.py --config experiments/progan.py:celeba128            # the paper's ablation, row h
    python launch/main.py --config experiments/progan.py:lsun256              # bedrooms
    python launch/main.py --config experiments/progan.py:cifar10
    python launch/main.py --config experiments/progan.py:folder --config.data.path=/my/images
    python launch/main.py --config experiments/progan.py:smoke

Each resolution is a stage with pictures of its own size. `fade_images` and the like say how a run is shared out among
them; with another `--config.steps` all of it is stretched alike.

Expect an Inception score of 8.56 +- .06 on CIFAR-10 (best 8.80); FID 7.30 on CelebA-HQ at 1024x1024, 8.34 on bedrooms
at 256x256; a sliced Wasserstein distance of .00296 on CelebA at 128x128. The paper's crop of CelebA is 128x128 pixels
around (121, 89); here it is the centre's square of 178x178, reduced. On `faces` expect faces, soft at the edges, with
hair and glasses, and `score/real - score/fake` below 1 at the end.
"""

from gan_jax import config as base


def get_config(variant="default"):
    config = base.defaults(gan="progan")
    config.steps, config.batch_size = 6_000, 16
    config.log_every, config.sample_every, config.save_every = 50, 500, 1_000
    config.data = base.data(name="faces", resolution=32, size=20_000, on_device=True)
    config.model = base.dict(
        width=512,  # channels next to images of N pixels a side: 2 width / N
        most_width=32,  # or this, where that is more
        norm="pixel",  # of the generator's features, or "none"
        stddev_group=4,  # examples whose deviation the discriminator sees together; 0 is all of a batch
        fused_from=0,  # sides are doubled and halved by fused kernels from this many pixels on
        first_side=4,  # of the first stage's images; the data's makes a network that does not grow
        fade_images=16_000,  # in which a new resolution fades in
        steady_images=16_000,  # in which it goes on learning
        last_images=32_000,  # and the last one
        batch_multiples=(),  # of batch_size, one for each stage; () is 1 for all
        rate_multiples=(),  # of the learning rates
        ramp_images=0,  # in which rates rise wherever an optimiser begins anew
        average=0.999,  # decay per step of the generator that is sampled
        latent="normal",
        latent_size=128,
        loss="wasserstein",
        real_label=1.0,
        d_loss_scale=1.0,
        penalty="wgan_gp",
        penalty_weight=10.0,
        slope=1.0,  # that the gradient penalty asks for, where that is the penalty
        drift=1e-3,  # weight of the mean square of the logits of data
        rounds=1,  # moves of the discriminator in a step
        updates="sequential",
        tricks=base.tricks(),
        g_optimizer=base.optimizer("adam", 1e-3, b1=0.0, b2=0.99),
        d_optimizer=base.optimizer("adam", 1e-3, b1=0.0, b2=0.99),
    )
    match variant:
        case "default":
            pass
        case "faces64":
            config.steps = 20_000
            config.data.update(resolution=64)
            config.model.update(width=2048, most_width=128)
        case "celebahq1024":
            official(config, batch_size=32, images=12_000_000, phase=600_000, count=9)
            config.data = base.data(name="celeb_a_hq/1024", flip=True)
            config.model.batch_multiples = (16.0, 8.0, 4.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0)
            config.model.rate_multiples = (1.0, 1.0, 1.0, 1.0, 1.0, 1.5, 2.0, 3.0, 3.0)
            config.steps = 277_734
        case "celebahq1024_paper":
            official(config, batch_size=16, images=19_000_000, phase=800_000, count=9)
            config.data = base.data(name="celeb_a_hq/1024", flip=True)
            config.model.update(batch_multiples=(1.0,) * 6 + (14 / 16, 6 / 16, 3 / 16), ramp_images=40_000)
            config.model.stddev_group, config.steps = 0, 3_264_286
        case "celeba128":
            official(config, batch_size=16, images=10_000_000, phase=800_000, count=6)
            config.data = base.data(name="celeb_a", resolution=128, crop="center", flip=True)
            config.model.update(width=2048, stddev_group=0)
        case "lsun256":
            official(config, batch_size=16, images=20_000_000, phase=800_000, count=7)
            config.data = base.data(name="lsun/bedroom", resolution=256, crop="center", flip=True)
            config.model.update(batch_multiples=(1.0,) * 6 + (14 / 16,), stddev_group=0)
            config.steps = 1_350_000
        case "cifar10":
            official(config, batch_size=16, images=20_000_000, phase=400_000, count=4)
            config.data = base.data(name="cifar10", resolution=32, on_device=True)
            config.model.update(width=4096, most_width=128, latent_size=128, stddev_group=0, slope=750.0)
            config.model.updates = "simultaneous"  # both players move on the same fakes
        case "folder":
            official(config, batch_size=32, images=12_000_000, phase=600_000, count=7)
            config.data = base.data(name="folder", resolution=256, crop="center", flip=True)
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 3, 3
            config.data.update(resolution=8, size=64)
            config.model.update(width=32, most_width=8, latent_size=8, stddev_group=0, ramp_images=32)
            config.model.update(fade_images=32, steady_images=32, last_images=32, batch_multiples=(1.0, 0.5))
        case _:
            known = (
                "faces64",
                "celebahq1024",
                "celebahq1024_paper",
                "celeba128",
                "lsun256",
                "cifar10",
                "folder",
                "smoke",
            )
            raise base.unknown_variant(variant, *known)
    return config


def official(config, batch_size: int, images: int, phase: int, count: int):
    """The authors' network, and their schedule: so many images in all, fading and steady phases of `phase` images at
    each of `count` resolutions, the rest at the last one."""
    config.batch_size, config.steps = batch_size, images // batch_size
    config.log_every, config.sample_every, config.save_every, config.preview = 100, 5_000, 5_000, 16
    config.model.update(width=8192, most_width=512, latent_size=512)
    config.model.update(fade_images=phase, steady_images=phase, last_images=images - phase * 2 * (count - 1))
