"""The standalone page: whole, without a network, and safe from the names in it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from explorer.report.front.page import collect_page_data, render_report, write_report
from explorer.study.choose import choose
from explorer.study.front import knee, still_undominated
from explorer.study.record import Outcome
from explorer.study.requirements import Requirements
from tests.support.pages import unpack_page

HOSTILE = "</script><script>alert('x')</script><!--<img src=x onerror=alert(1)>&amp;"


def test_the_page_holds_all_figures_points_and_reasons(outcome: Outcome) -> None:
    data = unpack_page(_render(outcome, "p03"))

    assert (data["chosen"]["name"], data["chosen"]["called"]) == ("p03", "chosen")
    assert [point["name"] for point in data["points"]][-2:] == ["float", "uniform 8-bit"]
    assert [axis["name"] for axis in data["axes"]] == ["energy", "weight_memory", "latency", "activation_memory"]
    assert data["evaluations"]["number"] == [item.number for item in outcome.evaluations]
    layers = data["points"][0]["cost"]["layers"]
    assert [row["layer"] for row in layers] == [row.layer for row in outcome.front[0].evaluation.cost.layers]
    pool, fits = layers[1], data["points"][0]["cost"]["fits"]
    assert (pool["kind"], pool["weight_bits"], pool["filters"], pool["bound"]) == ("pool", None, None, "fused")
    assert [(fit["place"], fit["required"]) for fit in fits] == [
        ("memories.flash", True),
        ("buffers.inputs+outputs", False),
    ]
    assert data["skipped"] == [list(entry) for entry in outcome.skipped]
    assert ["seed", "7"] in data["provenance"]


def test_members_are_marked_as_in_the_terminal(outcome: Outcome) -> None:
    data = unpack_page(_render(outcome))
    middle = knee(outcome.front, outcome.objectives).name
    marks = {point["name"]: point["mark"] for point in data["points"]}
    assert [name for name, mark in marks.items() if "*" in mark] == [middle]
    assert [name for name, mark in marks.items() if ">" in mark] == [data["chosen"]["name"]]
    assert data["chosen"]["called"] == "recommended"
    stays = still_undominated(outcome.front, outcome.objectives)
    assert ["~" not in marks[point.name] for point in outcome.front] == list(stays)
    assert {sign for sign, _ in data["marks"]} == set("".join(marks.values()))


def test_hostile_names_stayunpack_page(outcome: Outcome) -> None:
    rows = tuple(replace(row, layer=HOSTILE) for row in outcome.front[0].evaluation.cost.layers)
    cost = replace(outcome.front[0].evaluation.cost, layers=rows, notes=(HOSTILE,))
    hostile = replace(
        outcome,
        study={"study": {"name": HOSTILE}},
        device_title=HOSTILE,
        front=(replace(outcome.front[0], evaluation=replace(outcome.front[0].evaluation, cost=cost, origin=HOSTILE)),),
        skipped=((HOSTILE, HOSTILE),),
        provenance={HOSTILE: HOSTILE},
    )
    text = _render(hostile)
    tags = _Tags()
    tags.feed(text)

    assert HOSTILE not in text
    assert tags.count("script") == 2
    assert tags.count("img") == 0
    assert unpack_page(text)["points"][0]["cost"]["layers"][0]["layer"] == HOSTILE
    assert unpack_page(text)["title"] == HOSTILE


def test_a_placeholder_in_a_name_is_not_filled_in(outcome: Outcome) -> None:
    text = _render(replace(outcome, study={"study": {"name": "{{plotly}}"}}))

    assert unpack_page(text)["title"] == "{{plotly}}"


def test_the_page_refers_to_nothing_outside_itself(outcome: Outcome) -> None:
    tags = _Tags()
    tags.feed(_render(outcome))

    assert [value for _, key, value in tags.attributes if key in ("src", "href")] == ["data:,"]
    assert any("default-src 'none'" in value for _, key, value in tags.attributes if key == "content")


def test_equal_outcomes_give_equal_pages(outcome: Outcome, tmp_path: Path) -> None:
    write_report(outcome, tmp_path / "a.html")
    write_report(Outcome.from_json(json.loads(json.dumps(outcome.to_json()))), tmp_path / "b.html")

    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_an_empty_front_has_a_page(outcome: Outcome) -> None:
    assert unpack_page(_render(replace(outcome, front=())))["chosen"] is None


@pytest.mark.parametrize("module", ["views", "pairs", "tables", "figures", "page", "extras"])
def test_a_report_needs_neither_torch_nor_optuna(module: str) -> None:
    program = (
        f"import sys, explorer.report.front.{module}; print(sorted(m for m in ('torch', 'optuna') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


class _Tags(HTMLParser):
    """Collects the tags and attributes that a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def count(self, tag: str) -> int:
        return self.tags.count(tag)


def _render(outcome: Outcome, pick: str | None = None) -> str:
    return render_report(collect_page_data(outcome, None if pick is None else choose(outcome, Requirements(pick=pick))))
