"""What the array does for each layer, whatever its dataflow: cycles, buffer accesses, words on its network."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.arrays import FloatArray, IntArray, IntLike
from hwmodels.cost.row_stationary import row_stationary_counts
from hwmodels.cost.systolic import UnitRates, closed_forms
from hwmodels.cost.unrolled import unrolled_counts
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import MacCost
from hwmodels.workload.layer_arrays import LayerArrays


class ArrayCounts(NamedTuple):
    """Counts of each layer, 0 for one without products; accesses in operand words, `... x layers`."""

    cycles: IntArray
    mapping_efficiency: FloatArray
    """Share of the array that has work while a fold runs, 0 to 1."""
    utilisation: FloatArray
    """Achieved share of the array's peak rate at the layer's widths, fill and drain included, 0 to 1."""
    ifmap_reads: IntArray
    filter_reads: IntArray
    ofmap_writes: IntArray
    ofmap_reads: IntArray
    """Partial sums that come back to be added to."""
    network_input_words: IntArray
    network_weight_words: IntArray
    network_sum_words: IntArray
    row_folds: IntArray
    column_folds: IntArray


_LATER = np.zeros(1)
"""Stands for the utilisation, which `array_counts` works out for every dataflow alike."""


def array_counts(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> ArrayCounts:
    """Return what the accelerator's array does for each layer."""
    counts = _COUNTS[accelerator.dataflow](layers, accelerator, mac)
    product = layers.is_product
    peak = mac.parallel_macs * np.maximum(counts.cycles, 1) * float(accelerator.units)
    rate = accelerator.unroll.rate if accelerator.dataflow == "unrolled" else 1.0
    utilisation = layers.macs * mac.serial_cycles / (peak * rate)
    efficiency = np.where(product, counts.mapping_efficiency, 0.0)
    whole = {
        field: getattr(counts, field) * product
        for field in counts._fields
        if field not in ("mapping_efficiency", "utilisation", "row_folds", "column_folds")
    }
    for operand, reads in (("inputs", "ifmap_reads"), ("weights", "filter_reads")):
        if accelerator.find_buffer(operand).read_by == "unit":
            whole[reads] = layers.macs * 1
    return counts._replace(mapping_efficiency=efficiency, utilisation=utilisation, **whole)


def _systolic(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> ArrayCounts:
    """Return the closed forms' counts; operands that move on from unit to unit do so once for each MAC."""
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
        UnitRates(layers.groups, positions, mac.parallel_macs, mac.serial_cycles, accelerator.pipelined_folds),
    )
    moving = {"os": ("inputs", "weights"), "ws": ("inputs", "sums"), "is": ("weights", "sums")}[accelerator.dataflow]
    none = np.zeros_like(layers.macs)
    writes = counts.ofmap_sram_writes
    return ArrayCounts(
        cycles=counts.cycles,
        mapping_efficiency=counts.mapping_efficiency,
        utilisation=_LATER,
        ifmap_reads=counts.ifmap_sram_reads,
        filter_reads=counts.filter_sram_reads,
        ofmap_writes=writes,
        ofmap_reads=none if accelerator.dataflow == "os" else writes - layers.outputs,
        network_input_words=layers.macs if "inputs" in moving else none,
        network_weight_words=layers.macs if "weights" in moving else none,
        network_sum_words=layers.macs if "sums" in moving else none,
        row_folds=counts.row_folds,
        column_folds=counts.column_folds,
    )


def _row_stationary(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> ArrayCounts:
    """Return the counts of the row-stationary dataflow; sums are complete when they leave the registers."""
    counts = row_stationary_counts(layers, accelerator, mac)
    one, none = np.ones_like(counts.cycles), np.zeros_like(counts.cycles)
    return ArrayCounts(
        cycles=counts.cycles,
        mapping_efficiency=counts.mapping_efficiency,
        utilisation=_LATER,
        ifmap_reads=counts.input_reads,
        filter_reads=counts.weight_reads,
        ofmap_writes=layers.outputs,
        ofmap_reads=none,
        network_input_words=counts.network_input_words,
        network_weight_words=counts.network_weight_words,
        network_sum_words=counts.network_sum_words,
        row_folds=one,
        column_folds=one,
    )


def _unrolled(layers: LayerArrays, accelerator: Accelerator, mac: MacCost) -> ArrayCounts:
    """Return the counts of an engine of unrolled loops; its lanes share operands without a network."""
    counts = unrolled_counts(layers, accelerator.unroll, mac)
    none = np.zeros_like(counts.cycles)
    return ArrayCounts(
        cycles=counts.cycles,
        mapping_efficiency=counts.mapping_efficiency,
        utilisation=_LATER,
        ifmap_reads=counts.ifmap_reads,
        filter_reads=counts.filter_reads,
        ofmap_writes=layers.outputs,
        ofmap_reads=none,
        network_input_words=none,
        network_weight_words=none,
        network_sum_words=none,
        row_folds=counts.position_folds,
        column_folds=counts.channel_folds,
    )


_COUNTS = {**dict.fromkeys(("os", "ws", "is"), _systolic), "rs": _row_stationary, "unrolled": _unrolled}
