"""One HTML file that shows the relevance of a network, opens without a network and answers to clicks and keys."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from explorer.report.relevance.figures import ORDERS, SCALES, draw_classes, draw_filters
from explorer.report.relevance.views import ImageView, MapView, RelevanceView
from explorer.report.shell import encode_figure, read_shipped, render_page, write_page


def write_relevance_page(view: RelevanceView, path: Path) -> None:
    """Write the standalone page, whole or not at all; equal views give equal bytes.

    Raises:
        OSError: the file cannot be written.
    """
    write_page(render_relevance(view), path)


def render_relevance(view: RelevanceView) -> str:
    """Return the page of relevance."""
    return render_page(
        f"Relevance: {view.title}",
        style=read_shipped("", "page.css") + read_shipped("relevance", "page.css"),
        body=read_shipped("relevance", "page.html"),
        data=collect_page_data(view),
        program=read_shipped("relevance", "page.js"),
    )


def collect_page_data(view: RelevanceView) -> dict[str, Any]:
    """Return all that the page's program reads, as plain data."""
    return {
        "title": view.title,
        "facts": view.facts,
        "notes": view.notes,
        "filters_figures": {
            order: {scale: encode_figure(draw_filters(view, order, scale)) for scale in SCALES} for order in ORDERS
        },
        "classes_figures": [
            {"layer": layer.name, "figure": encode_figure(draw_classes(layer))}
            for layer in view.layers
            if layer.classes
        ],
        "filters": [f"{name}, filter {index}" for name, index in view.filters],
        "images": [_image(image) for image in view.images],
    }


def _image(image: ImageView) -> dict[str, Any]:
    """Return an image with its colours in base64, three bytes for a pixel."""
    return {
        "index": image.index,
        **({"input": image.input} if image.input else {}),
        "label": image.label,
        "explained": image.explained,
        "height": image.height,
        "width": image.width,
        "pixels": base64.b64encode(image.pixels).decode(),
        "reference": base64.b64encode(image.reference).decode(),
        "maps": [_map(each) for each in image.maps],
    }


def _map(values: MapView) -> dict[str, Any]:
    """Return a map row by row, in three significant digits."""
    flat = [float(f"{value:.3g}") for row in values.values for value in row]
    return {"values": flat, "total": values.total, "full": values.full}
