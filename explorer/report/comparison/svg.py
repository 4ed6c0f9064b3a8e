"""Charts of a comparison as SVG files that any browser and GitHub show; equal data give equal bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from explorer.files import replaced
from explorer.report.comparison.views import Bar, BarChart, BarPanel, Chart, ComparisonView, Curve, Panel
from explorer.report.styles import Style, choose_styles
from explorer.report.svg import place_text, round_ticks, wrap_document
from explorer.report.theme import BLUE, FAINT, GRID, MUTED, VERMILION

WIDTH, HEIGHT = 340, 300
"""Pixels of the area of one panel."""
LEFT, TOP, GAP, BOTTOM = 62, 64, 62, 56
LEGEND, ROW, BAR_LABEL, BAR_WIDTH = 190, 19, 150, 190
TITLE_CHARACTER = 9
"""Pixels; a bold character of 15-pixel type is about so wide (assumed)."""
VERDICT_COLORS = {"wins": BLUE, "ties": FAINT, "loses": VERMILION}


def write_charts(view: ComparisonView, folder: Path) -> tuple[Path, ...]:
    """Write every chart of a comparison as <name>.svg, and return where they are."""
    drawn = {chart.name: draw_chart(chart, view) for chart in view.charts}
    drawn.update({chart.name: draw_bars(chart) for chart in view.bar_charts})
    for name, text in drawn.items():
        with replaced(folder / f"{name}.svg") as file:
            file.write(text.encode())
    return tuple(folder / f"{name}.svg" for name in drawn)


def draw_chart(chart: Chart, view: ComparisonView) -> str:
    """Draw accuracy against one axis, a panel for each state on common axes, and what each line stands for."""
    known = choose_styles(view.criteria, view.focus)
    points = [point for panel in chart.panels for curve in panel.curves for point in curve.points]
    scale = math.log2 if chart.logarithmic else float
    x_low, x_high = _wide([scale(point.x) for point in points])
    tops = [point.y + point.error for point in points] + [panel.float_accuracy for panel in chart.panels]
    y_low, y_high = _wide([*(point.y - point.error for point in points), *tops])
    levels = sorted({point.x for point in points})
    ticks = levels if len(levels) <= 6 else round_ticks(x_low, x_high)
    width = LEFT + len(chart.panels) * (WIDTH + GAP) + LEGEND
    whole = max(width, 32 + TITLE_CHARACTER * len(chart.title))
    height = max(TOP + HEIGHT + BOTTOM, TOP + 20 * (len(known) + 2))
    parts = [place_text(16, 26, chart.title, size=15, weight="bold")]
    for index, panel in enumerate(chart.panels):
        frame = _Frame(LEFT + index * (WIDTH + GAP), TOP, WIDTH, HEIGHT, (x_low, x_high), (y_low, y_high))
        parts += _axes(frame, [(scale(tick), f"{tick:.4g}") for tick in ticks], round_ticks(y_low, y_high))
        parts += _panel(frame, panel, chart, known)
        parts.append(place_text(frame.left, TOP + HEIGHT + 40, chart.x_title))
    parts.append(place_text(18, TOP + HEIGHT / 2, "Right on the search images (%)", anchor="middle", turned=True))
    parts += _legend(width - LEGEND + 6, TOP, [name for name in view.criteria if _drawn(chart, name)], known)
    return wrap_document(whole, height, parts)


def draw_bars(chart: BarChart) -> str:
    """Draw differences with their 95 % intervals, coloured by who wins."""
    tall = ROW * max(len(panel.bars) for panel in chart.panels) + 76
    columns, rows = (1 + max(getattr(panel, key) for panel in chart.panels) for key in ("column", "row"))
    bounds = [bar.value + sign * bar.half_width for panel in chart.panels for bar in panel.bars for sign in (-1, 1)]
    low, high = _wide([*bounds, 0.0])
    wide = BAR_LABEL + BAR_WIDTH + 24
    parts = [place_text(16, 26, chart.title, size=15, weight="bold")]
    parts.append(place_text(16, 46, "Points of accuracy, with 95 % intervals over images and seeds", color=MUTED))
    for panel in chart.panels:
        left, top = 16 + panel.column * wide + BAR_LABEL, 80 + panel.row * tall
        height = float(ROW * len(panel.bars))
        parts += _bar_panel(_Frame(left, top, BAR_WIDTH, height, (low, high), (0.0, height)), panel)
    return wrap_document(16 + columns * wide, 80 + rows * tall, parts)


class _Frame:
    """An area in pixels, and the values at its edges."""

    def __init__(
        self,
        left: float,
        top: float,
        width: float,
        height: float,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
    ) -> None:
        self.left, self.top, self.width, self.height = left, top, width, height
        self.x_range, self.y_range = x_range, y_range

    def x(self, value: float) -> float:
        """Return pixels from the left of the document."""
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * self.width

    def y(self, value: float) -> float:
        """Return pixels from the top of the document."""
        low, high = self.y_range
        return self.top + self.height - (value - low) / (high - low) * self.height


def _axes(frame: _Frame, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[float]) -> Iterable[str]:
    bottom, right = frame.top + frame.height, frame.left + frame.width
    for tick in y_ticks:
        yield _line(frame.left, frame.y(tick), right, frame.y(tick), GRID)
        yield place_text(frame.left - 6, frame.y(tick) + 4, f"{tick:g}", anchor="end", color=MUTED)
    for place, label in x_ticks:
        yield _line(frame.x(place), bottom, frame.x(place), bottom + 5, FAINT)
        yield place_text(frame.x(place), bottom + 19, label, anchor="middle", color=MUTED)
    yield _line(frame.left, bottom, right, bottom, FAINT)
    yield _line(frame.left, frame.top, frame.left, bottom, FAINT)


def _panel(frame: _Frame, panel: Panel, chart: Chart, known: dict[str, Style]) -> Iterable[str]:
    level = frame.y(panel.float_accuracy)
    yield place_text(frame.left, frame.top - 10, panel.title, weight="bold")
    yield _line(frame.left, level, frame.left + frame.width, level, MUTED, dash="2 4")
    # The focus comes last, so that nothing covers it.
    for curve in sorted(panel.curves, key=lambda curve: known[curve.criterion].width):
        yield from _curve(frame, curve, chart.logarithmic, known[curve.criterion])


def _curve(frame: _Frame, curve: Curve, logarithmic: bool, style: Style) -> Iterable[str]:
    places = [
        (frame.x(math.log2(point.x) if logarithmic else point.x), frame.y(point.y), point) for point in curve.points
    ]
    if len(places) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
        yield (
            f'<polyline points="{path}" fill="none" stroke="{style.color}" stroke-width="{style.width:g}" '
            f'stroke-dasharray="{style.dash}"/>'
        )
    for x, y, point in places:
        if point.error:
            ends = frame.y(point.y - point.error), frame.y(point.y + point.error)
            yield _line(x, ends[0], x, ends[1], style.color)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{1.5 + style.width:g}" fill="{style.color}"/>'


def _legend(left: float, top: float, names: Sequence[str], known: dict[str, Style]) -> Iterable[str]:
    for index, name in enumerate(names):
        y, style = top + 20 * index, known[name]
        yield _line(left, y, left + 26, y, style.color, dash=style.dash, width=style.width)
        yield f'<circle cx="{left + 13:g}" cy="{y:g}" r="{1.5 + style.width:g}" fill="{style.color}"/>'
        yield place_text(left + 33, y + 4, name, weight="bold" if style.width > 2 else "normal")
    y = top + 20 * len(names)
    yield _line(left, y, left + 26, y, MUTED, dash="2 4")
    yield place_text(left + 33, y + 4, "float network", color=MUTED)
    yield place_text(left, y + 22, "Bars: one standard error", color=MUTED, size=11)


def _bar_panel(frame: _Frame, panel: BarPanel) -> Iterable[str]:
    yield place_text(frame.left - BAR_LABEL, frame.top - 10, panel.title, weight="bold")
    bottom = frame.top + frame.height
    for tick in round_ticks(*frame.x_range, most=5):
        yield _line(frame.x(tick), frame.top, frame.x(tick), bottom, FAINT if tick == 0 else GRID)
        yield place_text(frame.x(tick), bottom + 16, f"{tick:g}", anchor="middle", color=MUTED, size=11)
    for index, bar in enumerate(panel.bars):
        yield from _bar(frame, bar, frame.top + ROW * (index + 0.5))


def _bar(frame: _Frame, bar: Bar, y: float) -> Iterable[str]:
    color = VERDICT_COLORS[bar.verdict]
    yield place_text(frame.left - 8, y + 4, bar.criterion, anchor="end")
    yield _line(frame.x(bar.value - bar.half_width), y, frame.x(bar.value + bar.half_width), y, color, width=2)
    yield f'<circle cx="{frame.x(bar.value):.1f}" cy="{y:.1f}" r="4" fill="{color}"/>'


def _drawn(chart: Chart, name: str) -> bool:
    return any(curve.criterion == name for panel in chart.panels for curve in panel.curves)


def _wide(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of values with some room."""
    low, high = min(values), max(values)
    room = 0.05 * ((high - low) or 1.0)
    return low - room, high + room


def _line(x1: float, y1: float, x2: float, y2: float, color: str, dash: str = "none", width: float = 1.0) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" '
        f'stroke-width="{width:g}" stroke-dasharray="{dash}"/>'
    )
