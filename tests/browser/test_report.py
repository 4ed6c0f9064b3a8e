"""The report in a real browser, without a network: drawn, clicked, switched and looked at.

Run with EXPLORER_TEST_BROWSER=1; the browser is EXPLORER_CHROMIUM or /usr/bin/chromium.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from explorer.report.front.page import write_report
from explorer.study.record import Outcome
from tests.support.outcomes import make_outcome

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        os.environ.get("EXPLORER_TEST_BROWSER") != "1", reason="set EXPLORER_TEST_BROWSER=1 to open Chromium"
    ),
]

NONE = "\N{EN DASH}"
"""What stands in a table where a row has no such thing."""
WIDE, NARROW = (1280, 900), (390, 844)

POINT_POSITION = """name => {
  const plot = document.getElementById("plot");
  const trace = plot.data.find(trace => (trace.customdata || []).includes(name));
  const index = trace.customdata.indexOf(name);
  const box = plot.getBoundingClientRect();
  const {xaxis, yaxis} = plot._fullLayout;
  return [box.left + xaxis._offset + xaxis.d2p(trace.x[index]), box.top + yaxis._offset + yaxis.d2p(trace.y[index])];
}"""
"""Where a point lies in the window, in CSS pixels."""


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """The synthetic outcome of the report's own tests."""
    return make_outcome()


class Opened:
    """A page, and all that went wrong in it or left it."""

    def __init__(self, browser: Browser, path: Path, size: tuple[int, int]) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        context.set_offline(True)
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self.problems.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("#plot .main-svg")

    def close(self) -> None:
        """Close the page; AssertionError for a console message, an error or a request to a network."""
        self.page.context.close()
        assert self.problems == []
        assert [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture
def opened(browser: Browser, outcome: Outcome, tmp_path: Path) -> Iterator[Opened]:
    """The report in a window of 1280 x 900, p08 chosen."""
    write_report(outcome, tmp_path / "report.html", chosen="p08")
    window = Opened(browser, tmp_path / "report.html", WIDE)
    yield window
    window.close()


def test_all_points_are_drawn(opened: Opened, outcome: Outcome) -> None:
    page = opened.page
    names = page.evaluate("document.getElementById('plot').data.flatMap(trace => trace.customdata || [])")

    assert set(names) == {*(point.name for point in outcome.front), "uniform 8-bit"}
    assert page.locator("#plot .scatterlayer .trace .points path.point").count() > len(names)
    for name in names:
        x, y = page.evaluate(POINT_POSITION, name)
        assert page.evaluate("([x, y]) => !!document.elementFromPoint(x, y).closest('#plot')", [x, y])


def test_the_chosen_point_is_shown_first(opened: Opened, outcome: Outcome) -> None:
    _assert_shown(opened.page, outcome, 7)


def test_what_does_not_fit_is_marked(opened: Opened) -> None:
    flash, buffers = opened.page.locator("#fits tbody tr").all()

    assert flash.locator("td").all_inner_texts() == ["flash for weights", "9,000", "8,192", "109.9 % does not fit"]
    assert buffers.locator("td").all_inner_texts() == ["inputs + outputs buffers", "4,704", "65,536", "7.2 %"]
    assert [row.get_attribute("class") for row in (flash, buffers)] == ["lacking", ""]


def test_every_component_of_the_energy_has_a_name(opened: Opened) -> None:
    names = opened.page.locator("#components tbody tr td:first-child").all_inner_texts()

    assert names == ["MAC array", "SRAM", "DRAM", "Vector unit", "Static"]


def test_a_click_on_a_point_shows_its_layers(opened: Opened, outcome: Outcome) -> None:
    opened.page.mouse.click(*opened.page.evaluate(POINT_POSITION, "p02"))

    _assert_shown(opened.page, outcome, 1)
    assert opened.page.evaluate("document.getElementById('plot').data.at(-1).x[0]") == pytest.approx(
        outcome.front[1].evaluation.cost.energy_uj
    )


def test_a_point_of_the_cloud_does_not_take_the_click_of_the_front(
    browser: Browser, outcome: Outcome, tmp_path: Path
) -> None:
    """A repeated trial, and another candidate of the same values, lie exactly on the front's points."""
    members = [point.evaluation for point in outcome.front]
    repeats = [replace(member, number=1000 + index) for index, member in enumerate(members)]
    twins = [
        replace(member, number=2000 + index, candidate=replace(member.candidate, filter_keep_ratio=()))
        for index, member in enumerate(members)
    ]
    crowded = replace(outcome, evaluations=(*outcome.evaluations, *repeats, *twins))
    write_report(crowded, tmp_path / "report.html", chosen="p08")
    window = Opened(browser, tmp_path / "report.html", WIDE)
    for index in (1, 4, 8):
        window.page.mouse.click(*window.page.evaluate(POINT_POSITION, outcome.front[index].name))
        _assert_shown(window.page, outcome, index)
        window.page.wait_for_timeout(500)  # two clicks within 300 ms are Plotly's double click, which zooms out
    window.close()


def test_a_click_on_a_row_shows_its_layers(opened: Opened, outcome: Outcome) -> None:
    opened.page.locator("#front tbody tr", has_text="p05").locator("td").nth(3).click()

    _assert_shown(opened.page, outcome, 4)
    assert opened.page.locator("#front tr.selected").inner_text().startswith("p05")


def test_the_table_of_the_front_answers_to_the_keyboard(opened: Opened, outcome: Outcome) -> None:
    button = opened.page.get_by_role("button", name="p03")
    button.focus()
    opened.page.keyboard.press("Enter")

    _assert_shown(opened.page, outcome, 2)
    assert button.get_attribute("aria-pressed") == "true"
    assert "p03" in opened.page.locator("[aria-live=polite]").inner_text()


def test_the_axis_and_the_images_can_be_switched(opened: Opened, outcome: Outcome) -> None:
    page = opened.page
    page.get_by_role("radio", name="Weight memory").check()
    assert page.locator("#plot .xtitle").text_content() == "Weight memory (bytes, log scale)"
    page.get_by_role("radio", name="held-out").check()
    assert page.locator("#plot .ytitle").text_content() == "Accuracy on held-out images (%)"

    page.mouse.click(*page.evaluate(POINT_POSITION, "p04"))
    _assert_shown(page, outcome, 3)


def test_the_axis_answers_to_the_arrow_keys(opened: Opened) -> None:
    opened.page.get_by_role("radio", name="Energy").focus()
    opened.page.keyboard.press("ArrowRight")

    assert opened.page.locator("#plot .xtitle").text_content() == "Weight memory (bytes, log scale)"


def test_a_baseline_can_be_selected(opened: Opened) -> None:
    opened.page.get_by_role("button", name="float").click()

    assert opened.page.locator("#layers-heading").inner_text() == "Layers of float"
    assert "n/a" in opened.page.locator("#components").inner_text()
    assert opened.page.locator("#fits").inner_text() == ""


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_fits_its_window(browser: Browser, outcome: Outcome, tmp_path: Path, size: tuple[int, int]) -> None:
    write_report(outcome, tmp_path / "report.html")
    window = Opened(browser, tmp_path / "report.html", size)
    window.page.screenshot(path=tmp_path / "report.png", full_page=True)

    assert window.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    numbers = window.page.locator("#numbers")
    assert numbers.evaluate("each => each.scrollWidth") <= numbers.evaluate("each => each.clientWidth")
    assert (tmp_path / "report.png").stat().st_size > 20_000
    window.close()


def test_hostile_names_are_shown_and_not_run(browser: Browser, outcome: Outcome, tmp_path: Path) -> None:
    name = "</script><img src=x onerror=\"document.title='run'\"><b>"
    member = outcome.front[0].evaluation
    rows = tuple(replace(row, layer=name) for row in member.cost.layers)
    point = replace(outcome.front[0], name=name, evaluation=replace(member, cost=replace(member.cost, layers=rows)))
    write_report(replace(outcome, front=(point, *outcome.front[1:])), tmp_path / "report.html", chosen=name)
    window = Opened(browser, tmp_path / "report.html", WIDE)
    window.page.mouse.move(*window.page.evaluate(POINT_POSITION, name))
    window.page.wait_for_selector("#plot .hoverlayer .hovertext")

    assert window.page.locator("#layers tbody td").first.inner_text() == name
    assert name in (window.page.locator("#plot .hoverlayer").text_content() or "")
    assert window.page.title() != "run"
    assert window.page.locator("img").count() == 0
    window.close()


def test_an_empty_front_says_so(browser: Browser, outcome: Outcome, tmp_path: Path) -> None:
    write_report(replace(outcome, front=()), tmp_path / "report.html")
    window = Opened(browser, tmp_path / "report.html", WIDE)

    assert "The front is empty" in window.page.locator("#caption").inner_text()
    window.close()


def _assert_shown(page: Page, outcome: Outcome, index: int) -> None:
    """Assert that the page shows the layers, the notes and the numbers of a member of the front."""
    point = outcome.front[index]
    page.wait_for_function(
        "name => document.getElementById('layers-heading').textContent.endsWith(name)", arg=point.name
    )
    rows = page.locator("#layers tbody tr")
    shown = [[cell.inner_text() for cell in row.locator("td").all()] for row in rows.all()]
    expected = point.evaluation.cost.layers
    assert [row[0] for row in shown] == [row.layer for row in expected]
    for cells, row in zip(shown, expected, strict=True):
        if row.filters is None:
            assert cells[2:7] == [f"{NONE} / {row.activation_bits}", NONE, NONE, NONE, f"{row.vector_operations:,}"]
            assert cells[10:] == [NONE, "fused"]
        else:
            assert cells[2:4] == [f"{row.weight_bits} / {row.activation_bits}", f"{row.filters} of {row.filters_of}"]
            assert cells[6] == f"{row.macs:,}"
            assert cells[10] == f"{row.weight_bytes:,} {row.weight_format}"
    assert page.locator("#details-heading").inner_text() == f"{point.name} next to uniform 8-bit"
    assert page.locator("#notes li").all_inner_texts() == list(point.evaluation.cost.notes)
    assert point.evaluation.candidate.digest() in page.locator("#origin").inner_text()
