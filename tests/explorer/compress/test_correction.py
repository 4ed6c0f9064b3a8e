"""Correction in depth order: the batch-norm trap, mean shifts, and adaptive rounding of whole networks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, fx, nn

from explorer.compress import correction, moments, rounding
from explorer.compress.activations import insert_quantizers
from explorer.compress.apply import CompressionContext, apply, compress_layers, without_filters
from explorer.compress.calibrate import Calibration, compute_channel_means, compute_channel_statistics
from explorer.compress.candidate import Candidate, LayerChoice, uniform
from explorer.compress.compiled import compiler
from explorer.compress.correction import correct
from explorer.compress.moments import LayerInputs, compute_float_moments
from explorer.compress.norms import find_fold_signs, find_norms
from explorer.compress.plan import count_kept
from explorer.compress.problem import compute_error_ratios
from explorer.compress.prune import find_kept_positions
from explorer.compress.weights import compress_weights
from explorer.errors import NumericalError
from explorer.graph.layers import ModelGraph
from explorer.models.checkpoint import load_checkpoint
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.settings import QuantizerSettings

Bases = Callable[[str], CompressionContext]
Images = Callable[[str, int], tuple[Tensor, Tensor]]
ADAPTIVE = QuantizerSettings(rounding="adaptive", rounding_images=16)


def statistics_at_once(model: fx.GraphModule, images: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """What every batch norm receives while all of them are as they were."""
    received: dict[str, tuple[Tensor, Tensor]] = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            if n.name in norms:
                received[n.name] = compute_channel_statistics([self.env[n.all_input_nodes[0]]])
            return super().run_node(n)

    norms = find_norms(model)
    with torch.no_grad():
        Recorder(model).run(images)
    return received


def recompute_absolutely(model: fx.GraphModule, images: Tensor) -> None:
    """In depth order, the plain statistics of the images in place of those of training."""

    class Recomputer(fx.Interpreter):
        def run_node(self, n: fx.Node) -> object:
            if n.name in norms:
                norms[n.name].running_mean, norms[n.name].running_var = compute_channel_statistics(
                    [self.env[n.all_input_nodes[0]]]
                )
            return super().run_node(n)

    norms = find_norms(model)
    with torch.no_grad():
        Recomputer(model).run(images)


def recalibrate_at_once(model: fx.GraphModule, calibration: Calibration) -> None:
    """The relative form, from what all norms receive before any of them is corrected."""
    images = calibration.images
    assert isinstance(images, Tensor)
    received = statistics_at_once(model, images)
    for name, norm in find_norms(model).items():
        (mean, variance), (float_mean, float_variance) = received[name], calibration.norms[name]
        assert norm.running_mean is not None
        assert norm.running_var is not None
        ratio = variance / float_variance.clamp_min(1e-12)
        norm.running_mean = mean + (norm.running_mean - float_mean) * ratio.sqrt()
        norm.running_var = norm.running_var * ratio


def every_class(graph: ModelGraph) -> dict[str, Tensor]:
    return find_kept_positions(graph, frozenset(identity for group in graph.groups for identity in group.classes))


def rough(base: CompressionContext, bits: int) -> fx.GraphModule:
    """All weights at a width, activations at 8 bits, norms as they were."""
    candidate = uniform(base.graph, bits, 8)
    resolved = base.resolve(candidate)
    model = without_filters(base, resolved.kept)
    compress_layers(model, base, resolved)
    insert_quantizers(model, base.graph, base.calibration, resolved)
    return model


def logits(model: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat([model(part) for part in images.split(250)])  # type: ignore[no-untyped-call]


class Deep(nn.Module):
    """Eight convolutions in a row, each with a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *(8,) * 8)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers, self.fc = nn.Sequential(*layers), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layers(x).mean((2, 3)))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def deep() -> tuple[CompressionContext, Tensor]:
    """A network whose norms have seen images with black borders, as a training with padded crops shows them."""
    torch.manual_seed(5)
    clean = torch.nn.functional.avg_pool2d(torch.randn(128, 3, 14, 14), 3, 1) + 1.0
    seen = clean.clone()
    seen[:, :, :3], seen[:, :, :, :2] = -2.0, -2.0
    network = Deep()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a mean over all batches
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.3)
    network.train()
    with torch.no_grad():
        for part in seen.split(32):  # type: ignore[no-untyped-call]
            network(part)
    return CompressionContext.of(network.eval(), clean), clean


def test_absolute_statistics_of_clean_images_change_the_float_network_and_relative_ones_do_not(
    deep: tuple[CompressionContext, Tensor],
) -> None:
    base, images = deep
    own = logits(base.model, images)
    absolute, relative = copy.deepcopy(base.model), copy.deepcopy(base.model)
    recompute_absolutely(absolute, images)
    correct(relative, base.calibration, every_class(base.graph))
    assert (logits(relative, images) - own).abs().max() < 1e-4 * own.abs().max()
    assert (logits(absolute, images).argmax(1) == own.argmax(1)).float().mean() < 0.9


def test_all_layers_at_once_is_worse_than_in_depth_order(deep: tuple[CompressionContext, Tensor]) -> None:
    base, images = deep
    own = logits(base.model, images)
    at_once, in_order = rough(base, 3), rough(base, 3)
    recalibrate_at_once(at_once, base.calibration)
    correct(in_order, base.calibration, every_class(base.graph))
    errors = [float((logits(model, images) - own).square().mean()) for model in (at_once, in_order, rough(base, 3))]
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.5 * errors[2]


@pytest.mark.slow
def test_all_layers_at_once_destroys_the_published_network(checkpoints: Path, cifar10_images: Images) -> None:
    """That absolute statistics harm it, and relative ones do not, is tested with `apply`."""
    network = REFERENCE_NETWORKS["resnet20"](10)
    load_checkpoint(network, checkpoints / "resnet20-12fca82f.th")
    (clean, _), (test, labels) = cifar10_images("train", 128), cifar10_images("test", 300)
    base = CompressionContext.of(network.eval(), clean)
    at_once, in_order = rough(base, 3), rough(base, 3)
    recalibrate_at_once(at_once, base.calibration)
    correct(in_order, base.calibration, every_class(base.graph))
    right = [float((logits(entry, test).argmax(1) == labels).float().mean()) for entry in (in_order, at_once)]
    assert right[0] > right[1] + 0.2


@pytest.mark.parametrize("name", ["option_a", "lenet5_digits", "mixed"])
def test_neither_parts_nor_arithmetic_change_what_is_corrected(
    name: str, context: Bases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few values on the border of two codes aside."""
    base, built = context(name), []
    candidate = uniform(base.graph, 4, 6)
    for attribute, value in ((None, None), ("FEWEST_IMAGES", 5), ("find_fault", lambda: "none, but not used")):
        with monkeypatch.context() as patch:
            if attribute is not None:
                patch.setattr(compiler if attribute == "FEWEST_IMAGES" else correction, attribute, value)
                patch.setattr(compiler, "CACHED_BYTES", 1)
            built.append(apply(base, candidate))
    for layer in base.graph.layer_names:
        expected, *others = (torch.cat(tuple(numbers_of(model, layer))) for model in built)
        for found in others:
            assert torch.allclose(found, expected, rtol=0.01, atol=0.01 * float(expected.abs().max()))


def numbers_of(model: fx.GraphModule, layer: str) -> tuple[Tensor, ...]:
    """Scales and biases of a layer."""
    module = model.get_submodule(layer)
    return module.get_buffer("weight_scale"), *([] if module.bias is None else [module.get_parameter("bias")])


class Plain(nn.Module):
    """No batch norm, biases everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, groups=2)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3)))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def plain() -> tuple[CompressionContext, Tensor]:
    torch.manual_seed(2)
    images = torch.randn(64, 3, 8, 8) + 0.5
    return CompressionContext.of(Plain().eval(), images), images


def mean_shifts(base: CompressionContext, images: Tensor, candidate: Candidate) -> list[float]:
    """Of each layer, the largest |mean output difference| of a channel, in units of the outputs' deviation."""
    found = []
    built = apply(base, candidate)
    for layer in base.graph.layer_names:
        outputs = []
        for model in (base.model, built):
            node = next(node for node in model.graph.nodes if node.target == layer)
            with torch.no_grad():
                module = model.get_submodule(layer)
                outputs.append(module(LayerInputs(model, images).of(node.name)))
        means = [compute_channel_means(base.model.get_submodule(layer), [entry]) for entry in outputs]
        found.append(float((means[1] - means[0]).abs().max() / outputs[0].std()))
    return found


@pytest.mark.parametrize("rounding", ["nearest", "adaptive"])
def test_bias_correction_removes_the_mean_shift(plain: tuple[CompressionContext, Tensor], rounding: str) -> None:
    base, images = plain
    candidate = uniform(base.graph, 2, 8)
    corrected = replace(base, quantizer=QuantizerSettings(rounding=rounding))
    uncorrected = replace(base, quantizer=QuantizerSettings(rounding=rounding, bias_correction=False))
    # What is left is the rounding of the bias to the grid of the sums, coarse at 2 bits.
    left, before = (max(mean_shifts(entry, images, candidate)) for entry in (corrected, uncorrected))
    assert left < min(0.01, 0.1 * before)


def test_bias_correction_leaves_what_a_norm_absorbs(context: Bases) -> None:
    """In a network whose every biased layer but the last feeds a norm, only the last bias differs."""
    base = context("option_a")
    candidate = uniform(base.graph, 3, 8)
    built = [
        apply(replace(base, quantizer=QuantizerSettings(bias_correction=wanted)), candidate) for wanted in (True, False)
    ]
    for layer in base.graph.layer_names:
        biases = [model.get_submodule(layer).get_parameter("bias") for model in built]
        assert torch.equal(*biases) is (layer != "fc")


@pytest.mark.parametrize("name", ["lenet5_digits", "option_a", "projection", "mixed"])
@pytest.mark.parametrize("bits", [2, 4])
def test_adaptive_rounding_brings_the_logits_closer(
    name: str, bits: int, context: Bases, images: Callable[[str, int], Tensor]
) -> None:
    base, x = context(name), images(name, 16)
    candidate = uniform(base.graph, bits, 8)
    own = logits(base.model, x)
    near = (logits(apply(base, candidate), x) - own).square().mean()
    adaptive = (logits(apply(replace(base, quantizer=ADAPTIVE), candidate), x) - own).square().mean()
    assert adaptive < 0.8 * near


def test_adaptive_codes_keep_to_masks_and_codebooks(context: Bases) -> None:
    base = context("mixed")
    for scope, size, kept, pattern in (("layer", 4, 0.5, None), ("channel", 3, 1.0, None), ("layer", None, 1.0, "2:4")):
        choices = tuple(
            LayerChoice(
                layer=name,
                weight_bits=4,
                weight_density=kept,
                codebook_size=size,
                codebook_granularity=scope,  # type: ignore[arg-type]
                pattern=pattern,
            )
            for name in base.graph.layer_names
        )
        candidate = Candidate(layers=choices, filter_keep_ratio=())
        nearest, adaptive = (apply(entry, candidate) for entry in (base, replace(base, quantizer=ADAPTIVE)))
        moved, signs = 0, find_fold_signs(base.model, base.graph.layer_names)
        for name in base.graph.layer_names:
            before, after = (model.get_submodule(name).get_buffer("weight_codes") for model in (nearest, adaptive))
            moved += int((before != after).sum())
            assert int((after != 0).sum()) <= count_kept(kept, after.numel())
            if pattern is not None:
                rows = after.movedim(1, -1)
                assert all(int((part != 0).sum(-1).max()) <= 2 for part in torch.split(rows, 4, dim=-1))
            if size is not None:
                own = after * signs[name].view(-1, *(1,) * (after.ndim - 1))
                assert all(len(book.unique()) <= size for book in (own if scope == "channel" else [own]))
        assert moved > 0


def test_adaptive_rounding_is_deterministic_and_leaves_the_basis_alone(context: Bases) -> None:
    base = replace(context("projection"), quantizer=ADAPTIVE)
    before = {key: tensor.clone() for key, tensor in base.model.state_dict().items()}
    first, second = (apply(base, uniform(base.graph, 3, 6)).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert all(torch.equal(base.model.state_dict()[key], tensor) for key, tensor in before.items())


def test_error_shares_lie_between_none_and_all(context: Bases) -> None:
    base = context("projection")
    images = base.calibration.images
    seen, lowest = [], []
    for name, given in compute_float_moments(base.model, images, base.graph.layer_names):
        seen.append(name)
        own = base.model.get_submodule(name)
        assert isinstance(own, nn.Conv2d | nn.Linear)
        copied, choice = copy.deepcopy(own), LayerChoice(layer=name, weight_bits=3)
        compress_weights(copied, choice)
        shares = compute_error_ratios(copied, own.weight.data, choice, given, "channel")
        assert shares.shape == (len(own.weight),)
        assert ((shares >= 0) & (shares <= 1)).all()
        lowest.append(float(shares.min()))
    assert min(lowest) < 0.8
    assert seen == list(base.graph.layer_names)
    with pytest.raises(LookupError, match="node nowhere is not ahead"):
        LayerInputs(base.model, images).of("nowhere")


@pytest.mark.parametrize("settings", [ADAPTIVE, QuantizerSettings()], ids=["adaptive", "nearest"])
def test_values_that_are_not_finite_are_refused_by_the_name_of_the_layer(
    context: Bases, settings: QuantizerSettings
) -> None:
    base = context("projection")
    images = base.calibration.images
    assert isinstance(images, Tensor)
    spoilt = replace(base.calibration, images=torch.where(images > 2, torch.nan, images))
    with pytest.raises(
        NumericalError, match=r"layer 'stem': (what it reads|its bias) is NaN or infinite .* more bits"
    ) as error:
        apply(replace(base, calibration=spoilt, quantizer=settings), uniform(base.graph))
    assert len(str(error.value).splitlines()) == 1


def test_moments_without_a_solution_are_refused_by_the_name_of_the_layer(
    context: Bases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Undamped moments of constant inputs, the brightness of a grey image, have none."""
    base = context("projection")
    images = base.calibration.images
    assert isinstance(images, Tensor)
    monkeypatch.setattr(rounding, "DAMPING", 0.0)
    monkeypatch.setattr(moments, "PRECISION", 0.0)
    grey = replace(base.calibration, images=torch.ones_like(images))
    with pytest.raises(NumericalError, match=r"^layer 'stem': no weights fit what it reads: .*$"):
        apply(replace(base, calibration=grey, quantizer=ADAPTIVE), uniform(base.graph))
