"""Entropies of the integers of layers that were found once, for the prices of candidates without torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.plan import collect_choices, count_kept_classes, decide_weights
from explorer.graph.layers import Layer, ModelGraph
from hwmodels import Accelerator

ENTROPY = "entropy"
"""The format of hwmodels.WEIGHT_FORMATS whose size depends on the values of the weights."""
GraphWithout = Callable[[tuple[str, ...]], ModelGraph]
"""The graph of a network without the blocks of these names."""
Key = tuple[Any, ...]


class LayerEntropies(Protocol):
    """The entropies of a network's layers, in bits a weight; LookupError where one is not known."""

    def shortened(self, removed: tuple[str, ...], /) -> LayerEntropies:
        """Return those of the network without these blocks."""

    def of_layer(
        self, layer: Layer, choice: LayerChoice, kept: tuple[int, ...], filters_by: str | None = None
    ) -> float:
        """Return that of a layer with so many classes `kept` of each group by the order of a criterion."""

    def of_candidate(self, candidate: Candidate) -> Mapping[str, float]:
        """Return those of all layers of a candidate."""


def reads_entropies(accelerator: Accelerator) -> bool:
    """Return whether a device reads weights coded by their entropy."""
    return ENTROPY in accelerator.weight_formats


def find_key(layer: Layer, choice: LayerChoice, kept: Sequence[int], filters_by: str | None) -> Key:
    """Return all that the entropy of a layer depends on in one network."""
    touched = tuple([kept[group] for group, _ in (*layer.produces, *layer.reads)])
    return (layer.name, decide_weights(choice), touched, filters_by)


class KnownEntropies:
    """The entropies that candidates have had, also for others whose layers are among theirs."""

    def __init__(
        self, graph_without: GraphWithout, found: Mapping[Key, Mapping[Key, float]], removed: Key = ()
    ) -> None:
        self._graph_without, self._found, self._removed = graph_without, found, removed

    @classmethod
    def of(cls, graph_without: GraphWithout, known: Iterable[tuple[Candidate, Sequence[float]]]) -> KnownEntropies:
        """Return what the entropies of some candidates tell, given in the order of the layers of their graphs."""
        found: defaultdict[Key, dict[Key, float]] = defaultdict(dict)
        for candidate, entropies in known:
            keys = _list_keys(graph_without(candidate.removed_blocks), candidate)
            found[candidate.removed_blocks].update(zip(keys, entropies, strict=True))
        return cls(graph_without, found)

    def shortened(self, removed: tuple[str, ...]) -> KnownEntropies:
        """Return those of the network without these blocks."""
        return KnownEntropies(self._graph_without, self._found, removed)

    def of_layer(
        self, layer: Layer, choice: LayerChoice, kept: tuple[int, ...], filters_by: str | None = None
    ) -> float:
        """Return the entropy of a layer in bits a weight; LookupError where no candidate has had it."""
        return self._found.get(self._removed, {})[find_key(layer, choice, kept, filters_by)]

    def of_candidate(self, candidate: Candidate) -> dict[str, float]:
        """Return the entropies of all layers of a candidate, in bits a weight; LookupError where one is not known."""
        found = self._found.get(candidate.removed_blocks, {})
        return {key[0]: found[key] for key in _list_keys(self._graph_without(candidate.removed_blocks), candidate)}


def _list_keys(graph: ModelGraph, candidate: Candidate) -> list[Key]:
    kept, choices = count_kept_classes(graph, candidate), collect_choices(graph, candidate)
    return [find_key(layer, choices[layer.name], kept, candidate.filters_by) for layer in graph.layers]
