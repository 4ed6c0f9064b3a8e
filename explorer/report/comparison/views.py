"""What a comparison shows, as plain data: curves of accuracy over levels and sizes, differences, and who wins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from explorer.comparison.points import ScoredCell
from explorer.comparison.record import Comparison
from explorer.comparison.statistics import (
    Difference,
    Group,
    MeanEstimate,
    compute_differences,
    estimate_mean,
    group_cells,
)
from explorer.settings.comparison import Case

STATE_TITLES = {
    "uncorrected": "not corrected",
    "recalibrated": "batch norms recalibrated",
    "fine_tuned": "fine-tuned",
}
SCOPE_TITLES = {
    "layer": "the same in every layer",
    "global": "over the whole network",
    "global_normalised": "over the whole network, scores of each layer normalised",
}
AXIS_TITLES = {
    "macs": "Multiply-accumulates of an image (% of the float network's)",
    "bytes": "Bytes of weights (% of float32)",
    "coded": "Bytes of weights, Huffman coded (% of float32)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Accuracy and its standard error, in percent, at `x`."""

    x: float
    y: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One criterion in one panel, in ascending order of x."""

    criterion: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """All criteria in one state; `float_accuracy` (percent) is that of the network as it was given."""

    title: str
    curves: tuple[Curve, ...]
    float_accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Panels over one axis and in one scope, side by side; `logarithmic` is to the base of 2."""

    name: str
    title: str
    x_title: str
    logarithmic: bool
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A difference to one other criterion and half of its 95 % interval, in points of accuracy."""

    criterion: str
    value: float
    half_width: float
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BarPanel:
    """The differences to all other criteria at one level and in one state, the largest first.

    Levels are `column`s, states `row`s, both from 0.
    """

    title: str
    row: int
    column: int
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BarChart:
    """Panels of differences in one scope."""

    name: str
    title: str
    panels: tuple[BarPanel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonView:
    """Everything that tables, plots and the page of a comparison show."""

    title: str
    focus: str
    criteria: tuple[str, ...]
    whole: ScoredCell
    float_accuracy: MeanEstimate
    groups: tuple[Group, ...]
    differences: tuple[Difference, ...]
    charts: tuple[Chart, ...]
    bar_charts: tuple[BarChart, ...]


def build_comparison_view(comparison: Comparison) -> ComparisonView:
    """Return everything that is shown of a comparison."""
    found, focus = group_cells(comparison.points), comparison.settings.focus
    compared = compute_differences(comparison.points, focus)
    names = dict.fromkeys((focus, *(group.criterion for group in found)))
    return ComparisonView(
        title=comparison.title,
        focus=focus,
        criteria=tuple(names),
        whole=comparison.whole,
        float_accuracy=estimate_mean(comparison.whole.right_images()[None]),
        groups=found,
        differences=compared,
        charts=tuple(_charts(comparison, found)),
        bar_charts=tuple(_bar_charts(comparison, compared)),
    )


def count_verdicts(compared: Iterable[Difference]) -> dict[tuple[str, str, float], Counter[str]]:
    """Return for every (state, scope, level) how often the focus wins, ties and loses."""
    found: dict[tuple[str, str, float], Counter[str]] = {}
    for entry in compared:
        found.setdefault((entry.state, entry.scope, entry.level), Counter())[entry.verdict] += 1
    return found


def format_level(case: Case, level: float) -> str:
    """Return a level as it is written in titles."""
    return case.shown.format(case.factor * level)


def name_state(case: Case, state: str) -> str:
    """Return a state in words."""
    return case.state_titles.get(state, STATE_TITLES[state])


def _charts(comparison: Comparison, found: Sequence[Group]) -> Iterable[Chart]:
    settings, whole = comparison.settings, comparison.whole
    axes = {axis: _positions(comparison, found, axis) for axis in ("level", "macs", "bytes", "coded")}
    right = 100.0 * float(whole.right_images().mean())
    for scope in settings.scopes:
        for axis, at in axes.items():
            if axis != "level" and len(set(at.values())) < 2:
                continue
            panels = []
            for state in settings.in_states:
                members = [group for group in found if (group.scope, group.state) == (scope, state)]
                curves = _curves(members, at)
                if curves:
                    title = name_state(settings.of_case, state)
                    panels.append(Panel(title=title, curves=curves, float_accuracy=right))
            if panels:
                yield Chart(
                    name=f"{scope}_by_{axis}",
                    title=_title(comparison, scope),
                    x_title=settings.of_case.axis if axis == "level" else AXIS_TITLES[axis],
                    logarithmic=settings.of_case.logarithmic and axis == "level",
                    panels=tuple(panels),
                )


def _positions(comparison: Comparison, found: Sequence[Group], axis: str) -> dict[int, float]:
    """Return where each group, by its identity, lies on an axis; those that have no place there are left out."""
    size, factor = comparison.whole.size, comparison.settings.of_case.factor
    at: dict[int, float] = {}
    for group in found:
        if axis == "level":
            at[id(group)] = factor * group.level
        elif axis == "macs":
            at[id(group)] = 100.0 * group.macs / size.macs
        elif axis == "bytes":
            at[id(group)] = 100.0 * group.weight_bytes / size.weight_bytes
        elif group.coded_bytes is not None:
            at[id(group)] = 100.0 * group.coded_bytes / size.weight_bytes
    return at


def _curves(members: Sequence[Group], at: Mapping[int, float]) -> tuple[Curve, ...]:
    by_name: dict[str, list[CurvePoint]] = {}
    for group in members:
        if id(group) in at:
            accuracy = group.accuracy
            point = CurvePoint(x=at[id(group)], y=100.0 * accuracy.value, error=100.0 * accuracy.standard_error)
            by_name.setdefault(group.criterion, []).append(point)
    return tuple(
        Curve(criterion=name, points=tuple(sorted(points, key=lambda point: point.x)))
        for name, points in by_name.items()
    )


def _bar_charts(comparison: Comparison, compared: Sequence[Difference]) -> Iterable[BarChart]:
    settings = comparison.settings
    for scope in settings.scopes:
        panels = []
        for row, state in enumerate(settings.in_states):
            for column, level in enumerate(settings.at_levels):
                members = [d for d in compared if (d.scope, d.state, d.level) == (scope, state, level)]
                if members:
                    title = f"{format_level(settings.of_case, level)}, {name_state(settings.of_case, state)}"
                    panels.append(BarPanel(title=title, row=row, column=column, bars=tuple(_bars(members))))
        if panels:
            title = f"{settings.focus} less each other criterion. {_title(comparison, scope)}"
            yield BarChart(name=f"{scope}_differences", title=title, panels=tuple(panels))


def _bars(members: Sequence[Difference]) -> Iterable[Bar]:
    for entry in sorted(members, key=lambda entry: -entry.difference.value):
        yield Bar(
            criterion=entry.criterion,
            value=100.0 * entry.difference.value,
            half_width=100.0 * entry.difference.half_width,
            verdict=entry.verdict,
        )


def _title(comparison: Comparison, scope: str) -> str:
    alone = len(comparison.settings.scopes) == 1
    return comparison.title if alone else f"{comparison.title}: {SCOPE_TITLES[scope]}"
