"""A batch that runs in parts, image after image at the most, so that activations of a part have room on chip.

All at once, a batch fetches each layer's weights once for all images, whose activations are alive together. In parts,
fewer are alive; each part fetches the weights again, unless a buffer keeps the weights of all layers
(`hwmodels.device.parts.Buffer.keeps`), beside the activations of a part if they share it: then the first part fetches
them, and all others find them. Of the even parts that take no longer than the images one by one, those that take the
least energy are chosen. A run always starts with weights in memory, so that a stream is a batch as long as one likes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hwmodels.arrays import BoolArray, FloatArray, IntArray
from hwmodels.cost.dataflow import ArrayCounts, OperandWidths
from hwmodels.cost.latency import Latency
from hwmodels.cost.tensor_links import TensorLinks
from hwmodels.cost.traffic import DramTraffic, SramTraffic
from hwmodels.device.accelerator import Accelerator
from hwmodels.workload.layer_arrays import LayerArrays
from hwmodels.workload.tensor_arrays import sum_changes


def list_runs(layers: LayerArrays) -> list[IntArray]:
    """Return the numbers of even parts that batches can run in, `... x 1` each, all images one by one the last.

    A batch that a number does not divide runs image after image.
    """
    num_images = np.gcd.reduce(layers.batch, axis=-1)[..., None]
    found: set[int] = set()
    for count in np.unique(num_images).tolist():
        small = np.arange(1, math.isqrt(count) + 1)
        small = small[count % small == 0]
        found |= {*small.tolist(), *(count // small).tolist()}
    return [np.where(num_images % runs, num_images, runs) for runs in sorted(found)]


def choose_runs(
    layers: LayerArrays, tried: Sequence[IntArray], energies: Sequence[FloatArray], cycles: Sequence[IntArray]
) -> IntArray:
    """Return the numbers of parts that take the least energy, and no longer than the images one by one, `... x 1`.

    Energies and cycles are `... x layers`, of each number that was tried.
    """
    shape = np.broadcast_shapes(layers.shape, *(each.shape for each in energies))
    total_pj, total_cycles = (
        np.stack([np.broadcast_to(each, shape).sum(axis=-1) for each in values]) for values in (energies, cycles)
    )
    best = np.where(total_cycles <= total_cycles[-1], total_pj, np.inf).argmin(axis=0)
    runs = np.stack([np.broadcast_to(each[..., 0], best.shape) for each in tried])
    chosen: IntArray = np.take_along_axis(runs, best[None], axis=0)[0]
    return chosen[..., None]


def keep_weights(
    layers: LayerArrays, accelerator: Accelerator, widths: OperandWidths, links: TensorLinks, sizes: IntArray
) -> BoolArray:
    """Return whether the weights of all layers stay in their buffer, `... x 1`, for parts that find them there.

    Args:
        layers: Of any number of images.
        accelerator: What runs them, which keeps activations.
        widths: Of operands in buffers.
        links: Of activations and layers.
        sizes: Bits of the activations of a part, `... x tensors`.
    """
    buffer, weight_buffer = accelerator.find_buffer("inputs"), accelerator.find_buffer("weights")
    apart = weight_buffer is not buffer
    if "weights" not in weight_buffer.keeps or (apart and weight_buffer.operands != ("weights",)):
        return np.zeros(1, dtype=np.bool_)
    stored = layers.stores_weights & ~layers.weights_elsewhere
    weight_bits = np.sum(layers.weights * widths.weights * stored, axis=-1)
    map_bits = sum_changes(sizes, links.changes).max(axis=-1)
    stays: BoolArray = (weight_bits <= weight_buffer.size_bytes * 8) & (
        map_bits + weight_bits * (not apart) <= buffer.size_bytes * 8
    )
    return stays[..., None]


def take_part(layers: LayerArrays, runs: IntArray) -> LayerArrays:
    """Return what one of so many runs has to do."""
    shares = {field: getattr(layers, field) // runs for field in ("batch", "inputs", "outputs", "vector_operations")}
    shares |= {"macs": layers.macs // runs, "m": np.where(layers.is_product, layers.m // runs, layers.m)}
    return replace(layers, **shares)


def repeat_counts(counts: ArrayCounts, runs: IntArray) -> ArrayCounts:
    """Return what the array does in all runs."""
    shares = ("mapping_efficiency", "utilisation", "row_folds", "column_folds")
    return counts._replace(**{field: getattr(counts, field) * runs for field in counts._fields if field not in shares})


def repeat_traffic(
    traffic: tuple[SramTraffic, DramTraffic], runs: IntArray, weights_stay: BoolArray
) -> tuple[SramTraffic, DramTraffic, DramTraffic]:
    """Return the traffic of all runs, and the memory traffic of one after the first, which may find its weights."""
    sram, dram = traffic
    repeated = {field: getattr(dram, field) * runs for field in ("input_bits", "output_bits", "sum_bits")}
    fetched = {field: getattr(dram, field) * ~weights_stay for field in ("weight_bits", "first_tile_weight_bits")}
    later = dram._replace(**fetched)
    repeated["weight_bits"] = dram.weight_bits + fetched["weight_bits"] * (runs - 1)
    buffers = {field: getattr(sram, field) * runs for field in sram._fields}
    return sram._replace(**buffers), dram._replace(**repeated), later


def add_runs(first: Latency, later: Latency, runs: IntArray) -> Latency:
    """Return the cycles of all runs, all of which after the first take the same."""
    more = {field: getattr(later, field) * (runs - 1) for field in later._fields}
    return Latency(**{field: getattr(first, field) + more[field] for field in first._fields})
