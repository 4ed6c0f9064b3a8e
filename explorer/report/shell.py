"""The HTML file around a report: one file that opens without a network, and loads and sends nothing."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plotly.offline

from explorer.files import CONTENT_POLICY, replaced

if TYPE_CHECKING:
    import plotly.graph_objects as go

DRAW_FIGURES = """
for (const [id, figure] of Object.entries(JSON.parse(document.getElementById("data").textContent)))
  Plotly.newPlot(id, figure.data, figure.layout, {responsive: true, displaylogo: false});
"""
"""The program of a page whose data are figures by the id of the element that each is drawn in."""


def render_page(title: str, *, style: str, body: str, data: object, program: str) -> str:
    """Return a page with its style, data, Plotly and program, each of them inline.

    `title` is plain text, `body` HTML; the program finds `data` as JSON in the element of that name.
    """
    head = (
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title>",
        '<link rel="icon" href="data:,">',
        f"<style>{style}</style>",
    )
    scripts = (
        f'<script type="application/json" id="data">{encode_for_script(data)}</script>',
        f"<script>{plotly.offline.get_plotlyjs()}</script>",
        f"<script>{program}</script>",
    )
    lines = ("<!doctype html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", body.rstrip(), *scripts)
    return "\n".join((*lines, "</body>", "</html>", ""))


def write_page(page: str, path: Path) -> None:
    """Write a page, whole or not at all.

    Raises:
        OSError: Where the file cannot be written.
    """
    with replaced(path) as file:
        file.write(page.encode())


def encode_figure(figure: go.Figure) -> dict[str, Any]:
    """Return what Plotly draws a figure from, as plain data."""
    plot: Mapping[str, Any] = json.loads(figure.to_json())
    return {"data": plot["data"], "layout": plot["layout"]}


def encode_for_script(data: object) -> str:
    """Return JSON that no text within can end early when it stands in a script element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def read_shipped(folder: str, name: str) -> str:
    """Return the text of a file that is shipped in a folder of this package, "" for the package itself."""
    return resources.files("explorer.report").joinpath(folder, name).read_text(encoding="utf-8")
