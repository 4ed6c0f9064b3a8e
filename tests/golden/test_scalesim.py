"""The closed forms against runs of the SCALE-Sim v3 simulator (LeNet-5, ResNet-20), row by row, exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from hwmodels import (
    SYSTOLIC_DATAFLOWS,
    Buffer,
    LayerJob,
    LayerShape,
    SystolicCounts,
    layer_arrays,
    layer_terms,
    load,
    systolic_counts,
)
from hwmodels.arrays import BoolArray, FloatArray

ROWS = 773
STALL_FREE_ROWS = 596
NUMBERS = (
    *("M", "K", "N", "rows", "cols", "total_cycles", "stall_cycles", "overall_util", "mapping_eff"),
    *("if_sram_reads", "fl_sram_reads", "of_sram_writes"),
)

Rows = list[dict[str, str]]
Simulated = tuple[list[str], dict[str, FloatArray]]


@pytest.fixture(scope="module")
def simulated(golden: Callable[[str], Rows]) -> Simulated:
    """Dataflow and numbers of every simulated layer."""
    rows = golden("scalesim.csv")
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
    compared = sum(len(_of(simulated, dataflow)[0]["M"]) for dataflow in SYSTOLIC_DATAFLOWS)
    assert compared == len(dataflows) == ROWS


def test_cycles_equal_where_nothing_stalls(simulated: Simulated) -> None:
    compared = 0
    for dataflow in SYSTOLIC_DATAFLOWS:
        theirs, ours = _of(simulated, dataflow)
        free = theirs["stall_cycles"] == 0
        # The simulator reports the index of the last cycle, one less than how many there are.
        np.testing.assert_array_equal(ours.cycles[free] - 1, theirs["total_cycles"][free])
        compared += int(free.sum())
    assert compared == STALL_FREE_ROWS


def test_stalls_only_add_cycles(simulated: Simulated) -> None:
    for dataflow in SYSTOLIC_DATAFLOWS:
        theirs, ours = _of(simulated, dataflow)
        assert (ours.cycles - 1 <= theirs["total_cycles"]).all()


@pytest.mark.parametrize("dataflow", SYSTOLIC_DATAFLOWS)
def test_mapping_efficiency_is_equal(simulated: Simulated, dataflow: str) -> None:
    theirs, ours = _of(simulated, dataflow)
    np.testing.assert_allclose(100 * ours.mapping_efficiency, theirs["mapping_eff"], rtol=1e-12)


@pytest.mark.parametrize("dataflow", SYSTOLIC_DATAFLOWS)
def test_utilisation_is_equal_over_the_same_cycles(simulated: Simulated, dataflow: str) -> None:
    theirs, ours = _of(simulated, dataflow)
    # Theirs divides by cycles that include stalls and lack the last one.
    over_their_cycles = 100 * ours.utilisation * ours.cycles / theirs["total_cycles"]
    np.testing.assert_allclose(over_their_cycles, theirs["overall_util"], rtol=1e-12)


@pytest.mark.parametrize("dataflow", SYSTOLIC_DATAFLOWS)
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


FETCHED = 529
"""Operands of runs in mode CALC that fit their buffer."""


def test_dram_reads_are_equal_wherever_the_operand_fits(golden: Callable[[str], Rows]) -> None:
    # In mode CALC the simulator does not wait for DRAM, and fetches what fits in half of its buffer once.
    fetched = 0
    for row in golden("scalesim.csv"):
        if row["mode"] != "CALC":
            continue
        layer = _fetched(row)
        sizes = {"if": layer.ifmap_words, "fl": layer.filter_words}
        for operand, words in (("if", layer.dram_input_bits // 8), ("fl", layer.dram_weight_bits // 8)):
            if sizes[operand] <= 50 * (1024 * int(row[f"sram_{operand}_kb"]) // 100):
                assert words == int(float(row[f"{operand}_dram_reads"])), row["layer"]
                fetched += 1
    assert fetched == FETCHED


@dataclasses.dataclass(frozen=True)
class _Fetched:
    ifmap_words: int
    filter_words: int
    dram_input_bits: int
    dram_weight_bits: int


def _fetched(row: dict[str, str]) -> _Fetched:
    """Return our DRAM reads of a row: 8-bit operands, buffers of the run's sizes, the input with its padding."""
    height, width, kernel_h, kernel_w, stride = (
        int(row[key]) for key in ("ifmap_h", "ifmap_w", "filter_h", "filter_w", "stride")
    )
    shape = LayerShape(
        name=row["layer"],
        kind="conv",
        in_channels=int(row["channels"]),
        out_channels=int(row["num_filters"]),
        kernel_h=kernel_h,
        kernel_w=kernel_w,
        in_h=height,
        in_w=width,
        out_h=-(-(height - kernel_h + stride) // stride),
        out_w=-(-(width - kernel_w + stride) // stride),
        stride_h=stride,
        stride_w=stride,
        bias=False,
    )
    assert (shape.m, shape.k, shape.n) == tuple(int(row[key]) for key in ("M", "K", "N"))
    buffers = tuple(
        Buffer(
            name=name,
            operands=(name,),
            size_bytes=1024 * int(row[f"sram_{operand}_kb"]),
            read_energy_pj_per_bit=0,
            write_energy_pj_per_bit=0,
        )
        for name, operand in (("inputs", "if"), ("weights", "fl"), ("outputs", "of"))
    )
    device = dataclasses.replace(
        load("bit_serial_16x16"),
        rows=int(row["rows"]),
        columns=int(row["cols"]),
        dataflow=row["dataflow"],
        buffers=buffers,
        weight_formats=("dense",),
    )
    dram = layer_terms(layer_arrays([LayerJob(shape=shape)]), device).dram
    # The scale that goes with each filter is no word of the simulator's.
    weight_bits = int(dram.weight_bits[0]) - int(dram.weight_passes.max()) * shape.out_channels * 32
    return _Fetched(shape.inputs, shape.weights, int(dram.input_bits[0]), weight_bits)
