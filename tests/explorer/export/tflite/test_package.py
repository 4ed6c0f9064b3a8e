"""What an export writes beside the file, what it says of it, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.errors import ExportError
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import ACCURACY
from explorer.export.deploy import find_all_refusals, find_format
from explorer.export.formats import FORMATS, Deployment, Exported, FileTypes, list_installed
from explorer.export.tflite import package, verify
from explorer.export.tflite.package import list_marks
from explorer.export.tflite.run import run_tflite
from explorer.files import refuse_foreign
from explorer.study.record import Evaluation, FrontPoint
from tests.support.costs import make_cost
from tests.support.litert import needs_litert


@pytest.fixture
def write(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> Callable[..., Exported]:
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
    return lambda folder, **types: package.write(replace(deployment, types=FileTypes(**types)), folder)


@needs_litert
def test_an_export_is_complete_and_states_the_scales_of_input_and_output(
    write: Callable[..., Exported], tmp_path: Path
) -> None:
    report = write(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "model.tflite", "summary.json"]
    refuse_foreign(list_marks(tmp_path / "out"))
    assert report.verification.agreement == 1.0
    assert report.network_bytes == (tmp_path / "out" / "model.tflite").stat().st_size
    assert "80 of 80 predictions and 100.00% of all output integers are the integer program's" in report.summary()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["name"], summary["images"], summary["agreement"]) == ("w4a6", 80, 1.0)
    assert summary["equal_output_integers"] == 1.0
    assert 0.9 < summary["agreement_with_built_in_kernels"] <= 1.0
    assert 0.9 < summary["agreement_with_simulation"] <= 1.0
    assert (summary["inputs"][0]["name"], summary["inputs"][0]["type"]) == ("images", "int8")
    assert summary["inputs"][0]["scale"] > 0
    assert -128 <= summary["output"]["logits_zero_point"] <= 127


@needs_litert
def test_the_summary_says_which_types_were_chosen(write: Callable[..., Exported], tmp_path: Path) -> None:
    report = write(tmp_path, inputs="float32", outputs="uint8", pack_int4=True)
    assert report.verification.agreement == 1.0
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["inputs"][0]["type"], summary["output"]["type"]) == ("float32", "uint8")
    assert summary["packed_int4"] is True


@needs_litert
def test_other_predictions_than_the_programs_are_refused(
    write: Callable[..., Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "run_tflite", lambda *arguments: -1 - run_tflite(*arguments))
    with pytest.raises(ExportError, match=r"verify: model\.tflite gives the classes .* on \d+ of 80 images"):
        write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_a_file_of_someone_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"    TFL3")
    with pytest.raises(ExportError, match=r"model\.tflite: is there and was not written by this version"):
        refuse_foreign(list_marks(tmp_path))


def test_without_the_package_one_line_says_what_to_install(
    write: Callable[..., Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    assert list_installed() == [name for name, exporter in FORMATS.items() if exporter.requires is None]
    assert find_all_refusals(context("lenet5_digits")) == ()
