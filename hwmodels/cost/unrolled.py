"""Cycles and accesses of an engine that runs a fixed piece of the loops side by side, and of a processor.

Neural processing units other than systolic arrays, and SIMD processors, are described by how much of each loop one
step takes (`hwmodels.device.parts.Unroll`): sizes that do not divide leave lanes empty. Sums stay in the lanes.
"""

from __future__ import annotations

import numpy as np

from hwmodels.arrays import ceil_div
from hwmodels.cost.citation import name_units
from hwmodels.cost.dataflow import ArrayCounts, DataflowFormulas, DataflowModel, Formula
from hwmodels.cost.tiling import choose_in_place, count_in_place_tile
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import MacCost
from hwmodels.workload.layer import LayerShape
from hwmodels.workload.layer_arrays import LayerArrays


def _count(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> ArrayCounts:
    """Return cycles and buffer reads: inputs are read once for each fold of channels, weights for each of positions.

    Steps are the product of all loops' folds; `rate` of them are done in a cycle. Lanes share operands: there is no
    network.
    """
    unroll = accelerator.unroll
    depthwise = (layers.groups > 1) & (layers.in_channels == layers.groups)
    channels = layers.in_channels // layers.groups
    position_folds = layers.batch * ceil_div(layers.out_h, unroll.out_h) * ceil_div(layers.out_w, unroll.out_w)
    channel_folds = ceil_div(layers.n, unroll.out_channels)
    kernel_folds = ceil_div(layers.kernel_h * layers.kernel_w, unroll.kernel)
    lane_folds = np.where(
        depthwise,
        layers.n * ceil_div(layers.groups, unroll.depthwise_channels),
        channel_folds * ceil_div(channels, unroll.in_channels) * layers.groups,
    )
    steps = position_folds * kernel_folds * ceil_div(lane_folds * mac.serial_cycles, mac.parallel_macs)
    cycles = np.ceil(steps / unroll.rate).astype(np.int64)
    ideal = layers.macs * mac.serial_cycles / mac.parallel_macs
    return ArrayCounts(
        cycles=cycles,
        mapping_efficiency=ideal / np.maximum(steps * float(unroll.units), 1.0),
        ifmap_reads=layers.m * layers.k * channel_folds * layers.groups,
        filter_reads=layers.k * layers.n * position_folds * layers.groups,
        ofmap_writes=layers.outputs,
        row_folds=position_folds,
        column_folds=channel_folds,
    )


def _explain(shape: LayerShape, device: Accelerator) -> DataflowFormulas:
    reference = "the folds of every loop that runs side by side (hwmodels.cost.unrolled)"
    positions = "batch * ceil(out_h / unroll_out_h) * ceil(out_w / unroll_out_w)"
    lanes = "ceil(n / unroll_out_channels) * ceil(in_channels / groups / unroll_in_channels) * groups"
    if shape.groups > 1 and shape.in_channels == shape.groups:
        lanes = "n * ceil(groups / unroll_depthwise_channels)"
    steps = f"{positions} * ceil(kernel_h * kernel_w / unroll_kernel) * ceil({lanes} * serial_cycles / parallel_macs)"
    depth = "min(k, parallel_macs * unroll_in_channels * unroll_kernel)"
    return DataflowFormulas(
        reference=reference,
        compute_cycles=Formula(f"ceil({steps} / unroll_rate)", reference),
        mapping_efficiency=Formula(
            f"macs * serial_cycles / parallel_macs / ({steps} * {name_units(device)})", reference
        ),
        ifmap_reads="m * k * ceil(n / unroll_out_channels) * groups",
        filter_reads=f"k * n * {positions} * groups",
        first_tile=(f"min(n, unroll_out_channels) * {depth}", f"min(m, unroll_out_h * unroll_out_w) * {depth}"),
    )


UNROLLED = DataflowModel(count=_count, passes=choose_in_place, first_tile=count_in_place_tile, formulas=_explain)
