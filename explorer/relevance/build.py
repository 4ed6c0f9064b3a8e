"""From what a criterion computed to the record that is kept of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from explorer.arrays import Float32Array
from explorer.graph.modules import layer_module
from explorer.relevance.aggregation import aggregate
from explorer.relevance.sample import Sample
from explorer.relevance.scores import LayerRelevance, Relevance


def build_relevance(
    sample: Sample, method: str, layers: tuple[LayerRelevance, ...], completeness: float | None = None
) -> Relevance:
    """Return the record of what a method said of a sample."""
    return Relevance(
        method=method,
        reference=sample.reference,
        target=sample.target,
        aggregation=sample.aggregation,
        samples=len(sample),
        completeness=completeness,
        explained=tuple(sample.explained.tolist()),
        layers=layers,
    )


def build_layer_relevance(
    sample: Sample,
    name: str,
    *,
    filter_scores: Tensor | None = None,
    weight_multipliers: Tensor | None = None,
    input_multipliers: Tensor | None = None,
    contributions: Tensor | None = None,
    magnitudes: Tensor | None = None,
) -> LayerRelevance:
    """Return what a criterion says of a layer: ones where it says nothing, no images where it scores none singly.

    With `contributions` and `magnitudes` (images x out_channels) and without `filter_scores` the scores are aggregated
    as the sample asks.
    """
    layer, weight = sample.graph.layer(name), layer_module(sample.model, name).weight
    none = weight.new_zeros((0, layer.out_channels))
    table, without_signs = (as_array(none if each is None else each) for each in (contributions, magnitudes))
    if filter_scores is None and len(table):
        scores = aggregate(table, without_signs, sample.aggregation)
    else:
        scores = as_array(weight.new_ones(layer.out_channels) if filter_scores is None else filter_scores)
    return LayerRelevance(
        layer=name,
        filter_scores=scores,
        weight_multipliers=as_array(torch.ones_like(weight) if weight_multipliers is None else weight_multipliers),
        input_multipliers=as_array(
            weight.new_ones(layer.in_channels) if input_multipliers is None else input_multipliers
        ),
        contributions=table,
        magnitudes=without_signs,
    )


def as_array(tensor: Tensor) -> Float32Array:
    """Return the tensor in float32, on the CPU."""
    array: Float32Array = tensor.detach().float().cpu().numpy().astype(np.float32, copy=False)
    return array
