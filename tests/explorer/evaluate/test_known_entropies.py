"""Entropies that were found once: the prices of candidates are those with the weights, also of others' parts."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate, uniform
from explorer.evaluate.depth_pricing import DepthPricing
from explorer.evaluate.known_entropies import KnownEntropies
from explorer.evaluate.weight_entropy import WeightEntropies
from hwmodels import load


def with_bits(candidate: Candidate, layer: int, bits: int) -> Candidate:
    return candidate.with_choice(replace(candidate.layers[layer], weight_bits=bits))


def test_prices_are_those_of_the_weights(context: Callable[[str], CompressionContext]) -> None:
    base = context("lenet5_digits")
    eight = uniform(base.graph)
    group = base.graph.prunable[0].name
    both = [with_bits(eight, 0, 3), with_bits(eight, 1, 4), eight.with_filters({group: 0.5})]
    counted, device = WeightEntropies(base), load("ethos_u55_128")
    known = KnownEntropies.of(base.graph_without, [(each, [*counted.of_candidate(each).values()]) for each in both])
    ours, theirs = (DepthPricing(base.graph_without, device, each).without(()) for each in (known, counted))
    crossed = with_bits(with_bits(eight, 0, 3), 1, 4)
    assert [ours.price(each) for each in (*both, crossed)] == [theirs.price(each) for each in (*both, crossed)]
    assert known.of_candidate(crossed) == counted.of_candidate(crossed)


def test_a_part_that_no_candidate_had_is_not_known(context: Callable[[str], CompressionContext]) -> None:
    base = context("lenet5_digits")
    eight = uniform(base.graph)
    known = KnownEntropies.of(base.graph_without, [(eight, [1.0] * len(base.graph.layers))])
    pricing = DepthPricing(base.graph_without, load("ethos_u55_128"), known).without(())
    with pytest.raises(LookupError):
        known.of_candidate(with_bits(eight, 0, 3))
    with pytest.raises(LookupError):
        pricing.price(with_bits(eight, 0, 3))
    assert pricing.price(eight) == pricing.price(eight)  # what failed has left nothing behind
