"""A report in headless Chromium without a network, and what tests of its parts look for in it.

Run with EXPLORER_TEST_BROWSER=1; the browser is EXPLORER_CHROMIUM or /usr/bin/chromium.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from explorer.study.record import Outcome

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IN_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(
        os.environ.get("EXPLORER_TEST_BROWSER") != "1", reason="set EXPLORER_TEST_BROWSER=1 to open Chromium"
    ),
]
"""Marks of every file of such tests."""
NONE = "\N{EN DASH}"
"""What stands in a table where a row has no such thing."""
WIDE, NARROW = (1280, 900), (390, 844)
THUMB = 44
"""Pixels that a thumb needs (WCAG 2.2, 2.5.5)."""
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


class Opened:
    """A page, and all that went wrong in it or left it."""

    def __init__(
        self, browser: Browser, path: Path, size: tuple[int, int], touch: bool = False, ready: str = "#plot svg"
    ) -> None:
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
        self.page.wait_for_selector(ready)

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


def wait_for_title(page: Page, axis: str, title: str) -> None:
    page.wait_for_function(
        "([axis, title]) => document.querySelector(`#plot .${axis}-title`).textContent === title", arg=[axis, title]
    )


def wait_for_link(page: Page, link: str) -> None:
    page.wait_for_function("link => location.hash.endsWith(link)", arg=link)


def tell_bits(row: object) -> str:
    weights, inputs = (getattr(row, key) for key in ("weight_bits", "activation_bits"))
    return f"{NONE if weights is None else weights} / {inputs}"


def assert_shown(page: Page, outcome: Outcome, index: int) -> None:
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
