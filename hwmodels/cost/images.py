"""A batch that runs image after image, since its weights stay on chip meanwhile as a whole.

Without that, a batch runs layer by layer: each layer's weights are fetched once for all images, whose activations are
alive together. Where these do not all stay in their buffer, but those of one image do, and a buffer keeps the
weights of all layers (`hwmodels.device.parts.Buffer.keeps`), beside these activations if they share it, images run one
after the other: the first fetches the weights, all others find them. A run always starts with weights in memory, so
that a stream is a batch as long as one likes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwmodels.arrays import IntArray, ceil_div
from hwmodels.cost.dataflow import ArrayCounts, OperandWidths
from hwmodels.cost.latency import Latency
from hwmodels.cost.tensor_links import TensorLinks
from hwmodels.cost.traffic import DramTraffic, SramTraffic
from hwmodels.device.accelerator import Accelerator
from hwmodels.workload.layer_arrays import LayerArrays
from hwmodels.workload.tensor_arrays import sum_changes


def count_runs(
    layers: LayerArrays,
    accelerator: Accelerator,
    widths: OperandWidths,
    links: TensorLinks,
    sizes: IntArray,
    peak_bits: IntArray,
) -> IntArray:
    """Return how many times the layers run, `... x 1`: once for each image, or once for all of them.

    Args:
        layers: Of all images.
        accelerator: What runs them, which keeps activations.
        widths: Of operands in buffers.
        links: Of activations and layers.
        sizes: Bits of the activations of all images, `... x tensors`.
        peak_bits: Of these beside the tile of weights, `...`, if all images run together.
    """
    once = np.ones((*peak_bits.shape, 1), dtype=np.int64)
    buffer, weight_buffer = accelerator.find_buffer("inputs"), accelerator.find_buffer("weights")
    apart = weight_buffer is not buffer
    num_images = np.gcd.reduce(layers.batch, axis=-1)[..., None]
    if (
        (num_images == 1).all()
        or "weights" not in weight_buffer.keeps
        or (apart and weight_buffer.operands != ("weights",))
    ):
        return once
    stored = layers.stores_weights & ~layers.weights_elsewhere
    weight_bits = np.sum(layers.weights * widths.weights * stored, axis=-1)
    image_bits = sum_changes(ceil_div(sizes, num_images), links.changes).max(axis=-1)
    room = buffer.size_bytes * 8
    fits = (weight_bits <= weight_buffer.size_bytes * 8) & (image_bits + weight_bits * (not apart) <= room)
    return np.where((fits & (peak_bits > room))[..., None], num_images, once)


def take_image(layers: LayerArrays, runs: IntArray) -> LayerArrays:
    """Return what one of so many runs has to do."""
    shares = {field: getattr(layers, field) // runs for field in ("batch", "inputs", "outputs", "vector_operations")}
    shares |= {"macs": layers.macs // runs, "m": np.where(layers.is_product, layers.m // runs, layers.m)}
    return replace(layers, **shares)


def repeat_counts(counts: ArrayCounts, runs: IntArray) -> ArrayCounts:
    """Return what the array does in all runs."""
    shares = ("mapping_efficiency", "utilisation", "row_folds", "column_folds")
    return counts._replace(**{field: getattr(counts, field) * runs for field in counts._fields if field not in shares})


def repeat_traffic(
    traffic: tuple[SramTraffic, DramTraffic], runs: IntArray
) -> tuple[SramTraffic, DramTraffic, DramTraffic]:
    """Return the traffic of all runs, and the memory traffic of one after the first, which finds its weights."""
    sram, dram = traffic
    none = np.zeros_like(dram.weight_bits)
    repeated = {field: getattr(dram, field) * runs for field in ("input_bits", "output_bits", "sum_bits")}
    later = dram._replace(weight_bits=none, first_tile_weight_bits=none)
    buffers = {field: getattr(sram, field) * runs for field in sram._fields}
    return sram._replace(**buffers), dram._replace(**repeated), later


def add_runs(first: Latency, later: Latency, runs: IntArray) -> Latency:
    """Return the cycles of all runs, all of which after the first take the same."""
    more = {field: getattr(later, field) * (runs - 1) for field in later._fields}
    return Latency(**{field: getattr(first, field) + more[field] for field in first._fields})
