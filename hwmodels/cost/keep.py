"""What a device keeps on chip while it runs networks, and how often it runs them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodels.arrays import BoolArray, IntArray, ceil_div
from hwmodels.cost.dataflow import OperandWidths
from hwmodels.cost.images import keep_weights
from hwmodels.cost.residency import (
    NOTHING_STAYS,
    Residency,
    Room,
    decide_residency,
    describe_residency,
    measure_room,
    measure_sizes,
)
from hwmodels.cost.tensor_links import link_tensors
from hwmodels.device.accelerator import Accelerator
from hwmodels.workload.layer_arrays import LayerArrays
from hwmodels.workload.tensor_arrays import TensorArrays

_ONCE = np.ones(1, dtype=np.int64)


class KeptMaps(NamedTuple):
    """What stays of activations and weights; without activations, or on a device that keeps none, nothing."""

    runs: IntArray = _ONCE
    """How many times the layers run, `... x 1`: once for each even part of a batch, or once for all images."""
    weights_stay: BoolArray = np.zeros(1, dtype=np.bool_)
    """Whether runs after the first find the weights of all layers, `... x 1`."""
    room: Room | None = None
    """What layers need of the buffer that keeps activations; None where none does."""
    residency: Residency = NOTHING_STAYS
    stays: BoolArray = np.zeros(0, dtype=np.bool_)
    """`... x tensors`."""
    peak_bits: IntArray = np.zeros((), dtype=np.int64)
    """The most that is alive at a step beside its tile of weights, `...`."""
    is_given: bool = False
    """Whether what stays is given, rather than found."""


def keep_maps(
    layers: LayerArrays,
    accelerator: Accelerator,
    widths: OperandWidths,
    tensors: TensorArrays | None,
    residency: Residency | None,
    runs: IntArray = _ONCE,
) -> KeptMaps:
    """Return what stays in so many runs, as follows from the activations; or what is given."""
    buffer = accelerator.map_buffer
    if buffer is None:
        return KeptMaps()
    room = measure_room(layers, accelerator, buffer, widths)
    if tensors is None or not tensors.tensors:
        return KeptMaps() if residency is None else KeptMaps(room=room, residency=residency, is_given=True)
    links, capacity = link_tensors(tensors.tensors, layers.shape[-1]), buffer.size_bytes * 8
    sizes = ceil_div(measure_sizes(tensors, accelerator), runs)
    stays, peak_bits = decide_residency(links, room, sizes, capacity)
    if residency is not None:
        return KeptMaps(room=room, residency=residency, peak_bits=peak_bits, is_given=True)
    weights_stay = keep_weights(layers, accelerator, widths, links, sizes)
    residency = describe_residency(links, stays, layers.operands)
    return KeptMaps(np.broadcast_to(runs, (*peak_bits.shape, 1)), weights_stay, room, residency, stays, peak_bits)
