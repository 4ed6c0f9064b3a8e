"""The HTML shell: what stands where, what texts cannot do in it, and the files that every page is made of."""

import json
from pathlib import Path

import plotly.graph_objects as go
import pytest

from explorer.files import CONTENT_POLICY
from explorer.report.shell import DRAW_FIGURES, encode_figure, encode_for_script, read_shipped, render_page, write_page
from tests.support.pages import unpack_page


def test_script_json_cannot_end_its_element() -> None:
    assert encode_for_script("</script>&") == '"\\u003c/script\\u003e\\u0026"'


def test_a_page_holds_its_parts_in_the_order_in_which_they_are_needed() -> None:
    data = {"plot": encode_figure(go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="</script>")))}
    page = render_page(
        "a < b", style="p { margin: 0 }", body='<div id="plot"></div>\n', data=data, program=DRAW_FIGURES
    )
    order = (
        CONTENT_POLICY,
        "<title>a &lt; b</title>",
        "<style>p { margin: 0 }</style>",
        '<div id="plot"></div>',
        '<script type="application/json" id="data">',
        f"<script>{DRAW_FIGURES}</script>",
        "</html>",
    )
    places = [page.index(part) for part in order]
    assert places == sorted(places)
    stored = page.partition('id="data">')[2].partition("</script>")[0]
    assert json.loads(stored) == data
    assert data["plot"]["data"][0]["name"] == "</script>"


@pytest.mark.parametrize("folder", ["", "front", "relevance"])
def test_the_styles_are_shipped(folder: str) -> None:
    assert read_shipped(folder, "page.css").count("{") > 5


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_page("<p>\u00b5</p>", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == b"<p>\xc2\xb5</p>"
    with pytest.raises(OSError, match="No such file"):
        write_page("", tmp_path / "absent" / "page.html")


def test_a_page_that_draws_without_plotly_holds_its_data_packed() -> None:
    data = {"name": "</script>", "numbers": [1.5, None]}
    page = render_page("a", style="", body="", data=data, program="", plotly=False)
    assert unpack_page(page) == data
    assert len(page) < 1500
    assert page == render_page("a", style="", body="", data=dict(data), program="", plotly=False)
