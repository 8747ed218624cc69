"""How the game stands: what every GAN is asked whenever training writes a line of its log, and plain warnings.

    accuracy/train      of a training example and a sample, how often the critic prefers the example: .5 is chance, for
                        critics of any scale and without a threshold (it is the area under the ROC curve)
    accuracy/held_out   the same of real examples that it has never seen, where the dataset has some
    diversity/samples   mean distance between two samples over that between two training examples
    warning/<name>      text, on every line for which the rule of that name holds

Always the same examples and latents, and the generator as it plays, not its average. A GAN without `contract.Judge`
has no accuracies; what is not a finite number is left out. Warnings are functions of the lines of the stage so far,
which a resumed run reads back, so that it writes what an uninterrupted one would have.
"""

import contextlib
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gan_jax import contract, parallel
from gan_jax.analysis import restore
from gan_jax.contract import GAN, Judge, Key, PyTree, Stage
from gan_jax.data import transforms
from gan_jax.errors import InputError
from gan_jax.metrics import populations, records

DIAGNOSE = 2**32 - 3  # folded into the root key, as `step.INIT` and `step.PREVIEW` are
WARNING = "warning/"
MOST = 256  # examples of each kind: an accuracy is then known to .03
SHARE = (
    20  # at most 1/20 of an example for each one trained on: about 1 % of a step, which goes through D some ten times
)
PAIRS = (1, 2, 3, 5)  # distances are those of examples that are so many places apart: no matrix, nothing is gathered
Line = Mapping[str, float | int | str]


class Diagnostics:
    """What one stage's game is asked. `start` is the number of steps before the stage."""

    def __init__(
        self,
        config: ConfigDict,
        stage: Stage,
        start: int,
        state: PyTree,
        key: Key,
        mesh: jax.sharding.Mesh,
        workdir: pathlib.Path,
    ):
        self._look = None
        if not config.diagnose:
            return
        resolved = restore.stage_config(config, stage)
        self._count = min(affordable(stage.batch_size, config.log_every), resolved.data.examples)
        self._key, self._batches = key, fixed_batches(resolved.data, self._count, mesh)
        program = jax.jit(
            lambda state, batches, key: look(stage.gan, state, batches, resolved.data.domain, self._count, key),
            out_shardings=parallel.replicated(mesh),
        )
        self._look = program.lower(state, self._batches, key).compile()
        path, done = workdir / "metrics.jsonl", int(state.step)
        written = records.read(path) if done > start and path.exists() else []
        own = [line for line in written if start < line["step"] <= done and records.EVALUATED not in line]
        self._lines = [kept(line) for line in own if kept(line)]

    def __call__(self, state: PyTree, values: Line) -> dict[str, float | str]:
        """What belongs to the line of the log that holds `values`."""
        if self._look is None:
            return {}
        found = measures(jax.device_get(self._look(state, self._batches, self._key)))
        self._lines.append(kept({**values, **found}))
        return found | warnings(self._lines, self._count)


def affordable(batch_size: int, log_every: int) -> int:
    """How many examples of each kind: a power of two, which devices can share."""
    most = min(MOST, max(4 * batch_size, 16), max(batch_size * log_every // SHARE, 32))
    return 2 ** int(math.log2(most))


def fixed_batches(section: ConfigDict, count: int, mesh: jax.sharding.Mesh) -> dict[str, dict[str, jax.Array]]:
    """`count` training examples, and as many held-out ones where there are any: {"train": batch, "held_out": batch}.

    Batches may be filled up to what the devices can share.
    """
    fields = (section.domain, "a") if section.get("source_shape") else (section.domain,)

    def read(opened: Callable) -> tuple[tuple[int, ...], dict[str, jax.Array]]:
        """The shape of the main array, and a batch."""
        found = {field: opened(section, mesh, count, field) for field in fields}
        main, batch = found[section.domain], {}
        for field, population in found.items():
            batch[field], labels, _ = next(iter(population.batches(population.whole(count))))
        return main.shape, batch | (parallel.replicate({"label": labels}, mesh) if main.labelled else {})

    shape, batch = read(populations.real)
    batches = {"train": batch}
    with contextlib.suppress(InputError):  # the dataset has none, or too few
        other, batch = read(populations.held_out)
        batches |= {"held_out": batch} if other == shape else {}
    return batches


def look(gan: GAN, state: PyTree, batches: PyTree, domain: str, count: int, key: Key) -> dict[str, jax.Array]:
    """The scores [count] of examples and samples, and the ratio of their distances."""
    batches = jax.tree.map(lambda array: transforms.to_float(array) if array.dtype == jnp.uint8 else array, batches)
    real = batches["train"]
    samples = gan.sample(contract.raw(state), real, jax.random.fold_in(key, DIAGNOSE))
    samples = samples.get(domain) if isinstance(samples, dict) else samples  # who translates both ways has both
    seen = {}
    if getattr(samples, "shape", None) != real[domain].shape:
        return seen  # what is sampled is not what is trained on, and cannot be compared with it
    if isinstance(gan, Judge):
        scores = {name: gan.score(state, batch[domain], batch) for name, batch in batches.items()}
        scores["fake"] = gan.score(state, samples, real)
        seen = {name: score[:count] for name, score in scores.items()}
    return seen | {"diversity": distance(samples[:count]) / distance(real[domain][:count])}


def distance(examples: jax.Array) -> jax.Array:
    """The mean distance of two examples."""
    flat = examples.reshape(len(examples), -1)
    others = jnp.stack([jnp.roll(flat, places, axis=0) for places in PAIRS])
    return jnp.sqrt(jnp.sum((flat[None] - others) ** 2, axis=-1)).mean()


def measures(seen: Mapping[str, np.ndarray]) -> dict[str, float]:
    """What a line says of these scores and distances."""
    found = {"diversity/samples": float(seen["diversity"])} if "diversity" in seen else {}
    if "fake" in seen:
        fake = np.asarray(seen["fake"], np.float64)
        for name in ("train", "held_out"):
            if name in seen:
                difference = np.asarray(seen[name], np.float64)[:, None] - fake
                found[f"accuracy/{name}"] = float(np.mean((1 + np.sign(difference)) / 2))
    return {name: value for name, value in found.items() if math.isfinite(value)}


def kept(line: Line) -> Line:
    """What the rules look at: nothing of a line that is an evaluation alone."""
    return {name: value for name, value in line.items() if name in READ}


# ------------------------------------------------------------------------------------------- what to make of it

EARLY = 5  # the first lines of a stage are no evidence: untrained samples are easily told apart, and all alike
LASTING = 5  # lines in a row for which something must hold: a single one may be a bad moment of a sound game
SEPARATED = 0.99  # accuracy; by itself no harm: many a sound critic of images is as good as that
VANISHED = 0.02  # of the highest level that the generator's gradient has held: a move is then lost in its noise
SOLVED = 0.01  # loss of a discriminator whose loss is at best 0, and of order 1 by chance (log 4, 2, 1/2)
COLLAPSED = 0.25  # of the data's distances: blurred or cautious samples keep .6 and more
MEMORISED = 0.15  # more of the training data is accepted than of what was held out; a sound critic has some .03
DEVIATIONS = 4  # and so many standard deviations of that difference: the examples stay the same, so time averages none
SPAN = 20  # lines in which swings are counted, those of the later half on their own: they must not be dying out
SWING = 0.45  # of the accuracy, from one turn to the next: a sound game near its equilibrium may waver by .3
SWINGS = 6  # in SPAN lines


def won(lines: Sequence[Line], count: int) -> str:
    """The critic is always right, and either player's loss tells the generator nothing any more."""
    accuracy, gradient, loss = unseen_accuracy(lines), series(lines, "grad/g"), series(lines, "loss/d")
    if not lasts(accuracy >= SEPARATED):
        return ""
    share, left = recent(gradient) / highest_level(gradient), recent(loss)
    if not share < VANISHED and not 0 <= left <= SOLVED:
        return ""
    why = f"the generator's gradient is {share:.1%} of what it was" if share < VANISHED else f"its loss is {left:.2g}"
    return (
        f"the discriminator has won: it is right of {accuracy[-1]:.1%} of all pairs and {why}. Try a lower rate or "
        "fewer rounds for it, a gradient penalty, noise on what it sees, or a loss that does not saturate"
    )


def collapse(lines: Sequence[Line], count: int) -> str:
    """Samples are nearly all alike."""
    diversity = series(lines, "diversity/samples")
    if not lasts(diversity < COLLAPSED):
        return ""
    return (
        f"mode collapse: two samples differ by {diversity[-1]:.0%} of what two training examples do. Try a gradient "
        "penalty, minibatch statistics in the discriminator, or a lower rate for the generator"
    )


def oscillation(lines: Sequence[Line], count: int) -> str:
    """The critic is in turn far better and far worse than the generator."""
    accuracy = unseen_accuracy(lines)[EARLY:][-SPAN:]
    if len(accuracy) < SPAN:
        return ""
    turns = swings(accuracy, SWING)
    if turns < SWINGS or swings(accuracy[SPAN // 2 :], SWING) < SWINGS // 2:
        return ""
    return (
        f"the players chase each other: in the last {SPAN} lines the discriminator's accuracy swung {turns} times "
        f"between {accuracy.min():.0%} and {accuracy.max():.0%}. Try lower rates, less momentum (b1), a gradient "
        "penalty, or an average of the generator (half_life)"
    )


def overfitting(lines: Sequence[Line], count: int) -> str:
    """The critic knows the training data rather than what it looks like."""
    train, held_out = series(lines, "accuracy/train"), series(lines, "accuracy/held_out")
    middle = (train + held_out) / 2
    bound = np.maximum(MEMORISED, DEVIATIONS * np.sqrt(2 * middle * (1 - middle) / count))
    if not lasts(train - held_out > bound):
        return ""
    return (
        f"the discriminator learns its data by heart: it prefers a training example to a sample in {train[-1]:.0%} of "
        f"all pairs, and a real one that it has not seen in {held_out[-1]:.0%}. Try more data, augmentation, a smaller "
        "discriminator, dropout or a penalty in it; or stop earlier"
    )


RULES: dict[str, Callable[[Sequence[Line], int], str]] = {
    "won": won,
    "collapse": collapse,
    "oscillation": oscillation,
    "overfitting": overfitting,
}
READ = frozenset(("loss/d", "grad/g", "diversity/samples", "accuracy/train", "accuracy/held_out"))  # by the rules


def warnings(lines: Sequence[Line], count: int) -> dict[str, str]:
    """The warnings that the last of these lines deserves; `count` is the number of examples behind each accuracy."""
    texts = {name: rule(lines, count) for name, rule in RULES.items()}
    return {WARNING + name: text for name, text in texts.items() if text}


def series(lines: Sequence[Line], name: str) -> np.ndarray:
    """The values of `name`, NaN where a line has none: no comparison holds for it."""
    return np.array([line.get(name, math.nan) for line in lines], np.float64)


def unseen_accuracy(lines: Sequence[Line]) -> np.ndarray:
    """On held-out examples, else on those trained on."""
    train, held_out = series(lines, "accuracy/train"), series(lines, "accuracy/held_out")
    return np.where(np.isnan(held_out), train, held_out)


def lasts(holds: np.ndarray) -> bool:
    """Whether something holds for each of the last lines, none of which is an early one."""
    recent = holds[EARLY:][-LASTING:]
    return len(recent) == LASTING and bool(recent.all())


def recent(values: np.ndarray) -> float:
    """The median of the last lines, so that a spike does not decide."""
    return float(np.median(values[-LASTING:]))


def highest_level(values: np.ndarray) -> float:
    """The highest median of LASTING lines in a row, so that a long lull does not decide either; NaN of fewer."""
    if len(values) < LASTING:
        return math.nan
    levels = np.median(np.lib.stride_tricks.sliding_window_view(values, LASTING), axis=1)
    return float(levels[~np.isnan(levels)].max(initial=-math.inf))


def swings(values: np.ndarray, size: float) -> int:
    """How many moves of at least `size` up and down in turn a series makes."""
    count, direction, low, high = 0, 0, values[0], values[0]
    for value in values:
        low, high = min(low, value), max(high, value)
        if direction <= 0 and value - low >= size:
            count, direction, high = count + 1, 1, value
        elif direction >= 0 and high - value >= size:
            count, direction, low = count + 1, -1, value
    return count
