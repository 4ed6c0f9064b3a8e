"""Data-free pruning: what is lost when a similar neuron takes over the outgoing weights of a removed one."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from explorer.graph.twins import Alike, find_alike
from explorer.progress import Progress
from explorer.relevance.build import build_layer_relevance, build_relevance
from explorer.relevance.sample import Sample
from explorer.relevance.scores import Relevance


def merging(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return how much is lost by when a filter goes, where filters are merged one after the other.

    The saliency of a filter is the mean square of its outgoing weights times the squared distance of its incoming
    weights and bias to those of the filter next to it. The least salient goes, its outgoing weights are added to that
    neighbour's, and so on; a score is the sum of saliencies so far. Weights count times the gain of the batch norm that
    alone reads them, which the source does not have, and so does what it takes off. Channels that an addition ties
    together go together, after the distances of all their filters. Where no neighbour is left, and where zeros are
    nearer than any, the distance is that to zeros. Layers whose filters all stay have score 1. Images are not looked
    at.

    Source:
        Srinivas and Babu, 2015, section 3.
    """
    found: dict[int, float] = {}
    for alike in find_alike(sample.model, sample.graph):
        found.update(zip(alike.classes, merge_in_turn(alike).tolist(), strict=True))
    filters = Counter(identity for layer in sample.graph.layers for identity in layer.output_classes)
    layers = []
    for layer in sample.graph.layers:
        scores = [found[each] / filters[each] if each in found else 1.0 for each in layer.output_classes]
        layers.append(build_layer_relevance(sample, layer.name, filter_scores=torch.tensor(scores)))
        if progress is not None:
            progress(len(layers), len(sample.graph.layers))
    return build_relevance(sample, "merging", tuple(layers))


def merge_in_turn(alike: Alike) -> Tensor:
    """Return for each class the sum of saliencies of all classes that go before it and its own (classes)."""
    to_zeros = alike.incoming.square().sum(1)
    distances = alike.measure_distances().fill_diagonal_(torch.inf)
    outgoing, scores = alike.outgoing.clone(), torch.zeros_like(to_zeros)
    weights = outgoing.square().mean(1) if outgoing.shape[1] else torch.ones_like(to_zeros)
    lost = 0.0
    nearest, twins = distances.min(1)
    alive = torch.ones(len(to_zeros), dtype=torch.bool, device=to_zeros.device)
    for _ in range(len(to_zeros)):
        saliency = (weights * torch.minimum(nearest, to_zeros)).where(alive, torch.inf)
        gone = int(saliency.argmin())
        lost += float(saliency[gone])
        scores[gone], alive[gone] = lost, False
        twin = int(twins[gone])
        if nearest[gone] <= to_zeros[gone] and outgoing.shape[1]:
            outgoing[twin] += outgoing[gone]
            weights[twin] = outgoing[twin].square().mean()
        distances[:, gone] = torch.inf
        orphans = (twins == gone) & alive
        nearest[orphans], twins[orphans] = distances[orphans].min(1)
    return scores
