"""What a candidate comes to in one network, found once for all stages that build it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.check import check
from explorer.compress.plan import collect_choices, count_kept_classes, derive_stored_bits
from explorer.compress.prune import Order, select_classes
from explorer.graph.layers import ModelGraph


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedCandidate:
    """A candidate that fits its network, as the stages of compression read it."""

    kept: frozenset[int]
    """Channel classes that stay."""
    choices: Mapping[str, LayerChoice]
    """By the name of a layer."""
    bits: Mapping[str, int]
    """Stored width of every activation, by its name."""


def resolve(graph: ModelGraph, candidate: Candidate, order: Order) -> ResolvedCandidate:
    """Resolve a candidate whose filters go by an order.

    Raises:
        CandidateError: When it does not fit the network.
    """
    check(candidate, graph)
    choices = collect_choices(graph, candidate)
    return ResolvedCandidate(
        kept=select_classes(graph, count_kept_classes(graph, candidate), order),
        choices=choices,
        bits=derive_stored_bits(graph, choices),
    )
