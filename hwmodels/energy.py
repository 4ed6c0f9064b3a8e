"""Energy of `... x layers` layers: arithmetic, on-chip buffers, DRAM, and what leaks while they run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.accelerator import Accelerator
from hwmodels.arrays import FloatArray, IntArray
from hwmodels.precision import MacCost
from hwmodels.traffic import DramTraffic, SramTraffic

PICOJOULES_PER_JOULE = 1e12


class Energy(NamedTuple):
    """Energy in pJ, `... x layers`."""

    mac_pj: FloatArray
    sram_pj: FloatArray
    dram_pj: FloatArray
    static_pj: FloatArray

    @property
    def total_pj(self) -> FloatArray:
        """The sum of the four."""
        return self.mac_pj + self.sram_pj + self.dram_pj + self.static_pj


def energy(
    accelerator: Accelerator,
    macs: IntArray,
    mac: MacCost,
    traffic: tuple[SramTraffic, DramTraffic],
    latency_cycles: IntArray,
) -> Energy:
    """Return the energy of each layer.

    A buffer pays for what the array reads and writes, and for the other side too: what arrives from DRAM is
    written to it, and outputs on their way to DRAM are read from it.
    """
    sram, dram = traffic
    weights, inputs, outputs = (accelerator.buffer_of(operand) for operand in ("weights", "inputs", "outputs"))
    sram_pj = (
        sram.filter_read_bits * weights.read_energy_pj_per_bit
        + dram.weight_bits * weights.write_energy_pj_per_bit
        + sram.ifmap_read_bits * inputs.read_energy_pj_per_bit
        + dram.input_bits * inputs.write_energy_pj_per_bit
        + sram.ofmap_write_bits * outputs.write_energy_pj_per_bit
        + (sram.ofmap_read_bits + dram.output_bits) * outputs.read_energy_pj_per_bit
    )
    seconds = latency_cycles / accelerator.clock_hz
    return Energy(
        mac_pj=macs * mac.energy_pj,
        sram_pj=sram_pj,
        dram_pj=np.asarray(dram.total_bits * accelerator.dram_energy_pj_per_bit),
        static_pj=seconds * (accelerator.static_power_w * PICOJOULES_PER_JOULE),
    )
