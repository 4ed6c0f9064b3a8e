"""What a candidate comes to in one network: classes kept, the choice of every layer, widths of activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import LayerChoice, uniform
from explorer.errors import CandidateError
from tests.support.styles import Reused


def test_a_layer_that_is_called_again_has_the_choice_of_its_weights_in_its_own_name() -> None:
    torch.manual_seed(0)
    context = CompressionContext.of(Reused().eval(), torch.rand(8, 3, 8, 8))
    graph = context.graph
    assert len(graph.layers) > len(graph.weight_owners)
    widths = {name: 2 + index % 7 for index, name in enumerate(graph.weight_owners)}
    layers = tuple(LayerChoice(layer=name, weight_bits=bits) for name, bits in widths.items())
    resolved = context.resolve(replace(uniform(graph), layers=layers))
    assert list(resolved.choices) == list(graph.layer_names)
    for layer in graph.layers:
        assert resolved.choices[layer.name] == LayerChoice(layer=layer.name, weight_bits=widths[layer.chosen_by])


def test_classes_are_kept_in_the_order_of_the_context(context: Callable[[str], CompressionContext]) -> None:
    base = context("lenet5_digits")
    half = tuple((group.name, 0.5) for group in base.graph.prunable)
    resolved = base.resolve(replace(uniform(base.graph, activation_bits=6), filter_keep_ratio=half))
    for group in base.graph.groups:
        first = group.classes if group.locked else base.order[group.name][: group.size // 2]
        assert resolved.kept & set(group.classes) == set(first)
    assert set(resolved.bits) == {activation.name for activation in base.graph.activations}
    assert {resolved.bits[layer.source] for layer in base.graph.layers} == {6}


def test_what_does_not_fit_is_not_resolved(context: Callable[[str], CompressionContext]) -> None:
    base = context("lenet5_digits")
    whole = uniform(base.graph)
    with pytest.raises(CandidateError, match="does not fit the network: expected a choice for layer 'conv1'"):
        base.resolve(replace(whole, layers=whole.layers[1:]))
