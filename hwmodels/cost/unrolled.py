"""Cycles and accesses of an engine that runs a fixed piece of the loops side by side, and of a processor.

Neural processing units other than systolic arrays, and SIMD processors, are described by how much of each loop one
step takes (`hwmodels.device.parts.Unroll`): sizes that do not divide leave lanes empty. Sums stay in the lanes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.arrays import FloatArray, IntArray, ceil_div
from hwmodels.device.parts import Unroll
from hwmodels.device.precision import MacCost
from hwmodels.workload.layer_arrays import LayerArrays


class UnrolledCounts(NamedTuple):
    """Counts of each layer; accesses in operand words, `... x layers`."""

    cycles: IntArray
    mapping_efficiency: FloatArray
    ifmap_reads: IntArray
    filter_reads: IntArray
    position_folds: IntArray
    channel_folds: IntArray


def unrolled_counts(layers: LayerArrays, unroll: Unroll, mac: MacCost) -> UnrolledCounts:
    """Return cycles and buffer reads: inputs are read once for each fold of channels, weights for each of positions.

    Steps are the product of all loops' folds; `rate` of them are done in a cycle.
    """
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
    return UnrolledCounts(
        cycles=cycles,
        mapping_efficiency=ideal / np.maximum(steps * float(unroll.units), 1.0),
        ifmap_reads=layers.m * layers.k * channel_folds * layers.groups,
        filter_reads=layers.k * layers.n * position_folds * layers.groups,
        position_folds=position_folds,
        channel_folds=channel_folds,
    )
