"""Straight-through quantisers: forward is what is deployed, gradients by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from explorer.compress.quantize import ActivationQuantizer, find_weight_scales, quantize_weight
from explorer.training.straight_through import (
    SharedWeight,
    TrainedActivation,
    TrainedWeight,
    compute_shared_codes,
    compute_weight_codes,
)


@pytest.mark.parametrize(("bits", "zero_point"), [(2, 0), (4, 3), (8, 0)])
def test_activations_are_rounded_as_deployed(bits: int, zero_point: int) -> None:
    x = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    deployed = ActivationQuantizer(bits, 0.3, zero_point)
    assert torch.equal(TrainedActivation(ActivationQuantizer(bits, 0.3, zero_point), 48)(x), deployed(x))


def test_gradients_of_an_activation() -> None:
    """2 bits, scale 1, zero point 1: codes -1..2; inside is -1.5 to 2.5."""
    quantizer = TrainedActivation(ActivationQuantizer(2, 1.0, 1), 4)
    x = torch.tensor([-3.0, -1.2, 0.4, 2.2, 2.7], requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    (quantizer(x) * weights).sum().backward()
    assert torch.equal(x.grad, torch.tensor([0.0, 2.0, 3.0, 4.0, 0.0]))  # type: ignore[arg-type]
    by_hand = 1 * -1.0 + 2 * (-1.0 + 1.2) + 3 * (0.0 - 0.4) + 4 * (2.0 - 2.2) + 5 * 2.0
    assert quantizer.scale.grad is not None
    assert math.isclose(float(quantizer.scale.grad), by_hand / math.sqrt(4 * 3), rel_tol=1e-5)


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
@pytest.mark.parametrize("pruned", [False, True])
def test_weights_are_rounded_as_deployed(bits: int, pruned: bool) -> None:
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    mask = weight.abs() > 0.5 if pruned else None
    scale = find_weight_scales(weight, bits)
    received = TrainedWeight(bits, scale, mask)(weight)
    codes = compute_weight_codes(weight, scale, bits, mask)
    assert torch.equal(received, codes * scale.view(-1, 1, 1, 1))
    assert torch.equal(codes, quantize_weight(weight, scale, bits) * (1.0 if mask is None else mask))
    if mask is not None:
        assert not received[~mask].any()


def test_gradients_of_a_weight() -> None:
    """2 bits, scale 1: codes -1..1; gradients pass up to 1.5, and not where a weight is pruned."""
    quantizer = TrainedWeight(2, torch.ones(1), torch.tensor([[True, True, True, False]]))
    weight = torch.tensor([[0.3, -1.2, 2.0, 0.9]], requires_grad=True)
    (quantizer(weight) * torch.tensor([[1.0, 2.0, 3.0, 4.0]])).sum().backward()
    assert torch.equal(weight.grad, torch.tensor([[1.0, 2.0, 0.0, 0.0]]))  # type: ignore[arg-type]
    by_hand = 1 * (0.0 - 0.3) + 2 * (-1.0 + 1.2) + 3 * 1.0
    assert quantizer.scale.grad is not None
    assert math.isclose(float(quantizer.scale.grad), by_hand / math.sqrt(4 * 1), rel_tol=1e-5)


def test_one_scale_for_all_channels_gets_the_gradients_of_all() -> None:
    weight = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    one, each = (TrainedWeight(4, torch.full((count,), 0.2), None) for count in (1, 3))
    assert torch.equal(one(weight), each(weight))
    for quantizer in (one, each):
        quantizer(weight).square().sum().backward()
    assert one.scale.grad is not None
    assert each.scale.grad is not None
    assert torch.allclose(one.scale.grad, each.scale.grad.sum())


def test_weights_of_a_cluster_move_together() -> None:
    """Three clusters, one of them with a pruned member; the gradient of each is the mean over what is not pruned."""
    clusters = torch.tensor([[0, 1, 1], [2, 2, 0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    quantizer = SharedWeight(8, torch.tensor([0.5, 0.5]), mask, clusters, torch.tensor([-4.0, 3.0, 10.0]))
    weight = quantizer(clusters)
    assert torch.equal(weight, torch.tensor([[-2.0, 1.5, 1.5], [5.0, 5.0, 0.0]]))
    weight.backward(torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]))
    assert torch.allclose(quantizer.values.grad, torch.tensor([1.0, 3.0, 12.0]))  # type: ignore[arg-type]
    nn.init.constant_(quantizer.values, 0.8)
    assert torch.equal(quantizer(clusters), 1.0 * mask)  # 0.8 is code 1.6, which rounds to 2


def test_codes_of_clusters_stay_in_their_width() -> None:
    centroids, clusters = torch.tensor([-9.0, 2.4, 6.6, 8.0]), torch.tensor([[0, 1], [2, 3]])
    assert torch.equal(compute_shared_codes(centroids, clusters, 4, None), torch.tensor([[-7.0, 2.0], [7.0, 7.0]]))
