"""Cycles and SRAM accesses of a matrix product on a systolic array, in closed form.

The forms are those of the SCALE-Sim simulator (Samajdar et al., ISPASS 2020; version 3), without stalls. It
is matched exactly but for two of its habits, which are not copied: it reports the last cycle's index, which
is one less than the number of cycles, and for the output-stationary dataflow it counts every output-drain
slot, that is `folds * (rows + columns)` writes more than the m*n outputs that there are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.arrays import FloatArray, IntArray, IntLike, ceil_div
from hwmodels.device.dataflows import SYSTOLIC_DATAFLOWS
from hwmodels.errors import HardwareModelError

_ARGUMENTS = ("m", "k", "n", "rows", "columns", "groups", "kernel_positions", "parallel_macs", "serial_cycles")


class SystolicCounts(NamedTuple):
    """Counts of one layer each, of the arguments' common shape; SRAM accesses are in operand words.

    Example:
        >>> import hwmodels
        >>> counts = hwmodels.systolic_counts(1, 64, 10, 16, 16, "ws")
        >>> int(counts.cycles), float(counts.mapping_efficiency)
        (188, 0.625)
    """

    cycles: IntArray
    mapping_efficiency: FloatArray
    """Share of the array that has work while a fold runs, 0 to 1."""
    utilisation: FloatArray
    """Achieved share of the array's peak rate, fill and drain included, 0 to 1."""
    ifmap_sram_reads: IntArray
    filter_sram_reads: IntArray
    ofmap_sram_writes: IntArray
    row_folds: IntArray
    column_folds: IntArray


def systolic_counts(  # noqa: PLR0913 - a matrix product, an array, and how its units take operands
    m: IntLike,
    k: IntLike,
    n: IntLike,
    rows: IntLike,
    columns: IntLike,
    dataflow: str,
    *,
    groups: IntLike = 1,
    kernel_positions: IntLike = 1,
    parallel_macs: IntLike = 1,
    serial_cycles: IntLike = 1,
    pipelined_folds: bool = False,
    diagonal_groups: bool = False,
) -> SystolicCounts:
    """Return cycles, efficiencies and SRAM accesses of `groups` products (m x k) @ (k x n) run in turn.

    A fold is one load of the array; with its Sr x Sc spread over rows x columns and T in time (os: m, n, k;
    ws: k, n, m; is: k, m, n) it takes rows+columns+T-2 cycles for os and 2*rows+columns+T-2 for ws and is.
    With `pipelined_folds`, the next fold's operands are loaded (or results drained), one array row per
    cycle, while the current one runs, so that all folds but one take max(T, rows).
    With `diagonal_groups`, a fold takes as many groups as fit on the array's diagonal, rows // Sr or columns // Sc of
    them: groups share neither inputs nor outputs, so that each needs rows and columns of its own.

    Source: Samajdar et al., ISPASS 2020 (SCALE-Sim); see the module for two of its habits that are not copied.

    Args:
        m: Rows of the first matrix, such as output positions; all counts broadcast.
        k: Length of a dot product.
        n: Columns of the second matrix, such as output channels.
        rows: Of the array.
        columns: Of the array.
        dataflow: A key of `SYSTOLIC_DATAFLOWS`.
        groups: Products of this size that run in turn.
        kernel_positions: Above 1, a fold takes the channels of one position at a time, k / kernel_positions.
        parallel_macs: MACs of one dot product that a unit performs together; more of them widen the k of a fold ...
        serial_cycles: ... in this many cycles, which stretch the dimension that runs in time.
        pipelined_folds: Whether the next fold is loaded while the current one runs.
        diagonal_groups: Whether groups that leave most of the array empty run side by side.

    Raises:
        HardwareModelError: the dataflow is unknown, or a count is not positive.

    Example:
        >>> import hwmodels
        >>> counts = hwmodels.systolic_counts([1, 1024], 64, 10, 16, 16, "os")
        >>> counts.cycles.tolist(), counts.ifmap_sram_reads.tolist()
        ([94, 6016], [64, 65536])
    """
    check_dataflow(dataflow)
    _check_positive(m, k, n, rows, columns, groups, kernel_positions, parallel_macs, serial_cycles)
    counts = closed_forms(
        np.asarray(m, dtype=np.int64),
        np.asarray(k, dtype=np.int64),
        np.asarray(n, dtype=np.int64),
        rows,
        columns,
        dataflow,
        UnitRates(groups, kernel_positions, parallel_macs, serial_cycles, pipelined_folds, diagonal_groups),
    )
    shape = np.broadcast_shapes(*(np.shape(count) for count in counts))
    return counts._replace(**{field: np.broadcast_to(getattr(counts, field), shape) for field in counts._fields})


class UnitRates(NamedTuple):
    """How the groups of a layer and the units of an array take operands; see `systolic_counts`."""

    groups: IntLike
    kernel_positions: IntLike
    parallel_macs: IntLike
    serial_cycles: IntLike
    pipelined_folds: bool
    diagonal_groups: bool


def closed_forms(
    m: IntArray, k: IntArray, n: IntArray, rows: IntLike, columns: IntLike, dataflow: str, rates: UnitRates
) -> SystolicCounts:
    """Return what `systolic_counts` returns, without its checks; fields have the shape of what they depend on."""
    groups, positions, parallel_macs, serial_cycles, pipelined, diagonal = rates
    k_per_unit = ceil_div(k // positions, parallel_macs)
    spread_rows, spread_columns, in_time = {
        "os": (m, n, k_per_unit * positions),
        "ws": (k_per_unit, n, m),
        "is": (k_per_unit, m, n),
    }[dataflow]
    in_time = in_time * serial_cycles
    fill = rows + columns - 2 + (0 if dataflow == "os" else rows)
    row_folds, column_folds = ceil_div(spread_rows, rows), ceil_div(spread_columns, columns)
    if dataflow != "os":
        row_folds = row_folds * positions
    group_folds: IntLike = groups
    if diagonal:
        group_folds = ceil_div(groups, np.maximum(np.minimum(rows // spread_rows, columns // spread_columns), 1))
    folds = row_folds * column_folds * group_folds
    interval = np.maximum(in_time, rows) if pipelined else fill + in_time
    cycles = (folds - 1) * interval + fill + in_time

    # Of the k that a unit takes in at once, the last step may be partly empty: that is lost efficiency, too.
    mapped = m * n if dataflow == "os" else spread_columns * k
    width = 1 if dataflow == "os" else parallel_macs
    ifmap, filters, ofmap = _sram_words(m, k, n, row_folds, column_folds, dataflow)
    return SystolicCounts(
        cycles=cycles,
        mapping_efficiency=mapped * groups / (folds * width * (1.0 * rows * columns)),
        utilisation=m * k * n * groups * (1.0 * serial_cycles) / (cycles * (1.0 * rows * columns) * parallel_macs),
        ifmap_sram_reads=ifmap * groups,
        filter_sram_reads=filters * groups,
        ofmap_sram_writes=ofmap * groups,
        row_folds=row_folds,
        column_folds=column_folds,
    )


def _check_positive(*arguments: IntLike) -> None:
    """Raise HardwareModelError unless the arguments, in the order of _ARGUMENTS, are at least 1."""
    for label, count in zip(_ARGUMENTS, arguments, strict=True):
        if np.min(count) < 1:
            raise HardwareModelError(f"{label}: expected at least 1, received {np.min(count)}")


def check_dataflow(dataflow: str) -> None:
    """Raise HardwareModelError unless `dataflow` is one of SYSTOLIC_DATAFLOWS."""
    if dataflow not in SYSTOLIC_DATAFLOWS:
        known = ", ".join(f"{key} ({dataflow.title})" for key, dataflow in SYSTOLIC_DATAFLOWS.items())
        raise HardwareModelError(f"dataflow: expected one of {known}, received {dataflow!r}")


def _sram_words(
    m: IntArray, k: IntArray, n: IntArray, row_folds: IntArray, column_folds: IntArray, dataflow: str
) -> tuple[IntArray, IntArray, IntArray]:
    """Return ifmap reads, filter reads and ofmap writes in words, for one group."""
    if dataflow == "os":
        return m * k * column_folds, k * n * row_folds, m * n
    if dataflow == "ws":
        return m * k * column_folds, k * n, m * n * row_folds
    return m * k, k * n * column_folds, m * n * row_folds
