"""What an error of each weight counts in sharing, and that `apply` shares after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from explorer.compress.apply import Basis, apply
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.importance import root_fisher

BasisOf = Callable[[str], Basis]


def shared(base: Basis, size: int, scope: str, share: float = 1.0) -> Candidate:
    """All layers with codebooks of `size`; `share` of all filters that can go."""
    plain = uniform(base.graph)
    return Candidate(
        layers=tuple(replace(choice, codebook_size=size, codebook_scope=scope) for choice in plain.layers),
        kept_filters=tuple((group, share) for group, _ in plain.kept_filters),
    )


def test_root_fisher_by_hand() -> None:
    base = nn.Sequential(nn.Linear(3, 2, bias=False))
    model = torch.fx.symbolic_trace(base)
    model.get_submodule("0").requires_grad_(False)
    images = torch.tensor([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]])

    class Graph:
        layers = (type("Layer", (), {"name": "0"}),)

    found = root_fisher(model, Graph, images)["0"]  # type: ignore[arg-type]
    expected = torch.zeros(2, 3)
    for image in images:
        logits = base(image)
        error = F.softmax(logits, 0) - F.one_hot(logits.argmax(), 2)
        expected += torch.outer(error, image).square()
    torch.testing.assert_close(found, (expected / 2).sqrt())
    assert not model.get_submodule("0").weight.requires_grad


@pytest.mark.parametrize("network", ["lenet5_digits", "option_a", "mixed"])
def test_root_fisher_has_the_shape_of_every_weight(network: str, basis: BasisOf) -> None:
    base = basis(network)
    found = root_fisher(base.model, base.graph, base.calibration.images[:4])
    for layer in base.graph.layers:
        assert found[layer.name].shape == base.model.get_submodule(layer.name).weight.shape
        assert (found[layer.name] >= 0).all()
        assert found[layer.name].any()


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("network", ["lenet5_digits", "option_a", "mixed"])
def test_shared_values_follow_the_importance_of_the_weights_that_are_left(
    network: str, share: float, basis: BasisOf
) -> None:
    base = basis(network)
    important = root_fisher(base.model, base.graph, base.calibration.images[:4])
    candidate = shared(base, 4, "layer", share)
    after = {**dict.fromkeys(important, 0.0)}
    for key, chosen in (("plain", base), ("weighted", replace(base, importance=important))):
        model = apply(chosen, candidate)
        only = apply(replace(base, importance=important), shared(base, 200, "layer", share))
        for name in important:
            error = (model.get_submodule(name).weight - only.get_submodule(name).weight).abs().sum()
            after[name] += float(error) * (1 if key == "plain" else -1)
    assert any(after.values())


def test_what_counts_nothing_moves_no_centroid(basis: BasisOf) -> None:
    base = basis("lenet5_digits")
    weight = base.model.get_submodule("fc3").weight
    counted = torch.zeros_like(weight)
    counted[:, :2] = 1.0
    model = apply(replace(base, importance={"fc3": counted}), shared(base, 40, "layer"))
    module = model.get_submodule("fc3")
    real = weight[:, :2] / module.get_buffer("weight_scale")[:, None]
    # Twenty weights count, with a codebook of 40: each of them has the integer next to it.
    assert (real - module.get_buffer("weight_codes")[:, :2]).abs().max() <= 0.5 + 1e-5


@pytest.mark.parametrize("network", ["lenet5_digits", "projection"])
def test_every_channel_can_have_a_codebook_of_its_own(network: str, basis: BasisOf) -> None:
    base = basis(network)
    model = apply(base, shared(base, 4, "channel"))
    for layer in base.graph.layers:
        codes = model.get_submodule(layer.name).get_buffer("weight_codes")
        assert max(len(row.unique()) for row in codes) <= 4
        assert len(codes.unique()) > 4
