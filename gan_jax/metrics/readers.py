"""What pictures show, read off their pixels: attributes of the drawn worlds, for samples whose truth nobody knows.

`shapes_reader` takes a picture apart the way the world puts it together: background, cover, colour, and the nearest
of many drawn covers for the rest. `fit_reader` trains a network on any world that tells its attributes. Both say how
well they read pictures of the world that they did not see; on samples of a GAN they cannot read better than that.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from gan_jax.data.worlds import Shapes, shapes
from gan_jax.errors import InputError
from gan_jax.metrics import classifier
from gan_jax.nets.classifier import SmallCNN

SIDE = 20  # of the frame, centred and scaled, in which covers are compared
REACH = 1.1  # from its middle to its sides, in square roots of the cover's area
DRAWN = 10_000  # covers to compare with
TESTED = 2000  # pictures that readers are tested on
SHADES = np.linspace(0.78, 1.0, 4, dtype=np.float32)  # of the background: shadow takes at most .22


class Reader(NamedTuple):
    """`predict(images uint8 [N,H,W,3])` gives {attribute: array [N] or [N,k]}, as the world's fields are.

    accuracy_by_attribute: on pictures of the world that were not learned from: for a category the share of right
    ones, for numbers R^2, the share of their variance that is explained.
    """

    predict: Callable[[np.ndarray], dict[str, np.ndarray]]
    accuracy_by_attribute: dict[str, float]


def score(found: np.ndarray, truth: np.ndarray) -> float:
    """How well `found` [N] or [N,k] agrees with the truth: the share of equal integers, or R^2 of numbers."""
    if np.issubdtype(truth.dtype, np.integer):
        return float(np.mean(found == truth))
    return float(1 - np.mean(np.square(found - truth)) / np.mean(np.var(truth, axis=0)))


# ------------------------------------------------------------------------------------------------------- shapes


class Taken(NamedTuple):
    """A picture of a shape taken apart."""

    background: np.ndarray  # int32 [n], in BACKGROUNDS
    cover: np.ndarray  # float32 [n,H,W]: the share of each pixel that the shape takes
    fill: np.ndarray  # float32 [n,3,3]: the shape's colour is (1, x, y) @ fill, in units of half the shorter side


def shapes_reader(resolution: tuple[int, int] = (32, 32), only: tuple[str, ...] = (), seed: int = 1) -> Reader:
    """Reads `label`, `colour`, `background`, `centre`, `radius`, `angle` and `area` of pictures of the world `shapes`.

    `area` is the sum of the cover as a share of the picture (the world's mask, without its rounding to pixels); the
    angle of what is round means nothing, and its accuracy is that of the other classes. `distance`, for which there
    is no truth, is that of the cover to the nearest one drawn: samples far above the world's are no shapes.

    only: the classes of the world, as in `Shapes`. seed: of the pictures compared with; the tested ones have another.
    """
    fields = ("image", "label", "colour", "background", "centre", "radius", "angle")
    drawn = Shapes(resolution, seed=seed, size=DRAWN, fields=fields, only=only).read(np.arange(DRAWN))
    taken = _take_apart(drawn["image"])
    middle, area = _moments(taken.cover)
    size = np.sqrt(area)
    known = {
        "label": drawn["label"],
        "angle": drawn["angle"],
        "offset": (_to_picture(drawn["centre"], resolution) - middle) / size[:, None],
        "relative radius": 2 * drawn["radius"] / size,
    }
    covers = _normalise(taken.cover, middle, size)
    reader = Reader(lambda images: _read_shapes(images, covers, known), {})
    truth = Shapes(resolution, seed=seed + 1, size=TESTED, fields=(*fields, "mask"), only=only).read(np.arange(TESTED))
    truth["area"] = (truth["mask"] > 0).mean((1, 2))
    found = reader.predict(truth["image"])
    names = only if only else shapes.CLASSES
    round_ones = [number for number, name in enumerate(names) if name in ("circle", "ring")]
    turned = ~np.isin(truth["label"], round_ones)
    scores = {name: score(found[name], truth[name]) for name in (*fields[1:-1], "area")}
    if turned.any():
        scores["angle"] = score(found["angle"][turned], truth["angle"][turned])
    return reader._replace(accuracy_by_attribute=scores)


def _read_shapes(images: UInt8[np.ndarray, "n h w 3"], covers, known) -> dict[str, np.ndarray]:
    taken = _take_apart(images)
    middle, area = _moments(taken.cover)
    size = np.sqrt(area)
    nearest, distance = _nearest(_normalise(taken.cover, middle, size), covers)
    centre = middle + known["offset"][nearest] * size[:, None]  # (y, x) in units of half the shorter side
    paint = taken.fill[:, 0] + centre[:, 1:] * taken.fill[:, 1] + centre[:, :1] * taken.fill[:, 2]
    paint = (paint - 0.09) / 0.82  # undoes the light in the middle of a shape
    height, width = images.shape[1:3]
    return {
        "label": known["label"][nearest],
        "colour": np.abs(paint[:, :, None] - shapes.PAINTS[None]).max(1).argmin(1).astype(np.int32),
        "background": taken.background,
        "centre": (0.5 + centre * min(height, width) / 2 / np.array([height, width])).astype(np.float32),
        "radius": (known["relative radius"][nearest] * size / 2).astype(np.float32),
        "angle": known["angle"][nearest],
        "area": (area * min(height, width) ** 2 / 4 / (height * width)).astype(np.float32),
        "distance": distance,
    }


def _axes(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """y [H] and x [W] of the pixels' centres, the middle being 0 and the shorter side 2, as the world has them."""
    pixel = 2 / min(shape)
    return tuple(((np.arange(n) + 0.5 - n / 2) * pixel).astype(np.float32) for n in shape)


def _to_picture(centre: np.ndarray, resolution: tuple[int, int]) -> np.ndarray:
    return (centre - 0.5) * np.array(resolution, np.float32) * 2 / min(resolution)


def _take_apart(images: UInt8[np.ndarray, "n h w 3"]) -> Taken:
    parts = [_take_some_apart(images[i : i + 500].astype(np.float32) / 255) for i in range(0, len(images), 500)]
    return Taken(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _take_some_apart(images: Float[np.ndarray, "n h w 3"]) -> Taken:
    """The border tells the background; what is no shade of it is the shape; its colour changes linearly."""
    y, x = _axes(images.shape[1:3])
    share = (0.5 - 0.5 * y)[None, :, None]
    papers = shapes.PAPERS.T[:, None] * 0.9 * (1 - share) + (shapes.PAPERS.T[:, None] + 0.04) * share  # [8,H,3]
    left_and_right = images[:, :, [0, -1]].mean(2)
    background = ((left_and_right[:, None] - papers.clip(0, 1)[None]) ** 2).mean((2, 3)).argmin(1).astype(np.int32)
    ground = papers[background][:, :, None].clip(0, 1)  # [n,H,1,3]
    shade = np.clip((images * ground).sum(-1) / (ground * ground).sum(-1), SHADES[0], SHADES[-1])
    far = np.sqrt(((images - shade[..., None] * ground) ** 2).sum(-1))
    core = far > 0.75 * np.quantile(far.reshape(len(far), -1), 0.98, axis=1)[:, None, None]
    position = np.stack(np.broadcast_arrays(np.float32(1), x[None], y[:, None]))  # [3,H,W]
    inside = core[:, None] * position  # [n,3,H,W]
    gram = np.einsum("nihw,njhw->nij", inside, inside) + 1e-3 * np.eye(3, dtype=np.float32)
    fill = np.linalg.solve(gram, np.einsum("nihw,nhwc->nic", inside, images))
    return Taken(background, _cover(images, ground, np.einsum("ihw,nic->nhwc", position, fill)), fill)


def _cover(images, ground, paint) -> Float[np.ndarray, "n h w"]:
    """The share of `paint` in each pixel, the rest being the background in the shade that fits best."""
    best, cover = np.inf, 0.0
    for shade in SHADES:
        step = paint - shade * ground
        share = (((images - shade * ground) * step).sum(-1) / ((step * step).sum(-1) + 1e-6)).clip(0, 1)
        misfit = ((shade * ground + share[..., None] * step - images) ** 2).sum(-1)
        cover, best = np.where(misfit < best, share, cover), np.minimum(misfit, best)
    return cover.astype(np.float32)


def _moments(cover: Float[np.ndarray, "n h w"]) -> tuple[np.ndarray, np.ndarray]:
    """The centre of gravity (y, x) [n,2] and the area [n] of covers."""
    y, x = _axes(cover.shape[1:])
    mass = cover.sum((1, 2)) + 1e-6
    middle = np.stack([(cover.sum(2) @ y) / mass, (cover.sum(1) @ x) / mass], axis=1)
    return middle, mass * (2 / min(cover.shape[1:])) ** 2


def _normalise(cover, middle, size) -> Float[np.ndarray, "n s"]:
    """Covers seen in a frame about their centre of gravity that grows with them, interpolated linearly."""
    steps = ((np.arange(SIDE) + 0.5) / SIDE * 2 - 1).astype(np.float32) * REACH
    weights = []
    for axis, places in enumerate(_axes(cover.shape[1:])):
        wanted = middle[:, axis, None] + steps * size[:, None]  # [n,S]
        near = 1 - np.abs(wanted[:, :, None] - places) / (places[1] - places[0])
        weights.append(near.clip(0, 1).astype(np.float32))
    seen = np.matmul(np.matmul(weights[0], cover), weights[1].transpose(0, 2, 1))
    return seen.reshape(len(cover), -1)


def _nearest(found: np.ndarray, covers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The index of the nearest of `covers`, and the root of the mean squared difference, for each in `found`."""
    squares = (covers * covers).sum(1)
    pieces = np.array_split(found, len(found) // 500 + 1)
    index = np.concatenate([(squares - 2 * piece @ covers.T).argmin(1) for piece in pieces])
    return index, np.sqrt(((found - covers[index]) ** 2).mean(1))


# ------------------------------------------------------------------------------------------------------ any world


def fit_reader(
    world,
    fields: Sequence[str],
    examples: int = 20_000,
    steps: int = 4000,
    batch_size: int = 128,
    seed: int = 0,
) -> Reader:
    """A network that reads `fields` of pictures like those of `world`, all at once.

    Integers are told apart as categories, numbers [N] or [N,k] predicted after standardising. It is trained on the
    first `examples` records and tested on the 2000 that follow. What pictures do not show, as the hair's colour of
    the bald, it cannot read either: `accuracy_by_attribute` says what is to be had.

    world: a dataclass with `fields`, such as `worlds.Faces((64, 64))`; its size and its own fields do not matter.

    Raises:
      InputError: for a field that the world does not have, or that holds neither integers nor numbers.
    """
    world = dataclasses.replace(world, fields=("image", *fields), size=examples + TESTED)
    records = world.read(np.arange(examples + TESTED))
    images = records.pop("image")
    for name, values in records.items():
        if values.dtype.kind not in "if" or values.ndim > 3:
            raise InputError(f"a reader reads integers and numbers; '{name}' is {values.dtype} {list(values.shape)}")
    heads = tuple(_head(name, values[:examples]) for name, values in records.items())
    targets = {head.name: head.encode(records[head.name][:examples]) for head in heads}
    module = SmallCNN(sum(head.size for head in heads), widths=(32, 64, 128), hidden=256)
    loss = _Loss(tuple((head.name, head.size, head.mean is None) for head in heads))
    params = classifier.train(module, loss, images[:examples], targets, steps, batch_size, seed)
    outputs = jax.jit(lambda params, images: module.apply({"params": params}, images)[0])

    def predict(images: np.ndarray) -> dict[str, np.ndarray]:
        pieces = _cut(classifier.in_batches(outputs, params, images), [head.size for head in heads])
        return {head.name: head.decode(piece) for head, piece in zip(heads, pieces, strict=True)}

    found = predict(images[examples:])
    return Reader(predict, {head.name: score(found[head.name], records[head.name][examples:]) for head in heads})


class _Head(NamedTuple):
    """A part of the network's outputs: the scores of categories, or numbers (where there is a mean)."""

    name: str
    size: int
    shape: tuple[int, ...] = ()  # of one value
    mean: np.ndarray | None = None
    std: np.ndarray | None = None

    def encode(self, values: np.ndarray) -> np.ndarray:
        if self.mean is None:
            return values.astype(np.int32)
        return ((values.reshape(len(values), -1) - self.mean) / self.std).astype(np.float32)

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        if self.mean is None:
            return outputs.argmax(1).astype(np.int32)
        return (outputs * self.std + self.mean).reshape(len(outputs), *self.shape).astype(np.float32)


def _head(name: str, values: np.ndarray) -> _Head:
    if values.dtype.kind == "i":
        return _Head(name, int(values.max()) + 1)
    flat = values.reshape(len(values), -1)
    return _Head(name, flat.shape[1], values.shape[1:], flat.mean(0), flat.std(0) + 1e-6)


class _Loss(NamedTuple):
    """The sum over heads of cross-entropies and mean squared errors; hashes by value, as compiled functions want."""

    heads: tuple[tuple[str, int, bool], ...]  # name, size, whether it is a category

    def __call__(self, outputs, targets):
        total = 0.0
        for (name, _, category), piece in zip(
            self.heads, _cut(outputs, [size for _, size, _ in self.heads]), strict=True
        ):
            if category:
                total = total + classifier.cross_entropy(piece, targets[name])
            else:
                total = total + jnp.mean(jnp.square(piece - targets[name]))
        return total


def _cut(outputs, sizes: Sequence[int]) -> list:
    ends = np.cumsum(sizes)
    return [outputs[:, end - size : end] for size, end in zip(sizes, ends, strict=True)]
