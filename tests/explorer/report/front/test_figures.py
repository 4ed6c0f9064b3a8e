"""The figures hold the numbers of their view."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from explorer.objectives import costs
from explorer.report.front.figures import draw_front
from explorer.report.front.hover import describe_cloud, describe_point
from explorer.report.front.labels import place_labels
from explorer.report.front.pairs import build_pair_view
from explorer.report.front.views import build_front_view
from explorer.study.record import Outcome, Split


def test_the_front_is_drawn_in_per_cent_with_one_standard_error(outcome: Outcome) -> None:
    front = _traces(outcome, "energy", "search")["front"]

    assert front["customdata"] == tuple(point.name for point in outcome.front)
    assert front["y"][0] == pytest.approx(85.5)
    assert front["error_y"]["array"][0] == pytest.approx(1.77, abs=0.01)
    assert front["x"] == tuple(point.evaluation.cost.energy_uj for point in outcome.front)


def test_the_front_is_a_step_line_on_search_images_and_a_dotted_one_on_held_out(outcome: Outcome) -> None:
    lines = [
        next(trace for trace in _figure(outcome, "energy", split).data if trace["mode"] == "lines") for split in _SPLITS
    ]

    assert [(line["line"]["shape"], line["line"]["dash"]) for line in lines] == [("hv", "solid"), ("linear", "dot")]


def test_members_for_another_objective_are_open(outcome: Outcome) -> None:
    other = _traces(outcome, "activation_memory", "search")["front, for another objective"]

    assert other["marker"]["symbol"] == "circle-open"


@pytest.mark.parametrize("axis", costs(), ids=lambda axis: axis.name)
def test_axes_have_titles_with_units(outcome: Outcome, axis: Any) -> None:
    layout = _figure(outcome, axis.name, "held_out").layout

    assert layout.xaxis.title.text.startswith(f"{axis.title} ({axis.unit}")
    assert layout.yaxis.title.text == "Accuracy on held-out images (%)"
    assert layout.xaxis.type == ("log" if axis.name == "weight_memory" else layout.xaxis.type)


def test_the_baselines_are_marked(outcome: Outcome) -> None:
    figure = _figure(outcome, "energy", "search")
    lines = {shape.name: shape for shape in figure.layout.shapes}

    assert _traces(outcome, "energy", "search")["uniform 8-bit"]["marker"]["symbol"] == "square"
    assert lines["float (does not run here)"].y0 == pytest.approx(99.25)
    assert lines["budget"].x0 == 3.9


def test_a_baseline_looks_the_same_on_every_axis(outcome: Outcome) -> None:
    colors = {_traces(outcome, axis.name, "search")["uniform 8-bit"]["marker"]["color"] for axis in costs()}
    levels = {shape.line.color for shape in _figure(outcome, "latency", "search").layout.shapes}

    assert len(colors) == 1
    assert levels == {_traces(outcome, "weight_memory", "search")["float"]["marker"]["color"]}


def test_the_selected_point_is_ringed(outcome: Outcome) -> None:
    ring = _figure(outcome, "energy", "search", selected="p04").data[-1]

    assert ring["meta"] == "selected"
    assert ring["x"] == (outcome.front[3].evaluation.cost.energy_uj,)


def test_unscored_evaluations_are_ticks_on_an_axis_of_their_own(outcome: Outcome) -> None:
    ticks = _traces(outcome, "energy", "search")["over budget, unscored"]

    assert ticks["yaxis"] == "y2"


def test_the_hover_text_has_all_numbers(outcome: Outcome) -> None:
    text = describe_point(build_front_view(outcome).front[0])

    for part in ("p01", "search 85.50 ± 1.77 % of 400 images", "held-out 84.50 ± 1.82 %", "energy 0.5719 µJ",
                 "16 % of uniform 8-bit", "6,912 cycles", "7,530 bytes", "2,352 bytes", "322,120 MACs"):  # fmt: skip
        assert part in text


def test_missing_numbers_are_named_in_the_hover_text(outcome: Outcome) -> None:
    assert "energy n/a<br>latency n/a<br>" in describe_point(build_front_view(outcome).baselines[0])


def test_the_hover_text_says_which_budget_is_exceeded(outcome: Outcome) -> None:
    texts = [
        describe_cloud(entry.evaluation)
        for entry in build_pair_view(build_front_view(outcome), "energy", "search").unscored
    ]

    assert any("not scored" in text and "latency_ms exceeded by 12.0 %" in text for text in texts)


def test_tags_in_names_are_escaped_in_figures(outcome: Outcome) -> None:
    named = replace(outcome, front=(replace(outcome.front[0], name="<b>x</b>"),))

    front = _traces(named, "energy", "search")["front"]
    assert front["hovertext"][0].startswith("<b>&lt;b&gt;x&lt;/b&gt;</b>")
    assert front["text"] == ("&lt;b&gt;x&lt;/b&gt;",)


def test_an_empty_front_is_drawn(outcome: Outcome) -> None:
    assert "front" not in _traces(replace(outcome, front=()), "energy", "search")


def test_labels_do_not_cover_points_or_each_other() -> None:
    assert place_labels([(0.5, 0.5)], []) == ["top left"]
    assert place_labels([(0.5, 0.5)], [(0.47, 0.53)]) == ["bottom right"]
    assert place_labels([(0.5, 0.5)] * 6, []).count(None) == 2
    assert place_labels([(0.01, 0.99)], []) == ["bottom right"]


_SPLITS: tuple[Split, ...] = ("search", "held_out")


def _figure(outcome: Outcome, objective: str, split: Split, selected: str | None = None) -> Any:
    return draw_front(build_pair_view(build_front_view(outcome), objective, split), selected)


def _traces(outcome: Outcome, objective: str, split: Split) -> dict[str, Any]:
    return {trace["name"]: trace for trace in _figure(outcome, objective, split).data}
