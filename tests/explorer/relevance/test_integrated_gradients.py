"""Integrated gradients and conductance, against Captum one layer at a time, and where they are known."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.relevance import conductance as conductance_module
from explorer.relevance import integrated_gradients as gradients_module
from explorer.relevance.conductance import conductance, get_path_points
from explorer.relevance.criteria import CRITERIA
from explorer.relevance.integrated_gradients import integrated_gradients
from explorer.relevance.multipliers import sum_per_channel
from explorer.relevance.sample import Sample, make_sample
from tests.support.attribution import (
    Body,
    canonical,
    functional,
    pooled,
    product,
    residual,
    residual_into_input,
    smooth,
)


def kinds(m: Any, x: Tensor) -> Any:
    """A layer that one branch alone goes through, batch norm, groups, a transposed convolution, shared weights."""
    x = F.relu(m.norm(m.grouped(m.conv1(x))))
    x = torch.cat((F.max_pool2d(m.shared(x), 2), m.shared(F.avg_pool2d(x, 2))), 1)
    return m.head(F.relu(m.up(x)).mean((2, 3)))


def on(body: Body, **options: Any) -> Sample:
    torch.manual_seed(5)
    model, graph, images, labels = canonical(
        body,
        grouped=nn.Conv2d(4, 6, 3, padding=1, groups=2),
        norm=nn.BatchNorm2d(6),
        shared=nn.Conv2d(6, 2, 1),
        up=nn.ConvTranspose2d(4, 4, 2, 2),
        head=nn.Linear(4, 3),
    )
    return make_sample(model, graph, images, labels, **options)


def by_captum(sample: Sample, name: str, method: str, steps: int) -> Tensor:
    from captum.attr import LayerConductance, LayerIntegratedGradients  # noqa: PLC0415

    kind = LayerConductance if method == "conductance" else LayerIntegratedGradients
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Tensor = kind(sample.model, sample.model.get_submodule(name)).attribute(
            sample.inputs, sample.references, target=sample.explained, n_steps=steps
        )
    return found.detach()


STEPS = {"conductance": conductance_module.STEPS, "integrated_gradients": gradients_module.STEPS}


@pytest.mark.parametrize("reference", ["shuffled", "zero"])
@pytest.mark.parametrize("body", [functional, residual, residual_into_input, pooled, smooth, product, kinds])
@pytest.mark.parametrize("method", STEPS)
def test_all_layers_are_as_captum_has_them(method: str, body: Body, reference: str) -> None:
    sample = on(body, target="true", reference=reference)
    relevance = CRITERIA[method].compute(sample, None)
    for entry in relevance.layers:
        layer = sample.model.get_submodule(entry.layer)
        expected = by_captum(sample, entry.layer, method, STEPS[method])
        table, sizes = sum_per_channel(layer, expected), sum_per_channel(layer, expected.abs())
        scale = float(sizes.max())
        assert torch.allclose(torch.from_numpy(entry.contributions).double(), table, rtol=1e-4, atol=1e-6 * scale)
        assert torch.allclose(torch.from_numpy(entry.magnitudes).double(), sizes, rtol=1e-4, atol=1e-6 * scale)
        assert torch.allclose(torch.from_numpy(entry.filter_scores).double(), table.abs().mean(0), rtol=1e-4)
        assert (entry.weight_multipliers == 1).all()
        assert (entry.input_multipliers == 1).all()


def test_the_last_layer_contributes_its_difference() -> None:
    """Linear from there on: integrated gradients need no path; conductance leaves out the path's two ends."""
    for target in ("predicted", "contrast"):
        sample = on(functional, target=target)
        with torch.no_grad():
            changes = (sample.model(*sample.inputs) - sample.model(*sample.references)) * sample.directions
        found = torch.from_numpy(integrated_gradients(sample).layer("fc").contributions).double()
        assert torch.allclose(found, changes, rtol=1e-5, atol=1e-7)
        first, last = (
            get_path_points(conductance_module.STEPS + 1)[0][0],
            get_path_points(conductance_module.STEPS + 1)[-1][0],
        )
        (x,), (reference,) = sample.inputs, sample.references
        ends = [reference + place * (x - reference) for place in (first, last)]
        with torch.no_grad():
            before, after = (sample.model(each) for each in ends)
        found = torch.from_numpy(conductance(sample).layer("fc").contributions).double()
        assert torch.allclose(found, (after - before) * sample.directions, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", STEPS)
def test_a_layer_that_the_output_does_not_need_counts_nothing(method: str) -> None:
    def body(m: Any, x: Tensor) -> Any:
        x = F.relu(m.conv1(x))
        return m.fc(F.avg_pool2d(x + 0.0 * m.conv2(x), 2).flatten(1))

    assert not CRITERIA[method].compute(on(body), None).layer("conv2").filter_scores.any()


@pytest.mark.parametrize("method", STEPS)
def test_progress_counts_images_at_every_layer(method: str) -> None:
    sample, told = on(functional), list[tuple[int, int]]()
    CRITERIA[method].compute(sample, lambda done, total: told.append((done, total)))
    assert told == [(6, 18), (12, 18), (18, 18)]
