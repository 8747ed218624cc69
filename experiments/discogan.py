"""DiscoGAN. By default red shapes to blue ones and back at 32x32, drawn by the library itself: nothing to download.

    python launch/main.py --config experiments/discogan.py                 # minutes on two cores
    python launch/main.py --config experiments/discogan.py:squares         # circles to squares of their colour
    python launch/main.py --config experiments/discogan.py:celeba --config.data.path=/my/men_and_women
    python launch/main.py --config experiments/discogan.py:edges2shoes --config.data.path=/my/edges2shoes
    python launch/main.py --config experiments/discogan.py:edges2handbags --config.data.path=/my/edges2handbags
    python launch/main.py --config experiments/discogan.py:handbags2shoes --config.data.path=/my/handbags_and_shoes
    python launch/main.py --config experiments/discogan.py:cars2faces --config.data.path=/my/cars_and_faces
    python launch/main.py --config experiments/discogan.py:smoke

The path is that of a folder with `trainA` and `trainB` (and `testA` and `testB`) in it; of edges2shoes and
edges2handbags the one that pix2pix's authors ship, whose pairs are taken apart. The paper's steps are as many as one
likes: its code trains for thousands of epochs.

Expect pictures: the paper has no number for these tasks. What the default finds out is in the README.
"""

from gan_jax import config as base

PAPER = {  # the dataset, and what differs of the model
    "celeba": ("unpaired", {}),
    "edges2shoes": ("apart", {}),
    "edges2handbags": ("apart", {}),
    "handbags2shoes": ("unpaired", {"starting_rate": 0.5}),
    "cars2faces": ("unpaired", {"starting_rate": 0.9, "rate": 0.9, "code": 100}),
}


def get_config(variant="default"):
    config = base.defaults(gan="discogan")
    config.steps, config.batch_size, config.preview = 500, 16, 24
    config.log_every, config.sample_every, config.save_every = 10, 100, 250
    config.data = base.data(name="red_to_blue", resolution=32, size=4_000, on_device=True)
    config.model = base.dict(
        g_width=16,  # a quarter of the paper's
        d_width=16,
        code=0,  # units of a bottleneck of one vector; 0 is one of some 4x4 pixels
        loss="non_saturating",
        d_loss_scale=0.5,
        features=0.9,  # share of feature matching in what makes images belong to a domain; the rest is adversarial
        starting_rate=0.01,  # share of the reconstruction in what the translators pay, for so many minibatches:
        curriculum=300,
        rate=0.5,  # and from then on
        rounds=3,  # minibatches of a step: the first is the discriminators', the others are the translators'
        directions="both",  # or "a_to_b", which is half of the game
        samples_as="evaluation",  # or "training", with the statistics of the batch, as the authors do
        g_optimizer=base.optimizer("adam", 6e-4, b1=0.5, b2=0.999, l2=1e-5),  # three times the paper's
        d_optimizer=base.optimizer("adam", 6e-4, b1=0.5, b2=0.999, l2=1e-5),
    )
    match variant:
        case "default":
            pass
        case "squares":
            config.data.name = "circles_to_squares"
        case _ if variant in PAPER:
            paper(config, *PAPER[variant])
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data.update(resolution=16, size=64)
            config.model.update(g_width=4, d_width=4, code=8, curriculum=4)
            rates(config, 2e-4)
        case _:
            raise base.unknown_variant(variant, "squares", *PAPER, "smoke")
    return config


def rates(config, rate: float):
    for section in (config.model.g_optimizer, config.model.d_optimizer):
        section.learning_rate = rate


def paper(config, name: str, changes: dict):
    """64x64, as they are: no windows, no mirroring."""
    config.steps, config.batch_size = 30_000, 64
    config.log_every, config.sample_every, config.save_every = 100, 1_000, 5_000
    options = base.dict(thicken=1) if name == "apart" else base.dict()
    config.data = base.data(name=name, resolution=64, options=options)
    config.model.update(g_width=64, d_width=64, curriculum=10_000, **changes)
    rates(config, 2e-4)
