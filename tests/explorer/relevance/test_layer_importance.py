"""Imprinted classifiers image by image, and the importance of layers that follows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.relevance.layer_importance import layer_importance, measure_imprinted_accuracy
from explorer.relevance.sample import make_sample
from tests.support.attribution import canonical, functional


def by_hand(features: Tensor, labels: Tensor) -> float:
    """Leave each image out in turn and build the class means anew."""
    normal = features / features.norm(dim=1, keepdim=True)
    right = []
    for i, label in enumerate(labels.tolist()):
        rest = [j for j in range(len(labels)) if j != i]
        if label not in labels[rest]:
            continue
        angles = {}
        for number in set(labels[rest].tolist()):
            mean = normal[[j for j in rest if labels[j] == number]].mean(0)
            angles[number] = float(mean @ normal[i] / mean.norm())
        right.append(bool(max(angles, key=lambda number: angles[number]) == label))
    return sum(right) / len(right)


@pytest.mark.parametrize("seed", range(4))
def test_leaving_one_out_by_hand(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (30,), generator=draw)
    labels[0] = 7  # alone in its class
    features = torch.randn(30, 6, generator=draw).double() + 2 * F.one_hot(labels % 4, 6)
    found = measure_imprinted_accuracy(features, labels)
    assert found == pytest.approx(by_hand(features, labels))
    assert 0.25 < (found or 0.0) < 1.0


def test_images_that_are_alone_in_their_class_are_no_evidence() -> None:
    assert measure_imprinted_accuracy(torch.eye(3), torch.tensor([0, 1, 2])) is None
    assert (
        measure_imprinted_accuracy(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), torch.tensor([0, 0, 1])) == 1.0
    )


def test_importance_is_what_a_layer_adds() -> None:
    """conv1 gives the same for all, own tells the two classes apart by the sign of a pixel, fc adds nothing."""

    def body(m: Any, x: Tensor) -> Any:
        x = m.own(x + 0.0 * m.conv1(x).mean())
        return m.fc(F.avg_pool2d(x, 2).flatten(1))

    own = nn.Conv2d(2, 4, 1, bias=False)
    model, graph, _, _ = canonical(body, own=own)
    weight = model.get_submodule("own").get_parameter("weight").data
    weight.zero_()
    weight[0, 0], weight[1, 0], weight[2, 1] = 3.0, -1.0, 2.0
    model.get_submodule("conv1").get_parameter("weight").data.zero_()
    model.get_submodule("conv1").get_parameter("bias").data.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    labels = torch.tensor([0, 1] * 4)
    images = torch.ones(8, 2, 6, 6).double() * torch.where(labels == 0, 1.0, -1.0).double().view(-1, 1, 1, 1)
    found = layer_importance(make_sample(model, graph, images, labels))
    assert [layer.layer for layer in found.layers] == ["conv1", "own", "fc"]
    # Bias alone: each image is as near to the others of its class as to the other class; argmax takes the first, 0.
    before, chance, least = 0.5, 1 / 3, 1 / 8
    gains = np.array([before - chance, 1.0 - before, least])
    shares = gains / gains.sum()
    for layer, share in zip(found.layers, shares.tolist(), strict=True):
        assert float(layer.filter_scores.sum()) == pytest.approx(share, rel=1e-5)
        assert np.allclose(layer.weight_multipliers, share**0.5, rtol=1e-5)
    assert np.allclose(found.layer("own").filter_scores, shares[1] * np.array([3, 1, 2, 0]) / 6, rtol=1e-5)
    assert np.allclose(found.layer("conv1").filter_scores, shares[0] / 4, rtol=1e-5)


def test_without_two_images_of_a_class_layers_count_alike() -> None:
    model, graph, images, _ = canonical(functional)
    found = layer_importance(make_sample(model, graph, images[:3], torch.tensor([0, 1, 2])))
    assert [float(layer.filter_scores.sum()) for layer in found.layers] == pytest.approx([1 / 3] * 3, rel=1e-5)
