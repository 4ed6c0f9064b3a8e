"""What is read when the pointer is over a point, as Plotly's markup with the strings of the user escaped."""

from __future__ import annotations

from explorer.evaluate.mean_score import MeanScore
from explorer.objectives import every_cost
from explorer.report.front.views import BESIDE, REFERENCE, CloudView, PointView
from explorer.report.theme import escape
from explorer.study.record import Cost


def describe_point(point: PointView) -> str:
    """Return all numbers of a front member or a baseline, line by line."""
    cost, number = point.cost, "" if point.number is None else f" · evaluation {point.number}"
    lines = [
        f"<b>{escape(point.name)}</b>{number}",
        f"search {_described(point.search)}",
        f"held-out {_described(point.held_out)}",
        *(line + _share(point, key) for key, line in _cost_lines(cost).items()),
        f"{cost.macs:,} MACs{_share(point, 'macs')}",
    ]
    if point.digest is not None:
        lines.append(f"{escape(point.origin)} · {escape(point.digest)}")
    return "<br>".join(lines)


def describe_cloud(evaluation: CloudView) -> str:
    """Return all numbers of another evaluation and the budgets that it exceeds, line by line."""
    score = evaluation.score
    lines = [
        f"evaluation {evaluation.number} · {escape(evaluation.origin)}",
        "not scored" if score is None else f"search {_described(score)}",
        *_cost_lines(evaluation.cost).values(),
        *(f"{escape(key)} exceeded by {100.0 * excess:.1f} %" for key, excess in evaluation.violations),
    ]
    return "<br>".join(lines)


def _cost_lines(cost: Cost) -> dict[str, str]:
    """Return one line for each cost that can be an objective, keyed by its field."""
    lines = {}
    for objective in every_cost():
        if objective.where_named and getattr(cost, objective.key) is None:
            continue
        beside = BESIDE.get(objective.name)
        more = None if beside is None else getattr(cost, beside.key)
        told = "" if beside is None or more is None else f" ({_number(more, beside.unit, beside.whole)})"
        value = _number(getattr(cost, objective.key), objective.unit, objective.whole)
        lines[objective.key] = f"{objective.heading.lower()} {value}{told}"
    return lines


def _share(point: PointView, key: str) -> str:
    ratio = point.ratios[key]
    return "" if ratio is None or point.name == REFERENCE else f", {100.0 * ratio:.0f} % of {REFERENCE}"


def _described(score: MeanScore) -> str:
    value, error = 100.0 * score.value, 100.0 * score.standard_error
    return f"{value:.2f} ± {error:.2f} % of {score.num_images:,} images"


def _number(value: float | None, unit: str, whole: bool) -> str:
    if value is None:
        return "n/a"
    return f"{value:,} {unit}" if whole else f"{value:.4g} {unit}"
