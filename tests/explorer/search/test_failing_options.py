"""Options that cannot be computed: they lose infinitely, no seed holds one, and a layer without any other is named."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from explorer.compress.apply import CompressionContext
from explorer.compress.candidate import LayerChoice
from explorer.compress.weights import compress_weights
from explorer.errors import NumericalError
from explorer.graph.inputs import as_tuple
from explorer.relevance.deeplift import deeplift
from explorer.relevance.sample import make_sample
from explorer.search import measured
from explorer.search import sensitivity as perturbation
from explorer.search.measured import measure_sensitivity
from explorer.search.options import one_by_one
from explorer.search.seeds import choose_seeds
from explorer.search.sensitivity import Sensitivity, compute_losses, estimate_sensitivity
from explorer.search.space import SearchSpace, make_search_space
from explorer.settings import QuantizerSettings, SpaceSettings

SETTINGS = SpaceSettings(weight_bits=(2, 8), activation_bits=(2, 8), filter_keep_ratio=(0.5, 1.0))
ERRORS = [
    NumericalError("layer 'conv2': what it reads is NaN"),
    FloatingPointError("overflow"),
    np.linalg.LinAlgError("Singular matrix"),
    torch.linalg.LinAlgError("not positive-definite"),  # type: ignore[attr-defined]
]
KINDS = ["perturbation", "measured_kl"]


def table_of(kind: str, base: CompressionContext, space: SearchSpace) -> Sensitivity:
    """The table of that kind, on the calibration images."""
    (images,) = as_tuple(base.calibration.images)
    images = images[:8]
    if kind == "measured_kl":
        return measure_sensitivity(base, space, images)
    sample = make_sample(base.model, base.graph, images, torch.arange(len(images)) % 5, target="true")
    return estimate_sensitivity(base, deeplift(sample), space)


def fail_for(patch: pytest.MonkeyPatch, error: Exception, layer: str, bits: int | None) -> None:
    """Let adaptive rounding fail for a layer, at one width or at all."""
    for module, name in ((perturbation, "compute_error_ratios"), (measured, "round_adaptively")):
        whole = getattr(module, name)

        def failing(*given: object, whole: Callable[..., object] = whole) -> object:
            choice = next(each for each in given if isinstance(each, LayerChoice))
            if choice.layer == layer and bits in (None, choice.weight_bits):
                raise error
            return whole(*given)

        patch.setattr(module, name, failing)


@pytest.fixture
def base(context: Callable[[str], CompressionContext]) -> CompressionContext:
    """A small network whose weights are rounded adaptively."""
    return replace(context("lenet5_digits"), quantizer=QuantizerSettings(rounding="adaptive"))


@pytest.mark.parametrize("kind", KINDS)
def test_an_option_that_cannot_be_computed_loses_infinitely(
    kind: str, base: CompressionContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = make_search_space(base.graph, SETTINGS)
    whole = table_of(kind, base, space)
    fail_for(monkeypatch, ERRORS[0], "conv2", 2)
    table = table_of(kind, base, space)
    narrow, wide = (LayerChoice(layer="conv2", weight_bits=bits) for bits in (2, 8))
    assert table.weights["conv2"][narrow] == math.inf
    assert table == replace(whole, weights={**whole.weights, "conv2": table.weights["conv2"]})
    assert table.weights["conv2"][wide] == whole.weights["conv2"][wide]
    narrowest = [
        min(
            seed.candidate.choice("conv2").weight_bits
            for seed in choose_seeds(
                space, each, one_by_one(lambda candidate: sum(c.weight_bits for c in candidate.layers)), 8
            )
        )
        for each in (whole, table)
    ]
    assert narrowest == [2, 8]


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_without_an_option_is_named_with_the_reason(
    kind: str, base: CompressionContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_for(monkeypatch, ERRORS[3], "conv2", None)
    expected = "layer 'conv2': weights: none of the 2 options can be computed: not positive-definite"
    with pytest.raises(NumericalError, match=f"^{expected}$"):
        table_of(kind, base, make_search_space(base.graph, SETTINGS))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_that_are_not_finite_diverge_infinitely(
    value: float, base: CompressionContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(module: nn.Conv2d, choice: LayerChoice, *rest: object) -> None:
        compress_weights(module, choice, *rest)  # type: ignore[arg-type]
        if choice.layer == "fc3" and choice.weight_bits == 2:
            module.weight.data[0] = value

    monkeypatch.setattr(measured, "compress_weights", spoilt)
    plain = replace(base, quantizer=QuantizerSettings())
    table = table_of("measured_kl", plain, make_search_space(base.graph, SETTINGS))
    assert table.weights["fc3"][LayerChoice(layer="fc3", weight_bits=2)] == math.inf
    assert math.isfinite(table.weights["fc3"][LayerChoice(layer="fc3", weight_bits=8)])


def test_seeds_have_filters_removed_where_all_of_them_cannot_be_computed(base: CompressionContext) -> None:
    space = make_search_space(base.graph, SETTINGS)
    table = table_of("perturbation", base, space)
    group = base.graph.prunable[0].name
    table = replace(table, filters={**table.filters, group: {0.5: 1.0, 1.0: math.inf}})
    price = one_by_one(lambda candidate: sum(share for _, share in candidate.filter_keep_ratio))
    seeds = choose_seeds(space, table, price, 6)
    assert [seed.origin for seed in seeds].count("seed widest") == 1
    assert len(seeds) > 1
    assert all(dict(seed.candidate.filter_keep_ratio)[group] == 0.5 for seed in seeds[1:])


@pytest.mark.parametrize("error", [TypeError("a"), RuntimeError("b"), ValueError("c")])
def test_an_error_of_the_program_is_none_of_an_option(error: Exception) -> None:
    def fail(option: int) -> float:
        raise error

    with pytest.raises(type(error), match=str(error)):
        compute_losses("layer 'a'", (1, 2), fail)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_every_numerical_error_is_one_of_an_option(error: Exception) -> None:
    def loss(option: int) -> float:
        if option == 1:
            raise error
        return 0.5

    assert compute_losses("layer 'a'", (1, 2), loss) == {1: math.inf, 2: 0.5}
    with pytest.raises(NumericalError, match=f"none of the 1 options can be computed: {error}"):
        compute_losses("layer 'a'", (1,), loss)


def test_a_loss_that_is_no_number_is_infinite() -> None:
    losses = {1: math.nan, 2: 0.5, 3: math.inf}
    assert compute_losses("layer 'a'", losses, losses.__getitem__) == {1: math.inf, 2: 0.5, 3: math.inf}
    with pytest.raises(NumericalError, match=r"^layer 'a': none of the 1 options can be computed: no loss is finite$"):
        compute_losses("layer 'a'", [1], losses.__getitem__)
