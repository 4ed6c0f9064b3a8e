"""Plotly figures of the front, drawn from the plain data of a pair view."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import plotly.graph_objects as go

from explorer.report.front.hover import describe_cloud, describe_point
from explorer.report.front.labels import place_labels
from explorer.report.front.pairs import PairView, PlotPoint
from explorer.report.theme import AXIS, BLUE, FAINT, GREEN, INK, MUTED, ORANGE, PURPLE, SKY, VERMILION, escape, lay_out
from explorer.study.record import Split

SPLIT_TITLES: dict[Split, str] = {"search": "search images", "held_out": "held-out images"}

BASELINE_STYLES = ((GREEN, "diamond"), (VERMILION, "square"), (ORANGE, "triangle-up"), (SKY, "pentagon"))

SELECTED = "selected"
"""`meta` of the trace that rings the selected point, by which the page finds it."""

HALO = ", ".join(f"{x}px {y}px 1px white" for x in (-1, 1) for y in (-1, 1))
"""Text shadow that keeps a name readable where it crosses a line."""


def draw_front(pair: PairView, selected: str | None = None) -> go.Figure:
    """Draw accuracy against one cost: the front with its errors, the baselines, and the cloud faintly behind.

    Traces of front and baselines carry the points' names as `customdata`. The last trace rings `selected`.
    """
    traces = [
        *_cloud(pair),
        *_front_line(pair),
        *_front(pair),
        *_tuned(pair),
        *_baselines(pair),
        _ring(pair, selected),
    ]
    figure = lay_out(
        go.Figure(traces),
        margin={"l": 68, "r": 18, "t": 30, "b": 56},
        hovermode="closest",
        legend={"orientation": "h", "x": 0, "y": -0.17, "xanchor": "left", "yanchor": "top"},
    )
    suffix = ", log scale" if pair.logarithmic else ""
    figure.update_xaxes(title={"text": f"{pair.axis.title} ({pair.axis.unit}{suffix})"}, **_ticks(pair), **AXIS)
    figure.update_yaxes(
        title={"text": f"{pair.score.title} on {SPLIT_TITLES[pair.split]} (%)"},
        range=[100.0 * bound for bound in pair.y_range],
        **AXIS,
    )
    _add_lines(figure, pair)
    # The bottom ticks have an axis of their own, so that they stay there when one zooms.
    figure.update_layout(yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True})
    return figure


def _ticks(pair: PairView) -> dict[str, object]:
    """Return 1-2-5 ticks on a log axis; thousands as k where the unit is bytes."""
    style: dict[str, object] = {"tickformat": "~s" if pair.axis.unit == "bytes" else ",~g"}
    return {**style, "type": "log", "dtick": "D2"} if pair.logarithmic else {**style, "type": "linear"}


def _front(pair: PairView) -> Iterable[go.Scatter]:
    """Draw members that are best in this pair filled, the others open; with names where there is room."""
    members = (*pair.best, *pair.others)
    at = _position(pair)
    places = place_labels([at(member) for member in members], [at(member) for member in pair.baselines])
    for name, symbol, shown in (
        ("front", "circle", slice(None, len(pair.best))),
        ("front, for another objective", "circle-open", slice(len(pair.best), None)),
    ):
        if not members[shown]:
            continue
        edge = {"width": 1, "color": "white"} if symbol == "circle" else {"width": 2, "color": BLUE}
        trace = _points(members[shown], name, {"color": BLUE, "size": 11, "symbol": symbol, "line": edge})
        named = list(zip(members[shown], places[shown], strict=True))
        yield trace.update(
            mode="markers+text",
            text=["" if place is None else escape(member.point.name) for member, place in named],
            textposition=[place or "top left" for _, place in named],
            textfont={"size": 11, "color": MUTED, "shadow": HALO},
        )


def _front_line(pair: PairView) -> Iterable[go.Scatter]:
    """Draw on search images the steps of the front; on held-out images the same members, simply joined."""
    if len(pair.best) < 2:
        return
    steps = pair.split == "search"
    yield go.Scatter(
        x=[member.x for member in pair.best],
        y=[100.0 * member.y for member in pair.best],
        mode="lines",
        line={"color": BLUE, "width": 1.5, "shape": "hv" if steps else "linear", "dash": "solid" if steps else "dot"},
        opacity=0.5,
        hoverinfo="skip",
        showlegend=False,
    )


def _tuned(pair: PairView) -> Iterable[go.Scatter]:
    """Draw what fine-tuning made of members, joined in the order of cost."""
    if pair.tuned:
        marker = {"color": PURPLE, "size": 11, "symbol": "star", "line": {"width": 1, "color": "white"}}
        trace = _points(pair.tuned, "fine-tuned", marker)
        yield trace.update(mode="lines+markers", line={"color": PURPLE, "width": 1, "dash": "dot"})


def _baselines(pair: PairView) -> Iterable[go.Scatter]:
    for member in pair.baselines:
        color, symbol = _baseline_style(pair, member.point.name)
        marker = {"color": color, "size": 12, "symbol": symbol, "line": {"width": 1, "color": "white"}}
        yield _points((member,), escape(member.point.name), marker)


def _baseline_style(pair: PairView, name: str) -> tuple[str, str]:
    """Return colour and symbol of a baseline, the same ones on every axis."""
    names = sorted([*(member.point.name for member in pair.baselines), *(point.name for point in pair.levels)])
    return BASELINE_STYLES[names.index(name) % len(BASELINE_STYLES)]


def _points(members: tuple[PlotPoint, ...], name: str, marker: dict[str, object]) -> go.Scatter:
    return go.Scatter(
        x=[member.x for member in members],
        y=[100.0 * member.y for member in members],
        error_y={
            "type": "data",
            "array": [100.0 * member.standard_error for member in members],
            "thickness": 1.1,
            "width": 3,
            "color": marker["color"],
        },
        customdata=[member.point.name for member in members],
        hovertext=[describe_point(member.point) for member in members],
        hoverinfo="text",
        mode="markers",
        marker=marker,
        name=name,
    )


def _cloud(pair: PairView) -> Iterable[go.Scatter]:
    """Draw scored evaluations faintly; those never scored as ticks along the bottom."""
    for entries, name, symbol in (
        (pair.feasible, "other evaluations", "circle"),
        (pair.over_budget, "misses a budget", "x-thin"),
        (pair.unscored, "over budget, unscored", "line-ns"),
    ):
        if entries:
            yield go.Scatter(
                x=[entry.x for entry in entries],
                y=[0.02 if entry.y is None else 100.0 * entry.y for entry in entries],
                yaxis="y2" if symbol == "line-ns" else "y",
                hovertext=[describe_cloud(entry.evaluation) for entry in entries],
                hoverinfo="text",
                mode="markers",
                marker={"color": FAINT, "size": 7, "symbol": symbol, "line": {"width": 1.5, "color": FAINT}},
                opacity=0.6,
                name=name,
            )


def _ring(pair: PairView, selected: str | None) -> go.Scatter:
    members = [m for m in (*pair.best, *pair.others, *pair.baselines) if m.point.name == selected]
    return go.Scatter(
        x=[member.x for member in members],
        y=[100.0 * member.y for member in members],
        mode="markers",
        marker={"symbol": "circle-open", "size": 19, "color": INK, "line": {"width": 2}},
        hoverinfo="skip",
        name="selected",
        meta=SELECTED,
    )


def _add_lines(figure: go.Figure, pair: PairView) -> None:
    """Add the accuracy of baselines without this cost, and the budget."""
    for point in pair.levels:
        color, _ = _baseline_style(pair, point.name)
        figure.add_hline(
            y=100.0 * point.score(pair.split).value,
            line={"color": color, "width": 1.5, "dash": "dash"},
            layer="below",
            name=f"{escape(point.name)} (does not run here)",
            showlegend=True,
        )
    if pair.budget is not None:
        line = {"color": MUTED, "width": 1.5, "dash": "dot"}
        figure.add_vline(x=pair.budget, line=line, layer="below", name="budget", showlegend=True)


def _position(pair: PairView) -> Callable[[PlotPoint], tuple[float, float]]:
    """Return where a point lies in the plot, in [0, 1] x [0, 1] from the lower left, room at the edges included."""
    scale = math.log10 if pair.logarithmic else float
    points = [entry.x for entry in (*pair.best, *pair.others, *pair.baselines)]
    cloud = [entry.x for entry in (*pair.feasible, *pair.over_budget, *pair.unscored)]
    values = [scale(x) for x in (*points, *cloud)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.06 * ((high - low) or 1.0)
    bottom, top = pair.y_range

    def position(member: PlotPoint) -> tuple[float, float]:
        across = (scale(member.x) - low + room) / (high - low + 2.0 * room)
        return across, (member.y - bottom) / (top - bottom)

    return position
