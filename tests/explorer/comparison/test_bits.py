"""Widths for an average: in proportion to the relevance of layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from explorer.comparison.bits import choose_in_proportion
from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import uniform
from explorer.relevance.scores import LayerRelevance, Relevance


def relevance_for(base: CompressionContext, totals: Mapping[str, float]) -> Relevance:
    """Relevance whose filter scores of a layer add up to the given total."""
    layers = tuple(
        LayerRelevance(
            layer=layer.name,
            filter_scores=np.full(layer.out_channels, totals[layer.name] / layer.out_channels, np.float32),
            weight_multipliers=np.ones(1, np.float32),
            input_multipliers=np.ones(layer.in_channels, np.float32),
            contributions=np.zeros((0, layer.out_channels), np.float32),
            magnitudes=np.zeros((0, layer.out_channels), np.float32),
        )
        for layer in base.graph.layers
    )
    how = {"method": "deeplift", "reference": "zero", "target": "true", "aggregation": "mean"}
    return Relevance(**how, samples=0, completeness=None, explained=(), layers=layers)


def test_bits_follow_the_total_relevance_of_layers(context: Callable[[str], CompressionContext]) -> None:
    base = context("lenet5_digits")
    names = base.graph.layer_names
    relevance = relevance_for(base, {name: 2.0**i for i, name in enumerate(names)})
    sizes = {layer.name: layer.weights for layer in base.graph.layers}
    before = 0.0
    for average in (2.0, 2.5, 3.0, 4.5, 8.0):
        found = choose_in_proportion(base.graph, relevance, average)
        bits = {choice.layer: choice.weight_bits for choice in found.layers}
        mean = sum(bits[name] * sizes[name] for name in names) / sum(sizes.values())
        assert before <= mean <= average
        assert list(bits.values()) == sorted(bits.values())
        before = mean
    assert found == uniform(base.graph)
    alike = relevance_for(base, dict.fromkeys(names, 1.0))
    assert choose_in_proportion(base.graph, alike, 5.2) == uniform(base.graph, 5)
    assert choose_in_proportion(base.graph, alike, 5.2, (2, 4, 8)) == uniform(base.graph, 4)
    assert choose_in_proportion(base.graph, alike, 1.0) == uniform(base.graph, 2)
    nothing = relevance_for(base, dict.fromkeys(names, 0.0))
    assert choose_in_proportion(base.graph, nothing, 6.0) == uniform(base.graph, 2)
