"""Codes that are known without a pass: found once, forgotten beyond a limit, those of the network that is built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from explorer.compress import moments, problem, rounding, static
from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.evaluate.weight_entropy import WeightEntropies, count_entropies
from explorer.models.resnet import CifarResNet
from explorer.settings import QuantizerSettings

ContextOf = Callable[[str], CompressionContext]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often layers were solved for, and moments measured."""
    calls = Counter[str]()
    solve, measure = rounding.solve_weights, moments.compute_moments

    def solved(*given: object) -> Tensor:
        calls["solved"] += 1
        return solve(*given)  # type: ignore[arg-type]

    def measured(*given: object, **settings: object) -> object:
        calls["moments"] += 1
        return measure(*given, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(problem, "solve_weights", solved)
    monkeypatch.setattr(static, "compute_moments", measured)
    return calls


@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "mixed"])
@pytest.mark.parametrize("rounding", ["nearest", "adaptive"])
def test_entropies_are_those_of_the_network_that_is_built(name: str, rounding: str, context: ContextOf) -> None:
    base = replace(context(name), quantizer=QuantizerSettings(compensation="static", rounding=rounding))
    candidate = uniform(base.graph, 4).with_filters({group.name: 0.6 for group in base.graph.prunable})
    expected = count_entropies(apply(base, candidate), base.graph)
    for entropies in (WeightEntropies(base), WeightEntropies(replace(base))):
        assert entropies.of_candidate(candidate) == pytest.approx(expected, abs=1e-9)
        assert entropies.of_built(candidate) == entropies.of_candidate(candidate)


def test_layers_and_moments_are_found_once(context: ContextOf, counted: Counter[str]) -> None:
    base = replace(context("option_a"), quantizer=QuantizerSettings(compensation="static"))
    half = uniform(base.graph).with_filters({group.name: 0.5 for group in base.graph.prunable})
    first = apply(base, half)
    solved = counted["solved"]
    assert solved > 0
    assert counted["moments"] == len(base.graph.layers)
    again = apply(base, half)
    apply(base, replace(half, layers=tuple(replace(each, activation_bits=4) for each in half.layers)))
    assert counted == {"solved": solved, "moments": len(base.graph.layers)}
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in first.state_dict().items())
    apply(base, half.with_choice(replace(half.layers[-1], weight_bits=3)))
    assert counted["solved"] == solved + 1


def test_nothing_is_measured_where_nothing_is_lost(context: ContextOf, counted: Counter[str]) -> None:
    base = replace(context("mixed"), quantizer=QuantizerSettings(compensation="static"))
    built, plain = (apply(each, uniform(base.graph, 5)) for each in (base, context("mixed")))
    assert not counted
    assert all(torch.equal(value, built.state_dict()[key]) for key, value in plain.state_dict().items())


def test_what_is_beyond_the_limits_is_found_anew(
    context: ContextOf, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = replace(context("option_a"), quantizer=QuantizerSettings(compensation="static"))
    half = uniform(base.graph).with_filters({group.name: 0.5 for group in base.graph.prunable})
    whole = apply(base, half).state_dict()
    few = counted["solved"]
    monkeypatch.setattr(static, "MOMENTS_BYTES", 4000)
    monkeypatch.setattr(static, "CODES_BYTES", 300)
    small = replace(base)
    for _ in range(2):
        found = apply(small, half).state_dict()
        assert all(torch.equal(value, found[key]) for key, value in whole.items())
    assert counted["solved"] == 3 * few
    assert count_bytes(small) <= 4000


def count_bytes(context: CompressionContext) -> int:
    """Bytes of moments that are remembered of a network alone."""
    return sum(each.nbytes for each in context.memory.find_moments(context.static).values())


def test_networks_without_blocks_share_one_limit_and_the_one_used_longest_ago_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, images = CifarResNet(2, 10).eval(), torch.rand(8, 3, 8, 8)
    whole = CompressionContext.of(model, images, quantizer=QuantizerSettings(compensation="static"))
    names = [block.name for block in whole.graph.removable]

    def without(name: str) -> Candidate:
        point = uniform(whole.shortened([name]).graph)
        return replace(point, removed_blocks=(name,)).with_filters({g: 0.5 for g, _ in point.filter_keep_ratio})

    def sizes() -> list[int]:
        return [sum(each.nbytes for each in known.values()) for known in whole.memory._moments.values()]

    free = [apply(whole, without(name)).state_dict() for name in names]
    assert len(names) == len(sizes()) == 4
    limit = int(1.5 * max(sizes()))
    monkeypatch.setattr(static, "MOMENTS_BYTES", limit)
    monkeypatch.setattr(static, "CODES_BYTES", 1)
    again = replace(whole, memory=static.StaticMemory())
    for name, expected in zip(names, free, strict=True):
        found = apply(again, without(name)).state_dict()
        assert all(torch.equal(value, found[key]) for key, value in expected.items())
        assert sum(each.nbytes for known in again.memory._moments.values() for each in known.values()) <= limit
    assert count_bytes(again.shortened([names[-1]])) > 0
    assert count_bytes(again.shortened([names[0]])) == 0
