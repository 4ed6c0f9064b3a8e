"""Evaluations as columns: what each chooses can be read back."""

from __future__ import annotations

import json
from dataclasses import replace

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.report.front.evaluations import FIRST, REMOVED, list_evaluations, tabulate_choices
from explorer.study.record import Outcome


def _choice(layer: str, weight_bits: int, codebook_size: int | None = None) -> LayerChoice:
    return LayerChoice(layer=layer, weight_bits=weight_bits, codebook_size=codebook_size)


def _candidate(*layers: LayerChoice, ratio: float = 1.0) -> Candidate:
    return Candidate(layers=layers, filter_keep_ratio=(("a", ratio),))


def test_what_differs_has_an_axis_and_the_rest_is_said_once() -> None:
    table = tabulate_choices(
        [_candidate(_choice("a", 8), _choice("b", 4, 4)), _candidate(_choice("a", 2), _choice("b", 4), ratio=0.5)]
    )
    assert [tuple(axis) for axis in table.axes] == [
        ("a", "weight bits", (2, 8)),
        ("b", "codebook", (4, None)),
        ("a", "filters kept", (0.5, 1.0)),
    ]
    assert table.rows.tolist() == [[1, 0, 1], [0, 1, 0]]
    assert ("b", "weight bits", (4,)) in [tuple(axis) for axis in table.constant]


def test_a_layer_that_a_candidate_lacks_is_said_to_be_removed() -> None:
    table = tabulate_choices([_candidate(_choice("a", 8), _choice("b", 8)), _candidate(_choice("a", 8))])
    removed = {axis.of: axis.values for axis in table.axes if axis.field == "weight bits"}
    assert removed == {"b": (8, REMOVED)}
    assert len({row[0] for row in table.rows}) == 2


def test_every_evaluation_is_a_row_of_all_columns(outcome: Outcome) -> None:
    listed = list_evaluations(outcome, tabulate_choices([item.candidate for item in outcome.evaluations]))
    axes = [tuple(axis) for axis in listed["axes"]]
    for place, item in enumerate(outcome.evaluations):
        assert listed["number"][place] == item.number
        assert listed["origins"][listed["origin"][place]] == item.origin
        assert listed["costs"]["weight_bytes"][place] == item.cost.weight_bytes
        assert (listed["score"][place] is None) == (item.score is None)
        assert (listed["broken"][listed["limits"][place]] == "") == item.feasible
        signs = dict(zip(axes, listed["chosen"][place], strict=True))
        for (of, field, values), sign in signs.items():
            if field == "weight bits":
                assert values[ord(sign) - FIRST] == item.candidate.choice(of).weight_bits
    json.dumps(listed)


def test_why_an_evaluation_is_not_on_the_front_is_said(outcome: Outcome) -> None:
    first, second, third, *_ = outcome.evaluations
    told = replace(
        outcome,
        evaluations=(
            replace(first, violations=(("energy_uj", 0.25), ("accuracy", 0.02))),
            replace(second, violations=(), failure="it is singular"),
            replace(third, violations=()),
        ),
    )
    listed = list_evaluations(told, tabulate_choices([item.candidate for item in told.evaluations]))
    assert [listed["broken"][place] for place in listed["limits"]] == [
        "energy_uj exceeded by 25 %; accuracy missed by 2 points",
        "cannot be computed: it is singular",
        "",
    ]
