"""Weights at steps in training: which integers are chosen at a price, and that they come to take what is asked."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.compress.apply import CompressionContext, apply, compressed_copy
from explorer.compress.candidate import Candidate, LayerChoice
from explorer.graph.modules import layer_module
from explorer.settings import FineTuningSettings, QuantizerSettings
from explorer.training.epochs import Recipe
from explorer.training.finetune import finetune
from explorer.training.stepped import LIMIT, TOLERANCE, Pressure, SteppedWeight, compare_rates
from explorer.training.trainable import trainable
from explorer.training.tuned import Tuned, rebuild

Bases = Callable[[str], CompressionContext]
Images = Callable[[str, int], Tensor]
SIZES_AND_STEPS = ((2, 0.1), (5, 0.3), (9, 0.02))
"""Rows of a layer's weights, and their step."""
SETTINGS = FineTuningSettings(
    epochs=4, batch_size=16, optimizer="sgd", learning_rate=0.005, teacher_weight=1.0, temperature=1.0
)


def opened(context: Bases, rounding: str = "nearest") -> CompressionContext:
    base = context("option_a")
    units = {layer.name: 1.0 + 0.1 * place for place, layer in enumerate(base.graph.layers)}
    return replace(base, step_units=units, quantizer=QuantizerSettings(rounding=rounding))


def stepped(base: CompressionContext, step: float = 0.06, **more: Any) -> Candidate:
    layers = tuple(LayerChoice(layer=name, step=step, **more) for name in base.graph.weight_owners)
    return Candidate(layers=layers, filter_keep_ratio=tuple((group.name, 0.8) for group in base.graph.prunable))


def tuned(base: CompressionContext, chosen: Candidate, x: Tensor, settings: FineTuningSettings, **more: Any) -> Tuned:
    targets = torch.zeros(len(x), dtype=torch.int64)
    return finetune(
        base, chosen, x, targets, Recipe(settings=settings, seed=1, unfinished=more.pop("file", None)), **more
    )


def codes_of(model: torch.nn.Module, base: CompressionContext) -> Any:
    return np.concatenate(
        [layer_module(model, name).get_buffer("weight_codes").numpy().ravel() for name in base.graph.weight_owners]
    )


def count_bits(model: torch.nn.Module, base: CompressionContext) -> float:
    """Order-0 entropy of all layers' integers, each layer's for itself."""
    bits = 0.0
    for name in base.graph.weight_owners:
        _, counts = np.unique(layer_module(model, name).get_buffer("weight_codes").numpy(), return_counts=True)
        bits -= float((counts * np.log2(counts / counts.sum())).sum())
    return bits


@pytest.mark.parametrize("price", [1e-4, 0.02, 0.2])
def test_integers_are_those_of_least_error_and_code_length(price: float) -> None:
    """Beside an exhaustive search over all integers: equal, but where a rare one lies between two frequent ones."""
    weight = torch.from_numpy(np.random.default_rng(2).laplace(size=(8, 200)).astype(np.float32))
    layer = SteppedWeight(weight, torch.full((8,), 0.5), None)
    layer.price.fill_(price)
    lengths = layer.lengths.double().numpy()
    codes = layer.choose(weight).double().numpy()
    real, numbers = weight.double().numpy() / 0.5, np.arange(-LIMIT, LIMIT + 1)
    costs = (real[..., None] - numbers) ** 2 + price * lengths
    wanted = numbers[costs.argmin(-1)]
    assert (codes == wanted).mean() > 0.98
    nearest = np.round(real)
    assert (
        np.isin(codes - nearest, (-1, 0, 1)).mean() > 0.9
        if price < 0.1
        else (codes == 0).mean() > (nearest == 0).mean()
    )
    chosen = np.take_along_axis(costs, (codes.astype(int) + LIMIT)[..., None], -1)[..., 0]
    assert (chosen <= np.take_along_axis(costs, (nearest.astype(int) + LIMIT)[..., None], -1)[..., 0] + 1e-6).all()
    _, counts = np.unique(nearest, return_counts=True)
    assert layer.num_bits == pytest.approx(-(counts * np.log2(counts / counts.sum())).sum(), rel=1e-6)


@pytest.mark.parametrize("rounding", ["nearest", "adaptive"])
def test_it_begins_with_the_integers_that_are_deployed_untuned(rounding: str, context: Bases) -> None:
    base = opened(context, rounding)
    chosen = stepped(base)
    network = trainable(base, chosen)
    assert len(network.stepped()) == len(base.graph.weight_owners)
    for name in base.graph.weight_owners:
        module = layer_module(compressed_copy(base, chosen), name)
        assert torch.equal(layer_module(network.model, name).weight, module.weight)


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_weights_come_to_take_what_is_asked(share: float, context: Bases, images: Images) -> None:
    base, x = opened(context), images("option_a", 64)
    chosen = stepped(base)
    result = tuned(base, chosen, x, replace(SETTINGS, epochs=12, coded_share=share, held_aside=0.2))
    before, after = apply(base, chosen), rebuild(base, chosen, result)
    assert count_bits(after, base) <= share * count_bits(before, base) * 1.01
    assert share == 1.0 or count_bits(after, base) > 0.9 * share * count_bits(before, base)
    for name, module in ((name, layer_module(after, name)) for name in base.graph.weight_owners):
        steps = compressed_copy(base, chosen).get_submodule(name).get_buffer("weight_scale")
        assert torch.equal(result.scales[name], steps)  # they are not trained
        assert module.get_buffer("weight_codes").abs().max() <= LIMIT


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_weights_of_all_layers_move_by_their_steps_alike(optimizer: str) -> None:
    """Where the loss falls alike with a step of any layer: its gradient by a weight is then 1 / step."""
    layers = [SteppedWeight(torch.randn(size, 4), torch.full((size,), step), None) for size, step in SIZES_AND_STEPS]
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in layers]
    rates = compare_rates(layers, optimizer)
    groups = [{"params": [weight], "lr": 1e-3 * rate} for weight, rate in zip(weights, rates, strict=True)]
    used = torch.optim.SGD(groups) if optimizer == "sgd" else torch.optim.Adam(groups, eps=0.0)
    for weight, (_, step) in zip(weights, SIZES_AND_STEPS, strict=True):
        weight.grad = torch.tensor([1 / step])
    used.step()
    moved = [float(weight.detach()) / step for weight, (_, step) in zip(weights, SIZES_AND_STEPS, strict=True)]
    assert moved == pytest.approx([moved[0]] * len(moved), rel=1e-4)
    shares = [size * np.log(rate) for (size, _), rate in zip(SIZES_AND_STEPS, rates, strict=True)]
    assert sum(shares) == pytest.approx(0.0, abs=1e-5)


def test_a_layer_of_zeros_changes_no_rate_of_others(context: Bases) -> None:
    base = opened(context)
    model, name = copy.deepcopy(base.model), base.graph.layer_names[1]
    with torch.no_grad():
        layer_module(model, name).weight.zero_()
    network = trainable(replace(base, model=model), stepped(base, 0.15))
    zeros = network.model.get_parameter(f"{name}.parametrizations.weight.original")
    found = network.stepped_weights()
    assert not zeros.any()
    assert {id(weight) for weight in network.weights()} - {id(weight) for weight in found} == {id(zeros)}


def test_bits_that_sway_about_what_is_asked_are_no_excess() -> None:
    layer = SteppedWeight(torch.randn(64, 64, generator=torch.Generator().manual_seed(1)), torch.full((64,), 0.5), None)
    bits = layer.num_bits
    for above in (0.5 * TOLERANCE, 2 * TOLERANCE):
        pressure = Pressure([layer], 1.0, 10)
        pressure.asked = bits / (1 + above)
        assert pressure.excess == (pytest.approx(above, rel=1e-3) if above > TOLERANCE else 0.0)


def test_weights_that_have_become_zero_come_back(context: Bases, images: Images) -> None:
    base, x = opened(context), images("option_a", 64)
    chosen = stepped(base, 0.15)
    result = tuned(base, chosen, x, replace(SETTINGS, learning_rate=0.2, epochs=8, held_aside=0.0))
    before, after = apply(base, chosen), rebuild(base, chosen, result)
    for model in (before, after):
        assert (codes_of(model, base) == 0).mean() > 0.1
    assert ((codes_of(before, base) == 0) & (codes_of(after, base) != 0)).sum() > 10
    pruned = stepped(base, 0.15, weight_density=0.5)
    result = tuned(base, pruned, x, SETTINGS)
    built = rebuild(base, pruned, result)
    assert result.masks
    assert not any(
        layer_module(built, name).get_buffer("weight_codes")[~mask].any() for name, mask in result.masks.items()
    )


def test_an_interrupted_training_goes_on(context: Bases, images: Images, tmp_path: Path) -> None:
    base, x, file = opened(context, "adaptive"), images("option_a", 48), tmp_path / "state"
    chosen, settings = stepped(base), replace(SETTINGS, coded_share=0.6, held_aside=0.2, flip=True)

    def interrupt(done: int, batches: int, loss: float) -> None:
        if 2 * done >= batches:
            raise KeyboardInterrupt

    whole = tuned(base, chosen, x, settings)
    with pytest.raises(KeyboardInterrupt):
        tuned(base, chosen, x, settings, file=file, progress=interrupt)
    resumed = tuned(base, chosen, x, settings, file=file)
    assert all(torch.equal(resumed.state[name], tensor) for name, tensor in whole.state.items())
    assert resumed.description == whole.description
