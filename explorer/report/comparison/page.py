"""One HTML file with all charts of a comparison, which opens without a network."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.report.comparison.svg import VERDICT_COLORS
from explorer.report.comparison.tables import POINT_COLUMNS, list_points
from explorer.report.comparison.views import BarChart, Chart, ComparisonView
from explorer.report.shell import DRAW_FIGURES, encode_figure, render_page, write_page
from explorer.report.styles import Style, choose_styles
from explorer.report.theme import FAINT, FONT, GRID, INK, MUTED, lay_out

PLOTLY_DASHES = {"none": "solid", "7 3": "dash", "2 2": "dot", "8 3 2 3": "dashdot", "4 3": "dash"}
STYLE = f"""
body {{ font: 15px/1.5 {FONT}; color: {INK}; margin: 2em auto; max-width: 1400px; padding: 0 1em }}
table {{ border-collapse: collapse; font-size: 13px }} td, th {{ padding: 2px 10px; text-align: right }}
tr:nth-child(even) {{ background: #f5f7f9 }} td:nth-child(-n+3), th:nth-child(-n+3) {{ text-align: left }}
"""


def write_comparison_page(view: ComparisonView, path: Path) -> None:
    """Write the page, whole or not at all; equal comparisons give equal bytes."""
    write_page(render_comparison(view), path)


def render_comparison(view: ComparisonView) -> str:
    """Return the page: every chart, and the table of all points."""
    figures = {chart.name: draw_chart_figure(chart, view) for chart in view.charts}
    figures.update({chart.name: draw_bar_figure(chart) for chart in view.bar_charts})
    divisions = "".join(f'<div id="{html.escape(name)}"></div>' for name in figures)
    seeds = sorted({group.accuracy.seeds for group in view.groups})
    about = (
        f"{view.float_accuracy.num_images:,} search images; {', '.join(map(str, seeds))} seeds of what criteria look "
        "at and draw. Error bars are one standard error over images and seeds, of differences 95 % intervals."
    )
    heading = f"<h1>{html.escape(view.title)}</h1><p>{html.escape(about)}</p>"
    return render_page(
        view.title,
        style=STYLE,
        body=f"{heading}{divisions}<h2>All points</h2>{_table(view)}",
        data={name: encode_figure(figure) for name, figure in figures.items()},
        program=DRAW_FIGURES,
    )


def draw_chart_figure(chart: Chart, view: ComparisonView) -> go.Figure:
    """Draw accuracy against one axis, a panel for each state."""
    known = choose_styles(view.criteria, view.focus)
    figure = make_subplots(
        rows=1, cols=len(chart.panels), shared_yaxes=True, subplot_titles=[panel.title for panel in chart.panels]
    )
    for column, panel in enumerate(chart.panels, start=1):
        for curve in panel.curves:
            figure.add_trace(
                go.Scatter(
                    x=[point.x for point in curve.points],
                    y=[point.y for point in curve.points],
                    error_y={"type": "data", "array": [point.error for point in curve.points], "thickness": 1},
                    mode="lines+markers",
                    line=_plotly_line(known[curve.criterion]),
                    name=curve.criterion,
                    legendgroup=curve.criterion,
                    showlegend=column == 1,
                ),
                row=1,
                col=column,
            )
        line = {"color": MUTED, "dash": "dot", "width": 1}
        figure.add_hline(y=panel.float_accuracy, line=line, row=1, col=column)
        axis = {"type": "log", "dtick": "D1"} if chart.logarithmic else {}
        figure.update_xaxes(title={"text": chart.x_title}, gridcolor=GRID, linecolor=FAINT, row=1, col=column, **axis)
    figure.update_yaxes(gridcolor=GRID, linecolor=FAINT)
    figure.update_yaxes(title={"text": "Right on the search images (%)"}, row=1, col=1)
    return _laid_out(figure, chart.title, 480)


def draw_bar_figure(chart: BarChart) -> go.Figure:
    """Draw differences of the focus to all others, a panel for each level and state, above each other."""
    figure = make_subplots(
        rows=len(chart.panels),
        cols=1,
        shared_xaxes=True,
        subplot_titles=[panel.title for panel in chart.panels],
        vertical_spacing=0.3 / len(chart.panels),
    )
    for row, panel in enumerate(chart.panels, start=1):
        figure.add_trace(
            go.Scatter(
                x=[bar.value for bar in panel.bars],
                y=[bar.criterion for bar in panel.bars],
                error_x={"type": "data", "array": [bar.half_width for bar in panel.bars], "color": FAINT},
                mode="markers",
                marker={"color": [VERDICT_COLORS[bar.verdict] for bar in panel.bars], "size": 9},
                showlegend=False,
            ),
            row=row,
            col=1,
        )
        figure.add_vline(x=0, line={"color": FAINT, "width": 1}, row=row, col=1)
    figure.update_xaxes(gridcolor=GRID)
    figure.update_yaxes(autorange="reversed", gridcolor=GRID)
    rows = sum(len(panel.bars) for panel in chart.panels)
    return _laid_out(figure, f"{chart.title} (points of accuracy)", 120 + 24 * rows + 50 * len(chart.panels))


def _laid_out(figure: go.Figure, title: str, height: int) -> go.Figure:
    margin = {"l": 150, "r": 20, "t": 80, "b": 60}
    return lay_out(figure, title={"text": html.escape(title)}, height=height, margin=margin)


def _plotly_line(style: Style) -> dict[str, Any]:
    return {"color": style.color, "dash": PLOTLY_DASHES[style.dash], "width": style.width}


def _table(view: ComparisonView) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in POINT_COLUMNS)
    rows = ("".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in list_points(view))
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
