"""SRResNet and SRGAN: Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network (Ledig et
al., 2016, arXiv:1609.04802).

A residual network makes an image 4 times larger. At first it learns from pixels alone, by the mean squared error, which
gives the best PSNR, and blur (SRResNet). Then a discriminator asks for texture, while a content loss, on features of a
VGG-19 instead of pixels, asks for the right image (SRGAN):

    D:  -log D(y) - log(1 - D(G(x)))        G:  |phi(y) - phi(G(x))|^2 / 12.75^2 - 1e-3 log D(G(x))        (eq. 2 to 6)

In a batch the small image x is `a`, and y is `b`, which `config.data.downsample` makes of any images. Both are in
[-1, 1]; the network maps x to [0, 1] (section 3.2). Its output is not squashed: samples are clipped.

`content` names phi: "vgg54", the paper's SRGAN, or any "vggIJ", the J-th convolution of block I after its ReLU;
"pixels" (SRGAN-MSE); and for want of a VGG-19's weights "discriminator", all convolutions of the discriminator, which
is no row of the paper. The weights are leaves of the state: who samples a run does not need their file.

What the paper leaves open: one slope for each PReLU; biases everywhere; both networks begin as Torch's layers do; the
generator meets the moved discriminator; VGG's input is normalised as torchvision's weights want it.

Numbers to expect, PSNR and SSIM on Y without borders of 4 pixels, on Set5, Set14, BSD100 at a factor of 4: SRResNet
32.05, 28.49, 27.58 dB and .9019, .8184, .7620; SRGAN 29.40, 26.02, 25.16 dB and .8472, .7397, .6688 (paper, table 2).
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct
from flax.typing import Dtype

from gan_jax import config as base
from gan_jax import losses, optimizers
from gan_jax.contract import Array, Batch, Key, Metrics, Net, PyTree, Stage, apply, create, descend
from gan_jax.errors import InputError, choose
from gan_jax.layers.conv import Conv
from gan_jax.layers.resample import depth_to_space
from gan_jax.nets import vgg, weights

torch_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # within 1 / sqrt(fan-in)
leaky = partial(nn.leaky_relu, negative_slope=0.2)
FACTORS = (2, 4, 8)
VGG_SCALE = 12.75  # features are divided by it, so that their loss is comparable to that of pixels (section 3.2)
VGG19 = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"


class SRResNet(nn.Module):
    """Images [B, h, w, C] in [-1, 1], of any size, to [B, factor h, factor w, channels] around [-1, 1] (figure 4)."""

    channels: int
    factor: int = 4  # a power of two
    width: int = 64
    blocks: int = 16
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        def conv(features, side, h):
            return Conv(features, (side, side), kernel_init=torch_init, dtype=self.dtype)(h)

        def norm(h):
            return nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype)(h)

        def prelu(h):
            return nn.PReLU(negative_slope_init=0.25)(h).astype(self.dtype)

        h = start = prelu(conv(self.width, 9, (x.astype(self.dtype) + 1.0) / 2.0))
        for _ in range(self.blocks):
            inner = prelu(norm(conv(self.width, 3, h)))
            h = h + norm(conv(self.width, 3, inner))
        h = start + norm(conv(self.width, 3, h))
        for _ in range(int(math.log2(self.factor))):
            h = prelu(depth_to_space(conv(4 * self.width, 3, h)))
        return conv(self.channels, 9, h).astype(jnp.float32)


class Discriminator(nn.Module):
    """Images [B, H, W, C] of one size to logits [B] (figure 4). All features of its convolutions can be read."""

    width: int = 64
    hidden: int = 1024
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x, *, train: bool):
        h, seen = x.astype(self.dtype), []
        dense = partial(nn.Dense, kernel_init=torch_init, dtype=self.dtype)
        for level in range(8):
            features, stride = self.width * 2 ** (level // 2), 1 + level % 2
            h = Conv(features, (3, 3), (stride, stride), padding=1, kernel_init=torch_init, dtype=self.dtype)(h)
            h = nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=self.dtype)(h) if level else h
            h = leaky(h)
            seen.append(h)
        self.sow("intermediates", "convolutions", tuple(seen))
        h = leaky(dense(self.hidden)(h.reshape(h.shape[0], -1)))
        return dense(1)(h)[:, 0].astype(jnp.float32)


# ---------------------------------------------------------------------------------------- what images are compared by

Frozen = dict[str, Net]


class Content:
    """Images themselves; others see more in them."""

    def check(self) -> None:
        """Raises InputError if something is missing that training needs."""

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises InputError for images that it cannot see."""

    def frozen(self) -> Frozen:
        """What it brings along."""
        return {}

    def see(self, frozen: Frozen, of_discriminator: Callable, images: Array) -> Sequence[Array]:
        """What is compared of images [B, H, W, C] in [-1, 1]; `of_discriminator` gives that player's features."""
        return [images]


class OfDiscriminator(Content):
    """All features of the discriminator, as it is now and with its running statistics."""

    def see(self, frozen: Frozen, of_discriminator: Callable, images: Array) -> Sequence[Array]:
        return of_discriminator(images)


@dataclasses.dataclass(frozen=True)
class OfVGG19(Content):
    """One layer of a frozen VGG-19. path: of a file of weights; "" is the one that was downloaded, "random" is none."""

    tap: str
    path: str = ""

    def check(self) -> None:
        try:
            self.read(())
        except InputError as error:
            raise InputError(
                f"{error}. config.model.content compares images by this VGG-19; without it take "
                "--config.model.content=discriminator (features of the discriminator; no row of the paper) or pixels"
            ) from None

    def check_shape(self, shape: tuple[int, ...]) -> None:
        least = 2 ** (int(self.tap[4]) - 1)
        if shape[-1] not in (1, 3) or min(shape[:2]) < least:
            raise InputError(
                f"config.model.content: '{self.tap}' of VGG-19 sees grey or RGB images of at least {least}x{least}, "
                f"not {shape}"
            )

    def frozen(self) -> Frozen:
        """Read when a training begins, and not when it is described or its state restored."""
        image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
        shapes = jax.eval_shape(vgg.VGG((self.tap,), 19).init, jax.random.key(0), image)["params"]
        return {"vgg19": Net(params=jax.pure_callback(partial(self.read, tuple(shapes)), shapes), stats={})}

    def read(self, names: Sequence[str]) -> PyTree:
        """The parameters of these layers, on the host."""
        if self.path == "random":
            found = vgg.init(0, 19, fully_connected=False)
        else:
            found = vgg.load(self.path or weights.find(VGG19), 19, fully_connected=False)
        return jax.tree.map(np.asarray, {name: dict(found[name]) for name in names})

    def see(self, frozen: Frozen, of_discriminator: Callable, images: Array) -> Sequence[Array]:
        colour = jnp.broadcast_to(images, (*images.shape[:-1], 3))
        found = vgg.features(frozen["vgg19"].params, (colour + 1.0) * 127.5, (self.tap,), jax.lax.Precision.DEFAULT)
        return [found[self.tap] / VGG_SCALE]


def distance(made: Sequence[Array], wanted: Sequence[Array]) -> Array:
    """The mean square of the differences, of each array, then of all arrays (eq. 4 and 5)."""
    squares = [
        jnp.square(a.astype(jnp.float32) - b.astype(jnp.float32)).mean() for a, b in zip(made, wanted, strict=True)
    ]
    return sum(squares) / len(squares)


# ------------------------------------------------------------------------------------------------------ the two stages


@struct.dataclass
class PixelState:
    step: PyTree  # int32 []
    g: Net


@struct.dataclass
class SRGANState:
    step: PyTree  # int32 []
    g: Net
    d: Net
    frozen: PyTree  # what the content loss sees with: {} or {"vgg19": Net}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pixels:
    """SRResNet: the mean squared error on [-1, 1]."""

    generator: nn.Module
    tx: optax.GradientTransformation
    rounds: int = 1
    deterministic = True  # nothing is drawn in a step

    def init(self, rng: Key, batch: Batch) -> PixelState:
        g = create(self.generator, self.tx, rng, batch["a"], train=False)
        return PixelState(step=jnp.zeros((), jnp.int32), g=g)

    def train_step(self, state: PixelState, batch: Batch, rng: Key) -> tuple[PixelState, Metrics]:
        def loss(params):
            made, stats = apply(self.generator, state.g, batch["a"], params=params, train=True)
            error = distance([made], [batch["b"]])
            return error, (stats, {"loss/g": error, "psnr": psnr(error)})

        g, metrics = descend(state.g, self.tx, loss)
        return state.replace(step=state.step + 1, g=g), metrics

    def sample(self, state: PixelState, batch: Batch, rng: Key) -> Array:
        return enlarged(self.generator, state.g, batch["a"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class SRGAN:
    """Section 2.2; `weight` is that of the adversarial loss beside the content loss (eq. 3)."""

    generator: nn.Module
    discriminator: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    loss: losses.Loss
    content: Content
    weight: float = 1e-3
    rounds: int = 1
    deterministic = True

    def check(self) -> None:
        self.content.check()

    def init(self, rng: Key, batch: Batch) -> SRGANState:
        g_rng, d_rng = jax.random.split(rng)
        g = create(self.generator, self.g_tx, g_rng, batch["a"], train=False)
        d = create(self.discriminator, self.d_tx, d_rng, batch["b"], train=False)
        return SRGANState(step=jnp.zeros((), jnp.int32), g=g, d=d, frozen=self.content.frozen())

    def train_step(self, state: SRGANState, batch: Batch, rng: Key) -> tuple[SRGANState, Metrics]:
        fake, _ = apply(self.generator, state.g, batch["a"], train=True)  # its statistics are dropped

        def discriminator_loss(params):
            judge = partial(apply, self.discriminator, params=params, train=True)
            real_logits, stats = judge(state.d, batch["b"])
            fake_logits, stats = judge(state.d.replace(stats=stats), fake)
            loss = self.loss.d(real_logits, fake_logits)
            return loss, (stats, {"loss/d": loss, "score/real": real_logits.mean(), "score/fake": fake_logits.mean()})

        d, seen = descend(state.d, self.d_tx, discriminator_loss)
        g, made = descend(state.g, self.g_tx, partial(self.generator_loss, state.replace(d=d), batch))
        return state.replace(step=state.step + 1, g=g, d=d), seen | made

    def generator_loss(self, state: SRGANState, batch: Batch, params: PyTree):
        """Eq. 3: what the generator pays; with it, its statistics and metrics."""
        x, y = batch["a"], batch["b"]
        see = partial(self.content.see, state.frozen, partial(self.features, state.d))
        made, stats = apply(self.generator, state.g, x, params=params, train=True)
        real_logits, fake_logits = (apply(self.discriminator, state.d, images, train=True)[0] for images in (y, made))
        adversarial, content = self.loss.g(real_logits, fake_logits), distance(see(made), see(y))
        metrics = {"loss/g": adversarial, "loss/content": content, "psnr": psnr(distance([made], [y]))}
        return content + self.weight * adversarial, (stats, metrics)

    def features(self, d: Net, images: Array) -> tuple[Array, ...]:
        """What the convolutions of the discriminator make of images, the finest first."""
        variables = {"params": d.params, **d.stats}
        _, seen = self.discriminator.apply(variables, images, train=False, mutable=["intermediates"])
        return seen["intermediates"]["convolutions"][0]

    def sample(self, state: SRGANState, batch: Batch, rng: Key) -> Array:
        return enlarged(self.generator, state.g, batch["a"])

    def score(self, state: SRGANState, examples: Array, batch: Batch) -> Array:
        return apply(self.discriminator, state.d, examples, train=False)[0]


def enlarged(generator: nn.Module, g: Net, images: Array) -> Array:
    """[B, h, w, C] to [B, H, W, C] in [-1, 1], by the running statistics (section 2.1.1)."""
    return jnp.clip(apply(generator, g, images, train=False)[0], -1.0, 1.0)


def psnr(error: Array) -> Array:
    """In dB, of a mean squared error of images in [-1, 1], whose range is 2."""
    return 10.0 * jnp.log10(4.0 / error)


# ------------------------------------------------------------------------------------------------------ from a config


def stages(config) -> tuple[Stage, ...]:
    """Pixels, then the game, each as long as its share of `pixel_steps`, `adversarial_steps` and `fine_steps`, in the
    last of which the rates are a tenth; a stage without steps is left out.

    Raises:
      InputError: for data that are no pairs of a small and a large image, or a value out of range.
    """
    model, dtype = config.model, jnp.dtype(config.dtype)
    generator = SRResNet(config.data.channels, factor(config), model.g_width, model.blocks, dtype)
    parts = [model.pixel_steps, model.adversarial_steps, model.fine_steps]
    if min(parts) < 0 or not sum(parts):
        raise InputError(
            f"config.model.pixel_steps, adversarial_steps, fine_steps={tuple(parts)}: must be 0 or more, and not all 0"
        )
    pixel, coarse = (round(config.steps * sum(parts[:end]) / sum(parts)) for end in (1, 2))

    def optimizer(key, steps=0):
        tx = optimizers.build(model[key], key)
        rate = optax.piecewise_constant_schedule(1.0, {steps: 0.1} if model.fine_steps else None)
        return optax.chain(tx, optax.scale_by_schedule(rate))

    pixels = Pixels(generator=generator, tx=optimizers.build(model.pixel_optimizer, "pixel_optimizer"))
    game = SRGAN(
        generator=generator,
        discriminator=Discriminator(model.d_width, model.d_hidden, dtype),
        g_tx=optimizer("g_optimizer", coarse - pixel),
        d_tx=optimizer("d_optimizer", coarse - pixel),
        loss=losses.build(model.loss),
        content=content(model, base.example_shape(config.data)),
        weight=model.weight,
    )
    made = [
        Stage("pixels", pixels, pixel, config.batch_size),
        Stage("adversarial", game, config.steps - pixel, config.batch_size),
    ]
    return tuple(stage for stage in made if stage.steps)


def factor(config) -> int:
    """How many times larger images become. InputError if the data are not made for it."""
    data, small = config.data, config.data.get("source_shape") or (0, 0)
    known = [n for n in FACTORS if data.get("paired") and (n * small[0], n * small[1]) == tuple(data.resolution)]
    if not known:
        raise InputError(
            f"config.gan='srgan' makes images 2, 4 or 8 times larger, and '{data.name}' holds no pairs of such sizes; "
            "--config.data.downsample=4 makes them of any images"
        )
    return known[0]


def content(model, shape: tuple[int, ...]) -> Content:
    """What `config.model.content` names, for images of this shape."""
    taps = [tap for tap in vgg.layers(19) if tap.startswith("relu")]
    known = {tap.replace("relu", "vgg").replace("_", ""): OfVGG19(tap, model.vgg) for tap in taps}  # vgg54: relu5_4
    known |= {"pixels": Content(), "discriminator": OfDiscriminator()}
    chosen = choose(model.content, known, "features to compare (config.model.content)")
    chosen.check_shape(shape)
    return chosen
