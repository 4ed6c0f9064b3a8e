"""Data-free similarity: a filter that is close to the others of its layer can be replaced by them."""

from __future__ import annotations

import torch

from explorer.graph.modules import layer_module
from explorer.progress import Progress
from explorer.relevance.build import build_layer_relevance, build_relevance
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance


def similarity(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return the sum of a filter's Euclidean distances to all other filters of its layer.

    That sum is smallest for the filters next to the layer's geometric median. In units of the weights, which are those
    of the layer itself, without its batch norm. In a grouped layer kernels are compared whichever channels they read.
    The only filter of a layer has score 0. Images are not looked at; nothing is merged, as by `merging`.

    Source:
        He et al., 2019.
    """
    layers = []
    for name in sample.graph.layer_names:
        filters = layer_module(sample.model, name).weight.detach().double().flatten(1)
        layers.append(build_layer_relevance(sample, name, filter_scores=torch.cdist(filters, filters).sum(1)))
        if progress is not None:
            progress(len(layers), len(sample.graph.layers))
    return build_relevance(sample, "similarity", tuple(layers))
