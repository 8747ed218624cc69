"""The contract between a paper's file and everything else: three pure functions over one pytree.

A file in `gans/` offers `stages(config) -> tuple[Stage, ...]`. Each stage holds an object with the three functions of
`GAN`. The training loop, the checkpoints, the mesh and the tools know nothing else about a GAN.

A batch is a flat dict of arrays whose leading axis is examples:

    image  [B, H, W, C] float32 in [-1, 1]        label  [B] int32
    point  [B, D] float32                         and one name for each further domain

`train_step` of a GAN with `rounds > 1` gets one more leading axis, `[rounds, B, ...]`: one real minibatch for each
critic step. `init` and `sample` always see a single round, `[B, ...]`.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from gan_jax.errors import choose

Array = jax.Array
Key = jax.Array
PyTree = Any
Batch = Mapping[str, Any]  # of arrays, or of their shapes where nothing is computed
Metrics = dict[str, Array]


@struct.dataclass
class Net:
    """What one optimiser moves, and what moves with it."""

    params: PyTree
    stats: PyTree  # every other collection: batch_stats, spectral, w_average
    opt: optax.OptState = ()
    grad_norm: PyTree = ()  # of the last gradient that was descended, float32 []; () where nothing descends


@struct.dataclass
class State:
    """Enough for the classical game. Papers with more players or memories bring a dataclass of their own, in which
    only `step` is required."""

    step: PyTree  # int32 [], increments once per train_step
    g: Net
    d: Net
    average: Net  # the generator that is sampled: a running average of `g`, without an optimiser


@runtime_checkable
class GAN(Protocol):
    """What every GAN is to the rest of the library."""

    rounds: int  # real minibatches that one train_step consumes: n_critic for WGAN, 1 for most
    # A game may also say what tests cannot know: `deterministic`, that its steps draw nothing, and `coupled`, how many
    # numbers of each example it compares with all others, which a mesh must gather.

    def init(self, rng: Key, batch: Batch) -> PyTree:
        """The state before the first step. `batch` shows shapes and dtypes and may also be looked at."""

    def train_step(self, state: PyTree, batch: Batch, rng: Key) -> tuple[PyTree, Metrics]:
        """One step: the next state and a flat dict of float32 scalars (`loss/d`, `score/real`, ...)."""

    def sample(self, state: PyTree, batch: Batch, rng: Key) -> PyTree:
        """Samples under the conditions of `batch`: its length, its labels, its source images."""


@runtime_checkable
class LatentGAN(GAN, Protocol):
    """A GAN whose samples are a function of a latent, which analysis tools may move."""

    def latents(self, rng: Key, batch: Batch) -> PyTree: ...

    def generate(self, state: PyTree, latents: PyTree, batch: Batch) -> PyTree: ...


@runtime_checkable
class Styled(LatentGAN, Protocol):
    """A GAN whose latents become styles, `w` [B, L, D], one for each layer, from which `generate` makes images too."""

    def styles(self, state: PyTree, latents: PyTree, batch: Batch, psi: float | Array) -> PyTree:
        """The latents with `w` in the place of `z`: a share `psi` of the way from the mean style; 1 is all of it."""


@runtime_checkable
class Judge(GAN, Protocol):
    """A GAN whose critic gives an opinion of single examples, which diagnostics and pictures ask for."""

    def score(self, state: PyTree, examples: Array, batch: Batch) -> Array:
        """[B] float32 for examples [B, ...] under the conditions of `batch`: high says data. No scale is promised."""


@runtime_checkable
class Checked(GAN, Protocol):
    """A GAN that needs something of the world before it is trained, and not to be looked at: weights of others."""

    def check(self) -> None:
        """Raises InputError if it is not there."""


class Stage(NamedTuple):
    """Which pure functions, for how many steps, on which view of the data."""

    name: str
    gan: GAN
    steps: int
    batch_size: int  # global examples per round
    data: Mapping[str, Any] = {}  # what this stage asks of the data, e.g. {"resolution": (32, 32)}


def create(module: nn.Module, tx: optax.GradientTransformation, rng: Key | Mapping[str, Key], *inputs, **kwargs) -> Net:
    """A `Net` whose parameters were drawn for these inputs, from one key or from one for each of flax's streams."""
    stats = dict(module.init(rng, *inputs, **kwargs))
    params = stats.pop("params")
    return Net(params=params, stats=stats, opt=tx.init(params), grad_norm=jnp.zeros(()))


def still(net: Net) -> Net:
    """A copy of a net that no optimiser moves: an average, a frozen teacher."""
    return jax.tree.map(jnp.copy, net.replace(opt=(), grad_norm=()))


def apply(
    module: nn.Module,
    net: Net,
    *inputs,
    params: PyTree | None = None,
    train: bool,
    rngs: Mapping[str, Key] | None = None,
    hold: tuple[str, ...] = (),
) -> tuple[PyTree, PyTree]:
    """`(output, stats)` of the module on these inputs.

    Args:
      params: used in place of `net.params`: the argument that a loss is differentiated by.
      train: passed on to the module. In training the returned stats have moved; the caller keeps or drops them.
      hold: collections that stay as they are even in training, e.g. `("spectral",)` after a round's first pass.
    """
    params = net.params if params is None else params
    moving = [name for name in net.stats if name not in hold] if train else []
    output, moved = module.apply({"params": params, **net.stats}, *inputs, train=train, rngs=rngs, mutable=moving)
    return output, {**net.stats, **moved}


def descend(
    net: Net, tx: optax.GradientTransformation, loss: Callable, pieces: PyTree | None = None
) -> tuple[Net, PyTree]:
    """One optimiser step down `loss(params) -> (scalar, (stats, aux))`: the moved net and `aux`.

    With `pieces` (a pytree with a leading axis of k microbatches, see `split`) the loss is called as
    `loss(params, piece)`, one piece after the other in the memory of one; gradients and `aux` are averaged, and the
    stats are those of the last piece.
    """
    gradient = jax.grad(loss, has_aux=True)
    if pieces is None:
        grads, (stats, aux) = gradient(net.params)
    else:

        def accumulate(total, piece):
            grads, (stats, aux) = gradient(net.params, piece)
            return jax.tree.map(jnp.add, total, grads), (stats, aux)

        zeros = jax.tree.map(jnp.zeros_like, net.params)
        total, (stats, aux) = jax.lax.scan(accumulate, zeros, pieces)
        count = jax.tree.leaves(pieces)[0].shape[0]
        grads = jax.tree.map(lambda leaf: leaf / count, total)
        stats, aux = jax.tree.map(lambda leaf: leaf[-1], stats), mean(aux)
    with jax.numpy_dtype_promotion("standard"):  # Optax raises floats to its integer step count
        updates, opt = tx.update(grads, net.opt, net.params)
    params, norm = optax.apply_updates(net.params, updates), optax.tree.norm(grads)
    return Net(params=params, stats=stats, opt=opt, grad_norm=norm), aux


def grad_norms(state: PyTree) -> Metrics:
    """`grad/<name>` for every net of a state that descends: g, d, and in populations g_0, g_1, ..."""

    def is_net(node):
        return isinstance(node, Net)

    nets = jax.tree_util.tree_leaves_with_path(state, is_leaf=is_net)
    moving = [(path, net) for path, net in nets if is_net(net) and not isinstance(net.grad_norm, tuple)]
    return {f"grad/{jax.tree_util.keystr(path, simple=True, separator='_')}": net.grad_norm for path, net in moving}


def split(batch: PyTree, pieces: int) -> PyTree:
    """`[B, ...]` to `[pieces, B / pieces, ...]`, every piece a strided share, so that on a mesh each device keeps
    its own examples and nothing is moved."""

    def cut(leaf):
        return jnp.moveaxis(leaf.reshape(leaf.shape[0] // pieces, pieces, *leaf.shape[1:]), 1, 0)

    return jax.tree.map(cut, batch)


def play(rounds: int, body: Callable, carry: PyTree, batch: Batch, rng: Key) -> tuple[PyTree, Metrics]:
    """`body(carry, minibatch, rng) -> (carry, metrics)` once for each of the rounds in `batch`; metrics averaged."""
    if rounds == 1:
        return body(carry, batch, rng)
    inputs = (batch, jax.random.split(rng, rounds))
    carry, metrics = jax.lax.scan(lambda carry, inputs: body(carry, *inputs), carry, inputs)
    return carry, mean(metrics)


def last_round(rounds: int, batch: Batch) -> Batch:
    """The minibatch of the last round, `[B, ...]`."""
    return batch if rounds == 1 else jax.tree.map(lambda leaf: leaf[-1], batch)


def count(batch: Batch) -> int:
    """How many examples a single round holds."""
    return jax.tree.leaves(batch)[0].shape[0]


def mean(metrics: PyTree) -> PyTree:
    """The mean of every leaf over its leading axis: metrics of several rounds become metrics of one step."""
    return jax.tree.map(lambda leaf: leaf.mean(axis=0), metrics)


def ema(average: Net, net: Net, decay: float | Array) -> Net:
    """`decay * average + (1 - decay) * net` over parameters and statistics. A decay of 0 is a copy of `net`."""

    def mix(old, new):
        return (decay * old + (1.0 - decay) * new).astype(new.dtype)

    return average.replace(
        params=jax.tree.map(mix, average.params, net.params), stats=jax.tree.map(mix, average.stats, net.stats)
    )


def ema_decay(half_life: float, batch_size: int) -> float:
    """Decay per step of an average that forgets half of its past in `half_life` images; 0.0 for a half-life of 0."""
    return 0.5 ** (batch_size / half_life) if half_life > 0 else 0.0


def raw(state: PyTree) -> PyTree:
    """The same state, sampled with the generator as it is instead of its running average."""
    if not hasattr(state, "average"):
        return state
    return state.replace(average=state.g.replace(opt=(), grad_norm=()))


def carry_over(old: PyTree, new: PyTree) -> PyTree:
    """`new`, with every parameter, and what moves with parameters, whose path and shape exist in `old`.

    Optimiser states and the step stay those of `new`.
    """

    def belongs_to_a_network(path):
        return any(getattr(entry, "name", None) in ("params", "stats") for entry in path)

    known = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(old)}

    def choice(path, leaf):
        before = known.get(jax.tree_util.keystr(path))
        keep = belongs_to_a_network(path) and before is not None and before.shape == leaf.shape
        return before if keep else leaf

    return jax.tree_util.tree_map_with_path(choice, new)


def spans(stages: tuple[Stage, ...]) -> list[tuple[int, Stage]]:
    """Every stage with the number of steps before it."""
    starts = [sum(stage.steps for stage in stages[:i]) for i in range(len(stages))]
    return list(zip(starts, stages, strict=True))


def load(config) -> tuple[Stage, ...]:
    """The stages of the GAN that `config.gan` names."""
    package = importlib.import_module("gan_jax.gans")
    papers = {module.name: module.name for module in pkgutil.iter_modules(package.__path__)}
    name = choose(config.gan, papers, "GAN (config.gan)")
    return importlib.import_module(f"gan_jax.gans.{name}").stages(config)
