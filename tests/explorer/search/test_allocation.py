"""Allocation: budgets are kept, and what is chosen is the least lossy of all that keep them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

from explorer.compress.apply import Basis, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.search.allocation import macs, weight_bytes, with_bits_within, with_filters_within
from explorer.search.sensitivity import Sensitivity

WIDTHS, SHARES = (2, 4, 8), (0.25, 0.5, 1.0)


def table_for(base: Basis) -> Sensitivity:
    """Losses without any order but that more bits and more filters lose less."""
    layers, groups = base.graph.layer_names, [group.name for group in base.graph.prunable]
    return Sensitivity(
        weights={
            layer: {(bits, 1.0, None, None): (7 * i % 5 + 1) / 4.0**bits for bits in WIDTHS}
            | {(2, 0.5, None, None): 0.0, (4, 1.0, 4, None): 0.0}
            for i, layer in enumerate(layers)
        },
        activations={},
        filters={group: {s: (3 * i % 4 + 1) * (1.0 - s) ** 2 for s in SHARES} for i, group in enumerate(groups)},
    )


def loss_of(table: Sensitivity, candidate: Candidate) -> float:
    bits = sum(table.weights[choice.layer][choice.weight_bits, 1.0, None, None] for choice in candidate.layers)
    return bits + sum(table.filters[group][share] for group, share in candidate.kept_filters)


def test_bytes_are_those_of_the_packed_codes(basis: Callable[[str], Basis]) -> None:
    base = basis("mixed")
    candidate = replace(uniform(base.graph, 3), kept_filters=tuple((g.name, 0.6) for g in base.graph.prunable))
    model = apply(base, candidate)
    codes = [model.get_submodule(name).get_buffer("weight_codes") for name in base.graph.layer_names]
    assert weight_bytes(base.graph, candidate) == sum((3 * entry.numel() + 7) // 8 for entry in codes)
    assert macs(base.graph, uniform(base.graph)) == base.graph.macs
    assert macs(base.graph, candidate) < base.graph.macs


def test_bits_are_the_best_within_the_budget(basis: Callable[[str], Basis]) -> None:
    base = basis("lenet5_digits")
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


def test_filters_keep_the_budget(basis: Callable[[str], Basis]) -> None:
    base = basis("option_a")
    table, start = table_for(base), uniform(base.graph)
    losses = []
    for share in (0.2, 0.5, 0.8, 1.0):
        found = with_filters_within(table, start, lambda c: macs(base.graph, c), share * base.graph.macs)
        assert macs(base.graph, found) <= share * base.graph.macs
        losses.append(loss_of(table, found))
    assert losses == sorted(losses, reverse=True)
    assert found == start
    assert macs(base.graph, with_filters_within(table, start, lambda c: macs(base.graph, c), 0)) > 0
