"""The cost of a network on an accelerator: energy, latency, storage and traffic, by layer and in sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from hwmodels.arrays import BoolArray, FloatArray, IntArray
from hwmodels.cost.fit import CandidateFit, MemoryFit
from hwmodels.cost.notes import write_notes
from hwmodels.cost.residency import Residency
from hwmodels.cost.terms import LayerTerms, layer_terms
from hwmodels.device.accelerator import Accelerator
from hwmodels.workload.layer_arrays import LayerArrays
from hwmodels.workload.tensor_arrays import TensorArrays

ENERGY_COMPONENTS = ("mac", "register", "network", "sram", "dram", "vector", "static")
"""The parts of an energy; "sram" is the sum of all buffers, "dram" that of all memories behind them."""


class LayerCost(NamedTuple):
    """What one layer costs; energies in pJ, traffic in bits, times in clock cycles.

    The `*_sram_bits` are what the array or the vector unit moves; energy and time of buffers also contain what memories
    write to them and read from them.

    Attributes:
        name: The layer's.
        kind: One of `LAYER_KINDS`.
        macs: Multiply-accumulate operations, of all images of the batch.
        vector_operations: Element operations of a layer without products.
        compute_cycles: Of the array, or of the vector unit.
        array_cycles: Of the array's steps alone, where it may wait for its weights or to write results.
        decoder_cycles: Of decoding the weights; 0 on a device without such a stage.
        writing_cycles: Of writing results; 0 likewise.
        sram_cycles: Of the slowest buffer.
        dram_cycles: Of the slowest memory.
        first_tile_cycles: Of what must arrive before the array can start; part of `dram_cycles`.
        overhead_cycles: Of starting the layer.
        latency_cycles: Double buffered: overhead, first tile, then the longest of compute, SRAM and the rest of DRAM.
        bound: Which of the three is the longest; "decoder" instead of "compute" where the array waits for its weights.
        mapping_efficiency: Ratio of the array that has work while it runs, 0 to 1.
        utilisation: Achieved ratio of its peak rate at the layer's widths, fill included, 0 to 1.
        ifmap_sram_bits: Inputs read.
        filter_sram_bits: Weights read.
        ofmap_sram_bits: Outputs and partial sums written, and partial sums read back.
        dram_weight_bits: Weights, and the second operand of a product of activations.
        dram_input_bits: Inputs.
        dram_output_bits: Outputs, and sums that are read back from memory.
        kept_sram_bits: Outputs that move to another buffer, which keeps them for later layers, rather than to memory.
        resident_inputs: How many operands stay in a buffer, so that no memory is read for them.
        resident_second: Whether the second operand of a product of activations does.
        resident_output: Whether the output stays, so that it is not written to memory.
        resident_beside: Whether any activation stays while the layer runs: weights and inputs are then fetched once.
        mac_pj: Arithmetic.
        register_pj: Registers of the array's elements.
        network_pj: Words that move between the array's elements.
        sram_pj: All buffers.
        buffers_pj: Each buffer, by its name.
        dram_pj: All memories.
        vector_pj: The vector unit.
        static_pj: Static power during the layer's latency.
        energy_pj: The sum.
        weight_bytes: Storage in the smallest format, whether or not the device can read that one; for a device whose
            compiler codes weights at their entropy, in its code.
        weight_format: That format, one of `WEIGHT_FORMATS`.

    Example:
        >>> import hwmodels
        >>> network = hwmodels.NETWORKS["lenet5"]()
        >>> cost = hwmodels.evaluate(network.jobs(), hwmodels.load("bitfusion")).layers[0]
        >>> cost.name, cost.bound, cost.compute_cycles, cost.latency_cycles
        ('c1', 'compute', 1630, 1636)
    """

    name: str
    kind: str
    macs: int
    vector_operations: int
    compute_cycles: int
    array_cycles: int
    decoder_cycles: int
    writing_cycles: int
    sram_cycles: int
    dram_cycles: int
    first_tile_cycles: int
    overhead_cycles: int
    latency_cycles: int
    bound: Literal["compute", "sram", "dram", "decoder"]
    mapping_efficiency: float
    utilisation: float
    ifmap_sram_bits: int
    filter_sram_bits: int
    ofmap_sram_bits: int
    dram_weight_bits: int
    dram_input_bits: int
    dram_output_bits: int
    kept_sram_bits: int
    resident_inputs: int
    resident_second: bool
    resident_output: bool
    resident_beside: bool
    mac_pj: float
    register_pj: float
    network_pj: float
    sram_pj: float
    buffers_pj: Mapping[str, float]
    dram_pj: float
    vector_pj: float
    static_pj: float
    energy_pj: float
    weight_bytes: int
    weight_format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCost:
    """What one run of a network costs (of all images of its batch); layers run one after another.

    Attributes:
        energy_pj: Of all layers.
        energy_pj_by_component: The same by `ENERGY_COMPONENTS`.
        latency_cycles: Of all layers.
        latency_ms: The same in milliseconds.
        weight_bytes: Storage of all weights, biases and scales, each layer in its smallest format.
        peak_activation_bytes: What a perfect allocator needs; 0 when no activation tensors were given.
        arena_bytes: What TensorFlow Lite Micro's planner needs; 0 when no activation tensors were given.
        dram_bits: All traffic of memories.
        macs: Of all layers.
        runs: How many times the layers run: once for each of the even parts in which a batch costs the least, on a
            device that keeps activations; else once for all images.
        layers: The cost of each, in all runs.
        fits: For each memory and buffer of a stated size what the network needs of it.
        notes: In words what the numbers alone would hide, such as widths that bring nothing on this device.

    Example:
        >>> import hwmodels
        >>> jobs, tensors = hwmodels.NETWORKS["mlperf_tiny_resnet8"]().at(weight_bits=8, input_bits=8)
        >>> cost = hwmodels.evaluate(jobs, hwmodels.load("gap9_ne16"), tensors)
        >>> round(cost.energy_pj / 1e6, 1), round(cost.latency_ms, 2), cost.weight_bytes, cost.peak_activation_bytes
        (30.5, 0.59, 80128, 49152)
    """

    energy_pj: float
    energy_pj_by_component: Mapping[str, float]
    latency_cycles: int
    latency_ms: float
    weight_bytes: int
    peak_activation_bytes: int
    arena_bytes: int
    dram_bits: int
    macs: int
    runs: int
    layers: tuple[LayerCost, ...]
    fits: tuple[MemoryFit, ...]
    notes: tuple[str, ...]


class CandidateCosts(NamedTuple):
    """What candidates cost: sums over the layers, of the leading axes' shape, and every term of every layer.

    Example:
        >>> import hwmodels
        >>> job = hwmodels.NETWORKS["lenet5"]().jobs()
        >>> layers = hwmodels.with_widths(hwmodels.layer_arrays(job), weight_bits=[[4], [8]])
        >>> costs = hwmodels.evaluate(layers, hwmodels.load("bitfusion"))
        >>> costs.weight_bytes.tolist(), costs.latency_cycles.tolist()
        ([32626, 63358], [3470, 5380])
    """

    energy_pj: FloatArray
    latency_cycles: IntArray
    latency_ms: FloatArray
    weight_bytes: IntArray
    peak_activation_bytes: IntArray
    dram_bits: IntArray
    macs: IntArray
    memory_fits: tuple[CandidateFit, ...]
    """For each memory and buffer of a stated size what the candidates need of it."""
    layers: LayerArrays
    accelerator: Accelerator
    tensors: TensorArrays
    """What was priced."""
    terms: LayerTerms
    """Fields broadcast to `... x layers`."""

    @property
    def fits(self) -> BoolArray:
        """Whether the device has room for a candidate in all memories that must hold it."""
        fits: BoolArray = np.ones(self.energy_pj.shape, dtype=np.bool_)
        for fit in self.memory_fits:
            fits = fits & (fit.fits | (not fit.required))
        return fits

    def list_notes(self, candidate: int | tuple[int, ...]) -> tuple[str, ...]:
        """Return in words what the numbers of one candidate hide, as `NetworkCost.notes`, with layers by position."""
        shape, names = self.energy_pj.shape, [f"layer {index}" for index in range(self.layers.shape[-1])]

        def take(values: Any, length: int) -> Any:
            return np.broadcast_to(values, (*shape, length))[candidate]

        facts = {each.name: take(getattr(self.layers, each.name), len(names)) for each in fields(LayerArrays)}
        layers, length = replace(self.layers, **facts), len(self.tensors.tensors)
        sizes, widths = (take(values, length) for values in (self.tensors.elements, self.tensors.bits))
        lives = tuple(
            replace(each, bits=bits) for each, bits in zip(self.tensors.tensors, widths.tolist(), strict=True)
        )
        tensors = TensorArrays(tensors=lives, elements=sizes, bits=widths)
        kept = self.terms.kept
        given = Residency._make(take(each, len(names)) for each in kept.residency) if kept.is_given else None
        terms = layer_terms(layers, self.accelerator, names, tensors, given)
        fits = [fit.take(candidate) for fit in self.memory_fits]
        return write_notes(names, layers, self.accelerator, terms, fits, tensors.tensors)

    def energy_pj_by_component(self) -> dict[str, FloatArray]:
        """Return the sums over the layers of each of ENERGY_COMPONENTS, in pJ."""
        shape = self.terms.energy.total_pj.shape
        parts = {name: getattr(self.terms.energy, f"{name}_pj") for name in ENERGY_COMPONENTS}
        return {name: np.broadcast_to(part, shape).sum(axis=-1) for name, part in parts.items()}
