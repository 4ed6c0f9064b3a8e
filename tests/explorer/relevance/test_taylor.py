"""First-order Taylor and Fisher scores, against loops over images, positions and weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.relevance.sample import IMAGES_AT_ONCE, make_sample
from explorer.relevance.taylor import fisher, taylor
from tests.support.attribution import Body, canonical, functional, pooled, residual


def kinds(m: Any, x: Tensor) -> Any:
    """Grouped with a stride, depthwise, transposed."""
    x = F.relu(m.depthwise(F.relu(m.grouped(m.conv1(x)))))
    return m.head(F.relu(m.up(x)).mean((2, 3)))


def twice(m: Any, x: Tensor) -> Any:
    """One convolution called twice."""
    x = F.relu(m.conv2(F.relu(m.conv2(F.relu(m.conv1(x))))))
    return m.fc(F.avg_pool2d(x, 2).flatten(1))


def case(body: Body) -> tuple[Any, Any, Tensor, Tensor]:
    torch.manual_seed(5)
    return canonical(
        body,
        grouped=nn.Conv2d(4, 6, 3, 2, 1, groups=2),
        depthwise=nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False),
        up=nn.ConvTranspose2d(6, 4, 2, 2, groups=2),
        head=nn.Linear(4, 3),
    )


def of_image(model: nn.Module, name: str, image: Tensor, label: Tensor) -> tuple[Tensor, ...]:
    """(output, derivative of the loss by it, by the weight, and by what this layer alone makes of its input)."""
    layer = model.get_submodule(name)
    seen: dict[str, Tensor] = {}

    def keep(_: nn.Module, read: tuple[Tensor, ...], given: Tensor) -> None:
        seen.update(read=read[0].detach(), given=given)

    handle = layer.register_forward_hook(keep)
    loss = F.cross_entropy(model(image[None]), label[None])
    handle.remove()
    (by_given,) = torch.autograd.grad(loss, seen["given"])
    read = seen["read"].requires_grad_()
    by_weight, by_read = torch.autograd.grad(layer(read), (layer.get_parameter("weight"), read), by_given)
    return seen["given"].detach(), by_given, by_weight, by_read


def positions(values: Tensor) -> Tensor:
    """Sums over all but the channels of one image."""
    return values[0].flatten(1).sum(1) if values.ndim > 2 else values[0]


@pytest.mark.parametrize("body", [functional, residual, pooled, kinds, twice])
def test_scores_are_those_of_a_loop_over_images(body: Body) -> None:
    model, graph, images, labels = case(body)
    sample = make_sample(model, graph, images, labels, target="true")
    first, second = taylor(sample), fisher(sample)
    for name in graph.layer_names:
        single = [of_image(model, name, image, label) for image, label in zip(images, labels, strict=True)]
        changes = torch.stack([positions(given * by_given) for given, by_given, _, _ in single])
        sizes = torch.stack([positions((given * by_given).abs()) for given, by_given, _, _ in single])
        weights = torch.stack([by_weight for _, _, by_weight, _ in single])
        inputs = torch.stack([positions(by_read.abs()) for *_, by_read in single]).mean(0)
        squares = torch.stack([positions(by_read.square()) for *_, by_read in single]).mean(0)
        expected = [
            (first, changes, sizes, changes.abs().mean(0), weights.abs().mean(0), inputs),
            (
                second,
                changes.square() / 2,
                sizes.square() / 2,
                changes.square().mean(0) / 2,
                (weights.square().mean(0) / 2).sqrt(),
                (squares / 2).sqrt(),
            ),
        ]
        keys = ("contributions", "magnitudes", "filter_scores", "weight_multipliers", "input_multipliers")
        for relevance, *values in expected:
            for key, value in zip(keys, values, strict=True):
                found = torch.from_numpy(getattr(relevance.layer(name), key)).double()
                assert found.shape == value.shape, (name, key)
                assert torch.allclose(found, value, rtol=1e-4, atol=float(value.abs().max()) * 1e-6), (name, key)


def test_the_label_is_the_class_that_is_explained() -> None:
    model, graph, images, labels = canonical(functional)
    predicted = model(images).argmax(1)
    assert not torch.equal(predicted, labels)
    by_prediction = taylor(make_sample(model, graph, images, labels))
    by_label = taylor(make_sample(model, graph, images, predicted, target="true"))
    assert [a.filter_scores.tolist() for a in by_prediction.layers] == [
        a.filter_scores.tolist() for a in by_label.layers
    ]
    assert by_prediction.completeness is None


@pytest.mark.parametrize("method", [taylor, fisher])
def test_the_parts_of_a_large_sample_add_up(method: Any) -> None:
    """Every image twice is the same mean, and more than one part."""
    model, graph, images, labels = canonical(functional)
    times = 2 * IMAGES_AT_ONCE // len(images)
    told: list[tuple[int, int]] = []
    many = make_sample(model, graph, images.repeat(times, 1, 1, 1), labels.repeat(times))
    found = method(many, lambda done, total: told.append((done, total)))
    assert told == [(64, 126), (126, 126)]
    for one, other in zip(found.layers, method(make_sample(model, graph, images, labels)).layers, strict=True):
        for key in ("filter_scores", "weight_multipliers", "input_multipliers"):
            assert getattr(one, key) == pytest.approx(getattr(other, key), rel=1e-5, abs=1e-9)


def test_a_layer_that_the_output_does_not_need_counts_nothing() -> None:
    def body(m: Any, x: Tensor) -> Any:
        x = F.relu(m.conv1(x))
        return m.fc(F.avg_pool2d(x + 0.0 * m.conv2(x), 2).flatten(1))

    model, graph, images, labels = canonical(body)
    for method in (taylor, fisher):
        found = method(make_sample(model, graph, images, labels)).layer("conv2")
        assert not found.filter_scores.any()
        assert not found.weight_multipliers.any()
        assert not found.input_multipliers.any()
