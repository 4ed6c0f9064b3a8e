"""The table of the points: chosen from, sorted, limited, listed whole and downloaded."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.study.record import Outcome
from tests.support.browser import IN_BROWSER, Opened, assert_shown

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = IN_BROWSER
SMALL = "\N{MICRO SIGN}"


def test_a_click_on_a_row_shows_its_layers(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    page.locator("#front tbody tr", has_text="p05").locator("td").nth(3).click()

    assert_shown(page, outcome, 4)
    assert page.locator("#front tr.selected").inner_text().startswith("p05")


def test_the_table_answers_to_the_keyboard(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    button = page.get_by_role("button", name="p03", exact=True)
    button.focus()
    page.keyboard.press("Enter")

    assert_shown(page, outcome, 2)
    assert button.get_attribute("aria-pressed") == "true"
    assert "p03" in page.locator("[aria-live=polite]").inner_text()
    page.keyboard.press("ArrowDown")
    assert_shown(page, outcome, 3)
    assert page.evaluate("document.activeElement.textContent") == "p04"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.textContent") == "float"


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
    assert list_costs(page) == sorted(point.evaluation.cost.weight_bytes for point in outcome.front)
    page.keyboard.press("Enter")
    assert list_costs(page) == sorted((point.evaluation.cost.weight_bytes for point in outcome.front), reverse=True)
    assert page.locator("#front th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert page.locator("#front tbody tr").first.inner_text().startswith("float")


def test_limits_grey_out_what_is_over_them(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    field = page.get_by_role("spinbutton", name=f"Energy, {SMALL}J")
    field.fill("1.5")
    field.press("Enter")
    dear = {point.name for point in outcome.front if (point.evaluation.cost.energy_uj or 0) > 1.5}
    assert set(page.locator("#front tr.front.over th button").all_inner_texts()) == dear != set()
    grey = "getComputedStyle(document.querySelector('#front tr.front.over {}')).color"
    assert page.evaluate(grey.format("td small")) == page.evaluate(grey.format("td"))
    page.wait_for_function("() => document.querySelector('#plot [data-name=p10]').getAttribute('fill') === '#9aa7b4'")
    assert page.locator("#plot [data-name=p01]").get_attribute("fill") != "#9aa7b4"
    assert page.locator("#within").inner_text() == f"{10 - len(dear)} of 10 members of the front are within."

    page.get_by_role("slider", name="at least: Accuracy").focus()
    for _ in range(10):
        page.keyboard.press("PageUp")
    assert page.locator("#within").inner_text().startswith("0 of 10")
    page.get_by_role("button", name="No limits").click()
    assert page.locator("#front tr.over").count() == 0


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


def list_costs(page: Page) -> list[int]:
    """The weights of the members of the front in the order of the table."""
    cells = page.locator("#front tr.front td:nth-child(5)").all_inner_texts()
    return [int(cell.replace(",", "")) for cell in cells]
