"""What the exploration found: scores, costs, evaluations and the front, as plain values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from explorer.compress.candidate import Candidate
from explorer.evaluate.mean_score import MeanScore
from explorer.settings.rules import shown
from explorer.study.typed import read_typed_record
from hwmodels import MemoryFit

Split = Literal["search", "held_out"]
FLOAT, UNIFORM = "float", "uniform 8-bit"
"""Names of the baselines of every run."""
FORMAT = 1
"""Of an outcome as JSON; a version that reads it no longer as this one does has another."""
ASSUMED_0 = "assumed 0"
"""Entry of the provenance with the numbers of the device that have no price since nobody published them."""


_NONE = Candidate(layers=(), filter_keep_ratio=())


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSummary:
    """What a report shows of one layer or operation of one candidate, in the order of computation.

    A pooling, an addition or an activation function has neither weights nor filters: what describes these is None.
    """

    layer: str
    kind: str
    weight_bits: int | None = None
    activation_bits: int
    filters: int | None = None
    filters_of: int | None = None
    weight_density: float | None = None
    codebook_size: int | None = None
    macs: int
    vector_operations: int = 0
    energy_uj: float
    latency_cycles: int
    weight_bytes: int
    weight_format: str | None = None
    bound: str
    """What its time is that of: one of `hwmodels.BOUNDS`, or "fused" where the layer before takes that."""
    memory_bits: int | None = None
    """Moved from and to memory; None in the outcome of an earlier version."""
    step: float | None = None
    """That of its weights in units of their relevance, None where they have a width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a candidate costs on the device; None where the device cannot run it (float on an integer array).

    Example:
        >>> import explorer, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 10))
        >>> net = explorer.open(model, torch.rand(40, 1, 8, 8), torch.arange(40) % 10)
        >>> cost = explorer.price(net, explorer.uniform(net), "bitfusion")
        >>> [layer.kind for layer in cost.layers], cost.macs
        (['conv', 'linear'], 2736)
    """

    energy_uj: float | None
    latency_ms: float | None
    latency_cycles: int | None
    weight_bytes: int
    activation_bytes: int
    macs: int
    energy_uj_by_component: Mapping[str, float]
    """Energy in uJ of each of hwmodels.ENERGY_COMPONENTS that takes any."""
    layers: tuple[LayerSummary, ...]
    notes: tuple[str, ...]
    coded_bytes: int | None = None
    """Of the file with its weights at their entropy; None where the study does not name it."""
    fits: tuple[MemoryFit, ...] = ()
    """What the network needs of each memory and buffer of a stated size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A candidate with its cost and, unless it was over budget or failed, its score on the search images."""

    number: int
    origin: str
    """Where it came from: "seed ...", "uniform ...", or the sampler's name."""
    candidate: Candidate
    cost: Cost
    score: MeanScore | None
    violations: tuple[tuple[str, float], ...] = ()
    """Limits not kept: (budget key, excess > 0), relative for a cost, absolute for the score."""
    failure: str = ""
    """Why it cannot be computed: its numbers are not finite, or have no solution; empty where it can."""

    @property
    def feasible(self) -> bool:
        """True when no budget is exceeded, and it can be computed."""
        return not self.violations and not self.failure


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedScores:
    """What fine-tuning made of a member of the front; its integers, and so its cost, may be others."""

    epochs: int
    search: MeanScore
    held_out: MeanScore
    cost: Cost
    loss_error: float | None = None
    """As that of a point; None in the files of an earlier version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """A member of the final front, scored once more on images that the search never saw."""

    name: str
    """"p01", "p02", ... in ascending order of the first cost among the objectives."""
    evaluation: Evaluation
    held_out: MeanScore
    """Of no images where it was not scored on them."""
    tuned: TunedScores | None = None
    """None where it was not fine-tuned."""
    tied_with: str = ""
    """A point that costs no more, and that the held-out images do not show it to be better than; empty where none."""
    loss_error: float | None = None
    """Standard error of how far its score is below the float network's on the search images, image by image; None where
    the scores of the images are not known."""
    untuned: MeanScore | None = None
    """On a front after tuning the score before; the evaluation's is that after it."""
    predicted: bool = False
    """Whether that is predicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beacon:
    """An evaluation, by its number, whose network was tuned, and what that then scored on the search images."""

    number: int
    score: MeanScore


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The float network or a uniform one, next to which the front is read."""

    name: str
    cost: Cost
    search: MeanScore
    held_out: MeanScore
    failure: str = ""
    """Why it cannot be computed, so that it has no image right; empty where it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of a network is explored and costed; what is not runs in float, and is only stored."""

    values: int
    """Weights, biases and constants that inference reads."""
    values_counted: int
    """Those of layers that are explored."""
    macs: int
    """Multiply-accumulates of one image, of layers or not."""
    macs_counted: int

    @property
    def complete(self) -> bool:
        """True where nothing is left out."""
        return self.values == self.values_counted and self.macs == self.macs_counted

    def summary(self) -> str:
        """Return one line that says what share is counted."""
        values, macs = (
            f"{_percent(counted, whole)} of {whole:,}"
            for counted, whole in ((self.values_counted, self.values), (self.macs_counted, self.macs))
        )
        left = "" if self.complete else "; the rest stays in float: 4 bytes a parameter, time and energy unknown"
        return f"explored and costed: {values} parameters, {macs} multiply-accumulates{left}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All that a run leaves behind for front.csv, the report and the export."""

    study: Mapping[str, Any]
    device: str
    device_title: str
    objectives: tuple[str, ...]
    baselines: tuple[Baseline, ...]
    front: tuple[FrontPoint, ...]
    evaluations: tuple[Evaluation, ...]
    """Every feasible and infeasible evaluation, for the cloud behind the front (layers of its cost empty)."""
    skipped: tuple[tuple[str, str], ...]
    provenance: Mapping[str, str]
    coverage: Coverage | None = None
    """How much of the network the costs are of; None in the outcome of an earlier version."""
    refused_exports: tuple[tuple[str, str], ...] = ()
    """(form, reason) for each form that the network cannot be exported as."""
    beacons: tuple[Beacon, ...] = ()
    """What was tuned, so as to tell what the others would gain."""

    def baseline(self, name: str) -> Baseline:
        """Return FLOAT or UNIFORM."""
        return next(entry for entry in self.baselines if entry.name == name)

    def to_json(self) -> dict[str, Any]:
        """Return plain data from which `from_json` rebuilds an equal outcome."""
        return {**self._beside(), "evaluations": [_write_evaluation(item) for item in self.evaluations]}

    def write_json(self) -> Iterator[str]:
        """Yield the parts of the JSON text of `to_json`, one for each evaluation: all at once take much memory."""
        yield json.dumps(self._beside())[:-1]
        yield ', "evaluations": ['
        for index, item in enumerate(self.evaluations):
            yield f"{',' if index else ''}\n{json.dumps(_write_evaluation(item))}"
        yield "]}\n"

    def _beside(self) -> dict[str, Any]:
        """Return everything but the evaluations."""
        data = {"format": FORMAT, **asdict(replace(self, evaluations=(), front=()))}
        bare = [replace(point, evaluation=replace(point.evaluation, candidate=_NONE)) for point in self.front]
        data["front"] = [
            {**asdict(without), "evaluation": _write_evaluation(point.evaluation)}
            for without, point in zip(bare, self.front, strict=True)
        ]
        del data["evaluations"]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcome:
        """Rebuild an outcome from `to_json` data or its parsed JSON text.

        That of earlier versions has no fits, operations or coverage, and states no format.

        Raises:
            ValueError: Names what is of another type, or the format is that of a later version.
        """
        if isinstance(data, Mapping):
            data = dict(data)
            stated = data.pop("format", FORMAT)
            if stated != FORMAT:
                raise ValueError(f"format: expected {FORMAT}, received {shown(stated)}: another version wrote it")
        outcome: Outcome = read_typed_record(cls, data)
        return outcome


def _write_evaluation(item: Evaluation) -> dict[str, Any]:
    return {**asdict(replace(item, candidate=_NONE)), "candidate": item.candidate.to_json()}


def _percent(part: int, whole: int) -> str:
    """Return a share that is 100 % only where nothing is missing."""
    return "100 %" if part == whole else f"{min(99.9, 100.0 * part / whole):.3g} %"
