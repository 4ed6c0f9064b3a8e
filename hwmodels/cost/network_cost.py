"""The cost of a network on an accelerator: energy, latency, storage and traffic, by layer and in sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from hwmodels.arrays import FloatArray, IntArray
from hwmodels.cost.fit import MemoryFit, memory_fits
from hwmodels.cost.latency import BOUNDS
from hwmodels.cost.notes import network_notes
from hwmodels.cost.terms import LayerTerms, layer_terms
from hwmodels.device.accelerator import Accelerator
from hwmodels.storage.arena import peak_activation_bytes, plan_arena
from hwmodels.storage.memory import WEIGHT_FORMATS
from hwmodels.workload.layer import LAYER_KINDS, ActivationTensor, LayerJob
from hwmodels.workload.layer_arrays import LayerArrays, layer_arrays

ENERGY_COMPONENTS = ("mac", "register", "network", "sram", "dram", "vector", "static")
"""The parts of an energy; "sram" is the sum of all buffers, "dram" that of all memories behind them."""


class LayerCost(NamedTuple):
    """What one layer costs; energies in pJ, traffic in bits, times in clock cycles.

    `latency_cycles` is double buffered: `overhead_cycles` and `first_tile_cycles`, then the longest of compute, SRAM
    and the rest of DRAM; `bound` names it. `mapping_efficiency` is the share of the array that has work while it runs,
    `utilisation` the achieved share of its peak rate at the layer's widths, fill included. The `*_sram_bits` are what
    the array or the vector unit moves, in `ofmap_sram_bits` writes and the partial sums that are read back; energy and
    time of buffers also contain what memories write to them and read from them. `dram_weight_bits` contains the second
    operand of a product of activations, `dram_output_bits` sums that are read back from memory. `buffers_pj` has
    one entry for each buffer, the sum of which is `sram_pj`. `weight_bytes` is the storage in the smallest format,
    `weight_format`, whether or not the device can read that one.
    """

    name: str
    kind: str
    macs: int
    vector_operations: int
    compute_cycles: int
    sram_cycles: int
    dram_cycles: int
    first_tile_cycles: int
    overhead_cycles: int
    latency_cycles: int
    bound: Literal["compute", "sram", "dram"]
    mapping_efficiency: float
    utilisation: float
    ifmap_sram_bits: int
    filter_sram_bits: int
    ofmap_sram_bits: int
    dram_weight_bits: int
    dram_input_bits: int
    dram_output_bits: int
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

    `peak_activation_bytes` is what a perfect allocator needs, `arena_bytes` what TensorFlow Lite Micro's planner
    does; both are 0 when no activation tensors were given. `fits` says for each memory and buffer of a stated size
    what the network needs of it. `notes` say in words what the numbers alone would hide, such as widths that bring
    nothing on this device.
    """

    energy_pj: float
    energy_pj_by_component: Mapping[str, float]
    latency_cycles: int
    latency_s: float
    weight_bytes: int
    peak_activation_bytes: int
    arena_bytes: int
    dram_bits: int
    macs: int
    layers: tuple[LayerCost, ...]
    fits: tuple[MemoryFit, ...]
    notes: tuple[str, ...]

    @property
    def energy_uj(self) -> float:
        """Energy in microjoules."""
        return self.energy_pj * 1e-6

    @property
    def latency_ms(self) -> float:
        """Latency in milliseconds."""
        return self.latency_s * 1e3


class CandidateCosts(NamedTuple):
    """What candidates cost: sums over the layers, of the leading axes' shape, and every term of every layer."""

    energy_pj: FloatArray
    latency_cycles: IntArray
    latency_s: FloatArray
    weight_bytes: IntArray
    dram_bits: IntArray
    macs: IntArray
    terms: LayerTerms
    """Fields broadcast to `... x layers`."""

    def energy_pj_by_component(self) -> dict[str, FloatArray]:
        """Return the sums over the layers of each of ENERGY_COMPONENTS, in pJ."""
        shape = self.terms.energy.total_pj.shape
        parts = {name: getattr(self.terms.energy, f"{name}_pj") for name in ENERGY_COMPONENTS}
        return {name: np.broadcast_to(part, shape).sum(axis=-1) for name, part in parts.items()}


@overload
def evaluate(
    jobs: Sequence[LayerJob], accelerator: Accelerator, tensors: Sequence[ActivationTensor] = ()
) -> NetworkCost: ...


@overload
def evaluate(jobs: LayerArrays, accelerator: Accelerator) -> CandidateCosts: ...


def evaluate(
    jobs: Sequence[LayerJob] | LayerArrays, accelerator: Accelerator, tensors: Sequence[ActivationTensor] = ()
) -> NetworkCost | CandidateCosts:
    """Return the cost of running the layers in order on the accelerator.

    A sequence of jobs is one network, and gives records and notes. Arrays of `... x layers`, such as candidates x
    layers (see `stack` and `with_widths`), give arrays of costs in one call. Grouped convolutions run group by group.
    Density below 1 shrinks storage, and traffic where the device reads the format; it saves neither MACs nor time,
    since no array here skips zeros.

    Raises:
        LayerError: there is no layer, or an operand is wider than the device takes, or there are too many layers.
    """
    if isinstance(jobs, LayerArrays):
        return _candidates(jobs, accelerator)
    layers = layer_arrays(jobs)
    names = [job.shape.name for job in jobs]
    terms = layer_terms(layers, accelerator, names)
    costs, sums = _layer_costs(names, layers, accelerator, terms)
    peak_bytes = peak_activation_bytes(tensors)
    readable_bytes = int((terms.stored.smallest_of(accelerator.weight_formats) * ~layers.weights_elsewhere).sum())
    fits = memory_fits(accelerator, readable_bytes, peak_bytes)
    latency_cycles = int(sums["latency_cycles"])
    return NetworkCost(
        energy_pj=sums["energy_pj"],
        energy_pj_by_component={name: sums[f"{name}_pj"] for name in ENERGY_COMPONENTS},
        latency_cycles=latency_cycles,
        latency_s=latency_cycles / accelerator.clock_hz,
        weight_bytes=int(sums["weight_bytes"]),
        peak_activation_bytes=peak_bytes,
        arena_bytes=plan_arena(tensors).size_bytes if tensors else 0,
        dram_bits=int(sums["dram_weight_bits"] + sums["dram_input_bits"] + sums["dram_output_bits"]),
        macs=int(sums["macs"]),
        layers=costs,
        fits=fits,
        notes=network_notes(names, layers, accelerator, terms, fits),
    )


def _candidates(layers: LayerArrays, accelerator: Accelerator) -> CandidateCosts:
    """Return the costs of arrays of layers."""
    terms = layer_terms(layers, accelerator)
    shape = layers.shape

    def total(values: Any) -> Any:
        return np.broadcast_to(values, shape).sum(axis=-1)

    latency_cycles = total(terms.latency.latency_cycles)
    return CandidateCosts(
        energy_pj=total(terms.energy.total_pj),
        latency_cycles=latency_cycles,
        latency_s=latency_cycles / accelerator.clock_hz,
        weight_bytes=total(terms.stored.smallest_bytes * ~layers.weights_elsewhere),
        dram_bits=total(terms.dram.total_bits),
        macs=total(layers.macs),
        terms=terms,
    )


def _layer_costs(
    names: Sequence[str], layers: LayerArrays, accelerator: Accelerator, terms: LayerTerms
) -> tuple[tuple[LayerCost, ...], dict[str, float]]:
    """Return one record for each layer, and the sum of each of their numbers."""
    time, spent = terms.latency, terms.energy
    whole: dict[str, Any] = {
        "macs": layers.macs,
        "vector_operations": layers.vector_operations,
        **{field: getattr(time, field) for field in _TIMES},
        "ifmap_sram_bits": terms.sram.ifmap_read_bits,
        "filter_sram_bits": terms.sram.filter_read_bits,
        "ofmap_sram_bits": terms.sram.ofmap_write_bits + terms.sram.ofmap_read_bits,
        "dram_weight_bits": terms.dram.weight_bits,
        "dram_input_bits": terms.dram.input_bits,
        "dram_output_bits": terms.dram.output_bits + terms.dram.sum_bits,
        "weight_bytes": terms.stored.smallest_bytes * ~layers.weights_elsewhere,
        "kind": layers.kind,
        "bound": time.bound,
        "weight_format": terms.stored.smallest_format,
    }
    real: dict[str, Any] = {
        "mapping_efficiency": terms.counts.mapping_efficiency,
        "utilisation": terms.counts.utilisation,
        **{f"{name}_pj": getattr(spent, f"{name}_pj") for name in ENERGY_COMPONENTS},
        "energy_pj": spent.total_pj,
    }
    buffer_names = [buffer.name for buffer in accelerator.buffers]
    listed: dict[str, Sequence[Any]] = {"name": names}
    buffers, _ = _columns(dict(zip(buffer_names, spent.buffers_pj, strict=True)), len(names), np.float64)
    listed["buffers_pj"] = [
        dict(zip(buffer_names, parts, strict=True)) for parts in zip(*buffers.values(), strict=True)
    ]
    sums: dict[str, float] = {}
    for columns, dtype in ((whole, np.int64), (real, np.float64)):
        lists, totals = _columns(columns, len(names), dtype)
        listed, sums = listed | lists, sums | totals
    for field, words in (("kind", LAYER_KINDS), ("bound", BOUNDS), ("weight_format", WEIGHT_FORMATS)):
        listed[field] = [words[index] for index in listed[field]]
    rows = zip(*(listed[field] for field in LayerCost._fields), strict=True)
    return tuple(map(LayerCost._make, rows)), sums


_TIMES = (
    *("compute_cycles", "sram_cycles", "dram_cycles"),
    *("first_tile_cycles", "overhead_cycles", "latency_cycles"),
)


def _columns(
    columns: Mapping[str, Any], count: int, dtype: type[np.generic]
) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Return arrays of layers, or values that hold for all of them, as lists, and their sums."""
    table: npt.NDArray[Any] = np.empty((len(columns), count), dtype=dtype)
    for row, values in zip(table, columns.values(), strict=True):
        row[:] = values
    lists, totals = table.tolist(), table.sum(axis=1).tolist()
    return dict(zip(columns, lists, strict=True)), dict(zip(columns, totals, strict=True))
