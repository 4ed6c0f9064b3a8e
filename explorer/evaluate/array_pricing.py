"""What many points of a design space cost, priced together: about a microsecond for each layer of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from explorer.arrays import Float64Array, Int64Array
from explorer.compress.candidate import LayerChoice, uniform
from explorer.compress.plan import collect_choices, count_kept, derive_stored_bits, plan
from explorer.evaluate import hardware
from explorer.evaluate.coded_size import CHANNEL_BYTES, FRAME_BYTES, LAYER_BYTES, STEPPED_BYTES
from explorer.graph.layers import ChannelGroup, Layer, ModelGraph
from explorer.search.axes import ACTIVATION_BITS, FILTER_KEEP_RATIO
from explorer.search.lookups import Chosen, Sums, Widest, pad
from explorer.search.space import SearchSpace
from explorer.settings.pattern import pattern_count
from explorer.settings.values import MAXIMUM_BITS
from hwmodels import Accelerator, LayerArrays, evaluate, layer_arrays, tensor_arrays, with_channels

NARROWEST = 2
"""Of the widths of activations."""
AT_ONCE = 16384
"""Parts of networks that are priced at once: larger arrays leave the cache, and give back their memory at every step
(assumed; 256 networks of 300 layers and as many activation functions take 70 ms instead of 100)."""
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Parts:
    """Layers and operations in the order of computation: what each reads, writes, and has its choices of."""

    is_layer: np.ndarray
    depthwise: np.ndarray
    owners: Int64Array
    """Columns of those that choose for layers; behind the last one for operations."""
    window: Int64Array
    inputs: Sums
    outputs: Sums
    sources: Int64Array
    """Columns of activations, few x parts: of several the widest counts."""
    targets: Int64Array
    layers: Int64Array
    """The places of the layers, in the order of the network's."""


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
        self._parts = _list_parts(graph)
        self._widest = _find_widest(graph)
        self._channels = Sums.of([each.channels for each in graph.activations])
        self._area = np.array([each.size[0] * each.size[1] for each in graph.activations], dtype=np.int64)

    def price(self, points: Int64Array) -> ArrayPrices:
        """Return the cost of points (N x axes of indices).

        Raises:
            LayerError: Where the device cannot run one.
        """
        rows = max(1, AT_ONCE // len(self._parts.owners))
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
        inputs, outputs = self._parts.inputs.add_up(kept), self._parts.outputs.add_up(kept)
        layers = self._layers(inputs, outputs, widths, stored, codes)
        tensors = replace(self._tensors, elements=self._channels.add_up(kept) * self._area, bits=stored)
        costs = evaluate(layers, self._accelerator, tensors)
        in_float = hardware.count_kept_float_bytes(self._graph)
        return ArrayPrices(
            energy_uj=costs.energy_pj.astype(np.float64) * 1e-6,
            latency_ms=costs.latency_ms.astype(np.float64),
            weight_bytes=costs.weight_bytes + in_float,
            activation_bytes=costs.peak_activation_bytes,
            macs=costs.macs,
            coded_bytes=None if self._coded is None else in_float + self._coded_bytes(inputs, outputs, codes),
        )

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

    def _layers(
        self, inputs: Int64Array, outputs: Int64Array, widths: Int64Array, stored: Int64Array, codes: Int64Array
    ) -> LayerArrays:
        """Return the layers and operations (N x parts) with their channels, and what is chosen for them."""
        parts, weights, base = self._parts, self._weights, self._base
        groups = np.where(parts.depthwise, inputs, np.where(parts.is_layer, base.groups, 1))
        row = inputs // groups
        code = np.take(codes, parts.owners, axis=1)
        count = outputs * row * parts.window
        read = np.maximum.reduce([np.take(stored, columns, axis=1) for columns in parts.sources])
        own = np.take(widths, np.minimum(parts.owners, widths.shape[1] - 1), axis=1)
        return replace(
            with_channels(
                base,
                inputs,
                outputs * np.where(parts.is_layer, base.columns_per_channel, 1),
                np.where(parts.is_layer, groups, base.groups),
            ),
            weight_bits=weights.bits[code],
            input_bits=np.where(parts.is_layer, own, read),
            memory_input_bits=read,
            output_bits=np.take(stored, parts.targets, axis=1),
            density=np.where(parts.is_layer, _nonzero(weights, code, count, row) / count, 1.0),
            codebook_size=weights.codebook_size[code],
            codebooks=np.where(weights.by_channel[code], outputs, 1),
            entropy_bits=weights.entropy[code],
        )

    def _coded_bytes(self, inputs: Int64Array, outputs: Int64Array, codes: Int64Array) -> Float64Array:
        """Return about the bytes of a coded file, added up in the order of `CodedSizes`."""
        parts, weights = self._parts, self._weights
        at = parts.layers
        inputs, outputs = np.take(inputs, at, axis=1), np.take(outputs, at, axis=1)
        code = np.take(codes, parts.owners[at], axis=1)
        row = inputs // np.where(parts.depthwise[at], inputs, self._base.groups[at])
        stored = weights.coded_bits[code] * outputs * row * parts.window[at] / 8
        own = np.array([not layer.shares_weights for layer in self._graph.layers])
        beside = LAYER_BYTES + outputs * np.where(weights.stepped[code], STEPPED_BYTES, CHANNEL_BYTES)
        terms = np.stack((np.where(own, stored, 0.0), beside), axis=2).reshape(len(codes), -1)
        whole = np.column_stack((np.full(len(codes), FRAME_BYTES), terms))
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


def _list_parts(graph: ModelGraph) -> _Parts:
    parts = hardware.list_parts(graph)
    owners = {owner: column for column, owner in enumerate(graph.weight_owners)}
    stored = {each.name: column for column, each in enumerate(graph.activations)}
    places = {part.name: place for place, part in enumerate(parts)}
    layers = [part if isinstance(part, Layer) else None for part in parts]
    sources = [[part.source] if isinstance(part, Layer) else part.sources for part in parts]
    return _Parts(
        is_layer=np.array([layer is not None for layer in layers]),
        depthwise=np.array([layer is not None and layer.depthwise for layer in layers]),
        owners=np.array([owners[layer.chosen_by] if layer else len(owners) for layer in layers], dtype=np.int64),
        window=np.array([math.prod(layer.kernel_size) if layer else 1 for layer in layers], dtype=np.int64),
        inputs=Sums.of([part.reads if isinstance(part, Layer) else part.channels for part in parts]),
        outputs=Sums.of([part.produces if isinstance(part, Layer) else part.channels for part in parts]),
        sources=pad([[stored[name] for name in names] for names in sources], repeated=True),
        targets=np.array([stored[part.target] for part in parts], dtype=np.int64),
        layers=np.array([places[layer.name] for layer in graph.layers], dtype=np.int64),
    )


def _find_widest(graph: ModelGraph) -> Widest:
    """Return for each activation the least width at which it is stored, and the layers whose inputs may widen it.

    A stored width is the widest of those of some layers, or fixed (`derive_stored_bits`): with all as narrow as can be,
    one layer that is wide shows where it counts.
    """
    narrow = collect_choices(graph, uniform(graph, activation_bits=NARROWEST))
    least = derive_stored_bits(graph, narrow)
    found: dict[str, list[int]] = {name: [] for name in least}
    for column, owner in enumerate(graph.weight_owners):
        wide = {
            layer.name: replace(narrow[layer.name], activation_bits=MAXIMUM_BITS)
            for layer in graph.layers
            if layer.chosen_by == owner
        }
        for name, bits in derive_stored_bits(graph, {**narrow, **wide}).items():
            if bits != least[name]:
                found[name].append(column)
    names = [each.name for each in graph.activations]
    return Widest(np.array([least[name] for name in names], dtype=np.int64), pad([found[name] for name in names]))
