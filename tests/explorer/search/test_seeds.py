"""Sensitivity tables by hand, and the seeds that a knapsack makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.compress.check import check
from explorer.compress.quantize import find_weight_scales, quantize_weight
from explorer.evaluate.pricing import Pricing
from explorer.graph.inputs import as_tuple
from explorer.relevance.deeplift import deeplift
from explorer.relevance.sample import make_sample
from explorer.relevance.scores import Relevance, order_filters, score_classes
from explorer.search.options import one_by_one
from explorer.search.seeds import choose_seeds
from explorer.search.sensitivity import Sensitivity, estimate_sensitivity
from explorer.search.space import SearchSpace, make_search_space
from explorer.settings import SpaceSettings
from hwmodels import load

SETTINGS = SpaceSettings(
    weight_bits=(2, 4, 8),
    activation_bits=(4, 8),
    filter_keep_ratio=(0.5, 1.0),
    weight_density=(0.5, 1.0),
    codebook_sizes=(None, 4),
)


@dataclass(frozen=True)
class Case:
    base: CompressionContext
    relevance: Relevance
    space: SearchSpace
    table: Sensitivity
    pricing: Pricing

    def price_candidate(self, candidate: Candidate) -> float:
        return self.pricing.price(candidate).energy_pj

    def price_candidates(self, candidates: Sequence[Candidate]) -> list[float]:
        return [self.price_candidate(candidate) for candidate in candidates]

    def loss_of(self, candidate: Candidate) -> float:
        """What the table says of a candidate."""
        total = sum(self.table.filters[group][share] for group, share in candidate.filter_keep_ratio)
        for choice in candidate.layers:
            total += self.table.weights[choice.layer][replace(choice, activation_bits=8)]
            total += self.table.activations[choice.layer][choice.activation_bits]
        return total


@pytest.fixture(scope="module")
def case(context: Callable[[str], CompressionContext]) -> Case:
    base = context("option_a")
    (images,) = as_tuple(base.calibration.images)
    relevance = deeplift(make_sample(base.model, base.graph, images, torch.arange(len(images)) % 5, target="true"))
    base = replace(base, order=order_filters(base.graph, relevance))
    space = make_search_space(base.graph, SETTINGS)
    return Case(
        base, relevance, space, estimate_sensitivity(base, relevance, space), Pricing(base.graph, load("bitfusion"))
    )


def test_the_table_is_relevance_times_what_a_choice_does(case: Case) -> None:
    layer = "stage1.conv1"
    weight = case.base.model.get_submodule(layer).get_parameter("weight").detach()
    scale = find_weight_scales(weight, 4)
    change = (quantize_weight(weight, scale, 4) * scale[:, None, None, None] - weight).abs().numpy()
    entry = case.relevance.layer(layer)
    squares = ((change * entry.weight_multipliers) ** 2).sum()
    assert case.table.weights[layer][LayerChoice(layer=layer, weight_bits=4)] == pytest.approx(squares, rel=1e-4)
    source = case.base.graph.layer(layer).source
    error = case.base.calibration.errors[source][4]
    height, width = case.base.graph.layer(layer).input_size
    per_element = entry.input_multipliers[:, None, None] / (height * width) * np.ones((1, height, width))
    assert case.table.activations[layer][4] == pytest.approx(((per_element * error) ** 2).sum(), rel=1e-5)
    group = case.base.graph.prunable[0]
    scores = sorted(score_classes(case.base.graph, case.relevance)[identity] for identity in group.classes)
    removed = sum(score**2 for score in scores[: len(scores) // 2])
    assert case.table.filters[group.name] == {0.5: pytest.approx(removed), 1.0: 0.0}


def test_more_compression_loses_more_on_the_table(case: Case) -> None:
    for layer in case.space.layers:
        weights = case.table.weights[layer]
        plain = [weights[LayerChoice(layer=layer, weight_bits=bits)] for bits in (2, 4, 8)]
        assert plain[0] > plain[1] > plain[2] > 0
        assert weights[LayerChoice(layer=layer, weight_density=0.5)] > plain[2]
        assert weights[LayerChoice(layer=layer, codebook_size=4)] > plain[2]
        assert case.table.activations[layer][4] > case.table.activations[layer][8]


def test_choices_leave_out_codebooks_that_share_nothing(case: Case) -> None:
    choices = case.space.weight_choices("fc")
    assert LayerChoice(layer="fc", weight_bits=2) in choices
    assert {choice.codebook_size for choice in choices if choice.weight_bits == 2} == {None}
    assert len(choices) == len(set(choices)) == 2 * (1 + 2 + 2)


def test_a_space_of_codebooks_alone_has_choices_at_every_width(case: Case) -> None:
    for granularity in ("layer", "channel"):
        settings = SpaceSettings(weight_bits=(2, 4), codebook_sizes=(4, 8))
        space = make_search_space(case.base.graph, settings, granularity)
        assert [
            (choice.weight_bits, choice.codebook_size, choice.codebook_granularity)
            for choice in space.weight_choices("fc")
        ] == [(2, None, "layer"), (4, 4, granularity), (4, 8, granularity)]


def test_a_pattern_is_one_more_choice_and_the_widest_has_none(case: Case) -> None:
    space = make_search_space(case.base.graph, SpaceSettings(weight_bits=(4,), patterns=(None, "1:4", "2:4")))
    options = space.weight_choices("fc")
    assert options == tuple(LayerChoice(layer="fc", weight_bits=4, pattern=pattern) for pattern in ("1:4", "2:4", None))
    table = estimate_sensitivity(case.base, case.relevance, space)
    losses = [table.weights["fc"][option] for option in options]
    assert losses[0] > losses[1] > losses[2]
    price = one_by_one(lambda candidate: case.pricing.price(candidate).weight_bytes)
    seeds = choose_seeds(space, table, price, 10)
    assert {choice.pattern for choice in seeds[0].candidate.layers} == {None}
    assert {choice.pattern for seed in seeds for choice in seed.candidate.layers} == {None, "1:4", "2:4"}


@pytest.mark.parametrize("count", [1, 2, 5, 9, 20])
def test_seeds_are_distinct_points_of_the_space(case: Case, count: int) -> None:
    seeds = choose_seeds(case.space, case.table, case.price_candidates, count)
    assert len(seeds) == count
    assert seeds[0].origin == "seed widest"
    assert all(
        (choice.weight_bits, choice.weight_density, choice.codebook_size) == (8, 1.0, None)
        for choice in seeds[0].candidate.layers
    )
    assert len({seed.candidate.digest() for seed in seeds}) == len(seeds)
    for seed in seeds:
        check(seed.candidate, case.base.graph)
        assert case.space.candidate(case.space.point(seed.candidate)) == seed.candidate


def test_cheaper_seeds_lose_more_on_the_table(case: Case) -> None:
    seeds = choose_seeds(case.space, case.table, case.price_candidates, 20)
    widest, found = seeds[0].candidate, [seed.candidate for seed in seeds[1:]]
    losses = [case.loss_of(candidate) for candidate in found]
    assert losses == sorted(losses)
    assert min(losses) >= case.loss_of(widest)
    costs = np.array([case.price_candidate(candidate) for candidate in found])
    # The knapsack adds up the costs of single changes, which real costs follow but do not equal.
    assert np.corrcoef(costs.argsort().argsort(), np.arange(len(costs)))[0, 1] < -0.98
    assert costs.max() <= case.price_candidate(widest)
    assert costs.min() < 0.5 * case.price_candidate(widest)
    assert len({candidate.filter_keep_ratio for candidate in found}) >= 3


def test_seeds_spread_over_the_whole_front(case: Case) -> None:
    """No gap between neighbours is more than a third of the front, in logarithms of cost and of loss."""
    seeds = [seed.candidate for seed in choose_seeds(case.space, case.table, case.price_candidates, 12)[1:]]
    for measure in (case.price_candidate, case.loss_of):
        values = np.log([measure(candidate) for candidate in seeds])
        assert np.abs(np.diff(values)).max() < np.ptp(values) / 3


def test_no_seed_is_over_budget(case: Case) -> None:
    widest = choose_seeds(case.space, case.table, case.price_candidates, 1)[0].candidate
    limit = 0.6 * case.price_candidate(widest)
    seeds = choose_seeds(
        case.space,
        case.table,
        case.price_candidates,
        10,
        lambda each: [cost <= limit for cost in case.price_candidates(each)],
    )
    assert len(seeds) == 10
    assert all(case.price_candidate(seed.candidate) <= limit for seed in seeds)
    assert choose_seeds(case.space, case.table, case.price_candidates, 10, lambda each: [False] * len(each)) == ()


def test_a_seed_loses_less_than_a_uniform_network_of_its_cost(case: Case) -> None:
    widest = choose_seeds(case.space, case.table, case.price_candidates, 1)[0].candidate
    uniform4 = replace(widest, layers=tuple(replace(choice, weight_bits=4) for choice in widest.layers))
    seeds = choose_seeds(case.space, case.table, case.price_candidates, 200)
    affordable = [s.candidate for s in seeds if case.price_candidate(s.candidate) <= case.price_candidate(uniform4)]
    assert min(map(case.loss_of, affordable)) <= case.loss_of(uniform4) * 1.05


def test_a_space_of_one_point_has_one_seed(case: Case) -> None:
    space = make_search_space(case.base.graph, SpaceSettings(weight_bits=(8,), activation_bits=(8,)))
    table = estimate_sensitivity(case.base, case.relevance, space)
    (seed,) = choose_seeds(space, table, case.price_candidates, 5)
    assert set(seed.candidate.layers) == {LayerChoice(layer=name) for name in case.base.graph.layer_names}


def test_every_other_criterion_has_a_seed(case: Case) -> None:
    settings = replace(SETTINGS, filter_criteria=("l1", "random"))
    space = make_search_space(case.base.graph, settings, method="deeplift")
    seeds = choose_seeds(space, case.table, case.price_candidates, 8)
    assert len(seeds) == 8
    assert [seed.candidate.filters_by for seed in seeds] == [None] * 6 + ["l1", "random"]
    assert seeds[-1].origin == "seed relevance, filters by random"
    for seed in seeds:
        assert space.candidate(space.point(seed.candidate)) == seed.candidate
    assert replace(seeds[-1].candidate, filters_by=None) in [seed.candidate for seed in seeds[:6]]
    assert [seed.candidate.filters_by for seed in choose_seeds(space, case.table, case.price_candidates, 2)] == [
        None
    ] * 2
