"""Whether a candidate fits a network."""

from __future__ import annotations

from collections.abc import Collection

from explorer.compress.candidate import Candidate
from explorer.errors import CandidateError
from explorer.graph.layers import ModelGraph
from explorer.settings.rules import shown, suggestion


def check_blocks(graph: ModelGraph, removed: Collection[str]) -> tuple[str, ...]:
    """Return the names of blocks that are to be removed as a candidate states them, in alphabetical order.

    Raises:
        CandidateError: A block that the network has not, or one that is locked, with the reason.
    """
    known = {block.name: block for block in graph.blocks}
    problems = []
    for name in removed:
        if name not in known:
            names = suggestion(name, [block.name for block in graph.removable]) if graph.removable else "it has none"
            problems.append(f"expected a block that can be removed, received {shown(name)}: {names}")
        elif known[name].locked:
            problems.append(f"expected a block that can be removed, received {shown(name)}: {known[name].locked}")
    if problems:
        raise CandidateError(f"candidate: removed_blocks: {'; '.join(problems)}")
    return tuple(sorted(set(removed)))


def check(candidate: Candidate, graph: ModelGraph) -> None:
    """Raise CandidateError unless the candidate chooses for exactly the layers and groups of the network."""
    if candidate.removed_blocks != graph.removed_blocks:
        raise CandidateError(
            f"candidate: removed_blocks: expected {shown(list(graph.removed_blocks))}, those that this network lacks, "
            f"received {shown(list(candidate.removed_blocks))}; take the network without them, "
            "CompressionContext.shortened"
        )
    chosen = {choice.layer for choice in candidate.layers}
    known = set(graph.weight_owners)
    prunable = {group.name for group in graph.prunable}
    locked = {group.name: group.locked for group in graph.groups if group.locked}
    problems = [
        f"expected a layer of it, received {name!r}: {suggestion(name, sorted(known))}"
        for name in sorted(chosen - known)
    ]
    problems += [f"expected a choice for layer {name!r}, received none" for name in sorted(known - chosen)]
    for name, ratio in candidate.filter_keep_ratio:
        if name in locked and ratio < 1.0:
            problems.append(f"expected all filters of {name!r}, received {shown(ratio)} of them: {locked[name]}")
        elif name not in prunable and name not in locked:
            problems.append(f"expected a channel group, received {name!r}: {suggestion(name, sorted(prunable))}")
    if problems:
        raise CandidateError(f"candidate does not fit the network: {'; '.join(problems)}")
