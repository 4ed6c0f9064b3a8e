"""The page of `explorer relevance` in a real browser, without a network: drawn, switched, pointed at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from explorer.report.relevance.page import write_relevance_page
from explorer.report.relevance.views import ClassScores, ImageView, LayerView, MapView, RelevanceView
from tests.support.browser import IN_BROWSER, NARROW, WIDE, Opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = IN_BROWSER

MINUS = "\N{MINUS SIGN}"
HOSTILE = "</script><img src=x onerror=\"document.title='run'\"><b>"

FIRST_ROW = "name => document.getElementById(name).data[0].z[0].filter(value => value !== null)"
COLOURS = """index => {
  const canvas = document.querySelectorAll("#pixels canvas")[index];
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return Array.from({length: data.length / 4}, (_, pixel) => [...data.slice(4 * pixel, 4 * pixel + 3)]);
}"""
"""Red, green and blue of each pixel of an image or map, row by row."""
ROWS = """name => [...document.querySelectorAll(`#${name} .ytick text`)]
  .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top).map(text => text.textContent)"""
"""Names of a heat map's rows from top to bottom."""


def _layer(name: str, *scores: float) -> LayerView:
    classes = tuple(
        ClassScores(name=title, num_images=count, scores=tuple(count * score for score in scores))
        for title, count in (("cat", 1), ("dog", 3))
    )
    return LayerView(
        name=name,
        scores=scores,
        groups=(name,) * len(scores),
        share=0.5,
        highest=max(scores),
        mean=sum(scores) / len(scores),
        concentration=0.4,
        classes=classes,
    )


def _map(*values: float) -> MapView:
    return MapView(values=(values[:2], values[2:]), total=sum(values), full=max(map(abs, values)))


@pytest.fixture(scope="module")
def view() -> RelevanceView:
    """Three layers, one image of 2 x 2 pixels."""
    return RelevanceView(
        title="Tiny",
        method="deeplift",
        facts=(("method", "deeplift"), ("images", "4")),
        layers=(_layer("conv1", 0.5, 2.0, 1.0), _layer("conv2", 4.0, 1.0), _layer("fc", 0.25, 0.125)),
        filters=(("conv2", 1),),
        images=(
            ImageView(
                index=3,
                label="dog",
                explained="cat",
                height=2,
                width=2,
                pixels=bytes(range(0, 240, 20)),
                reference=bytes(12),
                maps=(_map(1.0, -1.0, 0.0, 0.5), _map(0.0, 0.0, 0.0, 0.0)),
            ),
        ),
        notes=(),
    )


def open_view(browser: Browser, view: RelevanceView, folder: Path, size: tuple[int, int] = WIDE) -> Opened:
    """The page of a view in a window."""
    write_relevance_page(view, folder / "relevance.html")
    return Opened(browser, folder / "relevance.html", size, ready="#filters .heatmaplayer image")


@pytest.fixture
def opened(browser: Browser, view: RelevanceView, tmp_path: Path) -> Iterator[Opened]:
    """The page in a window of 1280 x 900."""
    window = open_view(browser, view, tmp_path)
    yield window
    window.close()


def test_all_is_drawn(opened: Opened) -> None:
    page = opened.page
    assert page.locator("h1").inner_text() == "Relevance: Tiny"
    assert page.locator("#subtitle").inner_text() == "method deeplift · images 4"
    assert page.evaluate(ROWS, "filters") == ["conv1", "conv2", "fc"]
    assert page.locator("#classes .heatmaplayer image").count() == 1
    assert page.locator("#notes").is_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDE[0]


def test_filters_can_be_ordered_and_scaled(opened: Opened) -> None:
    page = opened.page
    assert page.evaluate(FIRST_ROW, "filters") == [1.0, 0.5, 0.25]
    page.get_by_role("radio", name="one scale for all").check()
    assert page.evaluate(FIRST_ROW, "filters") == [2.0, 1.0, 0.5]
    page.get_by_role("radio", name="in channel order").check()
    assert page.evaluate(FIRST_ROW, "filters") == [0.5, 2.0, 1.0]
    assert page.locator("#filters .xtitle").text_content() == "filter"
    page.get_by_role("radio", name="over each layer's largest").check()
    assert page.evaluate(FIRST_ROW, "filters") == [0.25, 1.0, 0.5]


def test_the_layer_of_the_classes_can_be_chosen(opened: Opened) -> None:
    page = opened.page
    assert page.evaluate(FIRST_ROW, "classes") == [4.0, 1.0]
    page.get_by_role("combobox", name="Layer").select_option(label="fc")
    assert page.evaluate(FIRST_ROW, "classes") == [0.25, 0.125]
    assert page.evaluate(ROWS, "classes") == ["cat (1)", "dog (3)"]


def test_a_filter_is_read_under_the_pointer(opened: Opened) -> None:
    box = opened.page.locator("#filters .nsewdrag").bounding_box()
    assert box is not None
    opened.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + box["height"] / 6)
    opened.page.wait_for_selector("#filters .hoverlayer .hovertext")
    told = opened.page.locator("#filters .hoverlayer").text_content() or ""
    assert "conv1 filter 2" in told
    assert "score 1, rank 2 of 3" in told
    assert "channel group conv1" in told


def test_images_and_maps_are_drawn_pixel_by_pixel(opened: Opened) -> None:
    page = opened.page
    assert page.locator("#pixels thead th").all_inner_texts()[1:] == [
        "image",
        "reference",
        "whole network",
        "conv2, filter 1",
    ]
    picture, reference, whole, nothing = (page.evaluate(COLOURS, index) for index in range(4))
    assert picture == [[start, start + 20, start + 40] for start in (0, 60, 120, 180)]
    assert reference == [[0, 0, 0]] * 4
    assert nothing == [[255, 255, 255]] * 4
    red, blue, white, pale = whole
    assert white == [255, 255, 255]
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert pale[0] > pale[2] > red[2]
    assert page.locator("#pixels td small").all_inner_texts() == ["+0.500 (±1.0)", "contributes nothing"]
    page.locator("#pixels canvas").nth(2).scroll_into_view_if_needed()
    box = page.locator("#pixels canvas").nth(2).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    assert page.locator("#pixels canvas").nth(2).get_attribute("title") == f"row 0, column 1: {MINUS}1.00"


def test_the_page_fits_a_narrow_window(browser: Browser, view: RelevanceView, tmp_path: Path) -> None:
    window = open_view(browser, view, tmp_path, NARROW)
    assert window.page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]
    window.close()


def test_what_there_is_not_is_not_shown(browser: Browser, view: RelevanceView, tmp_path: Path) -> None:
    layers = tuple(replace(layer, classes=()) for layer in view.layers)
    window = open_view(browser, replace(view, layers=layers, images=(), notes=("No pixel maps: no.",)), tmp_path)
    assert window.page.locator("#classes-section").is_hidden()
    assert window.page.locator("#pixels-section").is_hidden()
    assert window.page.locator("#notes").inner_text() == "No pixel maps: no."
    window.close()


def test_each_input_of_an_image_has_a_row_with_its_name(browser: Browser, view: RelevanceView, tmp_path: Path) -> None:
    images = tuple(replace(view.images[0], input=name) for name in ("colour", "depth"))
    window = open_view(browser, replace(view, images=images), tmp_path)
    rows = window.page.locator("#pixels tbody th").all_inner_texts()
    assert [row.split("\n")[:2] for row in rows] == [["Image 3", "colour"], ["Image 3", "depth"]]
    labels = window.page.locator("#pixels canvas").nth(4).get_attribute("aria-label")
    assert labels == "depth of image 3"
    window.close()


def test_hostile_names_are_shown_and_not_run(browser: Browser, view: RelevanceView, tmp_path: Path) -> None:
    layer = replace(view.layers[1], name=HOSTILE, groups=(HOSTILE,) * 2)
    layer = replace(layer, classes=(replace(layer.classes[0], name=HOSTILE), *layer.classes[1:]))
    image = replace(view.images[0], input=HOSTILE, label=HOSTILE, explained=HOSTILE)
    hostile = replace(
        view,
        title=HOSTILE,
        facts=((HOSTILE, HOSTILE),),
        layers=(view.layers[0], layer, view.layers[2]),
        filters=((HOSTILE, 1),),
        images=(image,),
        notes=(HOSTILE,),
    )
    window = open_view(browser, hostile, tmp_path)
    assert window.page.locator("h1").inner_text() == f"Relevance: {HOSTILE}"
    assert HOSTILE in window.page.evaluate(ROWS, "filters")[1]
    assert window.page.locator("img").count() == 0
    assert window.page.title() != "run"
    window.close()
