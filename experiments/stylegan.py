"""StyleGAN. By default cartoon faces grow from 8x8 to 32x32, drawn by the library itself.

    python launch/main.py --config experiments/stylegan.py                    # about ten minutes on two cores
    python launch/main.py --config experiments/stylegan.py:faces64            # an hour, or a GPU
    python launch/main.py --config experiments/stylegan.py:ffhq1024           # the code's setting for eight GPUs
    python launch/main.py --config experiments/stylegan.py:ffhq256
    python launch/main.py --config experiments/stylegan.py:celebahq1024       # with the loss of ProGAN
    python launch/main.py --config experiments/stylegan.py:ffhq1024_a         # table 1: ProGAN
    python launch/main.py --config experiments/stylegan.py:ffhq1024_b         # filtered, tuned
    python launch/main.py --config experiments/stylegan.py:ffhq1024_c         # mapping and styles
    python launch/main.py --config experiments/stylegan.py:ffhq1024_d         # a constant for the input
    python launch/main.py --config experiments/stylegan.py:ffhq1024_e         # noise
    python launch/main.py --config experiments/stylegan.py:ffhq1024_f         # mixing: the same as ffhq1024
    python launch/main.py --config experiments/stylegan.py:folder --config.data.path=/my/images
    python launch/main.py --config experiments/stylegan.py:smoke

FFHQ is a folder of PNG files: name it with --config.data.path. Afterwards, `launch/analyse.py` shows what the layers
have learned: `truncation --psi`, `mixing`, `noise`.

Expect on FFHQ, without truncation, FID 8.04, 5.25, 4.85, 4.88, 4.42 and 4.40 for configurations A to F (table 1); of
the networks that the authors released 4.42. On `faces`, by default, expect heads whose hair, glasses, skins, poses and
backgrounds differ, with features that are still smudged. There is no noise in this default: drawn faces have nothing
that is left to chance, and in so few steps noise takes the place of eyes and mouths.
"""

from gan_jax import config as base

TABLE_1 = {  # configuration A is ProGAN; each adds to those before it
    "a": {"smooth": "none", "first_side": 4, "mapping_layers": 0, "norm": "pixel", "style": "none", "start": "dense"}
    | {"noise": "none", "mixing": 0.0, "loss": "wasserstein", "penalty": "wgan_gp", "drift": 1e-3},
    "b": {"smooth": "binomial", "first_side": 8, "loss": "non_saturating", "penalty": "r1", "drift": 0.0},
    "c": {"mapping_layers": 8, "norm": "instance", "style": "adain"},
    "d": {"start": "constant"},
    "e": {"noise": "pixel"},
    "f": {"mixing": 0.9},
}


def get_config(variant="default"):
    config = base.defaults(gan="stylegan")
    config.steps, config.batch_size = 7_000, 16
    config.log_every, config.sample_every, config.save_every = 50, 250, 1_000
    config.data = base.data(name="faces", resolution=32, size=20_000, on_device=True)
    fall = {"decay_begin": 2_000, "decay_steps": 2_000}  # in updates since the last resolution has faded in
    config.model = base.dict(
        width=256,  # channels next to images of N pixels a side: 2 width / N
        most_width=32,  # or this, where that is more
        latent_size=64,  # of z and w
        mapping_layers=4,  # from z to w; 0 makes w of z alone
        mapping_rate=0.01,  # multiple of the learning rate there
        start="constant",  # what an image begins with; or "dense", made of w
        noise="none",  # or "pixel", for what is left to chance, of which drawn faces have nothing
        norm="instance",  # or "pixel", "none"
        style="adain",  # or "none"
        smooth="binomial",  # the filter where sides are doubled and halved, or "none"
        mixing=0.9,  # probability that two styles share an image in training
        psi=1.0,  # samples are this share of the way from the mean style
        cutoff=8,  # in so many layers
        stddev_group=4,  # examples whose deviation the discriminator sees together; 0 is all of a batch
        fused_from=0,  # sides are doubled and halved by fused kernels from this many pixels on
        first_side=8,  # of the first stage's images; the data's makes a network that does not grow
        fade_images=8_000,  # in which a new resolution fades in
        steady_images=16_000,  # in which it goes on learning
        last_images=64_000,  # and the last one
        batch_multiples=(),  # of batch_size, one for each stage; () is 1 for all
        rate_multiples=(),  # of the learning rates
        ramp_images=0,  # in which rates rise wherever an optimiser begins anew
        half_life=5_000.0,  # of the generator that is sampled, in images
        loss="non_saturating",
        real_label=1.0,
        d_loss_scale=1.0,
        penalty="r1",
        penalty_weight=10.0,  # gamma
        slope=1.0,  # that a penalty "wgan_gp" asks for
        drift=0.0,  # weight of the mean square of the logits of data
        rounds=1,  # moves of the discriminator in a step
        updates="sequential",
        tricks=base.tricks(),
        g_optimizer=base.optimizer("adam", 2e-3, b1=0.0, b2=0.99, **fall),
        d_optimizer=base.optimizer("adam", 2e-3, b1=0.0, b2=0.99, **fall),
    )
    match variant:
        case "default":
            pass
        case "faces64":
            config.steps = 8_500
            config.data.update(resolution=64)
            config.model.update(width=512, most_width=64, latent_size=128)
        case "ffhq1024" | "ffhq1024_f":
            official(config, 1024)
        case "ffhq256":
            official(config, 256)
        case "celebahq1024":
            official(config, 1024)
            config.data = base.data(name="celeb_a_hq/1024", flip=True)
            config.model.update(loss="wasserstein", penalty="wgan_gp", drift=1e-3)
            config.model.rate_multiples = (1.0, 1.0, 1.0, 1.0, 1.5, 2.0, 2.0, 2.0)
        case "ffhq1024_a" | "ffhq1024_b" | "ffhq1024_c" | "ffhq1024_d" | "ffhq1024_e":
            official(config, 1024)
            for letter, values in TABLE_1.items():
                if letter <= variant[-1]:
                    config.model.update(values)
            if variant[-1] == "a":
                config.model.update(half_life=22_172.0)  # .999 a step of 32
                schedule(config, 1024, 4)
        case "folder":
            official(config, 256)
            config.data.crop, config.steps = "center", 25_000_000 // config.batch_size
            config.model.update(batch_multiples=(), rate_multiples=())  # for images of any size
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 3, 3
            config.data.update(resolution=8, size=64)
            config.model.update(width=32, most_width=8, latent_size=8, mapping_layers=2, stddev_group=0, fused_from=8)
            # The bias after a constant has no gradient but what rounding makes of it, which differs between devices.
            config.model.update(first_side=4, start="dense", noise="pixel")
            config.model.update(fade_images=32, steady_images=32, last_images=32, batch_multiples=(1.0, 0.5))
        case _:
            letters = [f"ffhq1024_{letter}" for letter in TABLE_1]
            known = ("faces64", "ffhq1024", *letters, "ffhq256", "celebahq1024", "folder", "smoke")
            raise base.unknown_variant(variant, *known)
    return config


def official(config, side: int):
    """The authors' networks and training, for images of this many pixels a side."""
    config.log_every, config.sample_every, config.save_every, config.preview = 100, 5_000, 5_000, 16
    config.data = base.data(name="folder", resolution=side, flip=True)
    config.model.update(width=8192, most_width=512, latent_size=512, mapping_layers=8, noise="pixel")
    config.model.update(half_life=10_000.0, penalty_weight=10.0, fused_from=128)
    for key in ("g_optimizer", "d_optimizer"):
        config.model[key].update(learning_rate=1e-3, decay_begin=0, decay_steps=0)
    schedule(config, side, 8)


def schedule(config, side: int, first: int):
    """25 million images in all, 600,000 of each fading and each steady phase; batches and rates of eight GPUs."""
    sides = [2**k for k in range(2, 11) if first <= 2**k <= side]
    phase, total, size = 600_000, 25_000_000, 32
    multiples = {4: 16.0, 8: 8.0, 16: 4.0, 32: 2.0}
    rates = {128: 1.5, 256: 2.0, 512: 3.0, 1024: 3.0}
    last = total - phase * (2 * len(sides) - 2)
    config.model.update(fade_images=phase, steady_images=phase, last_images=last)
    config.model.batch_multiples = tuple(multiples.get(side, 1.0) for side in sides)
    config.model.rate_multiples = tuple(rates.get(side, 1.0) for side in sides)
    shown = [phase, *[2 * phase] * (len(sides) - 2), phase + last]
    sizes = [size * multiple for multiple in config.model.batch_multiples]
    config.batch_size, config.steps = size, round(sum(a / b for a, b in zip(shown, sizes, strict=True)))
