"""Energy of `... x layers` layers: arithmetic, registers, network, buffers, memories, and what leaks meanwhile."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.arrays import FloatArray, IntArray
from hwmodels.cost.dataflow import ArrayCounts, OperandWidths
from hwmodels.cost.latency import buffer_bits
from hwmodels.cost.traffic import DramTraffic, SramTraffic
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import MacCost
from hwmodels.workload.layer_arrays import LayerArrays

PICOJOULES_PER_JOULE = 1e12
VECTOR_BITS = 8.0
"""Width to which a profile's energy of one vector operation refers; that of other widths is in proportion."""


class Energy(NamedTuple):
    """Energy in pJ, `... x layers`, the device's calibration factor included."""

    mac_pj: FloatArray
    """Arithmetic, idle units included where the profile says that they take energy."""
    register_pj: FloatArray
    network_pj: FloatArray
    """Words that move between elements of the array."""
    buffers_pj: tuple[FloatArray, ...]
    """One entry for each buffer of the device, in its order."""
    dram_weight_pj: FloatArray
    dram_activation_pj: FloatArray
    vector_pj: FloatArray
    static_pj: FloatArray
    sram_pj: FloatArray
    """The sum of the buffers."""
    dram_pj: FloatArray
    """The sum of the memories."""
    total_pj: FloatArray


def compute_energy(
    layers: LayerArrays,
    accelerator: Accelerator,
    widths: OperandWidths,
    mac: MacCost,
    counts: ArrayCounts,
    traffic: tuple[SramTraffic, DramTraffic],
    latency_cycles: IntArray,
) -> Energy:
    """Return the energy of each layer."""
    sram, dram = traffic
    factor = accelerator.energy_factor
    buffers = tuple(
        factor * (read * buffer.read_energy_pj_per_bit + written * buffer.write_energy_pj_per_bit)
        for buffer in accelerator.buffers
        for read, written in [buffer_bits(accelerator, buffer.name, sram, dram)]
    )
    sram_pj: FloatArray = np.zeros(1, dtype=np.float64)
    for each in buffers:
        sram_pj = sram_pj + each
    weights_pj, activations_pj = (
        factor * accelerator.find_memory(operand).energy_pj_per_bit for operand in ("weights", "inputs")
    )
    outputs_pj = factor * accelerator.find_memory("outputs").energy_pj_per_bit
    operand_pj = np.where(layers.stores_weights, weights_pj, activations_pj)
    dram_weight: FloatArray = np.multiply(dram.weight_bits, operand_pj)
    dram_activation: FloatArray = dram.input_bits * activations_pj + (dram.output_bits + dram.sum_bits) * outputs_pj
    dram_pj = dram_weight + dram_activation
    mac_pj = factor * _mac_pj(layers, accelerator, mac, counts)
    register_pj, network_pj = (factor * each for each in _array_pj(layers, accelerator, widths, counts))
    vector_pj: FloatArray = (factor * accelerator.vector.energy_pj_per_operation / VECTOR_BITS) * (
        layers.vector_operations * layers.input_bits
    )
    watts = factor * accelerator.static_power_w * PICOJOULES_PER_JOULE
    static_pj: FloatArray = latency_cycles * (watts / accelerator.clock_hz)
    total = mac_pj + register_pj + network_pj + sram_pj + dram_pj + vector_pj + static_pj
    return Energy(
        mac_pj,
        register_pj,
        network_pj,
        buffers,
        dram_weight,
        dram_activation,
        vector_pj,
        static_pj,
        sram_pj,
        dram_pj,
        total,
    )


def _mac_pj(layers: LayerArrays, accelerator: Accelerator, mac: MacCost, counts: ArrayCounts) -> FloatArray:
    """Return the energy of arithmetic: that of each MAC, and of units that have none while the array is busy."""
    busy: FloatArray = layers.macs * mac.energy_pj
    if not accelerator.idle_energy_share:
        return busy
    slots = counts.cycles * float(accelerator.units) * mac.macs_per_unit_cycle
    idle: FloatArray = np.maximum(slots - layers.macs, 0.0) * (mac.energy_pj * accelerator.idle_energy_share)
    return busy + idle


def _array_pj(
    layers: LayerArrays, accelerator: Accelerator, widths: OperandWidths, counts: ArrayCounts
) -> tuple[FloatArray, FloatArray]:
    """Return the energy of register files and of the network between the array's elements."""
    registers = accelerator.registers
    per_mac = registers.accesses_per_mac * registers.energy_pj_per_bit * accelerator.native_bits
    registers_pj: FloatArray = layers.macs * per_mac
    per_bit = accelerator.network_energy_pj_per_bit
    if not per_bit:
        return registers_pj, np.zeros(1)
    moved: IntArray = (
        counts.network_input_words * widths.inputs
        + counts.network_weight_words * widths.weights
        + counts.network_sum_words * accelerator.accumulator_bits
    )
    return registers_pj, np.asarray(moved * per_bit)
