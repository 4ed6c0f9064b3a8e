"""One HTML file that shows the relevance of a network, opens without a network and answers to clicks and keys."""

from __future__ import annotations

import base64
import html
import json
from importlib import resources
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.offline

from explorer.files import replaced
from explorer.report.front.page import script_json
from explorer.report.relevance.figures import ORDERS, SCALES, classes_figure, filters_figure
from explorer.report.relevance.views import ImageView, MapView, RelevanceView


def write_relevance_page(view: RelevanceView, path: Path) -> None:
    """Write the standalone page, whole or not at all; equal views give equal bytes.

    Raises:
        OSError: the file cannot be written.
    """
    content = relevance_html(view).encode()
    with replaced(path) as file:
        file.write(content)


def relevance_html(view: RelevanceView) -> str:
    """Return the page: the template with style, Plotly, data and program put in, each of them inline."""
    parts = {
        "title": html.escape(f"Relevance: {view.title}"),
        "style": _shipped("page.css") + _shipped("page.css"),
        "plotly": plotly.offline.get_plotlyjs(),
        "data": script_json(page_data(view)),
        "program": _shipped("page.js"),
    }
    start, *rest = _shipped("page.html").split("{{")
    pieces = (piece.split("}}", 1) for piece in rest)
    return start + "".join(parts[key] + after for key, after in pieces)


def page_data(view: RelevanceView) -> dict[str, Any]:
    """Return all that the page's program reads, as plain data."""
    return {
        "title": view.title,
        "facts": view.facts,
        "notes": view.notes,
        "filters_figures": {
            order: {scale: _figure(filters_figure(view, order, scale)) for scale in SCALES} for order in ORDERS
        },
        "classes_figures": [
            {"layer": layer.name, "figure": _figure(classes_figure(layer))} for layer in view.layers if layer.classes
        ],
        "filters": [f"{name}, filter {index}" for name, index in view.filters],
        "images": [_image(image) for image in view.images],
    }


def _figure(figure: go.Figure) -> dict[str, Any]:
    plot = json.loads(figure.to_json())
    return {"data": plot["data"], "layout": plot["layout"]}


def _image(image: ImageView) -> dict[str, Any]:
    """An image with its colours in base64, three bytes for a pixel."""
    return {
        "index": image.index,
        "label": image.label,
        "explained": image.explained,
        "height": image.height,
        "width": image.width,
        "pixels": base64.b64encode(image.pixels).decode(),
        "reference": base64.b64encode(image.reference).decode(),
        "maps": [_map(each) for each in image.maps],
    }


def _map(values: MapView) -> dict[str, Any]:
    """A map row by row, in three significant digits."""
    flat = [float(f"{value:.3g}") for row in values.values for value in row]
    return {"values": flat, "total": values.total, "full": values.full}


def _shipped(name: str) -> str:
    """Read a file that is shipped with this package."""
    return resources.files("explorer.report.relevance").joinpath(name).read_text(encoding="utf-8")
