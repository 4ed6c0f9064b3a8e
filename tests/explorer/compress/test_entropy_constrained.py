"""Entropy-constrained integers: the formulas weight by weight, and what they do to bits and zeros."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from explorer.compress.candidate import LayerChoice
from explorer.compress.entropy_constrained import COSTS_AT_ONCE, find_entropy_codes
from explorer.compress.weights import find_codes
from explorer.errors import CandidateError
from explorer.settings import QuantizerSettings


def real_codes(count: int = 400, spread: float = 2.0) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * spread


def by_hand(real: list[float], limit: int, rate: float, relevance: list[float] | None) -> list[float]:
    """Round, count, choose, until nothing changes."""
    mean = 1.0 if relevance is None else sum(relevance) / len(relevance)
    shares = [1.0] * len(real) if relevance is None else [entry / mean for entry in relevance]
    codes = [float(min(max(round(entry), -limit), limit)) for entry in real]
    for _ in range(100):
        bits = {code: -math.log2(count / len(codes)) for code, count in Counter(codes).items()}

        def cost(code: float, index: int, bits: dict[float, float] = bits) -> float:
            plain = (real[index] - code) ** 2 + rate * bits[code]
            return plain * shares[index] if code == 0 else plain

        before = codes
        codes = [min(bits, key=lambda code: cost(code, index)) for index in range(len(real))]
        if codes == before:
            return codes
    raise AssertionError("it goes on")


def entropy(codes: torch.Tensor) -> float:
    shares = torch.unique(codes, return_counts=True)[1].double() / codes.numel()
    return float(-(shares * shares.log2()).sum())


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("relevant", [False, True])
def test_codes_are_those_of_the_formula(rate: float, relevant: bool) -> None:
    real = real_codes()
    relevance = torch.rand(400, generator=torch.Generator().manual_seed(3)).double().square() if relevant else None
    found = find_entropy_codes(real.view(20, 20), 3, rate, None if relevance is None else relevance.view(20, 20))
    assert found.flatten().tolist() == by_hand(
        real.tolist(), 3, rate, None if relevance is None else relevance.tolist()
    )


def test_without_a_rate_codes_are_the_nearest() -> None:
    real = real_codes()
    assert torch.equal(find_entropy_codes(real, 127, 0.0), real.round())


def test_bits_cost_distance() -> None:
    real = real_codes(4000)
    found = [find_entropy_codes(real, 127, rate) for rate in (0.0, 0.1, 0.3, 1.0)]
    entropies = [entropy(codes) for codes in found]
    errors = [float((codes - real).square().mean()) for codes in found]
    assert entropies == sorted(entropies, reverse=True)
    assert errors == sorted(errors)
    assert entropies[-1] < 0.75 * entropies[0]


def test_what_is_relevant_is_no_zero() -> None:
    real, half = real_codes(4000, 0.8), torch.arange(4000) % 2 == 0
    plain = find_entropy_codes(real, 127, 0.2)
    found = find_entropy_codes(real, 127, 0.2, torch.where(half, 1.8, 0.2))
    zeros = [float((codes[some] == 0).double().mean()) for codes in (plain, found) for some in (half, ~half)]
    assert zeros[2] < zeros[0] - 0.04
    assert zeros[3] > zeros[1] + 0.1


def test_relevance_that_is_the_same_everywhere_changes_nothing() -> None:
    real = real_codes()
    for level in (0.0, 3.0):
        same = find_entropy_codes(real, 7, 0.2, torch.full_like(real, level))
        assert torch.equal(same, find_entropy_codes(real, 7, 0.2))


def test_layers_larger_than_what_is_held_at_a_time() -> None:
    count = COSTS_AT_ONCE // 255 + 1000
    real = real_codes(count, 20.0)
    whole = find_entropy_codes(real, 127, 0.1)
    assert torch.equal(find_entropy_codes(real.flip(0), 127, 0.1).flip(0), whole)


def test_a_layer_is_rounded_by_the_rule_of_its_quantizer() -> None:
    weight, relevance = (
        real_codes(60).view(6, 10).float(),
        torch.rand(6, 10, generator=torch.Generator().manual_seed(1)),
    )
    choice = LayerChoice(layer="fc", weight_bits=8, weight_density=0.8, step=0.5)
    plain = QuantizerSettings(rounding="ecq", entropy_rate=0.3)
    by_relevance = QuantizerSettings(rounding="ecqx", entropy_rate=0.3)
    nearest, scale = find_codes(weight, choice, relevance, step=0.5)
    mask = nearest != 0
    found = [find_codes(weight, choice, relevance, settings, 0.5)[0] for settings in (plain, by_relevance)]
    left = weight * (weight.abs() >= weight.abs().flatten().sort().values[12])
    for codes, shares in zip(found, (None, relevance), strict=True):
        expected = find_entropy_codes(left / scale[:, None], 127, 0.3, shares)
        assert torch.equal(codes[mask], expected[mask])
        assert float((codes == 0).double().mean()) >= 0.2  # pruned ones, and more
    with pytest.raises(CandidateError, match=r"'fc': rounding \"ecqx\" needs the relevance of weights"):
        find_codes(weight, choice, None, by_relevance, 0.5)
