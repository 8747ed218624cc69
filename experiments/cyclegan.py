"""CycleGAN. By default red shapes to blue ones and back at 32x32, drawn by the library itself: nothing to download.

    python launch/main.py --config experiments/cyclegan.py                 # minutes on two cores
    python launch/main.py --config experiments/cyclegan.py:squares         # circles to squares of their colour
    python launch/main.py --config experiments/cyclegan.py:night           # faces by day to others at night; hours
    python launch/main.py --config experiments/cyclegan.py:horse2zebra --config.data.path=/my/horse2zebra
    python launch/main.py --config experiments/cyclegan.py:apple2orange --config.data.path=/my/apple2orange
    python launch/main.py --config experiments/cyclegan.py:summer2winter --config.data.path=/my/summer2winter_yosemite
    python launch/main.py --config experiments/cyclegan.py:monet2photo --config.data.path=/my/monet2photo
    python launch/main.py --config experiments/cyclegan.py:maps --config.data.path=/my/maps
    python launch/main.py --config experiments/cyclegan.py:cityscapes --config.data.path=/my/cityscapes  # 128x128
    python launch/main.py --config experiments/cyclegan.py:facades128 --config.data.path=/my/facades128  # 128x128
    python launch/main.py --config experiments/cyclegan.py:smoke

The path is that of a folder with `trainA` and `trainB` (and `testA` and `testB`) in it.

Expect, on Cityscapes, a per-pixel accuracy of .52 of an FCN-8s on labels to photo, .58 the other way (paper, tables 2
and 3).
"""

from gan_jax import config as base

PAPER = {  # images of the larger side, and pixels a side
    "horse2zebra": (1334, 256),
    "apple2orange": (1020, 256),
    "summer2winter": (1273, 256),
    "monet2photo": (6853, 256),
    "maps": (1096, 256),
    "cityscapes": (2975, 128),
    "facades128": (120, 128),  # not the paper's
}


def get_config(variant="default"):
    config = base.defaults(gan="cyclegan")
    config.steps, config.batch_size, config.preview = 1_200, 4, 24
    config.log_every, config.sample_every, config.save_every = 25, 200, 400
    config.data = base.data(name="red_to_blue", resolution=32, size=4_000, on_device=True)
    config.model = base.dict(
        nets="resnet",  # or "unet"
        g_width=16,  # a quarter of the paper's
        blocks=3,  # 9 for 256x256, 6 for 128x128
        d_width=16,
        patch=34,  # side of what one logit judges: 1, 16, 34, 70, 142 or 286
        loss="least_squares",
        d_loss_scale=1.0,  # of a loss that has a factor 1/2 of its own
        g_loss_scale=2.0,
        cycle=10.0,  # weight of the way back
        identity=0.0,  # share of it for images that are there already; 0.5 in the authors' code
        pool=50,  # translations that a critic may be shown again; 0 is only new ones
        g_optimizer=base.optimizer("adam", 2e-4, b1=0.5, b2=0.999),
        d_optimizer=base.optimizer("adam", 2e-4, b1=0.5, b2=0.999),
    )
    match variant:
        case "default":
            pass
        case "squares":
            config.data.name, config.steps, config.model.identity = "circles_to_squares", 4_000, 0.5
        case "night":
            config.data.name = "day_to_night"
        case _ if variant in PAPER:
            paper(config, *PAPER[variant])
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data.update(resolution=8, size=64)
            config.model.update(g_width=4, blocks=1, d_width=4, patch=16, identity=0.5, pool=150)
            # Instance norm undoes the biases before it: their gradients are all rounding, of which Adam makes steps as
            # large as the rate; a small one keeps one device and eight together.
            for section in (config.model.g_optimizer, config.model.d_optimizer):
                section.learning_rate = 1e-5
        case _:
            raise base.unknown_variant(variant, "squares", "night", *PAPER, "smoke")
    return config


def paper(config, epoch: int, side: int):
    """Windows of 256 from 286 pixels (128 from 143), mirrored at random; a constant rate for 100 epochs, then one that
    falls by 1/101 of it in each of 100."""
    config.steps, config.batch_size, config.preview = 200 * epoch, 1, 16
    config.log_every, config.sample_every, config.save_every = 100, 1_000, 5_000
    options = base.dict(direction="AtoB", enlarged=base.size(side * 143 // 128))
    config.data = base.data(name="unpaired", resolution=side, crop="random", flip=True, options=options)
    config.model.update(g_width=64, blocks=9 if side >= 256 else 6, d_width=64, patch=70, identity=0.5)
    for section in (config.model.g_optimizer, config.model.d_optimizer):
        section.update(decay_begin=99 * epoch, decay_steps=101 * epoch)
