"""The report of a front in a real browser, without a network: drawn, clicked, sorted, limited, compared and copied.

Run with EXPLORER_TEST_BROWSER=1; the browser is EXPLORER_CHROMIUM or /usr/bin/chromium. One page serves most tests:
each starts it anew by the link of a point.
"""

from __future__ import annotations

import csv
import os
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from explorer.report.front.page import collect_page_data, render_report, write_report
from explorer.study.choose import choose
from explorer.study.record import Outcome, TunedScores
from explorer.study.requirements import Requirements
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
THUMB = 44
"""Pixels that a thumb needs (WCAG 2.2, 2.5.5)."""
SMALL = "\N{MICRO SIGN}"
HOSTILE = "<img src=x onerror=alert(1)>"

POSITION = """name => {
  const box = document.querySelector(`#plot [data-name="${CSS.escape(name)}"]`).getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
}"""
"""Where the mark of a point lies in the window, in CSS pixels."""
CUT = """() => [...document.querySelectorAll("body *")].filter(node => {
  const box = node.getBoundingClientRect();
  return box.width && !node.closest("svg, .offscreen") && (box.right > innerWidth + 1 || box.left < -1)
    && !(node.closest(".scroll") && node.closest(".scroll").scrollWidth > node.closest(".scroll").clientWidth);
}).map(node => node.outerHTML.slice(0, 80))"""
"""What is cut at an edge of the window, and cannot be scrolled to."""
OVERLAPS = """() => {
  const shown = [...document.querySelectorAll("button, input, select, summary")].filter(node =>
    node.getBoundingClientRect().width && getComputedStyle(node).opacity !== "0"
    && !node.closest(".scroll, #selection"));
  const boxes = shown.map(node => [node, node.getBoundingClientRect()]);
  return boxes.flatMap(([a, p], index) => boxes.slice(index + 1).filter(([b, q]) => !a.contains(b) && !b.contains(a)
    && p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 1 && q.top < p.bottom - 1)
    .map(([b]) => `${a.outerHTML.slice(0, 60)} and ${b.outerHTML.slice(0, 60)}`));
}"""
"""Controls that cover each other."""
SMALL_TARGETS = """least => [...document.querySelectorAll(
  "button, select, summary, .segments label, .check, input[type=number]")]
  .filter(node => { const box = node.getBoundingClientRect(); return box.width && box.height < least - 0.5; })
  .map(node => `${node.outerHTML.slice(0, 60)} ${node.getBoundingClientRect().height}`)"""


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """The synthetic outcome of the report's own tests."""
    return make_outcome()


class Opened:
    """A page, and all that went wrong in it or left it."""

    def __init__(self, browser: Browser, path: Path, size: tuple[int, int], touch: bool = False) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.path = path
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, has_touch=touch)
        context.set_offline(True)
        self.page: Page = context.new_page()
        self.page.on("console", lambda message: self.problems.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("#plot svg")

    def open(self, link: str) -> Page:
        """Follow a link within the page, from the state in which it opens."""
        self.page.evaluate(
            "async link => { scrollTo(0, 0); location.hash = link; await new Promise(done => setTimeout(done, 60)); }",
            link,
        )
        return self.page

    def close(self) -> None:
        """Close the page; AssertionError for a console message, an error or a request to a network."""
        self.page.context.close()
        assert self.problems == []
        assert [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def window(browser: Browser, outcome: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """The report in a window of 1280 x 900, p08 chosen."""
    path = tmp_path_factory.mktemp("it's a run") / "report.html"
    write_report(outcome, path, choose(outcome, Requirements(pick="p08")))
    opened = Opened(browser, path, WIDE)
    yield opened
    opened.close()


def test_all_points_are_drawn(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    names = page.evaluate("[...document.querySelectorAll('#plot [data-name]')].map(node => node.dataset.name)")

    assert set(names) == {*(point.name for point in outcome.front), "uniform 8-bit"}
    for name in names:
        assert page.evaluate(
            "([x, y]) => !!document.elementFromPoint(x, y).closest('#plot')", page.evaluate(POSITION, name)
        )
    legend = page.locator("#legend li").all_inner_texts()
    assert legend == ["front", "uniform 8-bit", "other evaluations", "misses a budget", "over budget, unscored"]


def test_the_chosen_point_is_shown_first(browser: Browser, outcome: Outcome, tmp_path: Path) -> None:
    write_report(outcome, tmp_path / "report.html", choose(outcome, Requirements(pick="p08")))
    fresh = Opened(browser, tmp_path / "report.html", WIDE)
    _assert_shown(fresh.page, outcome, 7)
    fresh.close()


def test_what_does_not_fit_is_marked(window: Opened) -> None:
    flash, buffers = window.open("p08").locator("#fits tbody tr").all()

    assert flash.locator("td").all_inner_texts() == ["flash for weights", "9,000", "8,192", "109.9 % does not fit"]
    assert buffers.locator("td").all_inner_texts() == ["inputs + outputs buffers", "4,704", "65,536", "7.2 %"]
    assert [row.get_attribute("class") for row in (flash, buffers)] == ["lacking", ""]


def test_every_component_of_the_energy_has_a_name(window: Opened) -> None:
    names = window.open("p08").locator("#components tbody tr td:first-child").all_inner_texts()

    assert names == ["MAC array", "SRAM", "DRAM", "Vector unit", "Static"]


def test_a_click_on_a_point_shows_its_layers(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    page.mouse.click(*page.evaluate(POSITION, "p02"))

    _assert_shown(page, outcome, 1)
    ring = page.evaluate("document.querySelector('#plot .selected').getAttribute('transform')")
    assert ring == page.evaluate("document.querySelector('#plot [data-name=p02]').getAttribute('transform')")


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
    write_report(crowded, tmp_path / "report.html", choose(outcome, Requirements(pick="p08")))
    window = Opened(browser, tmp_path / "report.html", WIDE)
    for index in (1, 4, 8):
        window.page.mouse.click(*window.page.evaluate(POSITION, outcome.front[index].name))
        _assert_shown(window.page, outcome, index)
    window.close()


def test_a_click_on_a_row_shows_its_layers(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    page.locator("#front tbody tr", has_text="p05").locator("td").nth(3).click()

    _assert_shown(page, outcome, 4)
    assert page.locator("#front tr.selected").inner_text().startswith("p05")


def test_the_table_answers_to_the_keyboard(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    button = page.get_by_role("button", name="p03", exact=True)
    button.focus()
    page.keyboard.press("Enter")

    _assert_shown(page, outcome, 2)
    assert button.get_attribute("aria-pressed") == "true"
    assert "p03" in page.locator("[aria-live=polite]").inner_text()
    page.keyboard.press("ArrowDown")
    _assert_shown(page, outcome, 3)
    assert page.evaluate("document.activeElement.textContent") == "p04"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.textContent") == "float"


def test_the_figure_answers_to_the_keyboard(window: Opened, outcome: Outcome) -> None:
    page = window.open("p03")
    page.locator("#plot").focus()
    page.keyboard.press("ArrowRight")
    _assert_shown(page, outcome, 3)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    _assert_shown(page, outcome, 1)
    page.keyboard.press("Home")
    _assert_shown(page, outcome, 0)
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "layers-heading"


def test_the_axis_and_the_images_can_be_switched(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    page.get_by_role("radio", name="Weight memory").check()
    _wait_for_title(page, "x", "Weight memory (bytes, log scale)")
    page.get_by_role("radio", name="held-out").check()
    _wait_for_title(page, "y", "Accuracy on held-out images (%)")

    page.mouse.click(*page.evaluate(POSITION, "p04"))
    _assert_shown(page, outcome, 3)
    _wait_for_link(page, "#p04&cost=weight_memory&images=held_out")


def test_the_axis_answers_to_the_arrow_keys(window: Opened) -> None:
    page = window.open("p08")
    page.get_by_role("radio", name="Energy").focus()
    page.keyboard.press("ArrowRight")

    _wait_for_title(page, "x", "Weight memory (bytes, log scale)")


def test_a_baseline_can_be_selected(window: Opened) -> None:
    page = window.open("p08")
    page.get_by_role("button", name="float").click()

    assert page.locator("#layers-heading").inner_text() == "Layers of float"
    assert "n/a" in page.locator("#components").inner_text()
    assert page.locator("#fits").inner_text() == ""
    assert page.locator("#copy").count() == 0


def test_headings_sort_the_table(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    page.get_by_role("button", name="Weights bytes").click()
    assert _costs(page) == sorted(point.evaluation.cost.weight_bytes for point in outcome.front)
    page.keyboard.press("Enter")
    assert _costs(page) == sorted((point.evaluation.cost.weight_bytes for point in outcome.front), reverse=True)
    assert page.locator("#front th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert page.locator("#front tbody tr").first.inner_text().startswith("float")


def test_limits_grey_out_what_is_over_them(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    field = page.get_by_role("spinbutton", name=f"Energy, {SMALL}J")
    field.fill("1.5")
    field.press("Enter")
    dear = {point.name for point in outcome.front if (point.evaluation.cost.energy_uj or 0) > 1.5}
    assert set(page.locator("#front tr.front.over th button").all_inner_texts()) == dear != set()
    page.wait_for_function("() => document.querySelector('#plot [data-name=p10]').getAttribute('fill') === '#9aa7b4'")
    assert page.locator("#plot [data-name=p01]").get_attribute("fill") != "#9aa7b4"
    assert page.locator("#within").inner_text() == f"{10 - len(dear)} of 10 members of the front are within."

    page.get_by_role("slider", name="at least: Accuracy").focus()
    for _ in range(10):
        page.keyboard.press("PageUp")
    assert page.locator("#within").inner_text().startswith("0 of 10")
    page.get_by_role("button", name="No limits").click()
    assert page.locator("#front tr.over").count() == 0


def test_two_points_are_compared_layer_by_layer(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    page.get_by_label("Compare with").select_option("p02")
    assert page.locator("#details-heading").inner_text() == "p08 next to p02"
    own, theirs = (outcome.front[index].evaluation.cost.layers for index in (7, 1))
    shown = page.locator("#layers tbody tr").all()
    for row, one, other in zip(shown, own, theirs, strict=True):
        bits = row.locator("td").nth(1)
        assert bits.locator(".theirs").inner_text() == _bits(other)
        assert ("differs" in (bits.get_attribute("class") or "")) == (_bits(one) != _bits(other))
    assert 0 < page.locator("#layers td.differs").count() < len(own) * 4
    page.get_by_label("Compare with").select_option("")
    assert page.locator("#layers .theirs").count() == 0


def test_a_link_brings_back_what_was_shown(window: Opened, browser: Browser) -> None:
    page = window.open("p08")
    page.get_by_role("radio", name="Latency").check()
    page.get_by_label("Compare with").select_option("p03")
    page.get_by_role("button", name="Search accuracy %").click()
    field = page.get_by_role("spinbutton", name="Weights, bytes")
    field.fill("9000")
    field.press("Enter")
    page.evaluate("scrollTo(0, 0)")
    page.mouse.click(*page.evaluate(POSITION, "p05"))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    page.wait_for_function("() => document.getElementById('link').textContent === 'Copied'")
    link = page.evaluate("navigator.clipboard.readText()")
    assert "#p05&" in link

    other = Opened(browser, window.path, WIDE)
    other.page.goto(link)
    other.page.wait_for_selector("#plot svg")
    for script in (
        "document.getElementById('layers-heading').textContent",
        "document.getElementById('details-heading').textContent",
        "document.querySelector('#plot .x-title').textContent",
        "document.querySelector('#front th[aria-sort]').textContent",
        "[...document.querySelectorAll('#front tr')].map(row => [...row.classList].sort() + row.textContent)",
        "document.getElementById('within').textContent",
    ):
        assert other.page.evaluate(script) == page.evaluate(script)
    other.close()


@pytest.mark.parametrize("link", ["nobody", "%E0%A4%A", "p02&most.energy_uj=x&sort=nothing&cost=nothing&other=nobody"])
def test_a_link_that_is_wrong_is_read_as_far_as_it_can_be(window: Opened, link: str) -> None:
    page = window.open(link)
    wanted = "p02" if link.startswith("p02") else "p08"
    assert page.locator("#details-heading").inner_text() == f"{wanted} next to uniform 8-bit"
    assert page.locator("#front tr.over").count() == 0


@pytest.mark.parametrize("clipboard", [True, False])
def test_the_export_command_is_copied(window: Opened, clipboard: bool) -> None:
    page = window.open("p08")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#format").select_option("integer")
    if not clipboard:
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    page.locator("#copy").click()
    page.wait_for_function("() => document.getElementById('copy').textContent === 'Copied'")
    copied = page.evaluate("navigator.clipboard.readText()")
    if not clipboard:
        page.evaluate("delete navigator.clipboard.writeText")
    folder = str(window.path.parent)
    words = ["explorer", "export", folder, "--pick", "p08", "--format", "integer", "--to", f"{folder}/export-p08"]
    assert copied == page.locator("#command").inner_text()
    assert shlex.split(copied) == words


def test_rows_within_the_limits_are_downloaded(window: Opened, outcome: Outcome, tmp_path: Path) -> None:
    page = window.open("p08&most.energy_uj=1.5&sort=-weight_bytes")
    with page.expect_download() as started:
        page.locator("#download").click()
    started.value.save_as(tmp_path / "rows.csv")
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    kept = [point for point in outcome.front if (point.evaluation.cost.energy_uj or 0) <= 1.5]
    kept.sort(key=lambda point: -point.evaluation.cost.weight_bytes)
    assert [row["name"] for row in rows] == [point.name for point in kept]
    for row, point in zip(rows, kept, strict=True):
        assert float(row["energy_uj"]) == point.evaluation.cost.energy_uj
        assert int(row["weight bits/features.conv1"]) == point.evaluation.candidate.layers[0].weight_bits


def test_all_evaluations_are_listed_and_can_be_chosen(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08&rows=all")
    assert page.locator("#front tbody tr").count() == len(outcome.evaluations) + 2
    far = next(item for item in outcome.evaluations if item.number == 33)
    page.get_by_role("button", name="e33", exact=True).click()
    assert page.locator("#layers tbody th").all_inner_texts() == [choice.layer for choice in far.candidate.layers]
    bits = [text.removeprefix("≠ ") for text in page.locator("#layers tbody td:nth-child(3) .own").all_inner_texts()]
    assert bits == [f"{choice.weight_bits} / {choice.activation_bits}" for choice in far.candidate.layers]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_fits_its_window(browser: Browser, outcome: Outcome, tmp_path: Path, size: tuple[int, int]) -> None:
    write_report(outcome, tmp_path / "report.html")
    window = Opened(browser, tmp_path / "report.html", size, touch=size == NARROW)
    page = window.page

    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert page.evaluate(CUT) == []
    assert page.evaluate(OVERLAPS) == []
    for name in ("numbers", *(("front", "layers") if size == WIDE else ())):
        part = page.locator(f"#{name}")
        assert part.evaluate("each => each.scrollWidth") <= part.evaluate("each => each.clientWidth"), name
    if size == NARROW:
        assert page.evaluate(SMALL_TARGETS, THUMB) == []
        page.touchscreen.tap(*page.evaluate(POSITION, "p02"))
        _assert_shown(page, outcome, 1)
    window.close()


def test_the_page_can_be_printed(window: Opened) -> None:
    page = window.open("p08")
    page.emulate_media(media="print")
    assert page.locator("#link").is_hidden()
    assert page.locator("#front").evaluate("each => each.scrollHeight <= each.clientHeight + 1")
    page.emulate_media(media="screen")


def test_hostile_names_are_shown_and_not_run(browser: Browser, outcome: Outcome, tmp_path: Path) -> None:
    name = f"</script>{HOSTILE}"
    hostile = make_outcome(layer_prefix=name, title=name)
    member = hostile.front[0].evaluation
    named = replace(hostile.front[0], name=name, evaluation=replace(member, origin=name))
    told = replace(hostile, front=(named, *hostile.front[1:]), skipped=((name, name),), provenance={name: name})
    write_report(told, tmp_path / "report.html", choose(told, Requirements(pick=name)))
    window = Opened(browser, tmp_path / "report.html", WIDE)
    page = window.page
    page.mouse.move(*page.evaluate(POSITION, name))
    page.wait_for_selector(".tip")

    assert page.locator("#layers tbody th").first.inner_text() == f"{name}features.conv1"
    assert name in page.locator(".tip").inner_text()
    assert page.title().startswith(name)
    assert page.locator("img").count() == 0
    window.close()


def test_an_empty_front_says_so(browser: Browser, outcome: Outcome, tmp_path: Path) -> None:
    write_report(replace(outcome, front=()), tmp_path / "report.html")
    window = Opened(browser, tmp_path / "report.html", WIDE)

    assert "The front is empty" in window.page.locator("#caption").inner_text()
    window.close()


@pytest.fixture(scope="module")
def views(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A report with everything that a run's folder may add to it, in a narrow window, one layer of a hostile name."""
    path = tmp_path_factory.mktemp("views") / "report.html"
    path.write_text(render_report(_with_everything(make_outcome(layer_prefix=HOSTILE))), encoding="utf-8")
    opened = Opened(browser, path, NARROW, touch=True)
    yield opened
    opened.close()


VIEWS = ("history", "tuning", "referee", "parallel", "space", "importance", "information", "roofline")


def test_every_view_is_drawn_when_it_is_opened(views: Opened) -> None:
    page = views.page
    assert page.evaluate("[...document.querySelectorAll('#views details')].map(node => node.id)") == [
        f"view-{name}" for name in VIEWS
    ]
    assert page.locator("#views .view *").count() == 0
    for name in VIEWS:
        page.locator(f"#view-{name} summary").click()
        page.locator(f"#view-{name} .view").locator("svg, table").first.wait_for()
    _wait_for_link(page, f"&open={'+'.join(VIEWS)}")
    assert page.evaluate(CUT) == []
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(SMALL_TARGETS, THUMB) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]
    assert page.locator("img").count() == 0


def test_views_show_the_numbers_that_they_were_given(views: Opened) -> None:
    page = views.open(f"p03&other=p05&open={'+'.join(VIEWS)}")
    page.wait_for_selector("#view-information table")
    cells = page.locator("#view-information tbody tr").first.locator("td").all_inner_texts()
    assert cells[-3:] == ["2.00", "4.00", "50 %"]
    assert page.locator("#view-referee tbody td").all_inner_texts()[:2] == ["100", "80 1.25"]
    assert page.locator("#view-referee tbody tr").nth(1).inner_text().endswith("no rule")
    assert page.locator("#view-tuning tbody td").nth(2).inner_text() == "+1.00 pp"
    first = page.locator("#view-importance tbody th").first.inner_text()
    assert first.endswith(("weight bits", "input bits", "weights kept", "filters kept", "codebook"))
    assert page.locator("#view-roofline svg title").count() == 5
    assert page.locator("#view-parallel path.chosen").count() == 1


def test_views_follow_the_chosen_point_and_the_limits(views: Opened) -> None:
    page = views.open("p03&open=parallel+information")
    before = page.locator("#view-parallel path.chosen").get_attribute("d")
    page.locator("#plot").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#view-parallel path.chosen").get_attribute("d") != before
    assert page.locator("#view-information tbody td:nth-last-child(3)").first.inner_text() == "2.50"
    page.get_by_role("button", name="float").click()
    assert "choose one" in page.locator("#view-information .view").inner_text()


def test_three_objectives_turn_by_keys_and_by_hand(views: Opened) -> None:
    page = views.open("p03&open=space")
    drawing = page.locator("#view-space svg")
    before = drawing.inner_html()
    drawing.focus()
    page.keyboard.press("ArrowLeft")
    after = drawing.inner_html()
    assert after != before
    box = drawing.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 60, box["y"] + 30)
    page.mouse.up()
    assert drawing.inner_html() != after


def _with_everything(outcome: Outcome) -> dict[str, Any]:
    """The data of a page with figures for all views, by hand where a run's folder would hold them."""
    first = outcome.front[0]
    better = replace(first.held_out, value=first.held_out.value + 0.01)
    tuned = TunedScores(epochs=1, search=better, held_out=better, cost=first.evaluation.cost)
    data = collect_page_data(replace(outcome, front=(replace(first, tuned=tuned), *outcome.front[1:])))
    layers = [choice.layer for choice in first.evaluation.candidate.layers]
    for point in data["points"]:
        for row in point["cost"]["layers"]:
            row["memory_bits"] = 8 * row["weight_bytes"] + 800
    widths = {(row.weight_bits, row.activation_bits) for p in outcome.front for row in p.evaluation.cost.layers}
    return data | {
        "information": {
            "method": HOSTILE,
            "layers": [{"layer": name, "group": None, "carried": 4.0, "relevance": []} for name in layers],
            "kept": {point.name: [2.0 + 0.5 * (point.name != "p03")] * 5 for point in outcome.front},
        },
        "roofs": {"clock_hz": 1e9, "bandwidth": 1e9, "peaks": [[*pair, 8, 8, 1e12] for pair in widths if pair[0]]},
        "referees": [
            {
                "device": "ethos_u55_128",
                "members": [
                    {"name": "p01", "ours": [100, 50, 10], "vela": [80, 50, 20], "refused": ""},
                    {"name": "p02", "ours": [100, 50, 10], "vela": None, "refused": "no rule"},
                ],
            }
        ],
    }


def _wait_for_title(page: Page, axis: str, title: str) -> None:
    page.wait_for_function(
        "([axis, title]) => document.querySelector(`#plot .${axis}-title`).textContent === title", arg=[axis, title]
    )


def _wait_for_link(page: Page, link: str) -> None:
    page.wait_for_function("link => location.hash.endsWith(link)", arg=link)


def _costs(page: Page) -> list[int]:
    """The weights of the members of the front in the order of the table."""
    cells = page.locator("#front tr.front td:nth-child(5)").all_inner_texts()
    return [int(cell.replace(",", "")) for cell in cells]


def _bits(row: object) -> str:
    weights, inputs = (getattr(row, key) for key in ("weight_bits", "activation_bits"))
    return f"{NONE if weights is None else weights} / {inputs}"


def _assert_shown(page: Page, outcome: Outcome, index: int) -> None:
    """Assert that the page shows the layers, the notes and the numbers of a member of the front."""
    point = outcome.front[index]
    page.wait_for_function(
        "name => document.getElementById('layers-heading').textContent.endsWith(name)", arg=point.name
    )
    shown = page.evaluate(
        "[...document.querySelectorAll('#layers tbody tr')].map(row => [...row.children].map(cell =>"
        " (cell.querySelector('.own') ?? cell).textContent.replace('\u2260 ', '')))"
    )
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
