"""What many points of a design space cost, priced together: about a microsecond for each layer of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from explorer.arrays import Float64Array, Int64Array
from explorer.compress.candidate import LayerChoice, uniform
from explorer.compress.plan import collect_choices, count_kept, derive_stored_bits, plan
from explorer.evaluate import hardware
from explorer.evaluate.coded_size import CHANNEL_BYTES, FRAME_BYTES, LAYER_BYTES, STEPPED_BYTES
from explorer.graph.layers import GroupCount, Layer, ModelGraph
from explorer.search.axes import ACTIVATION_BITS, FILTER_KEEP_RATIO
from explorer.search.space import SearchSpace
from explorer.settings.pattern import pattern_count
from explorer.settings.values import MAXIMUM_BITS
from hwmodels import Accelerator, LayerArrays, evaluate, layer_arrays, tensor_arrays, with_channels

NARROWEST = 2
"""Of the widths of activations."""
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
    """The choices for the weights of a layer by a code: the sum of indices on its axes times their strides."""

    places: Int64Array
    strides: Int64Array
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
        self._parts = hardware.list_parts(graph)
        self._base = layer_arrays(hardware.list_layer_jobs(graph, planned))
        self._tensors = tensor_arrays(hardware.list_activation_tensors(graph, planned))
        self._axes = {(axis.knob.name, axis.of): (place, axis.values) for place, axis in enumerate(space.axes)}
        self._weights = {owner: self._list_weights(space, owner) for owner in graph.weight_owners}
        self._widest = _find_widest(graph)

    def price(self, points: Int64Array) -> ArrayPrices:
        """Return the cost of points (N x axes of indices).

        Raises:
            LayerError: Where the device cannot run one.
        """
        count = len(points)
        kept = [self._kept(group.name, group.size, bool(group.locked), points) for group in self._graph.groups]
        widths = {owner: self._width(owner, points) for owner in self._graph.weight_owners}
        stored = {
            name: np.maximum.reduce([np.full(count, least), *(widths[owner] for owner in owners)])
            for name, (least, owners) in self._widest.items()
        }
        codes = {owner: points[:, found.places] @ found.strides for owner, found in self._weights.items()}
        layers = self._layers(kept, widths, stored, codes)
        activations = self._graph.activations
        elements = [_channels(each.channels, kept) * each.size[0] * each.size[1] for each in activations]
        tensors = replace(
            self._tensors,
            elements=np.stack(np.broadcast_arrays(*elements), 1),
            bits=np.stack([stored[each.name] for each in activations], 1),
        )
        costs = evaluate(layers, self._accelerator, tensors)
        in_float = hardware.count_kept_float_bytes(self._graph)
        return ArrayPrices(
            energy_uj=costs.energy_pj.astype(np.float64) * 1e-6,
            latency_ms=costs.latency_ms.astype(np.float64),
            weight_bytes=costs.weight_bytes + in_float,
            activation_bytes=costs.peak_activation_bytes,
            macs=costs.macs,
            coded_bytes=None if self._coded is None else in_float + self._coded_bytes(kept, codes),
        )

    def _list_weights(self, space: SearchSpace, layer: str) -> _Weights:
        places, choices = space.list_weight_choices(layer)
        sizes = [len(space.axes[place].values) for place in places]
        nothing = np.zeros(len(choices))
        return _Weights(
            places=np.array(places, dtype=np.int64),
            strides=np.array(
                [np.prod(sizes[place + 1 :], dtype=np.int64) for place in range(len(sizes))], dtype=np.int64
            ),
            choices=choices,
            bits=np.array([choice.weight_bits for choice in choices]),
            density=np.array([choice.weight_density for choice in choices]),
            codebook_size=np.array([choice.codebook_size or 0 for choice in choices]),
            by_channel=np.array([choice.codebook_granularity == "channel" for choice in choices]),
            stepped=np.array([choice.step is not None for choice in choices]),
            entropy=nothing if self._entropy is None else _each(self._entropy, layer, choices),
            coded_bits=nothing if self._coded is None else _each(self._coded, layer, choices),
        )

    def _kept(self, group: str, size: int, locked: bool, points: Int64Array) -> Int64Array:
        place, ratios = self._axes.get((FILTER_KEEP_RATIO.name, group), (-1, (1.0,)))
        if locked or place < 0:
            return np.full(len(points), size if locked else count_kept(ratios[0], size))
        return np.array([count_kept(ratio, size) for ratio in ratios])[points[:, place]]

    def _width(self, owner: str, points: Int64Array) -> Int64Array:
        place, widths = self._axes.get((ACTIVATION_BITS.name, owner), (-1, ()))
        return np.full(len(points), MAXIMUM_BITS) if place < 0 else np.array(widths)[points[:, place]]

    def _layers(
        self,
        kept: Sequence[Int64Array],
        widths: Mapping[str, Int64Array],
        stored: Mapping[str, Int64Array],
        codes: Mapping[str, Int64Array],
    ) -> LayerArrays:
        base = self._base
        columns: list[tuple[Any, ...]] = []
        for index, part in enumerate(self._parts):
            if not isinstance(part, Layer):
                channels = _channels(part.channels, kept)
                bits = np.maximum.reduce([stored[name] for name in part.sources])
                columns.append(
                    (channels, channels, base.groups[index], 8, bits, bits, stored[part.target], 1.0, 0, 1, 0.0)
                )
                continue
            weights, code = self._weights[part.chosen_by], codes[part.chosen_by]
            inputs, outputs = _channels(part.reads, kept), _channels(part.produces, kept)
            groups = inputs if part.depthwise else base.groups[index]
            row = inputs // groups
            count = outputs * row * part.kernel_size[0] * part.kernel_size[1]
            columns.append(
                (
                    *(inputs, outputs * base.columns_per_channel[index], groups, weights.bits[code]),
                    *(widths[part.chosen_by], stored[part.source], stored[part.target]),
                    *(_nonzero(weights, code, count, row) / count, weights.codebook_size[code]),
                    *(np.where(weights.by_channel[code], outputs, 1), weights.entropy[code]),
                )
            )
        fields = [np.stack(np.broadcast_arrays(*field, kept[0])[:-1], 1) for field in zip(*columns, strict=True)]
        inputs, outputs, groups, *rest = fields
        names = (
            "weight_bits",
            "input_bits",
            "memory_input_bits",
            "output_bits",
            "density",
            "codebook_size",
            "codebooks",
        )
        return replace(
            with_channels(base, inputs, outputs, groups), **dict(zip((*names, "entropy_bits"), rest, strict=True))
        )

    def _coded_bytes(self, kept: Sequence[Int64Array], codes: Mapping[str, Int64Array]) -> Float64Array:
        """Return about the bytes of a coded file, as `CodedSizes` adds them up."""
        total = np.full(len(kept[0]), FRAME_BYTES)
        for layer in self._graph.layers:
            weights, code = self._weights[layer.chosen_by], codes[layer.chosen_by]
            inputs, outputs = _channels(layer.reads, kept), _channels(layer.produces, kept)
            if not layer.shares_weights:
                row = inputs // (inputs if layer.depthwise else layer.groups)
                window = layer.kernel_size[0] * layer.kernel_size[1]
                total += weights.coded_bits[code] * outputs * row * window / 8
            total += LAYER_BYTES + outputs * np.where(weights.stepped[code], STEPPED_BYTES, CHANNEL_BYTES)
        return total


def _each(bits: WeightBits, layer: str, choices: Sequence[LayerChoice]) -> Float64Array:
    known = {choice: bits(layer, choice) for choice in dict.fromkeys(choices)}
    return np.array([known[choice] for choice in choices])


def _channels(shares: Sequence[GroupCount], kept: Sequence[Int64Array]) -> Int64Array:
    total: Int64Array = sum((kept[group] * count for group, count in shares), np.zeros_like(kept[0]))
    return total


def _nonzero(weights: _Weights, code: Int64Array, count: Int64Array, row: Int64Array) -> Int64Array:
    """Return how many of `count` weights in rows of `row` stay, as `explorer.compress.plan` does."""
    left = np.maximum(1, np.floor(weights.density[code] * count + 0.5).astype(np.int64))
    for index in np.flatnonzero([choice.pattern is not None for choice in weights.choices]):
        pattern = weights.choices[index].pattern or ""
        for place in np.flatnonzero(code == index):
            rows = int(count[place] // row[place])
            left[place] = min(left[place], pattern_count(pattern, rows, int(row[place])))
    return left


def _find_widest(graph: ModelGraph) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Return for each activation the least width at which it is stored, and the layers whose inputs may widen it.

    A stored width is the widest of those of some layers, or fixed (`derive_stored_bits`): with all as narrow as can be,
    one layer that is wide shows where it counts.
    """
    narrow = collect_choices(graph, uniform(graph, activation_bits=NARROWEST))
    least = derive_stored_bits(graph, narrow)
    found: dict[str, tuple[int, tuple[str, ...]]] = {name: (bits, ()) for name, bits in least.items()}
    for owner in graph.weight_owners:
        wide = {
            layer.name: replace(narrow[layer.name], activation_bits=MAXIMUM_BITS)
            for layer in graph.layers
            if layer.chosen_by == owner
        }
        for name, bits in derive_stored_bits(graph, {**narrow, **wide}).items():
            if bits != least[name]:
                found[name] = (least[name], (*found[name][1], owner))
    return found
