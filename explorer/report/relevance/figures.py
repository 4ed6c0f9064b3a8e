"""Plotly heat maps of relevance, drawn from the plain data of a relevance view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import plotly.graph_objects as go

from explorer.report.relevance.views import LayerView, RelevanceView
from explorer.report.theme import AXIS, FONT, INK, escape, lay_out

FilterOrder = Literal["score", "channel"]
Scale = Literal["layer", "network"]
ORDERS: tuple[FilterOrder, ...] = ("score", "channel")
SCALES: tuple[Scale, ...] = ("layer", "network")

SEQUENTIAL, DIVERGING = "Viridis", "RdBu_r"
"""Colour scales that the common colour-vision deficiencies leave readable."""
BLANK = "#edf0f4"
"""Where a layer has no more filters."""
ROW_PIXELS, FRAME_PIXELS, FEWEST_ROWS, FEW_COLUMNS = 22, 140, 6, 12

Cells = list[list[Any]]


def draw_filters(view: RelevanceView, order: FilterOrder, scale: Scale) -> go.Figure:
    """Draw layers x filters: filters by score or as the channels are, scores as they are or over the layer's largest.

    A row ends where its layer has no more filters.
    """
    width = max(len(layer.scores) for layer in view.layers)
    cells: Cells = []
    told: Cells = []
    for layer in view.layers:
        row = layer.ranking if order == "score" else tuple(range(len(layer.scores)))
        largest = max(abs(score) for score in layer.scores) or 1.0
        blanks = [None] * (width - len(row))
        over = largest if scale == "layer" else 1.0
        cells.append([*(_rounded(layer.scores[index] / over) for index in row), *blanks])
        texts = _filter_texts(layer)
        told.append([*(texts[index] for index in row), *([""] * len(blanks))])
    unit = "score / layer's largest" if scale == "layer" else "score"
    names = [layer.name for layer in view.layers]
    across = "rank of the filter in its layer" if order == "score" else "filter"
    first = 1 if order == "score" else 0
    figure = _heat_map(cells, (names, first), (unit, across, "layer"), 1.0 if scale == "layer" else None)
    return figure.update_traces(hovertext=told, hoverinfo="text")


def draw_classes(layer: LayerView) -> go.Figure:
    """Draw classes x filters of a layer: scores over the images that are explained as each class."""
    cells: Cells = [[_rounded(score) for score in entry.scores] for entry in layer.classes]
    names = [f"{entry.name} ({entry.num_images})" for entry in layer.classes]
    figure = _heat_map(cells, (names, 0), ("score", "filter", "class (images)"), None)
    text = f"<b>{escape(layer.name)}</b> filter %{{x}}<br>explained as %{{y}}: %{{z:.4g}}<extra></extra>"
    return figure.update_traces(hovertemplate=text)


def _heat_map(
    cells: Cells, at: tuple[Sequence[str], int], titles: tuple[str, str, str], highest: float | None
) -> go.Figure:
    """Draw a heat map; `at` are the rows' names and the first column's number, `titles` of colours, x and y.

    Colours end at `highest`, or at the largest value; they diverge from 0 where any value is negative.
    """
    names, first = at
    values = [value for row in cells for value in row if value is not None]
    signed = min(values) < 0.0
    largest = max(map(abs, values)) or 1.0
    high = highest or largest
    figure = go.Figure(
        go.Heatmap(
            z=cells,
            x0=first,
            dx=1,
            y=[escape(name) for name in names],
            hoverongaps=False,
            colorscale=DIVERGING if signed else SEQUENTIAL,
            zmin=-high if signed else 0.0,
            zmax=high,
            ygap=1,
            colorbar={"title": {"text": titles[0], "side": "right"}, "thickness": 14, "outlinewidth": 0},
        )
    )
    lay_out(
        figure,
        font={"family": FONT, "size": 12, "color": INK},
        margin={"l": 60, "r": 10, "t": 32, "b": 50},
        height=FRAME_PIXELS + ROW_PIXELS * max(len(names), FEWEST_ROWS),
        plot_bgcolor=BLANK,
    )
    lines = {**AXIS, "showgrid": False}
    every = {"dtick": 1} if max(map(len, cells)) <= FEW_COLUMNS else {}  # no ticks between filters
    figure.update_xaxes(title={"text": titles[1]}, **every, **lines)
    figure.update_yaxes(title={"text": titles[2]}, type="category", autorange="reversed", dtick=1, **lines)
    return figure


def _filter_texts(layer: LayerView) -> list[str]:
    """Return what is read over each filter, in channel order."""
    ranks = {index: rank for rank, index in enumerate(layer.ranking, 1)}
    return [
        f"<b>{escape(layer.name)}</b> filter {index}<br>score {score:.4g}, rank {ranks[index]} of {len(layer.scores)}"
        + (f"<br>channel group {escape(group)}" if group else "")
        for index, (score, group) in enumerate(zip(layer.scores, layer.groups, strict=True))
    ]


def _rounded(value: float) -> float:
    """Return four significant digits: what a colour or a reader can tell apart."""
    return float(f"{value:.4g}")
