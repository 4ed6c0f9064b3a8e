"""Order-0 entropy of the integers that a candidate's layers store, for the devices that read weights coded so."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch
from torch import nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.failures import NUMERICAL
from explorer.compress.norms import find_fold_signs
from explorer.compress.plan import collect_choices, count_kept_classes
from explorer.compress.prune import select_classes
from explorer.evaluate.known_entropies import Key, find_key, reads_entropies
from explorer.graph.layers import Layer, ModelGraph
from explorer.graph.modules import layer_module
from hwmodels import Accelerator, measure_entropy


def count_entropies(model: nn.Module, graph: ModelGraph) -> dict[str, float]:
    """Return the entropy of the integers of each layer of a network that is built, in bits a weight."""
    return {name: _measure(layer_module(model, name).get_buffer("weight_codes")) for name in graph.layer_names}


def round_to_nearest(context: CompressionContext) -> CompressionContext:
    """Return the context of a search where integers are rounded to the nearest, for which no layer is solved for."""
    search = context.for_search()
    return replace(search, quantizer=replace(search.quantizer, rounding="nearest", compensation="none"))


class WeightEntropies:
    """The entropies of a network's layers at any choice for their weights, each found once and remembered.

    With rounding to the nearest they are those of the network that is built, exactly: the filters that go are taken
    out of the float weights, and what is left is pruned, shared and quantised as `apply` does it, and turned where the
    batch norm behind the layer will turn it. No network is built, and no image is looked at. Adaptive rounding chooses
    integers by what a layer reads, which is not known here: they have another entropy.
    """

    def __init__(self, context: CompressionContext) -> None:
        self._context = context
        self._signs: dict[str, torch.Tensor] = {}
        self._found: dict[Key, float] = {}
        self._shortened: dict[tuple[str, ...], WeightEntropies] = {}

    def shortened(self, removed: Collection[str]) -> WeightEntropies:
        """Return the entropies of the network without these blocks, found once for each."""
        context = self._context.shortened(removed)
        if context is self._context:
            return self
        if context.graph.removed_blocks not in self._shortened:
            self._shortened[context.graph.removed_blocks] = WeightEntropies(context)
        return self._shortened[context.graph.removed_blocks]

    @property
    def graph(self) -> ModelGraph:
        """That of the network."""
        return self._context.graph

    @classmethod
    def of(cls, context: CompressionContext, accelerator: Accelerator) -> WeightEntropies | None:
        """Return the entropies for a device that reads weights coded by it, None for any other."""
        return cls(context) if reads_entropies(accelerator) else None

    def of_layer(
        self, layer: Layer, choice: LayerChoice, kept: tuple[int, ...], filters_by: str | None = None
    ) -> float:
        """Return the entropy in bits a weight, with so many classes `kept` of each group by the order of a criterion.

        Raises:
            CandidateError: When the order of filters is not known.
        """
        key = find_key(layer, choice, kept, filters_by)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._compute(layer, choice, kept, filters_by)
        return found

    def of_whole(self, layer: str, choice: LayerChoice) -> float:
        """Return the entropy in bits a weight of a layer from whose network no filters are removed."""
        return self.of_layer(self.graph.layer(layer), choice, tuple(group.size for group in self.graph.groups))

    def of_candidate(self, candidate: Candidate) -> dict[str, float]:
        """Return the entropies of all layers of a candidate, in bits a weight."""
        if (shortened := self.shortened(candidate.removed_blocks)) is not self:
            return shortened.of_candidate(candidate)
        graph = self._context.graph
        kept, choices = count_kept_classes(graph, candidate), collect_choices(graph, candidate)
        return {
            layer.name: self.of_layer(layer, choices[layer.name], kept, candidate.filters_by) for layer in graph.layers
        }

    def of_built(self, candidate: Candidate) -> dict[str, float]:
        """Return the entropies of the network that `apply` builds; it is only built where `of_candidate` may differ."""
        if self._context.quantizer.fitting != "propagated":
            return self.of_candidate(candidate)
        try:
            graph = self._context.graph_without(candidate.removed_blocks)
            return count_entropies(apply(self._context, candidate), graph)
        except NUMERICAL:  # it cannot be computed, but costs what it does all the same
            return self.of_candidate(candidate)

    def _compute(self, layer: Layer, choice: LayerChoice, kept: tuple[int, ...], filters_by: str | None) -> float:
        context = self._context
        if not self._signs:
            self._signs = find_fold_signs(context.model, context.graph.layer_names)
        classes = select_classes(context.graph, kept, context.order_by(filters_by))
        codes, _ = context.find_static_codes(layer, choice, classes)
        left = [place for place, identity in enumerate(layer.output_classes) if identity in classes]
        return _measure(codes.flatten(1) * self._signs[layer.name][left, None])


def _measure(codes: torch.Tensor) -> float:
    return measure_entropy(codes.to(torch.int8).cpu().numpy())
