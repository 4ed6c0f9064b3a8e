"""The HTML file around a report: one file that opens without a network, and loads and sends nothing."""

from __future__ import annotations

import gzip
import html
import json
from base64 import b64encode
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.files import CONTENT_POLICY, replaced

if TYPE_CHECKING:
    import plotly.graph_objects as go

DRAW_FIGURES = """
for (const [id, figure] of Object.entries(JSON.parse(document.getElementById("data").textContent)))
  Plotly.newPlot(id, figure.data, figure.layout, {responsive: true, displaylogo: false});
"""
"""The program of a page whose data are figures by the id of the element that each is drawn in."""


def render_page(title: str, *, style: str, body: str, data: object, program: str, plotly: bool = True) -> str:
    """Return a page with its style, data, Plotly and program, each of them inline.

    `title` is plain text, `body` HTML; the program finds `data` in the element of that name: as JSON, or packed as
    `pack` does where it draws without Plotly.
    """
    head = (
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title>",
        '<link rel="icon" href="data:,">',
        f"<style>{style}</style>",
    )
    stored, libraries = (encode_for_script(data), [_read_plotly()]) if plotly else (pack(data), [])
    scripts = (
        f'<script type="application/{"json" if plotly else "gzip"}" id="data">{stored}</script>',
        *(f"<script>{source}</script>" for source in (*libraries, program)),
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


def _read_plotly() -> str:
    import plotly.offline  # noqa: PLC0415  (takes a third of a second, and the report of a front needs none)

    return str(plotly.offline.get_plotlyjs())


def pack(data: object) -> str:
    """Return data as JSON, compressed, in base 64: no text within is read as HTML, and equal data give equal text."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()


def encode_for_script(data: object) -> str:
    """Return JSON that no text within can end early when it stands in a script element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def read_shipped(folder: str, name: str) -> str:
    """Return the text of a file that is shipped in a folder of this package, "" for the package itself."""
    return resources.files("explorer.report").joinpath(folder, name).read_text(encoding="utf-8")
