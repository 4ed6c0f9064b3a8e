"""Feature-based importance of layers: what each adds to the accuracy of a classifier by class means."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.graph.modules import layer_module
from explorer.progress import Progress
from explorer.relevance.activations import find_activated, find_layer_nodes, watch
from explorer.relevance.build import build_layer_relevance, build_relevance
from explorer.relevance.magnitude import compute_filter_norms
from explorer.relevance.sample import Sample, require_classes
from explorer.relevance.scores import Relevance

POOLED = 2
"""Positions a side that an image of features is averaged to (assumed): where in the image still counts, coarsely."""


def layer_importance(sample: Sample, progress: Progress | None = None) -> Relevance:
    """Return what each layer adds to the accuracy of an imprinted classifier.

    Features of a layer, taken where `activation_mean` takes them and averaged to 2 x 2 positions, classify each image
    by the class whose mean of normalised features is nearest in angle (imprinting; Qi et al., 2018), with the image
    itself left out of its class; images whose class has no other one are left out. A layer's gain is its accuracy less
    that of the layer before in order of computation (of the first: less chance), at least what one image is of all,
    below which accuracies do not tell. Its importance is its share of all gains: the importances of a network add up
    to 1, and are equal where no class has two images.

    A filter's score is its share in its layer's l2 norms times the importance, so that scores of a layer add up to its
    importance; weight multipliers are the root of the importance throughout a layer. Labels are the true ones.

    Source:
        Elkerdawy et al., 2020.
    """
    classes = require_classes(sample, "layer_importance", labels=True)
    nodes = {name: find_activated(sample.model, node) for name, node in find_layer_nodes(sample).items()}
    features: dict[str, list[Tensor]] = {name: [] for name in nodes}
    watch(sample, nodes, lambda name, given: features[name].append(_pooled(given)), progress)
    accuracies = [measure_imprinted_accuracy(torch.cat(parts), sample.targets) for parts in features.values()]
    gains = _gains(accuracies, 1 / len(sample), 1 / classes)
    layers = []
    for name, importance in zip(nodes, (gain / sum(gains) for gain in gains), strict=True):
        weight = layer_module(sample.model, name).weight.detach()
        norms = compute_filter_norms(weight, 2)
        shares = norms / norms.sum() if bool(norms.any()) else torch.full_like(norms, 1 / len(norms))
        multipliers = torch.full_like(weight, importance**0.5)
        layers.append(
            build_layer_relevance(sample, name, filter_scores=importance * shares, weight_multipliers=multipliers)
        )
    return build_relevance(sample, "layer_importance", tuple(layers))


def measure_imprinted_accuracy(features: Tensor, labels: Tensor) -> float | None:
    """Return the share of images (rows of features) nearest in angle to the mean of the others of their class.

    Counted are images whose class has others; None when there is none.
    """
    normal = F.normalize(features.double(), dim=1)
    classes, of = torch.unique(labels.to(features.device), return_inverse=True)
    sums = normal.new_zeros((len(classes), normal.shape[1])).index_add_(0, of, normal)
    angles = normal @ F.normalize(sums, dim=1).t()
    own = F.normalize(sums[of] - normal, dim=1)
    angles[torch.arange(len(of), device=of.device), of] = (normal * own).sum(1)
    counted = of.bincount()[of] > 1
    if not bool(counted.any()):
        return None
    return float((angles.argmax(1) == of)[counted].double().mean())


def _pooled(given: Tensor) -> Tensor:
    """Return features of each image as one row: images averaged to few positions, sequences over all of theirs."""
    if given.ndim == 4:
        size = min(POOLED, given.shape[2]), min(POOLED, given.shape[3])
        return F.adaptive_avg_pool2d(given, size).flatten(1)
    return given.flatten(1, -2).mean(1) if given.ndim > 2 else given


def _gains(accuracies: list[float | None], least: float, chance: float) -> list[float]:
    before, gains = chance, []
    for accuracy in accuracies:
        reached = before if accuracy is None else accuracy
        gains.append(max(reached - before, least))
        before = reached
    return gains
