"""Steps where errors are fed back: coarser where a layer's inputs resemble each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from explorer.compress import step_units
from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import LayerChoice, uniform
from explorer.compress.step_units import find_feedback_shares, with_step_units


def adaptive(base: CompressionContext) -> CompressionContext:
    """Return the context with errors fed back."""
    return replace(base, quantizer=replace(base.quantizer, rounding="adaptive"))


@pytest.mark.parametrize("network", ["lenet5_digits", "mixed"])
def test_units_are_less_by_what_feedback_leaves(network: str, context: Callable[[str], CompressionContext]) -> None:
    base = context(network)
    before = {name: 0.5 + place for place, name in enumerate(base.graph.layer_names)}
    assert with_step_units(base, before).step_units == before
    fed_back = with_step_units(adaptive(base), before)
    after = dict(fed_back.step_units or {})
    assert before.keys() == after.keys()
    assert all(0 < after[name] <= before[name] for name in before)
    alone = {layer.name for layer in base.graph.layers if layer.weights == layer.out_channels}
    assert {name for name in before if after[name] < before[name]} == fed_back.static.solvable - alone
    layer = base.graph.layer_names[0]
    assert fed_back.step(LayerChoice(layer=layer, step=0.25)) == 0.25 / after[layer]


def test_layers_that_are_not_solved_for_keep_their_units() -> None:
    class Kinds(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = torch.nn.ConvTranspose2d(1, 4, 2, stride=2)
            self.twice, self.own = torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.Conv2d(4, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.up(x).relu()
            x = self.own(self.twice(self.twice(x).relu()).relu())
            return x.mean((2, 3))

    base = adaptive(CompressionContext.of(Kinds().eval(), torch.rand(64, 1, 6, 6)))
    units = with_step_units(base, dict.fromkeys(base.graph.layer_names, 1.0)).step_units or {}
    (solved,) = base.static.solvable
    assert {name for name in base.graph.layer_names if units[name] < 1} == {solved}
    assert base.graph.layer(solved).weights == 4 * 4 * 9
    assert len(units) == len(base.graph.layers) == 4


def test_units_take_one_pass_and_what_has_no_steps_takes_none(
    context: Callable[[str], CompressionContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[CompressionContext] = []

    def find(given: CompressionContext) -> Mapping[str, float]:
        passes.append(given)
        return find_feedback_shares(given)

    monkeypatch.setattr(step_units, "find_feedback_shares", find)
    base = context("lenet5_digits")
    fed_back = with_step_units(adaptive(base), dict.fromkeys(base.graph.layer_names, 1.0))

    def build(**choice: Any) -> None:
        plain = uniform(base.graph)
        apply(fed_back, replace(plain, layers=tuple(replace(each, **choice) for each in plain.layers)))

    build(weight_bits=4)
    assert not passes
    build(step=0.1)
    build(step=0.2)
    nearest = replace(fed_back, quantizer=replace(fed_back.quantizer, rounding="nearest"))
    assert nearest.step_units == fed_back.step_units
    other = with_step_units(fed_back, dict.fromkeys(base.graph.layer_names, 2.0)).step_units or {}
    assert all(other[name] == 2 * unit for name, unit in (fed_back.step_units or {}).items())
    assert len(passes) == 1


def test_of_inputs_that_are_one_another_the_last_alone_counts() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)).eval()
    for images, low, high in (
        (torch.randn(256, 1, generator=torch.Generator().manual_seed(0)).expand(-1, 4), 0.5, 0.52),
        (torch.randn(256, 4, generator=torch.Generator().manual_seed(0)), 0.99, 1.0),
    ):
        base = adaptive(CompressionContext.of(model, images.contiguous()))
        assert low < dict(with_step_units(base, {"0": 1.0, "2": 1.0}).step_units or {})["0"] <= high
