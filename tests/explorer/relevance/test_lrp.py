"""LRP: each rule by hand, relevance conserved from cut to cut, and what has no rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext
from explorer.errors import RelevanceError
from explorer.graph.inputs import as_tuple
from explorer.relevance.lrp import fold_all_norms, lrp, propagate_relevance
from explorer.relevance.sample import Sample, make_sample
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


def on(body: Body, target: str = "predicted", dtype: torch.dtype = torch.float64, **layers: nn.Module) -> Sample:
    torch.manual_seed(5)
    made: dict[str, nn.Module] = {
        "grouped": nn.Conv2d(4, 6, 3, 2, 1, groups=2),
        "depthwise": nn.Conv2d(6, 6, 3, padding=1, groups=6),
        "up": nn.ConvTranspose2d(6, 4, 2, 2, groups=2),
        "head": nn.Linear(4, 3),
        "rows": nn.Linear(5, 4),
    }
    model, graph, images, labels = canonical(body, **made, **layers)
    return make_sample(model.to(dtype), graph, images.to(dtype), labels, target=target)


def explained(sample: Sample) -> Tensor:
    with torch.no_grad():
        found: Tensor = (sample.model(*sample.inputs) * sample.directions).sum(1)
    return found


def at(sample: Sample, name: str) -> Tensor:
    return torch.from_numpy(lrp(sample).layer(name).contributions).double()


def kinds(m: Any, x: Tensor) -> Any:
    """Groups, depthwise, a transposed convolution, activations that are not zero where their input is."""
    x = F.leaky_relu(m.depthwise(torch.sigmoid(m.grouped(m.conv1(x)))))
    return m.head(F.relu6(m.up(F.max_pool2d(x, 3, 1))).mean((2, 3)))


def moved(m: Any, x: Tensor) -> Any:
    """Sequences, a border, slices, channels in another order, numbers beside tensors."""
    x = F.pad(F.relu(m.conv1(x)), (1, 0, 0, 1))[:, :, :6, 1:]
    left, right = x.chunk(2, 1)
    x = torch.cat((2 * right.flip(1), left - 0.5, F.interpolate(left[:, :1], scale_factor=1.0)), 1)
    x = F.gelu(m.rows(x.flatten(2).transpose(1, 2)))
    return m.head(x.sum(1) / 3)


@pytest.mark.parametrize("target", ["predicted", "contrast"])
@pytest.mark.parametrize("body", [functional, reused, pooled, smooth, kinds, moved])
def test_filters_of_a_cut_add_up_to_what_is_explained(body: Body, target: str) -> None:
    sample = on(body, target)
    relevance, wanted = lrp(sample), explained(sample)
    for entry in relevance.layers:
        assert torch.allclose(torch.from_numpy(entry.contributions).double().sum(1), wanted, rtol=1e-5, atol=1e-7)
        assert (entry.weight_multipliers == 1).all()
        assert (entry.input_multipliers == 1).all()
    (pixels,) = propagate_relevance(sample)[1]
    assert torch.allclose(pixels.flatten(1).sum(1), wanted, rtol=1e-9)


@pytest.mark.parametrize("body", [residual, residual_into_input, product])
def test_branches_together_have_what_is_explained(body: Body) -> None:
    """All relevance passes the first layer, less than all the branch; pixels get all of it."""
    sample = on(body)
    wanted, (pixels,) = explained(sample), propagate_relevance(sample)[1]
    assert torch.allclose(pixels.flatten(1).sum(1), wanted, rtol=1e-9)
    assert torch.allclose(at(sample, "conv1").sum(1), wanted, rtol=1e-5, atol=1e-7)
    branch = at(sample, "conv2").sum(1) / wanted
    assert ((branch > 0.05) & (branch < 0.95)).all()


def test_in_single_precision_too() -> None:
    sample = on(kinds, dtype=torch.float32)
    for entry in lrp(sample).layers:
        assert torch.allclose(torch.from_numpy(entry.contributions).sum(1), explained(sample), rtol=1e-4)


def test_the_z_plus_rule_by_hand() -> None:
    """R_i = sum over j of x_i w_ij+ / sum over k of x_k w_kj+, times R_j (Montavon et al., 2017)."""
    sample = on(functional, "true")
    model = sample.model
    conv1, conv2, fc = (model.get_submodule(name) for name in ("conv1", "conv2", "fc"))
    with torch.no_grad():
        a1 = conv1(*sample.inputs).relu()
        a2 = conv2(a1).relu()
        features = F.avg_pool2d(a2, 2).flatten(1)
    for n, label in enumerate(sample.targets.tolist()):
        positive = features[n] * fc.get_parameter("weight").detach()[label].clamp(min=0)
        below = positive / positive.sum() * explained(sample)[n]
        windows = F.avg_pool2d(a2[n : n + 1], 2)
        shares = torch.zeros_like(a2[n])
        for c in range(4):
            for i in range(6):
                for j in range(6):
                    whole = 4 * float(windows[0, c, i // 2, j // 2])
                    if whole:
                        shares[c, i, j] = float(a2[n, c, i, j]) / whole * float(below.view(4, 3, 3)[c, i // 2, j // 2])
        assert torch.allclose(at(sample, "conv2")[n], shares.sum((1, 2)), rtol=1e-4, atol=1e-7)
        padded, upper = F.pad(a1[n], (1, 1, 1, 1)), torch.zeros(4, 8, 8, dtype=a1.dtype)
        kernels = conv2.get_parameter("weight").detach().clamp(min=0)
        for c in range(4):
            for i in range(6):
                for j in range(6):
                    parts = padded[:, i : i + 3, j : j + 3] * kernels[c]
                    if shares[c, i, j]:
                        upper[:, i : i + 3, j : j + 3] += parts / parts.sum() * shares[c, i, j]
        assert torch.allclose(at(sample, "conv1")[n], upper[:, 1:7, 1:7].sum((1, 2)), rtol=1e-4, atol=1e-7)


def test_a_linear_layer_of_any_signs_by_hand() -> None:
    """Positive products count, of two negative numbers too (alpha 1, beta 0; Bach et al., 2015)."""

    def body(m: Any, x: Tensor) -> Any:
        return m.head(m.conv1(x).mean((2, 3)))

    sample = on(body)
    with torch.no_grad():
        x = sample.model.get_submodule("conv1")(*sample.inputs)
        # A mean of elements of any sign: its positive elements share what it has.
        products = x.mean((2, 3)) * sample.model.get_submodule("head").get_parameter("weight")[sample.explained]
    positive = products.clamp(min=0)
    assert bool((x < 0).any())
    expected = positive / positive.sum(1, keepdim=True) * explained(sample)[:, None]
    assert torch.allclose(at(sample, "conv1"), expected, rtol=1e-4, atol=1e-7)


def test_the_winner_takes_a_maximum_and_a_sum_is_shared() -> None:
    def body(m: Any, x: Tensor) -> Any:
        x = F.relu(m.conv1(x))
        return m.head(F.max_pool2d(x + 3 * m.conv2(x), 6).flatten(1))

    sample = on(body)
    with torch.no_grad():
        x = sample.model.get_submodule("conv1")(*sample.inputs).relu()
        y = 3 * sample.model.get_submodule("conv2")(x)
        features, where = F.max_pool2d(x + y, 6, return_indices=True)
        x, y = (each.flatten(2).gather(2, where.flatten(2))[:, :, 0].clamp(min=0) for each in (x, y))
        products = features.flatten(1) * sample.model.get_submodule("head").get_parameter("weight")[sample.explained]
    positive = products.clamp(min=0)
    below = positive / positive.sum(1, keepdim=True) * explained(sample)[:, None]
    assert torch.allclose(at(sample, "conv2"), below * y / (x + y), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["option_a", "projection", "mixed", "lenet5_digits"])
def test_batch_norms_are_folded_on_a_copy(context: Callable[[str], CompressionContext], name: str) -> None:
    base = context(name)
    (images,) = as_tuple(base.calibration.images)
    before = {key: value.clone() for key, value in base.model.state_dict().items()}
    copied = fold_all_norms(base.model)
    kinds = [type(module) for module in copied.modules()]
    called = {str(node.target) for node in copied.graph.nodes if node.op == "call_module"}
    left = [path for path in called if isinstance(copied.get_submodule(path), nn.BatchNorm2d)]
    assert left == ([path for path in left if "joined" in path] if name == "mixed" else [])
    assert nn.Conv2d in kinds
    with torch.no_grad():
        assert torch.allclose(copied(images), base.model(images), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in base.model.state_dict().items())
    sample = make_sample(base.model, base.graph, images, torch.zeros(len(images), dtype=torch.long))
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    again = lrp(replace(sample, model=copied))
    for one, other in zip(lrp(sample).layers, again.layers, strict=True):
        assert one.contributions == pytest.approx(other.contributions, rel=1e-4, abs=1e-6)


def test_what_came_from_biases_alone_is_dropped() -> None:
    """A filter whose batch norm has no gain gives a constant, of which nothing before it gets a share."""

    def body(m: Any, x: Tensor) -> Any:
        return m.head(F.relu(m.norm(m.conv2(F.relu(m.conv1(x))))).mean((2, 3)))

    sample = on(body, norm=nn.BatchNorm2d(4))
    norm = sample.model.get_submodule("norm")
    with torch.no_grad():
        norm.get_parameter("weight")[2] = 0.0
        norm.get_parameter("bias")[2] = 5.0
        sample.model.get_submodule("head").get_parameter("weight").abs_()
    second, first = at(sample, "conv2"), at(sample, "conv1")
    assert (second[:, 2] > 0).all()
    assert torch.allclose(first.sum(1), second[:, [0, 1, 3]].sum(1), rtol=1e-5)


def normed(m: Any, x: Tensor) -> Any:
    return m.fc(F.avg_pool2d(F.relu(m.norm(m.conv1(x))), 2).flatten(1))


def attention(m: Any, x: Tensor) -> Any:
    x = F.relu(m.conv1(x)).flatten(2)
    return m.fc(F.avg_pool2d((x @ (x.transpose(1, 2) @ x)).view(-1, 4, 6, 6), 2).flatten(1))


@pytest.mark.parametrize(
    ("body", "what"), [(normed, r"norm \(GroupNorm\)"), (attention, r"matmul at test_lrp.py, line")]
)
def test_what_has_no_rule_is_refused_and_named(body: Body, what: str) -> None:
    sample = on(body, norm=nn.GroupNorm(2, 4))
    with pytest.raises(RelevanceError, match=rf"lrp has no rule for {what}.*; choose another method, such as deeplift"):
        lrp(sample)


def test_a_layer_that_the_output_does_not_need_counts_nothing() -> None:
    def body(m: Any, x: Tensor) -> Any:
        x = F.relu(m.conv1(x))
        return m.fc(F.avg_pool2d(torch.maximum(x, -1 - m.conv2(x).square()), 2).flatten(1))

    assert not lrp(on(body)).layer("conv2").filter_scores.any()
