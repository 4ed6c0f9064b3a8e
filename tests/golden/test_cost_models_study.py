"""The table of studies/cost_models is what its command gives, and says what the README says of it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from studies.cost_models.compare import compare

STUDY = Path(__file__).parents[2] / "studies" / "cost_models"
Row = dict[str, float | str]


@pytest.fixture(scope="module")
def table(golden: Callable[[str], list[dict[str, str]]]) -> list[Row]:
    """The rows that the study's command writes."""
    golden("zigzag.csv")
    return compare()


def test_the_simulator_and_the_closed_form_agree_on_every_layer(table: list[Row]) -> None:
    assert len(table) == 12
    for row in table:
        assert row["scalesim_cycles"] == row["closed_form_cycles"], row["layer"]


def test_dram_energy_is_within_6_percent_of_zigzag(table: list[Row]) -> None:
    for row in table:
        assert float(row["our_dram_uj"]) == pytest.approx(float(row["zigzag_dram_uj"]), rel=0.06), row["layer"]


def test_the_kept_results_are_those_of_the_command(table: list[Row]) -> None:
    with (STUDY / "results" / "comparison.csv").open(encoding="utf-8", newline="") as file:
        kept = list(csv.DictReader(file))
    readme = (STUDY / "README.md").read_text(encoding="utf-8")
    for row, before in zip(table, kept, strict=True):
        for key, value in row.items():
            assert before[key] == (f"{value:.6g}" if isinstance(value, float) else str(value)), (row["layer"], key)
        assert f"| {row['layer']} | {row['scalesim_cycles']:,} | {row['closed_form_cycles']:,} |" in readme
