"""Improved GAN, the semi-supervised game. By default small grey shapes, drawn by the library, few of them labelled.

    python launch/main.py --config experiments/improved_gan.py              # minutes on two cores
    python launch/main.py --config experiments/improved_gan.py:mnist100     # 10 labels per class, `mnist50` and so on:
    python launch/main.py --config experiments/improved_gan.py:mnist20
    python launch/main.py --config experiments/improved_gan.py:mnist50
    python launch/main.py --config experiments/improved_gan.py:mnist200
    python launch/main.py --config experiments/improved_gan.py:cifar10      # 400 labels per class
    python launch/main.py --config experiments/improved_gan.py:cifar10_mbd  # with minibatch discrimination, for looks
    python launch/main.py --config experiments/improved_gan.py:svhn         # 100 labels per class
    python launch/main.py --config experiments/improved_gan.py:smoke

Another draw of the labels is `--config.data.label_seed=1`. Wrong test images of a run, by the averaged discriminator:

    python benchmarks/classification_errors.py --workdir RUN

Expect 93 +- 6.5 wrong of MNIST's 10,000 test digits from 100 labels (221 +- 136 from 50, 1677 +- 452 from 20, 90 +- 4.2
from 200), 18.63 +- 2.32 % on CIFAR-10, 8.11 +- 1.3 % on SVHN (paper, tables 1 and 2, figure 5).
"""

from gan_jax import config as base


def get_config(variant="default"):
    config = base.defaults(gan="improved_gan")
    config.steps, config.batch_size, config.steps_per_call = 4_000, 64, 10
    config.log_every, config.sample_every, config.save_every = 100, 500, 1_000
    config.data = base.data(
        name="shapes",
        resolution=16,
        channels=1,
        size=20_000,
        on_device=True,
        labels_per_class=10,
        options=base.dict(only=("circle", "ring", "square", "star", "cross")),
    )
    config.model = base.dict(
        nets="digits",  # perceptrons; "photos" are convolutional
        g_widths=(256, 256),
        d_widths=(256, 128, 128),
        g_norm="batch",  # or "virtual"
        d_input=(0.0, 0.1),  # dropout and Gaussian noise on the discriminator's input
        d_hidden=(0.0, 0.5),  # and on its hidden layers
        d_statistics="none",  # or "minibatch_discrimination"
        g_cost="feature_matching",  # or "feature_matching_l1", "minimax"
        g_moves=1,  # updates of the generator for each of the discriminator
        unsupervised_weight=1.0,
        average="unbiased",  # how the average of D, which starts from zero, is read; "from_zero" takes it as it is
        average_rate=1e-3,  # ten times the paper's: this training is short
        latent="unit_hypercube",
        latent_size=100,
        half_life=0.0,
        g_optimizer=base.optimizer("adam_inside_root", 1e-3, b1=0.5, b2=0.999),
        d_optimizer=base.optimizer("adam_inside_root", 1e-3, b1=0.5, b2=0.999),
    )
    match variant:
        case "default":
            pass
        case "mnist20" | "mnist50" | "mnist100" | "mnist200":
            mnist(config, labels_per_class=int(variant.removeprefix("mnist")) // 10)
        case "cifar10" | "cifar10_mbd":
            photos(config, "cifar10", epochs=1_200, epoch=500, falling=400)
            config.data.labels_per_class = 400
            if variant == "cifar10_mbd":  # `train_cifar_minibatch_discrimination.py`
                config.model.update(d_statistics="minibatch_discrimination", g_cost="minimax", g_moves=3)
                config.model.d_input = (0.0, 0.2)
        case "svhn":
            photos(config, "svhn_cropped", epochs=900, epoch=732, falling=300)
            config.data.labels_per_class = 100
            config.model.d_widths = (64, 128)
        case "smoke":
            config.steps, config.batch_size, config.steps_per_call, config.preview = 6, 16, 1, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data.update(resolution=8, size=64, labels_per_class=4, options=base.dict(only=("circle", "star")))
            config.model.update(g_widths=(16, 16), d_widths=(16, 16, 8), latent_size=8)
        case _:
            mnists = ("mnist20", "mnist50", "mnist100", "mnist200")
            raise base.unknown_variant(variant, *mnists, "cifar10", "cifar10_mbd", "svhn", "smoke")
    return config


def mnist(config, labels_per_class):
    """The settings of the authors' `train_mnist_feature_matching.py`."""
    config.steps, config.batch_size, config.steps_per_call = 300 * 600, 100, 100
    config.log_every, config.sample_every, config.save_every = 600, 6_000, 6_000
    config.data = base.data(name="mnist", on_device=True, labels_per_class=labels_per_class)
    config.model.update(g_widths=(500, 500), d_widths=(1000, 500, 250, 250, 250), d_input=(0.0, 0.3))
    config.model.update(average="from_zero", average_rate=1e-4)
    for key in ("g_optimizer", "d_optimizer"):
        config.model[key].learning_rate = 3e-3


def photos(config, name, epochs, epoch, falling):
    """The settings of the authors' `train_cifar_feature_matching.py`; an epoch has `epoch` steps, and in the last
    `falling` epochs the rate falls to 0."""
    config.steps, config.batch_size, config.steps_per_call = epochs * epoch, 100, 1
    config.log_every, config.sample_every, config.save_every = 100, 5_000, 5_000
    config.data = base.data(name=name, on_device=True)
    config.model.update(nets="photos", g_widths=(512, 256, 128), d_widths=(96, 192), g_cost="feature_matching_l1")
    config.model.update(d_input=(0.2, 0.0), d_hidden=(0.5, 0.0), average="from_zero", average_rate=1e-4)
    fall = {"decay_begin": (epochs - falling) * epoch, "decay_steps": falling * epoch}
    for key in ("g_optimizer", "d_optimizer"):
        config.model[key] = base.optimizer("adam_inside_root", 3e-4, b1=0.5, b2=0.999, **fall)
