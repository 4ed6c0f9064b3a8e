"""The views below the tables: drawn when they are opened, following the chosen point and the limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from explorer.report.front.page import collect_page_data, render_report
from explorer.study.record import Outcome, TunedScores
from tests.support.browser import (
    CUT,
    HOSTILE,
    IN_BROWSER,
    NARROW,
    OVERLAPS,
    SMALL_TARGETS,
    THUMB,
    Opened,
    wait_for_link,
)
from tests.support.outcomes import make_outcome

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def views(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A report with everything that a run's folder may add to it, in a narrow window, one layer of a hostile name."""
    path = tmp_path_factory.mktemp("views") / "report.html"
    path.write_text(render_report(_with_everything(make_outcome(layer_prefix=HOSTILE))), encoding="utf-8")
    opened = Opened(browser, path, NARROW, touch=True)
    yield opened
    opened.close()


CUT_WORDS = """() => [...document.querySelectorAll("#views svg text")].filter(node => {
  const box = node.getBoundingClientRect(), svg = node.ownerSVGElement.getBoundingClientRect();
  return box.left < svg.left - 1 || box.right > svg.right + 1 || box.top < svg.top - 1 || box.bottom > svg.bottom + 1;
}).map(node => node.textContent)"""
"""Words of drawings that reach over their edges."""
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
    wait_for_link(page, f"&open={'+'.join(VIEWS)}")
    assert page.evaluate(CUT) == []
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(SMALL_TARGETS, THUMB) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]
    assert page.locator("img").count() == 0
    assert page.evaluate(CUT_WORDS) == []
    names = page.locator("#view-space svg text[font-size='11']").evaluate_all(
        "each => each.map(node => { const box = node.getBoundingClientRect(); return [box.left, box.right, box.top]; })"
    )
    assert len(names) > 1
    for place, (left, right, top) in enumerate(names):
        assert not [
            other for other in names[:place] if left < other[1] and other[0] < right and abs(top - other[2]) < 9
        ]


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


def test_a_tuned_network_is_grey_where_it_is_over_a_limit(views: Opened) -> None:
    star = views.open("p03").locator("#plot [data-tuned=p01]")
    assert star.get_attribute("fill") == "#cc79a7"
    views.open("p03&most.energy_uj=0.0001")
    assert star.get_attribute("fill") == "#9aa7b4"


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
