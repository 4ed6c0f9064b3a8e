"""Candidates: what is refused and how, JSON, digests, and whether one fits a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, LayerChoice, count_levels, uniform
from explorer.compress.check import check
from explorer.compress.plan import count_kept
from explorer.errors import CandidateError


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"weight_bits": 0}, r'layer "a": weight_bits: expected an integer in 1\.\.8, received 0'),
        ({"weight_bits": None}, r"weight_bits: expected an integer in 1\.\.8, received null"),
        (
            {"weight_bits": 1, "weight_density": 0.5},
            "weight_density 1 and .* 1-bit .*received 0.5 and null; or",
        ),
        ({"weight_bits": 1, "pattern": "2:4"}, "weight_density 1 and pattern null .*received 1.0 and .2:4.; or use 2"),
        ({"weight_bits": 1, "codebook_size": 2}, "fewer than the 2 values that 1-bit weights have anyway, received 2"),
        ({"weight_bits": 9}, "received 9"),
        ({"weight_bits": 4.0}, r"received 4\.0"),
        ({"activation_bits": True}, r"activation_bits: expected an integer in 2\.\.8, received true"),
        ({"activation_bits": None}, r"activation_bits: expected an integer in 2\.\.8, received null"),
        ({"weight_density": 0.0}, r"weight_density: expected a number above 0 and of at most 1, received 0\.0"),
        ({"weight_density": None}, "weight_density: expected a number above 0 and of at most 1, received null"),
        ({"weight_density": 1.01}, r"received 1\.01"),
        ({"weight_density": float("nan")}, "received NaN"),
        ({"codebook_granularity": "row"}, 'codebook_granularity: expected "layer" or "channel", received "row"'),
        ({"codebook_size": 1}, r'codebook_size: expected an integer in 2\.\.256 or "none", received 1'),
        ({"weight_bits": 2, "codebook_size": 3}, "codebook_size: expected fewer than the 3 values that 2-bit weights"),
        ({"weight_bits": 4, "codebook_size": 16}, "fewer than the 15 values .*, received 16; use null"),
        ({"pattern": "4:2"}, 'pattern: expected a pattern "n:m" with 1 <= n < m <= 32, .*, received "4:2"'),
        ({"pattern": "2:4:8"}, "received .2:4:8."),
        ({"pattern": 2}, "pattern: expected .*, received 2"),
        ({"step": 0}, "step: expected a number above 0 and of at most 1e.12 or .none., received 0"),
        ({"step": float("nan")}, "step: expected a number .*, received NaN"),
        (
            {"step": 0.1, "weight_bits": 4},
            "weight_bits: expected 8 with a step, received 4; use a step of null",
        ),
        ({"weight_bits": 0, "weight_density": 2}, "weight_bits: expected.*; weight_density: expected"),
    ],
)
def test_a_choice_out_of_range_is_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(CandidateError, match=text):
        LayerChoice(layer="a", **values)


def test_the_limits_are_allowed() -> None:
    assert (
        LayerChoice(layer="a", weight_bits=2, activation_bits=8, weight_density=1, codebook_size=2).codebook_size == 2
    )
    assert LayerChoice(layer="a", weight_bits=4, codebook_size=14).codebook_size == 14
    assert [count_levels(bits) for bits in (1, 2, 4, 8)] == [2, 3, 15, 255]


def test_a_share_of_filters_of_zero_and_repetitions_are_refused() -> None:
    with pytest.raises(CandidateError, match=r'group "g": filter_keep_ratio: expected a number above 0 .*, received 0'):
        Candidate(layers=(), filter_keep_ratio=(("g", 0),))
    with pytest.raises(CandidateError, match='expected one choice for each layer, received several for "a"'):
        Candidate(layers=(LayerChoice(layer="a"), LayerChoice(layer="a")), filter_keep_ratio=())
    with pytest.raises(CandidateError, match='expected one choice for each group, received several for "g"'):
        Candidate(layers=(), filter_keep_ratio=(("g", 0.5), ("g", 0.5)))


def test_what_does_not_fit_the_network_is_refused(context: Callable[[str], CompressionContext]) -> None:
    base = context("lenet5_digits")
    whole = uniform(base.graph)
    check(whole, base.graph)
    cases = {
        "expected a layer of it, received 'conv9': did you mean 'conv2'": replace(
            whole, layers=(*whole.layers, LayerChoice(layer="conv9"))
        ),
        "expected a choice for layer 'conv1', received none": replace(whole, layers=whole.layers[1:]),
        "expected a channel group, received 'g': known are conv1, conv2, fc1, fc2": replace(
            whole, filter_keep_ratio=(("g", 0.5),)
        ),
        "expected all filters of 'fc3', received 0.5 of them: they are the network's output": replace(
            whole, filter_keep_ratio=(("fc3", 0.5),)
        ),
    }
    for text, candidate in cases.items():
        with pytest.raises(CandidateError, match=f"does not fit the network: {text}"):
            apply(base, candidate)


def test_json_and_digest() -> None:
    one = LayerChoice(layer="a", weight_bits=3, activation_bits=4, weight_density=0.3, codebook_size=5)
    candidate = Candidate(layers=(one, LayerChoice(layer="b")), filter_keep_ratio=(("a", 0.5), ("b", 1.0)))
    assert candidate.to_json() == {
        "layers": {
            "a": {"weight_bits": 3, "activation_bits": 4, "weight_density": 0.3, "codebook_size": 5},
            "b": {"weight_bits": 8, "activation_bits": 8, "weight_density": 1.0, "codebook_size": None},
        },
        "filter_keep_ratio": {"a": 0.5, "b": 1.0},
    }
    assert candidate.digest() == "70356f5beadc3ca7"
    again = Candidate.from_json(json.loads(json.dumps(candidate.to_json())))
    assert again == candidate
    assert again.digest() == candidate.digest()
    assert len(candidate.digest()) == 16
    others = [
        replace(candidate, filter_keep_ratio=(("a", 0.25), ("b", 1.0))),
        replace(candidate, layers=(replace(one, codebook_size=None), LayerChoice(layer="b"))),
        replace(candidate, layers=(replace(one, weight_bits=4), LayerChoice(layer="b"))),
        replace(candidate, layers=(replace(one, activation_bits=5), LayerChoice(layer="b"))),
        replace(candidate, layers=(replace(one, weight_density=0.31), LayerChoice(layer="b"))),
        replace(candidate, layers=(replace(one, pattern="2:4"), LayerChoice(layer="b"))),
    ]
    assert len({item.digest() for item in (candidate, *others)}) == 7
    assert others[-1].to_json()["layers"]["a"]["pattern"] == "2:4"
    assert Candidate.from_json(others[-1].to_json()) == others[-1]
    digests = {
        Candidate(layers=(LayerChoice(layer="a", weight_density=one),), filter_keep_ratio=(("a", one),)).digest()
        for one in (1, 1.0)
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([], "expected an object with 'layers' and 'filter_keep_ratio' .*, received list"),
        ({"layers": {}}, r'received \["layers"\]'),
        ({"layers": [], "filter_keep_ratio": {}}, "as objects keyed by name, received list and dict"),
        (
            {"layers": {"a": {"bits": 3}}, "filter_keep_ratio": {}},
            'layer "a": expected keys of a choice, received "bits": known are weight_bits, activation_bits, ',
        ),
        (
            {"layers": {"a": {"weight_bits": "3"}}, "filter_keep_ratio": {}},
            'weight_bits: expected an integer.*received "3"',
        ),
    ],
)
def test_malformed_json_is_refused(data: object, text: str) -> None:
    with pytest.raises(CandidateError, match=text):
        Candidate.from_json(data)


def test_the_criterion_of_filters_is_part_of_a_candidate_that_removes_some() -> None:
    layer = LayerChoice(layer="a")
    own = Candidate(layers=(layer,), filter_keep_ratio=(("g", 0.5), ("h", 1.0)))
    other = replace(own, filters_by="l1")
    assert "filters_by" not in own.to_json()
    assert other.to_json() == {**own.to_json(), "filters_by": "l1"}
    assert Candidate.from_json(json.loads(json.dumps(other.to_json()))) == other
    assert other.digest() != own.digest()
    whole = replace(other, filter_keep_ratio=(("g", 1.0), ("h", 1.0)))
    assert whole.filters_by is None
    assert whole == replace(own, filter_keep_ratio=(("g", 1.0), ("h", 1.0)))
    for wrong in ("", 3):
        with pytest.raises(CandidateError, match="filters_by: expected null or the name of a criterion, received"):
            Candidate.from_json({**own.to_json(), "filters_by": wrong})


def test_filters_go_by_the_order_that_the_candidate_names(context: Callable[[str], CompressionContext]) -> None:
    base = context("lenet5_digits")
    group = base.graph.prunable[0]
    base = replace(base, orders={"l1": {g.name: tuple(reversed(base.order[g.name])) for g in base.graph.prunable}})
    own = replace(uniform(base.graph), filter_keep_ratio=((group.name, 0.5),))
    half = group.size // 2
    for candidate, order in ((own, base.order), (replace(own, filters_by="l1"), base.orders["l1"])):
        assert base.resolve(candidate).kept & set(group.classes) == set(order[group.name][:half])
    text = "filters_by: no order of filters by 'random' is known; known are l1: name the criterion in space"
    with pytest.raises(CandidateError, match=text):
        apply(base, replace(own, filters_by="random"))


def test_shares_keep_the_nearest_number_and_at_least_one() -> None:
    assert [count_kept(share, 10) for share in (0.001, 0.14, 0.15, 0.25, 0.5, 1.0)] == [1, 1, 2, 3, 5, 10]


def test_what_is_not_chosen() -> None:
    candidate = Candidate(layers=(LayerChoice(layer="a"),), filter_keep_ratio=(("g", 0.5),))
    assert (candidate.keep_ratio("g"), candidate.keep_ratio("h")) == (0.5, 1.0)
    with pytest.raises(CandidateError, match='expected a choice for layer "b", received none'):
        candidate.choice("b")
