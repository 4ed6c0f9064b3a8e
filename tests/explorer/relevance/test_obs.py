"""Optimal Brain Surgeon: saliencies against constrained least squares that are actually solved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.graph.modules import layer_module
from explorer.graph.unfold import unfold_inputs
from explorer.relevance import obs as module
from explorer.relevance.obs import DAMPING, obs
from explorer.relevance.sample import Sample, make_sample
from tests.support.attribution import canonical

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Conv2d(4, 3, 3, padding=1),
    "strided": lambda: nn.Conv2d(4, 3, (3, 2), stride=2, padding=(1, 0), bias=False),
    "dilated": lambda: nn.Conv2d(4, 3, 3, padding="same", dilation=2),
    "grouped": lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2),
    "depthwise": lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4, padding_mode="circular"),
    "transposed": lambda: nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
    "transposed in groups": lambda: nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2),
}


def on(make: Callable[[], nn.Module]) -> Sample:
    torch.manual_seed(5)
    own = make()

    def body(m: Any, x: Tensor) -> Any:
        x = m.own(F.relu(m.conv1(x)))
        return m.head(F.relu(x).mean((2, 3)))

    channels = int(own.out_channels)  # type: ignore[arg-type]
    model, graph, images, labels = canonical(body, own=own, head=nn.Linear(channels, 3))
    return make_sample(model, graph, images, labels)


def by_linearity(layer: nn.Module, inputs: Tensor) -> Tensor:
    """What each weight of a filter is multiplied with (out x k x places), from outputs with one weight at a time."""
    weight = layer.get_parameter("weight")
    before, found = weight.data.clone(), []
    bias = layer._parameters["bias"]
    layer._parameters["bias"] = None
    with torch.no_grad():
        for index in range(weight[0].numel()):
            weight.data = torch.zeros_like(before)
            weight.data.flatten(1)[:, index] = 1
            given = layer(inputs)
            found.append(given.transpose(0, 1).flatten(1) if given.ndim > 2 else given.t())
    weight.data, layer._parameters["bias"] = before, bias
    return torch.stack(found, 1)


def least_loss(design: Tensor, weight: Tensor, images: int, q: int) -> float:
    """Least half squared error of a filter's output without weight q, by least squares over all other weights."""
    damping = DAMPING * float(design.square().sum(1).mean()) / images
    rows = torch.cat((design.t() / images**0.5, damping**0.5 * torch.eye(len(weight), dtype=design.dtype)))
    wanted = rows @ weight
    others = [index for index in range(len(weight)) if index != q]
    best = torch.linalg.lstsq(rows[:, others], wanted[:, None]).solution
    return float((rows[:, others] @ best - wanted[:, None]).square().sum() / 2)


@pytest.mark.parametrize("kind", LAYERS)
def test_saliencies_are_least_squares_with_a_weight_removed(kind: str) -> None:
    sample = on(LAYERS[kind])
    found, layer = obs(sample).layer("own"), layer_module(sample.model, "own")
    with torch.no_grad():
        inputs = sample.model.get_submodule("conv1")(*sample.inputs).relu()
        outputs = layer(inputs)
    designs, weights = by_linearity(layer, inputs), layer.weight.detach().flatten(1)
    multipliers = torch.from_numpy(found.weight_multipliers).double().flatten(1)
    for f in (0, len(weights) - 1):
        for q in (0, weights.shape[1] // 2, weights.shape[1] - 1):
            saliency = float(multipliers[f, q] * weights[f, q]) ** 2
            assert saliency == pytest.approx(least_loss(designs[f], weights[f], len(inputs), q), rel=1e-4)
    bias = 0 if layer.bias is None else layer.bias.detach()[:, None, None]
    energies = (outputs - bias).square().sum((2, 3)) / 2
    assert torch.allclose(torch.from_numpy(found.contributions).double(), energies, rtol=1e-5)
    is_loss = torch.einsum("fk,fkp,fjp,fj->f", weights, designs, designs, weights) / len(inputs) / 2
    assert torch.allclose(torch.from_numpy(found.filter_scores).double(), is_loss, rtol=1e-5)
    assert (found.input_multipliers == 1).all()


def test_a_linear_layer_of_more_inputs_than_images() -> None:
    """Its Hessian is never built; the saliencies are the same."""
    sample = on(lambda: nn.Conv2d(4, 30, 3, padding=1))
    found, layer = obs(sample).layer("head"), layer_module(sample.model, "head")
    assert len(sample) < layer.in_features  # type: ignore[operator]
    with torch.no_grad():
        inputs = sample.model.get_submodule("own")(sample.model.get_submodule("conv1")(*sample.inputs).relu())
        inputs = inputs.relu().mean((2, 3))
    weight = layer.weight.detach()
    for q in (0, 7, 29):
        expected = least_loss(inputs.t(), weight[1], len(inputs), q)
        assert float(found.weight_multipliers[1, q] * weight[1, q]) ** 2 == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", LAYERS)
def test_columns_are_what_the_layer_multiplies_with(kind: str) -> None:
    sample = on(LAYERS[kind])
    layer = layer_module(sample.model, "own")
    inputs = torch.randn(3, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found, expected = unfold_inputs(layer, inputs), by_linearity(layer, inputs)
    rows = expected.view(len(found), -1, *expected.shape[1:])
    assert all(torch.allclose(rows[:, f], found) for f in range(rows.shape[1]))


def test_columns_of_sequences() -> None:
    layer, inputs = nn.Linear(5, 3).double(), torch.randn(2, 7, 5, dtype=torch.float64)
    found = unfold_inputs(layer, inputs)
    assert torch.equal(found, inputs.reshape(1, 14, 5).mT)


def test_in_several_passes_and_parts_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = on(LAYERS["plain"])
    whole = obs(sample)
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(module, "ELEMENTS_AT_ONCE", 1)
    monkeypatch.setattr(module, "PRODUCTS_AT_ONCE", 1)
    again = obs(sample, lambda done, total: told.append((done, total)))
    assert told == [(6, 18), (12, 18), (18, 18)]
    for one, other in zip(whole.layers, again.layers, strict=True):
        assert one.filter_scores == pytest.approx(other.filter_scores, rel=1e-6)
        assert one.weight_multipliers == pytest.approx(other.weight_multipliers, rel=1e-5)


def test_what_no_image_excites_costs_the_damping_alone() -> None:
    sample = on(LAYERS["plain"])
    conv1 = layer_module(sample.model, "conv1")
    assert conv1.bias is not None
    with torch.no_grad():
        conv1.weight[2], conv1.bias[2] = 0.0, -1.0
    found, layer = obs(sample).layer("own").weight_multipliers, layer_module(sample.model, "own")
    with torch.no_grad():
        read = unfold_inputs(layer, sample.model.get_submodule("conv1")(*sample.inputs).relu())[0]
    damping = DAMPING * float(read.square().sum(1).mean()) / len(sample)
    assert found[:, 2] == pytest.approx((damping / 2) ** 0.5, rel=1e-5)
    assert found[:, [0, 1, 3]].min() > found[:, 2].max()
    with torch.no_grad():
        conv1.weight.zero_()
        conv1.bias.fill_(-1.0)
    assert obs(sample).layer("own").weight_multipliers == pytest.approx(0.0, abs=1e-15)
