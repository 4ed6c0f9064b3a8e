"""What is read when the pointer is over a point, as Plotly's markup with the strings of the user escaped."""

from __future__ import annotations

import html

from explorer.evaluate.mean_score import MeanScore
from explorer.report.front.views import REFERENCE, CloudView, PointView
from explorer.study.record import Cost


def escape(text: str) -> str:
    """Return text that Plotly shows as it is, rather than reading tags in it."""
    return html.escape(text, quote=False)


def point_text(point: PointView) -> str:
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


def cloud_text(evaluation: CloudView) -> str:
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
    """One line for each of the four costs, keyed by its field."""
    cycles = "" if cost.latency_cycles is None else f" ({cost.latency_cycles:,} cycles)"
    return {
        "energy_uj": f"energy {_number(cost.energy_uj, 'µJ')}",
        "latency_ms": f"latency {_number(cost.latency_ms, 'ms')}{cycles}",
        "weight_bytes": f"weights {cost.weight_bytes:,} bytes",
        "activation_bytes": f"activations {cost.activation_bytes:,} bytes",
    }


def _share(point: PointView, key: str) -> str:
    ratio = point.ratios[key]
    return "" if ratio is None or point.name == REFERENCE else f", {100.0 * ratio:.0f} % of {REFERENCE}"


def _described(score: MeanScore) -> str:
    value, error = 100.0 * score.value, 100.0 * score.standard_error
    return f"{value:.2f} ± {error:.2f} % of {score.num_images:,} images"


def _number(value: float | None, unit: str) -> str:
    return "n/a" if value is None else f"{value:.4g} {unit}"
