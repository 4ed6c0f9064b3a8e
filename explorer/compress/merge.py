"""Merging: a filter that stays takes over the outgoing weights of those removed that are next to it, without data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, fx

from explorer.graph.layers import Layer, ModelGraph
from explorer.graph.twins import Alike, find_alike, find_columns


def find_twins(model: fx.GraphModule, graph: ModelGraph, kept: frozenset[int]) -> dict[int, int]:
    """Return of each channel class that goes the kept one that takes over what it gave: the one next to it.

    What makes the two is compared as in the criterion `merging`: filters and biases times the gains of batch norms,
    all layers together where an addition joins them. A class nearer to zeros than to any that stays has none: to drop
    it keeps more than to merge it, on the networks tried.

    Source:
        Srinivas and Babu, 2015, section 3.
    """
    return {gone: twin for alike in find_alike(model, graph) for gone, twin in _find_twins(alike, kept).items()}


def merge_columns(weight: Tensor, layer: Layer, twins: Mapping[int, int]) -> Tensor:
    """Return a layer's weight with the columns of each class that goes added to those of its twin.

    Exact for twins that are made of equal numbers; else the nearer the better.
    """
    columns: defaultdict[int, list[int]] = defaultdict(list)
    for position, identity in enumerate(find_columns(layer)):
        columns[identity].append(position)
    weight = weight.clone()
    for gone, twin in twins.items():
        if gone in columns:
            weight[:, columns[twin]] += weight[:, columns[gone]]
    return weight


def _find_twins(alike: Alike, kept: frozenset[int]) -> dict[int, int]:
    """Return of each class that goes the kept one that is nearest to it, where it is nearer than zeros."""
    stays = torch.tensor([identity in kept for identity in alike.classes])
    if bool(stays.all()) or not bool(stays.any()):
        return {}
    nearest, which = alike.measure_distances()[~stays][:, stays].min(1)
    taken = nearest <= alike.incoming[~stays].square().sum(1)
    gone, kept_classes = _where(alike, ~stays), _where(alike, stays)
    return {
        gone[index]: kept_classes[twin]
        for index, (twin, near) in enumerate(zip(which.tolist(), taken.tolist(), strict=True))
        if near
    }


def _where(alike: Alike, chosen: Tensor) -> list[int]:
    return [identity for identity, taken in zip(alike.classes, chosen.tolist(), strict=True) if taken]
