"""LayerOptions of a layer: which are kept, on devices whose widths depend on one another, too."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import Candidate, LayerChoice, uniform
from explorer.search.options import one_by_one, price_options, solve_front
from explorer.search.sensitivity import Sensitivity

WIDTHS = (2, 4, 8)


def table_for(base: CompressionContext) -> Sensitivity:
    losses = {bits: 4.0**-bits for bits in WIDTHS}
    layers = base.graph.layer_names
    return Sensitivity(
        weights={
            layer: {LayerChoice(layer=layer, weight_bits=bits): loss for bits, loss in losses.items()}
            for layer in layers
        },
        activations={layer: dict(losses) for layer in layers},
        filters={},
    )


def widest_operand(candidate: Candidate) -> float:
    """A device that computes at the wider of both operands: narrowing one alone saves nothing."""
    return float(sum(max(choice.weight_bits, choice.activation_bits) for choice in candidate.layers))


def test_narrow_weights_are_options_where_they_save_only_with_narrow_inputs(
    context: Callable[[str], CompressionContext],
) -> None:
    base = context("lenet5_digits")
    start = uniform(base.graph)
    options = price_options(["fc1"], table_for(base), one_by_one(widest_operand), start, widest_operand(start))[0]
    found = [(choice.weight_bits, choice.activation_bits) for choice in options.choices]
    assert found == [(2, 2), (4, 4), (8, 8)]
    assert options.costs.tolist() == [-6.0, -4.0, 0.0]
    assert options.losses.tolist() == [2 * 4.0**-bits for bits in WIDTHS]


def test_what_loses_infinitely_is_no_option(context: Callable[[str], CompressionContext]) -> None:
    """The cheapest among them: nothing finite beats it in cost."""
    base = context("lenet5_digits")
    table = table_for(base)
    weights = {**table.weights, "fc1": {**table.weights["fc1"], LayerChoice(layer="fc1", weight_bits=2): math.inf}}
    activations = {**table.activations, "conv1": {**table.activations["conv1"], 2: math.inf}}
    table = replace(table, weights=weights, activations=activations)
    front = solve_front(table, uniform(base.graph), one_by_one(widest_operand))
    assert len(front.solved.costs) > 5
    for index, loss in enumerate(front.solved.losses.tolist()):
        candidate = front.candidate(index)
        assert math.isfinite(loss)
        assert candidate.choice("fc1").weight_bits > 2
        assert candidate.choice("conv1").activation_bits > 2


def test_the_front_reaches_from_the_narrowest_to_the_widest(context: Callable[[str], CompressionContext]) -> None:
    base = context("lenet5_digits")
    front = solve_front(table_for(base), uniform(base.graph), one_by_one(widest_operand))
    assert front.candidate(0) == uniform(base.graph, 2, 2)
    assert front.candidate(len(front.solved.costs) - 1) == uniform(base.graph)
    for index in range(len(front.solved.costs)):
        assert widest_operand(front.candidate(index)) == front.base_cost + front.solved.costs[index]
