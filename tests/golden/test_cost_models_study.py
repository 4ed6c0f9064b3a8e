"""The tables of studies/cost_models are what its commands give, and say what the README says of them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from explorer.report.devices.tables import Row as Decision
from studies.cost_models.compare import compare
from studies.cost_models.decisions import LOSSES, RESULTS, decide, readme_tables, share_reordered

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


@pytest.fixture(scope="module")
def decisions() -> dict[str, list[Decision]]:
    """The rows that the command on decisions writes, from the networks that were scored."""
    return decide(RESULTS / "candidates.csv")


def test_the_kept_decisions_are_those_of_the_command(decisions: dict[str, list[Decision]]) -> None:
    readme = (STUDY / "README.md").read_text(encoding="utf-8")
    for name, rows in decisions.items():
        with (RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            kept = list(csv.DictReader(file))
        assert kept == [
            {key: f"{value:.6g}" if isinstance(value, float) else str(value) for key, value in row.items()}
            for row in rows
        ], name
    for line in readme_tables(decisions):
        assert line in readme.splitlines()


def test_the_operand_to_narrow_is_that_of_zigzag(decisions: dict[str, list[Decision]]) -> None:
    zigzag, *ours = decisions["operands"]
    assert (zigzag["narrow_passing"], zigzag["narrow_staying"]) == ("activations", "weights")
    of_gemmini = [row for row in ours if row["device"] == "gemmini_default"]
    assert len(of_gemmini) == 3
    for row in of_gemmini:
        for mode in ("passing", "staying"):
            assert row[f"narrow_{mode}"] == zigzag[f"narrow_{mode}"], (row["network"], mode)


def test_what_stays_makes_narrow_activations_worth_less(decisions: dict[str, list[Decision]]) -> None:
    """On every device that keeps activations: mixes of the front, and the cheapest one for each loss."""
    for row in decisions["fronts"][:2]:
        assert float(str(row["mean_activation_bits_staying"])) > float(str(row["mean_activation_bits_passing"])) + 0.3
        assert float(str(row["share_reordered"])) > 0.1
    chosen = {(row["device"], row["loss"], row["chosen"]): row for row in decisions["choices"]}
    for device in (row["device"] for row in decisions["fronts"][:2]):
        for loss in LOSSES:
            passing, staying = (chosen[device, loss, mode] for mode in ("passing", "staying"))
            assert float(str(staying["mean_weight_bits"])) < float(str(passing["mean_weight_bits"]))
            assert staying["staying_ratio"] == 1.0 < float(str(passing["staying_ratio"]))


def test_pairs_in_another_order_are_counted_once() -> None:
    assert share_reordered(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])) == pytest.approx(1 / 3)
    assert share_reordered(np.array([1.0, 2.0]), np.array([4.0, 4.0])) == 0.0
