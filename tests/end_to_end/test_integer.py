"""Integer deployment from the command line: of a point of a search, and of a study without one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from explorer.export.formats import FORMATS
from explorer.export.integer.package import read_program
from explorer.study.folder import read_outcome

FILES = {"README.md", "integer.onnx", "program.json", "weights.npz", "summary.json"}


def test_a_point_of_the_front(home: Path, explorer: Callable[..., Any]) -> None:
    assert explorer("run", "tiny", "--out", "run").code == 0
    said = explorer("export", "run", "--to", "out", "--pick", "p01", "--format", "integer")
    assert (said.code, said.err) == (0, "")
    assert {path.name for path in (home / "out").iterdir()} == FILES
    summary = json.loads((home / "out" / "summary.json").read_text())
    (point,) = (point for point in read_outcome(home / "run").front if point.name == "p01")
    assert summary["candidate"] == point.evaluation.candidate.to_json()
    assert abs(summary["accuracy"]["value"] - point.held_out.value) <= 0.01
    assert f"{summary['onnx_bytes']:,} exported (" in said.out
    assert "; 100 of 100 predictions agree (" in said.out
    with np.load(home / "tiny" / "images.npz") as archive:
        images, labels = archive["x_test"], archive["y_test"]
    session = onnxruntime.InferenceSession(home / "out" / "integer.onnx")
    (logits,) = session.run(None, {"images": images})
    assert logits.dtype == np.int32
    assert (logits.argmax(1) == labels).mean() > 0.7
    assert [entry.shape for entry in read_program(home / "out").inputs] == [(1, 8, 8)]


def test_without_a_search(home: Path, explorer: Callable[..., Any]) -> None:
    said = explorer("compress", "tiny", "--preset", "integer", "--to", "out")
    assert (said.code, said.err) == (0, "")
    assert {path.name for path in (home / "out").iterdir()} >= FILES
    assert json.loads((home / "out" / "summary.json").read_text())["name"] == "w8a8"
    assert "w8a8, " in said.out


def test_an_unknown_format(home: Path, explorer: Callable[..., Any]) -> None:
    assert explorer("run", "tiny", "--out", "run").code == 0
    (home / "mine").mkdir()
    (home / "mine" / "weights.npz").write_text("of another program")
    said = explorer("export", "run", "--to", "mine", "--format", "integer")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "mine/weights.npz: is there and was not written by this version of explorer" in said.err
    said = explorer("export", "run", "--to", "out", "--format", "float")
    assert (said.code, said.err) == (2, f"error: export: unknown format 'float'; choose one of {', '.join(FORMATS)}\n")
    assert not (home / "out").exists()
