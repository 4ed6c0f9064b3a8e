"""The cost of one network, or of many candidates at once: every term, summed up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from hwmodels.cost.containers import contain_tensors
from hwmodels.cost.fit import fit_memories
from hwmodels.cost.latency import BOUNDS
from hwmodels.cost.network_cost import ENERGY_COMPONENTS, CandidateCosts, LayerCost, NetworkCost
from hwmodels.cost.notes import write_notes
from hwmodels.cost.residency import Residency
from hwmodels.cost.staging import count_staged_peak
from hwmodels.cost.terms import LayerTerms, layer_terms
from hwmodels.device.accelerator import Accelerator
from hwmodels.errors import LayerError
from hwmodels.storage.arena import plan_arena
from hwmodels.storage.memory import WEIGHT_FORMATS
from hwmodels.workload.activation import ActivationTensor
from hwmodels.workload.layer import LAYER_KINDS, LayerJob
from hwmodels.workload.layer_arrays import LayerArrays, layer_arrays
from hwmodels.workload.tensor_arrays import TensorArrays, tensor_arrays


@overload
def evaluate(
    jobs: Sequence[LayerJob], accelerator: Accelerator, tensors: Sequence[ActivationTensor] = ()
) -> NetworkCost: ...


@overload
def evaluate(
    jobs: LayerArrays,
    accelerator: Accelerator,
    tensors: Sequence[ActivationTensor] | TensorArrays = (),
    residency: Residency | None = None,
) -> CandidateCosts: ...


def evaluate(
    jobs: Sequence[LayerJob] | LayerArrays,
    accelerator: Accelerator,
    tensors: Sequence[ActivationTensor] | TensorArrays = (),
    residency: Residency | None = None,
) -> NetworkCost | CandidateCosts:
    """Return the cost of running the layers in order on the accelerator.

    Grouped convolutions run group by group. Density below 1 shrinks storage, and traffic where the device reads the
    format; it saves neither MACs nor time, since no array here skips zeros.

    Args:
        jobs: The layers of one network; or arrays of `... x layers`, such as `candidates x layers` (`hwmodels.stack`,
            `hwmodels.with_widths`), for many at once.
        accelerator: What runs them.
        tensors: The activations, for the memory that they take, and for what stays on chip on a device that keeps
            them: without any, all of them pass memory. For many networks, those that all have in common, or arrays of
            `... x tensors` (`hwmodels.stack_tensors`).
        residency: For arrays, what stays of each layer's operands, rather than what follows from `tensors`.

    Returns:
        Records and notes for one network, arrays of costs for many candidates.

    Raises:
        LayerError: there is no layer or candidate, an operand is wider than the device takes, or there are too many.

    Example:
        >>> import hwmodels
        >>> jobs, tensors = hwmodels.NETWORKS["resnet20"]().at(weight_bits=4, input_bits=8)
        >>> cost = hwmodels.evaluate(jobs, hwmodels.load("bitfusion"), tensors)
        >>> cost.macs, cost.weight_bytes, cost.latency_cycles
        (40551040, 139760, 95225)
    """
    arrays = tensors if isinstance(tensors, TensorArrays) else tensor_arrays(tensors)
    if isinstance(jobs, LayerArrays):
        return _candidates(jobs, accelerator, arrays, residency)
    return evaluate_network(jobs, accelerator, arrays)


def evaluate_network(
    jobs: Sequence[LayerJob], accelerator: Accelerator, tensors: TensorArrays, residency: Residency | None = None
) -> NetworkCost:
    """Return the cost of one network; `residency` stands for what its activations would leave on chip."""
    layers = layer_arrays(jobs)
    names = [job.shape.name for job in jobs]
    terms = layer_terms(layers, accelerator, names, tensors, residency)
    costs, sums = _layer_costs(names, layers, accelerator, terms)
    readable_bytes = terms.stored.find_smallest(accelerator.weight_formats)
    held = contain_tensors(tensors, accelerator)
    peak_bytes, staged_peak = held.peak_bytes, count_staged_peak(layers, accelerator, held, readable_bytes)
    fits = tuple(
        fit.take(())
        for fit in fit_memories(
            accelerator,
            (readable_bytes * ~layers.weights_elsewhere).sum(),
            peak_bytes,
            terms.kept.peak_bits,
            staged_peak,
        )
    )
    latency_cycles = int(sums["latency_cycles"])
    return NetworkCost(
        energy_pj=sums["energy_pj"],
        energy_pj_by_component={name: sums[f"{name}_pj"] for name in ENERGY_COMPONENTS},
        latency_cycles=latency_cycles,
        latency_ms=latency_cycles / accelerator.clock_hz * 1e3,
        weight_bytes=int(sums["weight_bytes"]),
        peak_activation_bytes=int(peak_bytes),
        arena_bytes=plan_arena(held.tensors).size_bytes if held.tensors else 0,
        dram_bits=int(sums["dram_weight_bits"] + sums["dram_input_bits"] + sums["dram_output_bits"]),
        macs=int(sums["macs"]),
        runs=int(terms.kept.runs.item()),
        layers=costs,
        fits=fits,
        notes=write_notes(names, layers, accelerator, terms, fits, tensors.tensors),
    )


def _candidates(
    layers: LayerArrays, accelerator: Accelerator, tensors: TensorArrays, residency: Residency | None
) -> CandidateCosts:
    """Return the costs of arrays of layers."""
    candidates = tensors.elements.shape[:-1], tensors.bits.shape[:-1]
    try:
        shape = np.broadcast_shapes(layers.shape, *((*axes, 1) for axes in candidates))
    except ValueError:
        raise LayerError(
            f"expected activations of as many candidates as there are layers of, {layers.shape[:-1]}, or of one, "
            f"received {' and '.join(map(str, dict.fromkeys(candidates)))}"
        ) from None
    if 0 in shape:
        raise LayerError(f"expected at least one candidate and one layer, received arrays of shape {shape}")
    terms = layer_terms(layers, accelerator, tensors=tensors, residency=residency)

    def total(values: Any) -> Any:
        return np.broadcast_to(values, shape).sum(axis=-1)

    latency_cycles = total(terms.latency.latency_cycles)
    held = contain_tensors(tensors, accelerator)
    peak_bytes = np.broadcast_to(held.peak_bytes, shape[:-1])
    readable_bytes = terms.stored.find_smallest(accelerator.weight_formats)
    staged_peak = count_staged_peak(layers, accelerator, held, readable_bytes)
    return CandidateCosts(
        energy_pj=total(terms.energy.total_pj),
        latency_cycles=latency_cycles,
        latency_ms=latency_cycles / accelerator.clock_hz * 1e3,
        weight_bytes=total(terms.stored.smallest_bytes * ~layers.weights_elsewhere),
        peak_activation_bytes=peak_bytes,
        dram_bits=total(terms.dram.total_bits),
        macs=total(layers.macs),
        memory_fits=fit_memories(
            accelerator,
            total(readable_bytes * ~layers.weights_elsewhere),
            peak_bytes,
            np.broadcast_to(terms.kept.peak_bits, shape[:-1]),
            np.broadcast_to(staged_peak, shape[:-1]),
        ),
        layers=layers,
        accelerator=accelerator,
        tensors=tensors,
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
        **{field: getattr(terms.counts, field) for field in _STAGES},
        "ifmap_sram_bits": terms.sram.ifmap_read_bits,
        "filter_sram_bits": terms.sram.filter_read_bits,
        "ofmap_sram_bits": terms.sram.ofmap_write_bits + terms.sram.ofmap_read_bits,
        "dram_weight_bits": terms.dram.weight_bits,
        "dram_input_bits": terms.dram.input_bits,
        "dram_output_bits": terms.dram.output_bits + terms.dram.sum_bits,
        "kept_sram_bits": terms.sram.kept_bits,
        **{f"resident_{field}": values for field, values in terms.kept.residency._asdict().items()},
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
    for field in ("resident_second", "resident_output", "resident_beside"):
        listed[field] = list(map(bool, listed[field]))
    rows = zip(*(listed[field] for field in LayerCost._fields), strict=True)
    return tuple(map(LayerCost._make, rows)), sums


_STAGES = ("array_cycles", "decoder_cycles", "writing_cycles")
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
