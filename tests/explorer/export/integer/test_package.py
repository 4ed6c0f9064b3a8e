"""An integer deployment is complete, can be read back, and leaves nothing behind when it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.errors import ExportError
from explorer.evaluate.hardware import cost
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import ACCURACY
from explorer.evaluate.weight_entropy import WeightEntropies
from explorer.export import verify
from explorer.export.formats import Deployment, Exported
from explorer.export.integer import package as integer_package
from explorer.export.integer.package import list_marks, read_program
from explorer.export.verify import run_onnx
from explorer.files import refuse_foreign
from explorer.integer.interpret import run_program
from explorer.study.record import Evaluation, FrontPoint
from hwmodels import LayerJob, LayerShape, NetworkError, evaluate, load, names, read_onnx, read_onnx_jobs, write_jobs
from tests.support.costs import make_cost

NAMES = ["README.md", "integer.onnx", "program.json", "summary.json", "weights.npz"]


@pytest.fixture
def write(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> Callable[[Path], Exported]:
    base, x = context("mixed"), images("mixed", 80)
    candidate = uniform(base.graph, 4, 6)
    model = apply(base, candidate)
    with torch.no_grad():
        labels = base.model(x).argmax(1)
    evaluation = Evaluation(number=0, origin="uniform", candidate=candidate, cost=make_cost(), score=None)
    point = FrontPoint(name="w4a6", evaluation=evaluation, held_out=MeanScore(value=0.5, num_images=80))
    deployment = Deployment(
        point=point,
        model=model,
        context=base,
        images=x,
        targets=labels,
        score=ACCURACY,
        study="tests",
        device="edge-npu",
    )
    return lambda folder: integer_package.write(deployment, folder)


def test_files_hold_one_and_the_same_network(
    write: Callable[[Path], Exported], images: Callable[[str, int], Tensor], tmp_path: Path
) -> None:
    report = write(tmp_path / "new" / "out")
    folder = report.files[0].parent
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    refuse_foreign(list_marks(folder))  # ours, which may be replaced
    x = images("mixed", 10)
    program = read_program(folder)
    assert np.array_equal(run_program(program, x.numpy()), run_onnx(folder / "integer.onnx", x))
    weights = sum(array.nbytes for name, array in program.arrays.items() if name.endswith(".weight"))
    assert weights == sum(array.size for name, array in program.arrays.items() if name.endswith(".weight"))
    assert report.network_bytes == (folder / "integer.onnx").stat().st_size > weights
    assert report.details["program_bytes"] == sum(
        (folder / name).stat().st_size for name in ("program.json", "weights.npz")
    )
    assert report.verification.agreement >= 0.99
    assert report.score.value == pytest.approx(report.details["simulated_accuracy"]["value"], abs=0.02)
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["name"], summary["study"], summary["onnx_bytes"]) == ("w4a6", "tests", report.network_bytes)
    assert f"{report.float32_bytes:,} bytes in float32, {report.network_bytes:,} exported" in report.summary()


def test_the_file_costs_what_the_network_does_that_it_was_made_of(
    write: Callable[[Path], Exported], context: Callable[[str], CompressionContext], tmp_path: Path
) -> None:
    write(tmp_path)
    graph = context("mixed").graph
    read = read_onnx_jobs(tmp_path / "integer.onnx")
    assert read.states_widths
    assert read_onnx(tmp_path / "integer.onnx") == read.network
    entropies = WeightEntropies(context("mixed")).of_candidate(uniform(graph, 4, 6))
    for device in map(load, names()):
        received = evaluate(read.jobs, device, read.network.tensors)
        expected = cost(graph, uniform(graph, 4, 6), device, entropies)
        assert received == expected, device.name


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (None, "does not record its layers, from which alone its costs follow: export it once more"),
        ("{", "property 'layers': the recorded layers cannot be read .JSONDecodeError"),
        (
            '{"jobs": [{"shape": {"name": "a"}}], "tensors": []}',
            "property 'layers': the recorded layers cannot be read",
        ),
        (
            '{"jobs": [], "tensors": []}',
            "property 'layers': network 'integer': expected at least one layer, received none",
        ),
        (
            write_jobs([LayerJob(shape=LayerShape(name="a", kind="linear", in_channels=1, out_channels=1))]),
            "records 1 layers with products, but the file holds [2-9]: it has been changed since",
        ),
    ],
)
def test_a_file_that_does_not_record_its_layers_has_no_costs(
    layers: str | None, message: str, write: Callable[[Path], Exported], tmp_path: Path
) -> None:
    """Its operations alone would be priced as other layers than the network has."""
    write(tmp_path)
    path = tmp_path / "integer.onnx"
    model = onnx.load_model(path)
    kept = {entry.key: entry.value for entry in model.metadata_props if entry.key != "layers"}
    onnx.helper.set_model_props(model, kept if layers is None else {**kept, "layers": layers})
    onnx.save_model(model, path)
    with pytest.raises(NetworkError, match=message):
        read_onnx_jobs(path)


def test_other_integers_than_the_programs_are_refused(
    write: Callable[[Path], Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*NAMES, "notes.txt"):
        (tmp_path / name).write_text("earlier")
    with monkeypatch.context() as patch:
        patch.setattr(verify, "run_program", lambda program, x: run_program(program, x) + 1)
        with pytest.raises(ExportError, match=r"integer\.onnx gives the integers of the program on 0 of 32 images"):
            write(tmp_path)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"earlier"}
    write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*NAMES, "notes.txt"])
    assert (tmp_path / "notes.txt").read_text() == "earlier"


def test_a_folder_that_holds_no_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"holds no integer program .FileNotFoundError.* write one with: explorer ex"):
        read_program(tmp_path)
    (tmp_path / "program.json").write_text("{}")
    with pytest.raises(ExportError, match="holds no integer program"):
        read_program(tmp_path)


def test_a_file_in_place_of_the_folder_is_named(write: Callable[[Path], Exported], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ExportError, match="out cannot be written"):
        write(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
