"""Clock cycles of `... x layers` layers, and what each of them waits for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.arrays import BoolArray, IntArray
from hwmodels.cost.dataflow import ArrayCounts
from hwmodels.cost.traffic import DramTraffic, SramTraffic, find_fused
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.parts import Memory
from hwmodels.workload.layer import LAYER_KINDS
from hwmodels.workload.layer_arrays import LayerArrays

_POOL = LAYER_KINDS.index("pool")
BOUNDS = ("compute", "sram", "dram", "decoder")


class Latency(NamedTuple):
    """Cycles by cause, `... x layers`: latency = overhead + first tile + max(compute, sram, rest of dram)."""

    compute_cycles: IntArray
    """Of the array, or of the vector unit for a layer without products."""
    sram_cycles: IntArray
    """What the slowest buffer needs for its traffic; 0 where no bandwidth is stated."""
    dram_cycles: IntArray
    """What the slowest memory needs for its traffic."""
    first_tile_cycles: IntArray
    """What the array waits for before it can start; part of the memory's cycles."""
    overhead_cycles: IntArray
    """Of starting a layer; a fused one has none."""
    latency_cycles: IntArray
    waits_for_decoder: BoolArray
    """Whether decoding the weights takes longer than the array's steps and than writing the results."""

    @property
    def bound(self) -> IntArray:
        """Index into BOUNDS of what takes longest beside the first tile; computing before the others in a tie."""
        longest = np.maximum(self.compute_cycles, self.sram_cycles)
        rest = self.dram_cycles - self.first_tile_cycles
        computing = np.where(self.waits_for_decoder, 3, 0)
        index: IntArray = np.where(rest > longest, 2, np.where(self.sram_cycles > self.compute_cycles, 1, computing))
        return index


def compute_latency(
    layers: LayerArrays, accelerator: Accelerator, counts: ArrayCounts, traffic: tuple[SramTraffic, DramTraffic]
) -> Latency:
    """Return the cycles of each layer, all transfers double buffered: only the first tile's is waited for."""
    sram, dram = traffic
    compute = counts.cycles
    if not layers.is_product.all():
        unit = accelerator.vector
        rates = (unit.operations_per_cycle, unit.pool_operations_per_cycle or unit.operations_per_cycle)
        rate = np.where(layers.kind == _POOL, rates[1], rates[0])
        operations = np.ceil(layers.vector_operations / rate).astype(np.int64)
        compute = compute + operations * ~find_fused(layers, accelerator)
    dram_cycles, first_tile = _memory_cycles(layers, accelerator, dram)
    sram_cycles = _buffer_cycles(accelerator, sram, dram)
    # The first tile is part of the memory's traffic: what remains of that runs beside the computation.
    waited = np.maximum(np.maximum(compute, sram_cycles), dram_cycles - first_tile) + first_tile
    overhead = np.where(find_fused(layers, accelerator), 0, accelerator.layer_overhead_cycles)
    decodes = counts.decoder_cycles > np.maximum(counts.array_cycles, counts.writing_cycles)
    return Latency(compute, sram_cycles, dram_cycles, first_tile, overhead, waited + overhead, decodes)


def _memory_cycles(layers: LayerArrays, accelerator: Accelerator, dram: DramTraffic) -> tuple[IntArray, IntArray]:
    """Return the cycles of the slowest memory for all traffic, and of the slowest for the first tile."""
    slowest: IntArray = np.zeros(1, dtype=np.int64)
    first: IntArray = slowest
    for memory in accelerator.memories:
        bits, start = memory_bits(layers, memory, dram)
        rate = accelerator.bits_per_cycle(memory)
        cycles = _cycles(bits, rate) + _overflow_cycles(layers, accelerator, memory, dram)
        slowest, first = np.maximum(slowest, cycles), np.maximum(first, _cycles(start, rate))
    return slowest, first


def _overflow_cycles(layers: LayerArrays, accelerator: Accelerator, memory: Memory, dram: DramTraffic) -> IntArray:
    """Return the cycles more that weights beyond a memory's size take, shared out over the layers by their weights."""
    slower = memory.overflow_bandwidth_bits_per_s / accelerator.clock_hz
    if not slower or "weights" not in memory.operands:
        return np.zeros(1, dtype=np.int64)
    moved = dram.weight_bits * layers.stores_weights
    kept = np.sum(moved // dram.weight_passes, axis=-1, keepdims=True)
    excess = np.maximum(1.0 - memory.size_bytes * 8 / np.maximum(kept, 1), 0.0)
    more: IntArray = np.ceil(moved * excess * (1.0 / slower - 1.0 / accelerator.bits_per_cycle(memory))).astype(
        np.int64
    )
    return np.maximum(more, 0)


def memory_bits(layers: LayerArrays, memory: Memory, dram: DramTraffic) -> tuple[IntArray, IntArray]:
    """Return the bits that one memory moves for all traffic, and for the first tile.

    The second operand of a product of activations is kept where the inputs are.
    """
    stored = layers.stores_weights
    bits: IntArray = np.zeros(1, dtype=np.int64)
    start: IntArray = bits
    if "weights" in memory.operands:
        bits, start = bits + dram.weight_bits * stored, start + dram.first_tile_weight_bits * stored
    if "inputs" in memory.operands:
        bits = bits + dram.input_bits + dram.weight_bits * ~stored
        start = start + dram.first_tile_input_bits + dram.first_tile_weight_bits * ~stored
    if "outputs" in memory.operands:
        bits = bits + dram.output_bits + dram.sum_bits
    return bits, start


def buffer_bits(accelerator: Accelerator, name: str, sram: SramTraffic, dram: DramTraffic) -> tuple[IntArray, IntArray]:
    """Return the bits (read, written) of one buffer: by the array, and by the memories on the other side.

    What arrives from memory is written to a buffer, and outputs on their way to memory, or to the buffer that keeps
    them, are read from it.
    """
    read: IntArray = np.zeros(1, dtype=np.int64)
    written: IntArray = read
    keeper, source = accelerator.map_buffer, accelerator.find_buffer("outputs")
    if keeper is not None and keeper is not source:
        read, written = read + sram.kept_bits * (source.name == name), written + sram.kept_bits * (keeper.name == name)
    if accelerator.find_buffer("weights").name == name:
        read, written = read + sram.filter_read_bits, written + dram.weight_bits
    if accelerator.find_buffer("inputs").name == name:
        read, written = read + sram.ifmap_read_bits, written + dram.input_bits
    if accelerator.find_buffer("outputs").name == name:
        read = read + sram.ofmap_read_bits + dram.output_bits
        written = written + sram.ofmap_write_bits + dram.sum_bits
    return read, written


def _buffer_cycles(accelerator: Accelerator, sram: SramTraffic, dram: DramTraffic) -> IntArray:
    """Return the cycles of the slowest buffer whose bandwidth is stated; reads and writes share it."""
    slowest: IntArray = np.zeros(1, dtype=np.int64)
    for buffer in accelerator.buffers:
        if buffer.bandwidth_bits_per_cycle:
            read, written = buffer_bits(accelerator, buffer.name, sram, dram)
            slowest = np.maximum(slowest, _cycles(read + written, buffer.bandwidth_bits_per_cycle))
    return slowest


def _cycles(bits: IntArray, bits_per_cycle: float) -> IntArray:
    """Return the clock cycles for so many bits, rounded up."""
    cycles: IntArray = np.ceil(bits / bits_per_cycle).astype(np.int64)
    return cycles
