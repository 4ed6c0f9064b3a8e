"""Prices of candidates one after another: the very figures of each whole network, whatever was priced before."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

import hwmodels
from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.prune import magnitude_order
from explorer.errors import CandidateError
from explorer.evaluate.hardware import cost
from explorer.evaluate.pricing import Price, Pricing
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from hwmodels import Accelerator, LayerError
from tests.support.square import random_candidate
from tests.support.styles import STYLES, build, inputs


def whole(
    graph: ModelGraph, candidate: Candidate, accelerator: Accelerator, entropies: Mapping[str, float] | None = None
) -> Price:
    """The price from the whole network's cost."""
    found = cost(graph, candidate, accelerator, entropies)
    return Price(**{field: getattr(found, field) for field in Price.__slots__})


def walk(graph: ModelGraph, steps: int) -> Iterator[Candidate]:
    """Candidates that differ from the one before in a layer, in a group, or in everything."""
    draw = random.Random(0)
    candidate = random_candidate(graph, draw)
    for step in range(steps):
        other = random_candidate(graph, draw)
        if step % 5 == 0:
            candidate = other
        elif step % 5 == 1 and other.filter_keep_ratio:
            share = draw.choice(other.filter_keep_ratio)
            kept = tuple(share if entry[0] == share[0] else entry for entry in candidate.filter_keep_ratio)
            candidate = replace(candidate, filter_keep_ratio=kept)
        else:
            candidate = candidate.with_choice(draw.choice(other.layers))
        yield candidate


@pytest.mark.parametrize("style", STYLES)
def test_prices_are_those_of_the_whole_network(style: str) -> None:
    images = inputs(style, 2)
    graph = trace(canonicalise(build(style).eval(), images), images)
    device = hwmodels.load("bitfusion")
    pricing = Pricing(graph, device)
    for candidate in walk(graph, 12):
        assert pricing.price(candidate) == whole(graph, candidate, device)


@pytest.mark.parametrize("name", hwmodels.names())
def test_prices_are_those_of_every_device(name: str, context: Callable[[str], CompressionContext]) -> None:
    graph, device = context("mixed").graph, hwmodels.load(name)
    pricing = Pricing(graph, device)
    for candidate in walk(graph, 12):
        assert pricing.price(candidate) == whole(graph, candidate, device)


@pytest.mark.parametrize("share", [0.3, 0.7])
@pytest.mark.parametrize("style", STYLES)
def test_prices_are_those_of_the_whole_network_of_which_a_part_stays_on_chip(style: str, share: float) -> None:
    images = inputs(style, 2)
    graph = trace(canonicalise(build(style).eval(), images), images)
    whole_device = hwmodels.load("gemmini_default")
    widest = cost(graph, uniform(graph), whole_device)
    scratchpad, accumulator = whole_device.buffers
    size = max(1, int(share * widest.fits[-1].needed_bytes))
    device = replace(whole_device, buffers=(replace(scratchpad, size_bytes=size), accumulator))
    pricing = Pricing(graph, device)
    for candidate in walk(graph, 12):
        assert pricing.price(candidate) == whole(graph, candidate, device)


@pytest.mark.parametrize("overflowing", [False, True])
@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "mixed"])
def test_prices_are_those_of_the_whole_network_with_weights_coded_by_their_entropy(
    name: str, overflowing: bool, context: Callable[[str], CompressionContext]
) -> None:
    first = context(name)
    base = replace(first, orders={"l2": magnitude_order(first.model, first.graph)})
    device = replace(hwmodels.load("edge_tpu" if overflowing else "ethos_u55_128"), weight_formats=("entropy",))
    if overflowing:
        small = [replace(memory, size_bytes=100) for memory in device.memories if "weights" in memory.operands]
        others = [memory for memory in device.memories if "weights" not in memory.operands]
        device = replace(device, memories=(*small, *others))
    entropies, unknown = WeightEntropies(base), Pricing(base.graph, device)
    pricing, cheaper = Pricing(base.graph, device, entropies), set()
    for candidate in walk(base.graph, 12):
        for chosen in (candidate, replace(candidate, filters_by="l2")):
            known = entropies.of_candidate(chosen)
            assert pricing.price(chosen) == whole(base.graph, chosen, device, known)
            cheaper.add(pricing.price(chosen).weight_bytes < unknown.price(chosen).weight_bytes)
    assert True in cheaper
    narrow = replace(device, input_bits=(2,))
    with pytest.raises(LayerError, match=rf"layer '{base.graph.layer_names[0]}': expected input_bits <= 2"):
        Pricing(base.graph, narrow, entropies).price(uniform(base.graph))


def test_weights_that_overflow_a_memory_slow_each_other_down(context: Callable[[str], CompressionContext]) -> None:
    graph, device = context("lenet5_digits").graph, hwmodels.load("edge_tpu")
    most = cost(graph, uniform(graph), device).weight_bytes
    small = tuple(
        replace(memory, size_bytes=most // 2) if memory.overflow_bandwidth_bits_per_s else memory
        for memory in device.memories
    )
    tight = replace(device, memories=small)
    pricing, roomy = Pricing(graph, tight), Pricing(graph, device)
    slower = set()
    for candidate in (uniform(graph), uniform(graph, 2), *walk(graph, 12)):
        price = pricing.price(candidate)
        assert price == whole(graph, candidate, tight)
        slower.add(price.latency_cycles > roomy.price(candidate).latency_cycles)
    assert slower == {True, False}


def test_what_is_refused_leaves_nothing_behind(context: Callable[[str], CompressionContext]) -> None:
    graph, device = context("lenet5_digits").graph, hwmodels.load("bitfusion")
    pricing = Pricing(graph, device)
    pricing.price(uniform(graph, 4, 4))
    few = replace(uniform(graph), layers=uniform(graph).layers[1:])
    with pytest.raises(CandidateError, match='expected a choice for layer "conv1", received none'):
        pricing.price(few)
    assert pricing.price(uniform(graph)) == whole(graph, uniform(graph), device)
    narrow = replace(device, weight_bits=(2, 4))
    with pytest.raises(LayerError, match="layer 'conv1': expected weight_bits <= 4 on bitfusion"):
        Pricing(graph, narrow).price(uniform(graph))


def test_a_network_of_more_layers_than_a_device_runs_is_refused(context: Callable[[str], CompressionContext]) -> None:
    graph, device = context("lenet5_digits").graph, hwmodels.load("bitfusion")
    enough = replace(device, maximum_layers=len(graph.layers))
    assert Pricing(graph, enough).price(uniform(graph)) == whole(graph, uniform(graph), device)
    pricing = Pricing(graph, replace(device, maximum_layers=len(graph.layers) - 1))
    for _ in range(2):
        with pytest.raises(LayerError, match=f"expected layers <= {len(graph.layers) - 1} on bitfusion"):
            pricing.price(uniform(graph))


def test_the_order_in_which_layers_are_listed_does_not_matter(context: Callable[[str], CompressionContext]) -> None:
    graph, device = context("lenet5_digits").graph, hwmodels.load("bitfusion")
    pricing = Pricing(graph, device)
    candidate = uniform(graph).with_choice(replace(uniform(graph).layers[0], weight_bits=3))
    assert pricing.price(candidate) == pricing.price(replace(candidate, layers=candidate.layers[::-1]))
