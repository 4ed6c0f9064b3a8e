"""What many points of a design space cost, priced together: about a microsecond for each layer of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from explorer.arrays import Float64Array, Int64Array
from explorer.compress.candidate import LayerChoice, uniform
from explorer.compress.plan import count_kept, plan
from explorer.evaluate import hardware
from explorer.evaluate.coded_size import CHANNEL_BYTES, FRAME_BYTES, LAYER_BYTES, STEPPED_BYTES
from explorer.evaluate.parts import Facts, arrange_parts, find_widest, number_distinct
from explorer.graph.layers import ChannelGroup, ModelGraph
from explorer.search.axes import ACTIVATION_BITS, FILTER_KEEP_RATIO
from explorer.search.lookups import Chosen, Sums
from explorer.search.space import SearchSpace
from explorer.settings.pattern import pattern_count
from explorer.settings.values import MAXIMUM_BITS
from hwmodels import (
    Accelerator,
    LayerArrays,
    LayerError,
    TensorArrays,
    evaluate,
    layer_arrays,
    tensor_arrays,
    with_channels,
)

AT_ONCE, COMPARED = 16384, 2**18
"""Parts of networks that are priced at once: larger arrays leave the cache, and give back their memory at every step;
and those of which equal ones are priced once (assumed)."""
WeightBits = Callable[[str, LayerChoice], float]
"""Bits that a weight of a layer takes at a choice, with all its filters, in one code or another."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArrayPrices:
    """What N points cost; units are in the names. Names are those of `explorer.study.record.Cost`."""

    energy_uj: Float64Array
    latency_ms: Float64Array
    weight_bytes: Int64Array
    activation_bytes: Int64Array
    macs: Int64Array
    coded_bytes: Float64Array | None = None
    """About; None where it was not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Weights:
    """The choices for the weights of all layers one after the other, and behind them that of a part without any.

    A layer's is where the first of its choices is, plus its indices times their strides.
    """

    first: Int64Array
    strides: Sums
    choices: tuple[LayerChoice, ...]
    bits: Int64Array
    density: Float64Array
    codebook_size: Int64Array
    by_channel: np.ndarray
    stepped: np.ndarray
    entropy: Float64Array
    coded_bits: Float64Array


class ArrayPricing:
    """Prices points of the space of one network, by any number of blocks that it lacks, on an accelerator.

    Figures are those of `hardware.cost`, but for bits of weights at their entropy (`entropy`, of a device that reads
    such; `coded`, of a file): a layer's are those of its whole weights at a choice, since those of what removed filters
    leave take quantising them anew for every number of filters.
    """

    def __init__(
        self,
        graph: ModelGraph,
        space: SearchSpace,
        accelerator: Accelerator,
        entropy: WeightBits | None = None,
        coded: WeightBits | None = None,
    ) -> None:
        self._graph, self._accelerator = graph, accelerator
        self._entropy, self._coded = entropy, coded
        planned = plan(graph, uniform(graph))
        self._base = layer_arrays(hardware.list_layer_jobs(graph, planned))
        self._tensors = tensor_arrays(hardware.list_activation_tensors(graph, planned))
        self._axes = {(axis.knob.name, axis.of): (place, axis.values) for place, axis in enumerate(space.axes)}
        self._kept = Chosen.of([self._list_kept(group) for group in graph.groups])
        alone = (-1, (MAXIMUM_BITS,))
        self._widths = Chosen.of(
            [self._axes.get((ACTIVATION_BITS.name, owner), alone) for owner in graph.weight_owners]
        )
        self._weights = self._list_weights(space)
        self._parts = arrange_parts(graph)
        self._adds_up = (
            accelerator.map_buffer is None
            and not accelerator.maximum_layers
            and not any(memory.overflow_bandwidth_bits_per_s for memory in accelerator.memories)
        )
        """Whether a part costs the same in any network."""
        self._widest = find_widest(graph)
        widest = max(MAXIMUM_BITS, int(self._widest.least.max()))
        self._held_bits = np.array([accelerator.contain(bits, "activations") for bits in range(widest + 1)])
        self._channels = Sums.of([each.channels for each in graph.activations])
        self._area = np.array([each.size[0] * each.size[1] for each in graph.activations], dtype=np.int64)

    def price(self, points: Int64Array) -> ArrayPrices:
        """Return the cost of points (N x axes of indices).

        Raises:
            LayerError: Where the device cannot run one.
        """
        rows = max(1, COMPARED // len(self._parts.owners))
        found = [self._price(points[start : start + rows]) for start in range(0, max(1, len(points)), rows)]
        coded = [each.coded_bytes for each in found if each.coded_bytes is not None]
        return ArrayPrices(
            energy_uj=np.concatenate([each.energy_uj for each in found]),
            latency_ms=np.concatenate([each.latency_ms for each in found]),
            weight_bytes=np.concatenate([each.weight_bytes for each in found]),
            activation_bytes=np.concatenate([each.activation_bytes for each in found]),
            macs=np.concatenate([each.macs for each in found]),
            coded_bytes=np.concatenate(coded) if coded else None,
        )

    def _price(self, points: Int64Array) -> ArrayPrices:
        kept, widths = self._kept.look_up(points), self._widths.look_up(points)
        stored = self._widest.find(widths)
        codes = self._weights.first + self._weights.strides.add_up(points)
        facts = self._list_facts(kept, widths, stored, codes)
        tensors = replace(self._tensors, elements=self._channels.add_up(kept) * self._area, bits=stored)
        sums = self._price_kinds(facts, tensors) or self._price_whole(facts, tensors)
        energy_pj, latency_cycles, weight_bytes, macs, peak_bytes = sums
        in_float = hardware.count_kept_float_bytes(self._graph)
        return ArrayPrices(
            energy_uj=energy_pj.astype(np.float64) * 1e-6,
            latency_ms=latency_cycles / self._accelerator.clock_hz * 1e3,
            weight_bytes=weight_bytes + in_float,
            activation_bytes=peak_bytes,
            macs=macs,
            coded_bytes=None if self._coded is None else in_float + self._coded_bytes(facts),
        )

    def _price_kinds(self, facts: Facts, tensors: TensorArrays) -> tuple[Any, ...] | None:
        """Return what `_price_whole` does, each kind of part priced once.

        None where there are no kinds, or the device cannot run one: which one the whole network says.
        """
        number = number_distinct(facts) if self._adds_up and facts.codes.size else None
        if number is None:
            return None
        places, kinds = number
        found = []
        try:
            for start in range(0, len(places), AT_ONCE):
                own = places[start : start + AT_ONCE, None]
                layers = self._layers(Facts(*(each.ravel()[own] for each in facts)), own % kinds.shape[1])
                costs = evaluate(layers, self._accelerator)
                found.append((costs.energy_pj, costs.latency_cycles, costs.weight_bytes, costs.macs))
        except LayerError:
            return None
        held = replace(tensors, bits=self._held_bits[tensors.bits])
        return *(np.concatenate(each)[kinds].sum(axis=1) for each in zip(*found, strict=True)), held.peak_bytes

    def _price_whole(self, facts: Facts, tensors: TensorArrays) -> tuple[Any, ...]:
        """Return energy (pJ), latency (cycles), weights (bytes), MACs and activations (bytes) of networks, N each."""
        count, parts = facts.codes.shape
        rows, found = max(1, AT_ONCE // parts), []
        for start in range(0, max(1, count), rows):
            own = slice(start, start + rows)
            layers = self._layers(Facts(*(each[own] for each in facts)), np.arange(parts))
            held = replace(tensors, elements=tensors.elements[own], bits=tensors.bits[own])
            costs = evaluate(layers, self._accelerator, held)
            sums = (costs.energy_pj, costs.latency_cycles, costs.weight_bytes, costs.macs)
            found.append((*sums, costs.peak_activation_bytes))
        return tuple(np.concatenate(each) for each in zip(*found, strict=True))

    def _list_kept(self, group: ChannelGroup) -> tuple[int, Sequence[int]]:
        """Return the axis of a group, and how many of its classes are kept at each index."""
        if group.locked:
            return -1, (group.size,)
        place, ratios = self._axes.get((FILTER_KEEP_RATIO.name, group.name), (-1, (1.0,)))
        return place, [count_kept(ratio, group.size) for ratio in ratios]

    def _list_weights(self, space: SearchSpace) -> _Weights:
        first, strides = [], []
        listed: list[LayerChoice] = []
        coded, entropies = [], []
        for layer in self._graph.weight_owners:
            places, choices = space.list_weight_choices(layer)
            sizes = [len(space.axes[place].values) for place in places]
            first.append(len(listed))
            strides.append([(place, math.prod(sizes[at + 1 :])) for at, place in enumerate(places)])
            listed += choices
            entropies += [0.0] * len(choices) if self._entropy is None else _each(self._entropy, layer, choices)
            coded += [0.0] * len(choices) if self._coded is None else _each(self._coded, layer, choices)
        choices = (*listed, LayerChoice(layer=""))
        return _Weights(
            first=np.array([*first, len(listed)], dtype=np.int64),
            strides=Sums.of([*strides, []]),
            choices=choices,
            bits=np.array([choice.weight_bits for choice in choices]),
            density=np.array([choice.weight_density for choice in choices]),
            codebook_size=np.array([choice.codebook_size or 0 for choice in choices]),
            by_channel=np.array([choice.codebook_granularity == "channel" for choice in choices]),
            stepped=np.array([choice.step is not None for choice in choices]),
            entropy=np.array([*entropies, 0.0]),
            coded_bits=np.array([*coded, 0.0]),
        )

    def _list_facts(self, kept: Int64Array, widths: Int64Array, stored: Int64Array, codes: Int64Array) -> Facts:
        parts = self._parts
        read = np.maximum.reduce([np.take(stored, columns, axis=1) for columns in parts.sources])
        own = np.take(widths, np.minimum(parts.owners, widths.shape[1] - 1), axis=1)
        return Facts(
            inputs=parts.inputs.add_up(kept),
            outputs=parts.outputs.add_up(kept),
            input_bits=np.where(parts.is_layer, own, read),
            read_bits=read,
            written_bits=np.take(stored, parts.targets, axis=1),
            codes=np.take(codes, parts.owners, axis=1),
        )

    def _layers(self, facts: Facts, at: Int64Array) -> LayerArrays:
        """Return the parts at some places of the network with their channels, and what is chosen for them."""
        weights = self._weights
        base = replace(self._base, **{each.name: getattr(self._base, each.name)[at] for each in fields(self._base)})
        is_layer, code = self._parts.is_layer[at], facts.codes
        groups = np.where(self._parts.depthwise[at], facts.inputs, np.where(is_layer, base.groups, 1))
        row = facts.inputs // groups
        count = facts.outputs * row * self._parts.window[at]
        return replace(
            with_channels(
                base,
                facts.inputs,
                facts.outputs * np.where(is_layer, base.columns_per_channel, 1),
                np.where(is_layer, groups, base.groups),
            ),
            weight_bits=weights.bits[code],
            input_bits=facts.input_bits,
            memory_input_bits=facts.read_bits,
            output_bits=facts.written_bits,
            density=np.where(is_layer, _nonzero(weights, code, count, row) / count, 1.0),
            codebook_size=weights.codebook_size[code],
            codebooks=np.where(weights.by_channel[code], facts.outputs, 1),
            entropy_bits=weights.entropy[code],
        )

    def _coded_bytes(self, facts: Facts) -> Float64Array:
        """Return about the bytes of a coded file, added up in the order of `CodedSizes`."""
        parts, weights = self._parts, self._weights
        at = parts.layers
        inputs, outputs, code = (np.take(each, at, axis=1) for each in (facts.inputs, facts.outputs, facts.codes))
        row = inputs // np.where(parts.depthwise[at], inputs, self._base.groups[at])
        stored = weights.coded_bits[code] * outputs * row * parts.window[at] / 8
        own = np.array([not layer.shares_weights for layer in self._graph.layers])
        beside = LAYER_BYTES + outputs * np.where(weights.stepped[code], STEPPED_BYTES, CHANNEL_BYTES)
        terms = np.stack((np.where(own, stored, 0.0), beside), axis=2).reshape(len(code), -1)
        whole = np.column_stack((np.full(len(code), FRAME_BYTES), terms))
        return np.cumsum(whole, axis=1)[:, -1]  # one after the other, as a loop adds them


def _each(bits: WeightBits, layer: str, choices: Sequence[LayerChoice]) -> list[float]:
    known = {choice: bits(layer, choice) for choice in dict.fromkeys(choices)}
    return [known[choice] for choice in choices]


def _nonzero(weights: _Weights, code: Int64Array, count: Int64Array, row: Int64Array) -> Int64Array:
    """Return how many of `count` weights in rows of `row` stay, as `explorer.compress.plan` does."""
    left = np.maximum(1, np.floor(weights.density[code] * count + 0.5).astype(np.int64))
    patterned = np.array([choice.pattern is not None for choice in weights.choices])
    for place in zip(*np.nonzero(patterned[code]), strict=True) if patterned.any() else ():
        pattern = weights.choices[code[place]].pattern or ""
        left[place] = min(left[place], pattern_count(pattern, int(count[place] // row[place]), int(row[place])))
    return left
