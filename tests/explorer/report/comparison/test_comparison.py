"""What a comparison shows: the data of curves and bars, and drawings that stand for them."""

from xml.etree import ElementTree

import numpy as np
import pytest

from explorer.comparison.points import FLOAT, ComparisonCell, ScoredCell, Size, pack
from explorer.comparison.record import Comparison
from explorer.files import CONTENT_POLICY
from explorer.report.comparison.page import draw_chart_figure, render_comparison
from explorer.report.comparison.svg import draw_bars, draw_chart
from explorer.report.comparison.tables import POINT_COLUMNS, list_points
from explorer.report.comparison.views import ComparisonView, build_comparison_view, count_verdicts
from explorer.report.styles import choose_styles
from explorer.settings import ComparisonSettings

IMAGES = 200


def point(place: ComparisonCell, right: int, share: float) -> ScoredCell:
    """A point with the first images right."""
    return ScoredCell(
        cell=place,
        selection="",
        size=Size(parameters=100, weight_bytes=round(4000 * share), coded_bytes=None, macs=round(9000 * share)),
        num_images=IMAGES,
        right=pack(np.arange(IMAGES) < right),
    )


@pytest.fixture
def view() -> ComparisonView:
    names, levels = ("deeplift", "l1", "random"), (0.25, 0.5)
    settings = ComparisonSettings(criteria=names, levels=levels, seeds=(0, 1), states=("uncorrected", "recalibrated"))
    points = [
        point(
            ComparisonCell(criterion=name, scope="layer", level=level, state=state, seed=seed),
            right=round(200 * (1 - level)) - 30 * names.index(name) + (5 * seed if name == "random" else 0),
            share=1 - level,
        )
        for name in names
        for level in levels
        for state in settings.in_states
        for seed in settings.seeds
    ]
    return build_comparison_view(
        Comparison(name="n", title="A < B", settings=settings, whole=point(FLOAT, 190, 1.0), points=tuple(points))
    )


def test_curves(view: ComparisonView) -> None:
    by_level, by_macs, by_bytes = view.charts
    assert [chart.name for chart in view.charts] == ["layer_by_level", "layer_by_macs", "layer_by_bytes"]
    assert [panel.title for panel in by_level.panels] == ["not corrected", "batch norms recalibrated"]
    (curve,) = [curve for curve in by_level.panels[0].curves if curve.criterion == "deeplift"]
    assert [(p.x, p.y) for p in curve.points] == [(25.0, 75.0), (50.0, 50.0)]
    assert curve.points[0].error == pytest.approx(100 * np.std([1] * 150 + [0] * 50, ddof=1) / IMAGES**0.5)
    assert by_level.panels[0].float_accuracy == 95.0
    for chart in (by_macs, by_bytes):
        assert [p.x for p in chart.panels[0].curves[0].points] == [50.0, 75.0]


def test_bars_and_verdicts(view: ComparisonView) -> None:
    (chart,) = view.bar_charts
    assert [(panel.row, panel.column) for panel in chart.panels] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [bar.criterion for bar in chart.panels[0].bars] == ["random", "l1"]
    assert chart.panels[0].bars[1].value == pytest.approx(15.0)
    assert {tuple(counts.items()) for counts in count_verdicts(view.differences).values()} == {(("wins", 2),)}


def test_rows_have_a_cell_for_every_column(view: ComparisonView) -> None:
    first, *others = list_points(view)
    assert {len(row) for row in (first, *others)} == {len(POINT_COLUMNS)}
    assert dict(zip(POINT_COLUMNS, others[0], strict=True))["compression_ratio"] == "1.333"


def test_drawings_are_svg_with_every_name_and_equal_bytes(view: ComparisonView) -> None:
    for text, again in (
        (draw_chart(view.charts[0], view), draw_chart(view.charts[0], view)),
        (draw_bars(view.bar_charts[0]), draw_bars(view.bar_charts[0])),
    ):
        assert text == again
        root = ElementTree.fromstring(text)
        texts = [entry.text or "" for entry in root.iter() if entry.tag.endswith("text")]
        assert {"l1", "random"} <= set(texts)
        assert any("A < B" in entry for entry in texts)
        width, height = (float(root.attrib[key]) for key in ("width", "height"))
        for entry in root.iter():
            for key, limit in (("x1", width), ("x2", width), ("cx", width), ("y1", height), ("cy", height)):
                assert 0 <= float(entry.attrib.get(key, 0)) <= limit


def test_the_page_draws_the_same_points(view: ComparisonView) -> None:
    figure = draw_chart_figure(view.charts[0], view)
    drawn = {(trace.name, tuple(trace.x), tuple(trace.y)) for trace in figure.data}
    asked = {
        (curve.criterion, tuple(p.x for p in curve.points), tuple(p.y for p in curve.points))
        for panel in view.charts[0].panels
        for curve in panel.curves
    }
    assert drawn == asked
    assert "<" not in figure.layout.title.text
    page = render_comparison(view)
    assert page.index(CONTENT_POLICY) < page.index("<script")


def test_styles_differ() -> None:
    names = ("deeplift", "random", *(f"c{index}" for index in range(24)))
    found = choose_styles(names, "deeplift")
    assert len(set(found.values())) == len(names)
    assert max(found.values(), key=lambda style: style.width) is found["deeplift"]
