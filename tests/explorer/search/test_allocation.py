"""Allocation: budgets are kept, and what is chosen is the least lossy of all that keep them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, LayerChoice, uniform
from explorer.evaluate.pricing import Pricing
from explorer.relevance.scores import LayerRelevance, Relevance
from explorer.search.allocation import (
    bits_in_proportion,
    macs,
    weight_bytes,
    with_bits_within,
    with_choices_within,
    with_filters_within,
)
from explorer.search.sensitivity import Sensitivity
from explorer.search.space import search_space
from explorer.settings import SpaceSettings
from hwmodels import load

WIDTHS, SHARES = (2, 4, 8), (0.25, 0.5, 1.0)


def table_for(base: CompressionContext) -> Sensitivity:
    """Losses without any order but that more bits and more filters lose less."""
    layers, groups = base.graph.layer_names, [group.name for group in base.graph.prunable]
    return Sensitivity(
        weights={
            layer: {LayerChoice(layer=layer, weight_bits=bits): (7 * i % 5 + 1) / 4.0**bits for bits in WIDTHS}
            | {
                LayerChoice(layer=layer, weight_bits=2, weight_density=0.5): 0.0,
                LayerChoice(layer=layer, weight_bits=4, codebook_size=4): 0.0,
                LayerChoice(layer=layer, weight_bits=4, pattern="2:4"): 0.0,
            }
            for i, layer in enumerate(layers)
        },
        activations={},
        filters={group: {s: (3 * i % 4 + 1) * (1.0 - s) ** 2 for s in SHARES} for i, group in enumerate(groups)},
    )


def loss_of(table: Sensitivity, candidate: Candidate) -> float:
    bits = sum(table.weights[choice.layer][choice] for choice in candidate.layers)
    return bits + sum(table.filters[group][share] for group, share in candidate.filter_keep_ratio)


def test_bytes_are_those_of_the_packed_codes(context: Callable[[str], CompressionContext]) -> None:
    base = context("mixed")
    candidate = replace(uniform(base.graph, 3), filter_keep_ratio=tuple((g.name, 0.6) for g in base.graph.prunable))
    model = apply(base, candidate)
    codes = [model.get_submodule(name).get_buffer("weight_codes") for name in base.graph.layer_names]
    assert weight_bytes(base.graph, candidate) == sum((3 * entry.numel() + 7) // 8 for entry in codes)
    assert macs(base.graph, uniform(base.graph)) == base.graph.macs
    assert macs(base.graph, candidate) < base.graph.macs


def test_bits_are_the_best_within_the_budget(context: Callable[[str], CompressionContext]) -> None:
    base = context("lenet5_digits")
    table, start = table_for(base), uniform(base.graph)
    every = [
        replace(start, layers=tuple(replace(c, weight_bits=b) for c, b in zip(start.layers, bits, strict=True)))
        for bits in itertools.product(WIDTHS, repeat=len(start.layers))
    ]
    least, most = (weight_bytes(base.graph, uniform(base.graph, bits)) for bits in (2, 8))
    for budget in (least, (2 * least + most) // 3, (least + most) // 2, most):
        found = with_bits_within(base.graph, table, start, budget)
        assert weight_bytes(base.graph, found) <= budget
        fitting = [candidate for candidate in every if weight_bytes(base.graph, candidate) <= budget]
        assert loss_of(table, found) == min(loss_of(table, candidate) for candidate in fitting)
    assert with_bits_within(base.graph, table, start, 1) == uniform(base.graph, 2)


def test_filters_keep_the_budget(context: Callable[[str], CompressionContext]) -> None:
    base = context("option_a")
    table, start = table_for(base), uniform(base.graph)
    losses = []
    for share in (0.2, 0.5, 0.8, 1.0):
        found = with_filters_within(table, start, lambda c: macs(base.graph, c), share * base.graph.macs)
        assert macs(base.graph, found) <= share * base.graph.macs
        losses.append(loss_of(table, found))
    assert losses == sorted(losses, reverse=True)
    assert found == start
    assert macs(base.graph, with_filters_within(table, start, lambda c: macs(base.graph, c), 0)) > 0


def relevance_for(base: CompressionContext, totals: Mapping[str, float]) -> Relevance:
    """Relevance whose filter scores of a layer add up to the given total."""
    layers = tuple(
        LayerRelevance(
            layer=layer.name,
            filter_scores=np.full(layer.out_channels, totals[layer.name] / layer.out_channels, np.float32),
            weight_multipliers=np.ones(1, np.float32),
            input_multipliers=np.ones(layer.in_channels, np.float32),
            contributions=np.zeros((0, layer.out_channels), np.float32),
            magnitudes=np.zeros((0, layer.out_channels), np.float32),
        )
        for layer in base.graph.layers
    )
    how = {"method": "deeplift", "reference": "zero", "target": "true", "aggregation": "mean"}
    return Relevance(**how, samples=0, completeness=None, explained=(), layers=layers)


def test_choices_keep_a_budget_of_the_device(context: Callable[[str], CompressionContext]) -> None:
    base, device = context("lenet5_digits"), load("bitfusion")
    space = search_space(
        base.graph, SpaceSettings(weight_bits=(2, 4, 8), activation_bits=(4, 8), weight_density=(0.5, 1))
    )
    bits = {layer: {4: (i + 1) / 10, 8: 0.001} for i, layer in enumerate(space.layers)}
    table = Sensitivity(
        weights={
            layer: {
                LayerChoice(layer=layer, weight_bits=b, weight_density=k): (7 * i % 5 + 1) * (2.0**-b + (k < 1))
                for b in (2, 4, 8)
                for k in (0.5, 1.0)
            }
            for i, layer in enumerate(space.layers)
        },
        activations=bits,
        filters={},
    )

    def loss(candidate: Candidate) -> float:
        return sum(
            table.weights[c.layer][replace(c, activation_bits=8)] + table.activations[c.layer][c.activation_bits]
            for c in candidate.layers
        )

    draw, start, pricing = random.Random(3), uniform(base.graph), Pricing(base.graph, device)
    for measure in ("energy_uj", "latency_cycles", "weight_bytes", "peak_activation_bytes"):

        def price_candidate(candidate: Candidate, measure: str = measure) -> float:
            return float(getattr(pricing.price(candidate), measure))

        most, losses = price_candidate(start), []
        for share in (0.5, 0.7, 0.9, 1.0):
            found = with_choices_within(table, start, price_candidate, share * most)
            assert price_candidate(found) <= share * most
            losses.append(loss(found))
            for _ in range(30):
                other = space.candidate({axis.name: draw.randrange(len(axis.values)) for axis in space.axes})
                other = replace(other, filter_keep_ratio=start.filter_keep_ratio)
                assert loss(other) >= 0.98 * loss(found) or price_candidate(other) > share * most
        assert losses == sorted(losses, reverse=True)
        assert found == start
        cheapest = with_choices_within(table, start, price_candidate, 0)
        assert (
            0
            < price_candidate(cheapest)
            <= price_candidate(with_choices_within(table, start, price_candidate, 0.5 * most))
        )


def test_any_budget_of_bytes_is_what_the_exact_allocation_gives(context: Callable[[str], CompressionContext]) -> None:
    base = context("option_a")
    table, start = table_for(base), uniform(base.graph)
    whole = replace(table, weights={n: {o: v for o, v in row.items() if v} for n, row in table.weights.items()})
    for share in (0.3, 0.5, 0.8):
        budget = int(share * weight_bytes(base.graph, start))
        exact = with_bits_within(base.graph, whole, start, budget)
        found = with_choices_within(whole, start, lambda candidate: weight_bytes(base.graph, candidate), budget)
        assert loss_of(table, found) == loss_of(table, exact)


def test_bits_follow_the_total_relevance_of_layers(context: Callable[[str], CompressionContext]) -> None:
    base = context("lenet5_digits")
    names = base.graph.layer_names
    relevance = relevance_for(base, {name: 2.0**i for i, name in enumerate(names)})
    sizes = {layer.name: layer.weights for layer in base.graph.layers}
    before = 0.0
    for average in (2.0, 2.5, 3.0, 4.5, 8.0):
        found = bits_in_proportion(base.graph, relevance, average)
        bits = {choice.layer: choice.weight_bits for choice in found.layers}
        mean = sum(bits[name] * sizes[name] for name in names) / sum(sizes.values())
        assert before <= mean <= average
        assert list(bits.values()) == sorted(bits.values())
        before = mean
    assert found == uniform(base.graph)
    alike = relevance_for(base, dict.fromkeys(names, 1.0))
    assert bits_in_proportion(base.graph, alike, 5.2) == uniform(base.graph, 5)
    assert bits_in_proportion(base.graph, alike, 5.2, (2, 4, 8)) == uniform(base.graph, 4)
    assert bits_in_proportion(base.graph, alike, 1.0) == uniform(base.graph, 2)
    nothing = relevance_for(base, dict.fromkeys(names, 0.0))
    assert bits_in_proportion(base.graph, nothing, 6.0) == uniform(base.graph, 2)
