"""Cycles of an array that spreads the bits of weights over its columns, and takes those of inputs one after the other.

Rows take the elements of a dot product, columns as many output channels as their weights' bits leave room for; each
position takes a cycle for every bit of an input. Depthwise, a channel takes rows for its kernel and columns for its
bits, `_DEPTHWISE_CHANNELS` of them at once where there is room. Inferred from the cycles that HAQ publishes for its
bit-serial accelerator (Wang et al., CVPR 2019): the paper does not say it.
"""

from __future__ import annotations

import numpy as np

from hwmodels.arrays import IntArray, ceil_div
from hwmodels.cost.dataflow import ArrayCounts, DataflowFormulas, DataflowModel, Formula
from hwmodels.cost.tiling import choose_in_place, count_in_place_tile
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import MacCost
from hwmodels.workload.layer import LayerShape
from hwmodels.workload.layer_arrays import LayerArrays

_DEPTHWISE_CHANNELS = 16


def _count(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> ArrayCounts:
    """Return cycles; each input is read once for each fold of columns, each weight once for each position."""
    rows, columns = accelerator.rows, accelerator.columns
    weight_bits = _hold(layers.weight_bits, accelerator.weight_bits)
    input_bits = _hold(layers.input_bits, accelerator.input_bits)
    depthwise = (layers.groups > 1) & (layers.in_channels == layers.groups)
    together = np.clip(np.minimum(rows // layers.k, columns // weight_bits), 1, _DEPTHWISE_CHANNELS)
    column_folds = ceil_div(layers.n * weight_bits, columns)
    folds = ceil_div(layers.k, rows) * np.where(
        depthwise,
        layers.n * ceil_div(weight_bits, columns) * ceil_div(layers.groups, together),
        column_folds * layers.groups,
    )
    cycles = layers.m * input_bits * folds
    ideal = layers.macs * mac.serial_cycles / mac.parallel_macs
    return ArrayCounts(
        cycles=cycles,
        mapping_efficiency=ideal / (np.maximum(cycles, 1) * float(accelerator.units)),
        ifmap_reads=layers.m * layers.k * column_folds * layers.groups,
        filter_reads=layers.m * layers.k * layers.n * layers.groups,
        ofmap_writes=layers.outputs,
        row_folds=layers.m,
        column_folds=column_folds,
    )


def _hold(bits: IntArray, supported: tuple[int, ...]) -> IntArray:
    """Return the widths rounded up to supported ones; those of other layers, which have no products, do not matter."""
    held: IntArray = np.array(supported)[np.minimum(np.searchsorted(supported, bits), len(supported) - 1)]
    return held


def _explain(shape: LayerShape, device: Accelerator) -> DataflowFormulas:
    reference = "folds of an array with the bits of weights in its columns (hwmodels.cost.bit_columns)"
    column_folds = "ceil(n * held_weight_bits / columns)"
    folds = f"{column_folds} * groups"
    if shape.groups > 1 and shape.in_channels == shape.groups:
        together = f"max(min(floor(rows / k), floor(columns / held_weight_bits), {_DEPTHWISE_CHANNELS}), 1)"
        folds = f"n * ceil(held_weight_bits / columns) * ceil(groups / {together})"
    cycles = f"m * held_input_bits * ceil(k / rows) * {folds}"
    return DataflowFormulas(
        reference=reference,
        compute_cycles=Formula(cycles, reference),
        mapping_efficiency=Formula(f"macs * serial_cycles / parallel_macs / ({cycles} * rows * columns)", reference),
        ifmap_reads=f"m * k * {column_folds} * groups",
        filter_reads="m * k * n * groups",
        first_tile=("min(n, columns) * min(k, parallel_macs)", "min(m, rows) * min(k, parallel_macs)"),
    )


BIT_COLUMNS = DataflowModel(count=_count, passes=choose_in_place, first_tile=count_in_place_tile, formulas=_explain)
