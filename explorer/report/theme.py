"""How every drawing of a report looks: colours, type, and the frame of a Plotly figure."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
"""Okabe and Ito's palette, told apart with the common colour-vision deficiencies."""
INK, MUTED, GRID, FAINT = "#1b2733", "#5b6875", "#e3e8ee", "#9aa7b4"
FONT = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
AXIS = {
    "showline": True,
    "linecolor": FAINT,
    "ticks": "outside",
    "tickcolor": FAINT,
    "gridcolor": GRID,
    "zeroline": False,
    "automargin": True,
    "title_standoff": 10,
}
"""Of an axis of a Plotly figure."""


def lay_out(figure: go.Figure, **layout: Any) -> go.Figure:
    """Give a figure the type and colours of all, and the rest of a layout."""
    figure.update_layout(
        template="none",
        font={"family": FONT, "size": 13, "color": INK},
        plot_bgcolor="white",
        paper_bgcolor="rgba(0,0,0,0)",
        hoverlabel={
            "bgcolor": "white",
            "bordercolor": FAINT,
            "align": "left",
            "font": {"family": FONT, "color": INK, "size": 12},
        },
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": FAINT, "activecolor": INK},
    )
    return figure.update_layout(**layout)


def escape(text: str) -> str:
    """Return text that Plotly shows as it is, rather than reading tags in it."""
    return html.escape(text, quote=False)
