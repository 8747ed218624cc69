"""InfoGAN. By default grey shapes, 16x16, drawn by the library itself; `:mnist` is the authors' recipe.

    python launch/main.py --config experiments/infogan.py          # minutes on two cores
    python launch/main.py --config experiments/infogan.py:mnist
    python launch/main.py --config experiments/infogan.py:svhn     # four ten-way codes, four continuous ones
    python launch/main.py --config experiments/infogan.py:celeba   # ten ten-way codes
    python launch/main.py --config experiments/infogan.py:faces --config.data.path=/my/faces    # five continuous codes
    python launch/main.py --config experiments/infogan.py:chairs --config.data.path=/my/chairs
    python launch/main.py --config experiments/infogan.py:smoke

Expect `monitor/info_categorical_0` to come near ln 10 = 2.30 nats, and each `monitor/info_continuous_*` towards 1/6.
On MNIST the paper reports that the categorical code is the digit in 95 % of the cases (section 7.2); it can also settle
where two digits share a code, near 85 %. `python launch/analyse.py codes --workdir RUN` tells, and draws them.

The networks of SVHN and CelebA are the appendix's as other implementations give them. Rendered faces and chairs are not
public: bring a folder of grey images. Chairs have the appendix's codes; of its networks the layers that keep their size
are left out.
"""

from gan_jax import config as base


def get_config(variant="default"):
    config = base.defaults(gan="infogan")
    config.steps, config.batch_size = 3_000, 128
    config.log_every, config.sample_every, config.save_every = 100, 500, 1_000
    config.data = base.data(name="shapes", resolution=16, channels=1, size=20_000, on_device=True)
    config.model = base.dict(
        g_hidden=(256,),  # dense layers of the generator
        g_widths=(64, 32),  # channels of its maps, from the smallest
        g_normed=2,  # how many of these maps have batch norm
        output="sigmoid",  # or "tanh"
        d_widths=(32, 64),  # channels of the trunk that D and Q share
        d_hidden=(256,),  # its dense layers
        q_hidden=64,  # units of the layer that Q has for itself
        slope=0.01,  # of the leaky rectifiers; 0.1 in the paper
        latent="uniform",  # the noise
        latent_size=62,
        categorical=(10,),  # values of every categorical code
        continuous=2,  # number of continuous codes
        std="fixed",  # of Q for continuous codes, 1 as in the authors' code; "learned" in the paper
        categorical_weight=1.0,  # lambda
        continuous_weight=0.1,  # 1 in the authors' code, with which these codes hold half of what a digit is
        half_life=0.0,  # of the averaged generator, in images; 0 samples the generator itself
        g_optimizer=base.optimizer("adam", 1e-3, b1=0.5),  # authors' code
        d_optimizer=base.optimizer("adam", 2e-4, b1=0.5),
    )
    match variant:
        case "default":
            pass
        case "mnist":
            config.steps = 50 * 100  # 50 epochs of 100 updates, whatever the size of the data
            config.data = base.data(name="mnist", on_device=True)
            mnist_networks(config.model)
        case "svhn":
            config.steps = 50_000
            config.data = base.data(name="svhn_cropped", on_device=True)
            colour_networks(config.model, latent_size=124, categorical=(10,) * 4, continuous=4)
        case "celeba":
            config.steps = 50_000
            config.data = base.data(name="celeb_a", resolution=32, crop="center")
            colour_networks(config.model, latent_size=128, categorical=(10,) * 10, continuous=0)
        case "faces":
            config.steps = 50_000
            config.data = base.data(name="folder", resolution=32, channels=1, crop="center")
            mnist_networks(config.model)
            config.model.update(latent_size=128, categorical=(), continuous=5)
        case "chairs":
            config.steps = 50_000
            config.data = base.data(name="folder", resolution=64, channels=1, crop="center")
            mnist_networks(config.model)
            config.model.update(g_widths=(256, 128, 64), g_normed=3, d_widths=(64, 128, 256))
            config.model.update(latent_size=128, categorical=(20,) * 3, continuous=1)
        case "smoke":
            config.steps, config.batch_size, config.preview = 6, 16, 16
            config.log_every, config.sample_every, config.save_every = 2, 6, 3
            config.data.update(resolution=8, size=64)
            config.model.update(g_hidden=(16,), g_widths=(8, 4), d_widths=(4, 8), d_hidden=(16,), q_hidden=8)
            config.model.update(latent_size=4, categorical=(3, 2))
            # gradients of biases before batch norm are all rounding, of which Adam makes whole steps: small ones here
            config.model.g_optimizer.learning_rate = config.model.d_optimizer.learning_rate = 1e-5
        case _:
            raise base.unknown_variant(variant, "mnist", "svhn", "celeba", "faces", "chairs", "smoke")
    return config


def mnist_networks(model):
    """Appendix C.1, as the authors' code has them."""
    model.update(g_hidden=(1024,), g_widths=(128, 64), d_widths=(64, 128), d_hidden=(1024,), q_hidden=128)


def colour_networks(model, **codes):
    """Appendix C.2 and C.3: 2x2 to 32x32, without hidden dense layers, and without batch norm on the larger maps."""
    model.update(g_hidden=(), g_widths=(448, 256, 128, 64), g_normed=2, output="tanh")
    model.update(d_widths=(64, 128, 256), d_hidden=(), q_hidden=128, **codes)
