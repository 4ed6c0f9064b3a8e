"""What the drawings of a comparison show, and that they are SVG that any reader takes."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from explorer.comparison.devices import DeviceRuns, choose_networks, price_transfers
from explorer.compress.apply import CompressionContext
from explorer.graph.layers import ModelGraph
from explorer.report.devices.charts import build_decision_grids, build_transfer_grids, plot_fronts
from explorer.report.svg import Grid, Line, Plot, draw_grids, draw_plots, round_ticks
from tests.support.device_runs import run_of, widths

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def graph(context: Callable[[str], CompressionContext]) -> ModelGraph:
    """A residual network of three stages."""
    return context("option_a").graph


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_a_front_is_what_no_cheaper_point_equals(graph: ModelGraph) -> None:
    found = [(widths(graph, 8, 8), 0.90), (widths(graph, 6, 8), 0.80), (widths(graph, 2, 8), 0.85)]
    energy, latency = plot_fronts([run_of(graph, "bit_serial_16x16", found)])
    assert [line.name for line in energy.lines] == ["bit_serial_16x16"]
    assert [round(y) for _, y in energy.lines[0].points] == [85, 90]
    assert energy.lines[0].points[-1][0] == pytest.approx(1.0)
    assert energy.lines[0].points[0][0] < 0.7
    assert energy.levels == (("float", 90.0),)
    assert [round(y) for _, y in latency.lines[0].points] == [85, 90]


def test_runs_of_a_device_share_a_color(graph: ModelGraph) -> None:
    found = [(widths(graph, 8, 8), 0.90)]
    runs = [run_of(graph, device, found, seed) for device in ("gap9_ne16", "edge_tpu") for seed in (1, 2)]
    lines = plot_fronts(runs)[0].lines
    assert [(line.name, line.color, line.dash) for line in lines] == [
        ("gap9_ne16, seed 1", 0, 0),
        ("gap9_ne16, seed 2", 0, 1),
        ("edge_tpu, seed 1", 1, 0),
        ("edge_tpu, seed 2", 1, 1),
    ]


def test_decisions_by_layer_and_device(graph: ModelGraph) -> None:
    runs = [
        run_of(graph, "gap9_ne16", [(widths(graph, 4, 8), 0.9)]),
        run_of(graph, "stm32h7a3", [(widths(graph, 8, 8, 0.5), 0.9)]),
    ]
    weights, activations, filters = build_decision_grids(choose_networks(runs, (0.0,)))
    assert weights.rows == graph.layer_names
    assert weights.columns == ("gap9 ne16", "stm32h7a3")
    assert set(weights.texts) == {("4", "8")}
    assert set(weights.shades) == {(0.5, 1.0)}
    assert set(activations.texts) == {("8", "8")}
    assert filters.texts[0] == ("4/4", "2/4")
    assert filters.shades[0] == (1.0, 0.5)


def test_transfers_of_each_loss(graph: ModelGraph) -> None:
    narrow, few = widths(graph, 4, 8), widths(graph, 8, 8, 0.75)
    pairs = [run_of(graph, "gap9_ne16", [(narrow, 0.9)]), run_of(graph, "stm32h7a3", [(few, 0.9)])]
    moved = price_transfers(DeviceRuns(graph=graph, runs=tuple(pairs)), choose_networks(pairs, (0.01, 0.03)))
    first, second = build_transfer_grids(moved)
    assert (first.title, second.title) == ("at most 1 point lost", "at most 3 points lost")
    assert first.rows == ("gap9_ne16", "stm32h7a3")
    assert first.texts[0][0] == first.texts[1][1] == "1.00"
    assert first.shades[0][0] == 0.0
    ratio = next(entry.energy_ratio for entry in moved if entry.device == "stm32h7a3")
    assert first.texts[0][1] == f"{ratio:.2f}"
    assert first.shades[0][1] == pytest.approx(math.log2(ratio))


def test_drawings_are_svg_and_names_are_no_markup() -> None:
    grid = Grid(title="a < b", columns=("one & two",), rows=("<x>",), texts=(("7",),), shades=((None,),))
    assert texts(draw_grids([grid], "grids")) == ["grids", "<x>", "a < b", "one", "&", "two", "7"]
    line = Line(name="<i>", points=((0.1, 1.0), (0.5, 2.0)), color=7, dash=4)
    plot = Plot(title="t", x_title="x", y_title="y", lines=(line,), x_range=(0, 1), y_range=(0, 3), levels=(("l", 2),))
    svg = draw_plots([plot], "plots")
    assert texts(svg)[-1] == "<i>"
    steps = next(ET.fromstring(svg).iter(f"{SVG}polyline")).attrib["points"].split()
    assert len(steps) == 3  # along, then up
    assert steps[0].split(",")[1] == steps[1].split(",")[1]
    assert ET.fromstring(draw_grids([], "none")).tag == f"{SVG}svg"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.05, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (77.3, 88.3, [78.0, 80.0, 82.0, 84.0, 86.0, 88.0]),
        (-0.02, 0.03, [-0.02, -0.01, 0.0, 0.01, 0.02, 0.03]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert round_ticks(low, high) == pytest.approx(expected)
