"""pix2pix. By default segmentations to cartoon faces at 32x32, both drawn by the library itself: nothing to download.

    python launch/main.py --config experiments/pix2pix.py                  # minutes on two cores
    python launch/main.py --config experiments/pix2pix.py:edges            # contours to shapes, 32x32
    python launch/main.py --config experiments/pix2pix.py:facades --config.data.path=/my/facades
    python launch/main.py --config experiments/pix2pix.py:maps --config.data.path=/my/maps
    python launch/main.py --config experiments/pix2pix.py:cityscapes --config.data.path=/my/cityscapes
    python launch/main.py --config experiments/pix2pix.py:edges2shoes --config.data.path=/my/edges2shoes
    python launch/main.py --config experiments/pix2pix.py:smoke

The path is that of a folder with `train` (and `test`) in it: images with both halves side by side, as the authors ship
them. `--config.data.options.direction=AtoB` or `BtoA` says which half is the source.

Expect, on Cityscapes, labels to photo, a per-pixel accuracy of .66 of an FCN-8s (paper, table 1).
"""

from gan_jax import config as base

PAPER = {  # direction, images, epochs, batch (paper, appendix)
    "facades": ("BtoA", 400, 200, 1),
    "maps": ("AtoB", 1096, 200, 1),
    "cityscapes": ("BtoA", 2975, 200, 1),
    "edges2shoes": ("AtoB", 49_825, 15, 4),
    "edges2handbags": ("AtoB", 138_567, 15, 4),
}


def get_config(variant="default"):
    config = base.defaults(gan="pix2pix")
    config.steps, config.batch_size, config.preview = 2_000, 8, 24
    config.log_every, config.sample_every, config.save_every = 50, 250, 500
    config.data = base.data(name="masks_to_faces", resolution=32, size=4_000, on_device=True)
    config.model = base.dict(
        g_width=32,  # half of the paper's
        d_width=32,
        patch=34,  # side of what one logit judges: 1, 16, 34, 70, 142 or 286
        norm="batch",  # or "instance", or "none"
        skips="concat",  # or "none" for an encoder-decoder
        dropout="paper",  # or "pytorch", or "none"
        critic_sees="pair",  # or "output", for a critic that is not told the source
        samples_as="training",  # or "evaluation", without dropout and with running statistics
        loss="non_saturating",
        d_loss_scale=0.5,
        g_loss_scale=1.0,  # 0 leaves the L1 alone
        weight=100.0,  # of the L1
        g_optimizer=base.optimizer("adam", 2e-4, b1=0.5, b2=0.999),
        d_optimizer=base.optimizer("adam", 2e-4, b1=0.5, b2=0.999),
    )
    match variant:
        case "default":
            pass
        case "edges":
            config.data = base.data(name="edges_to_shapes", resolution=32, size=4_000, on_device=True)
        case _ if variant in PAPER:
            paper(config, *PAPER[variant])
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data.update(resolution=8, size=64)
            config.model.update(g_width=4, d_width=4, patch=16)
        case _:
            raise base.unknown_variant(variant, "edges", *PAPER, "smoke")
    return config


def paper(config, direction: str, images: int, epochs: int, batch_size: int):
    """256x256 windows of 286x286, mirrored at random; 200 epochs have a constant rate in the first half, then one that
    falls by 1/101 of it an epoch."""
    epoch = images // batch_size
    config.steps, config.batch_size, config.preview = epochs * epoch, batch_size, 16
    config.log_every, config.sample_every, config.save_every = 100, 1_000, 5_000
    options = base.dict(direction=direction, enlarged=base.size(286))
    config.data = base.data(name="pairs", resolution=256, crop="random", flip=True, options=options)
    config.model.update(g_width=64, d_width=64, patch=70)
    if epochs == 200:
        for section in (config.model.g_optimizer, config.model.d_optimizer):
            section.update(decay_begin=99 * epoch, decay_steps=101 * epoch)
