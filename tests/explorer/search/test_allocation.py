"""Allocation: budgets are kept, and what is chosen is the least lossy of all that keep them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, LayerChoice, uniform
from explorer.compress.plan import plan
from explorer.search.allocation import fit_bits, fit_filters
from explorer.search.sensitivity import Sensitivity

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
    assert plan(base.graph, candidate).weight_bytes == sum((3 * entry.numel() + 7) // 8 for entry in codes)
    assert plan(base.graph, uniform(base.graph)).macs == base.graph.macs
    assert plan(base.graph, candidate).macs < base.graph.macs


def test_bits_are_the_best_within_the_budget(context: Callable[[str], CompressionContext]) -> None:
    base = context("lenet5_digits")
    table, start = table_for(base), uniform(base.graph)
    every = [
        replace(start, layers=tuple(replace(c, weight_bits=b) for c, b in zip(start.layers, bits, strict=True)))
        for bits in itertools.product(WIDTHS, repeat=len(start.layers))
    ]
    least, most = (plan(base.graph, uniform(base.graph, bits)).weight_bytes for bits in (2, 8))
    for budget in (least, (2 * least + most) // 3, (least + most) // 2, most):
        found = fit_bits(base.graph, table, start, budget)
        assert plan(base.graph, found).weight_bytes <= budget
        fitting = [candidate for candidate in every if plan(base.graph, candidate).weight_bytes <= budget]
        assert loss_of(table, found) == min(loss_of(table, candidate) for candidate in fitting)
    assert fit_bits(base.graph, table, start, 1) == uniform(base.graph, 2)


def test_filters_keep_the_budget(context: Callable[[str], CompressionContext]) -> None:
    base = context("option_a")
    table, start = table_for(base), uniform(base.graph)
    losses = []
    for share in (0.2, 0.5, 0.8, 1.0):
        found = fit_filters(table, start, lambda c: plan(base.graph, c).macs, share * base.graph.macs)
        assert plan(base.graph, found).macs <= share * base.graph.macs
        losses.append(loss_of(table, found))
    assert losses == sorted(losses, reverse=True)
    assert found == start
    assert plan(base.graph, fit_filters(table, start, lambda c: plan(base.graph, c).macs, 0)).macs > 0
