"""Mean activation: filters by how much they give on images."""

from __future__ import annotations

import torch
from torch import Tensor

from explorer.graph.modules import layer_module
from explorer.progress import Progress
from explorer.relevance.activations import find_activated, find_layer_nodes, watch
from explorer.relevance.build import build_layer_relevance, build_relevance
from explorer.relevance.multipliers import sum_per_channel
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance


def activation_mean(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return the mean |output| of a filter over positions, in their own units.

    Taken after the batch norm and the activation that directly follow the layer and alone read it, or after the last
    of them that there is, else at the layer's own output. Kept for each image, without a sign: `contributions` and
    `magnitudes` are one, and an aggregation says no more than how images are joined.

    Source:
        Molchanov et al., 2017, section 2.2.
    """
    model = sample.model
    nodes = {name: find_activated(model, node) for name, node in find_layer_nodes(sample).items()}
    tables: dict[str, list[Tensor]] = {name: [] for name in nodes}

    def see(name: str, given: Tensor) -> None:
        module = layer_module(sample.model, name)
        totals = sum_per_channel(module, given.abs())
        tables[name].append(totals * (totals.numel() / given.numel()))

    watch(sample, nodes, see, progress)
    means = {name: torch.cat(table) for name, table in tables.items()}
    layers = (
        build_layer_relevance(sample, name, contributions=table, magnitudes=table) for name, table in means.items()
    )
    return build_relevance(sample, "activation_mean", tuple(layers))
