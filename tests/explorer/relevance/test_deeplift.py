"""DeepLIFT in one pass and through Captum: against the rescale rule by hand, and complete where it claims to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext
from explorer.errors import RelevanceError
from explorer.graph.canonical import canonicalise
from explorer.graph.inputs import as_tuple
from explorer.graph.trace import trace
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.relevance.captum_deeplift import attribute_layer, captum_deeplift, guard_max_pools
from explorer.relevance.criteria import CRITERIA
from explorer.relevance.deeplift import attribute, deeplift
from explorer.relevance.sample import IMAGES_AT_ONCE, make_sample
from tests.oracles.deeplift import gradients_by_hand, multipliers_by_hand
from tests.support.attribution import (
    Body,
    canonical,
    functional,
    pooled,
    product,
    residual,
    residual_into_input,
    reused,
    smooth,
)

BOTH = ("deeplift", "captum_deeplift")


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("body", [functional, residual, residual_into_input])
def test_scores_are_those_of_the_rescale_rule_by_hand(body: Body, method: str) -> None:
    """What a layer read and wrote must be its own, not what an addition in place makes of it afterwards."""
    model, graph, images, labels = canonical(body)
    relevance = CRITERIA[method].compute(make_sample(model, graph, images, labels, target="true"), None)
    multipliers = multipliers_by_hand(model, images, labels, joined=body is not functional)
    inputs = {"conv1": images, "conv2": model.get_submodule("conv1")(images).relu().detach()}
    references = {"conv1": images.roll(1, 0), "conv2": inputs["conv2"].roll(1, 0)}
    for name, m in multipliers.items():
        layer, found = model.get_submodule(name), relevance.layer(name)
        with torch.no_grad():
            contributions = m * (layer(inputs[name]) - layer(references[name]))
        table = contributions.sum((2, 3))
        assert torch.allclose(torch.from_numpy(found.contributions).double(), table, rtol=1e-5, atol=1e-7)
        assert torch.allclose(torch.from_numpy(found.filter_scores).double(), table.abs().mean(0), rtol=1e-5)
        assert torch.allclose(
            torch.from_numpy(found.magnitudes).double(), contributions.abs().sum((2, 3)), rtol=1e-5, atol=1e-7
        )
        weights, channels = gradients_by_hand(layer, inputs[name], m)
        assert torch.allclose(torch.from_numpy(found.weight_multipliers).double(), weights, rtol=1e-5)
        assert torch.allclose(torch.from_numpy(found.input_multipliers).double(), channels, rtol=1e-5)


@pytest.mark.parametrize("method", BOTH)
def test_the_last_layer_by_hand(method: str) -> None:
    """At the logits the multiplier is one for the target and zero for all others."""
    model, graph, images, labels = canonical(functional)
    sample = make_sample(model, graph, images, labels, target="true")
    found = CRITERIA[method].compute(sample, None).layer("fc")
    with torch.no_grad():
        logits = model(images)
        features = F.avg_pool2d(model.get_submodule("conv2")(model.get_submodule("conv1")(images).relu()).relu(), 2)
    chosen = F.one_hot(labels, 3)
    expected = ((logits - logits.roll(1, 0)) * chosen).abs().mean(0)
    assert torch.allclose(torch.from_numpy(found.filter_scores).double(), expected, rtol=1e-5)
    outer = (chosen[:, :, None] * features.flatten(1)[:, None, :]).abs().mean(0)
    assert torch.allclose(torch.from_numpy(found.weight_multipliers).double(), outer, rtol=1e-5)
    weight = model.get_submodule("fc").get_parameter("weight").detach()
    assert torch.allclose(torch.from_numpy(found.input_multipliers).double(), weight[labels].abs().mean(0), rtol=1e-5)


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups", "mode"),
    [(2, 1, 1, 1, "zeros"), (1, "same", 1, 1, "zeros"), (1, 2, 2, 2, "zeros"), (1, 1, 1, 4, "circular")],
)
def test_multipliers_of_every_kind_of_convolution(
    stride: int, padding: int | str, dilation: int, groups: int, mode: Literal["zeros", "circular"]
) -> None:
    own = nn.Conv2d(4, 4, 3, stride, padding, dilation, groups, padding_mode=mode)
    _check_own(own, nn.Linear(4, 3))


@pytest.mark.parametrize("groups", [1, 2])
def test_multipliers_of_a_transposed_convolution(groups: int) -> None:
    _check_own(nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=groups), nn.Linear(6, 3))


def _check_own(own: nn.Module, head: nn.Linear) -> None:
    def body(m: Any, x: Tensor) -> Any:
        return m.head(m.own(m.conv1(x)).mean((2, 3)))

    model, graph, images, labels = canonical(body, own=own, head=head)
    found = deeplift(make_sample(model, graph, images, labels, target="true")).layer("own")
    layer, inputs = model.get_submodule("own"), model.get_submodule("conv1")(images).detach()
    positions = layer(inputs).shape[2] * layer(inputs).shape[3]
    weight = model.get_submodule("head").get_parameter("weight").detach()
    m = weight[labels][:, :, None, None].expand_as(layer(inputs)) / positions
    weights, channels = gradients_by_hand(layer, inputs, m)
    assert torch.allclose(torch.from_numpy(found.weight_multipliers).double(), weights, rtol=1e-5)
    assert torch.allclose(torch.from_numpy(found.input_multipliers).double(), channels, rtol=1e-5)


def gelu(m: Any, x: Tensor) -> Any:
    return m.fc(F.avg_pool2d(F.gelu(m.conv2(F.silu(m.conv1(x)))), 2).flatten(1))


def overlapping(m: Any, x: Tensor) -> Any:
    """Windows overlap, so that one position can be the maximum of several."""
    return m.fc(F.max_pool2d(F.relu6(m.conv2(F.relu(m.conv1(x)))), 4, 1).flatten(1))


def squeeze(m: Any, x: Tensor) -> Any:
    x = F.relu(m.conv1(x))
    gate = torch.sigmoid(m.gate(x.mean((2, 3))))
    return m.fc(F.avg_pool2d(x * gate[:, :, None, None], 2).flatten(1))


def quotient(m: Any, x: Tensor) -> Any:
    x = F.relu(m.conv1(x))
    return m.fc(F.avg_pool2d(x / (1 + m.conv2(x).square().sum(1, keepdim=True)).sqrt(), 2).flatten(1))


def normed(m: Any, x: Tensor) -> Any:
    return m.fc(F.avg_pool2d(F.relu(m.norm(m.conv1(x))), 2).flatten(1))


def maxima(m: Any, x: Tensor) -> Any:
    x = m.conv1(x)
    return m.fc(F.avg_pool2d(torch.maximum(x, m.conv2(x)) - torch.minimum(x, 0.5 * x.square()), 2).flatten(1))


def attention(m: Any, x: Tensor) -> Any:
    x = m.conv1(x).flatten(2)
    weights = torch.softmax(x.transpose(1, 2) @ x / 2, -1)
    return m.fc(F.avg_pool2d((x @ weights.transpose(1, 2)).view(-1, 4, 6, 6), 2).flatten(1))


@pytest.mark.parametrize("reference", ["shuffled", "zero", "mean"])
@pytest.mark.parametrize(
    "body",
    [
        *(functional, reused, pooled, residual, residual_into_input, smooth, product),
        *(gelu, overlapping, squeeze, quotient, normed, maxima, attention),
    ],
)
def test_contributions_add_up(body: Body, reference: str) -> None:
    layers = {"gate": nn.Linear(4, 4), "norm": nn.GroupNorm(2, 4)}
    model, graph, images, labels = canonical(body, **layers)
    relevance = deeplift(make_sample(model, graph, images, labels, target="true", reference=reference))
    assert relevance.completeness is not None
    assert relevance.completeness < 1e-12
    assert (relevance.samples, relevance.reference, relevance.method) == (6, reference, "deeplift")
    single = make_sample(model.float(), graph, images.float(), labels, target="true", reference=reference)
    assert (deeplift(single).completeness or 0.0) < 1e-4


@pytest.mark.parametrize("body", [functional, residual, pooled, reused])
def test_one_pass_is_captum_at_every_layer(body: Body) -> None:
    model, graph, images, labels = canonical(body)
    sample = make_sample(model, graph, images, labels)
    for one, other in zip(deeplift(sample).layers, captum_deeplift(sample).layers, strict=True):
        for key in ("filter_scores", "weight_multipliers", "input_multipliers", "contributions", "magnitudes"):
            assert np.allclose(getattr(one, key), getattr(other, key), rtol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_one_pass_is_captum_at_every_layer_of_resnet8(dtype: torch.dtype, tolerance: float) -> None:
    """Relative to the largest contribution of each layer; what is stored is float32, so this looks at the passes."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        images = torch.randn(4, 3, 32, 32)
        model = canonicalise(REFERENCE_NETWORKS["resnet8"](10).eval(), images)
    graph = trace(model, images)
    sample = make_sample(model.to(dtype), graph, images.to(dtype), torch.arange(4))
    found, guarded = attribute(sample), guard_max_pools(sample.model)
    for name in graph.layer_names:
        expected = attribute_layer(guarded, name, sample)[0]
        received = found.multipliers[name] * found.differences[name]
        assert float((received - expected).abs().max() / expected.abs().max()) < tolerance, name


def test_what_has_no_rule_is_refused_and_named() -> None:
    class Cubed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cumprod(x, 1)

    def body(m: Any, x: Tensor) -> Any:
        return m.fc(F.avg_pool2d(m.own(F.relu(m.conv1(x))), 2).flatten(1))

    model, graph, images, labels = canonical(body, own=Cubed())
    with pytest.raises(
        RelevanceError,
        match=r"not complete.*no rule for torch\.cumprod at test_deeplift\.py, line \d+: .*set relevance\.tolerance",
    ):
        deeplift(make_sample(model, graph, images, labels))
    accepted = deeplift(make_sample(model, graph, images, labels, tolerance=100.0))
    assert (accepted.completeness or 0.0) > 1e-3


def test_parts_of_a_sample_are_one_sample() -> None:
    """References and classes are those of the whole, wherever it is cut."""
    model, graph, images, labels = canonical(pooled)
    times = IMAGES_AT_ONCE // len(images) + 2
    draw = torch.Generator().manual_seed(0)
    many = images.repeat(times, 1, 1, 1) + 0.1 * torch.randn(len(images) * times, *images.shape[1:], generator=draw)
    told: list[tuple[int, int]] = []
    sample = make_sample(model, graph, many, labels.repeat(times), target="true")
    whole = deeplift(sample, lambda done, total: told.append((done, total)))
    assert told == [(IMAGES_AT_ONCE, len(many)), (len(many), len(many))]
    table = captum_deeplift(sample).layer("conv1").contributions
    assert torch.allclose(torch.from_numpy(whole.layer("conv1").contributions), torch.from_numpy(table), rtol=1e-5)


def test_contrast_is_the_logit_less_the_mean() -> None:
    model, graph, images, labels = canonical(functional)
    found = deeplift(make_sample(model, graph, images, labels, target="contrast")).layer("fc")
    with torch.no_grad():
        logits = model(images)
    direction = F.one_hot(logits.argmax(1), 3) - 1 / 3
    expected = (logits - logits.roll(1, 0)) * direction
    assert torch.allclose(torch.from_numpy(found.contributions).double(), expected, rtol=1e-5)
    with pytest.raises(RelevanceError, match=r"relevance\.target: Captum explains one logit"):
        captum_deeplift(make_sample(model, graph, images, labels, target="contrast"))


def test_a_layer_that_the_output_does_not_need_is_not_relevant() -> None:
    def body(m: Any, x: Tensor) -> Any:
        x = F.relu(m.conv1(x))
        return m.fc(F.avg_pool2d(x + 0.0 * m.conv2(x), 2).flatten(1))

    model, graph, images, labels = canonical(body)
    found = deeplift(make_sample(model, graph, images, labels)).layer("conv2")
    assert not found.filter_scores.any()
    assert not found.weight_multipliers.any()


@pytest.mark.parametrize("method", BOTH)
def test_the_network_is_left_as_it_was(context: Callable[[str], CompressionContext], method: str) -> None:
    base = context("option_a")
    (images,) = as_tuple(base.calibration.images)
    with torch.no_grad():
        before = base.model(images)
    sample = make_sample(base.model, base.graph, images, torch.zeros(len(images), dtype=torch.long))
    relevance = CRITERIA[method].compute(sample, None)
    assert [entry.layer for entry in relevance.layers] == list(base.graph.layer_names)
    with torch.no_grad():
        assert torch.equal(base.model(images), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in base.model.modules())
    assert all(parameter.grad is None for parameter in base.model.parameters())
    for entry in relevance.layers:
        weight = base.model.get_submodule(entry.layer).get_parameter("weight")
        assert entry.weight_multipliers.shape == weight.shape
        assert entry.filter_scores.shape == (weight.shape[0],)
        assert entry.input_multipliers.shape == (base.graph.layer(entry.layer).in_channels,)
        assert entry.contributions.shape == entry.magnitudes.shape == (len(images), weight.shape[0])
