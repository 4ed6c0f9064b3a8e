"""Networks in many styles: none gives a silently wrong result, and what is kept whole is named with the reason."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate
from explorer.compress.prune import remove_filters
from explorer.errors import ModelError
from explorer.graph.canonical import canonicalise
from explorer.graph.inputs import Inputs
from explorer.graph.symbolic import call
from explorer.settings import QuantizerSettings
from tests.oracles.macs import check_macs
from tests.oracles.mask import mask_filters, masked
from tests.support import styles
from tests.support.square import candidates, check_square, double, random_candidate, random_classes
from tests.support.tiers import cases

PRUNABLE = {
    "functional": {"conv2d": 4, "conv2d_1": 3, "conv_transpose2d": 5},  # groups of two lose one channel each at once
    "lambdas": {"stem.0.0": 4, "body.0.0": 4, "body.2.0.0": 4},  # four of eight meet the padded shortcut
    "dense": {"stem": 6, "layers.0.2": 4, "layers.1.2": 4, "layers.2.2": 4, "transition.2": 8},
    "reshapes": {"conv": 6, "fc1": 8, "decode": 3},  # fc1 has 32 features, four for each channel of an image
    "reused": {"stem": 6},
    "shuffle": {"stem.0": 4, "stem.0#2": 4, "unit.0": 4, "unit.5": 4, "last": 12},
    "squeeze": {"stem": 8, "expand": 16, "reduce": 4, "squeeze.1": 2},
    "two_inputs": {"conv1": 6, "conv2": 8, "side": 6, "joint": 10},
    "pair": {"colour": 6, "depth": 4, "both": 8},
    "metadata": {"conv1": 6, "conv2": 8},
    "siamese": {"branch.0": 6, "branch.3": 8, "joint": 6},
    "grouped": {"stem": 8, "reduce": 4, "grouped": 4, "expand": 16},
    "decoder": {"down1": 6, "down2": 8, "up1": 6, "merge": 4, "up2": 2, "fine": 3},
    "subclass": {"conv2d": 8},
    "inception": {"stem.1": 6, "one": 4, "three.0": 3, "three.2": 5, "pool.1": 2, "after": 10},
    "heads": {"stem": 6, "side": 4},
    "channels_last": {"last": 6},
    "sized": {"down.0": 6, "down.1": 6, "up": 6, "up_2": 6},
    "attention": {"stem": 6, "after": 6},
    "generator": {"encode": 4, "latent": 12, "seed": 4, "up": 6, "second": 3, "plain": 5, "third": 4},
    "pixels": {"first": 4},
}
"""The channel groups from which filters can be removed, with their numbers of classes."""


@cache
def basis_of(name: str) -> CompressionContext:
    """A style's network, ready for candidates."""
    images = styles.inputs(name, 8)
    return CompressionContext.of(styles.build(name), images)


@pytest.mark.parametrize("name", styles.STYLES)
def test_the_canonical_network_computes_the_same(name: str) -> None:
    base, fresh = basis_of(name), styles.inputs(name, 5, seed=3)
    for expected, received in zip(call(styles.build(name), fresh), call(base.model, fresh), strict=True):
        assert torch.allclose(expected, received, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", styles.STYLES)
def test_what_can_be_pruned(name: str) -> None:
    graph = basis_of(name).graph
    assert {group.name: group.size for group in graph.prunable} == PRUNABLE[name]
    for group in graph.groups:
        assert not group.locked or not group.producers or group.name in {entry.path for entry in graph.skipped}


@cases(3, 30)
@pytest.mark.parametrize("name", styles.STYLES)
def test_masked_and_removed_networks_agree(name: str, count: int) -> None:
    base, fresh = basis_of(name), doubled(styles.inputs(name, 5, seed=3))
    changed = False
    whole = call(double(base.model), fresh)
    for seed in range(count):
        kept = random_classes(base.graph, random.Random(seed))
        removed, masked = double(base.model), double(base.model)
        remove_filters(removed, base.graph, kept)
        mask_filters(masked, base.graph, kept)
        for expected, received, before in zip(call(masked, fresh), call(removed, fresh), whole, strict=True):
            assert (expected - received).abs().max() <= 1e-9
            changed |= bool((received - before).abs().max() > 1e-3)
        for layer in base.graph.layers:
            left, of = (m.get_submodule(layer.name).get_parameter("weight").numel() for m in (removed, base.model))
            assert left <= of
    assert changed


@cases(2, 10)
@pytest.mark.parametrize("name", styles.STYLES)
def test_a_compressed_network_with_masks_computes_what_the_removed_one_does(name: str, count: int) -> None:
    base, fresh = basis_of(name), doubled(styles.inputs(name, 5, seed=3))
    for seed in range(count):
        candidate = random_candidate(base.graph, random.Random(seed))
        built = apply(base, candidate)
        whole = masked(built, base, candidate)
        for layer in base.graph.layers:
            shapes = [m.get_submodule(layer.name).get_parameter("weight").shape for m in (whole, base.model)]
            assert shapes[0] == shapes[1]
        for expected, received in zip(call(built.double(), fresh), call(whole.double(), fresh), strict=True):
            assert (expected - received).abs().max() <= 1e-9 * max(1.0, float(expected.abs().max()))


@cases(3, 30)
@pytest.mark.parametrize("name", styles.STYLES)
def test_what_is_built_is_what_was_costed(name: str, count: int) -> None:
    base, example = basis_of(name), styles.inputs(name, 2)

    @settings(max_examples=count)
    @given(candidates(base.graph))
    def square(candidate: Candidate) -> None:
        check_square(base, candidate, example)

    square()


@pytest.mark.parametrize("name", styles.STYLES)
def test_macs_are_those_that_torch_counts(name: str) -> None:
    base = basis_of(name)
    check_macs(styles.build(name), base.model, base.graph, styles.inputs(name, 2))


@cases(1, 4)
@pytest.mark.parametrize("name", styles.STYLES)
def test_every_option_of_the_quantiser_takes_every_style(name: str, count: int) -> None:
    base, example = basis_of(name), styles.inputs(name, 2)
    options = QuantizerSettings(
        rounding="adaptive", rounding_images=4, bias_correction=True, scale_granularity="tensor"
    )
    for seed in range(count):
        check_square(replace(base, quantizer=options), random_candidate(base.graph, random.Random(seed)), example)


def doubled(given: Inputs) -> Inputs:
    return tuple(tensor.double() for tensor in given) if isinstance(given, tuple) else given.double()


class DependsOnPixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).mean((2, 3))
        steps = int(x.abs().max().item())
        for _ in range(steps):
            x = x / 2
        return self.fc(x)  # type: ignore[no-any-return]


class WithNumpy(DependsOnPixels):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).mean((2, 3))
        return self.fc(torch.from_numpy(x.numpy() * 2))  # type: ignore[no-any-return]


class LoopsOverImages(DependsOnPixels):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.fc(self.conv(x[i : i + 1]).mean((2, 3)))[0] for i in range(x.shape[0])])


class WritesIntoParts(DependsOnPixels):
    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x[:, :2] = 0
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


class AnyNumber(DependsOnPixels):
    def forward(self, *xs: Tensor) -> Tensor:
        return self.fc(self.conv(xs[0]).mean((2, 3)))  # type: ignore[no-any-return]


class Half(DependsOnPixels):
    def __init__(self) -> None:
        super().__init__()
        self.half()


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (
            DependsOnPixels,
            r"cannot trace DependsOnPixels at .*test_styles\.py:\d+ \(steps = int\(.*on the pixels",
        ),
        (LoopsOverImages, r"depends on the number of images: traced with 2 of them, it computes something else for 3"),
        (WritesIntoParts, r"test_styles\.py:\d+ \(x\[:, :2\] = 0\): it writes into a part of a tensor; put the parts"),
        (AnyNumber, r"forward\(\) takes any number of arguments \(\*args\); give each a name"),
        (
            Half,
            r"weights are of torch.float16, the images of torch.float32; convert it by model.to\(torch.float32",
        ),
        (WithNumpy, r"cannot trace WithNumpy at .*test_styles\.py:\d+ \(return self\.fc\(torch\.from_numpy"),
    ],
)
def test_what_cannot_be_traced_names_the_line_of_the_model(kind: type[nn.Module], line: str) -> None:
    with pytest.raises(ModelError, match=line):
        canonicalise(kind(), torch.randn(2, 3, 8, 8))


def test_calls_of_one_layer_lose_the_same_filters_and_have_the_same_codes() -> None:
    base = basis_of("reused")
    shared = [layer for layer in base.graph.layers if layer.shares_weights]
    assert [layer.shares_weights for layer in shared] == ["again", "again", "block.0", "left"]

    @settings(max_examples=10)
    @given(candidates(base.graph))
    def check(candidate: Candidate) -> None:
        built = check_square(base, candidate, styles.inputs("reused", 2))
        for layer in shared:
            own, other = (built.get_submodule(name) for name in (layer.name, layer.shares_weights))
            assert torch.equal(own.get_buffer("weight_codes"), other.get_buffer("weight_codes"))

    check()


def test_shared_weights_are_stored_once() -> None:
    graph = basis_of("reused").graph
    assert graph.weights == sum(layer.weights for layer in graph.layers if not layer.shares_weights)
    assert graph.macs == sum(layer.macs for layer in graph.layers)
    assert set(graph.weight_owners) == {"stem", "again", "block.0", "left", "fc"}


def test_concatenated_activations_have_one_scale() -> None:
    base = basis_of("dense")
    scales = {entry.name: entry.scale_of for entry in base.graph.activations}
    joined = [name for name, scale in scales.items() if scale == "stem"]
    assert len(joined) == 8  # four parts, and the four concatenations in which the later ones hold the earlier
    ranges = base.calibration.ranges
    assert len({ranges[name][4] for name in joined}) == 1
