"""A TensorFlow Lite file computes what the integer program does, as runtimes want it, or says what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.errors import ExportError
from explorer.export.deploy import find_refusals
from explorer.export.formats import INPUT_TYPES, OUTPUT_TYPES, FileTypes
from explorer.export.tflite import network as networks
from explorer.export.tflite.file import load_litert
from explorer.export.tflite.grids import find_shifts
from explorer.export.tflite.network import build
from explorer.export.tflite.run import run_tflite
from explorer.graph.inputs import take
from explorer.integer.interpret import run_program
from explorer.models.mlperf_tiny import TinyMobileNetV1, TinyResNet8
from explorer.models.mobilenet_v2 import MobileNetV2
from explorer.models.resnet import CifarResNet
from explorer.models.unet import UNet
from tests.support.integers import SHAPE, Around, Operation
from tests.support.litert import check_equal, list_operators, needs_litert, run_file, write_network

pytestmark = needs_litert
WIDTHS = [(8, 8), (4, 5), (2, 2)]
IMAGES = torch.randn(96, *SHAPE, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("name", ["lenet5_digits", "projection", "mixed"])
def test_the_file_gives_the_integers_of_the_program(
    name: str,
    bits: tuple[int, int],
    context: Callable[[str], CompressionContext],
    images: Callable[[str, int], Tensor],
    tmp_path: Path,
) -> None:
    """Plain, residual, and depthwise with a concatenation, a batch norm of codes and ReLU6."""
    check_equal(context(name), uniform(context(name).graph, *bits), images(name, 200), tmp_path)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resnet8": (lambda: TinyResNet8(10), (3, 32, 32)),
    "mobilenet_v1": (lambda: TinyMobileNetV1(10), (3, 96, 96)),
    "resnet20 with shortcuts of option A": (lambda: CifarResNet(3, 10), (3, 32, 32)),
    "mobilenet_v2": (lambda: MobileNetV2(10), (3, 32, 32)),
    "unet": (lambda: UNet(2, widths=(8, 12, 16)), (3, 16, 16)),
}


@pytest.mark.parametrize("bits", WIDTHS[:2])
@pytest.mark.parametrize("name", NETWORKS)
def test_published_networks_give_the_integers_of_the_program(name: str, bits: tuple[int, int], tmp_path: Path) -> None:
    kind, shape = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, images = kind().eval(), torch.randn(16, *shape)
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
    base = CompressionContext.of(model, images[:8])
    check_equal(base, uniform(base.graph, *bits), images, tmp_path)


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 7, 8])
def test_weights_are_the_networks_integers_or_one_multiple_of_narrow_ones(
    bits: int, context: Callable[[str], CompressionContext]
) -> None:
    """More different integers, or larger ones of more than 4 bits, would be coded with more bits."""
    base = context("projection")
    model = apply(base, uniform(base.graph, bits, 8))
    program = build(model, base).program
    layers = {name: module for name, module in model.named_modules() if hasattr(module, "weight_codes")}
    assert len(layers) == len(base.graph.layers)
    for name, module in layers.items():
        codes = np.abs(module.weight_codes.numpy())
        stored = np.abs(program.arrays[f"{name}.weight"].astype(np.int64))
        factors = np.unique(stored[stored > 0] / codes[stored > 0])  # 0 where a filter has become a constant
        factor = 127 // (2 ** (bits - 1) - 1) if bits <= 4 else 1
        assert factors[-1] == factor
        assert set(factors) <= {1, factor}  # a filter with large sums stays as it is


def nearest(x: Tensor, size: int) -> Tensor:
    return F.interpolate(x, size=(size, size), mode="nearest")


OPERATIONS: dict[str, tuple[Operation, set[str]]] = {
    "padding at the start alone": (
        lambda net, x: F.relu(net.second(F.relu(F.pad(net.first(x), (1, 0, 2, 0))))),
        {"PAD"},
    ),
    "max pooling with padding": (lambda net, x: F.max_pool2d(F.relu(net.first(x)), 3, 2, 1), {"MAX_POOL_2D", "PAD"}),
    "max pooling of negative values": (lambda net, x: F.max_pool2d(net.first(x), 3, 2, 1), {"MAX_POOL_2D"}),
    "average over windows": (lambda net, x: F.avg_pool2d(F.relu(net.first(x)), 2), {"DEPTHWISE_CONV_2D"}),
    "overlapping windows": (lambda net, x: F.avg_pool2d(net.first(x), 3, 2), {"DEPTHWISE_CONV_2D"}),
    "average over padding too": (lambda net, x: F.avg_pool2d(net.first(x), 3, 2, 1), {"DEPTHWISE_CONV_2D"}),
    "mean of negative values": (lambda net, x: net.first(x).mean((2, 3)), {"DEPTHWISE_CONV_2D"}),
    "no activation": (lambda net, x: net.second(net.first(x)), set()),
    "addition": (lambda net, x: F.relu(net.second(net.first(x)) + net.first(x)), {"ADD"}),
    "subtraction": (lambda net, x: F.relu(net.first(x) - net.second(net.first(x))), {"SUB"}),
    "product": (lambda net, x: net.first(x) * net.second(net.first(x)), {"MUL"}),
    "product with a pooled map": (lambda net, x: net.first(x) * net.first(x).mean((2, 3), keepdim=True), {"MUL"}),
    "relu of codes": (lambda net, x: net.second(F.relu(F.avg_pool2d(net.first(x), 2))), set()),
    "concatenation": (lambda net, x: torch.cat((F.relu(net.first(x)), net.first(x)), 1), {"CONCATENATION"}),
    "batch norm of codes": (lambda net, x: net.norm(F.avg_pool2d(F.relu(net.first(x)), 2)), set()),
    "groups of several channels": (lambda net, x: net.grouped(net.first(x)), {"CONV_2D"}),
    "slices": (lambda net, x: net.second(net.first(x)[:, :, ::2, 1::3]), {"STRIDED_SLICE"}),
    "a slice of rows": (lambda net, x: net.second(net.first(x)[:, :, 1:7]), {"STRIDED_SLICE"}),
    "channels in another order": (lambda net, x: net.second(F.channel_shuffle(net.first(x), 2)), {"GATHER"}),
    "every other channel, flattened": (lambda net, x: net.first(x)[:, ::2], {"GATHER"}),
    "nearest upsampling": (lambda net, x: net.second(nearest(net.first(x), 16)), {"RESIZE_NEAREST_NEIGHBOR"}),
    "nearest upsampling by no whole number": (
        lambda net, x: net.second(nearest(net.first(x), 11)),
        {"RESIZE_NEAREST_NEIGHBOR"},
    ),
    "transposed convolution": (
        lambda net, x: F.relu(F.conv_transpose2d(net.first(x), net.first.weight[:8, :, :2, :2], stride=2)),
        {"TRANSPOSE_CONV"},
    ),
    "cut transposed convolution": (
        lambda net, x: F.conv_transpose2d(net.first(x), net.first.weight, stride=2, padding=1, output_padding=1),
        {"TRANSPOSE_CONV", "STRIDED_SLICE"},
    ),
    "pixel shuffle": (lambda net, x: F.pixel_shuffle(net.first(x), 2), {"DEPTH_TO_SPACE"}),
}


def around(operation: Operation) -> CompressionContext:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CompressionContext.of(Around(operation), take(IMAGES, slice(16)))


@pytest.mark.parametrize("bits", WIDTHS[:2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_gives_the_integers_of_the_program(name: str, bits: tuple[int, int], tmp_path: Path) -> None:
    operation, operators = OPERATIONS[name]
    base = around(operation)
    network = check_equal(base, uniform(base.graph, *bits), IMAGES, tmp_path)
    assert operators <= set(list_operators(network.content))


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda net, x: F.hardswish(net.first(x)), "a function other than a ReLU or another clip follows it"),
        (lambda net, x: net.transposed(net.first(x)), "its transposed convolution has groups"),
        (lambda net, x: net.first(x) * 2, "a function other than a ReLU or another clip lies between two quantisers"),
        (
            lambda net, x: F.avg_pool2d(net.first(x), 3, 2, 1, count_include_pad=False),
            "its windows have different divisors",
        ),
        (lambda net, x: F.adaptive_avg_pool2d(net.first(x), 3), "its windows have different divisors"),
        (lambda net, x: F.max_pool2d(net.first(x), 2, dilation=2), "its windows are dilated"),
    ],
)
def test_what_has_no_operator_is_refused_by_name(operation: Operation, message: str) -> None:
    (reason,) = find_refusals(around(operation), "tflite")
    assert "\n" not in reason
    with pytest.raises(ExportError, match=f"tflite: .*{message}.*; choose --format integer or onnx"):
        raise ExportError(reason)


def test_built_in_kernels_name_the_same_classes_at_8_bits(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor], tmp_path: Path
) -> None:
    """They round twice, so that codes differ by one."""
    base, given = context("projection"), images("projection", 200)
    network = write_network(base, uniform(base.graph), tmp_path)
    received = run_file(network, given, tmp_path, "built-in")
    expected = run_program(network.program, given.numpy())
    assert np.abs(received - expected).max() <= 2
    assert (received.argmax(1) == expected.argmax(1)).mean() >= 0.99


def test_narrow_weights_are_raised_so_that_rounding_twice_matters_less(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor], tmp_path: Path
) -> None:
    """Without, 13 % of the codes are equal."""
    base, given = context("lenet5_digits"), images("lenet5_digits", 200)
    network = write_network(base, uniform(base.graph, 2, 2), tmp_path)
    received = run_file(network, given, tmp_path, "built-in")
    assert (received == run_program(network.program, given.numpy())).mean() >= 0.95


def test_codes_are_clipped_wherever_their_grid_lies(
    context: Callable[[str], CompressionContext],
    images: Callable[[str, int], Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shifts = find_shifts
    monkeypatch.setattr(networks, "find_shifts", lambda program: {k: v - 10 for k, v in shifts(program).items()})
    base = context("projection")
    network = check_equal(base, uniform(base.graph, 4, 5), images("projection", 200), tmp_path)
    assert {"MAXIMUM", "MINIMUM"} <= set(list_operators(network.content))


def test_the_file_is_int8_and_holds_no_transpose(context: Callable[[str], CompressionContext], tmp_path: Path) -> None:
    litert, base = load_litert("interpreter"), context("mixed")
    network = write_network(base, uniform(base.graph), tmp_path)
    used = set(list_operators(network.content))
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "CONCATENATION", "FULLY_CONNECTED", "RESHAPE"} <= used
    assert not {name for name in used if "TRANSPOSE" in name or "QUANTIZE" in name}
    interpreter = litert.Interpreter(model_path=str(tmp_path / "model.tflite"))
    given, returned = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert (given["name"], given["dtype"], given["shape"].tolist()) == ("images", np.int8, [1, 8, 8, 3])
    assert (returned["name"], returned["dtype"], returned["shape"].tolist()) == ("logits", np.int8, [1, 5])
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["images"], "outputs": ["logits"]}}
    kernel = next(entry for entry in interpreter.get_tensor_details() if entry["name"] == "depthwise.weight")
    assert kernel["quantization_parameters"]["quantized_dimension"] == 3
    assert len(kernel["quantization_parameters"]["scales"]) == 6


@pytest.mark.parametrize("outputs", OUTPUT_TYPES)
@pytest.mark.parametrize("inputs", INPUT_TYPES)
def test_inputs_and_outputs_are_of_the_types_that_are_chosen(
    inputs: str,
    outputs: str,
    context: Callable[[str], CompressionContext],
    images: Callable[[str, int], Tensor],
    tmp_path: Path,
) -> None:
    base, types = context("projection"), FileTypes(inputs=inputs, outputs=outputs)
    check_equal(base, uniform(base.graph), images("projection", 100), tmp_path, types)
    interpreter = load_litert("interpreter").Interpreter(model_path=str(tmp_path / "model.tflite"))
    (given,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (given["name"], returned["name"]) == ("images", "logits")
    assert (given["dtype"], returned["dtype"]) == (np.dtype(inputs), np.dtype(outputs))


def test_floats_are_the_images_and_the_logits(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor], tmp_path: Path
) -> None:
    base, given = context("projection"), images("projection", 20)
    network = write_network(base, uniform(base.graph), tmp_path, FileTypes(inputs="float32", outputs="float32"))
    received = run_tflite(tmp_path / "model.tflite", (np.moveaxis(given.numpy(), 1, -1),))
    with torch.no_grad():
        expected = apply(base, uniform(base.graph))(given).numpy()
    assert np.abs(received - expected).max() <= 2 * network.logits.scale


def test_narrow_weights_are_packed_where_they_are_asked_to_be(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor], tmp_path: Path
) -> None:
    base, given = context("mixed"), images("mixed", 200)
    sizes = {}
    for bits in (4, 5):
        packed = check_equal(base, uniform(base.graph, bits), given, tmp_path, FileTypes(pack_int4=True))
        sizes[bits] = len(build(apply(base, uniform(base.graph, bits)), base).content) - len(packed.content)
    weights = sum(base.graph.layer(name).weights for name in base.graph.weight_owners)
    assert 0.8 * weights / 2 < sizes[4] <= weights / 2
    assert abs(sizes[5]) < 64


class Likely(nn.Module):
    """Probabilities of classes, by a module or a function."""

    def __init__(self, by: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.head, self.by = nn.Conv2d(3, 8, 3), nn.Linear(8, 5), by

    def forward(self, x: Tensor) -> Tensor:
        return self.by(self.head(F.relu(self.conv(x)).mean((2, 3))))


@pytest.mark.parametrize("by", [nn.Softmax(dim=1), nn.Softmax(dim=-1), lambda x: F.softmax(x, dim=-1)])
def test_a_softmax_at_the_end_is_kept(by: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    base = CompressionContext.of(Likely(by).eval(), IMAGES[:16])
    network = write_network(base, uniform(base.graph), tmp_path)
    assert list_operators(network.content)[-1] == "SOFTMAX"
    codes = run_file(network, IMAGES, tmp_path)
    logits = torch.from_numpy(run_program(network.program, IMAGES.numpy()) * network.logits.scale)
    assert np.abs(codes / 256 - logits.softmax(1).numpy()).max() <= 1.5 / 256
    with torch.no_grad():
        assert np.abs(codes / 256 - base.model(IMAGES).numpy()).max() < 0.05
