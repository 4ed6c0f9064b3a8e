"""Weights at one step for a layer: the grid that they lie on, in every kind of layer, and where none can be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from explorer.compress.apply import CompressionContext, apply, compressed_copy
from explorer.compress.candidate import Candidate, LayerChoice, canonicalise_choice, uniform
from explorer.compress.quantize import fit_step
from explorer.errors import CandidateError
from explorer.graph.modules import layer_module
from explorer.relevance.deeplift import deeplift
from explorer.relevance.sample import make_sample
from explorer.relevance.scores import compute_step_units
from explorer.settings import QuantizerSettings
from tests.support.styles import Reused


class Kinds(nn.Module):
    """A plain, a depthwise, a grouped and a transposed convolution, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.grouped = nn.Conv2d(8, 8, 3, groups=2)
        self.transposed = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        x = torch.relu(self.norm(self.plain(x)))
        x = torch.relu(self.grouped(torch.relu(self.depthwise(x))))
        logits: torch.Tensor = self.head(torch.relu(self.transposed(x)).mean((2, 3)))
        return logits


def stepped(context: CompressionContext, step: float, **more: Any) -> Candidate:
    whole = uniform(context.graph)
    return replace(whole, layers=tuple(LayerChoice(layer=c.layer, step=step, **more) for c in whole.layers))


def opened(model: nn.Module, **settings: Any) -> CompressionContext:
    images = torch.rand(16, 3, 8, 8)
    context = CompressionContext.of(model.eval(), images, quantizer=QuantizerSettings(**settings))
    relevance = deeplift(make_sample(context.model, context.graph, images, torch.arange(16) % 5, target="true"))
    units = {
        layer.name: float(
            np.sqrt(
                sum(
                    float(np.square(relevance.layer(call.name).weight_multipliers.astype(np.float64)).mean())
                    for call in context.graph.layers
                    if call.chosen_by == layer.chosen_by
                )
            )
        )
        for layer in context.graph.layers
    }
    assert compute_step_units(context.graph, relevance) == pytest.approx(units, rel=1e-6)
    return replace(context, step_units=compute_step_units(context.graph, relevance))


@pytest.mark.parametrize("kind", [Kinds, Reused])
def test_all_weights_of_a_layer_lie_on_the_nearest_places_of_one_grid(kind: Callable[[], nn.Module]) -> None:
    torch.manual_seed(1)
    context = opened(kind())
    units = dict(context.step_units or {})
    unit = max(units.values())
    largest = max(
        float(layer_module(context.model, n).weight.detach().abs().max()) for n in context.graph.weight_owners
    )
    model = compressed_copy(context, stepped(context, 0.3 * unit * largest))
    for layer in context.graph.layers:
        weight = layer_module(context.model, layer.name).weight.detach().numpy()
        built = model.get_submodule(layer.name)
        peak = np.abs(weight).max()
        grid = np.clip(0.3 * unit * largest / units[layer.name], peak / 127, peak)
        codes = built.get_buffer("weight_codes").numpy()
        assert np.abs(weight / grid - codes).max() <= 0.5 + 1e-4
        assert np.allclose(built.get_buffer("weight_scale").numpy(), grid, rtol=1e-6)
        assert codes.any()


def test_a_finer_step_errs_less_and_takes_more_integers() -> None:
    torch.manual_seed(2)
    context = opened(Kinds(), rounding="adaptive")
    x = torch.rand(32, 3, 8, 8)
    found = []
    for step in (0.001, 0.01, 0.1):
        model = apply(context, stepped(context, step))
        error = float((model(x) - context.model(x)).detach().square().mean())
        found.append((error, -len(np.unique(model.get_submodule("grouped").get_buffer("weight_codes").numpy()))))
        scales = model.get_submodule("head").get_buffer("weight_scale")
        assert bool((scales == scales[0]).all())
    assert found == sorted(found)


def test_zeros_patterns_and_codebooks_are_options_at_a_step() -> None:
    torch.manual_seed(3)
    for rounding in ("nearest", "adaptive"):
        context = opened(Kinds(), rounding=rounding)
        model = apply(context, stepped(context, 0.001, weight_density=0.5, pattern="2:4", codebook_size=6))
        for layer in context.graph.layers:
            codes = model.get_submodule(layer.name).get_buffer("weight_codes")
            assert int((codes == 0).sum()) >= codes.numel() // 2
            assert len(np.unique(codes.numpy())) <= 7


def test_no_step_is_so_fine_that_weights_are_cut_off_or_so_coarse_that_a_layer_is_lost() -> None:
    weight = torch.tensor([[1.0, -0.5], [0.1, 0.0]])
    for step, scale in ((1e-9, 1 / 127), (0.25, 0.25), (7.0, 1.0), (float("inf"), 1.0)):
        assert fit_step(weight, step).tolist() == pytest.approx([scale, scale])
    assert fit_step(torch.zeros(3, 2), 0.1).tolist() == [1.0, 1.0, 1.0]


def test_a_step_makes_every_width_void_and_goes_through_json() -> None:
    choices = [canonicalise_choice(layer="a", weight_bits=bits, step=0.1) for bits in range(1, 9)]
    assert set(choices) == {LayerChoice(layer="a", step=0.1)}
    candidate = Candidate(layers=(choices[0],), filter_keep_ratio=())
    assert candidate.to_json()["layers"]["a"]["step"] == 0.1
    assert Candidate.from_json(candidate.to_json()) == candidate
    assert "step" not in LayerChoice(layer="a").to_json()


def test_a_step_without_relevance_is_refused_in_one_line() -> None:
    torch.manual_seed(4)
    context = replace(opened(Kinds()), step_units=None)
    with pytest.raises(CandidateError, match=r"layer 'plain': step: expected null, as the relevance .*, received 0\.1"):
        apply(context, stepped(context, 0.1))
