"""MMD GAN: Towards Deeper Understanding of Moment Matching Network (Li, Chang, Cheng, Yang, Poczos, 2017,
arXiv:1705.08584), with its ancestor and its two successors.

Real and generated batches are compared as sets: by the maximum mean discrepancy of their features under a fixed kernel.
The critic makes the features and wants the sets to differ; the generator wants them to be alike.

    GMMN     Li, Swersky, Zemel, 2015, arXiv:1502.02761: no critic, the features are the data, nobody is an adversary
    MMD GAN  the critic is the encoder of an autoencoder, clamped; root of the biased estimate; Gaussian kernels
    B        Bińkowski, Sutherland, Arbel, Gretton, 2018, arXiv:1801.01401: unbiased estimate, rational quadratic
             kernels, and a critic whose witness function is to have slopes of 1
    C        Wang, Sun, Halgamuge, 2019, arXiv:1812.09916: a repulsive loss, in which the critic spreads the data and
             gathers the samples, with spectral normalisation

All are values of one game: `critic`, `nets`, `kernel`, `scales`, `loss` and the weights of what the critic pays.

Where we differ: the encoder is clamped at the start and after each of its updates, not before each, so that the
generator too meets a clamped one. A long step of the critic (the first 25 steps and every 500th: 100 updates, not 5)
goes through the step's minibatches again and again with fresh latents; the authors' code draws further minibatches.
B's penalty has the full norm of the gradient; the authors' code takes one for each column of pixels, which is the
penalty "witness_columns". B's rule to halve rates when the kernel distance stagnates is left out, and its generator
ends in tanh on [-1, 1], not in a sigmoid on [0, 1]. On a mesh the features of the whole batch are gathered.

Numbers to expect: Inception scores on CIFAR-10 of 6.17 for MMD GAN and 3.47 for GMMN (paper, table 1); about 6.5 and an
FID near 40 for B; an FID of 17 to 19 for C. On the ring GMMN finds 8 of 8 modes.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from gan_jax import config as base
from gan_jax import contract, latents, optimizers, penalties
from gan_jax.contract import Batch, Key, Metrics, Net, PyTree, Stage, State, apply, descend, ema
from gan_jax.errors import InputError, choose
from gan_jax.gans import dcgan, sngan
from gan_jax.gans.lsgan import divisible
from gan_jax.gans.wgan import SCHEDULES, nth_round
from gan_jax.layers import kernels
from gan_jax.nets import encoders, mlp, resnet
from gan_jax.nets.encoders import Critic, Look

# ------------------------------------------------------------------------------------ what the two players want


class Loss(NamedTuple):
    """What each player minimises, of the features of data and of samples, each [B, k]."""

    d: Callable[[jax.Array, jax.Array], jax.Array]
    g: Callable[[jax.Array, jax.Array], jax.Array]


def opposed(distance: Callable[[jax.Array, jax.Array], jax.Array]) -> Loss:
    """The critic wants it large, the generator small."""
    return Loss(lambda real, fake: -distance(real, fake), distance)


def mmd(kernel: kernels.Kernel, rank_weight: float) -> Loss:
    """The root of the biased estimate, plus the weighted order of the means (Li et al., 2017, algorithm 1)."""

    def distance(real, fake):  # the root of 0 has no gradient
        root = jnp.sqrt(jax.nn.relu(kernels.biased(kernel, real, fake)) + 1e-12)
        return root + rank_weight * kernels.order(real, fake)

    return opposed(distance)


def mmd2(kernel: kernels.Kernel, rank_weight: float) -> Loss:
    """The unbiased estimate of the square (Bińkowski et al., 2018, section 2.1)."""
    return opposed(lambda real, fake: kernels.unbiased(kernel, real, fake) + rank_weight * kernels.order(real, fake))


def repulsive(kernel: kernels.Kernel, rank_weight: float, near: float = 0.0, far: float = jnp.inf) -> Loss:
    """The critic moves data apart and samples together (Wang et al., 2019, eq. 5); `near` and `far` bound the kernel
    (eq. 7). The generator minimises MMD^2."""
    return Loss(lambda real, fake: kernels.repulsion(kernel, real, fake, near, far), mmd2(kernel, rank_weight).g)


LOSSES: dict[str, Callable[[kernels.Kernel, float], Loss]] = {
    "mmd": mmd,
    "mmd2": mmd2,
    "repulsive": repulsive,
    "repulsive_bounded": partial(repulsive, near=0.25, far=4.0),  # for the kernel of sigma 1
}

# --------------------------------------------------------------------------------- what the critic pays besides


class Sight(NamedTuple):
    """What the critic saw and made of it in one round."""

    real: jax.Array
    fake: jax.Array
    of_real: Look
    of_fake: Look
    features: Callable[[jax.Array], jax.Array]  # x [B, ...] to [B, k], the critic's; calling it moves no statistics
    kernel: kernels.Kernel
    rng: jax.Array


Term = Callable[[Sight], jax.Array]


def autoencoder(sight: Sight) -> jax.Array:
    """Mean squared error of data and of samples: features must not forget what they are made of."""
    errors = (sight.of_real.rebuilt - sight.real, sight.of_fake.rebuilt - sight.fake)
    return sum(jnp.mean(error**2) for error in errors)


def activations(sight: Sight) -> jax.Array:
    """The mean square of every layer on data and on samples, summed over layers (B, authors' code)."""
    return sum(jnp.mean(h.astype(jnp.float32) ** 2) for h in (*sight.of_real.layers, *sight.of_fake.layers))


def witness_at(sight: Sight) -> penalties.Score:
    """The witness function h between the two sets, of points in the data's space; B, section 2.1."""
    sets = sight.of_real.features, sight.of_fake.features
    return lambda t: kernels.witness(sight.kernel, sight.features(t), *sets)


def witness(slope: float) -> Term:
    """(|gradient of the witness| - slope)^2 between data and samples (B, section 4). The critic has no batch norm."""
    return lambda sight: penalties.wgan_gp(witness_at(sight), sight.real, sight.fake, sight.rng, target=slope)


def witness_columns(slope: float) -> Term:
    """As the authors' code has it: one norm, over the first axis, for each column and channel of an image, so that the
    whole gradient of a 32x32x3 image is pushed to sqrt(96) slopes."""

    def term(sight):
        share = jax.random.uniform(sight.rng, sight.real.shape[:1])
        t = jax.lax.stop_gradient(penalties.between(sight.real, sight.fake, share))
        gradient = penalties.input_gradient(witness_at(sight), t)
        return jnp.mean((jnp.sqrt(jnp.sum(gradient**2, axis=1) + 1e-12) - slope) ** 2)

    return term


PENALTIES: dict[str, Callable[[float], Term]] = {"witness": witness, "witness_columns": witness_columns}


def clamp_encoder(params: PyTree, bound: float) -> PyTree:
    """Every entry of the encoder within `bound`; the decoder is free (Li et al., 2017, algorithm 1)."""
    return {**params, "encoder": penalties.clip(params["encoder"], bound)}


# ---------------------------------------------------------------------------------------------------- the games


@struct.dataclass
class Matching:
    """The state of a generator without an adversary."""

    step: PyTree
    g: Net
    average: Net


@dataclasses.dataclass(frozen=True, kw_only=True)
class GMMN:
    """A generator that descends the discrepancy between a batch of samples and one of data, as they are."""

    generator: nn.Module
    g_tx: optax.GradientTransformation
    kernel: kernels.Kernel
    loss: Loss
    latent: latents.Latent
    latent_size: int
    coupled: int  # numbers of each example that are compared with all others: what a mesh must gather
    domain: str = "image"
    decay: float = 0.0
    rounds: int = 1

    def init(self, rng: Key, batch: Batch) -> Matching:
        g_rng, z_rng = jax.random.split(rng)
        g = contract.create(self.generator, self.g_tx, g_rng, self.latents(z_rng, batch), train=False)
        return Matching(step=jnp.zeros((), jnp.int32), g=g, average=contract.still(g))

    def train_step(self, state: Matching, batch: Batch, rng: Key) -> tuple[Matching, Metrics]:
        g, made = self.generator_move(state.g, resnet.flat, batch, rng)
        return state.replace(step=state.step + 1, g=g, average=ema(state.average, g, self.decay)), made

    def generator_move(self, g: Net, features: Callable, batch: Batch, rng: Key) -> tuple[Net, Metrics]:
        """Descends the discrepancy of the features, x [B, ...] to [B, k], of samples and of data."""
        z, real = self.latents(rng, batch), features(batch[self.domain])

        def loss(params):
            fake, stats = apply(self.generator, g, z, params=params, train=True)
            seen = features(fake)
            cost = self.loss.g(real, seen)
            return cost, (stats, {"loss/g": cost, "monitor/mmd2": kernels.unbiased(self.kernel, real, seen)})

        return descend(g, self.g_tx, loss)

    def latents(self, rng: Key, batch: Batch) -> jax.Array:
        return self.latent(rng, contract.count(batch), self.latent_size)

    def generate(self, state: PyTree, latents: jax.Array, batch: Batch) -> jax.Array:
        return apply(self.generator, state.average, latents, train=False)[0]

    def sample(self, state: PyTree, batch: Batch, rng: Key) -> jax.Array:
        return self.generate(state, self.latents(rng, batch), batch)

    def features(self, state: PyTree, examples: jax.Array) -> jax.Array:
        return resnet.flat(examples)

    def score(self, state: PyTree, examples: jax.Array, batch: Batch) -> jax.Array:
        """The witness function between the data in `batch` and as many samples, of one fixed key."""
        sets = batch[self.domain], self.sample(state, batch, jax.random.key(0))
        return kernels.witness(self.kernel, *(self.features(state, x) for x in (examples, *sets)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class MMDGAN(GMMN):
    """Algorithm 1 of Li et al., 2017: the critic moves `rounds` times, in some steps more often, then the generator."""

    critic: Critic
    d_tx: optax.GradientTransformation
    terms: tuple[tuple[str, float, Term], ...]  # what the critic pays besides its loss: name, weight, value
    critic_moves: Callable[[jax.Array], jax.Array]  # of the step: at least `rounds`
    project: Callable[[PyTree], PyTree] = lambda params: params  # to the critic that is allowed

    def init(self, rng: Key, batch: Batch) -> State:
        d_rng, g_rng = jax.random.split(rng)
        made = super().init(g_rng, batch)
        d = contract.create(self.critic, self.d_tx, d_rng, batch[self.domain], train=False)
        return State(step=made.step, g=made.g, d=d.replace(params=self.project(d.params)), average=made.average)

    def train_step(self, state: State, batch: Batch, rng: Key) -> tuple[State, Metrics]:
        d_rng, g_rng = jax.random.split(rng)
        moves, move = self.critic_moves(state.step), partial(self.critic_move, state.g)
        last = contract.last_round(self.rounds, batch)

        def again(i, carry):
            d, seen = move(carry[0], nth_round(self.rounds, batch, i), jax.random.fold_in(d_rng, i))
            return d, jax.tree.map(jnp.add, carry[1], seen)

        nothing = {name: jnp.zeros(()) for name in jax.eval_shape(move, state.d, last, d_rng)[1]}
        d, total = jax.lax.fori_loop(0, moves, again, (state.d, nothing))
        seen = jax.tree.map(lambda metric: metric / moves.astype(jnp.float32), total)
        g, made = self.generator_move(state.g, partial(self.look, d), last, g_rng)
        average = ema(state.average, g, self.decay)
        return state.replace(step=state.step + 1, g=g, d=d, average=average), seen | made

    def critic_move(self, g: Net, d: Net, batch: Batch, rng: Key) -> tuple[Net, Metrics]:
        """Ascends the discrepancy of the features of one minibatch of data and one of samples."""
        z_rng, penalty_rng = jax.random.split(rng)
        real = batch[self.domain]
        fake, _ = apply(self.generator, g, self.latents(z_rng, batch), train=True)  # its statistics are dropped

        def loss(params):
            judge = partial(apply, self.critic, params=params, train=True)
            of_real, stats = judge(d, real)
            seen = d.replace(stats=stats)  # data and samples are separate batches, one after the other
            of_fake, stats = judge(seen, fake, hold=("spectral",))

            def features(x):
                return judge(seen, x, hold=("spectral",))[0].features

            sight = Sight(real, fake, of_real, of_fake, features, self.kernel, penalty_rng)
            adversarial = self.loss.d(of_real.features, of_fake.features)
            paid = {name: (weight, term(sight)) for name, weight, term in self.terms}
            price = sum((weight * value for weight, value in paid.values()), jnp.zeros(()))
            metrics = {f"penalty/{name}": value for name, (_, value) in paid.items()}
            return adversarial + price, (stats, {"loss/d": adversarial} | metrics)

        moved, metrics = descend(d, self.d_tx, loss)
        return moved.replace(params=self.project(moved.params)), metrics

    def look(self, d: Net, x: jax.Array) -> jax.Array:
        """The features of a critic in training that stays as it is."""
        return apply(self.critic, d, x, train=True, hold=("spectral",))[0].features

    def features(self, state: State, examples: jax.Array) -> jax.Array:
        return apply(self.critic, state.d, examples, train=False)[0].features


# ------------------------------------------------------------------------------------------------- from a config


def stages(config) -> tuple[Stage, ...]:
    """One stage: with a critic or without."""
    made = choose(config.model.critic, CRITICS, "critic (config.model.critic)")(config)
    return (Stage("matching", made, config.steps, config.batch_size),)


def shared(config, generator: nn.Module, coupled: int) -> dict:
    """The fields of both games."""
    model = config.model
    if config.batch_size < 2:
        raise InputError(f"config.batch_size={config.batch_size} must be at least 2: pairs of examples are compared")
    if not model.scales or min(model.scales) <= 0:
        raise InputError(f"config.model.scales={model.scales} must be positive numbers, one for each kernel of the sum")
    kernel = choose(model.kernel, kernels.BY_NAME, "kernel (config.model.kernel)")(tuple(model.scales))
    return {
        "generator": generator,
        "g_tx": clipped(optimizers.build(model.g_optimizer, "g_optimizer"), model.gradient_clip),
        "kernel": kernel,
        "loss": choose(model.loss, LOSSES, "loss (config.model.loss)")(kernel, model.rank_weight),
        "latent": choose(model.latent, latents.BY_NAME, "latent (config.model.latent)"),
        "latent_size": model.latent_size,
        "coupled": coupled,
        "domain": config.data.domain,
        "decay": contract.ema_decay(model.half_life, config.batch_size),
    }


def clipped(tx: optax.GradientTransformation, norm: float) -> optax.GradientTransformation:
    """The optimiser behind a bound on the norm of the gradient of each variable; 0 has no bound."""

    def bound(grads, params):
        return jax.tree.map(lambda g: g * jnp.minimum(1.0, norm / (jnp.sqrt(jnp.sum(g**2)) + 1e-12)), grads)

    return optax.chain(optax.stateless(bound), tx) if norm else tx


def without_critic(config) -> GMMN:
    choose(config.model.loss, {"mmd": mmd, "mmd2": mmd2}, "loss (config.model.loss) without a critic")
    return GMMN(**shared(config, networks(config)[0], math.prod(base.example_shape(config.data))))


def with_critic(config) -> MMDGAN:
    """A generator and an encoder whose features the kernels compare."""
    model, (generator, encoder) = config.model, networks(config)
    penalty = choose(model.penalty, PENALTIES, "penalty (config.model.penalty)")(model.slope)
    terms = (
        ("autoencoder", model.autoencoder_weight, autoencoder),
        ("witness", model.penalty_weight, penalty),
        ("activations", model.activation_weight, activations),
    )
    least = dict.fromkeys(("autoencoder_weight", "penalty_weight", "activation_weight", "clip", "gradient_clip"), 0)
    for key, bound in (least | {"rounds": 1}).items():
        if model[key] < bound:
            raise InputError(f"config.model.{key}={model[key]} must be at least {bound}")
    decoder = generator.clone() if model.autoencoder_weight else None  # the same network, with parameters of its own
    return MMDGAN(
        critic=Critic(encoder, decoder),
        d_tx=clipped(optimizers.build(model.d_optimizer, "d_optimizer"), model.gradient_clip),
        terms=tuple(term for term in terms if term[1]),
        rounds=model.rounds,
        critic_moves=choose(model.schedule, SCHEDULES, "schedule of the critic (config.model.schedule)")(model.rounds),
        project=partial(clamp_encoder, bound=model.clip or jnp.inf),
        **shared(config, generator, model.features),
    )


CRITICS = {"none": without_critic, "learned": with_critic}


def networks(config) -> tuple[nn.Module, nn.Module]:
    """The generator and the encoder that a config names; a decoder is one more network like the generator."""
    nets = choose(config.model.nets, NETS, "networks (config.model.nets)")
    return nets(config, base.example_shape(config.data), config.model, jnp.dtype(config.dtype))


def perceptrons(config, shape, model, dtype) -> tuple[nn.Module, nn.Module]:
    squash, widths = jnp.tanh if config.data.domain == "image" else None, (model.width,) * 3
    generator = mlp.Generator(shape, widths, squash=squash, dtype=dtype)
    return generator, encoders.Perceptron(model.features, widths, dtype)


def li2017(config, shape, model, dtype) -> tuple[nn.Module, nn.Module]:
    widths = halving_widths(config, shape, model.width)
    norm = partial(dcgan.Norm, True, 1e-5)
    encoder = encoders.Convolutional(model.features, widths, norm=norm, dtype=dtype)
    return dcgan.Generator(shape, model.width, dtype=dtype), encoder


def binkowski2018(config, shape, model, dtype) -> tuple[nn.Module, nn.Module]:
    widths = halving_widths(config, shape, model.width)
    encoder = encoders.Convolutional(model.features, widths, kernel=5, bias=True, dtype=dtype)
    return dcgan.Generator(shape, model.width, kernel=5, dtype=dtype), encoder


def wang2019(config, shape, model, dtype) -> tuple[nn.Module, nn.Module]:
    halving_widths(config, shape, model.width)
    divisible(shape, 8, model.nets)
    widths = tuple(model.width * 2**level for level in (3, 2, 1, 0))
    return sngan.Generator(shape, widths, dtype), encoders.Spectral(model.features, model.width, dtype)


def halving_widths(config, shape: tuple[int, ...], width: int) -> tuple[int, ...]:
    """Channels of each level of a convolutional encoder: they double, up to 8 times. InputError for points."""
    if config.data.domain != "image":
        raise InputError(
            f"config.model.nets='{config.model.nets}' makes images, and dataset '{config.data.name}' holds "
            f"{config.data.domain}s; use 'mlp'"
        )
    return tuple(width * min(2**level, 8) for level in range(dcgan.levels(*shape[:2])))


NETS = {"mlp": perceptrons, "li2017": li2017, "binkowski2018": binkowski2018, "wang2019": wang2019}
