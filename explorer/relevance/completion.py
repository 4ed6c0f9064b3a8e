"""Relevance whose parts can be traded against each other, also where a criterion does not speak of all of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from explorer.graph.layers import Layer, ModelGraph
from explorer.graph.modules import layer_module
from explorer.relevance.build import as_array
from explorer.relevance.criteria import ALL, CRITERIA, Subject
from explorer.relevance.sample import Sample
from explorer.relevance.scores import LayerRelevance, Relevance, score_classes


def fill_missing(relevance: Relevance, sample: Sample, subjects: Collection[Subject]) -> Relevance:
    """Return the relevance by a criterion that scores `subjects` alone, with all parts filled in and in one unit.

    One that speaks of filters, weights and inputs alike has one unit, and is returned as it is. For any other,
    what it does not speak of is taken as relative squared error: weights and inputs count so that losing all of a
    layer's counts 1, and a filter counts as its share of the layer's L2 norm. Losing all filters, all weights or all
    inputs destroys a network alike; each of the three parts is therefore scaled so that the estimated loss of losing
    all of it is 1. Within a part what the criterion says of layers is kept, up to that factor.
    """
    if set(subjects) == ALL:
        return relevance
    means = _mean_inputs(sample)
    layers = tuple(
        _filled(relevance.layer(layer.name), layer, get_weight(sample, layer.name), means[layer.name], subjects)
        for layer in sample.graph.layers
    )
    filled = replace(relevance, layers=layers)
    lost = {
        "filters": sum(estimate_filter_losses(sample.graph, filled).values()),
        "weights": sum(
            float(np.square(entry.weight_multipliers * get_weight(sample, entry.layer)).sum()) for entry in layers
        ),
        "inputs": sum(
            float(np.square(entry.input_multipliers).sum()) / _positions(layer) * means[layer.name] ** 2
            for entry, layer in zip(layers, sample.graph.layers, strict=True)
        ),
    }
    powers = {"filters": -1.0 if is_loss(filled.method) else -0.5}
    factors = {part: total ** powers.get(part, -0.5) if total > 0 else 1.0 for part, total in lost.items()}
    return replace(filled, layers=tuple(_scaled(entry, factors) for entry in layers))


def estimate_filter_losses(graph: ModelGraph, relevance: Relevance) -> dict[int, float]:
    """Return the loss without each channel class: the sum of its filters' scores, squared unless these are losses."""
    power = 1 if is_loss(relevance.method) else 2
    return {identity: score**power for identity, score in score_classes(graph, relevance).items()}


def is_loss(method: str) -> bool:
    """Return whether the filter scores of a criterion are losses themselves; those filled in for it never are."""
    criterion = CRITERIA.get(method)
    return criterion is not None and criterion.is_loss and "filters" in criterion.subjects


def get_weight(sample: Sample, layer: str) -> np.ndarray:
    """Return the weight of a layer in the float network."""
    return as_array(layer_module(sample.model, layer).weight)


def _mean_inputs(sample: Sample) -> dict[str, float]:
    """Return the mean magnitude of what each layer reads."""
    found: dict[str, float] = {}
    handles = []
    for layer in sample.graph.layers:

        def record(module: nn.Module, inputs: tuple[torch.Tensor, ...], name: str = layer.name) -> None:
            found[name] = float(inputs[0].abs().double().mean())

        handles.append(layer_module(sample.model, layer.name).register_forward_pre_hook(record))
    try:
        with torch.no_grad():
            sample.model(*sample.inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _filled(
    entry: LayerRelevance, layer: Layer, weight: np.ndarray, mean_input: float, subjects: Collection[Subject]
) -> LayerRelevance:
    norm = float(np.sqrt(np.square(weight, dtype=np.float64).sum()))
    norms = np.sqrt(np.square(weight.reshape(len(weight), -1), dtype=np.float64).sum(1))
    one = float(np.sqrt(_positions(layer) / len(entry.input_multipliers)))
    return replace(
        entry,
        filter_scores=entry.filter_scores if "filters" in subjects else _float32(norms / norm if norm > 0 else norms),
        weight_multipliers=entry.weight_multipliers
        if "weights" in subjects
        else np.full_like(entry.weight_multipliers, 1 / norm if norm > 0 else 1.0),
        input_multipliers=entry.input_multipliers
        if "inputs" in subjects
        else np.full_like(entry.input_multipliers, one / mean_input if mean_input > 0 else one),
    )


def _scaled(entry: LayerRelevance, factors: dict[str, float]) -> LayerRelevance:
    return replace(
        entry,
        filter_scores=_float32(entry.filter_scores * factors["filters"]),
        weight_multipliers=_float32(entry.weight_multipliers * factors["weights"]),
        input_multipliers=_float32(entry.input_multipliers * factors["inputs"]),
        contributions=_float32(entry.contributions * factors["filters"]),
        magnitudes=_float32(entry.magnitudes * factors["filters"]),
    )


def _positions(layer: Layer) -> int:
    return layer.input_size[0] * layer.input_size[1]


def _float32(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)
