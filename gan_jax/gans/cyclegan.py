"""CycleGAN: Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks (Zhu, Park, Isola, Efros,
2017, arXiv:1703.10593).

Two translators, G: A -> B and F: B -> A, learn from images x of A and y of B that know nothing of each other. A
discriminator in each domain asks that translations look like its images; that they keep what they were made from is
asked by the way back:

    |F(G(x)) - x| + |G(F(y)) - y|        (eq. 2), and where colours are to stay,  |G(y) - y| + |F(x) - x|  (section 5.2)

The game is that of least squares; discriminators are shown a history of translations (section 4).

Everything here comes in twos, and is named by the domain: in a dict under "b" is an image of B, the translator that
makes one (G), the discriminator that judges one (D_Y of the paper, D_A of the authors' PyTorch code), the pool of made
ones. Both translators are one network to its optimiser, and so are both discriminators.

We follow the PyTorch code: both translators move together, then the discriminators, on the translations of that same
move; discriminators pay half; rates fall linearly in the second half of the epochs (within epochs too); instance norm
has no parameters. The identity loss counts half of the cycle's by default there, and is 0 in our toy.

Numbers to expect: an FCN-8s on Cityscapes at 128x128, labels to photo, with a per-pixel accuracy of .52, a class
accuracy of .17 and a class IoU of .11; photo to labels .58, .22, .16 (paper, tables 2 and 3).
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from gan_jax import config as base
from gan_jax import losses, optimizers, tricks
from gan_jax.contract import Batch, Key, Metrics, Net, PyTree, Stage, apply, create, descend
from gan_jax.errors import InputError, choose
from gan_jax.nets import patchgan, translator, unet

Images = Mapping[str, Any]  # {"a": [A, H, W, C], "b": [B, H, W, C]}


@struct.dataclass
class CycleGANState:
    step: PyTree  # int32 []
    g: Net  # both translators
    d: Net  # both discriminators
    memory: PyTree  # of each domain, the translations that its discriminator may be shown again


def both(batch: Batch) -> Images:
    return {"a": batch["a"], "b": batch["b"]}


def crossed(images: Images) -> Images:
    """The images of each domain under the name of the other: what they are to become."""
    return {"a": images["b"], "b": images["a"]}


def distance(made: Images, wanted: Images) -> jax.Array:
    """The mean absolute difference of pixels, summed over the two domains."""
    return sum(jnp.abs(made[name] - wanted[name]).mean() for name in made)


def unchanged(translate: Callable[[Images], Images], real: Images) -> jax.Array:
    """How far translators move images that are where they should be."""
    return distance(translate(real), real)


def nothing(translate: Callable[[Images], Images], real: Images) -> jax.Array:
    """For translators that may do what they like with these; they are not even asked."""
    return jnp.zeros(())


@dataclasses.dataclass(frozen=True, kw_only=True)
class CycleGAN:
    """Section 3, with `cycle` for lambda; `identity` is the weight of `identity_loss`, as a share of it."""

    translators: nn.Module
    critics: nn.Module
    g_tx: optax.GradientTransformation
    d_tx: optax.GradientTransformation
    loss: losses.Loss
    cycle: float = 10.0
    identity: float = 0.5
    identity_loss: Callable = unchanged
    replay: tricks.Replay = tricks.NO_REPLAY
    rounds: int = 1

    def init(self, rng: Key, batch: Batch) -> CycleGANState:
        g_rng, d_rng = jax.random.split(rng)
        real = both(batch)
        g = create(self.translators, self.g_tx, g_rng, crossed(real), train=False)
        d = create(self.critics, self.d_tx, d_rng, real, train=False)
        memory = {name: self.replay.memory(images.shape[1:]) for name, images in real.items()}
        return CycleGANState(step=jnp.zeros((), jnp.int32), g=g, d=d, memory=memory)

    def train_step(self, state: CycleGANState, batch: Batch, rng: Key) -> tuple[CycleGANState, Metrics]:
        real = both(batch)
        g, (made, moved) = descend(state.g, self.g_tx, partial(self.generator_loss, state, real))
        shown, memory = {}, {}
        for name, key in zip(made, jax.random.split(rng), strict=True):
            shown[name], memory[name] = self.replay.exchange(state.memory[name], made[name], key)
        d, seen = descend(state.d, self.d_tx, partial(self.discriminator_loss, state, real, shown))
        return state.replace(step=state.step + 1, g=g, d=d, memory=memory), seen | moved

    def generator_loss(self, state: CycleGANState, real: Images, params: PyTree):
        """What the translators pay together; with it, their translations and metrics."""
        translate = partial(self.translate, state.g, params=params)
        made = translate(crossed(real))
        again = translate(crossed(made))
        real_logits, fake_logits = self.judge(state.d, real), self.judge(state.d, made)
        adversarial = sum(self.loss.g(real_logits[name], fake_logits[name]) for name in made)
        cycle, identity = distance(again, real), self.identity_loss(translate, real)
        loss = adversarial + self.cycle * (cycle + self.identity * identity)
        metrics = {"loss/g": adversarial, "loss/cycle": cycle, "loss/identity": identity}
        return loss, (state.g.stats, (made, metrics))

    def discriminator_loss(self, state: CycleGANState, real: Images, shown: Images, params: PyTree):
        """What the discriminators pay together, on images and on translations, new ones or old."""
        real_logits, fake_logits = (self.judge(state.d, images, params=params) for images in (real, shown))
        loss = sum(self.loss.d(real_logits[name], fake_logits[name]) for name in real)
        scores = {"real": real_logits, "fake": fake_logits}
        metrics = {
            f"score/{kind}_{name}": logits[name].mean() for kind, logits in scores.items() for name in sorted(real)
        }
        return loss, (state.d.stats, {"loss/d": loss} | metrics)

    def translate(self, g: Net, sources: Images, params: PyTree | None = None) -> Images:
        """Images of each domain, made from sources that stand under its name."""
        return apply(self.translators, g, sources, params=params, train=True)[0]

    def judge(self, d: Net, images: Images, params: PyTree | None = None) -> dict[str, jax.Array]:
        """The logits [B h w] of all patches of each domain."""
        logits, _ = apply(self.critics, d, images, params=params, train=True)
        return {name: patches.reshape(-1) for name, patches in logits.items()}

    def sample(self, state: CycleGANState, batch: Batch, rng: Key) -> Images:
        """Translations both ways: under "b" those of the batch's `a`, under "a" those of its `b`."""
        return self.translate(state.g, crossed(both(batch)))


def stages(config) -> tuple[Stage, ...]:
    """One stage: the game of two translators and two discriminators of patches.

    Raises:
      InputError: for data of one domain, a size that the networks cannot take, or a value out of range.
    """
    model, dtype = config.model, jnp.dtype(config.dtype)
    shapes = domains(config)
    check(model, shapes)
    nets = choose(model.nets, NETS, "translators (config.model.nets)")(model, shapes, dtype)
    layers = choose(str(model.patch), patchgan.PATCHES, "side of a patch (config.model.patch)")
    patchgan.check_size(layers, *shapes["b"][:2])
    judge = partial(patchgan.PatchGAN, layers, model.d_width, norm=patchgan.InstanceNorm, dtype=dtype)
    game = CycleGAN(
        translators=translator.Both(**nets),
        critics=translator.Both(a=judge(), b=judge()),
        g_tx=optimizers.build(model.g_optimizer, "g_optimizer"),
        d_tx=optimizers.build(model.d_optimizer, "d_optimizer"),
        loss=losses.scaled(losses.build(model.loss), d=model.d_loss_scale, g=model.g_loss_scale),
        cycle=model.cycle,
        identity=model.identity,
        identity_loss=unchanged if model.identity else nothing,
        replay=tricks.replay(model.pool, 0.5) if model.pool else tricks.NO_REPLAY,
    )
    return (Stage("adversarial", game, config.steps, config.batch_size),)


def domains(config) -> dict[str, tuple[int, ...]]:
    """The (H, W, C) of the images of both domains.

    Raises:
      InputError: for data of one domain, or images of two sizes.
    """
    data = config.data
    if not data.get("source_shape"):
        raise InputError(
            f"config.gan='{config.gan}' translates between two domains, and '{data.name}' is one; use "
            "config.data.name=unpaired, or an unpaired view such as red_to_blue"
        )
    shapes = {"a": tuple(data.source_shape), "b": base.example_shape(data)}
    if shapes["a"][:2] != shapes["b"][:2]:
        raise InputError(f"config.gan='{config.gan}' needs images of one size in both domains, not {shapes}")
    return shapes


def check(model, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuses numbers that the game cannot be played with."""
    for key in ("cycle", "identity", "pool"):
        if model[key] < 0:
            raise InputError(f"config.model.{key}={model[key]} must be 0 (nothing) or more")
    if model.identity and shapes["a"] != shapes["b"]:
        raise InputError(f"config.model.identity={model.identity} must be 0: the domains differ in channels, {shapes}")


def residual(model, shapes: Mapping[str, tuple[int, ...]], dtype) -> dict[str, nn.Module]:
    """The paper's translators."""
    translator.check_size(*shapes["b"][:2])
    make = partial(translator.ResNet, width=model.g_width, blocks=model.blocks, dtype=dtype)
    return {name: make(shape[-1]) for name, shape in shapes.items()}


def unets(model, shapes: Mapping[str, tuple[int, ...]], dtype) -> dict[str, nn.Module]:
    """Those of pix2pix, without dropout."""
    depth = unet.levels(*shapes["b"][:2])
    settings = {"norm": patchgan.InstanceNorm, "dropout": (), "dtype": dtype}
    return {name: unet.UNet(shape[-1], depth, model.g_width, **settings) for name, shape in shapes.items()}


NETS = {"resnet": residual, "unet": unets}
