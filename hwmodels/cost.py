"""The cost of a network on an accelerator: energy, latency, storage and traffic, by layer and in sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from hwmodels.accelerator import Accelerator
from hwmodels.arrays import FloatArray, IntArray
from hwmodels.energy import Energy, energy
from hwmodels.errors import LayerError
from hwmodels.layer import ActivationTensor, LayerArrays, LayerJob, layer_arrays
from hwmodels.memory import WEIGHT_FORMATS, StoredWeights, peak_activation_bytes, stored_weights
from hwmodels.notes import network_notes
from hwmodels.precision import LAWS, MacCost
from hwmodels.systolic import SystolicCounts, systolic_counts
from hwmodels.tiling import OperandWidths
from hwmodels.traffic import DramTraffic, SramTraffic, dram_traffic, sram_traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost:
    """What one layer costs; energies in pJ, traffic in bits, times in clock cycles.

    `latency_cycles` is double buffered: once the first tile has arrived, the longer of compute and the rest of DRAM.
    `ofmap_sram_bits` counts writes and the partial sums that are read back. `weight_bytes` is the storage
    in the smallest format, `weight_format`, whether or not the device can read that one.
    """

    name: str
    macs: int
    compute_cycles: int
    dram_cycles: int
    latency_cycles: int
    bound: Literal["compute", "dram"]
    mapping_efficiency: float
    utilisation: float
    ifmap_sram_bits: int
    filter_sram_bits: int
    ofmap_sram_bits: int
    dram_weight_bits: int
    dram_input_bits: int
    dram_output_bits: int
    mac_pj: float
    sram_pj: float
    dram_pj: float
    static_pj: float
    energy_pj: float
    weight_bytes: int
    weight_format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCost:
    """What one inference of a network costs; layers run one after another.

    `peak_activation_bytes` is 0 when no activation tensors were given. `notes` say in words what the numbers
    alone would hide, such as widths that bring nothing on this device.
    """

    energy_pj: float
    latency_cycles: int
    latency_s: float
    weight_bytes: int
    peak_activation_bytes: int
    dram_bits: int
    macs: int
    layers: tuple[LayerCost, ...]
    notes: tuple[str, ...]

    @property
    def energy_uj(self) -> float:
        """Energy in microjoules."""
        return self.energy_pj * 1e-6

    @property
    def latency_ms(self) -> float:
        """Latency in milliseconds."""
        return self.latency_s * 1e3


class NetworkTotals(NamedTuple):
    """Sums over the layers, of the leading axes' shape (one number each for a single network)."""

    energy_pj: FloatArray
    latency_cycles: IntArray
    latency_s: FloatArray
    weight_bytes: IntArray
    dram_bits: IntArray
    macs: IntArray


class LayerTerms(NamedTuple):
    """Every term of the cost, as arrays of shape `... x layers`."""

    mac: MacCost
    counts: SystolicCounts
    stored: StoredWeights
    sram: SramTraffic
    dram: DramTraffic
    dram_cycles: IntArray
    latency_cycles: IntArray
    energy: Energy


def evaluate(
    jobs: Sequence[LayerJob], accelerator: Accelerator, tensors: Sequence[ActivationTensor] = ()
) -> NetworkCost:
    """Return the cost of running the layers in order, one image, on the accelerator.

    Grouped convolutions run group by group. Density below 1 shrinks storage, and traffic where the device
    reads the format; it saves neither MACs nor time, since the array does not skip zeros.

    Raises:
        LayerError: there is no layer, or an operand is wider than the device takes.
    """
    layers = layer_arrays(jobs)
    names = [job.shape.name for job in jobs]
    terms = layer_terms(layers, accelerator, names)
    costs = _layer_costs(names, layers, terms)
    latency_cycles = int(terms.latency_cycles.sum())
    peak_bytes = peak_activation_bytes(tensors)
    return NetworkCost(
        energy_pj=float(terms.energy.total_pj.sum()),
        latency_cycles=latency_cycles,
        latency_s=latency_cycles / accelerator.clock_hz,
        weight_bytes=int(terms.stored.smallest_bytes.sum()),
        peak_activation_bytes=peak_bytes,
        dram_bits=int(terms.dram.total_bits.sum()),
        macs=int(layers.macs.sum()),
        layers=costs,
        notes=network_notes(names, layers, accelerator, terms.stored, terms.dram, peak_bytes),
    )


def evaluate_totals(jobs: Sequence[LayerJob] | LayerArrays, accelerator: Accelerator) -> NetworkTotals:
    """Return only the sums that a search needs, without records and notes, equal to those of `evaluate`.

    Arrays may have leading axes, such as candidates: `candidates x layers` in, `candidates` out.

    Raises:
        LayerError: there is no layer, or an operand is wider than the device takes.
    """
    layers = jobs if isinstance(jobs, LayerArrays) else layer_arrays(jobs)
    terms = layer_terms(layers, accelerator)
    latency_cycles = terms.latency_cycles.sum(axis=-1)
    return NetworkTotals(
        energy_pj=terms.energy.total_pj.sum(axis=-1),
        latency_cycles=latency_cycles,
        latency_s=latency_cycles / accelerator.clock_hz,
        weight_bytes=terms.stored.smallest_bytes.sum(axis=-1),
        dram_bits=terms.dram.total_bits.sum(axis=-1),
        macs=layers.macs.sum(axis=-1),
    )


def layer_terms(layers: LayerArrays, accelerator: Accelerator, names: Sequence[str] = ()) -> LayerTerms:
    """Return every term of the cost as arrays of shape `... x layers`; `names` are for error texts.

    Raises:
        LayerError: an operand is wider than the device takes.
    """
    widths = OperandWidths(
        weights=_held_bits("weight_bits", layers.weight_bits, accelerator, names),
        inputs=_held_bits("input_bits", layers.input_bits, accelerator, names),
    )
    law = LAWS[accelerator.precision_law]
    mac = law(widths.weights, widths.inputs, accelerator.native_bits, accelerator.mac_energy_pj)
    counts = systolic_counts(
        layers.m,
        layers.k,
        layers.n,
        accelerator.rows,
        accelerator.columns,
        accelerator.dataflow,
        groups=layers.groups,
        parallel_macs=mac.parallel_macs,
        serial_cycles=mac.serial_cycles,
        pipelined_folds=accelerator.pipelined_folds,
    )
    stored = stored_weights(layers)
    readable_bytes = stored.smallest_of(accelerator.weight_formats)
    sram = sram_traffic(layers, accelerator, widths, counts)
    dram = dram_traffic(layers, accelerator, widths, counts, mac, readable_bytes)
    dram_cycles = _cycles(dram.total_bits, accelerator)
    first_tile = _cycles(dram.first_tile_bits, accelerator)
    # The first tile is part of the DRAM traffic: what remains of that runs beside the computation.
    latency = first_tile + np.maximum(counts.cycles, dram_cycles - first_tile)
    spent = energy(accelerator, layers.macs, mac, (sram, dram), latency)
    return LayerTerms(mac, counts, stored, sram, dram, dram_cycles, latency, spent)


def _cycles(bits: IntArray, accelerator: Accelerator) -> IntArray:
    """Return the clock cycles that the DRAM needs for so many bits, rounded up."""
    cycles: IntArray = np.ceil(bits / accelerator.dram_bits_per_cycle).astype(np.int64)
    return cycles


def _held_bits(
    operand: Literal["weight_bits", "input_bits"],
    bits: IntArray,
    accelerator: Accelerator,
    names: Sequence[str],
) -> IntArray:
    """Return the widths rounded up to the next ones that the device supports."""
    supported = np.array(getattr(accelerator, operand), dtype=np.int64)
    if bits.max() > supported[-1]:
        layer = int(np.argmax(bits.max(axis=tuple(range(bits.ndim - 1)))))
        where = f"layer {names[layer]!r}" if names else f"layer {layer}"
        raise LayerError(
            f"{where}: `{operand} <= {supported[-1]}` must hold on {accelerator.name} (it supports "
            f"{', '.join(map(str, supported))}), but got {operand}={bits.max()}: "
            "quantise the layer, or choose another device"
        )
    held: IntArray = supported[np.searchsorted(supported, bits)]
    return held


def _layer_costs(names: Sequence[str], layers: LayerArrays, terms: LayerTerms) -> tuple[LayerCost, ...]:
    """Return one record for each layer."""
    columns = {
        "macs": layers.macs,
        "compute_cycles": terms.counts.cycles,
        "dram_cycles": terms.dram_cycles,
        "latency_cycles": terms.latency_cycles,
        "bound": np.where(terms.dram_cycles > terms.counts.cycles, "dram", "compute"),
        "mapping_efficiency": terms.counts.mapping_efficiency,
        "utilisation": terms.counts.utilisation,
        "ifmap_sram_bits": terms.sram.ifmap_read_bits,
        "filter_sram_bits": terms.sram.filter_read_bits,
        "ofmap_sram_bits": terms.sram.ofmap_write_bits + terms.sram.ofmap_read_bits,
        "dram_weight_bits": terms.dram.weight_bits,
        "dram_input_bits": terms.dram.input_bits,
        "dram_output_bits": terms.dram.output_bits,
        "mac_pj": terms.energy.mac_pj,
        "sram_pj": terms.energy.sram_pj,
        "dram_pj": terms.energy.dram_pj,
        "static_pj": terms.energy.static_pj,
        "energy_pj": terms.energy.total_pj,
        "weight_bytes": terms.stored.smallest_bytes,
    }
    rows = zip(names, *(column.tolist() for column in columns.values()), strict=True)
    formats = [WEIGHT_FORMATS[index] for index in terms.stored.smallest_format.tolist()]
    fields = ("name", *columns)
    return tuple(
        LayerCost(**dict(zip(fields, row, strict=True)), weight_format=weight_format)
        for row, weight_format in zip(rows, formats, strict=True)
    )
