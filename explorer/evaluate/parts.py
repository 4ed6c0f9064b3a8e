"""What the parts of a network read, write, and have their choices of, as arrays over all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from explorer.arrays import Int64Array
from explorer.compress.candidate import uniform
from explorer.compress.plan import collect_choices, derive_stored_bits
from explorer.evaluate import hardware
from explorer.graph.layers import Layer, ModelGraph
from explorer.search.lookups import Sums, Widest, pad
from explorer.settings.values import MAXIMUM_BITS

NARROWEST = 2
"""Of the widths of activations."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartArrays:
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


class Facts(NamedTuple):
    """All that the cost of a part depends on beside what it is, networks x parts."""

    inputs: Int64Array
    outputs: Int64Array
    input_bits: Int64Array
    read_bits: Int64Array
    written_bits: Int64Array
    codes: Int64Array
    """Places of the choices for the weights."""


def arrange_parts(graph: ModelGraph) -> PartArrays:
    """Return the parts of a network, and what each has of its channels, widths and choices."""
    parts = hardware.list_parts(graph)
    owners = {owner: column for column, owner in enumerate(graph.weight_owners)}
    stored = {each.name: column for column, each in enumerate(graph.activations)}
    places = {part.name: place for place, part in enumerate(parts)}
    layers = [part if isinstance(part, Layer) else None for part in parts]
    sources = [[part.source] if isinstance(part, Layer) else part.sources for part in parts]
    return PartArrays(
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


def find_widest(graph: ModelGraph) -> Widest:
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


def number_distinct(facts: Facts) -> tuple[Int64Array, Int64Array] | None:
    """Return where there is one of each kind of part among all, and the kinds of all (networks x parts).

    Of a kind are those at one place of the network with the same facts. None where these are too many to be told apart
    by whole numbers of 64 bits.
    """
    sizes = [int(each.max()) + 1 for each in facts]
    if math.prod(sizes) > np.iinfo(np.int64).max:
        return None
    keys = np.zeros_like(facts.codes)
    for each, size in zip(facts, sizes, strict=True):
        keys = keys * size + each
    keys = np.ascontiguousarray(keys.T)
    order = np.argsort(keys, axis=1)
    ascending = np.take_along_axis(keys, order, axis=1)
    first = np.ones(keys.shape, dtype=np.bool_)
    first[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    kinds = np.empty(keys.shape[::-1], dtype=np.int64)  # by rows: sums over them are those of each network alone
    np.put_along_axis(kinds, order.T, np.cumsum(first).reshape(first.shape).T - 1, axis=0)
    parts, at = np.nonzero(first)
    return order[parts, at] * len(keys) + parts, kinds
