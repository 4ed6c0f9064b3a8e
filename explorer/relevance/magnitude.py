"""Magnitude: filters by their norm, weights by their absolute value."""

from __future__ import annotations

from torch import Tensor

from explorer.graph.modules import layer_module
from explorer.progress import Progress
from explorer.relevance.build import build_layer_relevance, build_relevance
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance


def compute_filter_norms(weight: Tensor, order: int) -> Tensor:
    """Return the l1 or l2 norm of each filter (out_channels), in float64."""
    flat = weight.detach().double().flatten(1)
    return flat.abs().sum(1) if order == 1 else flat.square().sum(1).sqrt()


def l1(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return the sums of a filter's absolute weights, in units of the weights.

    The weights are those of the layer itself: a batch norm that follows is not folded into them. Weight multipliers are
    1, so that a single weight counts |w| (Han et al., 2015). Images are not looked at.

    Source:
        Li et al., 2017, section 3.1.
    """
    return _magnitude("l1", 1, sample, progress)


def l2(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return roots of the sums of a filter's squared weights, in their units; otherwise as `l1`.

    Source:
        He et al., 2018.
    """
    return _magnitude("l2", 2, sample, progress)


def _magnitude(method: str, order: int, sample: Sample, progress: Progress | None) -> Relevance:
    layers = []
    for name in sample.graph.layer_names:
        layers.append(
            build_layer_relevance(
                sample, name, filter_scores=compute_filter_norms(layer_module(sample.model, name).weight, order)
            )
        )
        if progress is not None:
            progress(len(layers), len(sample.graph.layers))
    return build_relevance(sample, method, tuple(layers))
