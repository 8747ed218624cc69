"""What a GAN has made of a distribution in the plane: its samples over the density of the data, and the level sets of
its critic, as in figure 2 of "Improved Training of Wasserstein GANs" (Gulrajani et al., 2017, arXiv:1704.00028).

Of a critic that tells the generator where to go, the level sets run around the data and close on every mode; of one
that saturates, they crowd at a border and leave everything else flat.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gan_jax.analysis.sampler import Sampler
from gan_jax.contract import Judge
from gan_jax.data import datasets
from gan_jax.errors import InputError
from gan_jax.metrics import modes

SAMPLES = 2_500  # as many as published counts of modes take
RECORDS = 20_000  # of the data, for the frame and for a density that is not known
SIDE = 200  # points of the grid along each axis
MARGIN = 0.3  # of the data's reach, around it: what the critic says where no data is matters too
LEVELS = 14
BLUR = 1 / 60  # of the frame: standard deviation of the kernel of an estimated density
INCHES, DPI = 5.0, 110  # of one panel; dots per inch
PAPER, DATA, SAMPLE = "white", "#5b6b7f", "#d64541"


class Landscape(NamedTuple):
    title: str
    step: int
    frame: tuple[float, float, float, float]  # left, right, bottom, top
    density: Float[np.ndarray, "side side"]  # of the data, at the points of a grid, rows from the bottom
    scores: Float[np.ndarray, "side side"]  # of the critic, there: high says data
    samples: Float[np.ndarray, "n 2"]
    coverage: modes.Coverage | None  # where the modes are known
    modes: int  # how many there are


def landscape(sampler: Sampler, title: str = "", seed: int = 0, *, labels=None, number: int = SAMPLES) -> Landscape:
    """Samples, data and critic of a run on points in the plane.

    labels: the classes of the samples, in turn; the critic's scores are the mean over them.

    Raises:
      InputError: if this is another kind of data, or the critic gives no score of a single example.
    """
    if sampler.domain != "point" or sampler.shape != (2,):
        size = "x".join(map(str, sampler.shape))
        raise InputError(f"a landscape shows points in the plane; '{title or sampler.config.gan}' makes {size}")
    if not isinstance(sampler.gan, Judge):
        raise InputError(f"'{sampler.config.gan}' has no critic that scores single examples: nothing to draw")
    world = datasets.open(sampler.config.data)
    data = world.read(np.arange(min(RECORDS, len(world))))["point"].astype(np.float64)
    frame = framed(data)
    grid = points_of(frame)
    samples = sampler.sample(number, seed, labels=labels)
    centres = getattr(world, "centres", np.zeros((0, 2)))
    return Landscape(
        title or sampler.config.gan,
        sampler.step,
        frame,
        density(world, data, grid, frame),
        scores(sampler, grid, labels),
        samples,
        modes.coverage(samples, centres, world.std) if len(centres) else None,
        len(centres),
    )


def framed(data: Float[np.ndarray, "n 2"]) -> tuple[float, float, float, float]:
    """A square around the data with a margin: left, right, bottom, top."""
    low, high = data.min(axis=0), data.max(axis=0)
    (x, y), reach = (low + high) / 2, (1 + MARGIN) * max((high - low).max() / 2, 1e-6)
    return float(x - reach), float(x + reach), float(y - reach), float(y + reach)


def points_of(frame: tuple[float, float, float, float]) -> Float[np.ndarray, "n 2"]:
    """The points of a grid over the frame, row by row from below."""
    x, y = np.linspace(*frame[:2], SIDE), np.linspace(*frame[2:], SIDE)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def density(world, data, grid, frame) -> Float[np.ndarray, "side side"]:
    """The data's density at the points of the grid: in closed form where the world knows it, else estimated."""
    try:
        return np.exp(world.log_density(grid)).reshape(SIDE, SIDE)
    except (AttributeError, InputError):
        step = (frame[1] - frame[0]) / (SIDE - 1)
        edges = [np.linspace(low - step / 2, high + step / 2, SIDE + 1) for low, high in (frame[:2], frame[2:])]
        counts = np.histogram2d(data[:, 1], data[:, 0], bins=edges[::-1])[0]
        places = np.arange(SIDE)
        kernel = np.exp(-0.5 * ((places[:, None] - places) / (BLUR * SIDE)) ** 2)
        kernel /= kernel.sum(axis=1, keepdims=True)
        return kernel @ counts @ kernel.T / (len(data) * step**2)


def scores(sampler: Sampler, grid: Float[np.ndarray, "n 2"], labels=None) -> Float[np.ndarray, "side side"]:
    """What the critic says of every point of the grid; where it is told a class, the mean over the classes."""

    @jax.jit
    def judge(state, examples, label):
        told = {"label": jnp.full(len(examples), label, jnp.int32)} if sampler.config.data.classes else {}
        return sampler.gan.score(state, examples, {"point": examples, **told})

    told = np.unique(sampler.labels(len(labels), labels)) if labels is not None else range(max(sampler.classes, 1))
    with jax.set_mesh(sampler.mesh):
        found = [np.asarray(judge(sampler.state, np.float32(grid), np.int32(label)), np.float64) for label in told]
    return np.mean(found, axis=0).reshape(SIDE, SIDE)


def picture(landscapes: Sequence[Landscape]) -> np.ndarray:
    """A panel for each, under its title, and one legend: uint8 [height, width, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = math.ceil(math.sqrt(len(landscapes)))
    rows = math.ceil(len(landscapes) / columns)
    figure = Figure((INCHES * columns, (INCHES + 0.35) * rows + 0.35), dpi=DPI, layout="constrained", facecolor=PAPER)
    canvas = FigureCanvasAgg(figure)
    for place, drawn in enumerate(landscapes, start=1):
        draw(figure.add_subplot(rows, columns, place), drawn)
    figure.legend(handles=legend(), loc="outside lower center", ncols=3, frameon=False)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw(axes, drawn: Landscape) -> None:
    """One panel: the density in grey, the critic's level sets in colours, samples in red on top."""
    from matplotlib.colors import LinearSegmentedColormap

    grey = LinearSegmentedColormap.from_list("density", [PAPER, DATA])
    shade = np.sqrt(drawn.density)  # of narrow modes the flanks would not be seen
    options = {"extent": drawn.frame, "origin": "lower", "interpolation": "bilinear"}
    axes.imshow(shade, cmap=grey, vmin=0, vmax=np.quantile(shade, 0.999), **options)
    levels = level_sets(drawn.scores)
    if len(levels):
        x, y = np.linspace(*drawn.frame[:2], SIDE), np.linspace(*drawn.frame[2:], SIDE)
        axes.contour(x, y, drawn.scores, levels=levels, cmap="viridis", linewidths=1.0, alpha=0.8)
    axes.scatter(*drawn.samples.T, s=5, color=SAMPLE, alpha=0.45, linewidths=0, zorder=3)
    axes.set(xlim=drawn.frame[:2], ylim=drawn.frame[2:], xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_color("#c4c9d1")
    axes.set_title(drawn.title, loc="left", fontsize="large", fontweight="bold")
    axes.set_title(said(drawn), loc="right", fontsize="medium", color=DATA)


def level_sets(found: Float[np.ndarray, "side side"]) -> Float[np.ndarray, "k"]:
    """Equally spaced scores, without the most extreme hundredth on either side; none of a critic that is constant."""
    low, high = np.quantile(found, [0.01, 0.99])
    if not np.isfinite(found).all() or high - low <= 1e-6 * max(abs(low), abs(high)):
        return np.zeros(0)
    return np.linspace(low, high, LEVELS)


def said(drawn: Landscape) -> str:
    """What the samples amount to, in a few words."""
    if drawn.coverage is None:
        return f"step {drawn.step:,}"
    return f"{drawn.coverage.covered_well} of {drawn.modes} modes, {drawn.coverage.high_quality:.0%} on them"


def legend() -> list:
    """What the colours of a landscape stand for, as artists of matplotlib."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Patch(color=DATA, alpha=0.7, label="data"),
        Line2D([], [], color="#21918c", label="critic, high in yellow"),
        Line2D([], [], color=SAMPLE, marker="o", linestyle="none", markersize=5, label="samples"),
    ]


def titles(gans: Mapping[str, str]) -> dict[str, str]:
    """A title for every run `{place: its GAN}`: the GAN, with the place where several runs are of one."""
    names = list(gans.values())
    return {place: name if names.count(name) == 1 else f"{name}: {place}" for place, name in gans.items()}
