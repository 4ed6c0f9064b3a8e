"""Files of an export are moved to their folder in one order once all are written, or not at all."""

import json
from pathlib import Path

import pytest

from explorer.errors import ExportError
from explorer.export.staging import staged, write_description


def test_what_points_to_a_file_is_moved_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = []
    replace = Path.replace

    def record(path: Path, target: Path) -> Path:
        moved.append(path.name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", record)
    with staged(tmp_path / "new" / "out", ("net.onnx", "summary.json")) as staging:
        assert staging.parent == tmp_path
        for name in ("float32.onnx", "net.onnx", "net.onnx.data", "summary.json"):
            (staging / name).write_text(name)
        assert not (tmp_path / "new").exists()
    assert moved == ["net.onnx.data", "net.onnx", "summary.json"]
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == sorted(moved)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_nothing_is_moved_where_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"out cannot be written: no room; choose another folder"):
        _write_and_fail(tmp_path / "out", OSError("no room"))
    with pytest.raises(KeyError):
        _write_and_fail(tmp_path / "out", KeyError("x"))
    assert list(tmp_path.iterdir()) == []


def _write_and_fail(folder: Path, error: Exception) -> None:
    with staged(folder, ("net.onnx",)) as staging:
        (staging / "net.onnx").write_text("half")
        raise error


def test_a_description_says_by_which_software_it_was_made(tmp_path: Path) -> None:
    write_description(tmp_path / "summary.json", {"name": "p01"})
    data = json.loads((tmp_path / "summary.json").read_text())
    assert list(data) == ["name", "software"]
    assert set(data["software"]) == {"explorer", "python", "torch", "onnx", "onnxruntime", "numpy"}
