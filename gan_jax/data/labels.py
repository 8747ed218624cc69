"""Data of which few labels are known, for semi-supervised games."""

import dataclasses
import functools

import numpy as np

from gan_jax.errors import InputError

READ_AT_ONCE = 512  # records, while examples of every class are looked for


@dataclasses.dataclass(frozen=True)
class FewLabels:
    """A source of which only `per_class` labels of each class are known: which ones depends on `seed` alone.

    Record i keeps its main array; its `label` is -1 unless it is one of the known. Beside it stands a known example,
    number i modulo their count, in the fields `labelled_image` (or `labelled_point`) and `labelled_label`, so that a
    shuffled minibatch of all records brings one of known examples as large, each as frequent as any other.

    Raises:
      InputError: if the source has no labels, or too few of a class.
    """

    source: object
    per_class: int
    seed: int

    domain = property(lambda self: self.source.domain)
    classes = property(lambda self: self.source.classes)
    resolution = property(lambda self: self.source.resolution)
    channels = property(lambda self: self.source.channels)

    def __post_init__(self):
        if self.per_class < 1:
            raise InputError(
                f"config.data.labels_per_class={self.per_class} must be at least 1, or None for all labels"
            )
        if not self.classes or "label" not in self.source.read(np.zeros(1, np.int64)):
            raise InputError(f"config.data.labels_per_class={self.per_class} needs a dataset with labels")

    def __len__(self) -> int:
        return len(self.source)

    @functools.cached_property
    def known(self) -> dict[str, np.ndarray]:
        """The known examples, `record` among them: the first `per_class` of each class in a random order of all."""
        order, missing = (
            np.random.default_rng(self.seed).permutation(len(self)),
            np.full(len(self.classes), self.per_class),
        )
        kept = []
        for start in range(0, len(self), READ_AT_ONCE):
            some = order[start : start + READ_AT_ONCE]
            read = self.source.read(some)
            chosen = []
            for place, label in enumerate(read["label"]):
                if missing[label] > 0:
                    missing[label] -= 1
                    chosen.append(place)
            kept.append(
                {"record": some[chosen], self.domain: read[self.domain][chosen], "label": read["label"][chosen]}
            )
            if not missing.any():
                return {field: np.concatenate([part[field] for part in kept]) for field in kept[0]}
        worst = int(missing.argmax())
        raise InputError(
            f"config.data.labels_per_class={self.per_class}: class '{self.classes[worst]}' has only "
            f"{self.per_class - missing[worst]} of {len(self)} records"
        )

    def read(self, indices: np.ndarray, *where: np.ndarray) -> dict[str, np.ndarray]:
        """The records of the source, their labels -1 where unknown, and beside each a known one as `labelled_...`."""
        indices = np.asarray(indices)
        batch, known = self.source.read(indices, *where), self.known
        beside = indices % len(known["record"])
        return batch | {
            "label": np.where(np.isin(indices, known["record"]), batch["label"], -1).astype(np.int32),
            f"labelled_{self.domain}": known[self.domain][beside],
            "labelled_label": known["label"][beside],
        }
