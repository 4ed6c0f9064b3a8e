"""A Plotly figure of a roofline."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from explorer.report.roofline.views import RooflineView, RoofPoint
from explorer.report.theme import AXIS, BLUE, GREEN, MUTED, ORANGE, VERMILION, escape, lay_out

BOUND_STYLES = {
    **{"compute": (BLUE, "circle"), "sram": (ORANGE, "diamond"), "dram": (VERMILION, "square")},
    "decoder": (GREEN, "triangle-up"),
}
SMALLEST, LARGEST = 8.0, 30.0
"""Diameters of the marks of the layers that take the least and the most time, in pixels."""


def draw_roofline(view: RooflineView) -> go.Figure:
    """Draw the roofs, and every layer with its share of the time as its size and its bound as colour and symbol."""
    apart = f"; {100.0 * view.apart:.1f} % of the time is in layers without products" if view.apart > 0.0005 else ""
    figure = lay_out(
        go.Figure([*_roofs(view), *_layers(view)]),
        title={"text": f"{escape(view.title)}<br><sub>size: share of the time{apart}</sub>"},
        hovermode="closest",
        legend={"orientation": "h", "x": 0, "y": -0.14, "xanchor": "left", "yanchor": "top"},
    )
    ticks = {"type": "log", "dtick": 1, "exponentformat": "SI"}
    figure.update_xaxes(title={"text": "operational intensity (MACs per byte from and to memory)"}, **ticks, **AXIS)
    figure.update_yaxes(title={"text": "MACs per second"}, **ticks, **AXIS)
    return figure


def _roofs(view: RooflineView) -> list[go.Scatter]:
    """Return one line for each pair of widths: along the bandwidth up to the ridge, then flat."""
    intensities = [point.intensity for point in view.points]
    ridges = [peak / view.bandwidth for _, peak in view.peaks]
    if not intensities:
        return []
    left, right = min(*intensities, *ridges) / 3.0, max(*intensities, *ridges) * 3.0
    dashes = ("solid", "dash", "dot", "dashdot", "longdash")
    return [
        go.Scatter(
            x=[left, ridge, right],
            y=[left * view.bandwidth, peak, peak],
            mode="lines",
            line={"color": MUTED, "width": 1.5, "dash": dashes[index % len(dashes)]},
            name=f"roof at {widths[0]}-bit weights, {widths[1]}-bit inputs",
            hoverinfo="skip",
        )
        for index, ((widths, peak), ridge) in enumerate(zip(view.peaks, ridges, strict=True))
    ]


def _layers(view: RooflineView) -> list[go.Scatter]:
    most = max((point.share for point in view.points), default=1.0)
    traces = []
    for bound, (color, symbol) in BOUND_STYLES.items():
        shown = [point for point in view.points if point.bound == bound]
        if shown:
            sizes = [max(SMALLEST, LARGEST * math.sqrt(point.share / most)) for point in shown]
            traces.append(
                go.Scatter(
                    x=[point.intensity for point in shown],
                    y=[point.rate for point in shown],
                    mode="markers",
                    marker={"color": color, "symbol": symbol, "size": sizes, "opacity": 0.75},
                    hovertext=[_text(point) for point in shown],
                    hoverinfo="text",
                    name=f"bound by {bound}",
                )
            )
    return traces


def _text(point: RoofPoint) -> str:
    reached = 100.0 * point.rate / point.attainable
    return "<br>".join(
        (
            f"<b>{escape(point.name)}</b>",
            f"{point.widths[0]}-bit weights, {point.widths[1]}-bit inputs",
            f"{point.rate:.3g} MACs per second, {reached:.0f} % of what the roof allows",
            f"{point.intensity:.3g} MACs per byte",
            f"{point.cycles:,} cycles, {100.0 * point.share:.1f} % of the network; bound by {point.bound}",
            f"array used to {100.0 * point.utilisation:.0f} %",
        )
    )
