"""Cycles and accesses of the row-stationary dataflow of Eyeriss (Chen et al., ISCA 2016 and JSSC 2017).

A set of `kernel_h x e` elements computes e output rows of one filter and one channel: an element holds one row of
the kernel and slides it along one row of the input, and sums pass up its column of the set. As many sets run
side by side as the array holds. Buffers and registers are each taken as one pool, as Gao et al. do (ASPLOS 2017):
half of it keeps a block of sums until they are complete, inputs and weights stream through the other half.
"""

from __future__ import annotations

import numpy as np

from hwmodels.arrays import IntLike, ceil_div
from hwmodels.cost.dataflow import ArrayCounts, DataflowFormulas, DataflowModel, Formula, OperandWidths, WeightsInputs
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import MacCost
from hwmodels.workload.layer import LARGEST_EXACT, LayerShape
from hwmodels.workload.layer_arrays import LayerArrays

CHANNEL_BLOCKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)
"""Into how many blocks the channels may be cut (assumed: published mappings use such small numbers)."""


def _count(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> ArrayCounts:
    """Return cycles, buffer reads and words on the array's network.

    Time is that of the sets' work plus, whenever new weights enter the registers, a fill of kernel_w + kernel_h
    cycles until the first sum has passed up the set. An element does one MAC at a time, also where the device's
    precision law would let a unit do several. On the network a weight takes one row's bus, an input the
    buses of the kernel_h / stride_h rows that use it, and a sum hops kernel_h - 1 times. Sums are complete when they
    leave the registers.
    """
    rows, columns = accelerator.rows, accelerator.columns
    channels = layers.in_channels // layers.groups
    kernel_rows = np.minimum(layers.kernel_h, rows)
    strips = ceil_div(layers.out_h, columns)
    output_rows = ceil_div(layers.out_h, strips)
    sets = (rows // kernel_rows) * (columns // output_rows)
    units = strips * layers.n * channels * layers.groups * layers.batch * ceil_div(layers.kernel_h, rows)
    work = ceil_div(units, sets) * layers.out_w * layers.kernel_w * ceil_div(mac.serial_cycles, mac.parallel_macs)

    weights, inputs = layers.k * layers.n, layers.inputs // layers.groups
    pool = min(accelerator.registers.words * rows * columns // 2, LARGEST_EXACT)
    weight_passes, input_passes = choose_sum_blocks(layers.m, layers.n, weights, inputs, pool)
    elements = ceil_div(weights, sets * kernel_rows)
    refills = ceil_div(elements, accelerator.registers.words // 2) * weight_passes * layers.groups
    cycles = work + refills * (layers.kernel_w + layers.kernel_h)

    weight_reads, input_reads = weights * weight_passes * layers.groups, inputs * input_passes * layers.groups
    busy = layers.macs * ceil_div(mac.serial_cycles, mac.parallel_macs)
    return ArrayCounts(
        cycles=cycles,
        mapping_efficiency=busy / np.maximum(work * float(rows * columns), 1.0),
        ifmap_reads=input_reads,
        filter_reads=weight_reads,
        ofmap_writes=layers.outputs,
        network_weight_words=weight_reads,
        network_input_words=input_reads * np.minimum(ceil_div(layers.kernel_h, layers.stride_h), layers.out_h),
        network_sum_words=layers.outputs * (layers.kernel_h - 1),
    )


def choose_sum_blocks(m: IntLike, n: IntLike, weights: IntLike, inputs: IntLike, sums_kept: IntLike) -> WeightsInputs:
    """Return how often (weights, inputs) stream past when blocks of at most `sums_kept` sums stay until complete.

    A product of m positions and n channels is cut into blocks of positions, for each of which all weights pass, and
    blocks of channels, for each of which all inputs pass; the least traffic over CHANNEL_BLOCKS and one channel at a
    time is taken. The choices do not depend on `sums_kept`, so that keeping more never adds traffic. Sizes are those
    of one group, in any unit that both operands share.
    """
    kept = np.maximum(np.asarray(sums_kept, np.int64), 1)
    weight_passes, input_passes = ceil_div(m, kept), np.asarray(n, dtype=np.int64)
    least = weight_passes * weights + input_passes * inputs
    for blocks in CHANNEL_BLOCKS:
        channels = ceil_div(n, blocks)
        weights_again = ceil_div(m, np.maximum(kept // channels, 1))
        inputs_again = ceil_div(n, channels)
        traffic = weights_again * weights + inputs_again * inputs
        less = (channels <= kept) & (traffic < least)
        weight_passes = np.where(less, weights_again, weight_passes)
        input_passes = np.where(less, inputs_again, input_passes)
        least = np.where(less, traffic, least)
    return weight_passes, input_passes


def _choose_passes(
    layers: LayerArrays, accelerator: Accelerator, _: OperandWidths, __: ArrayCounts, pass_bits: WeightsInputs
) -> WeightsInputs:
    """Return the passes with half of the buffer of sums in use."""
    sums_kept = accelerator.find_buffer("outputs").size_bytes * 8 // 2 // accelerator.accumulator_bits
    return choose_sum_blocks(layers.m, layers.n, *pass_bits, sums_kept)


def _count_first_tile(layers: LayerArrays, accelerator: Accelerator, _: MacCost) -> WeightsInputs:
    """Return the kernel rows of a set, and their windows."""
    window = np.minimum(layers.kernel_h, accelerator.rows) * layers.kernel_w
    return window, window


def _explain(_: LayerShape, __: Accelerator) -> DataflowFormulas:
    reference = "row-stationary sets: eyeriss_jssc2017, blocked as in tetris_asplos2017 (hwmodels.cost.row_stationary)"
    sets = "floor(rows / min(kernel_h, rows)) * floor(columns / ceil(out_h / ceil(out_h / columns)))"
    work = (
        f"ceil(ceil(out_h / columns) * n * in_channels * batch * ceil(kernel_h / rows) / ({sets})) "
        "* out_w * kernel_w * ceil(serial_cycles / parallel_macs)"
    )
    refills = f"ceil(k * n / ({sets} * min(kernel_h, rows) * floor(registers_words / 2))) * register_weight_passes"
    ifmap_reads, filter_reads = "inputs * register_input_passes", "k * n * groups * register_weight_passes"
    return DataflowFormulas(
        reference=reference,
        compute_cycles=Formula(f"{work} + {refills} * groups * (kernel_w + kernel_h)", reference),
        mapping_efficiency=Formula(
            f"macs * ceil(serial_cycles / parallel_macs) / ({work} * rows * columns)", reference
        ),
        ifmap_reads=ifmap_reads,
        filter_reads=filter_reads,
        first_tile=("min(kernel_h, rows) * kernel_w", "min(kernel_h, rows) * kernel_w"),
        network_bits=(
            f"({filter_reads} * held_weight_bits + {ifmap_reads} * min(ceil(kernel_h / stride_h), out_h) * "
            "held_input_bits + outputs * (kernel_h - 1) * accumulator_bits)"
        ),
    )


ROW_STATIONARY = DataflowModel(count=_count, passes=_choose_passes, first_tile=_count_first_tile, formulas=_explain)
