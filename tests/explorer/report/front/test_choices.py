"""The columns of what is chosen for layers and groups."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.report.front.choices import list_choice_columns
from explorer.report.front.tables import build_front_frame, write_front_csv
from explorer.study.record import Outcome


def with_candidates(outcome: Outcome, *candidates: Candidate, **space: object) -> Outcome:
    """The outcome with its first members choosing these, of a study with this space."""
    front = tuple(
        replace(point, evaluation=replace(point.evaluation, candidate=candidate))
        for point, candidate in zip(outcome.front, candidates, strict=False)
    )
    return replace(outcome, front=front, study={**outcome.study, "space": space})


def candidate(*layers: LayerChoice, **kept: float) -> Candidate:
    return Candidate(layers=layers, filter_keep_ratio=tuple(kept.items()))


def test_kinds_that_are_open_or_chosen_are_columns_for_all_layers(outcome: Outcome) -> None:
    plain = candidate(LayerChoice(layer="a"), LayerChoice(layer="b"), a=1.0)
    widths = ["a.weight_bits", "a.activation_bits", "b.weight_bits", "b.activation_bits"]
    assert list(list_choice_columns(with_candidates(outcome, plain))[0]) == widths
    for space in ({"codebook_sizes": [4, None]}, {"layers": {"b": {"codebook_sizes": [4, None], "steps": None}}}):
        types, rows = list_choice_columns(with_candidates(outcome, plain, **space))
        assert [name for name in types if name not in widths] == ["a.codebook_size", "b.codebook_size"]
        assert "a.codebook_size" not in rows[0]
    stepped = candidate(LayerChoice(layer="a", step=0.5), LayerChoice(layer="b", pattern="2:4"), a=0.5)
    types, rows = list_choice_columns(with_candidates(outcome, plain, stepped))
    added = {"a.step": 0.5, "a.pattern": "", "b.pattern": "2:4", "a.filter_keep_ratio": 0.5}
    assert set(types) == {*widths, *added, "b.step"}
    assert {name: rows[1].get(name) for name in added} == added
    assert rows[0]["a.filter_keep_ratio"] == 1.0


def test_layers_of_a_removed_block_are_missing(outcome: Outcome, tmp_path: Path) -> None:
    whole, short = candidate(LayerChoice(layer="a"), LayerChoice(layer="b")), candidate(LayerChoice(layer="a"))
    found = with_candidates(outcome, replace(short, removed_blocks=("b",)), whole)
    frame = build_front_frame(found)
    assert frame["removed_blocks"].tolist() == ["b", ""]
    assert frame["b.weight_bits"].isna().tolist() == [True, False]
    assert frame["a.weight_bits"].tolist() == [8, 8]


def test_a_layer_of_any_name_is_no_formula(outcome: Outcome, tmp_path: Path) -> None:
    found = with_candidates(outcome, candidate(LayerChoice(layer="=cmd|' /C calc'!A0"), LayerChoice(layer="b,\nc")))
    write_front_csv(found, tmp_path / "front.csv")
    with (tmp_path / "front.csv").open(newline="") as file:
        heading = next(csv.reader(file))
    assert heading[-4] == "'=cmd|' /C calc'!A0.weight_bits"
    assert heading[-1] == "b,\nc.activation_bits"


def test_300_layers_have_all_their_columns(outcome: Outcome) -> None:
    wide = candidate(*(LayerChoice(layer=f"layer{place}", weight_bits=4, codebook_size=8) for place in range(300)))
    frame = build_front_frame(with_candidates(outcome, wide, wide))
    assert [name for name in map(str, frame) if name.startswith("layer299.")] == [
        f"layer299.{kind}" for kind in ("weight_bits", "activation_bits", "codebook_size")
    ]
    assert len(frame.columns) > 900
