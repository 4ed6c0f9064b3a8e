"""The plain data behind the report."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from explorer.errors import ExplorerError
from explorer.evaluate.mean_score import MeanScore
from explorer.objectives import costs
from explorer.report.front.pairs import PairView, build_pair_view
from explorer.report.front.views import build_front_view, compute_cost_ratios, list_remarks
from explorer.study.choose import choose, recommend
from explorer.study.front import knee
from explorer.study.record import Cost, Coverage, Outcome, Split, TunedScores
from explorer.study.requirements import Requirements


def test_front_view_holds_members_baselines_and_the_rest(outcome: Outcome) -> None:
    view = build_front_view(outcome)

    assert [point.name for point in view.front] == [f"p{index:02d}" for index in range(1, 11)]
    assert [point.name for point in view.baselines] == ["float", "uniform 8-bit"]
    assert len(view.cloud) == len(outcome.evaluations) - len(outcome.front)
    assert {item.number for item in view.cloud}.isdisjoint(point.number for point in view.front)
    assert view.title == "lenet5_digits"
    assert ("search.population", "20") in view.settings
    assert not any(key == "budgets.latency_ms" for key, _ in view.settings)
    assert view.budgets == {"energy_uj": 3.9}
    assert view.skipped == outcome.skipped


def test_a_point_holds_both_accuracies_its_layers_and_its_identity(outcome: Outcome) -> None:
    point, member = build_front_view(outcome).front[3], outcome.front[3]

    assert point.search == member.evaluation.score
    assert point.held_out == member.held_out
    assert point.cost.layers == member.evaluation.cost.layers
    assert point.digest == member.evaluation.candidate.digest()
    assert (point.number, point.origin) == (member.evaluation.number, member.evaluation.origin)


def test_the_objectives_of_the_study_come_first_and_all_costs_are_offered(outcome: Outcome) -> None:
    view = build_front_view(outcome)

    objectives = [axis.name for axis in view.axes]
    assert objectives == ["energy", "weight_memory", "latency", "activation_memory"]


def test_ratios_are_relative_to_uniform_8_bit(outcome: Outcome) -> None:
    view = build_front_view(outcome)
    by_name = {point.name: point for point in view.baselines}

    assert set(by_name["uniform 8-bit"].ratios.values()) == {1.0}
    assert by_name["float"].ratios["energy_uj"] is None
    assert by_name["float"].ratios["activation_bytes"] == pytest.approx(4.0)
    assert build_front_view(replace(outcome, baselines=())).front[0].ratios["macs"] is None


def test_a_ratio_to_zero_is_none(outcome: Outcome) -> None:
    cost: Cost = outcome.front[0].evaluation.cost

    assert compute_cost_ratios(cost, replace(cost, activation_bytes=0))["activation_bytes"] is None


def test_without_a_choice_the_recommended_member_is_shown_first(outcome: Outcome) -> None:
    view, best = build_front_view(outcome), recommend(outcome)
    assert best is not None
    assert view.chosen == best
    assert (best.point.name, best.called) == ("p10", "recommended")
    assert view.knee == knee(outcome.front, outcome.objectives).name == "p04"
    marks = {point.name: point.mark for point in view.front}
    assert [name for name, mark in marks.items() if ">" in mark] == ["p10"]
    assert [name for name, mark in marks.items() if "*" in mark] == ["p04"]


def test_where_a_tuned_network_is_recommended_that_is_marked(outcome: Outcome) -> None:
    last = outcome.front[-1]
    assert last.evaluation.score is not None
    free = replace(last.evaluation.cost, energy_uj=0.01)
    made = TunedScores(epochs=1, search=last.evaluation.score, held_out=last.held_out, cost=free)
    view = build_front_view(replace(outcome, front=(replace(outcome.front[0], tuned=made), *outcome.front[1:])))
    assert view.chosen is not None
    assert view.chosen.name == "p01, fine-tuned"
    assert view.front[0].tuned is not None
    assert (view.front[0].tuned.mark, ">" in view.front[0].mark) == (">", False)


def test_a_given_choice_is_taken_and_marked(outcome: Outcome) -> None:
    wanted = choose(outcome, Requirements(max_loss=3.0))
    view = build_front_view(outcome, wanted)
    assert (view.chosen, wanted.called) == (wanted, "chosen")
    assert [point.name for point in view.front if ">" in point.mark] == [wanted.name] != ["p10"]


def test_a_member_that_was_never_scored_is_refused(outcome: Outcome) -> None:
    unscored = replace(outcome.front[0], evaluation=replace(outcome.front[0].evaluation, score=None))

    with pytest.raises(ExplorerError, match=r"front member 'p01' \(evaluation \d+\) has no score"):
        build_front_view(replace(outcome, front=(unscored,)))


def test_an_empty_front_has_no_choice(outcome: Outcome) -> None:
    view = build_front_view(replace(outcome, front=()))

    assert (view.front, view.chosen) == ((), None)
    assert build_pair_view(view, "energy", "search").best == ()


def test_nothing_at_all_still_has_a_range() -> None:
    empty = Outcome(
        study={},
        device="d",
        device_title="D",
        objectives=(),
        baselines=(),
        front=(),
        evaluations=(),
        skipped=(),
        provenance={},
    )
    view = build_front_view(empty)

    assert view.title == "Exploration"
    assert build_pair_view(view, "latency", "search").y_range == (0.0, 1.0)


@pytest.mark.parametrize("objective", [axis.name for axis in costs()])
@pytest.mark.parametrize("split", ["search", "held_out"])
def test_every_pair_places_every_member(outcome: Outcome, objective: str, split: Split) -> None:
    pair = _pair(outcome, objective, split)

    placed = {member.point.name: member for member in (*pair.best, *pair.others)}
    assert set(placed) == {point.name for point in outcome.front}
    for name, member in placed.items():
        point = next(point for point in outcome.front if point.name == name)
        accuracy = point.held_out if split == "held_out" else point.evaluation.score
        assert accuracy is not None
        assert (member.y, member.standard_error) == (accuracy.value, accuracy.standard_error)


def test_best_members_rise_with_the_cost_and_the_others_are_beaten(outcome: Outcome) -> None:
    pair = _pair(outcome, "activation_memory", "search")

    assert [member.x for member in pair.best] == sorted({member.x for member in pair.best})
    assert [member.y for member in pair.best] == sorted(member.y for member in pair.best)
    assert pair.others
    for member in pair.others:
        assert any(best.x <= member.x and best.y >= member.y for best in pair.best)


def test_best_members_are_judged_on_search_images_only(outcome: Outcome) -> None:
    names = [[member.point.name for member in _pair(outcome, "energy", split).best] for split in _SPLITS]

    assert names[0] == names[1]


def test_a_baseline_without_a_cost_is_a_level(outcome: Outcome) -> None:
    energy, memory = _pair(outcome, "energy", "search"), _pair(outcome, "weight_memory", "search")

    assert [point.name for point in energy.levels] == ["float"]
    assert [member.point.name for member in energy.baselines] == ["uniform 8-bit"]
    assert memory.levels == ()
    assert {member.point.name for member in memory.baselines} == {"float", "uniform 8-bit"}


def test_an_axis_is_logarithmic_where_costs_differ_widely(outcome: Outcome) -> None:
    assert _pair(outcome, "weight_memory", "search").logarithmic
    alike = replace(outcome, baselines=(), front=outcome.front[:2], evaluations=())
    assert not _pair(alike, "energy", "search").logarithmic


def test_a_cost_of_zero_is_never_on_a_log_axis(outcome: Outcome) -> None:
    free = replace(outcome.baselines[0], cost=replace(outcome.baselines[0].cost, weight_bytes=0))

    assert not _pair(replace(outcome, baselines=(free,)), "weight_memory", "search").logarithmic


def test_the_cloud_is_split_by_budget_and_by_whether_it_was_scored(outcome: Outcome) -> None:
    pair = _pair(outcome, "energy", "search")

    assert all(entry.evaluation.violations == () for entry in pair.feasible)
    assert all(entry.evaluation.violations for entry in pair.over_budget)
    assert all(entry.y is None for entry in pair.unscored)
    assert len(pair.feasible) + len(pair.over_budget) + len(pair.unscored) == 50
    assert min(map(len, (pair.feasible, pair.over_budget, pair.unscored))) > 0


def test_held_out_images_have_no_cloud(outcome: Outcome) -> None:
    pair = _pair(outcome, "energy", "held_out")

    assert (pair.feasible, pair.over_budget, pair.unscored, pair.below_range) == ((), (), (), 0)


def test_the_range_covers_the_errors_and_counts_what_is_beneath(outcome: Outcome) -> None:
    pair = _pair(outcome, "energy", "search")
    scored = [entry.y for entry in (*pair.feasible, *pair.over_budget) if entry.y is not None]

    assert pair.y_range[0] < min(member.y - member.standard_error for member in pair.best)
    assert pair.y_range[1] > max(member.y + member.standard_error for member in pair.best)
    assert pair.below_range == sum(score < pair.y_range[0] for score in scored) > 0


def test_a_study_budget_is_on_its_axis_only(outcome: Outcome) -> None:
    assert _pair(outcome, "energy", "search").budget == 3.9
    assert _pair(outcome, "latency", "search").budget is None


def test_equal_members_keep_each_other(outcome: Outcome) -> None:
    twin = replace(outcome.front[0], name="p00")
    pair = _pair(replace(outcome, front=(outcome.front[0], twin)), "energy", "search")

    assert [member.point.name for member in pair.best] == ["p00", "p01"]


def test_the_standard_error_is_drawn_in_the_unit_of_the_accuracy(outcome: Outcome) -> None:
    sure = replace(outcome.front[0], held_out=MeanScore(value=1.0, num_images=400))
    pair = _pair(replace(outcome, front=(sure,)), "energy", "held_out")

    assert pair.best[0].standard_error == pytest.approx(0.0035, abs=1e-4)


def _pair(outcome: Outcome, objective: str, split: Split) -> PairView:
    return build_pair_view(build_front_view(outcome), objective, split)


_SPLITS: tuple[Split, ...] = ("search", "held_out")


def test_what_the_costs_leave_out_is_said(outcome: Outcome) -> None:
    part = Coverage(values=100, values_counted=10, macs=50, macs_counted=5)
    known = replace(outcome, coverage=part, refused_exports=(("integer", "no integer form"),))
    assert build_front_view(known).remarks == (
        part.summary(),
        "export as integer will be refused: no integer form",
    )
    whole = replace(outcome, coverage=replace(part, values_counted=100, macs_counted=50))
    assert build_front_view(whole).remarks == build_front_view(outcome).remarks == ()
    cheap = replace(outcome, provenance={"assumed 0": "buffers.a.bandwidth_bits_per_cycle, power.static_w"})
    zeros = f"assumed 0 on {outcome.device}: 2 values, one of a bandwidth that limits nothing then"
    assert build_front_view(cheap).remarks == (f"{zeros}; named under Provenance below",)
    assert list_remarks(cheap) == (f"{zeros}; report.html names them under Provenance",)
    assert Outcome.from_json(json.loads(json.dumps(known.to_json()))) == known
