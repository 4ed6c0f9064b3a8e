"""Entropies of what layers store: found without a network, and equal to those of the integers of the built one."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, LayerChoice, uniform
from explorer.compress.prune import magnitude_order
from explorer.errors import CandidateError
from explorer.evaluate.weight_entropy import WeightEntropies, count_entropies
from explorer.settings import QuantizerSettings
from hwmodels import measure_entropy
from tests.support.square import random_candidate
from tests.support.styles import STYLES, build, inputs

ContextOf = Callable[[str], CompressionContext]


def counted(model: nn.Module, layer: str) -> float:
    """The entropy of a built layer's integers, by their definition."""
    integers = [int(code) for code in model.get_submodule(layer).get_buffer("weight_codes").flatten().tolist()]
    shares = [count / len(integers) for count in Counter(integers).values()]
    return -math.fsum(share * math.log2(share) for share in shares)


def check(base: CompressionContext, entropies: WeightEntropies, candidate: Candidate) -> None:
    built = apply(base, candidate)
    expected = {name: counted(built, name) for name in base.graph.layer_names}
    assert entropies.of_candidate(candidate) == pytest.approx(expected, abs=1e-9)
    assert count_entropies(built, base.graph) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("style", STYLES)
def test_entropies_are_those_of_the_built_network(style: str) -> None:
    torch.manual_seed(0)
    base = CompressionContext.of(build(style).eval(), inputs(style, 4))
    entropies, draw = WeightEntropies(base), random.Random(0)
    for _ in range(3):
        check(base, entropies, random_candidate(base.graph, draw))


@pytest.mark.parametrize("scales", ["channel", "tensor"])
@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "mixed", "gated"])
def test_entropies_are_exact_at_every_setting_of_the_quantiser(name: str, scales: str, context: ContextOf) -> None:
    base, draw = context(name), random.Random(1)
    importance = {
        layer.name: torch.rand(base.model.get_submodule(layer.name).get_parameter("weight").shape)
        for layer in base.graph.layers
    }
    for weighed in (None, importance):
        chosen = replace(base, quantizer=QuantizerSettings(scale_granularity=scales), importance=weighed)
        entropies = WeightEntropies(chosen)
        for _ in range(4):
            check(chosen, entropies, random_candidate(base.graph, draw))
        own = replace(random_candidate(base.graph, draw), layers=tuple(shared(each) for each in base.graph.layer_names))
        check(chosen, entropies, own)


def shared(layer: str) -> LayerChoice:
    return LayerChoice(layer=layer, weight_bits=4, codebook_size=3, codebook_granularity="channel")


def test_a_batch_norm_of_negative_gain_turns_the_integers_that_are_stored() -> None:
    torch.manual_seed(0)
    found = []
    for gains in ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0]):
        model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5)).eval()
        with torch.no_grad():
            model.get_parameter("0.weight").abs_()
            model.get_parameter("1.weight").copy_(torch.tensor(gains))
        base = CompressionContext.of(model, torch.rand(8, 3, 8, 8))
        candidate = uniform(base.graph, 3)
        check(base, WeightEntropies(base), candidate)
        found.append(WeightEntropies(base).of_candidate(candidate)["0"])
    assert found[1] > found[0] + 0.5  # nearly twice as many values


def test_filters_go_by_the_order_that_a_candidate_names(context: ContextOf) -> None:
    first = context("lenet5_digits")
    base = replace(first, orders={"l2": magnitude_order(first.model, first.graph)})
    entropies = WeightEntropies(base)
    half = uniform(base.graph, 4).with_filters({group.name: 0.5 for group in base.graph.prunable})
    for candidate in (half, replace(half, filters_by="l2"), half):
        check(base, entropies, candidate)
    assert entropies.of_candidate(half) != entropies.of_candidate(replace(half, filters_by="l2"))
    with pytest.raises(CandidateError, match="no order of filters by 'taylor' is known"):
        entropies.of_candidate(replace(half, filters_by="taylor"))


def test_adaptive_rounding_is_counted_in_the_network_that_is_built(context: ContextOf) -> None:
    base = replace(context("option_a"), quantizer=QuantizerSettings(rounding="adaptive", rounding_images=8))
    candidate = uniform(base.graph, 3)
    built = apply(base, candidate)
    expected = {name: counted(built, name) for name in base.graph.layer_names}
    assert WeightEntropies(base).of_built(candidate) == pytest.approx(expected, abs=1e-9)
    assert WeightEntropies(base).of_candidate(candidate) != pytest.approx(expected, abs=1e-9)


def test_each_option_is_quantised_once(context: ContextOf, monkeypatch: pytest.MonkeyPatch) -> None:
    base, calls = context("lenet5_digits"), Counter[str]()
    monkeypatch.setattr(
        "explorer.evaluate.weight_entropy.measure_entropy",
        lambda codes: calls.update(["entropy"]) or measure_entropy(codes),
    )
    entropies, eight = WeightEntropies(base), uniform(base.graph)
    layers = len(base.graph.layers)
    first = entropies.of_candidate(eight)
    assert calls["entropy"] == layers
    narrow = replace(eight, layers=tuple(replace(each, activation_bits=2) for each in eight.layers))
    assert entropies.of_candidate(narrow) == first  # what activations are wide makes no difference
    assert calls["entropy"] == layers
    entropies.of_candidate(eight.with_choice(replace(eight.layers[1], weight_bits=4)))
    assert calls["entropy"] == layers + 1
