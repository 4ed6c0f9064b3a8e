"""Output, weight and input stationary systolic arrays: their counts, and the formulas of these."""

from __future__ import annotations

import numpy as np

from hwmodels.arrays import IntLike
from hwmodels.cost.citation import cite
from hwmodels.cost.dataflow import ArrayCounts, DataflowFormulas, DataflowModel, Formula
from hwmodels.cost.systolic import UnitRates, closed_forms
from hwmodels.cost.tiling import (
    choose_in_place,
    choose_stationary,
    count_in_place_tile,
    count_stationary_tile,
)
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import MacCost
from hwmodels.workload.layer import LayerShape
from hwmodels.workload.layer_arrays import LayerArrays

_MOVING = {"os": ("inputs", "weights"), "ws": ("inputs", "sums"), "is": ("weights", "sums")}
"""Operands that move on from unit to unit, once for each MAC."""


def _count(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> ArrayCounts:
    """Return the counts of the closed forms."""
    channels = layers.in_channels // layers.groups
    positions: IntLike = 1
    if accelerator.k_packing == "channels":
        # Where channels leave rows empty, rows take kernel positions too: a first layer's inputs are laid out so.
        by_channels = layers.is_product & (channels >= accelerator.rows)
        positions = np.where(by_channels, layers.kernel_h * layers.kernel_w, 1)
    counts = closed_forms(
        layers.m,
        layers.k,
        layers.n,
        accelerator.rows,
        accelerator.columns,
        accelerator.dataflow,
        UnitRates(
            layers.groups,
            positions,
            mac.parallel_macs,
            mac.serial_cycles,
            accelerator.pipelined_folds,
            accelerator.diagonal_groups,
        ),
    )
    operands = _MOVING[accelerator.dataflow]
    none, writes = np.zeros_like(layers.macs), counts.ofmap_sram_writes
    return ArrayCounts(
        cycles=counts.cycles,
        mapping_efficiency=counts.mapping_efficiency,
        ifmap_reads=counts.ifmap_sram_reads,
        filter_reads=counts.filter_sram_reads,
        ofmap_writes=writes,
        ofmap_reads=none if accelerator.dataflow == "os" else writes - layers.outputs,
        network_input_words=layers.macs if "inputs" in operands else none,
        network_weight_words=layers.macs if "weights" in operands else none,
        network_sum_words=layers.macs if "sums" in operands else none,
        row_folds=counts.row_folds,
        column_folds=counts.column_folds,
    )


_STATIONARY = "min(k, rows * parallel_macs)"
_WORDS = {
    "os": (
        ("m * k * ceil(n / columns) * groups", "k * n * ceil(m / rows) * groups"),
        ("min(n, columns) * min(k, parallel_macs)", "min(m, rows) * min(k, parallel_macs)"),
        "macs * (held_input_bits + held_weight_bits)",
    ),
    "ws": (
        ("m * k * ceil(n / columns) * groups", "k * n * groups"),
        (f"min(n, columns) * {_STATIONARY}", _STATIONARY),
        "macs * (held_input_bits + accumulator_bits)",
    ),
    "is": (
        ("m * k * groups", "k * n * ceil(m / columns) * groups"),
        (_STATIONARY, f"min(m, columns) * {_STATIONARY}"),
        "macs * (held_weight_bits + accumulator_bits)",
    ),
}
"""Words that are read of inputs and of weights, weights and inputs of the first tile, bits on the network."""


def _explain(shape: LayerShape, device: Accelerator) -> DataflowFormulas:
    """Return the formulas of `hwmodels.cost.systolic`, and of the tiles."""
    reference = "closed forms of the array: scalesim_ispass2020 (hwmodels.cost.systolic)"
    (ifmap_reads, filter_reads), first_tile, network_bits = _WORDS[device.dataflow]
    mapped = {"os": "m * n", "ws": "n * k / parallel_macs", "is": "m * k / parallel_macs"}[device.dataflow]
    fill = "rows + columns - 2" if device.dataflow == "os" else "2 * rows + columns - 2"
    depth, positions, packing = "ceil(k / parallel_macs)", "", ""
    if device.k_packing == "channels" and shape.in_channels // shape.groups >= device.rows:
        depth, positions = "ceil(in_channels / groups / parallel_macs)", "kernel_h * kernel_w * "
        packing = f"; rows take one kernel position at a time ({cite('array.k_packing', device)})"
    row_folds, column_folds, time = {
        "os": ("ceil(m / rows)", "ceil(n / columns)", f"{positions}{depth} * serial_cycles"),
        "ws": (f"{positions}ceil({depth} / rows)", "ceil(n / columns)", "m * serial_cycles"),
        "is": (f"{positions}ceil({depth} / rows)", "ceil(m / columns)", "n * serial_cycles"),
    }[device.dataflow]
    groups = "groups"
    if device.diagonal_groups:
        spread_rows = "m" if device.dataflow == "os" else depth
        spread_columns = "m" if device.dataflow == "is" else "n"
        groups = f"ceil(groups / max(min(floor(rows / {spread_rows}), floor(columns / {spread_columns})), 1))"
        packing += f"; groups side by side ({cite('array.diagonal_groups', device)})"
    folds = f"{row_folds} * {column_folds} * {groups}"
    cycles = Formula(f"{folds} * ({fill} + {time})", reference + packing)
    if device.pipelined_folds:
        overlap = f"folds overlap ({cite('array.pipelined_folds', device)})"
        text = f"({folds} - 1) * max({time}, rows) + {fill} + {time}"
        cycles = Formula(text, f"{reference}{packing}; {overlap}")
    return DataflowFormulas(
        reference=reference,
        compute_cycles=cycles,
        mapping_efficiency=Formula(f"{mapped} * groups / ({folds} * rows * columns)", reference + packing),
        ifmap_reads=ifmap_reads,
        filter_reads=filter_reads,
        first_tile=first_tile,
        network_bits=network_bits,
        row_folds="" if device.dataflow == "os" else row_folds,
    )


OUTPUT_STATIONARY = DataflowModel(
    count=_count, passes=choose_in_place, first_tile=count_in_place_tile, formulas=_explain
)
WEIGHT_STATIONARY = INPUT_STATIONARY = DataflowModel(
    count=_count, passes=choose_stationary, first_tile=count_stationary_tile, formulas=_explain, sums_in_buffer=True
)
