"""Steps for an average entropy: what is built has it, and layers have the steps that their units ask for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import fx

from explorer.comparison.points import ComparisonCell
from explorer.comparison.steps import build_at_entropy, with_units
from explorer.compress.apply import CompressionContext
from explorer.compress.step_units import with_step_units
from explorer.graph.inputs import as_tuple
from explorer.relevance.random_scores import random_scores
from explorer.relevance.sample import make_sample
from explorer.relevance.scores import compute_step_units

UNITS = {"conv1": 0.5, "conv2": 1.0, "fc1": 2.0, "fc2": 1.0, "fc3": 0.25}


def entropy_by_counting(model: fx.GraphModule, names: tuple[str, ...]) -> float:
    """Bits a weight over all layers, from how often each integer occurs in its layer."""
    bits, weights = 0.0, 0
    for name in names:
        codes = model.get_submodule(name).get_buffer("weight_codes").flatten().tolist()
        bits -= sum(count * math.log2(count / len(codes)) for count in Counter(codes).values())
        weights += len(codes)
    return bits / weights


@pytest.mark.parametrize(("rounding", "within"), [("nearest", 0.01), ("adaptive", 0.05)])
@pytest.mark.parametrize("wanted", [1.8, 2.5])
def test_integers_have_the_entropy_asked_for(
    wanted: float, rounding: str, within: float, context: Callable[[str], CompressionContext]
) -> None:
    base = context("lenet5_digits")
    base = replace(base, step_units=UNITS, quantizer=replace(base.quantizer, rounding=rounding))
    model = build_at_entropy(base, wanted)
    assert abs(entropy_by_counting(model, base.graph.layer_names) - wanted) <= within


def test_layers_have_one_step_over_their_units(context: Callable[[str], CompressionContext]) -> None:
    base = replace(context("lenet5_digits"), step_units=UNITS)
    model = build_at_entropy(base, 4.0)
    # behind the convolutions there are batch norms, which are folded into scales
    scales = {name: model.get_submodule(name).get_buffer("weight_scale") for name in ("fc1", "fc2", "fc3")}
    steps = [scale.min().item() * UNITS[name] for name, scale in scales.items()]
    assert steps == pytest.approx(steps[:1] * 3, rel=1e-5)


def test_feedback_weighs_all_criteria_alike_and_no_rule_that_feeds_nothing_back(
    context: Callable[[str], CompressionContext],
) -> None:
    base = context("lenet5_digits")
    base = replace(base, quantizer=replace(base.quantizer, rounding="adaptive"))
    images = as_tuple(base.calibration.images)
    relevance = random_scores(make_sample(base.model, base.graph, images, torch.arange(len(images[0])) % 5))
    plain = compute_step_units(base.graph, relevance)
    shares = with_step_units(base, dict.fromkeys(plain, 1.0)).step_units or {}
    assert all(share < 1 for share in shares.values())
    for criterion, expected in {
        "equal": shares,
        "deeplift": {name: unit * shares[name] for name, unit in plain.items()},
        "random": {name: unit * shares[name] for name, unit in plain.items()},
        "nearest": plain,
    }.items():
        cell = ComparisonCell(criterion=criterion, scope="layer", level=2.0, state="recalibrated", seed=0)
        found = with_units(base, cell, lambda *_: relevance).step_units
        assert dict(found or {}) == pytest.approx(expected), criterion
