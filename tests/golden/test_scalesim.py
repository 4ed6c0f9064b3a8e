"""The closed forms against runs of the SCALE-Sim v3 simulator (LeNet-5, ResNet-20), row by row, exactly."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from hwmodels import DATAFLOWS, SystolicCounts, systolic_counts
from hwmodels.arrays import BoolArray, FloatArray

ROWS = 773
STALL_FREE_ROWS = 596
NUMBERS = (
    *("M", "K", "N", "rows", "cols", "total_cycles", "stall_cycles", "overall_util", "mapping_eff"),
    *("if_sram_reads", "fl_sram_reads", "of_sram_writes"),
)

Simulated = tuple[list[str], dict[str, FloatArray]]


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    """Dataflow and numbers of every simulated layer."""
    repository = Path(__file__).parents[2]
    folder = Path(os.environ.get("EXPLORER_GOLDEN", repository / "../shared/golden"))
    table = folder / "scalesim.csv"
    if not table.is_file():
        pytest.skip(f"no golden data at {table}: set EXPLORER_GOLDEN to the folder that holds scalesim.csv")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = {column: np.array([float(row[column]) for row in rows]) for column in NUMBERS}
    return [row["dataflow"] for row in rows], numbers


def _of(simulated: Simulated, dataflow: str) -> tuple[dict[str, FloatArray], SystolicCounts]:
    """Return the simulator's numbers and ours for the layers of one dataflow."""
    dataflows, numbers = simulated
    chosen: BoolArray = np.array([name == dataflow for name in dataflows])
    selected = {column: values[chosen] for column, values in numbers.items()}
    m, k, n, rows, columns = (selected[key].astype(np.int64) for key in ("M", "K", "N", "rows", "cols"))
    return selected, systolic_counts(m, k, n, rows, columns, dataflow)


def test_every_row_is_compared(simulated: Simulated) -> None:
    dataflows, _ = simulated
    compared = sum(len(_of(simulated, dataflow)[0]["M"]) for dataflow in DATAFLOWS)
    assert compared == len(dataflows) == ROWS


def test_cycles_equal_where_nothing_stalls(simulated: Simulated) -> None:
    compared = 0
    for dataflow in DATAFLOWS:
        theirs, ours = _of(simulated, dataflow)
        free = theirs["stall_cycles"] == 0
        # The simulator reports the index of the last cycle, one less than how many there are.
        np.testing.assert_array_equal(ours.cycles[free] - 1, theirs["total_cycles"][free])
        compared += int(free.sum())
    assert compared == STALL_FREE_ROWS


def test_stalls_only_add_cycles(simulated: Simulated) -> None:
    for dataflow in DATAFLOWS:
        theirs, ours = _of(simulated, dataflow)
        assert (ours.cycles - 1 <= theirs["total_cycles"]).all()


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_mapping_efficiency_is_equal(simulated: Simulated, dataflow: str) -> None:
    theirs, ours = _of(simulated, dataflow)
    np.testing.assert_allclose(100 * ours.mapping_efficiency, theirs["mapping_eff"], rtol=1e-12)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_utilisation_is_equal_over_the_same_cycles(simulated: Simulated, dataflow: str) -> None:
    theirs, ours = _of(simulated, dataflow)
    # Theirs divides by cycles that include stalls and lack the last one.
    over_their_cycles = 100 * ours.utilisation * ours.cycles / theirs["total_cycles"]
    np.testing.assert_allclose(over_their_cycles, theirs["overall_util"], rtol=1e-12)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_sram_accesses_are_equal(simulated: Simulated, dataflow: str) -> None:
    theirs, ours = _of(simulated, dataflow)
    writes = ours.ofmap_sram_writes
    if dataflow == "os":
        # The simulator counts every drain slot of the array as a write: rows + columns more for each fold.
        folds = ours.row_folds * ours.column_folds
        writes = writes + folds * (theirs["rows"] + theirs["cols"]).astype(np.int64)
    np.testing.assert_array_equal(ours.ifmap_sram_reads, theirs["if_sram_reads"])
    np.testing.assert_array_equal(ours.filter_sram_reads, theirs["fl_sram_reads"])
    np.testing.assert_array_equal(writes, theirs["of_sram_writes"])
