"""Network slimming: filters by the gain of the batch norm behind them."""

from __future__ import annotations

import torch
from torch import Tensor

from explorer.errors import RelevanceError
from explorer.graph.modules import layer_module
from explorer.progress import Progress
from explorer.relevance.activations import find_layer_nodes, find_norm_after
from explorer.relevance.build import build_layer_relevance, build_relevance
from explorer.relevance.magnitude import compute_filter_norms
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance


def bn_gamma(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return |gain| of the batch norm that alone reads a layer (gamma); without unit.

    A layer without one gets its filters' l2 norms over their mean, times the median |gain| of the network: within the
    layer filters are ranked by magnitude, and against other layers they are neither preferred nor put back. Images are
    not looked at.

    Raises:
        RelevanceError: When no layer has a batch norm behind it.

    Source:
        Liu et al., 2017, section 3.
    """
    gains = {}
    for name, node in find_layer_nodes(sample).items():
        found = find_norm_after(sample.model, node)
        if found is not None and found[1].affine and found[1].num_features == sample.graph.layer(name).out_channels:
            gains[name] = found[1].weight.detach().double().abs()
    if not gains:
        raise RelevanceError(
            "relevance.method: bn_gamma reads the gains of batch norms, and no layer of this network has one behind "
            "it; choose another criterion, such as l2"
        )
    median = torch.cat(tuple(gains.values())).median()
    layers = []
    for name in sample.graph.layer_names:
        scores = (
            gains[name]
            if name in gains
            else median * _relative(compute_filter_norms(layer_module(sample.model, name).weight, 2))
        )
        layers.append(build_layer_relevance(sample, name, filter_scores=scores))
        if progress is not None:
            progress(len(layers), len(sample.graph.layers))
    return build_relevance(sample, "bn_gamma", tuple(layers))


def _relative(norms: Tensor) -> Tensor:
    """Return the norms over their mean; ones where all are zero."""
    return norms / norms.mean() if bool(norms.any()) else torch.ones_like(norms)
