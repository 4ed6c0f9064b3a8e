"""Which activations stay in a buffer between layers, rather than pass memory, for `... x layers` layers.

A device says of a buffer that it keeps "maps" (`hwmodels.device.parts.Buffer.keeps`). At each step of a run it then
holds activations as a whole beside the tile of weights that the step's layer works with. An activation stays if there
is room for it at every step of its life. Where there is not room for all that are alive, the largest go first: an
activation has room at a step if it fits beside the tile and all others that are alive and not larger, whether these
stay or not (of two that are equally large the one that lives longer goes first, then the later). So a larger buffer
never sends an activation to memory that stayed before.

The tile is what lets weights come in once: those of a group, or twice (one block at work, one arriving) all weights of
as many channels as the array has columns, whichever is less. An input that does not stay passes through lines of its
own kernel's height, twice, beside all weights of the group. Where neither fits, the layer has the buffer for itself,
and nothing stays meanwhile.

What stays is neither written to memory nor read from it, and while anything stays, weights and inputs of that layer
are fetched once. The inputs and the results of the network pass memory in any case. Activations take the width at
which the device's buffers hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from hwmodels.arrays import BoolArray, IntArray
from hwmodels.cost.dataflow import OperandWidths
from hwmodels.cost.tensor_links import TensorLinks, link_tensors
from hwmodels.cost.traffic import DramTraffic, SramTraffic
from hwmodels.device.accelerator import Accelerator
from hwmodels.device.parts import Buffer
from hwmodels.errors import LayerError
from hwmodels.workload.activation import ActivationTensor
from hwmodels.workload.layer import MAXIMUM_BITS
from hwmodels.workload.layer_arrays import LayerArrays
from hwmodels.workload.tensor_arrays import TensorArrays, sum_changes

_NEVER = 2**62
"""Bits for which no buffer has room."""
LARGEST_BLOCK = 2**21
"""Candidates times triples that are looked at together."""


class Residency(NamedTuple):
    """What stays on chip of what a layer reads and writes, `... x layers`.

    Example:
        >>> import hwmodels
        >>> network = hwmodels.NETWORKS["lenet5"]()
        >>> layers, device = hwmodels.layer_arrays(network.jobs()), hwmodels.load("gemmini_default")
        >>> hwmodels.evaluate(layers, device, network.tensors).terms.kept.residency.inputs.tolist()[:3]
        [0, 1, 1]
    """

    inputs: IntArray
    """How many of its operands; of a product of two activations the first one."""
    second: BoolArray
    """Whether the second operand of a product of two activations does."""
    output: BoolArray
    beside: BoolArray
    """Whether any activation stays while it runs, and weights and inputs are therefore fetched once."""


_NO = np.zeros(1, dtype=np.bool_)
NOTHING_STAYS: Residency = Residency(np.zeros(1, dtype=np.int64), _NO, _NO, _NO)
"""Of any layers."""


class Room(NamedTuple):
    """Bits that a layer needs of the buffer that keeps activations, beside these, `... x layers`."""

    tile: IntArray
    """For weights that are to come in once, with all inputs on chip."""
    whole: IntArray
    """The same with inputs that pass through."""
    lines: IntArray
    """For an input that passes through."""
    weights_once: BoolArray
    """Whether the buffer of the weights has room for the tile."""


class MapKeeper:
    """Decides which activations of a network stay on a device, for one candidate after the other.

    `hwmodels.evaluate` decides so for all candidates that it is given; this is for who prices a candidate from what
    differs from the one before.

    Example:
        >>> import hwmodels
        >>> import numpy as np
        >>> network = hwmodels.NETWORKS["lenet5"]()
        >>> device = hwmodels.load("gemmini_default")
        >>> layers, tensors = hwmodels.layer_arrays(network.jobs()), hwmodels.tensor_arrays(network.tensors)
        >>> keeper = hwmodels.MapKeeper(device, network.tensors, len(network.layers))
        >>> room = hwmodels.layer_terms(layers, device, residency=hwmodels.NOTHING_STAYS).kept.room
        >>> keeper.decide(np.array(room[:3]), keeper.measure_sizes(tensors), layers.operands).output.tolist()[-2:]
        [True, False]
    """

    def __init__(self, accelerator: Accelerator, tensors: Sequence[ActivationTensor], num_layers: int) -> None:
        """Link the activations and the layers.

        Raises:
            LayerError: there is no activation, one names a layer that there is not, or the device keeps none.
        """
        if accelerator.map_buffer is None:
            raise LayerError(f"expected a device that keeps activations, received {accelerator.name}")
        if not tensors:
            raise LayerError("expected at least one activation, received none")
        self._accelerator, self._capacity = accelerator, accelerator.map_buffer.size_bytes * 8
        self._links = link_tensors(tensors, num_layers)

    def measure_sizes(self, tensors: TensorArrays) -> IntArray:
        """Return the bits that activations take in the buffer, `... x tensors`."""
        return measure_sizes(tensors, self._accelerator)

    def decide(self, room: IntArray, sizes: IntArray, operands: IntArray) -> Residency:
        """Return what stays of what layers read and write, `... x layers`.

        Args:
            room: What layers need of the buffer, `3 x ... x layers`: the first three fields of `LayerTerms.kept.room`.
            sizes: Bits of the activations in the buffer, `... x tensors`.
            operands: How many the layers read, `... x layers`.
        """
        stays, _ = decide_residency(self._links, Room(room[0], room[1], room[2], _NO), sizes, self._capacity)
        return describe_residency(self._links, stays, operands)


def decide_residency(links: TensorLinks, room: Room, sizes: IntArray, capacity: int) -> tuple[BoolArray, IntArray]:
    """Return which activations stay, `... x tensors`, and the most bits that are alive beside a tile, `...`.

    Args:
        links: Of activations and layers.
        room: What layers need, `... x layers`.
        sizes: Bits of the activations in the buffer, `... x tensors`.
        capacity: Bits of the buffer.
    """
    shape = np.broadcast_shapes(sizes.shape[:-1], *(each.shape[:-1] for each in room[:3]))
    tile, whole, lines = (_pad(each) for each in room[:3])
    alive = sum_changes(sizes, links.changes)[..., links.run_change] + tile[..., links.run_layer]
    fits = alive <= capacity
    stays = np.broadcast_to(links.stays_allowed, (*shape, sizes.shape[-1]))
    if not fits.all():
        needs = Room(tile, whole, lines, room.weights_once)
        stays = stays & _find_all_room(links, needs, sizes, fits, capacity, shape)
    return stays, np.broadcast_to(alive.max(axis=-1), shape)


def describe_residency(links: TensorLinks, stays: BoolArray, operands: IntArray) -> Residency:
    """Return what follows for the layers, `... x layers`."""
    padded = np.zeros((*stays.shape[:-1], stays.shape[-1] + 1), dtype=np.bool_)
    padded[..., :-1] = stays
    reads = sum(padded[..., each].astype(np.int64) for each in links.reads)
    return Residency(
        inputs=np.minimum(reads, operands),
        second=padded[..., links.second_reads],
        output=padded[..., links.writes],
        beside=sum_changes(stays.astype(np.int64), links.changes)[..., links.layer_change] > 0,
    )


def spare_memory(
    layers: LayerArrays,
    accelerator: Accelerator,
    traffic: tuple[SramTraffic, DramTraffic],
    weights_once: BoolArray,
    residency: Residency,
) -> tuple[SramTraffic, DramTraffic]:
    """Return the traffic without that of what stays; outputs that stay move to the buffer that keeps them."""
    sram, dram = traffic
    once = residency.beside & layers.is_product
    weight_passes = np.where(once & weights_once, 1, dram.weight_passes)
    input_passes = np.where(once, 1, dram.input_passes)
    weight_bits = dram.weight_bits // dram.weight_passes * ~residency.second
    fetched = layers.operands - residency.inputs
    input_bits = dram.input_bits // (dram.input_passes * layers.operands) * fetched
    moved = layers.outputs * hold_bits(layers.output_bits, accelerator)
    return (
        sram._replace(kept_bits=np.where(dram.output_bits > 0, moved, 0) * residency.output),
        dram._replace(
            weight_bits=weight_bits * weight_passes,
            input_bits=input_bits * input_passes,
            output_bits=dram.output_bits * ~residency.output,
            weight_passes=weight_passes,
            input_passes=input_passes,
            first_tile_weight_bits=dram.first_tile_weight_bits * ~residency.second,
            first_tile_input_bits=np.minimum(dram.first_tile_input_bits, input_bits),
        ),
    )


def measure_room(layers: LayerArrays, accelerator: Accelerator, buffer: Buffer, widths: OperandWidths) -> Room:
    """Return what layers need of the buffer that keeps activations, beside these."""
    weight_buffer = accelerator.find_buffer("weights")
    columns = accelerator.side_by_side[1]
    channel = layers.k * widths.weights * layers.is_product
    whole = layers.n * channel
    tile = np.minimum(whole, 2 * np.minimum(layers.n, columns) * channel)
    lines = 2 * layers.reach_h * layers.in_w * (layers.in_channels // layers.groups)
    lines = lines * hold_bits(layers.input_bits, accelerator)
    if buffer is weight_buffer:
        return Room(tile, whole, lines, np.ones_like(layers.is_product))
    size = weight_buffer.size_bytes * 8
    return Room(np.zeros_like(tile), np.where(whole <= size, 0, _NEVER), lines, tile <= size)


def _find_all_room(
    links: TensorLinks, room: Room, sizes: IntArray, fits: BoolArray, capacity: int, shape: tuple[int, ...]
) -> BoolArray:
    """Return which activations have room at every step of their lives, `... x tensors`, some candidates at a time."""

    def flatten(values: Any) -> Any:
        return np.broadcast_to(values, (*shape, values.shape[-1])).reshape(-1, values.shape[-1])

    sizes, fits, tile, whole, lines = map(flatten, (sizes, fits, room.tile, room.whole, room.lines))
    has_room = np.ones(sizes.shape, dtype=np.bool_)
    crowded = np.flatnonzero(~fits.all(axis=-1))
    at_once = max(1, LARGEST_BLOCK // len(links.held))
    for start in range(0, len(crowded), at_once):
        rows = crowded[start : start + at_once]
        needs = Room(tile[rows], whole[rows], lines[rows], room.weights_once)
        has_room[rows] = _find_room(links, needs, sizes[rows], fits[rows], capacity)
    return has_room.reshape(*shape, -1)


def _find_room(links: TensorLinks, room: Room, sizes: IntArray, fits: BoolArray, capacity: int) -> BoolArray:
    """Return the same of some candidates, `candidates x tensors`."""
    own, others = sizes[..., links.held], sizes[..., links.other]
    first = (others < own) | ((others == own) & links.yields)
    passing = links.is_read & ~first
    lines = room.lines[..., links.run_layer[links.triple_run]]
    taken = np.where(first, others, passing * np.minimum(others, lines))
    tile, whole = (each[..., links.run_layer[links.pair_run]] for each in (room.tile, room.whole))
    passes = np.bitwise_or.reduceat(passing, links.first_triple, axis=-1)
    taken = np.add.reduceat(taken, links.first_triple, axis=-1)
    has_room = taken + np.where(passes, whole, tile) <= capacity
    has_room |= fits[..., links.pair_run]
    return np.bitwise_and.reduceat(has_room, links.first_pair, axis=-1)


def measure_sizes(tensors: TensorArrays, accelerator: Accelerator) -> IntArray:
    """Return the bits that activations take in a buffer, `... x tensors`."""
    sizes: IntArray = tensors.elements * hold_bits(tensors.bits, accelerator)
    return sizes


def hold_bits(bits: IntArray, accelerator: Accelerator) -> IntArray:
    """Return widths rounded up to the next that the buffers hold; wider ones as they are."""
    widths = range(MAXIMUM_BITS + 1)
    table = np.array([next((held for held in accelerator.input_bits if held >= bits), bits) for bits in widths])
    held: IntArray = table[bits]
    return held


def _pad(values: IntArray) -> IntArray:
    """Return values of `... x layers` with a 0 behind them, for steps at which no layer runs."""
    padded = np.zeros((*values.shape[:-1], values.shape[-1] + 1), dtype=np.int64)
    padded[..., :-1] = values
    return padded
