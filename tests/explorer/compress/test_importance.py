"""What an error of each weight counts in sharing, and that `apply` shares after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, Granularity, uniform
from explorer.compress.plan import count_kept_classes
from explorer.compress.prune import select_classes
from explorer.relevance.sample import make_sample
from explorer.relevance.taylor import fisher

BasisOf = Callable[[str], CompressionContext]


def shared(base: CompressionContext, size: int, scope: Granularity, share: float = 1.0) -> Candidate:
    """All layers with codebooks of `size`; `share` of all filters that can go."""
    plain = uniform(base.graph)
    return Candidate(
        layers=tuple(replace(choice, codebook_size=size, codebook_granularity=scope) for choice in plain.layers),
        filter_keep_ratio=tuple((group, share) for group, _ in plain.filter_keep_ratio),
    )


def weight_of(base: CompressionContext, layer: str) -> torch.Tensor:
    """The float network's weight."""
    return base.model.get_submodule(layer).get_parameter("weight").detach()


def fisher_of(base: CompressionContext, images: int) -> dict[str, torch.Tensor]:
    """On the first of the calibration images."""
    assert isinstance(base.calibration.images, torch.Tensor)
    sample = make_sample(
        base.model, base.graph, base.calibration.images[:images], torch.zeros(images, dtype=torch.long)
    )
    return {entry.layer: torch.from_numpy(entry.weight_multipliers) for entry in fisher(sample).layers}


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_weighted_error_of_what_is_left_is_less_than_without_weights(share: float, context: BasisOf) -> None:
    base = context("lenet5_digits")
    important = fisher_of(base, 16)
    candidate = shared(base, 4, "layer", share)
    kept = select_classes(base.graph, count_kept_classes(base.graph, candidate), base.order)
    errors = {}
    for key, chosen in (("plain", base), ("weighted", replace(base, importance=important))):
        model, layer = apply(chosen, candidate), next(each for each in base.graph.layers if each.name == "fc2")
        module = model.get_submodule("fc2")
        rows, columns = (
            [i for i, identity in enumerate(classes) if identity in kept]
            for classes in (layer.output_classes, layer.input_classes)
        )
        weight, counts = (tensor[rows][:, columns] for tensor in (weight_of(base, "fc2"), important["fc2"]))
        real = weight / module.get_buffer("weight_scale")[:, None]
        errors[key] = float((counts * (real - module.get_buffer("weight_codes")).square()).sum())
    assert errors["weighted"] < errors["plain"]


def test_what_counts_nothing_moves_no_centroid(context: BasisOf) -> None:
    base = context("lenet5_digits")
    weight = weight_of(base, "fc3")
    counted = torch.zeros_like(weight)
    counted[:, :2] = 1.0
    model = apply(replace(base, importance={"fc3": counted}), shared(base, 40, "layer"))
    module = model.get_submodule("fc3")
    real = weight[:, :2] / module.get_buffer("weight_scale")[:, None]
    # Twenty weights count, with a codebook of 40: each of them has the integer next to it.
    assert (real - module.get_buffer("weight_codes")[:, :2]).abs().max() <= 0.5 + 1e-5


@pytest.mark.parametrize("network", ["lenet5_digits", "projection"])
def test_every_channel_can_have_a_codebook_of_its_own(network: str, context: BasisOf) -> None:
    base = context(network)
    model = apply(base, shared(base, 4, "channel"))
    for layer in base.graph.layers:
        codes = model.get_submodule(layer.name).get_buffer("weight_codes")
        assert max(len(set(row.flatten().tolist())) for row in codes) <= 4
        assert len(set(codes.flatten().tolist())) > 4
