"""From populations to numbers: one driver for all metrics of `catalogue.py`.

A metric is asked for by name, and, where it looks at features, by `name:extractor`: "fid", "kid:classifier", "swd".
Each population is sent once through all the extractors that the metrics need. Every value comes with its protocol, a
line of text that is equal exactly where values may be compared.
"""

from collections.abc import Sequence
from typing import NamedTuple

from gan_jax.errors import InputError, choose
from gan_jax.metrics import catalogue, extractors
from gan_jax.metrics.catalogue import BY_NAME, Evidence, Metric
from gan_jax.metrics.extractors import Collected, Needs
from gan_jax.metrics.records import Value

BATCH_SIZE = 64


class Request(NamedTuple):
    """A metric, and the extractor it is computed with."""

    name: str
    extractor: str

    @property
    def metric(self) -> Metric:
        return BY_NAME[self.name]

    @property
    def populations(self) -> frozenset[str]:
        """Who must be there: those that are looked at, and the reference that the classifier learns from."""
        return frozenset((*self.metric.sides, *(["real"] if self.extractor == "classifier" else [])))

    @property
    def suffix(self) -> str:
        """What the names of its values end in: which features they are of, where there is a choice."""
        return f"/{self.extractor}" if self.metric.extractor in extractors.EXCHANGEABLE else ""

    @property
    def main(self) -> str:
        """The name of its main value."""
        return self.metric.main + self.suffix


def parse(text: str | Sequence[str]) -> tuple[Request, ...]:
    """The metrics in "fid,kid:classifier" or in a sequence of such names.

    Raises:
      InputError: for an unknown metric or extractor, or one that cannot be exchanged.
    """
    names = [part.strip() for part in (text.split(",") if isinstance(text, str) else text)]
    if not names or not all(names):
        raise InputError(f"no metric is named in '{text}'. Choices: {', '.join(sorted(BY_NAME))}")
    requests = []
    for name in names:
        metric_name, colon, extractor = name.partition(":")
        metric = choose(metric_name, BY_NAME, "metric")
        if colon:
            if metric.extractor not in extractors.EXCHANGEABLE:
                raise InputError(f"metric '{name}': '{metric_name}' looks at {metric.extractor} and at nothing else")
            choose(extractor, dict.fromkeys(extractors.EXCHANGEABLE), f"features of metric '{metric_name}'")
        requests.append(Request(metric_name, extractor or metric.extractor))
    return tuple(dict.fromkeys(requests))


class Evaluation:
    """Metrics against one reference, which is looked at once however many generators are measured.

    Raises:
      InputError: if a metric does not apply, before anything is computed.
    """

    def __init__(self, requests: Sequence[Request], needs: Needs, batch_size: int = BATCH_SIZE):
        self.requests, self.batch_size = tuple(requests), batch_size
        _check(self.requests, needs)
        self._extractors = {
            request.extractor: extractors.build(request.extractor, needs)
            for request in self.requests
            if request.metric.sides
        }
        self._reals: dict[str, tuple[Collected, str]] = {}
        for side in ("real", "held_out"):
            if wanted := self._wanted(side):
                population = getattr(needs, side)
                self._reals[side] = extractors.collect_reference(population, wanted, batch_size)

    def values(self, needs: Needs) -> list[Value]:
        """Every value of `needs.fake`. The critic, if asked for, is that of the start."""
        collected = {side: reference for side, (reference, _) in self._reals.items()}
        if wanted := self._wanted("fake"):
            collected["fake"] = extractors.collect(needs.fake, wanted, self.batch_size, "samples")
        found = []
        for request in self.requests:
            evidence = Evidence(needs, collected, request.extractor)
            try:
                values = request.metric.compute(evidence)
            except InputError as error:
                raise InputError(f"metric '{request.name}': {error}") from None
            protocol = self._protocol(request, needs)
            found += [Value(name + request.suffix, float(value), protocol) for name, value in values.items()]
        return found

    def _wanted(self, side: str) -> list[extractors.Extractor]:
        names = dict.fromkeys(r.extractor for r in self.requests if side in r.metric.sides)
        return [self._extractors[name] for name in names]

    def _protocol(self, request: Request, needs: Needs) -> str:
        parts = [f"metric {request.name} {request.metric.settings}".strip()]
        if request.extractor in self._extractors and self._extractors[request.extractor].protocol:
            parts.append(f"features {self._extractors[request.extractor].protocol}")
        if request.name in ("lpips", "ppl_z", "ppl_w"):
            parts.append(f"features {catalogue.perceptual_protocol(needs)}")
        for side in ("real", "held_out"):
            if side in request.metric.sides:
                population = getattr(needs, side)
                parts.append(f"{side} {population.source}, {population.count} examples, sha256 {self._reals[side][1]}")
        if "fake" in request.metric.sides:
            parts.append(f"samples {needs.fake.count}, {needs.fake.source}")
        elif not request.metric.sides:
            parts.append(f"samples {needs.samples}, {needs.sampler.weights} weights, seed {needs.seed}")
        return "; ".join(parts)


def evaluate(requests: Sequence[Request], needs: Needs, batch_size: int = BATCH_SIZE) -> list[Value]:
    """All values of these metrics.

    Raises:
      InputError: if a metric does not apply or examples are too few; then there are no values at all.
    """
    return Evaluation(requests, needs, batch_size).values(needs)


def _check(requests: Sequence[Request], needs: Needs) -> None:
    for request in requests:
        for side in sorted(request.populations):
            if getattr(needs, side) is None:
                raise InputError(f"metric '{request.name}' needs {MISSING[side]}")
        if not request.metric.sides and needs.sampler is None:
            raise InputError(f"metric '{request.name}' needs a run (--workdir), whose latents it moves")
        for side in request.metric.labelled:
            if not getattr(needs, side).labelled:
                raise InputError(f"metric '{request.name}' needs labels, and {WHO[side]} have none")
    shapes = {p.shape for p in (needs.fake, needs.real, needs.held_out) if p is not None}
    if len(shapes) > 1:
        shown = " and ".join("x".join(map(str, shape)) for shape in sorted(shapes, reverse=True))
        raise InputError(f"images of {shown} cannot be compared; bring them to one size with --resolution")
    for request in requests:
        try:
            request.metric.check(needs)
        except InputError as error:
            raise InputError(f"metric '{request.name}': {error}") from None


WHO = {"fake": "the samples", "real": "the reference's images", "held_out": "the held-out examples"}
MISSING = {
    "fake": "samples: a run (--workdir) or a folder of images (--folder)",
    "real": "a reference: the run's own data, or a folder of images (--reference)",
    "held_out": "examples that were not trained on: a test split, or a folder of images (--test)",
}
