"""The whole page: within its window, on paper, with hostile names and with an empty front."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from explorer.report.front.page import write_report
from explorer.study.choose import choose
from explorer.study.record import Outcome
from explorer.study.requirements import Requirements
from tests.support.browser import (
    CUT,
    HOSTILE,
    IN_BROWSER,
    NARROW,
    OVERLAPS,
    POSITION,
    SMALL_TARGETS,
    THUMB,
    WIDE,
    Opened,
    assert_shown,
)
from tests.support.outcomes import make_outcome

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = IN_BROWSER


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
        assert_shown(page, outcome, 1)
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
