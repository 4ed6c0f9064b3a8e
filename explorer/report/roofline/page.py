"""The HTML file of a roofline."""

from __future__ import annotations

from pathlib import Path

from explorer.files import PAGE_MARK, refuse_foreign
from explorer.report.roofline.figures import draw_roofline
from explorer.report.roofline.views import RooflineView
from explorer.report.shell import DRAW_FIGURES, encode_figure, render_page, write_page

STYLE = "html, body, #roofline { height: 100%; margin: 0 }"


def write_roofline(view: RooflineView, path: Path) -> None:
    """Write the roofline as one HTML file that needs no network, whole or not at all; equal views give equal bytes.

    Raises:
        ExportError: the file is there, and was not written by explorer.
        OSError: the file cannot be written.
    """
    refuse_foreign({path: PAGE_MARK})
    page = render_page(
        view.title,
        style=STYLE,
        body='<div id="roofline"></div>',
        data={"roofline": encode_figure(draw_roofline(view))},
        program=DRAW_FIGURES,
    )
    write_page(page, path)
