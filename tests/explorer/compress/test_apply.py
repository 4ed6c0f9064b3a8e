"""Apply: batch norms recalibrated and folded, biases on their grid, activations at their widths."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, fx, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.calibrate import SAMPLED_VALUES, _sampled, calibrate, compute_channel_statistics
from explorer.compress.candidate import Candidate, LayerChoice, uniform
from explorer.compress.correction import correct
from explorer.compress.norms import fold_norms
from explorer.compress.plan import collect_choices, derive_stored_bits
from explorer.compress.prune import find_kept_positions
from explorer.compress.quantize import ActivationQuantizer
from explorer.compress.weights import attach_codes, quantize_biases
from explorer.graph.canonical import canonicalise
from explorer.graph.inputs import as_tuple
from explorer.graph.layers import ChannelGroup, ModelGraph
from explorer.graph.trace import trace
from explorer.models.checkpoint import load_checkpoint
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.settings import QuantizerSettings
from tests.support.scoring import count_correct

Images = Callable[[str, int], tuple[Tensor, Tensor]]
NETWORKS = ["lenet5_digits", "option_a", "projection", "mixed"]


def every_class(base: CompressionContext) -> dict[str, Tensor]:
    return find_kept_positions(base.graph, frozenset(i for group in base.graph.groups for i in group.classes))


def find_norms(model: nn.Module) -> dict[str, nn.BatchNorm2d]:
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}


@pytest.mark.parametrize("name", NETWORKS)
def test_recalibration_leaves_the_float_network_as_it_is(
    name: str, context: Callable[[str], CompressionContext]
) -> None:
    base = context(name)
    model = copy.deepcopy(base.model)
    correct(model, base.calibration, every_class(base))
    assert find_norms(model)
    for path, norm in find_norms(model).items():
        own = base.model.get_submodule(path)
        assert torch.allclose(norm.running_mean, own.get_buffer("running_mean"), rtol=1e-5, atol=1e-5)  # type: ignore[arg-type]
        assert torch.allclose(norm.running_var, own.get_buffer("running_var"), rtol=1e-5)  # type: ignore[arg-type]


def test_recalibration_follows_what_a_norm_receives() -> None:
    """Twice the weights and a shifted bias: mean' = mq + (mean - mf) * 2 and var' = var * 4, by hand."""
    torch.manual_seed(0)
    x = torch.randn(32, 3, 6, 6)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()).eval()
    model = canonicalise(plain, x)
    calibration = calibrate(model, trace(model, x), x)
    changed, norm = copy.deepcopy(model), model.get_submodule("1")
    conv = changed.get_submodule("0")
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    conv.weight.data *= 2
    with torch.no_grad():
        float_mean, _ = compute_channel_statistics([model.get_submodule("0")(x)])
        new_mean, _ = compute_channel_statistics([conv(x)])
    correct(changed, calibration, {"_1": torch.arange(4)})
    mended = changed.get_submodule("1")
    expected = new_mean + (norm.running_mean - float_mean) * 2
    assert torch.allclose(mended.get_buffer("running_mean"), expected, atol=1e-5)
    assert torch.allclose(mended.get_buffer("running_var"), norm.running_var * 4, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_eight_bits_are_close_to_float(
    name: str, context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> None:
    base, x = context(name), images(name, 16)
    with torch.no_grad():
        expected, received = base.model(x), apply(base, uniform(base.graph))(x)
        rough = apply(base, uniform(base.graph, 2, 2))(x)
    close = (received - expected).abs().mean()
    assert close < 0.05 * expected.std()
    assert (rough - expected).abs().mean() > 2 * close


def quantised(norm: nn.BatchNorm2d, bias: bool, groups: int = 1) -> fx.GraphModule:
    """A convolution with codes and power-of-two scales behind an identity quantiser, and its norm."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(4, 4, 3, bias=bias, groups=groups), norm, nn.Flatten()).eval()
    graph = fx.symbolic_trace(model)
    codes = torch.randint(-7, 8, (4, 4 // groups, 3, 3)).float()
    attach_codes(graph.get_submodule("0"), codes, torch.tensor([0.25, 0.5, 1.0, 2.0]))  # type: ignore[arg-type]
    return graph


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 4])
def test_folding_is_exact(bias: bool, groups: int) -> None:
    """In float64, with gains that are powers of two, so that scales stay exact in float32."""
    norm = nn.BatchNorm2d(4, eps=0.0)
    norm.running_mean = torch.tensor([0.5, -1.0, 2.0, 0.25])
    norm.running_var = torch.tensor([0.25, 4.0, 1.0, 16.0])
    norm.weight.data, norm.bias.data = torch.tensor([1.0, -2.0, 0.0, -0.5]), torch.tensor([0.5, 1.0, -3.0, 0.0])
    graph = quantised(norm, bias, groups)
    if bias:
        graph.get_submodule("0").get_parameter("bias").data = torch.tensor([1.5, -0.5, 7.0, 0.125])
    x = torch.randn(3, 4, 6, 6).double()
    with torch.no_grad():
        expected = copy.deepcopy(graph).double()(x)
        fold_norms(graph)
        folded = copy.deepcopy(graph).double()(x)
    assert (folded - expected).abs().max() <= 1e-9
    assert not find_norms(graph)
    codes, scale = (graph.get_submodule("0").get_buffer(key) for key in ("weight_codes", "weight_scale"))
    assert codes.dtype == torch.int8
    assert scale.tolist() == [0.5, 0.5, 0.0, 0.25]


def test_folding_follows_any_statistics_up_to_float32() -> None:
    norm = nn.BatchNorm2d(4)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 3)
    norm.weight.data = torch.tensor([0.3, -1.7, 0.9, -1e-3])
    norm.bias.data.normal_()
    graph = quantised(norm, True)
    x = torch.randn(3, 4, 6, 6)
    with torch.no_grad():
        expected = graph.double()(x.double())
        graph.float()
        fold_norms(graph)
        assert torch.allclose(graph.double()(x.double()), expected, rtol=1e-5, atol=1e-5)


def test_a_norm_behind_a_concatenation_folds_into_the_gain_in_front_of_it(
    context: Callable[[str], CompressionContext],
) -> None:
    base = context("mixed")
    assert "joined_norm_gain" in base.graph.layer_names
    assert not find_norms(apply(base, uniform(base.graph)))


@pytest.mark.parametrize("name", NETWORKS)
def test_biases_are_integers_on_the_grid_of_the_sums(name: str, context: Callable[[str], CompressionContext]) -> None:
    base = context(name)
    candidate = uniform(base.graph, 4, 6)
    stored, built = derive_stored_bits(base.graph, collect_choices(base.graph, candidate)), apply(base, candidate)
    seen = 0
    for layer in base.graph.layers:
        module = built.get_submodule(layer.name)
        assert isinstance(module, nn.Conv2d | nn.Linear)
        if module.bias is not None:
            input_scale = base.calibration.ranges[layer.source][stored[layer.source]][0]
            codes = module.get_buffer("bias_codes")
            assert codes.dtype == torch.int32
            grid = input_scale * module.get_buffer("weight_scale").double()
            assert torch.allclose(module.bias.double(), codes * grid, rtol=1e-6)
            seen += 1
    assert seen >= len(base.graph.layers) - 1


def test_the_bias_of_a_filter_without_weights_keeps_its_precision(context: Callable[[str], CompressionContext]) -> None:
    """At the scale of such a filter's codes alone, a small bias would round to 0 or to a whole input step."""
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Flatten(), nn.Linear(12, 2)).eval()
    conv = model[0]
    assert isinstance(conv, nn.Conv2d)
    conv.weight.data = torch.tensor([1.0, 0.0, 1e-14]).view(3, 1, 1, 1)
    conv.bias = nn.Parameter(torch.tensor([0.3, 0.0123, 0.7]))
    x = torch.randn(16, 1, 2, 2)
    base = CompressionContext.of(model, x, quantizer=QuantizerSettings(bias_correction=False))
    built = apply(base, uniform(base.graph)).get_submodule("_0" if hasattr(base.model, "_0") else "0")
    bias, scale = built.get_parameter("bias"), built.get_buffer("weight_scale")
    assert torch.allclose(bias[1:], conv.bias[1:], rtol=1e-6)
    assert abs(bias[0] - 0.3) < scale[0] * 0.1
    assert built.get_parameter("weight")[1:].abs().max() < 1e-5


def test_each_layer_reads_at_its_width_and_storage_holds_the_widest(
    context: Callable[[str], CompressionContext],
) -> None:
    """The mixed network's second relu is read by `left` and `right`: stored at 7 bits, read again at 3."""
    base = context("mixed")
    widths = {"left": 3, "right": 7}
    candidate = Candidate(
        layers=tuple(LayerChoice(layer=n, activation_bits=widths.get(n, 8)) for n in base.graph.layer_names),
        filter_keep_ratio=(),
    )
    stored = base.graph.layer("left").source
    assert base.graph.layer("right").source == stored
    assert derive_stored_bits(base.graph, collect_choices(base.graph, candidate))[stored] == 7
    built = apply(base, candidate)
    shared, narrow = built.get_submodule(f"{stored}_quantizer"), built.get_submodule("left_input_quantizer")
    assert isinstance(shared, ActivationQuantizer)
    assert isinstance(narrow, ActivationQuantizer)
    assert (shared.bits, narrow.bits) == (7, 3)
    assert (float(narrow.scale), narrow.zero_point) == pytest.approx(base.calibration.ranges[stored][3])
    readers = {node.name: node.all_input_nodes[0].target for node in built.graph.nodes if node.op == "call_module"}
    assert readers["left"] == "left_input_quantizer"
    assert readers["right"] == f"{stored}_quantizer"
    assert not hasattr(built, "right_input_quantizer")


def test_samples_for_the_ranges_come_from_every_column() -> None:
    """A step that divides the row length would see the first column alone, where padding acts."""
    values = torch.arange(32.0).repeat(256 * 16 * 32)
    sample = _sampled(values)
    assert SAMPLED_VALUES * 0.9 <= len(sample) <= SAMPLED_VALUES * 1.1
    assert torch.bincount(sample.long(), minlength=32).min() > len(sample) / 32 * 0.95
    assert torch.equal(_sampled(torch.arange(100.0)), torch.arange(100.0))


def test_calibration_errors_are_those_of_its_quantisers(context: Callable[[str], CompressionContext]) -> None:
    base = context("lenet5_digits")
    calibration = base.calibration
    values = as_tuple(calibration.images)[0].flatten()
    name = base.graph.layers[0].source
    error = (calibration.quantizer(name, 4)(values) - values).abs().mean()
    assert calibration.errors[name][4] == pytest.approx(float(error), rel=1e-5)
    for errors in calibration.errors.values():
        assert errors[8] < errors[4] < errors[2]
    assert set(calibration.ranges) == {entry.name for entry in base.graph.activations if entry.quantized}


@pytest.fixture(scope="module")
def trained(checkpoints: Path, cifar10_images: Images) -> tuple[CompressionContext, Tensor, Tensor]:
    model = REFERENCE_NETWORKS["resnet20"](10)
    load_checkpoint(model, checkpoints / "resnet20-12fca82f.th")
    (calibration, _), (images, labels) = cifar10_images("train", 128), cifar10_images("test", 300)
    found = CompressionContext.of(model.eval(), calibration)
    order = {group.name: by_norm(found.model, found.graph, group) for group in found.graph.prunable}
    return replace(found, order=order), images, labels


def by_norm(model: fx.GraphModule, graph: ModelGraph, group: ChannelGroup) -> tuple[int, ...]:
    """The classes of a group by the norm of the filters of its last layer, the largest first."""
    layer = graph.layer(group.producers[-1])
    norms = model.get_submodule(layer.name).get_parameter("weight").detach().flatten(1).norm(dim=1).tolist()
    norm_of = dict(zip(layer.output_classes, norms, strict=True))
    return tuple(sorted(group.classes, key=lambda identity: -norm_of[identity]))


@pytest.mark.slow
def test_absolute_recalibration_hurts_the_float_network_and_relative_does_not(
    trained: tuple[CompressionContext, Tensor, Tensor],
) -> None:
    """Published ResNet-20 was trained on padded, flipped crops: statistics of clean images are not its own."""
    base, images, labels = trained
    relative, absolute = copy.deepcopy(base.model), copy.deepcopy(base.model)
    correct(relative, base.calibration, every_class(base))
    for norm in find_norms(absolute).values():
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        absolute(base.calibration.images)
        whole, kept = base.model(images), relative(images)
    assert (whole - kept).abs().max() < 1e-2
    right = [count_correct(model, images, labels, 200) for model in (base.model, relative, absolute)]
    assert abs(right[0] - right[1]) <= 1
    assert right[2] <= right[0] - 4


@pytest.mark.slow
def test_relative_recalibration_mends_a_pruned_network(
    trained: tuple[CompressionContext, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, images, labels = trained
    inner = tuple((group.name, 0.75) for group in base.graph.prunable if len(group.producers) == 1)
    candidate = replace(uniform(base.graph), filter_keep_ratio=inner)
    mended = count_correct(apply(base, candidate), images, labels, 200)
    monkeypatch.setattr("explorer.compress.compensate.correct", lambda *_, **__: None)
    plain = count_correct(apply(base, candidate), images, labels, 200)
    assert mended >= plain + 20


def test_eight_bits_keep_the_accuracy_of_resnet20(trained: tuple[CompressionContext, Tensor, Tensor]) -> None:
    base, images, labels = trained
    whole = count_correct(base.model, images, labels, 200)
    assert whole >= 0.9 * len(labels)
    assert count_correct(apply(base, uniform(base.graph)), images, labels, 200) >= whole - 6


def test_biases_stay_within_32_bits() -> None:
    """A gain of nearly zero would ask for a bias of 1e14 steps."""
    norm = nn.BatchNorm2d(4, eps=0.0)
    norm.weight.data = torch.tensor([1e-14, 0.0, 1.0, 1e-10])
    norm.bias.data = torch.tensor([0.5, -2.0, 0.25, 0.0])
    graph = quantised(norm, False)
    node = next(node for node in graph.graph.nodes if node.op == "placeholder")
    graph.add_submodule("quantizer", ActivationQuantizer(8, 0.125, 128))
    with graph.graph.inserting_after(node):
        inserted = graph.graph.call_module("quantizer", (node,))
    node.replace_all_uses_with(inserted, delete_user_cb=lambda user: user is not inserted)
    graph.recompile()
    fold_norms(graph)
    quantize_biases(graph)
    bias = graph.get_submodule("0").get_parameter("bias")
    assert torch.allclose(bias, norm.bias, atol=1e-6)
    x = torch.randn(2, 4, 3, 3)
    with torch.no_grad():
        assert torch.allclose(graph(x)[:, [0, 1, 3]], norm.bias[[0, 1, 3]].expand(2, 3), atol=1e-4)
