"""The front as a frame, a CSV file and a terminal table."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from explorer.report.front.tables import (
    build_front_frame,
    build_front_table,
    format_csv,
    list_columns,
    sort_front,
    write_front_csv,
)
from explorer.study.front import knee, still_undominated
from explorer.study.record import Cost, Outcome

EXPECTED = (
    "name,accuracy_search,standard_error_search,images_search,accuracy_held_out,standard_error_held_out,"
    "images_held_out,undominated_held_out,tied_with,knee,recommended,energy_uj,latency_ms,latency_cycles,"
    "weight_bytes,activation_bytes,macs,energy_uj_ratio,"
    "latency_ms_ratio,weight_bytes_ratio,activation_bytes_ratio,macs_ratio,origin,digest,accuracy_search_tuned,"
    "accuracy_held_out_tuned,standard_error_held_out_tuned,energy_uj_tuned,weight_bytes_tuned,recommended_tuned"
)

GROUPS = ("features.conv2",)
LAYERS = ("features.conv1", "features.conv2", "classifier.fc1", "classifier.fc2", "classifier.output")
KINDS = ("weight_bits", "activation_bits", "weight_density", "codebook_size")
CHOICES = [
    *(f"{layer}.{kind}" for layer in LAYERS for kind in KINDS),
    *(f"{layer}.filter_keep_ratio" for layer in GROUPS),
]


def test_the_frame_has_a_row_for_each_member_and_the_numbers_of_the_record(outcome: Outcome) -> None:
    frame = build_front_frame(outcome)

    assert list(frame.columns) == [*EXPECTED.split(","), *CHOICES]
    assert frame["name"].tolist() == [point.name for point in outcome.front]
    assert frame["energy_uj"].tolist() == [point.evaluation.cost.energy_uj for point in outcome.front]
    assert frame["digest"].tolist() == [point.evaluation.candidate.digest() for point in outcome.front]
    assert frame["standard_error_held_out"][0] == outcome.front[0].held_out.standard_error
    stays = still_undominated(outcome.front, outcome.objectives)
    assert frame["undominated_held_out"].tolist() == list(stays)
    assert not all(stays)


def test_missing_numbers_are_na_and_counts_stay_whole(outcome: Outcome) -> None:
    frame = build_front_frame(_without_device_cost(outcome))

    assert frame["energy_uj"].isna().all()
    assert frame["latency_cycles"].dtype == pd.Int64Dtype()
    assert frame["latency_cycles"][0] is pd.NA


def test_an_empty_front_is_an_empty_frame_of_the_same_columns(outcome: Outcome) -> None:
    frame = build_front_frame(replace(outcome, front=()))

    assert frame.empty
    assert list(frame.columns) == list(list_columns(objectives=outcome.objectives)) == EXPECTED.split(",")


def test_equal_outcomes_give_equal_bytes(outcome: Outcome, tmp_path: Path) -> None:
    again = Outcome.from_json(outcome.to_json())
    write_front_csv(outcome, tmp_path / "first.csv")
    write_front_csv(again, tmp_path / "second.csv")

    first = (tmp_path / "first.csv").read_bytes()
    assert first == (tmp_path / "second.csv").read_bytes()
    assert b"\r" not in first
    assert first.decode().splitlines()[0] == ",".join([EXPECTED, *CHOICES])


def test_the_csv_can_be_read_back(outcome: Outcome, tmp_path: Path) -> None:
    write_front_csv(outcome, tmp_path / "front.csv")

    rows = list(csv.DictReader(io.StringIO((tmp_path / "front.csv").read_text())))
    assert len(rows) == 10
    assert float(rows[2]["energy_uj"]) == pytest.approx(outcome.front[2].evaluation.cost.energy_uj, rel=1e-8)
    assert int(rows[2]["latency_cycles"]) == outcome.front[2].evaluation.cost.latency_cycles


@pytest.mark.parametrize("costed", [True, False])
def test_the_csv_is_what_pandas_makes_of_the_frame(outcome: Outcome, costed: bool, tmp_path: Path) -> None:
    found = _larger(outcome) if costed else _without_device_cost(outcome)
    write_front_csv(found, tmp_path / "front.csv")
    assert (tmp_path / "front.csv").read_text() == format_csv(build_front_frame(found))


def test_a_csv_replaces_the_old_one_and_leaves_nothing_beside_it(outcome: Outcome, tmp_path: Path) -> None:
    (tmp_path / "front.csv").write_text("old")
    write_front_csv(outcome, tmp_path / "front.csv")

    assert [path.name for path in tmp_path.iterdir()] == ["front.csv"]
    assert "p10" in (tmp_path / "front.csv").read_text()


def test_a_failed_write_leaves_the_old_file(outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "front.csv").write_text("old")

    def full(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("explorer.files.os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_front_csv(outcome, tmp_path / "front.csv")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("front.csv", "old")]


def test_rows_are_sorted_the_best_first(outcome: Outcome) -> None:
    frame = build_front_frame(outcome)
    frame["accuracy_head.weight_bits"] = range(len(frame), 0, -1)  # a layer may be called so
    for column in ("accuracy_search", "accuracy_held_out", "knee", "undominated_held_out"):
        assert sort_front(frame, column, "accuracy")[column].is_monotonic_decreasing, column
    for column in ("energy_uj", "standard_error_search", "name", "accuracy_head.weight_bits"):
        assert sort_front(frame, column, "accuracy")[column].is_monotonic_increasing, column


def test_the_terminal_table_is_whole_in_100_columns(outcome: Outcome) -> None:
    lines = _printed(_larger(outcome), width=100).splitlines()

    assert max(map(len, lines)) <= 100
    assert "…" not in "".join(lines)
    assert len(lines) == 2 + 1 + 2 + 1 + 10, "two lines of headings, two rules, one line for each network"


def test_the_terminal_table_puts_the_front_next_to_the_baselines(outcome: Outcome) -> None:
    lines = _printed(outcome, width=100).splitlines()
    names = ("float", "uniform 8-bit", "p10")
    rows = {name: line.split() for line in lines for name in names if line.startswith(f"{name} ")}

    assert rows["float"][5:8] == ["n/a", "n/a", "n/a"]
    assert rows["uniform 8-bit"][2:4] == ["99.0", "±0.6"]
    assert rows["uniform 8-bit"][6:9] == ["3.687", "100", "%"]
    assert rows["p10"][0] == "p10"


def test_the_knee_and_what_would_not_stay_are_marked(outcome: Outcome) -> None:
    stays = dict(
        zip(build_front_frame(outcome)["name"], build_front_frame(outcome)["undominated_held_out"], strict=True)
    )
    chosen = knee(outcome.front, outcome.objectives).name
    first_words = [line.split(" ")[0] for line in _printed(outcome, width=100).splitlines()]
    shown = {word.rstrip("*~"): word for word in first_words if word.startswith("p")}
    assert len(set(stays.values())) == 2  # the example has both
    assert {name: "~" in word for name, word in shown.items()} == {name: not stay for name, stay in stays.items()}
    assert [name for name, word in shown.items() if "*" in word] == [chosen]


def test_texts_of_the_csv_are_no_formulas(outcome: Outcome, tmp_path: Path) -> None:
    first = outcome.front[0]
    named = replace(first, evaluation=replace(first.evaluation, origin="=HYPERLINK(1)"))
    write_front_csv(replace(outcome, front=(named, *outcome.front[1:])), tmp_path / "front.csv")
    assert ",'=HYPERLINK(1)," in (tmp_path / "front.csv").read_text()


def test_brackets_in_a_name_are_no_markup(outcome: Outcome) -> None:
    named = replace(outcome, front=(replace(outcome.front[0], name="[red]p01[/]"),))

    assert "[red]p01[/]" in _printed(named, width=120)


def _printed(outcome: Outcome, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(build_front_table(outcome))
    return stream.getvalue()


def _without_device_cost(outcome: Outcome) -> Outcome:
    return _with_costs(outcome, lambda cost: replace(cost, energy_uj=None, latency_ms=None, latency_cycles=None))


def _larger(outcome: Outcome) -> Outcome:
    """Numbers as long as those of a ResNet-50."""
    return _with_costs(
        outcome,
        lambda cost: replace(
            cost,
            energy_uj=12_345.678,
            latency_ms=123.456,
            latency_cycles=61_728_394,
            weight_bytes=25_557_032,
            activation_bytes=1_605_632,
        ),
    )


def _with_costs(outcome: Outcome, change: Callable[[Cost], Cost]) -> Outcome:
    return replace(
        outcome,
        baselines=(outcome.baselines[0], replace(outcome.baselines[1], cost=change(outcome.baselines[1].cost))),
        front=tuple(
            replace(point, evaluation=replace(point.evaluation, cost=change(point.evaluation.cost)))
            for point in outcome.front
        ),
    )
