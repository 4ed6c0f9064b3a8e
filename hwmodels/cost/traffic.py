"""Bits that move between memories, the on-chip buffers and the array, for `... x layers` layers.

Buffer accesses are the mapping's counts times the width that the buffers hold. The counts stream all positions
through each fold: what blocking adds to the array's own reads of its buffers is not counted. Memory traffic is the
size of each operand times how often the loops around it fetch it (`hwmodels.cost.tiling`), and never less than once:
what stays in a buffer between layers falls away afterwards (`hwmodels.cost.residency`). "DRAM" stands for whatever
memory is behind the buffers, also for an MCU's flash and SRAM.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.arrays import BoolArray, FloatArray, IntArray
from hwmodels.cost.dataflow import ArrayCounts, OperandWidths
from hwmodels.cost.mapping import DATAFLOW_MODELS
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import MacCost
from hwmodels.workload.layer import LAYER_KINDS
from hwmodels.workload.layer_arrays import LayerArrays

_NONE = np.zeros(1, dtype=np.int64)


class SramTraffic(NamedTuple):
    """Bits between the array or the vector unit and the buffers, `... x layers`."""

    ifmap_read_bits: IntArray
    filter_read_bits: IntArray
    ofmap_write_bits: IntArray
    ofmap_read_bits: IntArray
    """Partial sums that come back to be added to."""
    kept_bits: IntArray = _NONE
    """Outputs that move to the buffer that keeps them for later layers, rather than to memory."""


class DramTraffic(NamedTuple):
    """Bits between memories and the buffers, `... x layers`."""

    weight_bits: IntArray
    """Of stored weights, and of the second operand of a product of activations."""
    input_bits: IntArray
    output_bits: IntArray
    sum_bits: IntArray
    """Of sums that are read from memory to be added to."""
    weight_passes: IntArray
    input_passes: IntArray
    first_tile_weight_bits: IntArray
    first_tile_input_bits: IntArray
    """What must arrive before the array can start."""

    @property
    def total_bits(self) -> IntArray:
        """All memory traffic."""
        return self.weight_bits + self.input_bits + self.output_bits + self.sum_bits


def find_fused(layers: LayerArrays, accelerator: Accelerator) -> BoolArray:
    """Tell which layers work on results as they leave the array, without time or traffic of their own."""
    of_device = np.array([kind in accelerator.vector.fused for kind in LAYER_KINDS])
    flags: BoolArray = of_device[layers.kind] & layers.fusible
    return flags


def count_sram_traffic(
    layers: LayerArrays, accelerator: Accelerator, widths: OperandWidths, counts: ArrayCounts
) -> SramTraffic:
    """Return buffer accesses in bits: the mapping's counts times the width that the buffers hold.

    Sums are written at accumulator width by dataflows that add to them in the buffer; those that complete a sum
    where it is computed write each output once, at the job's output width.
    """
    ifmap = counts.ifmap_reads * widths.inputs
    filters = counts.filter_reads * widths.weights
    written = counts.ofmap_writes * (
        accelerator.accumulator_bits if DATAFLOW_MODELS[accelerator.dataflow].sums_in_buffer else layers.output_bits
    )
    if not layers.is_product.all():
        apart = ~(layers.is_product | find_fused(layers, accelerator))
        ifmap = ifmap + apart * (layers.inputs * layers.memory_input_bits)
        written = written + apart * (layers.outputs * layers.output_bits)
    return SramTraffic(ifmap, filters, written, counts.ofmap_reads * accelerator.accumulator_bits)


def count_dram_traffic(
    layers: LayerArrays,
    accelerator: Accelerator,
    widths: OperandWidths,
    counts: ArrayCounts,
    mac: MacCost,
    weight_bytes: IntArray,
) -> DramTraffic:
    """Return memory traffic in bits, given the weights' size in the smallest format that the device reads."""
    product = layers.is_product
    weight_bits = np.where(layers.stores_weights, weight_bytes * 8, layers.weights * layers.weight_bits)
    moves = product if product.all() else ~find_fused(layers, accelerator)
    input_bits = layers.inputs * layers.memory_input_bits * moves
    model = DATAFLOW_MODELS[accelerator.dataflow]
    weight_passes, input_passes = model.passes(layers, accelerator, widths, counts, (weight_bits, input_bits))
    if not product.all():
        weight_passes, input_passes = np.where(product, weight_passes, 1), np.where(product, input_passes, 1)
    by_sums = accelerator.output_traffic == "sums"
    sums = product * (layers.outputs * accelerator.accumulator_bits)
    outputs = layers.outputs * layers.output_bits * moves
    first_weights, first_inputs = model.first_tile(layers, accelerator, mac)
    per_weight: FloatArray = weight_bits / (layers.k * layers.n * layers.groups)
    first_weight_bits: IntArray = np.ceil(first_weights * per_weight).astype(np.int64)
    return DramTraffic(
        weight_bits=weight_bits * weight_passes,
        input_bits=input_bits * input_passes,
        output_bits=np.where(product, sums, outputs) if by_sums else outputs,
        sum_bits=sums if by_sums else np.zeros_like(sums),
        weight_passes=weight_passes,
        input_passes=input_passes,
        first_tile_weight_bits=np.minimum(first_weight_bits, weight_bits) * product,
        first_tile_input_bits=np.minimum(first_inputs * layers.memory_input_bits, input_bits) * product,
    )
