"""What the tables, the figures and the page show of an outcome, as plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from explorer.errors import ExplorerError
from explorer.evaluate.mean_score import MeanScore
from explorer.objectives import Objective, costs, every_cost
from explorer.report.front.marks import CHOSEN, mark_points
from explorer.study.choose import ChosenNetwork, recommend
from explorer.study.front import knee
from explorer.study.record import ASSUMED_0, UNIFORM, Cost, Evaluation, Outcome, Split, TunedScores
from hwmodels import tell_unpriced

REFERENCE = UNIFORM
"""The baseline that costs are stated relative to."""


class Figure(NamedTuple):
    """A number that is shown of every cost: `key` is its attribute of `Cost`, `whole` tells a count."""

    heading: str
    unit: str
    key: str
    whole: bool
    has_ratio: bool = True
    """Whether it is stated relative to the reference, too."""


BESIDE = {"latency": Figure("Clock", "cycles", "latency_cycles", whole=True, has_ratio=False)}
"""What is shown right behind a cost."""
MACS = Figure("MACs", "", "macs", whole=True)


def list_cost_figures(objectives: Sequence[str] = ()) -> tuple[Figure, ...]:
    """Return what is shown of a cost, in order: all that can be an objective, and what tells more of it.

    Args:
        objectives: Those of the study, which may name costs that are not known otherwise.
    """
    shown = []
    for cost in costs(objectives):
        shown.append(Figure(cost.heading, cost.unit, cost.key, cost.whole))
        shown += [BESIDE[cost.name]] if cost.name in BESIDE else []
    shown += [] if any(figure.key == MACS.key for figure in shown) else [MACS]
    return tuple(shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointView:
    """A member of the front or a baseline; `number` and `digest` are None for a baseline.

    `ratios` holds each of `list_cost_figures` that has a ratio, by its key, divided by that of `uniform 8-bit`; None
    where either is missing or the divisor is 0.
    """

    name: str
    kind: Literal["front", "baseline"]
    origin: str
    number: int | None
    digest: str | None
    search: MeanScore
    held_out: MeanScore
    cost: Cost
    ratios: Mapping[str, float | None]
    mark: str = ""
    """Keys of MARKS, one after the other; of a fine-tuned network that it is the chosen one."""
    tuned: PointView | None = None
    """What fine-tuning made of it, where it was fine-tuned: of the same name and digest."""

    def score(self, split: Split) -> MeanScore:
        """Return the mean score on the images of a split."""
        return self.search if split == "search" else self.held_out


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudView:
    """An evaluation that is not on the front; without `score` where it was over budget and never scored."""

    number: int
    origin: str
    cost: Cost
    score: MeanScore | None
    violations: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontView:
    """The front of an outcome and what it is read next to.

    `axes` are all costs that can be an objective, those that the study minimised first. `budgets` are keyed as in the
    study: `energy_uj`.
    """

    title: str
    device: str
    device_title: str
    objectives: tuple[str, ...]
    axes: tuple[Objective, ...]
    front: tuple[PointView, ...]
    baselines: tuple[PointView, ...]
    cloud: tuple[CloudView, ...]
    budgets: Mapping[str, float]
    chosen: ChosenNetwork | None
    """What is marked and shown first; None when the front is empty."""
    knee: str | None
    """The name of the member, None when the front is empty."""
    remarks: tuple[str, ...]
    """What the costs leave out, and what the network cannot be exported as."""
    skipped: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    provenance: tuple[tuple[str, str], ...]


def build_front_view(outcome: Outcome, chosen: ChosenNetwork | None = None) -> FrontView:
    """Return what is shown of an outcome, the recommended network marked where no other is `chosen`.

    Raises:
        ExplorerError: A member of the front was never scored.
    """
    chosen = chosen or recommend(outcome)
    front = list_front_points(outcome, chosen)
    on_front = {point.evaluation.candidate for point in outcome.front}
    return FrontView(
        title=_title(outcome.study),
        device=outcome.device,
        device_title=outcome.device_title,
        objectives=outcome.objectives,
        axes=tuple(sorted(costs(outcome.objectives), key=lambda axis: axis.name not in outcome.objectives)),
        front=front,
        baselines=list_baseline_points(outcome),
        cloud=tuple(
            CloudView(
                number=item.number,
                origin=_origin(item),
                cost=item.cost,
                score=item.score,
                violations=item.violations,
            )
            for item in outcome.evaluations
            if item.candidate not in on_front  # trials repeat a candidate now and then
        ),
        budgets=_budgets(outcome),
        chosen=chosen,
        knee=knee(outcome.front, outcome.objectives).name if outcome.front else None,
        remarks=list_remarks(outcome, named="named under Provenance below"),
        skipped=outcome.skipped,
        settings=tuple(_flat("", outcome.study)),
        provenance=tuple((str(key), str(value)) for key, value in outcome.provenance.items()),
    )


def list_remarks(outcome: Outcome, *, named: str = "report.html names them under Provenance") -> tuple[str, ...]:
    """Return what costs leave out, how networks were compensated, and which baselines and exports are missing.

    `named` says where the values that are assumed 0 stand.
    """
    covered, unpriced = outcome.coverage, outcome.provenance.get(ASSUMED_0)
    zeros = tell_unpriced(outcome.device, unpriced.split(", ")) if unpriced else ""
    return (
        *((covered.summary(),) if covered is not None and not covered.complete else ()),
        *(f"{key}: {what}" for key in ("compensation", "left out") if (what := outcome.provenance.get(key))),
        *(f"{item.name} cannot be computed: {item.failure}" for item in outcome.baselines if item.failure),
        *((f"{zeros}; {named}",) if zeros else ()),
        *(f"export as {form} will be refused: {reason}" for form, reason in outcome.refused_exports),
    )


def _origin(evaluation: Evaluation) -> str:
    """Return where an evaluation came from, a criterion of its filters that is not the study's own, and its depth."""
    by, removed, origin = evaluation.candidate.filters_by, evaluation.candidate.removed_blocks, evaluation.origin
    if by is not None and not origin.endswith(f"filters by {by}"):
        origin = f"{origin}, filters by {by}"
    return f"{origin}, without {', '.join(removed)}" if removed else origin


def list_front_points(outcome: Outcome, chosen: ChosenNetwork | None = None) -> tuple[PointView, ...]:
    """Return the members of the front, in the order of the outcome; the chosen one, where given, is marked.

    Raises:
        ExplorerError: If one was never scored.
    """
    reference, marks = get_reference_cost(outcome), mark_points(outcome, chosen)
    points = []
    for member in outcome.front:
        evaluation = member.evaluation
        if evaluation.score is None:
            raise ExplorerError(
                f"report: front member {member.name!r} (evaluation {evaluation.number}) has no score on the "
                "search images; score it before it is put on the front"
            )
        point = PointView(
            name=member.name,
            kind="front",
            origin=_origin(evaluation),
            number=evaluation.number,
            digest=evaluation.candidate.digest(),
            search=evaluation.score,
            held_out=member.held_out,
            cost=evaluation.cost,
            ratios=compute_cost_ratios(evaluation.cost, reference, outcome.objectives),
            mark=marks[member.name],
        )
        tuned = _tuned(point, member.tuned, reference, outcome.objectives)
        if tuned is not None:
            is_chosen = chosen is not None and chosen.tuned and chosen.point.name == member.name
            tuned = replace(tuned, mark=CHOSEN if is_chosen else "")
        points.append(replace(point, tuned=tuned))
    return tuple(points)


def _tuned(
    point: PointView, tuned: TunedScores | None, reference: Cost | None, objectives: Sequence[str]
) -> PointView | None:
    return (
        None
        if tuned is None
        else replace(
            point,
            origin=f"fine-tuned for {tuned.epochs} epoch{'s' if tuned.epochs > 1 else ''}",
            search=tuned.search,
            held_out=tuned.held_out,
            cost=tuned.cost,
            ratios=compute_cost_ratios(tuned.cost, reference, objectives),
        )
    )


def list_baseline_points(outcome: Outcome) -> tuple[PointView, ...]:
    """Return the baselines that can be computed, in the order of the outcome."""
    reference = get_reference_cost(outcome)
    return tuple(
        PointView(
            name=item.name,
            kind="baseline",
            origin="baseline",
            number=None,
            digest=None,
            search=item.search,
            held_out=item.held_out,
            cost=item.cost,
            ratios=compute_cost_ratios(item.cost, reference, outcome.objectives),
        )
        for item in outcome.baselines
        if not item.failure
    )


def get_reference_cost(outcome: Outcome) -> Cost | None:
    """Return the cost of the uniform 8-bit baseline, None when the outcome has none."""
    return next((item.cost for item in outcome.baselines if item.name == REFERENCE), None)


def compute_cost_ratios(cost: Cost, reference: Cost | None, objectives: Sequence[str] = ()) -> dict[str, float | None]:
    """Return each cost over the reference's, of `objectives` too; None where either is missing or the divisor is 0."""
    ratios: dict[str, float | None] = {}
    for key in (figure.key for figure in list_cost_figures(objectives) if figure.has_ratio):
        value, divisor = getattr(cost, key), getattr(reference, key, None)
        ratios[key] = value / divisor if value is not None and divisor else None
    return ratios


def _title(study: Mapping[str, Any]) -> str:
    """Return the title of a study as it is stored, its name where it has no title."""
    heading = study.get("study", {})
    return str(heading.get("title") or heading.get("name") or "Exploration")


def _budgets(outcome: Outcome) -> dict[str, float]:
    """Return the budgets that the study sets, keyed by field of `Cost`."""
    budgets = outcome.study.get("budgets")
    if not isinstance(budgets, Mapping):
        return {}
    keys = [cost.key for cost in every_cost()]
    return {key: float(budgets[key]) for key in keys if budgets.get(key) is not None}


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield ("section.key", "value") for every leaf of nested mappings; None leaves are left out."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), entry)
    elif isinstance(value, list | tuple):
        yield prefix, ", ".join(str(entry) for entry in value)
    elif value is not None:
        yield prefix, str(value)
