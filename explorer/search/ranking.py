"""Which filters go at an overall share removed, by what relevance alone says of them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

from explorer.compress.candidate import Candidate, uniform
from explorer.compress.plan import count_kept
from explorer.compress.prune import Order
from explorer.errors import SearchError
from explorer.graph.layers import ModelGraph
from explorer.relevance.scores import Relevance, order_filters, score_classes

SCOPES = ("layer", "global")
MINIMUM_KEPT = 0.1
"""Share of a group's channel classes that a global ranking leaves at least (assumed)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A candidate with filters removed, and the order of filters that it stands on (for `CompressionContext.order`)."""

    candidate: Candidate
    order: Order


def rank_filters(
    graph: ModelGraph,
    relevance: Relevance,
    removed: float,
    *,
    scope: str = "layer",
    normalised: str = "none",
    minimum: float = MINIMUM_KEPT,
) -> Ranking:
    """Remove the share `removed`, in [0, 1), of the filters of all channel groups that may be pruned.

    Scope "layer" removes the same share of every group; "global" the least relevant of all groups together, each
    channel class counting as the filters that go with it, until no further one fits in the share. In every group at
    least the share `minimum`, and one class, stays. Widths are 8 bits.

    Args:
        normalised: That of `score_classes`: what makes scores of different layers comparable.

    Raises:
        SearchError: For another scope or shares out of range.
    """
    if scope not in SCOPES:
        raise SearchError(f"ranking: scope: expected one of {', '.join(SCOPES)}, received {scope!r}")
    for key, share in (("removed", removed), ("minimum", minimum)):
        if not 0 <= share < 1:
            raise SearchError(f"ranking: {key}: expected a share in [0, 1), received {share!r}")
    order = order_filters(graph, relevance, normalised)
    least = {group.name: max(1, math.ceil(minimum * group.size)) for group in graph.prunable}
    if scope == "layer":
        kept = {group.name: max(least[group.name], count_kept(1 - removed, group.size)) for group in graph.prunable}
    else:
        kept = _kept_of_all(graph, score_classes(graph, relevance, normalised), order, removed, least)
    shares = tuple((group.name, kept[group.name] / group.size) for group in graph.prunable)
    return Ranking(candidate=replace(uniform(graph), filter_keep_ratio=shares), order=order)


def _kept_of_all(
    graph: ModelGraph, scores: dict[int, float], order: Order, removed: float, least: dict[str, int]
) -> dict[str, int]:
    """Return how many classes of every group stay when the least relevant of all groups go first."""
    filters = Counter(identity for layer in graph.layers for identity in layer.output_classes)
    owner = {identity: group.name for group in graph.prunable for identity in group.classes}
    left = removed * sum(filters[identity] for identity in owner) + 1e-9  # a share of an integer may round down
    kept = {group.name: group.size for group in graph.prunable}
    closed: set[str] = set()
    # Backwards in its order within a group, so that what goes is always the end of it.
    place = {identity: -index for name in kept for index, identity in enumerate(order[name])}
    for identity in sorted(owner, key=lambda identity: (scores.get(identity, 0.0), place[identity], owner[identity])):
        name = owner[identity]
        if name in closed or kept[name] <= least[name] or filters[identity] > left:
            closed.add(name)
            continue
        kept[name] -= 1
        left -= filters[identity]
    return kept
