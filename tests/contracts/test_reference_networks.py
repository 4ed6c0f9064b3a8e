"""Every reference network: the commuting square for random candidates, and masked against removed filters.

EXPLORER_TEST_CANDIDATES sets how many candidates each network gets (100 takes an hour); a few by default.
"""

from __future__ import annotations

import os
import random
from functools import cache

import pytest
import torch

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.prune import remove_filters
from explorer.models.reference import REFERENCE_NETWORKS
from tests.oracles.macs import check_macs
from tests.oracles.mask import mask_filters, masked
from tests.support.square import check_square, double, random_candidate, random_classes

SHAPES = {
    **dict.fromkeys(REFERENCE_NETWORKS, (3, 32, 32)),
    "lenet5_digits": (1, 8, 8),
    "lenet5": (1, 28, 28),
    "lenet5_caffe": (1, 28, 28),
}
"""Images as small as a network takes: what is compared does not depend on their size."""
LARGE = 2_000_000
"""Weights from which a candidate takes seconds."""
QUICK = ("lenet5_digits", "resnet8", "resnet20")
"""Networks that are looked at by default; all others are slow."""
NETWORKS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in REFERENCE_NETWORKS]


@cache
def basis_of(name: str) -> CompressionContext:
    """A reference network with random weights, ready for candidates; batch norms know what they receive."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = REFERENCE_NETWORKS[name](10).train()
        for norm in network.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.momentum = 1.0
        with torch.no_grad():
            network(torch.randn(8, *SHAPES[name]))
        images = torch.randn(2, *SHAPES[name])
    return CompressionContext.of(network, images)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_built_is_what_was_costed(name: str) -> None:
    base = basis_of(name)
    asked = os.environ.get("EXPLORER_TEST_CANDIDATES")
    images = torch.zeros(2, *SHAPES[name])
    for seed in range(int(asked) if asked else (1 if base.graph.weights > LARGE else 4)):
        check_square(base, random_candidate(base.graph, random.Random(seed)), images)


@pytest.mark.parametrize("name", NETWORKS)
def test_macs_are_those_that_torch_counts(name: str) -> None:
    base = basis_of(name)
    check_macs(REFERENCE_NETWORKS[name](10).eval(), base.model, base.graph, torch.zeros(2, *SHAPES[name]))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_filter_but_those_of_the_output_can_be_removed(name: str) -> None:
    graph = basis_of(name).graph
    locked = [group for group in graph.groups if group.locked and group.producers]
    assert [group.producers for group in locked] == [(graph.layers[-1].name,)]
    assert not [entry for entry in graph.skipped if "rule" in entry.reason or "float" in entry.reason]


@pytest.mark.parametrize("name", NETWORKS)
def test_masked_and_removed_networks_agree(name: str) -> None:
    base = basis_of(name)
    images = torch.randn(2, *SHAPES[name], dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    for seed in range(1 if base.graph.weights > LARGE else 3):
        kept = random_classes(base.graph, random.Random(seed))
        removed, masked = double(base.model), double(base.model)
        remove_filters(removed, base.graph, kept)
        mask_filters(masked, base.graph, kept)
        with torch.no_grad():
            expected, received, whole = masked(images), removed(images), double(base.model)(images)
        assert (expected - received).abs().max() <= 1e-9
        assert (received - whole).abs().max() > 1e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_masked_and_removed_networks_agree_once_compressed(name: str) -> None:
    base = basis_of(name)
    if base.graph.weights > LARGE:
        pytest.skip("seconds for each candidate, and nothing there that smaller networks lack")
    images = torch.randn(2, *SHAPES[name], dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    candidate = random_candidate(base.graph, random.Random(1))
    built = apply(base, candidate)
    whole = masked(built, base, candidate)
    with torch.no_grad():
        expected, received = built.double()(images), whole.double()(images)
    assert (expected - received).abs().max() <= 1e-9 * max(1.0, float(expected.abs().max()))
