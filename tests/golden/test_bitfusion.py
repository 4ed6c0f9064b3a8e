"""Compute cycles against the published Bit Fusion simulator, 61 layers of eight networks at batch 16."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from hwmodels import LayerCost, LayerJob, LayerShape, evaluate, load

LAYERS = 61
BATCH = 16
FILL_CYCLES = 2 * 16 + 32 - 2
"""The published cycles leave out the array's one fill of each layer."""


def _number(row: dict[str, str], column: str) -> int:
    return int(row[column])


def _cost(row: dict[str, str]) -> LayerCost:
    """Return our cost of a row; the images of a batch are stacked along the height."""
    shape = LayerShape(
        name=row["layer"],
        kind="conv" if row["kind"] == "conv" else "linear",
        in_channels=_number(row, "in_channels"),
        out_channels=_number(row, "out_channels"),
        kernel_h=_number(row, "kernel_h"),
        kernel_w=_number(row, "kernel_w"),
        in_h=_number(row, "in_h") * BATCH,
        in_w=_number(row, "in_w"),
        out_h=_number(row, "out_h") * BATCH,
        out_w=_number(row, "out_w"),
    )
    # The published runs write 32-bit outputs, whatever the next layer reads.
    job = LayerJob(
        shape=shape,
        weight_bits=_number(row, "weight_bits"),
        input_bits=_number(row, "input_bits"),
        output_bits=32,
    )
    return evaluate([job], load("bitfusion")).layers[0]


@pytest.fixture(scope="module")
def compared() -> list[tuple[dict[str, str], LayerCost]]:
    """Published rows with our cost of each."""
    repository = Path(__file__).parents[2]
    folder = Path(os.environ.get("EXPLORER_GOLDEN", repository / "../shared/golden"))
    table = folder / "bitfusion_per_layer.csv"
    if not table.is_file():
        pytest.skip(f"no golden data at {table}: set EXPLORER_GOLDEN to its folder")
    with table.open(encoding="utf-8", newline="") as file:
        return [(row, _cost(row)) for row in csv.DictReader(file)]


def _published_compute_cycles(row: dict[str, str]) -> int:
    return _number(row, "cycles") - _number(row, "memory_wait_cycles")


def _fills_the_array(row: dict[str, str]) -> bool:
    """Tell whether the channels fill what 16 rows and 32 columns take in, widths rounded up to 2, 4, 8.

    Maps of 13 x 13 count as not filling: the published compiler's tiles round them up to 14 x 14.
    """
    weight_bits, input_bits = (max(2, _number(row, key)) for key in ("weight_bits", "input_bits"))
    per_row_group = 16 * (8 // weight_bits) * (8 // input_bits)
    filled = _number(row, "in_channels") % per_row_group == 0 and _number(row, "out_channels") % 32 == 0
    return filled and _number(row, "out_h") != 13


Compared = list[tuple[dict[str, str], LayerCost]]


def test_compute_cycles_are_equal_where_channels_fill_the_array(compared: Compared) -> None:
    assert len(compared) == LAYERS
    filled = [(row, cost) for row, cost in compared if _fills_the_array(row)]
    assert len(filled) >= 30
    for row, cost in filled:
        assert cost.compute_cycles - FILL_CYCLES == _published_compute_cycles(row), row["layer"]


def test_elsewhere_the_array_is_packed_at_least_as_well(compared: Compared) -> None:
    # From 32 channels on, the published compiler maps one kernel position at a time and leaves rows empty;
    # this model packs k over positions, as the published runs do for the few channels of a first layer.
    for row, cost in compared:
        ratio = (cost.compute_cycles - FILL_CYCLES) / _published_compute_cycles(row)
        assert 0.15 <= ratio <= 1.0, row["layer"]


def test_latency_is_within_a_band_of_the_published_runs(compared: Compared) -> None:
    # Theirs also reads 32-bit partial sums from DRAM once, which doubles the traffic of output-heavy layers.
    ratios = sorted(cost.latency_cycles / _number(row, "cycles") for row, cost in compared)
    assert ratios[0] >= 0.2
    assert ratios[-1] <= 1.25
    assert 0.65 <= ratios[len(ratios) // 2] <= 1.0
