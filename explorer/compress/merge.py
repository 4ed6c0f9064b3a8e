"""Merging: a filter that stays takes over the outgoing weights of those removed that are next to it, without data."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, fx, nn

from explorer.graph.layers import ModelGraph
from explorer.graph.modules import layer_module
from explorer.graph.twins import Alike, find_alike, find_columns


def merge_filters(model: fx.GraphModule, graph: ModelGraph, kept: frozenset[int]) -> None:
    """Add, in place, the outgoing weights of each channel class that goes to those of the kept one next to it.

    What makes the two is compared as in the criterion `merging`: filters and biases times the gains of batch norms,
    all layers together where an addition joins them. A class nearer to zeros than to any that stays is not merged: this
    keeps more than to merge it, on the networks tried. The filters themselves stay for `remove_filters` to remove.
    Exact for classes that are made of equal numbers; else the nearer the better.

    Source:
        Srinivas and Babu, 2015, section 3.
    """
    twins = {gone: twin for alike in find_alike(model, graph) for gone, twin in _find_twins(alike, kept).items()}
    for layer in graph.layers:
        columns: defaultdict[int, list[int]] = defaultdict(list)
        for position, identity in enumerate(find_columns(layer)):
            columns[identity].append(position)
        module = layer_module(model, layer.name)
        weight = module.weight.data.clone()  # calls of one module have one tensor
        for gone, twin in twins.items():
            if gone in columns:
                weight[:, columns[twin]] += weight[:, columns[gone]]
        module.weight = nn.Parameter(weight)


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
