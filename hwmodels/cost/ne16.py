"""Cycles of NE16, an engine that takes an output tile's input slices one by one and their weights bit by bit.

A tile has `unroll.out_h * unroll.out_w` positions (3 x 3) of 32 output channels, or of `unroll.depthwise_channels` (16)
where each channel has a kernel of its own; a slice has `unroll.in_channels` (16). For each slice, inputs are loaded,
the weights' offset is added, and one output channel after the other is multiplied. Once for each tile, sums are
normalised, quantised and streamed out. Only the products of kernels of several elements depend on the weights' width:
the rows of the engine take the elements of such a kernel side by side (larger ones in several passes), or else the
bits of one weight. Engine cycles alone: transfers and the start of a layer are the device's.

Source: the performance model of NE16 in DORY (Burrello et al., 2021), which PLiNIO has, too. Kernels other than 3 x 3
and 1 x 1, inputs wider than 8 bits and several filters for each channel take as many passes as they need: assumed.
"""

from __future__ import annotations

import numpy as np

from hwmodels.arrays import BoolArray, ceil_div
from hwmodels.cost.citation import name_units
from hwmodels.cost.dataflow import ArrayCounts, DataflowFormulas, DataflowModel, Formula
from hwmodels.cost.tiling import choose_in_place, count_in_place_tile
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import MacCost
from hwmodels.workload.layer import LayerShape
from hwmodels.workload.layer_arrays import LayerArrays

_SUM_CHANNELS = 32
"""Output channels whose sums a tile keeps."""
_FIFO = 6
_LOAD_WINDOW = _FIFO + 5 * 5
"""Inputs of a 3 x 3 tile with the border that a 3 x 3 kernel reads."""
_LOAD_POINT = 10 + 3 * 3
_SLICE = _FIFO + _FIFO + 2
"""Weight offset, start of the products, next slice."""
_TILE = 9 + 8 + (3 + 3 * 3 + 1)
"""Start of normalisation (scale and bias), and streaming out."""
_BIASES = 8
"""Added in a cycle."""


def _count(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> ArrayCounts:
    """Return the engine's cycles, and reads as from the edge of unrolled loops: inputs once for each tile of channels.

    Full tiles have a whole number of biases a cycle, so that the sum over tiles is a closed form.
    """
    unroll = accelerator.unroll
    depthwise = _is_depthwise(layers)
    window = layers.kernel_h * layers.kernel_w
    point = (window == 1) & ~depthwise
    position_folds = layers.batch * ceil_div(layers.out_h, unroll.out_h) * ceil_div(layers.out_w, unroll.out_w)
    # Depthwise, a tile's channels are groups, once for each filter of a group; else groups run one after the other.
    channels = np.where(depthwise, layers.groups, layers.n)
    repeats = np.where(depthwise, layers.n, layers.groups)
    tiles = np.where(depthwise, ceil_div(layers.groups, unroll.depthwise_channels), ceil_div(layers.n, _SUM_CHANNELS))
    slices = np.where(depthwise, 1, ceil_div(layers.in_channels // layers.groups, unroll.in_channels))
    steps = np.where(depthwise, channels, ceil_div(channels, unroll.out_channels))
    point_cycles = np.maximum(
        ceil_div(layers.input_bits, accelerator.native_bits),
        ceil_div(mac.serial_cycles, mac.parallel_macs * unroll.kernel),
    )
    products = np.where(point, steps * point_cycles, ceil_div(steps * mac.serial_cycles, mac.parallel_macs))
    start = np.where(point, _LOAD_POINT, _LOAD_WINDOW) + _SLICE
    once = tiles * _TILE + channels + ceil_div(channels, _BIASES) + depthwise * channels
    runs = position_folds * ceil_div(window, unroll.kernel) * repeats
    cycles = np.ceil(runs * (slices * (tiles * start + products) + once) / unroll.rate).astype(np.int64)
    ideal = layers.macs * mac.serial_cycles / mac.parallel_macs
    return ArrayCounts(
        cycles=cycles,
        mapping_efficiency=ideal / np.maximum(runs * slices * products * float(unroll.units), 1.0),
        ifmap_reads=layers.m * layers.k * ceil_div(layers.n, _SUM_CHANNELS) * layers.groups,
        filter_reads=layers.k * layers.n * position_folds * layers.groups,
        ofmap_writes=layers.outputs,
        row_folds=position_folds,
        column_folds=ceil_div(layers.n, _SUM_CHANNELS),
    )


def _explain(shape: LayerShape, device: Accelerator) -> DataflowFormulas:
    reference = "tiles and slices of NE16's published cycle model, dory_tc2021 (hwmodels.cost.ne16)"
    positions = "batch * ceil(out_h / unroll_out_h) * ceil(out_w / unroll_out_w)"
    runs = f"{positions} * ceil(kernel_h * kernel_w / unroll_kernel)"
    if shape.groups > 1 and shape.in_channels == shape.groups:
        runs, tiles, slices = f"{runs} * n", "ceil(groups / unroll_depthwise_channels)", "1"
        start, products = _LOAD_WINDOW + _SLICE, "ceil(groups * serial_cycles / parallel_macs)"
        once = f"{tiles} * {_TILE} + groups + ceil(groups / {_BIASES}) + groups"
    else:
        runs, tiles = f"{runs} * groups", f"ceil(n / {_SUM_CHANNELS})"
        slices, steps = "ceil(in_channels / groups / unroll_in_channels)", "ceil(n / unroll_out_channels)"
        start, products = _LOAD_WINDOW + _SLICE, f"ceil({steps} * serial_cycles / parallel_macs)"
        if shape.kernel_h * shape.kernel_w == 1:
            bits = "max(ceil(input_bits / native_bits), ceil(serial_cycles / (parallel_macs * unroll_kernel)))"
            start, products = _LOAD_POINT + _SLICE, f"{steps} * {bits}"
        once = f"{tiles} * {_TILE} + n + ceil(n / {_BIASES})"
    depth = "min(k, parallel_macs * unroll_in_channels * unroll_kernel)"
    return DataflowFormulas(
        reference=reference,
        compute_cycles=Formula(
            f"ceil({runs} * ({slices} * ({tiles} * {start} + {products}) + {once}) / unroll_rate)", reference
        ),
        mapping_efficiency=Formula(
            f"macs * serial_cycles / parallel_macs / ({runs} * {slices} * {products} * {name_units(device)})", reference
        ),
        ifmap_reads=f"m * k * ceil(n / {_SUM_CHANNELS}) * groups",
        filter_reads=f"k * n * {positions} * groups",
        first_tile=(f"min(n, unroll_out_channels) * {depth}", f"min(m, unroll_out_h * unroll_out_w) * {depth}"),
    )


def _is_depthwise(layers: LayerArrays) -> BoolArray:
    depthwise: BoolArray = (layers.groups > 1) & (layers.in_channels == layers.groups)
    return depthwise


def _keep_time(layers: LayerArrays) -> BoolArray:
    """Tell which layers have a single weight for each pair of channels: its bits are taken side by side."""
    same: BoolArray = layers.is_product & (layers.kernel_h * layers.kernel_w == 1) & ~_is_depthwise(layers)
    return same


NE16 = DataflowModel(
    count=_count, passes=choose_in_place, first_tile=count_in_place_tile, formulas=_explain, keep_time=_keep_time
)
