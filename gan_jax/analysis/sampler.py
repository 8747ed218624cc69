"""From a run directory to images, in three lines:

    import gan_jax
    sampler = gan_jax.load("runs/x")
    images = sampler.sample(16)  # float32 [16, H, W, C] in [-1, 1]

Every tool of `analysis/` and every metric takes a `Sampler` and nothing else of a GAN. Sample i is made from a key of
its own, folded from the seed and i: it is the same whatever the number of samples, the batch size and the devices, but
for the rounding of sums of another length.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict
from tqdm import tqdm

from gan_jax import contract, latents, parallel
from gan_jax.analysis import restore
from gan_jax.contract import GAN, LatentGAN, PyTree, Styled
from gan_jax.errors import InputError, TrainingFailure, choose

TRUNCATION = 1  # folded into the key of a sample for what truncation draws again
Edit = Mapping[str, Callable[[jax.Array], jax.Array]]


def load(workdir: str | pathlib.Path, step: int | None = None, *, weights: str = "average") -> "Sampler":
    """The generator of the run in `workdir`, from its newest checkpoint or that of `step`.

    weights: "average", the running average of the generator, or "raw", the generator itself.

    Raises:
      InputError: if this is not a run directory, there is no such checkpoint, or none can be read.
    """
    run = restore.load(pathlib.Path(workdir), step)
    return of(run.stage.gan, run.state, restore.stage_config(run.config, run.stage), run.step, run.mesh, weights)


def of(gan: GAN, state: PyTree, config: ConfigDict, step: int, mesh: jax.sharding.Mesh, weights: str) -> "Sampler":
    """A sampler of this state. `config` is the resolved one, its data section as the state's stage asks for it."""
    choose(weights, dict.fromkeys(("average", "raw")), "weights")
    told = restore.conditions(gan, state, config, mesh)
    weights = weights if hasattr(state, "average") else "raw"
    state = contract.raw(state) if weights == "raw" else state
    return Sampler(gan, state, config, step, weights, mesh, told, _compile(gan, restore.example_spec(config), mesh))


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A GAN as it stood after `step` steps, on the devices of `mesh`."""

    gan: GAN
    state: PyTree
    config: ConfigDict  # resolved
    step: int
    weights: str  # "average" or "raw"
    mesh: jax.sharding.Mesh
    conditions: frozenset[str]  # the fields of a batch on whose values samples depend: `label`, or a source
    programs: "Programs" = dataclasses.field(repr=False)

    @property
    def domain(self) -> str:
        """What a sample is: "image", "point", ..."""
        return self.config.data.domain

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample: (H, W, C), (D,)."""
        return restore.example_spec(self.config)[self.domain].shape

    @property
    def classes(self) -> int:
        """How many labels the samples can be asked for; 0 where samples do not depend on any."""
        return self.config.data.classes if "label" in self.conditions else 0

    def labels(self, number: int, chosen=None, first: int = 0) -> np.ndarray:
        """The classes of samples `first` to `first + number - 1`, int32 [number]: those in `chosen`, or all, in turn.

        Raises:
          InputError: for a label that does not exist.
        """
        if chosen is None:
            return np.arange(first, first + number, dtype=np.int32) % max(self.classes, 1)
        if not self.classes:
            raise InputError("labels were asked of an unconditional GAN; leave them out")
        chosen = np.atleast_1d(np.asarray(chosen, np.int32))
        if not ((chosen >= 0) & (chosen < self.classes)).all():
            raise InputError(f"labels {chosen.tolist()}: the classes of this GAN are 0 to {self.classes - 1}")
        return chosen[np.arange(first, first + number) % len(chosen)]

    def sample(self, number: int, seed: int = 0, *, labels=None, truncation: float | None = None) -> np.ndarray:
        """Samples 0 to `number - 1` of this seed, float32 [number, ...]."""
        batches = self.stream(number, seed, labels=labels, truncation=truncation, progress=False)
        return np.concatenate([samples for samples, _ in batches])

    def stream(
        self,
        number: int,
        seed: int = 0,
        *,
        labels=None,
        truncation: float | None = None,
        batch_size: int = 64,
        progress: bool = True,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same in batches, with their labels: (float32 [n, ...], int32 [n]), as many as needed.

        Raises:
          InputError: for labels or a truncation that this GAN does not know, or a GAN that samples from data.
          TrainingFailure: if samples are not finite numbers.
        """
        batches = self.batches(
            number, seed, labels=labels, truncation=truncation, batch_size=min(batch_size, max(number, 1))
        )
        with tqdm(total=number, unit="sample", disable=None if progress else True, leave=False) as bar:
            for samples, given, count in batches:
                samples = parallel.fetch(samples)[:count]
                if not np.isfinite(samples).all():
                    raise TrainingFailure(f"samples of step {self.step} are not finite numbers")
                bar.update(count)
                yield samples, given[:count]

    def batches(
        self, number: int, seed: int = 0, *, labels=None, truncation: float | None = None, batch_size: int = 64
    ) -> Iterator[tuple[jax.Array, np.ndarray, int]]:
        """The same on the devices, split over them: (samples [B, ...], labels [B], how many of them count).

        All have `batch_size`, or as much more as the devices can share; in the last one what comes after `number` is
        there and does not count.
        """
        self.check_noise()
        self.check_truncation(truncation)
        self.labels(0, labels)
        shards = parallel.batch_shards(self.mesh)
        size = -(-batch_size // shards) * shards
        bound = np.float32(np.inf if truncation is None else truncation)
        make = self.programs.sample if truncation is None else self.programs.truncated
        for start in range(0, number, size):
            indices, given = np.arange(start, start + size, dtype=np.uint32), self.labels(size, labels, start)
            with jax.set_mesh(self.mesh):
                yield make(self.state, np.uint32(seed), indices, given, bound), given, min(size, number - start)

    def latents(self, number: int, seed: int = 0, *, truncation: float | None = None) -> PyTree:
        """The latents of samples 0 to `number - 1` of this seed: arrays with a leading axis of `number`."""
        self.check_latent()
        self.check_truncation(truncation)
        bound = np.float32(np.inf if truncation is None else truncation)
        draw = self.programs.latents if truncation is None else self.programs.truncated_latents
        with jax.set_mesh(self.mesh):
            return draw(np.uint32(seed), np.arange(number, dtype=np.uint32), bound)

    def generate(self, z: PyTree, labels=None, edit: Edit | None = None, batch_size: int = 64) -> np.ndarray:
        """Samples float32 [n, ...] of the latents `z` [n, ...], under the classes `labels` (in turn).

        edit: changes what layers give, `{"Norm_1": lambda activation: ...}`, on their way through the network;
          `layers()` has the names. A function keeps the shape.

        Raises:
          InputError: for a GAN without latents, or a layer that it does not have.
        """
        make = self.programs.generate if edit is None else _editor(self, edit)
        return self._in_batches(make, z, labels, batch_size)

    def styles(self, z: PyTree, psi: float = 1.0, labels=None, batch_size: int = 64) -> PyTree:
        """The latents `z` [n, ...] with styles `w` [n, layers, size] in the place of what they are made of, a share
        `psi` of the way from the mean style. `generate` takes them as it takes `z`.

        Raises:
          InputError: for a GAN without styles.
        """
        self.check_styled()
        share = np.float32(psi)
        return self._in_batches(
            lambda state, z, labels: self.programs.styles(state, z, labels, share), z, labels, batch_size
        )

    def activations(self, z: PyTree, layers, labels=None, batch_size: int = 64) -> dict[str, np.ndarray]:
        """What these layers give for the latents `z`: {path: float32 [n, ...]}."""
        known = self.layers()
        for path in layers:
            choose(path, known, "layer")

        def record(state, z, labels):
            return {path: value for path, value in _intercept(self, state, z, labels, {})[1].items() if path in layers}

        return self._in_batches(jax.jit(record), z, labels, batch_size)

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Every layer of the generator that gives one array per example, in order: its path, and the array's shape."""
        order = []

        def outputs(state):
            z = self.programs.latents(np.uint32(0), np.zeros(1, np.uint32), np.float32(1))
            _, seen = _intercept(self, state, z, jnp.zeros(1, jnp.int32), {})
            order.extend(seen)
            return seen

        self.check_latent()
        shapes = jax.eval_shape(outputs, self.state)
        return {path: shapes[path].shape[1:] for path in order}

    def check_noise(self) -> None:
        """Raises InputError if samples are made from data and not from noise."""
        sources = self.conditions - {"label"}
        if sources:
            raise InputError(f"'{self.config.gan}' makes its samples from data ({', '.join(sources)}), not from noise")

    def check_latent(self) -> None:
        """Raises InputError if the samples are no function of a latent."""
        if not isinstance(self.gan, LatentGAN):
            raise InputError(f"'{self.config.gan}' has no latent that could be looked at or moved")

    @property
    def styled(self) -> bool:
        """Whether the latents become styles, one for each layer."""
        return isinstance(self.gan, Styled)

    def check_styled(self) -> None:
        """Raises InputError if the generator has no styles."""
        if not self.styled:
            raise InputError(f"'{self.config.gan}' has no styles; this is for generators as StyleGAN's")

    def check_truncation(self, bound: float | None) -> None:
        """Truncation is a property of the normal distribution: other latents have no tails."""
        if bound is None:
            return
        latent = self.config.model.get("latent")
        if bound <= 0:
            raise InputError(f"truncation={bound} must be positive")
        if latent != "normal" or not isinstance(self.gan, LatentGAN):
            raise InputError(
                f"truncation={bound} is for normal latents; those of this run are {latent} (config.model.latent)"
            )

    def _in_batches(self, make: Callable, z: PyTree, labels, batch_size: int) -> PyTree:
        """`make(state, z, labels)` over equal pieces of `z`; the last one is filled up and cut."""
        self.check_latent()
        number = jax.tree.leaves(z)[0].shape[0]
        size = min(batch_size, number)
        given, pieces = self.labels(number, labels), []
        with jax.set_mesh(self.mesh):
            for start in range(0, number, size):
                rows = np.minimum(np.arange(start, start + size), number - 1)
                made = make(self.state, jax.tree.map(lambda leaf, rows=rows: leaf[rows], z), given[rows])
                pieces.append(jax.tree.map(lambda leaf, n=number - start: leaf[:n], parallel.fetch(made)))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)


@dataclasses.dataclass(frozen=True)
class Programs:
    """What a sampler runs; compiled once for all the states of a GAN."""

    sample: Callable  # (state, seed, indices [n], labels [n], bound) -> samples [n, ...]
    truncated: Callable
    latents: Callable  # (seed, indices [n], bound) -> z
    truncated_latents: Callable
    generate: Callable  # (state, z, labels [n]) -> samples [n, ...]
    styles: Callable  # (state, z, labels [n], psi) -> z with styles, of a GAN that has them


def _compile(gan: GAN, spec: Mapping[str, jax.ShapeDtypeStruct], mesh: jax.sharding.Mesh) -> Programs:
    def keys_of(seed, indices):
        return jax.vmap(lambda index: jax.random.fold_in(jax.random.key(seed), index))(indices)

    def draw(seed, indices, bound, truncate=False):
        def single(key):
            z = gan.latents(key, _batch(spec, jnp.zeros(1, jnp.int32)))
            z = _truncated(z, jax.random.fold_in(key, TRUNCATION), bound) if truncate else z
            return jax.tree.map(lambda leaf: leaf[0], z)

        return jax.tree.map(parallel.constrain, jax.vmap(single)(keys_of(seed, indices)))

    def generate(state, z, labels):
        return gan.generate(state, z, _batch(spec, labels))

    def sample(state, seed, indices, labels, bound, truncate=False):
        if isinstance(gan, LatentGAN):
            return generate(state, draw(seed, indices, bound, truncate), labels)

        def single(key, label):
            return gan.sample(state, _batch(spec, label[None]), key)[0]

        return jax.vmap(single)(keys_of(seed, indices), labels)

    rows = parallel.batch_sharding(mesh)
    return Programs(
        sample=jax.jit(sample, out_shardings=rows),
        truncated=jax.jit(lambda *args: sample(*args, truncate=True), out_shardings=rows),
        latents=jax.jit(draw),
        truncated_latents=jax.jit(lambda *args: draw(*args, truncate=True)),
        generate=jax.jit(generate),
        styles=jax.jit(lambda state, z, labels, psi: gan.styles(state, z, _batch(spec, labels), psi)),
    )


def _truncated(z: PyTree, rng: jax.Array, bound: jax.Array) -> PyTree:
    """Latents, or the `noise` among latents of several kinds: codes have no tails."""
    if isinstance(z, Mapping):
        return {**z, "noise": latents.truncate(z["noise"], rng, bound)}
    return latents.truncate(z, rng, bound)


def _batch(spec: Mapping[str, jax.ShapeDtypeStruct], labels: jax.Array) -> dict[str, jax.Array]:
    """A batch of these labels; all else in it is empty."""
    batch = {name: jnp.zeros((len(labels), *leaf.shape), leaf.dtype) for name, leaf in spec.items()}
    return batch | ({"label": labels} if "label" in batch else {})


def _intercept(sampler: Sampler, state: PyTree, z: PyTree, labels, edit: Edit) -> tuple[jax.Array, dict]:
    """Samples made while `edit` changes what layers give, and what every layer gave after that.

    A layer that is called several times is edited every time, and its last output is the one that is told.
    """
    seen = {}
    count = len(labels)

    def watch(call, args, kwargs, context):
        output = call(*args, **kwargs)
        path = "/".join(context.module.path)
        if (
            context.method_name != "__call__"
            or not path
            or not hasattr(output, "shape")
            or output.shape[:1] != (count,)
        ):
            return output
        seen[path] = edit[path](output) if path in edit else output
        if seen[path].shape != output.shape:
            raise InputError(f"edit of layer '{path}' made {seen[path].shape} of {output.shape}; the shape must stay")
        return seen[path]

    with nn.intercept_methods(watch):
        samples = sampler.gan.generate(state, z, _batch(restore.example_spec(sampler.config), labels))
    return samples, seen


def _editor(sampler: Sampler, edit: Edit) -> Callable:
    known = sampler.layers()
    for path in edit:
        choose(path, known, "layer (edit)")
    return jax.jit(lambda state, z, labels: _intercept(sampler, state, z, labels, edit)[0])
