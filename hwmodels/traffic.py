"""Bits that move between DRAM, the on-chip buffers and the array, for `... x layers` layers.

SRAM accesses are the closed forms' counts times the width that the buffers hold. The closed forms stream all
positions through each fold: what blocking adds to the array's own reads of its buffers is not counted. DRAM
traffic is the size of each operand times how often the loops around it fetch it (see `hwmodels.tiling`), and
never less than once. No layer finds its inputs on the chip: reuse between layers is not credited.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.accelerator import Accelerator
from hwmodels.arrays import FloatArray, IntArray
from hwmodels.layer import LayerArrays
from hwmodels.precision import MacCost
from hwmodels.systolic import SystolicCounts
from hwmodels.tiling import OperandWidths, cheapest, fetch_options


class SramTraffic(NamedTuple):
    """Bits between the array and the buffers, `... x layers`."""

    ifmap_read_bits: IntArray
    filter_read_bits: IntArray
    ofmap_write_bits: IntArray
    ofmap_read_bits: IntArray
    """Partial sums that come back to be added to (ws and is only)."""


class DramTraffic(NamedTuple):
    """Bits between DRAM and the buffers, `... x layers`."""

    weight_bits: IntArray
    input_bits: IntArray
    output_bits: IntArray
    weight_passes: IntArray
    input_passes: IntArray
    first_tile_bits: IntArray
    """What must arrive before the array can start."""

    @property
    def total_bits(self) -> IntArray:
        """All DRAM traffic."""
        return self.weight_bits + self.input_bits + self.output_bits


def sram_traffic(
    layers: LayerArrays, accelerator: Accelerator, widths: OperandWidths, counts: SystolicCounts
) -> SramTraffic:
    """Return SRAM accesses in bits: the systolic counts times the width that the buffers hold.

    Sums are written at accumulator width by ws and is, and each one but the first is added to what was
    there; os writes each output once, at the job's output width.
    """
    ifmap = counts.ifmap_sram_reads * widths.inputs
    filters = counts.filter_sram_reads * widths.weights
    if accelerator.dataflow == "os":
        written = counts.ofmap_sram_writes * layers.output_bits
        return SramTraffic(ifmap, filters, written, np.zeros_like(written))
    written = counts.ofmap_sram_writes * accelerator.accumulator_bits
    read = (counts.ofmap_sram_writes - layers.outputs) * accelerator.accumulator_bits
    return SramTraffic(ifmap, filters, written, read)


def dram_traffic(
    layers: LayerArrays,
    accelerator: Accelerator,
    widths: OperandWidths,
    counts: SystolicCounts,
    mac: MacCost,
    weight_bytes: IntArray,
) -> DramTraffic:
    """Return DRAM traffic in bits, given the weights' size in the smallest format that the device reads."""
    weight_bits = weight_bytes * 8
    input_bits = layers.inputs * layers.memory_input_bits
    options = fetch_options(layers, accelerator, widths, counts)
    weight_passes, input_passes = cheapest(options, weight_bits, input_bits)
    first_tile = _first_tile_bits(layers, accelerator, mac, weight_bits)
    return DramTraffic(
        weight_bits=weight_bits * weight_passes,
        input_bits=input_bits * input_passes,
        output_bits=layers.outputs * layers.output_bits,
        weight_passes=weight_passes,
        input_passes=input_passes,
        first_tile_bits=np.minimum(first_tile, weight_bits + input_bits),
    )


def _first_tile_bits(layers: LayerArrays, accelerator: Accelerator, mac: MacCost, weight_bits: IntArray) -> IntArray:
    """Return the DRAM bits that the first fold needs to start: its stationary tile and one streamed vector.

    An output-stationary array starts with the first element of every row and column.
    """
    per_weight: FloatArray = weight_bits / (layers.k * layers.n * layers.groups)
    if accelerator.dataflow == "os":
        positions, channels = (
            np.minimum(layers.m, accelerator.rows),
            np.minimum(layers.n, accelerator.columns),
        )
        depth = np.minimum(layers.k, mac.parallel_macs)
        tile = positions * depth * layers.memory_input_bits + channels * depth * per_weight
    else:
        depth = np.minimum(layers.k, accelerator.rows * mac.parallel_macs)
        across = np.minimum(layers.n if accelerator.dataflow == "ws" else layers.m, accelerator.columns)
        weights_across, inputs_across = (across, 1) if accelerator.dataflow == "ws" else (1, across)
        tile = depth * (weights_across * per_weight + inputs_across * layers.memory_input_bits)
    return np.ceil(tile).astype(np.int64)
