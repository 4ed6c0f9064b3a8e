"""An export is complete, says what was built, and leaves nothing behind when it fails."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto
from torch import fx, nn

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import Candidate, LayerChoice, uniform
from explorer.errors import ExportError
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import ACCURACY
from explorer.export.formats import Deployment, Exported
from explorer.export.onnx import package
from explorer.export.onnx.file import count_onnx_bytes
from explorer.export.onnx.package import list_marks, write
from explorer.files import refuse_foreign
from explorer.graph.inputs import Inputs
from explorer.study.record import Evaluation, FrontPoint
from tests.support.costs import make_cost

IMAGES = torch.randn(100, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(100) % 10
CANDIDATE = Candidate(
    layers=(
        LayerChoice(layer="0", weight_bits=6, activation_bits=8, codebook_size=5),
        LayerChoice(layer="5", weight_bits=4, activation_bits=3),
    ),
    filter_keep_ratio=(("0", 0.5),),
)
POINT = FrontPoint(
    name="p03",
    evaluation=Evaluation(
        number=17,
        origin="seed knapsack",
        candidate=CANDIDATE,
        cost=make_cost(energy_uj=1.5, latency_ms=0.2, latency_cycles=2000, weight_bytes=321),
        score=MeanScore(value=0.9, num_images=50),
    ),
    held_out=MeanScore(value=0.8, num_images=100),
)


@pytest.fixture(scope="module")
def context() -> CompressionContext:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    found = CompressionContext.of(network, IMAGES)
    return replace(found, order={group.name: tuple(reversed(group.classes)) for group in found.graph.prunable})


@pytest.fixture(scope="module")
def model(context: CompressionContext) -> fx.GraphModule:
    return apply(context, CANDIDATE)


def export(context: CompressionContext, model: fx.GraphModule, folder: Path, images: int = 100) -> Exported:
    deployment = Deployment(
        point=POINT,
        model=model,
        context=context,
        images=IMAGES[:images],
        targets=LABELS[:images],
        score=ACCURACY,
        study="digits",
        device="edge-npu",
    )
    return write(deployment, folder)


def test_report_measures_what_was_written(context: CompressionContext, model: fx.GraphModule, tmp_path: Path) -> None:
    report = export(context, model, tmp_path / "new" / "p03")
    assert sorted(path.name for path in report.files[0].parent.iterdir()) == [
        "README.md",
        "configuration.json",
        "model.onnx",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    refuse_foreign(list_marks(tmp_path / "new" / "p03"))  # ours, which may be replaced
    assert report.network_bytes == count_onnx_bytes(report.files[0])
    assert report.float32_bytes > 4 * context.graph.weights
    assert report.details["weight_bytes"] == 321
    assert report.verification.agreeing >= 99
    assert report.score.num_images == 100
    assert f"{report.float32_bytes:,} bytes in float32, {report.network_bytes:,} exported" in report.summary()


def test_configuration_says_what_was_built(context: CompressionContext, model: fx.GraphModule, tmp_path: Path) -> None:
    report = export(context, model, tmp_path)
    data = json.loads(report.files[1].read_text())
    assert (data["schema_version"], data["study"], data["device"]) == (1, "digits", "edge-npu")
    assert Candidate.from_json(data["candidate"]) == CANDIDATE
    assert data["candidate_digest"] == CANDIDATE.digest()
    assert data["cost"]["weight_bytes"] == 321
    assert data["accuracy"]["held_out"]["standard_error"] == POINT.held_out.standard_error
    assert data["network"]["sha256"] == hashlib.sha256(report.files[0].read_bytes()).hexdigest()
    assert set(data["software"]) == {"explorer", "python", "torch", "onnx", "onnxruntime", "numpy"}
    conv, linear = data["layers"]["0"], data["layers"]["5"]
    assert conv["kept_filter_indices"] == [4, 5, 6, 7]  # the order keeps the last filters first
    assert conv["kept_input_indices"] == [0]
    assert linear["kept_input_indices"] == list(range(64, 128))
    assert linear["kept_filter_indices"] == list(range(10))
    codes = model.get_submodule("0").get_buffer("weight_codes")
    assert conv["codebook_codes"] == sorted(set(codes.flatten().tolist()))
    assert linear["codebook_codes"] is None
    assert (conv["pattern"], linear["pattern"]) == (None, None)
    rebuilt = codes.float() * torch.tensor(conv["weight_scales"])[:, None, None, None]
    assert torch.allclose(rebuilt, model.get_submodule("0").get_parameter("weight"), rtol=1e-6)
    assert (conv["weight_bits"], linear["input"]["bits"]) == (6, 3)
    assert linear["input"] in data["activation_quantizers"].values()


def test_kept_filters_are_those_of_the_float_network(
    context: CompressionContext, model: fx.GraphModule, tmp_path: Path
) -> None:
    report = export(context, model, tmp_path)
    kept = json.loads(report.files[1].read_text())["layers"]["5"]["kept_input_indices"]
    full = context.model.get_submodule("5").get_parameter("weight")[:, kept]
    assert (full - model.get_submodule("5").get_parameter("weight")).abs().mean() < 0.1 * full.abs().mean()


def test_failed_verification_leaves_nothing(context: CompressionContext, model: fx.GraphModule, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no images"):
        export(context, model, tmp_path / "new" / "p03", images=0)
    assert list(tmp_path.iterdir()) == []


def test_earlier_export_is_replaced_only_on_success(
    context: CompressionContext, model: fx.GraphModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("README.md", "configuration.json", "model.onnx", "notes.txt"):
        (tmp_path / name).write_text("earlier")
    with monkeypatch.context() as patch:
        patch.setattr("explorer.export.verify.MINIMUM_AGREEMENT", 1.01)
        with pytest.raises(ExportError, match="less than 101%"):
            export(context, model, tmp_path)
    names = ["README.md", "configuration.json", "model.onnx", "notes.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert all(path.read_text() == "earlier" for path in tmp_path.iterdir())
    export(context, model, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "notes.txt").read_text() == "earlier"
    assert (tmp_path / "model.onnx").read_bytes() != b"earlier"


def test_folder_that_is_a_file_is_refused(context: CompressionContext, model: fx.GraphModule, tmp_path: Path) -> None:
    (tmp_path / "p03").write_text("a file")
    with pytest.raises(ExportError, match=r"p03 cannot be written: .*choose another folder"):
        export(context, model, tmp_path / "p03")
    assert [path.name for path in tmp_path.iterdir()] == ["p03"]


def test_the_byte_table_is_what_the_file_holds(
    context: CompressionContext, model: fx.GraphModule, tmp_path: Path
) -> None:
    report = export(context, model, tmp_path)
    table = json.loads((tmp_path / "configuration.json").read_text())["network"]["bytes"]
    assert table["total"] == [report.float32_bytes, (tmp_path / "model.onnx").stat().st_size]
    stored = onnx.load(tmp_path / "model.onnx").graph.initializer
    kinds = ("weights", "scales", "biases", "others")
    assert sum(table[kind][1] for kind in kinds) == sum(len(tensor.raw_data) for tensor in stored)
    assert sum(table[kind][1] for kind in (*kinds, "layout")) == table["total"][1]
    codes = {tensor.name: len(tensor.raw_data) for tensor in stored if tensor.name.endswith("/weight_codes")}
    assert sorted(after for _, after in table["weights_by_layer"].values()) == sorted(codes.values())
    assert table["weights"][0] == 4 * context.graph.weights


@pytest.mark.parametrize("refused", [2, 4])
def test_widths_that_the_runtime_does_not_run_are_promoted_and_said(
    refused: int, context: CompressionContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = apply(context, uniform(context.graph, refused, 8))

    def run(path: Path, images: Inputs, *, exact: bool) -> None:
        kinds = {tensor.data_type for tensor in onnx.load(path).graph.initializer}
        if kinds & {getattr(TensorProto, f"INT{bits}") for bits in (2, 4) if bits <= refused}:
            raise ExportError("it does not run this")

    monkeypatch.setattr(package, "run_onnx", run)
    report = export(context, narrow, tmp_path)
    wider = {2: 4, 4: 8}[refused]
    told = f"runs no INT{refused}: weights of {refused} bits are stored as INT{wider}"
    assert told in report.summary()
    assert told in (tmp_path / "README.md").read_text()
    stored = {tensor.data_type for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer}
    assert getattr(TensorProto, f"INT{wider}") in stored
    assert getattr(TensorProto, f"INT{refused}") not in stored
