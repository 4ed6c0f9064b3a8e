"""The chosen point: its numbers and layers, beside another one, its link and the command that exports it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from explorer.report.front.page import write_report
from explorer.study.choose import choose
from explorer.study.record import Outcome
from explorer.study.requirements import Requirements
from tests.support.browser import IN_BROWSER, POSITION, WIDE, Opened, assert_shown, tell_bits

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = IN_BROWSER


def test_the_chosen_point_is_shown_first(browser: Browser, outcome: Outcome, tmp_path: Path) -> None:
    write_report(outcome, tmp_path / "report.html", choose(outcome, Requirements(pick="p08")))
    fresh = Opened(browser, tmp_path / "report.html", WIDE)
    assert_shown(fresh.page, outcome, 7)
    fresh.close()


def test_what_does_not_fit_is_marked(window: Opened) -> None:
    flash, buffers = window.open("p08").locator("#fits tbody tr").all()

    assert flash.locator("td").all_inner_texts() == ["flash for weights", "9,000", "8,192", "109.9 % does not fit"]
    assert buffers.locator("td").all_inner_texts() == ["inputs + outputs buffers", "4,704", "65,536", "7.2 %"]
    assert [row.get_attribute("class") for row in (flash, buffers)] == ["lacking", ""]


def test_every_component_of_the_energy_has_a_name(window: Opened) -> None:
    names = window.open("p08").locator("#components tbody tr td:first-child").all_inner_texts()

    assert names == ["MAC array", "SRAM", "DRAM", "Vector unit", "Static"]


def test_two_points_are_compared_layer_by_layer(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    page.get_by_label("Compare with").select_option("p02")
    assert page.locator("#details-heading").inner_text() == "p08 next to p02"
    own, theirs = (outcome.front[index].evaluation.cost.layers for index in (7, 1))
    shown = page.locator("#layers tbody tr").all()
    for row, one, other in zip(shown, own, theirs, strict=True):
        bits = row.locator("td").nth(1)
        assert bits.locator(".theirs").inner_text() == tell_bits(other)
        assert ("differs" in (bits.get_attribute("class") or "")) == (tell_bits(one) != tell_bits(other))
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


def test_many_layers_are_all_shown_soon_and_at_once_on_paper(
    browser: Browser, outcome: Outcome, tmp_path: Path
) -> None:
    first, second = outcome.front[:2]
    rows = [replace(row, layer=f"{row.layer}.{copy}") for copy in range(30) for row in first.evaluation.cost.layers]
    evaluation = replace(first.evaluation, cost=replace(first.evaluation.cost, layers=tuple(rows)))
    deep = replace(outcome, front=(replace(first, evaluation=evaluation), *outcome.front[1:]))
    write_report(deep, tmp_path / "report.html", choose(outcome, Requirements(pick="p08")))
    window = Opened(browser, tmp_path / "report.html", WIDE)
    shown, page = "document.querySelectorAll('#layers tbody tr').length", window.page

    def run(*parts: str) -> object:
        find = "[...document.querySelectorAll('#front button')].find(node => node.textContent === name)"
        return page.evaluate(f"() => {{ const click = name => {find}.click(); {'; '.join(parts)}; return {shown}; }}")

    assert 0 < int(str(run("click('p01')"))) < len(rows)
    page.wait_for_function(f"() => {shown} === {len(rows)}")
    assert page.locator("#layers tbody th").all_inner_texts() == [row.layer for row in rows]
    assert run("click('p02')", "click('p01')", "dispatchEvent(new Event('beforeprint'))") == len(rows)
    run("click('p02')", "click('p01')", "click('p02')")
    page.wait_for_timeout(50)
    assert page.evaluate(shown) == len(second.evaluation.cost.layers)
    window.close()


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
