"""Every term of the cost of many layers at once, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from hwmodels.arrays import IntArray
from hwmodels.cost.containers import contain_layers
from hwmodels.cost.dataflow import ArrayCounts, OperandWidths
from hwmodels.cost.energy import Energy, compute_energy
from hwmodels.cost.exact import check_counts, check_sums, refuse_overflow
from hwmodels.cost.images import add_runs, choose_runs, list_runs, repeat_counts, repeat_traffic, take_part
from hwmodels.cost.keep import KeptMaps, keep_maps
from hwmodels.cost.latency import Latency, compute_latency
from hwmodels.cost.mapping import count_array, measure_stored
from hwmodels.cost.residency import Residency, spare_memory
from hwmodels.cost.traffic import DramTraffic, SramTraffic, count_dram_traffic, count_sram_traffic
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.precision import MacCost
from hwmodels.errors import LayerError
from hwmodels.storage.memory import StoredWeights
from hwmodels.workload.layer_arrays import LayerArrays
from hwmodels.workload.tensor_arrays import TensorArrays


class LayerTerms(NamedTuple):
    """Every term of the cost; fields broadcast to `... x layers`.

    Example:
        >>> import hwmodels
        >>> layers = hwmodels.layer_arrays(hwmodels.NETWORKS["alexnet"]().jobs())
        >>> terms = hwmodels.layer_terms(layers, hwmodels.load("bitfusion"))
        >>> int(terms.dram.weight_passes.max()), int(terms.dram.input_passes.max())
        (12, 12)
    """

    widths: OperandWidths
    mac: MacCost
    counts: ArrayCounts
    stored: StoredWeights
    sram: SramTraffic
    dram: DramTraffic
    latency: Latency
    energy: Energy
    kept: KeptMaps


def layer_terms(
    layers: LayerArrays,
    accelerator: Accelerator,
    names: Sequence[str] = (),
    tensors: TensorArrays | None = None,
    residency: Residency | None = None,
) -> LayerTerms:
    """Return every term of the cost; `names` are for error texts.

    What stays on chip follows from the activations, or is given for each layer.

    Raises:
        LayerError: an operand is wider than the device takes, there are more layers than it runs, or costs pass what
            can be counted exactly.

    Example:
        >>> import hwmodels
        >>> layers = hwmodels.layer_arrays(hwmodels.NETWORKS["lenet5"]().jobs())
        >>> terms = hwmodels.layer_terms(layers, hwmodels.load("bitfusion"))
        >>> terms.latency.compute_cycles.tolist()[:3]
        [1630, 0, 0]
    """
    if accelerator.maximum_layers and layers.is_product.shape[-1] > accelerator.maximum_layers:
        products = int(np.count_nonzero(layers.is_product, axis=-1).max())
        if products > accelerator.maximum_layers:
            raise LayerError(
                f"expected layers <= {accelerator.maximum_layers} on {accelerator.name}, received {products} layers "
                "with weights or products: choose another device, or a network of fewer layers"
            )
    widths = OperandWidths(
        weights=_held_bits("weight_bits", layers, accelerator, names),
        inputs=_held_bits("input_bits", layers, accelerator, names),
    )
    mac = accelerator.law(widths.weights, widths.inputs, accelerator.native_bits, accelerator.mac_energy_pj)
    check_counts(layers, accelerator, mac)
    try:
        with np.errstate(over="raise", invalid="raise"):  # numpy turns a float beyond 2^63 into some whole number
            kept = keep_maps(layers, accelerator, widths, tensors, residency)
            terms = _terms(layers, accelerator, widths, mac, kept)
            buffer, tried = accelerator.map_buffer, list_runs(layers)
            if (
                len(tried) > 1
                and buffer is not None
                and not kept.is_given
                and (kept.peak_bits > buffer.size_bytes * 8).any()
            ):
                terms = _terms_of_parts(layers, accelerator, widths, mac, tensors, tried)
    except FloatingPointError as error:
        raise refuse_overflow(accelerator) from error
    check_sums(layers, accelerator, terms.latency, terms.dram)
    return terms


def _terms_of_parts(
    layers: LayerArrays,
    accelerator: Accelerator,
    widths: OperandWidths,
    mac: MacCost,
    tensors: TensorArrays | None,
    tried: Sequence[IntArray],
) -> LayerTerms:
    """Return the terms of batches that run in one of the numbers of parts to be tried."""

    def terms(runs: IntArray) -> LayerTerms:
        return _terms(layers, accelerator, widths, mac, keep_maps(layers, accelerator, widths, tensors, None, runs))

    found = [terms(runs) for runs in tried]
    energies, cycles = [each.energy.total_pj for each in found], [each.latency.latency_cycles for each in found]
    return terms(choose_runs(layers, tried, energies, cycles))


def _terms(
    layers: LayerArrays, accelerator: Accelerator, widths: OperandWidths, mac: MacCost, kept: KeptMaps
) -> LayerTerms:
    """Return the terms at the widths that the device holds, given what stays on chip."""
    in_parts = bool((kept.runs > 1).any())
    counted = take_part(layers, kept.runs) if in_parts else layers
    counts = count_array(counted, accelerator, mac)
    one = contain_layers(counted, accelerator)
    stored = measure_stored(one, accelerator)
    sram = count_sram_traffic(one, accelerator, widths, counts)
    dram = count_dram_traffic(one, accelerator, widths, counts, mac, stored.find_smallest(accelerator.weight_formats))
    if kept.room is not None:
        sram, dram = spare_memory(one, accelerator, (sram, dram), kept.room.weights_once, kept.residency)
    time = compute_latency(one, accelerator, counts, (sram, dram))
    if in_parts:
        again = repeat_traffic((sram, dram), kept.runs, kept.weights_stay)
        later = compute_latency(one, accelerator, counts, (sram, again[2]))
        counts, sram, dram = repeat_counts(counts, kept.runs), again[0], again[1]
        time = add_runs(time, later, kept.runs)
    spent = compute_energy(layers, accelerator, widths, mac, counts, (sram, dram), time.latency_cycles)
    return LayerTerms(widths, mac, counts, stored, sram, dram, time, spent, kept)


def _held_bits(
    operand: Literal["weight_bits", "input_bits"],
    layers: LayerArrays,
    accelerator: Accelerator,
    names: Sequence[str],
) -> IntArray:
    """Return the widths rounded up to the next ones that the device supports; those of other layers as they are."""
    bits: IntArray = getattr(layers, operand)
    supported = np.array(getattr(accelerator, operand), dtype=np.int64)
    products = bits if layers.is_product.all() else np.where(layers.is_product, bits, supported[0])
    if products.max() > supported[-1]:
        layer = int(np.argmax(products.max(axis=tuple(range(products.ndim - 1)))))
        where = f"layer {names[layer]!r}" if names else f"layer {layer}"
        raise LayerError(
            f"{where}: expected {operand} <= {supported[-1]} on {accelerator.name} (it supports "
            f"{', '.join(map(str, supported))}), received {operand}={products.max()}: "
            "quantise the layer, or choose another device"
        )
    held: IntArray = supported[np.searchsorted(supported, products)]
    return held
