"""Relevance of a criterion that does not speak of all parts: filled in, in one unit, and fit for seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate
from explorer.evaluate.pricing import Pricing
from explorer.graph.inputs import as_tuple
from explorer.relevance.completion import fill_missing
from explorer.relevance.criteria import ALL, CRITERIA
from explorer.relevance.deeplift import deeplift
from explorer.relevance.sample import Sample, make_sample
from explorer.relevance.scores import Relevance, order_filters, score_classes
from explorer.search.options import one_by_one
from explorer.search.seeds import choose_seeds
from explorer.search.sensitivity import estimate_sensitivity
from explorer.search.space import make_search_space
from explorer.settings import SpaceSettings
from hwmodels import load

SPACE = SpaceSettings(weight_bits=(2, 4, 8), activation_bits=(4, 8), filter_keep_ratio=(0.25, 0.5, 0.75, 1.0))


@dataclass(frozen=True)
class Case:
    base: CompressionContext
    sample: Sample
    silent: Relevance
    """Scores of filters of an arbitrary unit, and ones."""


@pytest.fixture(scope="module")
def case(context: Callable[[str], CompressionContext]) -> Case:
    base = context("option_a")
    (images,) = as_tuple(base.calibration.images)
    sample = make_sample(base.model, base.graph, images, torch.arange(len(images)) % 5)
    full = deeplift(sample)
    layers = tuple(
        replace(
            entry,
            filter_scores=1e6 * entry.filter_scores,
            weight_multipliers=np.ones_like(entry.weight_multipliers),
            input_multipliers=np.ones_like(entry.input_multipliers),
        )
        for entry in full.layers
    )
    return Case(base, sample, replace(full, layers=layers))


def test_what_speaks_of_everything_stays_as_it_is(case: Case) -> None:
    assert fill_missing(case.silent, case.sample, ALL) is case.silent


@pytest.mark.parametrize("subjects", [{"filters"}, {"filters", "weights"}, {"weights", "inputs"}])
def test_losing_all_of_a_part_counts_one(case: Case, subjects: set[str]) -> None:
    found = fill_missing(case.silent, case.sample, subjects)  # type: ignore[arg-type]
    graph, model = case.base.graph, case.base.model
    assert sum(score**2 for score in score_classes(graph, found).values()) == pytest.approx(1, rel=1e-4)
    losses = {}
    for layer in graph.layers:
        entry, weight = found.layer(layer.name), model.get_submodule(layer.name).get_parameter("weight")
        losses[layer.name] = float(np.square(entry.weight_multipliers * weight.detach().numpy()).sum())
    assert sum(losses.values()) == pytest.approx(1, rel=1e-4)
    if "weights" not in subjects:  # relative errors: each layer counts alike
        assert list(losses.values()) == pytest.approx([1 / len(losses)] * len(losses), rel=1e-4)


def test_the_order_of_filters_is_the_criterions_own_or_that_of_l2(case: Case) -> None:
    graph = case.base.graph
    assert order_filters(graph, fill_missing(case.silent, case.sample, {"filters"})) == order_filters(
        graph, case.silent
    )
    found = fill_missing(case.silent, case.sample, {"weights"})
    for layer in graph.layers:
        weight = case.base.model.get_submodule(layer.name).get_parameter("weight").detach().flatten(1)
        expected = weight.norm(dim=1) / weight.norm()
        scores = torch.from_numpy(found.layer(layer.name).filter_scores)
        assert torch.allclose(scores / scores.norm(), expected, rtol=1e-4)


def seeds_of(case: Case, relevance: Relevance) -> list[Candidate]:
    base = replace(case.base, order=order_filters(case.base.graph, relevance))
    space, pricing = make_search_space(base.graph, SPACE), Pricing(base.graph, load("bitfusion"))
    table = estimate_sensitivity(base, relevance, space)
    price = one_by_one(lambda candidate: pricing.price(candidate).energy_pj)
    seeds = choose_seeds(space, table, price, 12)
    return [seed.candidate for seed in seeds[1:]]


def parts_used(candidate: Candidate) -> tuple[float, float]:
    """Mean share of filters kept, and mean width of weights as a share of 8 bits."""
    filters = np.mean([share for _, share in candidate.filter_keep_ratio])
    return float(filters), float(np.mean([choice.weight_bits / 8 for choice in candidate.layers]))


def check_mixed(candidates: list[Candidate]) -> None:
    """Filters go while weights are not at their narrowest, and widths shrink while most filters are there."""
    parts = [parts_used(candidate) for candidate in candidates]
    assert any(filters < 0.9 and weights > 0.4 for filters, weights in parts)
    assert any(filters >= 0.5 and weights < 0.95 for filters, weights in parts)


def test_seeds_do_not_put_everything_on_one_part(case: Case) -> None:
    """As it stands, a unit that is too large keeps every filter until widths have nothing left to give."""
    degenerate = [parts_used(candidate) for candidate in seeds_of(case, case.silent)]
    assert not [weights for filters, weights in degenerate if filters < 1 and weights > 0.6]
    seeds = seeds_of(case, fill_missing(case.silent, case.sample, {"filters"}))
    check_mixed(seeds)
    assert any(filters < 1 and weights > 0.8 for filters, weights in map(parts_used, seeds))


@pytest.mark.parametrize("method", [name for name, criterion in CRITERIA.items() if criterion.is_loss])
def test_losses_count_as_they_are(case: Case, method: str) -> None:
    """Scores that are losses are summed, not squared: half of all filters cost what the criterion says they do."""
    graph, own = case.base.graph, CRITERIA[method].compute(case.sample, None)
    relevance = fill_missing(own, case.sample, CRITERIA[method].subjects)
    base = replace(case.base, order=order_filters(graph, relevance))
    table = estimate_sensitivity(base, relevance, make_search_space(graph, SPACE))
    said, scores = score_classes(graph, own), score_classes(graph, relevance)
    ratios = []
    for group in graph.prunable:
        gone = base.order[group.name][-(group.size // 2) :]
        ratios.append(table.filters[group.name][0.5] / sum(said[identity] for identity in gone))
        assert table.filters[group.name][0.5] == pytest.approx(sum(scores[identity] for identity in gone), rel=1e-5)
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=1e-3)


@pytest.mark.parametrize("method", ["l1", "sqnr", "fisher"])
def test_seeds_of_criteria_that_say_less(case: Case, method: str) -> None:
    criterion = CRITERIA[method]
    relevance = fill_missing(criterion.compute(case.sample, None), case.sample, criterion.subjects)
    check_mixed(seeds_of(case, relevance))
