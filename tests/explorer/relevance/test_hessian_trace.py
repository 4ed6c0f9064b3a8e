"""Traces against Hessians that are written out in full."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from explorer.relevance import hessian_trace as module
from explorer.relevance.hessian_trace import hessian_trace
from explorer.relevance.sample import Sample, make_sample
from explorer.relevance.scores import LayerRelevance
from tests.support.attribution import Body, canonical, functional, pooled, residual, smooth


def narrow(m: Any, x: Tensor) -> Any:
    """Grouped and transposed, few weights."""
    x = F.relu(m.up(F.relu6(m.grouped(F.avg_pool2d(m.conv1(x), 2)))))
    return m.head(F.leaky_relu(x).mean((2, 3)))


def twice(m: Any, x: Tensor) -> Any:
    """The same weights in two layers."""
    x = F.relu(m.shared(F.relu(m.shared(F.relu(m.conv1(x))))))
    return m.head(x.mean((2, 3)))


def on(body: Body, classes: int = 3) -> Sample:
    torch.manual_seed(5)
    model, graph, images, labels = canonical(
        body,
        grouped=nn.Conv2d(4, 4, 2, groups=2),
        up=nn.ConvTranspose2d(4, 4, 2, groups=4),
        shared=nn.Conv2d(4, 4, 1),
        head=nn.Linear(4, classes),
    )
    return make_sample(model, graph, images, labels)


def loss_by(sample: Sample, name: str, weight: Tensor) -> Tensor:
    given = functional_call(sample.model, {f"{name}.weight": weight}, sample.inputs, tie_weights=False)
    return F.cross_entropy(given, sample.explained)


def check(found: LayerRelevance, weight: Tensor, diagonal: Tensor) -> None:
    """Scores and multipliers from the Hessian's diagonal by a layer's weights."""
    traces = diagonal.view(weight.shape).flatten(1).sum(1)
    size = weight[0].numel()
    expected = weight.square().flatten(1).sum(1) * traces / size / 2
    assert torch.allclose(torch.from_numpy(found.filter_scores).double(), expected, rtol=1e-5, atol=1e-12)
    assert found.weight_multipliers == pytest.approx(float(traces.sum() / weight.numel() / 2) ** 0.5, rel=1e-5)
    assert found.weight_multipliers.shape == weight.shape
    assert (found.input_multipliers == 1).all()
    assert len(found.contributions) == 0


@pytest.mark.parametrize("body", [functional, residual, pooled, narrow, twice])
def test_traces_are_those_of_the_whole_hessian(body: Body) -> None:
    """Of the weights of one layer, all others held, where the network is piecewise linear."""
    sample = on(body)
    relevance = hessian_trace(sample)
    for name in sample.graph.layer_names:
        weight = sample.model.get_submodule(name).get_parameter("weight").detach()

        def loss(flat: Tensor, name: str = name, weight: Tensor = weight) -> Tensor:
            return loss_by(sample, name, flat.view(weight.shape))

        hessian = torch.autograd.functional.hessian(loss, weight.flatten())  # type: ignore[no-untyped-call]
        check(relevance.layer(name), weight, hessian.diagonal())


def test_with_smooth_activations_it_is_the_gauss_newton_part() -> None:
    sample = on(smooth)
    weight = sample.model.get_submodule("conv1").get_parameter("weight").detach()

    def logits(flat: Tensor) -> Tensor:
        given = functional_call(sample.model, {"conv1.weight": flat.view(weight.shape)}, sample.inputs)
        assert isinstance(given, Tensor)
        return given

    jacobian = torch.autograd.functional.jacobian(logits, weight.flatten())  # type: ignore[no-untyped-call]
    p = logits(weight.flatten()).detach().softmax(1)
    inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    diagonal = torch.einsum("ncw,ncd,ndw->w", jacobian, inner, jacobian) / len(sample)
    check(hessian_trace(sample).layer("conv1"), weight, diagonal)


def test_many_classes_share_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn has the exact value as its mean, and is little where few classes are likely."""
    sample = on(twice, classes=9)
    told: list[tuple[int, int]] = []
    exact = hessian_trace(sample, lambda done, total: told.append((done, total)))
    assert told == [(done, 9) for done in range(1, 10)]
    monkeypatch.setattr(module, "CLASSES", 2)
    drawn = [
        hessian_trace(make_sample(sample.model, sample.graph, sample.inputs, sample.targets, seed=seed))
        for seed in range(60)
    ]
    assert len({each.digest() for each in drawn}) == 60
    for entry in exact.layers:
        scores = torch.stack([torch.from_numpy(each.layer(entry.layer).filter_scores) for each in drawn]).double()
        error = scores.std(0) / len(drawn) ** 0.5
        assert ((scores.mean(0) - torch.from_numpy(entry.filter_scores)).abs() <= 4 * error).all()
    told.clear()
    hessian_trace(sample, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_up_to_the_number_of_classes_nothing_is_drawn() -> None:
    sample = on(functional)
    other = make_sample(sample.model, sample.graph, sample.inputs, sample.targets, seed=1, target="true")
    one, two = hessian_trace(sample), hessian_trace(other)
    for a, b in zip(one.layers, two.layers, strict=True):
        assert (a.filter_scores == b.filter_scores).all()
        assert (a.weight_multipliers == b.weight_multipliers).all()
