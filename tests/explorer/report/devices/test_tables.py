"""The tables of a comparison of devices: what their rows say, and how they are written."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.comparison.devices import DeviceRuns, choose_networks, find_levers, price_transfers
from explorer.compress.apply import CompressionContext
from explorer.report.devices.tables import list_choices, list_layers, list_levers, list_transfers, write_rows
from tests.support.device_runs import run_of, widths


@pytest.fixture
def runs(context: Callable[[str], CompressionContext]) -> DeviceRuns:
    """A bit-serial device with narrow weights, and a microcontroller with half of the filters."""
    graph = context("option_a").graph
    narrow, few = widths(graph, 4, 6), widths(graph, 8, 8, 0.5)
    return DeviceRuns(
        graph=graph, runs=(run_of(graph, "gap9_ne16", [(narrow, 0.9)]), run_of(graph, "stm32h7a3", [(few, 0.89)]))
    )


def test_a_choice_in_figures(runs: DeviceRuns) -> None:
    narrow, few = list_choices(choose_networks(runs.runs, (0.01,)))
    assert (narrow["device"], narrow["mean_weight_bits"], narrow["filter_keep_ratio"]) == ("gap9_ne16", 4.0, 1.0)
    activation_bits = narrow["mean_activation_bits"]
    assert isinstance(activation_bits, float)
    assert 6.0 <= activation_bits < 8.0  # the logits' and the image's widths are among them
    assert (few["device"], few["mean_weight_bits"]) == ("stm32h7a3", 8.0)
    kept = few["filter_keep_ratio"]
    assert isinstance(kept, float)
    assert 0.5 <= kept < 0.7  # outputs stay
    assert few["standard_error_search"] == pytest.approx(0.0329, abs=1e-3)  # sqrt(.87 .13 / 104)


def test_a_row_for_each_layer_of_each_choice(runs: DeviceRuns) -> None:
    rows = list_layers(choose_networks(runs.runs, (0.01,)))
    assert len(rows) == 2 * len(runs.graph.layers)
    assert [row["layer"] for row in rows[: len(runs.graph.layers)]] == list(runs.graph.layer_names)
    assert {row["weight_bits"] for row in rows if row["device"] == "gap9_ne16"} == {4}


def test_energies_and_cycles_of_levers_add_up(runs: DeviceRuns) -> None:
    for row, lever in zip(list_levers(find_levers(runs)), find_levers(runs), strict=True):
        parts = [value for key, value in row.items() if key.endswith("_uj") and isinstance(value, float)]
        assert sum(parts) == pytest.approx(lever.cost.energy_uj)
        cycles = [value for key, value in row.items() if key.endswith("_cycles") and isinstance(value, int)]
        assert sum(cycles) == lever.cost.latency_cycles


def test_rows_are_written_with_six_digits(runs: DeviceRuns, tmp_path: Path) -> None:
    rows = list_transfers(price_transfers(runs, choose_networks(runs.runs, (0.01,))))
    write_rows(rows, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [(row["chosen_for"], row["run_on"]) for row in read] == [
        (a, b) for a in ("gap9_ne16", "stm32h7a3") for b in ("gap9_ne16", "stm32h7a3")
    ]
    assert read[0]["energy_ratio"] == "1"
    assert float(read[1]["energy_ratio"]) == pytest.approx(float(rows[1]["energy_ratio"] or 0), rel=1e-5)
    write_rows([{"a": None, "b": 1 / 3}], tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == b"a,b\n,0.333333\n"
