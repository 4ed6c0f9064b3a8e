"""Steps where errors are fed back: coarser where a layer's inputs resemble each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from explorer.compress.apply import CompressionContext
from explorer.compress.step_units import weigh_by_feedback
from tests.explorer.search.test_steps import with_units


@pytest.mark.parametrize("network", ["lenet5_digits", "mixed"])
def test_units_are_less_by_what_feedback_leaves(network: str, context: Callable[[str], CompressionContext]) -> None:
    base = with_units(context(network))
    assert weigh_by_feedback(base) is base
    adaptive = replace(base, quantizer=replace(base.quantizer, rounding="adaptive"))
    before, after = dict(adaptive.step_units or {}), dict(weigh_by_feedback(adaptive).step_units or {})
    assert before.keys() == after.keys()
    assert all(0 < after[name] <= before[name] for name in before)
    alone = {layer.name for layer in base.graph.layers if layer.weights == layer.out_channels}
    assert {name for name in before if after[name] < before[name]} == adaptive.static.solvable - alone


def test_of_inputs_that_are_one_another_the_last_alone_counts() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)).eval()
    for images, low, high in (
        (torch.randn(256, 1, generator=torch.Generator().manual_seed(0)).expand(-1, 4), 0.5, 0.52),
        (torch.randn(256, 4, generator=torch.Generator().manual_seed(0)), 0.99, 1.0),
    ):
        base = CompressionContext.of(model, images.contiguous(), step_units={"0": 1.0, "2": 1.0})
        units = weigh_by_feedback(replace(base, quantizer=replace(base.quantizer, rounding="adaptive"))).step_units
        assert low < dict(units or {})["0"] <= high
