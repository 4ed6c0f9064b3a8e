"""Rankings: how many filters go, of which groups, and that the order is the one that the candidate stands on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from explorer.compress.apply import CompressionContext
from explorer.compress.plan import plan
from explorer.errors import SearchError
from explorer.graph.layers import ModelGraph
from explorer.relevance.scores import LayerRelevance, Relevance, score_classes
from explorer.search.ranking import rank_filters

BasisOf = Callable[[str], CompressionContext]


def compute_relevance(graph: ModelGraph, scale: Callable[[int], float] = lambda index: 1.0) -> Relevance:
    """Random scores in (0, 1), those of layer i times `scale(i)`."""
    random = np.random.default_rng(5)
    layers = tuple(
        LayerRelevance(
            layer=layer.name,
            filter_scores=(scale(i) * random.uniform(0.01, 1, layer.out_channels)).astype(np.float32),
            weight_multipliers=np.ones(1, np.float32),
            input_multipliers=np.ones(layer.in_channels, np.float32),
            contributions=np.zeros((0, layer.out_channels), np.float32),
            magnitudes=np.zeros((0, layer.out_channels), np.float32),
        )
        for i, layer in enumerate(graph.layers)
    )
    return Relevance(
        method="random",
        reference="zero",
        target="true",
        aggregation="mean",
        samples=0,
        completeness=None,
        explained=(),
        layers=layers,
    )


def filters_left(graph: ModelGraph, shares: tuple[tuple[str, float], ...]) -> float:
    """Share of the filters of all prunable groups that stay."""
    prunable = {group.name for group in graph.prunable}
    of = {identity: group.name for group in graph.groups for identity in group.classes}
    filters = [of[identity] for layer in graph.layers for identity in layer.output_classes if of[identity] in prunable]
    return sum(dict(shares)[name] for name in filters) / len(filters)


@pytest.mark.parametrize("network", ["lenet5_digits", "option_a", "mixed"])
def test_the_same_share_of_every_group_goes(network: str, context: BasisOf) -> None:
    graph = context(network).graph
    ranking = rank_filters(graph, compute_relevance(graph), 0.25)
    for group in graph.prunable:
        assert ranking.candidate.keep_ratio(group.name) * group.size == int(0.75 * group.size + 0.5)
    assert {choice.weight_bits for choice in ranking.candidate.layers} == {8}


@pytest.mark.parametrize("network", ["lenet5_digits", "option_a", "mixed"])
@pytest.mark.parametrize("removed", [0.1, 0.5])
def test_a_global_ranking_removes_the_least_of_all(network: str, removed: float, context: BasisOf) -> None:
    base = context(network)
    graph, relevance = base.graph, compute_relevance(base.graph)
    found = rank_filters(graph, relevance, removed, scope="global", minimum=0)
    scores = score_classes(graph, relevance)
    kept = replace(base, order=found.order).resolve(found.candidate).kept
    gone = {identity for group in graph.prunable for identity in group.classes} - kept
    assert gone
    left = filters_left(graph, found.candidate.filter_keep_ratio)
    assert 1 - removed - 1e-9 <= left < 1 - removed + 0.1
    for group in graph.prunable:
        in_group = gone & set(group.classes)
        staying = set(group.classes) - gone
        assert max((scores[i] for i in in_group), default=-1) <= min(scores[i] for i in staying)
        assert staying
    if network == "lenet5_digits":  # each class is one filter, so that no group is closed early
        open_groups = [group for group in graph.prunable if len(gone & set(group.classes)) < group.size - 1]
        still = [scores[i] for group in open_groups for i in group.classes if i not in gone]
        assert max(scores[i] for i in gone) <= min(still)


def test_normalised_scores_of_layers_can_be_compared(context: BasisOf) -> None:
    """Scores of the first layer a thousand times smaller: it loses its filters, unless layers are normalised."""
    graph = context("lenet5_digits").graph
    relevance = compute_relevance(graph, lambda index: 0.001 if index == 0 else 1.0)
    group = graph.prunable[0]
    alone = rank_filters(graph, relevance, 0.2, scope="global")
    assert alone.candidate.keep_ratio(group.name) * group.size == max(1, np.ceil(0.1 * group.size))
    same = rank_filters(graph, compute_relevance(graph), 0.2, scope="global", normalised="l2")
    for normalised in ("mean", "l2", "max"):
        found = rank_filters(graph, relevance, 0.2, scope="global", normalised=normalised).candidate
        assert found.keep_ratio(group.name) > alone.candidate.keep_ratio(group.name)
        if normalised == "l2":
            assert found == same.candidate


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_some_of_every_group_stays(scope: str, context: BasisOf) -> None:
    graph = context("option_a").graph
    ranking = rank_filters(graph, compute_relevance(graph), 0.99, scope=scope, minimum=0.3)
    for group in graph.prunable:
        assert ranking.candidate.keep_ratio(group.name) >= 0.3
    assert all(layer.out_channels >= 1 for layer in plan(graph, ranking.candidate).layers)
    whole = rank_filters(graph, compute_relevance(graph), 0.0, scope=scope).candidate
    assert {share for _, share in whole.filter_keep_ratio} == {1.0}


def test_what_is_out_of_range_is_refused(context: BasisOf) -> None:
    graph = context("lenet5_digits").graph
    relevance = compute_relevance(graph)
    with pytest.raises(SearchError, match="scope: expected one of layer, global, received 'all'"):
        rank_filters(graph, relevance, 0.5, scope="all")
    with pytest.raises(SearchError, match=r"removed: expected a share in \[0, 1\), received 1"):
        rank_filters(graph, relevance, 1)
    with pytest.raises(SearchError, match="minimum: expected"):
        rank_filters(graph, relevance, 0.5, minimum=-0.1)
