"""A TensorFlow Lite file computes what the integer program does, as runtimes want it, or says what it lacks."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.errors import ExportError
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import ACCURACY
from explorer.export.deploy import find_all_refusals, find_format, find_refusals
from explorer.export.formats import FORMATS, Deployment, Exported, list_installed
from explorer.export.tflite import package
from explorer.export.tflite.file import load_litert
from explorer.export.tflite.grids import find_shifts
from explorer.export.tflite.package import Network, build, decode_logits, encode_inputs, list_marks
from explorer.export.tflite.run import run_tflite
from explorer.files import refuse_foreign
from explorer.graph.inputs import take
from explorer.integer.interpret import run_program
from explorer.models.mlperf_tiny import TinyMobileNetV1, TinyResNet8
from explorer.study.record import Evaluation, FrontPoint
from tests.support.costs import make_cost
from tests.support.integers import SHAPE, Around, Operation

needs_litert = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="no ai-edge-litert; pip install ai-edge-litert"
)
WIDTHS = [(8, 8), (4, 5), (2, 2)]
IMAGES = torch.randn(96, *SHAPE, generator=torch.Generator().manual_seed(3))


def made(base: CompressionContext, bits: tuple[int, int], folder: Path) -> tuple[Network, fx.GraphModule]:
    model = apply(base, uniform(base.graph, *bits))
    network = build(model, base)
    (folder / "model.tflite").write_bytes(network.content)
    return network, model


def received_and_expected(network: Network, images: Tensor, folder: Path, kernels: str = "default") -> tuple[Any, Any]:
    """Codes of the output in the file, and the program's logits on their grid."""
    received = run_tflite(folder / "model.tflite", encode_inputs(network, images), kernels=kernels)
    logits = run_program(network.program, images.numpy()) * network.program.output_scale
    codes = np.rint(logits / network.logits.scale) + network.logits.zero_point
    return received, np.clip(codes, -128, 127)


def check_equal(base: CompressionContext, bits: tuple[int, int], images: Tensor, folder: Path) -> None:
    network, _ = made(base, bits, folder)
    received, expected = received_and_expected(network, images, folder)
    assert len(np.unique(expected)) > 3
    assert (received == expected).mean() >= 0.995
    assert np.abs(received - expected).max() <= 2
    logits = run_program(network.program, images.numpy())
    chosen = np.take_along_axis(received, logits.argmax(1)[:, None], axis=1)[:, 0]
    assert (chosen == received.max(1)).all()  # as the only one, or as one of several with the largest code


@needs_litert
@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("name", ["lenet5_digits", "projection", "mixed"])
def test_the_file_gives_the_logits_of_the_program(
    name: str,
    bits: tuple[int, int],
    context: Callable[[str], CompressionContext],
    images: Callable[[str, int], Tensor],
    tmp_path: Path,
) -> None:
    """Plain, residual, and depthwise with a concatenation, a batch norm of codes and ReLU6."""
    check_equal(context(name), bits, images(name, 200), tmp_path)


@needs_litert
@pytest.mark.parametrize("bits", WIDTHS[:2])
@pytest.mark.parametrize(("kind", "shape"), [(TinyResNet8, (3, 32, 32)), (TinyMobileNetV1, (3, 96, 96))])
def test_published_networks_give_the_logits_of_the_program(
    kind: Callable[[int], nn.Module], shape: tuple[int, ...], bits: tuple[int, int], tmp_path: Path
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, images = kind(10).eval(), torch.randn(16, *shape)
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
    check_equal(CompressionContext.of(model, images[:8]), bits, images, tmp_path)


OPERATIONS: dict[str, Operation] = {
    "padding at the start alone": lambda net, x: F.relu(net.second(F.relu(F.pad(net.first(x), (1, 0, 2, 0))))),
    "max pooling with padding": lambda net, x: F.max_pool2d(F.relu(net.first(x)), 3, 2, 1),
    "average over windows": lambda net, x: F.avg_pool2d(F.relu(net.first(x)), 2),
    "overlapping windows": lambda net, x: F.avg_pool2d(net.first(x), 3, 2),
    "mean of negative values": lambda net, x: net.first(x).mean((2, 3)),
    "no activation": lambda net, x: net.second(net.first(x)),
    "addition": lambda net, x: F.relu(net.second(net.first(x)) + net.first(x)),
    "relu of codes": lambda net, x: net.second(F.relu(F.avg_pool2d(net.first(x), 2))),
    "concatenation": lambda net, x: torch.cat((F.relu(net.first(x)), net.first(x)), 1),
    "batch norm of codes": lambda net, x: net.norm(F.avg_pool2d(F.relu(net.first(x)), 2)),
}


def around(operation: Operation) -> CompressionContext:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CompressionContext.of(Around(operation), take(IMAGES, slice(16)))


@needs_litert
@pytest.mark.parametrize("bits", WIDTHS[:2])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_an_operation_gives_the_logits_of_the_program(
    operation: Operation, bits: tuple[int, int], tmp_path: Path
) -> None:
    check_equal(around(operation), bits, IMAGES, tmp_path)


@needs_litert
@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (lambda net, x: net.grouped(net.first(x)), "Requantize .* groups of several channels"),
        (lambda net, x: F.hardswish(net.first(x)), "a function other than a ReLU or another clip follows it"),
        (lambda net, x: net.first(x) - net.second(net.first(x)), "a summand is subtracted"),
        (lambda net, x: net.first(x)[:, :, ::2], "there is no rule for Select"),
        (lambda net, x: F.avg_pool2d(net.first(x), 3, 2, 1), "reach into the padding"),
        (lambda net, x: net.first(x) * net.second(net.first(x)), "there is no rule for Multiply"),
    ],
)
def test_what_has_no_operator_is_refused_by_name(operation: Operation, message: str) -> None:
    base = around(operation)
    (reason,) = find_refusals(base, "tflite")
    assert "\n" not in reason
    with pytest.raises(ExportError, match=f"tflite: .*{message}.*; choose --format integer or onnx"):
        raise ExportError(reason)


@needs_litert
def test_built_in_kernels_name_the_same_classes_at_8_bits(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor], tmp_path: Path
) -> None:
    """They round twice, so that codes differ by one."""
    network, _ = made(context("projection"), (8, 8), tmp_path)
    received, expected = received_and_expected(network, images("projection", 200), tmp_path, "built-in")
    assert np.abs(received - expected).max() <= 2
    assert (received.argmax(1) == expected.argmax(1)).mean() >= 0.99


@needs_litert
def test_narrow_weights_are_raised_so_that_rounding_twice_matters_less(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor], tmp_path: Path
) -> None:
    """Without, 13 % of the codes are equal."""
    network, _ = made(context("lenet5_digits"), (2, 2), tmp_path)
    received, expected = received_and_expected(network, images("lenet5_digits", 200), tmp_path, "built-in")
    assert (received == expected).mean() >= 0.95


@needs_litert
def test_codes_are_clipped_wherever_their_grid_lies(
    context: Callable[[str], CompressionContext],
    images: Callable[[str, int], Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shifts = find_shifts
    monkeypatch.setattr(package, "find_shifts", lambda program: {k: v - 10 for k, v in shifts(program).items()})
    check_equal(context("projection"), (4, 5), images("projection", 200), tmp_path)


@needs_litert
def test_the_file_is_int8_and_holds_no_transpose(context: Callable[[str], CompressionContext], tmp_path: Path) -> None:
    schema, litert = load_litert("schema_py_generated"), load_litert("interpreter")
    network, _ = made(context("mixed"), (8, 8), tmp_path)
    graph = schema.ModelT.InitFromPackedBuf(network.content)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    used = {names[code.builtinCode] for code in graph.operatorCodes}
    assert {"CONV_2D", "DEPTHWISE_CONV_2D", "CONCATENATION", "FULLY_CONNECTED", "RESHAPE"} <= used
    assert not {name for name in used if "TRANSPOSE" in name or "QUANTIZE" in name}
    interpreter = litert.Interpreter(model_path=str(tmp_path / "model.tflite"))
    given, returned = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    assert (given["dtype"], given["shape"].tolist()) == (np.int8, [1, 8, 8, 3])
    assert (returned["dtype"], returned["shape"].tolist()) == (np.int8, [1, 5])
    kernel = next(entry for entry in interpreter.get_tensor_details() if entry["name"] == "depthwise.weight")
    assert kernel["quantization_parameters"]["quantized_dimension"] == 3
    assert len(kernel["quantization_parameters"]["scales"]) == 6


@pytest.fixture
def write(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> Callable[[Path], Exported]:
    base, x = context("mixed"), images("mixed", 80)
    candidate = uniform(base.graph, 4, 6)
    with torch.no_grad():
        labels = base.model(x).argmax(1)
    evaluation = Evaluation(number=0, origin="uniform", candidate=candidate, cost=make_cost(), score=None)
    deployment = Deployment(
        point=FrontPoint(name="w4a6", evaluation=evaluation, held_out=MeanScore(value=0.5, num_images=80)),
        model=apply(base, candidate),
        context=base,
        images=x,
        targets=labels,
        score=ACCURACY,
        study="tests",
        device="edge-npu",
    )
    return lambda folder: package.write(deployment, folder)


@needs_litert
def test_an_export_is_complete_and_states_the_scales_of_input_and_output(
    write: Callable[[Path], Exported], tmp_path: Path
) -> None:
    report = write(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["model.tflite", "summary.json"]
    refuse_foreign(list_marks(tmp_path / "out"))
    assert report.verification.agreement == 1.0
    assert report.network_bytes == (tmp_path / "out" / "model.tflite").stat().st_size
    assert "80 of 80 predictions agree with the integer program" in report.summary()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["name"], summary["images"], summary["agreement"]) == ("w4a6", 80, 1.0)
    assert 0.9 < summary["same_classes_with_built_in_kernels"] <= 1.0
    assert summary["inputs"][0]["scale"] > 0
    assert -128 <= summary["output"]["zero_point"] <= 127


@needs_litert
def test_other_predictions_than_the_programs_are_refused(
    write: Callable[[Path], Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "decode_logits", lambda network, codes: -decode_logits(network, codes))
    with pytest.raises(ExportError, match=r"verify: model\.tflite predicts the same class on \d+ of 80 images"):
        write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_a_file_of_someone_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"    TFL3")
    with pytest.raises(ExportError, match=r"model\.tflite: is there and was not written by this version"):
        refuse_foreign(list_marks(tmp_path))


def test_without_the_package_one_line_says_what_to_install(
    write: Callable[[Path], Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("ai_edge_litert.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(ExportError, match=r"tflite takes ai-edge-litert.*pip install ai-edge-litert$") as error:
        write(tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_format_whose_package_is_missing_is_not_foreseen_to_be_refused(
    context: Callable[[str], CompressionContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match="the format tflite takes ai-edge-litert, which is not installed; install it"):
        find_format("tflite", Path("out"))
    assert list_installed() == [name for name in FORMATS if name != "tflite"]
    assert find_all_refusals(context("lenet5_digits")) == ()
