"""pix2pix: Image-to-Image Translation with Conditional Adversarial Networks (Isola, Zhu, Zhou, Efros, 2016,
arXiv:1611.07004).

From aligned pairs (x, y) a generator learns to make y of x. An L1 loss asks for the right image on the whole; a
discriminator that sees x beside y, or beside G(x), and judges one patch at a time asks for the right texture:

    D:  1/2 (-log D(x, y) - log(1 - D(x, G(x))))        G:  -log D(x, G(x)) + 100 |y - G(x)|        (eq. 1 to 4)

There is no latent. The only noise is dropout in the generator, which stays on when samples are drawn, as batch norm
stays with the statistics of the batch: of a single image those of the image itself (section 3.3).

In a batch, x is `a` and y is `b`. Values choose the rows of the paper's tables:

    weight, g_loss_scale    100, 1 is L1 + cGAN; 100, 0 is L1 alone; 0, 1 is cGAN alone
    critic_sees             "pair", or "output" for a discriminator that is not told x (GAN, L1 + GAN)
    skips                   "concat", or "none" for an encoder-decoder
    patch                   70, or 1, 16, 34, 142, 286: the side of what one logit judges

Where we differ from the authors' two codes: dropout is in the decoder's first three layers, as in Lua (`dropout =
"pytorch"` is the port's); the discriminator pays half, and rates fall linearly in the second half, as in PyTorch, but
within epochs too; the generator's move meets the moved discriminator, where Lua reuses what it said before.

Numbers to expect: an FCN-8s on Cityscapes, labels to photo, with a per-pixel accuracy of .66 (L1 alone .42), a class
accuracy of .23 and a class IoU of .17 (paper, table 1).
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from gan_jax import losses, optimizers
from gan_jax.contract import Batch, Key, Metrics, Net, PyTree, Stage, apply, create, descend
from gan_jax.errors import InputError, choose
from gan_jax.nets import patchgan, unet

SEES: dict[str, Callable] = {  # what the discriminator is shown of x and y
    "pair": lambda x, y: jnp.concatenate([x, y], axis=-1),
    "output": lambda x, y: y,
}
SAMPLES_AS = {"training": True, "evaluation": False}  # whether dropout is on and norms use the statistics of the batch


@struct.dataclass
class Pix2PixState:
    step: PyTree  # int32 []
    g: Net
    d: Net


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pix2Pix:
    """Section 3; `weight` is lambda."""

    generator: nn.Module
    discriminator: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    loss: losses.Loss
    weight: float = 100.0
    sees: Callable = SEES["pair"]
    sampled_in_training: bool = True
    rounds: int = 1

    def init(self, rng: Key, batch: Batch) -> Pix2PixState:
        g_rng, d_rng = jax.random.split(rng)
        g = create(self.generator, self.g_tx, g_rng, batch["a"], train=False)
        d = create(self.discriminator, self.d_tx, d_rng, self.sees(batch["a"], batch["b"]), train=False)
        return Pix2PixState(step=jnp.zeros((), jnp.int32), g=g, d=d)

    def train_step(self, state: Pix2PixState, batch: Batch, rng: Key) -> tuple[Pix2PixState, Metrics]:
        x, y = batch["a"], batch["b"]

        def translate(params, rng):
            return apply(self.generator, state.g, x, params=params, train=True, rngs={"dropout": rng})

        def discriminator_loss(params):
            judge = partial(self.judge, params=params)
            real_logits, stats = judge(state.d, x, y)
            fake_logits, stats = judge(state.d.replace(stats=stats), x, fake)
            loss = self.loss.d(real_logits, fake_logits)
            return loss, (stats, {"loss/d": loss, "score/real": real_logits.mean(), "score/fake": fake_logits.mean()})

        def generator_loss(params):
            made, stats = translate(params, jax.random.clone(rng))  # the same translation, on purpose
            real_logits, fake_logits = self.judge(d, x, y)[0], self.judge(d, x, made)[0]
            adversarial, distance = self.loss.g(real_logits, fake_logits), jnp.abs(y - made).mean()
            return adversarial + self.weight * distance, (stats, {"loss/g": adversarial, "loss/l1": distance})

        fake, _ = translate(state.g.params, rng)
        d, seen = descend(state.d, self.d_tx, discriminator_loss)
        g, made = descend(state.g, self.g_tx, generator_loss)
        return state.replace(step=state.step + 1, g=g, d=d), seen | made

    def judge(self, d: Net, x: jax.Array, y: jax.Array, params: PyTree | None = None) -> tuple[jax.Array, PyTree]:
        """The logits of all patches of all pairs [B h w], and the discriminator's statistics after them."""
        logits, stats = apply(self.discriminator, d, self.sees(x, y), params=params, train=True)
        return logits.reshape(-1), stats

    def sample(self, state: Pix2PixState, batch: Batch, rng: Key) -> jax.Array:
        rngs = {"dropout": rng}
        return apply(self.generator, state.g, batch["a"], train=self.sampled_in_training, rngs=rngs)[0]

    def score(self, state: Pix2PixState, examples: jax.Array, batch: Batch) -> jax.Array:
        logits, _ = apply(self.discriminator, state.d, self.sees(batch["a"], examples), train=False)
        return logits.mean(axis=(1, 2))


def stages(config) -> tuple[Stage, ...]:
    """One stage: the game between a U-Net and a discriminator of patches.

    Raises:
      InputError: for data that holds no pairs, or a size that the networks cannot take.
    """
    model, data, dtype = config.model, config.data, jnp.dtype(config.dtype)
    if not data.get("paired"):
        raise InputError(
            f"config.gan='pix2pix' learns from aligned pairs of images, and '{data.name}' has none; use "
            "config.data.name=pairs, or a paired view such as masks_to_faces"
        )
    if tuple(data.source_shape[:2]) != tuple(data.resolution):
        raise InputError(
            f"config.gan='pix2pix' needs both images of a pair of one size, not {tuple(data.source_shape[:2])} and "
            f"{tuple(data.resolution)}"
        )
    depth = unet.levels(*data.resolution)
    layers = choose(str(model.patch), patchgan.PATCHES, "side of a patch (config.model.patch)")
    patchgan.check_size(layers, *data.resolution)
    norm = choose(model.norm, patchgan.NORMS, "norm (config.model.norm)")
    generator = unet.UNet(
        data.channels,
        depth,
        model.g_width,
        norm=norm,
        skip=choose(model.skips, unet.SKIPS, "skips (config.model.skips)"),
        dropout=tuple(choose(model.dropout, unet.DROPOUTS, "dropout (config.model.dropout)")(depth)),
        dtype=dtype,
    )
    game = Pix2Pix(
        generator=generator,
        discriminator=patchgan.PatchGAN(layers, model.d_width, norm=norm, dtype=dtype),
        g_tx=optimizers.build(model.g_optimizer, "g_optimizer"),
        d_tx=optimizers.build(model.d_optimizer, "d_optimizer"),
        loss=losses.scaled(losses.build(model.loss), d=model.d_loss_scale, g=model.g_loss_scale),
        weight=model.weight,
        sees=choose(model.critic_sees, SEES, "what the critic sees (config.model.critic_sees)"),
        sampled_in_training=choose(model.samples_as, SAMPLES_AS, "mode of sampling (config.model.samples_as)"),
    )
    return (Stage("adversarial", game, config.steps, config.batch_size),)
