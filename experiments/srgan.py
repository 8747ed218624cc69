"""SRGAN. By default strokes of 8x8 pixels to 32x32, drawn by the library itself: nothing to download.

    python launch/main.py --config experiments/srgan.py                  # minutes on two cores
    python launch/main.py --config experiments/srgan.py:folder --config.data.path=/my/photos     # small networks
    python launch/main.py --config experiments/srgan.py:imagenet         # the paper's SRGAN (VGG54)
    python launch/main.py --config experiments/srgan.py:vgg22            # its SRGAN-VGG22
    python launch/main.py --config experiments/srgan.py:mse              # its SRGAN-MSE
    python launch/main.py --config experiments/srgan.py:srresnet         # its SRResNet
    python launch/main.py --config experiments/srgan.py:x4               # the paper's networks on faces that are drawn
    python launch/main.py --config experiments/srgan.py:x2               # the same, twice as large
    python launch/main.py --config experiments/srgan.py:smoke

Photographs for the paper's networks: `:x4 --config.data.name=folder --config.data.crop=patch --config.data.path=/my`.
VGG-19's weights: `python launch/prepare.py --weights https://download.pytorch.org/models/vgg19-dcbb9e9d.pth`; without
them `--config.model.content=discriminator`, which the small settings use, or `pixels`. Enlarge a folder of images by
`python launch/sample.py --workdir runs/x --input small --output large`; compare with the truth and with a bicubic
interpolation by `python launch/analyse.py upscale --workdir runs/x --test large`.

Expect, on Set5, Set14 and BSD100, 32.05, 28.49, 27.58 dB of SRResNet, 29.40, 26.02, 25.16 dB of SRGAN (paper, table 2);
a bicubic interpolation has 28.43, 25.99, 25.94. On strokes expect 4 dB more than a bicubic interpolation after the
pixels (16.5 dB, 12.6), and after the game sharper edges at about 1 dB less.
"""

from gan_jax import config as base

PAPER = {"imagenet": "vgg54", "vgg22": "vgg22", "mse": "pixels", "srresnet": "pixels"}  # what images are compared by


def get_config(variant="default"):
    config = base.defaults(gan="srgan")
    config.steps, config.batch_size, config.preview = 900, 16, 24
    config.log_every, config.sample_every, config.save_every = 25, 150, 300
    config.data = base.data(name="strokes", resolution=32, downsample=4, size=4_000, on_device=True)
    config.model = base.dict(
        g_width=32,  # half of the paper's
        blocks=4,  # a quarter
        d_width=16,
        d_hidden=128,
        pixel_steps=600,  # of the mean squared error; with another `steps` these three are stretched
        adversarial_steps=200,
        fine_steps=100,  # the last ones, at a tenth of the rates
        content="discriminator",  # what images are compared by: "vgg54", "vgg22", ..., "pixels" or "discriminator"
        vgg="",  # a file of VGG-19's weights; "" is the downloaded one, "random" does without
        weight=1e-3,  # of the adversarial loss
        loss="non_saturating",
        pixel_optimizer=base.optimizer("adam", 1e-3),
        g_optimizer=base.optimizer("adam", 3e-4),
        d_optimizer=base.optimizer("adam", 3e-4),
    )
    match variant:
        case "default":
            pass
        case "folder":
            config.steps = 2_900
            config.log_every, config.sample_every, config.save_every = 50, 500, 500
            config.data = base.data(name="folder", resolution=48, channels=3, crop="patch", flip=True, downsample=4)
            config.model.update(pixel_steps=2_000, adversarial_steps=600, fine_steps=300, d_width=32)
            config.model.pixel_optimizer.update(decay_begin=1_200, decay_steps=800)
        case "x4":
            paper(config, "vgg54")
            config.data = base.data(name="faces", resolution=96, downsample=4)
        case "x2":
            paper(config, "vgg54")
            config.data = base.data(name="faces", resolution=96, downsample=2)
        case _ if variant in PAPER:
            paper(config, PAPER[variant])
            config.data = base.data(name="imagenet2012", resolution=96, channels=3, crop="patch", downsample=4)
            if variant == "srresnet":
                config.steps, config.model.adversarial_steps, config.model.fine_steps = 1_000_000, 0, 0
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 3, 3
            config.data.update(resolution=8, size=64)
            config.model.update(g_width=4, blocks=1, d_width=2, d_hidden=8)
            config.model.update(pixel_steps=3, adversarial_steps=2, fine_steps=1)
            # Batch norm undoes the biases before it: their gradients are all rounding, of which Adam makes steps as
            # large as the rate; a small one keeps one device and eight together.
            for name in ("pixel_optimizer", "g_optimizer", "d_optimizer"):
                config.model[name].learning_rate = 1e-5
        case _:
            raise base.unknown_variant(variant, "folder", "x4", "x2", *PAPER, "smoke")
    return config


def paper(config, content: str):
    """Both networks at full width; a million updates on pixels, then a hundred thousand of the game and as many at a
    tenth of the rate (section 3.2)."""
    config.steps, config.batch_size, config.preview = 1_200_000, 16, 16
    config.log_every, config.sample_every, config.save_every = 100, 5_000, 5_000
    config.model.update(g_width=64, blocks=16, d_width=64, d_hidden=1024, content=content)
    config.model.update(pixel_steps=1_000_000, adversarial_steps=100_000, fine_steps=100_000)
    for name in ("pixel_optimizer", "g_optimizer", "d_optimizer"):
        config.model[name].learning_rate = 1e-4
