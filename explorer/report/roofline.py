"""The roofline of a network on a device: what each layer reaches, and what its arithmetic and its memories allow.

After Williams, Waterman and Patterson (Communications of the ACM 52(4), 2009): attainable rate = min(peak rate,
operational intensity x bandwidth).
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
import plotly.io

from explorer.files import PAGE_MARK, refuse_foreign, replaced
from explorer.report.front.figures import BLUE, FONT, INK, LINES, MUTED, ORANGE, VERMILION
from explorer.report.front.page import HEAD
from hwmodels import LAWS, Accelerator, LayerCost, LayerJob

BOUND_STYLES = {"compute": (BLUE, "circle"), "sram": (ORANGE, "diamond"), "dram": (VERMILION, "square")}
SMALLEST, LARGEST = 8.0, 30.0
"""Diameters of the marks of the layers that take the least and the most time, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoofPoint:
    """A layer with products: MACs per byte of memory traffic, and MACs per second that it reaches and could at most."""

    name: str
    widths: tuple[int, int]
    intensity: float
    rate: float
    attainable: float
    cycles: int
    share: float
    """Of the network's time."""
    bound: str
    utilisation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflineView:
    """What the roofline shows, as plain data."""

    title: str
    peaks: tuple[tuple[tuple[int, int], float], ...]
    """(widths of weights and inputs as the device runs them, MACs per second), the fastest first."""
    bandwidth: float
    """Of all memories together, bytes per second."""
    points: tuple[RoofPoint, ...]
    apart: float
    """Share of the time in layers without products, which have no place in the plot."""


def roofline_view(
    name: str, jobs: Sequence[LayerJob], layers: Sequence[LayerCost], accelerator: Accelerator
) -> RooflineView:
    """Return the roofline of layers as they were priced; widths of a roof are those that the device runs."""
    bandwidth = sum(memory.bandwidth_bits_per_s for memory in accelerator.memories) / 8.0
    cycles = sum(layer.latency_cycles for layer in layers)
    points = tuple(
        _point(job, layer, accelerator, bandwidth, cycles)
        for job, layer in zip(jobs, layers, strict=True)
        if layer.macs and layer.latency_cycles
    )
    widths = {point.widths for point in points}
    peaks = sorted(((each, _peak(each, accelerator)) for each in widths), key=lambda peak: (-peak[1], peak[0]))
    return RooflineView(
        title=f"{name} on {accelerator.title}",
        peaks=tuple(peaks),
        bandwidth=bandwidth,
        points=points,
        apart=1.0 - sum(point.share for point in points) if cycles else 0.0,
    )


def _point(
    job: LayerJob, layer: LayerCost, accelerator: Accelerator, bandwidth: float, network_cycles: int
) -> RoofPoint:
    bits = layer.dram_weight_bits + layer.dram_input_bits + layer.dram_output_bits
    intensity = layer.macs / (bits / 8.0)
    widths = (_held(job.weight_bits, accelerator.weight_bits), _held(job.input_bits, accelerator.input_bits))
    return RoofPoint(
        name=layer.name,
        widths=widths,
        intensity=intensity,
        rate=layer.macs * accelerator.clock_hz / layer.latency_cycles,
        attainable=min(_peak(widths, accelerator), intensity * bandwidth),
        cycles=layer.latency_cycles,
        share=layer.latency_cycles / network_cycles,
        bound=layer.bound,
        utilisation=layer.utilisation,
    )


def _held(bits: int, supported: Sequence[int]) -> int:
    """The width that the device runs an operand at."""
    return next(width for width in supported if width >= bits)


def _peak(widths: tuple[int, int], accelerator: Accelerator) -> float:
    """MACs per second with every unit at work."""
    law = LAWS[accelerator.precision_law]
    per_unit = float(law(*widths, accelerator.native_bits, accelerator.mac_energy_pj).macs_per_unit_cycle)
    return accelerator.units * accelerator.unit_rate * per_unit * accelerator.clock_hz


def roofline_figure(view: RooflineView) -> go.Figure:
    """Draw the roofs, and every layer with its share of the time as its size and its bound as colour and symbol."""
    figure = go.Figure([*_roofs(view), *_layers(view)])
    apart = f"; {100.0 * view.apart:.1f} % of the time is in layers without products" if view.apart > 0.0005 else ""
    figure.update_layout(
        template="none",
        title={"text": html.escape(view.title, quote=False) + f"<br><sub>size: share of the time{apart}</sub>"},
        font={"family": FONT, "size": 13, "color": INK},
        plot_bgcolor="white",
        hovermode="closest",
        legend={"orientation": "h", "x": 0, "y": -0.14, "xanchor": "left", "yanchor": "top"},
    )
    ticks = {"type": "log", "dtick": 1, "exponentformat": "SI"}
    figure.update_xaxes(title={"text": "operational intensity (MACs per byte from and to memory)"}, **ticks, **LINES)
    figure.update_yaxes(title={"text": "MACs per second"}, **ticks, **LINES)
    return figure


def _roofs(view: RooflineView) -> list[go.Scatter]:
    """One line for each pair of widths: along the bandwidth up to the ridge, then flat."""
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
            f"<b>{html.escape(point.name, quote=False)}</b>",
            f"{point.widths[0]}-bit weights, {point.widths[1]}-bit inputs",
            f"{point.rate:.3g} MACs per second, {reached:.0f} % of what the roof allows",
            f"{point.intensity:.3g} MACs per byte",
            f"{point.cycles:,} cycles, {100.0 * point.share:.1f} % of the network; bound by {point.bound}",
            f"array used to {100.0 * point.utilisation:.0f} %",
        )
    )


def write_roofline(view: RooflineView, path: Path) -> None:
    """Write the roofline as one HTML file that needs no network, whole or not at all; equal views give equal bytes.

    Raises:
        ExportError: the file is there, and was not written by explorer.
        OSError: the file cannot be written.
    """
    refuse_foreign({path: PAGE_MARK})
    body = plotly.io.to_html(
        roofline_figure(view),
        include_plotlyjs=True,
        full_html=False,
        div_id="roofline",
        config={"displaylogo": False, "responsive": True},
    )
    page = (
        f'<!DOCTYPE html><html lang="en"><head>{HEAD}'
        f"<title>{html.escape(view.title)}</title><style>html, body, body > div {{ height: 100%; margin: 0 }}</style>"
        f"</head><body>{body}</body></html>"
    )
    with replaced(path) as file:
        file.write(page.encode())
