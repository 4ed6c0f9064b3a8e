"""The figure of a front: drawn, clicked, switched, answering to keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.report.front.page import write_report
from explorer.study.choose import choose
from explorer.study.record import Outcome
from explorer.study.requirements import Requirements
from tests.support.browser import IN_BROWSER, POSITION, WIDE, Opened, assert_shown, wait_for_link, wait_for_title

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = IN_BROWSER


def test_all_points_are_drawn(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    names = page.evaluate("[...document.querySelectorAll('#plot [data-name]')].map(node => node.dataset.name)")

    assert set(names) == {*(point.name for point in outcome.front), "uniform 8-bit"}
    for name in names:
        assert page.evaluate(
            "([x, y]) => !!document.elementFromPoint(x, y).closest('#plot')", page.evaluate(POSITION, name)
        )
    legend = page.locator("#legend li").all_inner_texts()
    others = ["other evaluations", "misses a budget", "over budget, unscored"]
    assert legend == ["front", "uniform 8-bit", "float (does not run here)", *others, "budget of the study"]


def test_a_click_on_a_point_shows_its_layers(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    page.mouse.click(*page.evaluate(POSITION, "p02"))

    assert_shown(page, outcome, 1)
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
        assert_shown(window.page, outcome, index)
    window.close()


def test_the_figure_answers_to_the_keyboard(window: Opened, outcome: Outcome) -> None:
    page = window.open("p03")
    page.locator("#plot").focus()
    page.keyboard.press("ArrowRight")
    assert_shown(page, outcome, 3)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert_shown(page, outcome, 1)
    page.keyboard.press("Home")
    assert_shown(page, outcome, 0)
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "layers-heading"


def test_the_axis_and_the_images_can_be_switched(window: Opened, outcome: Outcome) -> None:
    page = window.open("p08")
    page.get_by_role("radio", name="Weight memory").check()
    wait_for_title(page, "x", "Weight memory (bytes, log scale)")
    page.get_by_role("radio", name="held-out").check()
    wait_for_title(page, "y", "Accuracy on held-out images (%)")

    page.mouse.click(*page.evaluate(POSITION, "p04"))
    assert_shown(page, outcome, 3)
    wait_for_link(page, "#p04&cost=weight_memory&images=held_out")


def test_the_axis_answers_to_the_arrow_keys(window: Opened) -> None:
    page = window.open("p08")
    page.get_by_role("radio", name="Energy").focus()
    page.keyboard.press("ArrowRight")

    wait_for_title(page, "x", "Weight memory (bytes, log scale)")
