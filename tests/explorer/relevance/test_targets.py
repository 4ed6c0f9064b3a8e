"""What is explained: of outputs that are no classes, and by functions of the user's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from explorer.errors import RelevanceError
from explorer.graph.canonical import canonicalise
from explorer.graph.layers import ModelGraph
from explorer.graph.trace import trace
from explorer.relevance.criteria import CRITERIA
from explorer.relevance.deeplift import deeplift
from explorer.relevance.sample import Sample, make_sample
from explorer.relevance.targets import TargetFunction

GENERAL = ("deeplift", "taylor", "fisher", "obs", "integrated_gradients", "conductance", "lrp", "l1", "activation_mean")


def mask_network(classes: int) -> tuple[fx.GraphModule, ModelGraph, Tensor, Tensor]:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, classes, 1)).eval().double()
    images = torch.randn(6, 1, 5, 5, dtype=torch.float64)
    model = canonicalise(net, images)
    return model, trace(model, images), images, (images[:, 0] > 0).long()


def explained(sample: Sample) -> Tensor:
    changed: Tensor = (sample.model(*sample.inputs) - sample.model(*sample.references)) * sample.directions
    return changed.flatten(1).sum(1)


def test_of_a_map_the_predicted_logits_of_all_positions_are_explained() -> None:
    model, graph, images, masks = mask_network(4)
    sample = make_sample(model, graph, images, masks)
    with torch.no_grad():
        outputs = model(images)
        assert torch.allclose((outputs * sample.directions).flatten(1).sum(1), outputs.amax(1).flatten(1).sum(1))
    assert sample.num_classes is None
    found = deeplift(sample)
    assert found.completeness is not None
    assert found.completeness < 1e-10
    (last,) = (entry for entry in found.layers if entry.layer == graph.layer_names[-1])
    assert torch.allclose(torch.from_numpy(last.contributions).sum(1), explained(sample).float(), rtol=1e-5)


@pytest.mark.parametrize("method", GENERAL)
@pytest.mark.parametrize("classes", [1, 3])
def test_criteria_that_know_no_classes_score_a_map(method: str, classes: int) -> None:
    sample = make_sample(*mask_network(classes))
    found = CRITERIA[method].compute(sample, None)
    assert all(bool(torch.from_numpy(entry.filter_scores).isfinite().all()) for entry in found.layers)
    assert any(entry.filter_scores.any() for entry in found.layers)


@pytest.mark.parametrize("method", ["hessian_trace", "layer_importance", "captum_deeplift"])
def test_criteria_of_classes_are_refused_for_a_map(method: str) -> None:
    with pytest.raises(RelevanceError, match=rf"relevance\.method: '{method}' is of classes, received"):
        CRITERIA[method].compute(make_sample(*mask_network(2)), None)


@pytest.mark.parametrize("target", ["true", "contrast"])
def test_targets_of_classes_are_refused_for_a_map(target: str) -> None:
    with pytest.raises(RelevanceError, match=rf'relevance\.target: "{target}" is for N x classes'):
        make_sample(*mask_network(2), target=target)


def test_one_number_for_each_image_is_explained_itself() -> None:
    torch.manual_seed(1)
    images = torch.randn(5, 3)
    model = canonicalise(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), images)
    sample = make_sample(model, trace(model, images), images, torch.zeros(5, 1))
    assert torch.equal(sample.directions, torch.ones(5, 1))
    assert sample.num_classes is None


def test_a_linear_function_counts_outputs_by_its_coefficients() -> None:
    model, graph, images, masks = mask_network(2)

    def foreground(outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs[:, 1] - 2 * outputs[:, 0]) * targets).flatten(1).sum(1)

    sample = make_sample(model, graph, images, masks, target=TargetFunction(name="mine", function=foreground))
    expected = torch.stack((-2.0 * masks, masks.double()), dim=1)
    assert torch.allclose(sample.directions, expected.double())
    assert deeplift(sample).target == "mine"


def test_a_curved_function_is_explained_up_to_its_difference_from_the_reference() -> None:
    model, graph, images, masks = mask_network(1)

    def likely(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.sigmoid().flatten(1).mean(1)

    sample = make_sample(model, graph, images, masks, target=TargetFunction(name="mine", function=likely))
    with torch.no_grad():
        changed = likely(model(images), masks) - likely(model(*sample.references), masks)
        assert torch.allclose(explained(sample), changed, atol=1e-9)
    found = deeplift(sample)
    assert found.completeness is not None
    assert found.completeness < 1e-10


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda o, t: (o > 0).double().flatten(1).mean(1), "'mine': expected a number that follows .* with gradients"),
        (
            lambda o, t: o.flatten(1).mean(1) + (o > 0).flatten(1).sum(1),
            "'mine': its gradients miss its differences by",
        ),
        (
            lambda o, t: o.mean(),
            r"one finite number for each image, .* \(6,\), received one of shape \(\)",
        ),
        (lambda o, t: o.flatten(1).mean(1) * float("nan"), r"expected one finite number"),
        (lambda o, t: 1.0, "received float"),
        (lambda o, t: o[:, 5], "'mine' failed on outputs of .*IndexError"),
    ],
)
def test_a_function_that_cannot_be_explained_is_one_line(function: Any, told: str) -> None:
    with pytest.raises(RelevanceError, match=told):
        make_sample(*mask_network(1), target=TargetFunction(name="mine", function=function))
