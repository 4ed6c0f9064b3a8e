"""Layers without some of their filters, inputs and weights, against least squares on the inputs themselves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from explorer.compress import moments, rounding
from explorer.compress.apply import CompressionContext, apply
from explorer.compress.calibrate import calibrate
from explorer.compress.candidate import Candidate, uniform
from explorer.compress.compensate import compensated_filters
from explorer.compress.sparsity import mask_weights
from explorer.settings import QuantizerSettings

Bases = Callable[[str], CompressionContext]
PROPAGATED = QuantizerSettings(compensation="propagated")
STATIC = QuantizerSettings(compensation="static")
SHARE = 0.01
"""What is added to the second moments of a layer's inputs, as a share of their mean."""


class Everything(nn.Module):
    """An addition, a concatenation, a depthwise and a grouped convolution, features of several pixels, and biases."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.left, self.right = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 6, 1)
        self.deep, self.point = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(14, 8, 1)
        self.grouped, self.bare = nn.Conv2d(8, 8, 3, stride=2, groups=2), nn.Conv2d(8, 5, 1, bias=False)
        self.hidden, self.out = nn.Linear(45, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(x + self.left(x))
        x = torch.cat((torch.relu(self.right(x)), torch.relu(self.deep(x))), 1)
        x = torch.relu(self.grouped(torch.relu(self.point(x))))
        x = torch.relu(self.bare(x)).flatten(1)
        return self.out(torch.relu(self.hidden(x)))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def everything() -> CompressionContext:
    torch.manual_seed(4)
    network = Everything()
    images = torch.nn.functional.avg_pool2d(torch.randn(160, 3, 10, 10), 3, 1) + 0.3
    with torch.no_grad():
        network.train()(images)
    return CompressionContext.of(network.eval(), images, quantizer=PROPAGATED)


def some_classes(base: CompressionContext) -> frozenset[int]:
    """Two thirds of the filters of every group."""
    candidate = uniform(base.graph).with_filters({group.name: 0.67 for group in base.graph.prunable})
    return base.resolve(candidate).kept


def inputs_of(model: fx.GraphModule, images: Tensor) -> dict[str, NDArray[np.float64]]:
    """What each layer reads."""
    found: dict[str, NDArray[np.float64]] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, given, name=name: found.__setitem__(name, given[0].double().numpy()))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    return found


def windows(module: nn.Conv2d | nn.Linear, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(samples, channels, weights of a channel): what filters are multiplied with, by numpy's own windows."""
    if isinstance(module, nn.Linear):
        return x[:, :, None]
    border = module.padding[0]
    assert not isinstance(border, str)
    x = np.pad(x, ((0, 0), (0, 0), (border, border), (border, border)))
    step = module.stride[0]
    found = np.lib.stride_tricks.sliding_window_view(x, module.kernel_size, (2, 3))[:, :, ::step, ::step]
    return found.transpose(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1], module.kernel_size[0] * module.kernel_size[1])


def solved(
    own: nn.Conv2d | nn.Linear,
    x: NDArray[np.float64],
    rows: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    centred: bool,
) -> NDArray[np.float64]:
    """Weights that give the `rows` (those wanted of all inputs, those kept) best, by stacked least squares."""
    wanted, kept = rows
    samples, size = x.shape
    mean_square = np.square(x).sum() / x.size
    if centred:
        x, wanted = x - x.mean(0), wanted - wanted.mean(0)
    diagonal = np.square(x).sum() / x.size + 1e-5 * mean_square
    added = np.sqrt(samples * (1e-5 * mean_square + (SHARE + size / samples) * diagonal)) * np.eye(size)
    found: NDArray[np.float64] = np.linalg.lstsq(
        np.vstack((x, added)), np.vstack((wanted, added @ kept.T)), rcond=None
    )[0]
    return found.T


def test_every_layer_is_the_least_squares_solution_on_what_it_reads(everything: CompressionContext) -> None:
    """Concatenated, added, depthwise, grouped, flattened; biases and norms take the means away, where there are any."""
    kept, images = some_classes(everything), everything.calibration.images
    assert isinstance(images, Tensor)
    built = compensated_filters(everything, kept)
    wanted, received = inputs_of(everything.model, images), inputs_of(built, images)
    for layer in everything.graph.layers:
        whole, own = (model.get_submodule(layer.name) for model in (everything.model, built))
        assert isinstance(whole, nn.Conv2d | nn.Linear)
        assert isinstance(own, nn.Conv2d | nn.Linear)
        x, y = windows(own, received[layer.name]), windows(whole, wanted[layer.name])
        outs = [i for i, identity in enumerate(layer.output_classes) if identity in kept]
        ins = [i for i, identity in enumerate(layer.input_classes) if identity in kept]
        weight = whole.weight.detach().double().numpy().reshape(len(whole.weight), -1)
        groups = len(ins) if layer.depthwise else layer.groups
        per = x.shape[1] // groups
        found = own.weight.detach().double().numpy().reshape(len(outs), -1)
        each = len(outs) // groups
        for group in range(groups):
            mine = outs[group * each : (group + 1) * each]
            read = ins[group * per : (group + 1) * per]
            all_of_group = (
                read if layer.depthwise else [*range(y.shape[1] // groups * group, y.shape[1] // groups * (group + 1))]
            )
            by_channel = weight[mine].reshape(each, len(all_of_group), -1)
            left = by_channel[:, [all_of_group.index(place) for place in read]].reshape(each, -1)
            aim = y[:, all_of_group].reshape(len(y), -1) @ weight[mine].T
            columns = x[:, group * per : (group + 1) * per].reshape(len(x), -1)
            expected = solved(own, columns, (aim, left), centred=layer.name != "bare")
            assert np.abs(found[group * each : (group + 1) * each] - expected).max() < 1e-4 * np.abs(expected).max()


def test_means_are_matched_where_no_norm_follows(everything: CompressionContext) -> None:
    """Inputs that went had means, which biases take over."""
    kept, images = some_classes(everything), everything.calibration.images
    built = compensated_filters(everything, kept)
    outputs: list[dict[str, Tensor]] = [{}, {}]
    for model, found in zip((everything.model, built), outputs, strict=True):
        for name in ("left", "right", "deep", "point", "grouped", "hidden", "out"):
            module = model.get_submodule(name)
            module.register_forward_hook(lambda _, __, out, n=name, f=found: f.__setitem__(n, out))
        with torch.no_grad():
            model(images)
            for name in found:
                model.get_submodule(name)._forward_hooks.clear()
    for name, whole in outputs[0].items():
        layer = everything.graph.layer(name)
        places = [i for i, identity in enumerate(layer.output_classes) if identity in kept]
        axes = [axis for axis in range(whole.ndim) if axis != 1]
        before, after = whole[:, places].mean(axes), outputs[1][name].mean(axes)
        assert (before - after).abs().max() < 1e-4 * whole.std()


def test_nothing_removed_changes_nothing(everything: CompressionContext) -> None:
    every = frozenset(identity for group in everything.graph.groups for identity in group.classes)
    built, images = compensated_filters(everything, every), everything.calibration.images
    with torch.no_grad():
        own, same = everything.model(images), built(images)
    assert (own - same).abs().max() < 1e-4 * own.abs().max()


class Twins(nn.Module):
    """The last two of six filters are sums of the others with positive factors, and so are what follows the ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.Conv2d(6, 4, 3, padding=1)
        self.first.weight.data.abs_()
        self.first.weight.data[4] = 0.5 * self.first.weight.data[0] + 0.25 * self.first.weight.data[2]
        self.first.weight.data[5] = 1.5 * self.first.weight.data[1]
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.second(torch.relu(self.first(x))).mean((2, 3)))  # type: ignore[no-any-return]


def test_a_layer_without_what_others_make_up_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "DAMPING", 1e-9)
    monkeypatch.setattr(moments, "PRECISION", 1e-9)
    torch.manual_seed(1)
    network, images = Twins(), torch.rand(64, 2, 8, 8)
    with torch.no_grad():
        read = torch.relu(network.first(images))
        given = moments.compute_moments(network.second, read, read, centred=True)
        columns = torch.arange(36)
        part = moments.Moments(
            received=given.received[:, :36, :36], wanted=given.received[:, :36], columns=columns, samples=None
        )
        weight = rounding.solve_weights(network.second.weight, part)
        wanted = network.second(read)
        error = torch.nn.functional.conv2d(read[:, :4], weight, network.second.bias, padding=1) - wanted
    assert weight.shape == (4, 4, 3, 3)
    assert error.square().mean() < 1e-8 * wanted.var()


@pytest.mark.parametrize("settings", [PROPAGATED, STATIC], ids=["propagated", "static"])
def test_a_filter_that_others_make_up_is_restored(monkeypatch: pytest.MonkeyPatch, settings: QuantizerSettings) -> None:
    """With little pull towards the kept weights, the network without it computes what it did, but for the 8 bits."""
    for module, name in ((rounding, "DAMPING"), (moments, "PRECISION")):
        monkeypatch.setattr(module, name, 1e-9)
    torch.manual_seed(1)
    images = torch.rand(64, 2, 8, 8)
    group = CompressionContext.of(Twins().eval(), images).graph.prunable[0]
    order = {group.name: group.classes}
    base = CompressionContext.of(Twins().eval(), images, order=None, quantizer=settings)
    base = replace(base, order={**base.order, **order})
    candidate = uniform(base.graph).with_filters({group.name: 4 / 6})
    with torch.no_grad():
        own = base.model(images)
        plain = apply(replace(base, quantizer=QuantizerSettings()), candidate)(images)
        restored = apply(base, candidate)(images)
        eight = apply(base, uniform(base.graph))(images)
    spread = (own - own.mean(0)).square().mean()
    assert (restored - own).square().mean() < 4 * (eight - own).square().mean() + 1e-4 * spread
    assert (plain - own).square().mean() > 50 * (restored - own).square().mean()


def error(base: CompressionContext, candidate: Candidate, x: Tensor) -> float:
    with torch.no_grad():
        own = base.model(x)
        return float((apply(base, candidate)(x) - own).square().mean() / (own - own.mean(0)).square().mean())


@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "mixed", "gated"])
@pytest.mark.parametrize("rounding", ["nearest", "adaptive"])
def test_outputs_are_closer_with_compensation(
    name: str, rounding: str, context: Bases, images: Callable[[str, int], Tensor]
) -> None:
    """On what it was solved for: random images have no structure that others share."""
    x = images(name, 256)
    base = context(name)
    base = replace(base, calibration=calibrate(base.model, base.graph, x))
    candidate = uniform(base.graph, 4).with_filters({group.name: 0.6 for group in base.graph.prunable})
    plain, static, propagated = (
        error(replace(base, quantizer=QuantizerSettings(compensation=how, rounding=rule)), candidate, x)
        for how, rule in (("none", "nearest"), ("static", rounding), ("propagated", rounding))
    )
    assert static < plain
    assert propagated < 0.8 * plain


@pytest.mark.parametrize("seed", range(3))
def test_pruned_weights_are_the_least_squares_solution_of_the_others(seed: int) -> None:
    """By numpy, each filter on the inputs of its own that are left"""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(400, 6)) @ draw.normal(size=(6, 12)) + 0.5 * draw.normal(size=(400, 12))
    weight, mask = draw.normal(size=(5, 12)), draw.random((5, 12)) < 0.6
    square = torch.tensor(x.T @ x / len(x))[None]
    given = moments.Moments.settled(square)
    found = rounding.solve_masked(torch.tensor(weight), given, torch.tensor(mask)).numpy()
    assert (found[~mask] == 0).all()
    added = np.sqrt(SHARE * len(x) * float(square[0].diagonal().mean())) * np.eye(12)
    stacked = np.vstack((x, added))
    for row, own, left in zip(weight, found, mask, strict=True):
        best = np.linalg.lstsq(stacked[:, left], stacked @ row, rcond=None)[0]
        errors = [np.square(stacked @ each - stacked @ row).sum() for each in (own, row * left)]
        least = np.square(stacked[:, left] @ best - stacked @ row).sum()
        assert least * (1 - 1e-9) <= errors[0] < 1.001 * least
        assert errors[0] < 0.9 * errors[1]


def test_pruned_weights_are_made_good_for(everything: CompressionContext) -> None:
    x = everything.calibration.images
    assert isinstance(x, Tensor)
    for pattern, density in ((None, 0.6), ("2:4", 1.0)):
        whole = uniform(everything.graph)
        layers = tuple(replace(each, weight_density=density, pattern=pattern) for each in whole.layers)
        candidate = replace(whole, layers=layers)
        errors = [
            error(replace(everything, quantizer=QuantizerSettings(compensation=how)), candidate, x)
            for how in ("none", "static", "propagated")
        ]
        assert errors[2] < 0.8 * errors[0]
        built = apply(replace(everything, quantizer=STATIC), candidate)
        for choice in layers:
            codes = built.get_submodule(choice.layer).get_buffer("weight_codes")
            assert int((codes != 0).sum()) <= int(mask_weights(torch.rand(codes.shape), choice).sum())


def test_it_is_deterministic_and_leaves_the_float_network_alone(everything: CompressionContext) -> None:
    before = copy.deepcopy(everything.model.state_dict())
    candidate = uniform(everything.graph, 4).with_filters({group.name: 0.5 for group in everything.graph.prunable})
    for how in ("static", "propagated"):
        base = replace(everything, quantizer=QuantizerSettings(compensation=how, rounding="adaptive"))
        first, second = (apply(base, candidate).state_dict() for _ in range(2))
        fresh = apply(replace(base), candidate).state_dict()
        assert all(torch.equal(first[key], second[key]) and torch.equal(first[key], fresh[key]) for key in first)
    assert all(torch.equal(everything.model.state_dict()[key], tensor) for key, tensor in before.items())
