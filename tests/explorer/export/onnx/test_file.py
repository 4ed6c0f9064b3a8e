"""ONNX files appear whole or not at all, and their external data counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from explorer.errors import ExportError
from explorer.export.onnx import file as onnx_file
from explorer.export.onnx.file import count_onnx_bytes, list_external_files, save_onnx
from explorer.export.onnx.qdq import build_qdq
from explorer.export.verify import run_onnx
from explorer.graph.canonical import canonicalise


@pytest.fixture
def model() -> onnx.ModelProto:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 10))
    return build_qdq(canonicalise(network, torch.randn(2, 1, 8, 8)), (1, 8, 8))


def test_external_data_is_counted(model: onnx.ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = save_onnx(model, tmp_path / "inside.onnx")
    monkeypatch.setattr(onnx_file, "EXTERNAL_DATA_BYTES", 1000)
    size = save_onnx(model, tmp_path / "outside.onnx")
    names = ["inside.onnx", "outside.onnx", "outside.onnx.data"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert size == sum((tmp_path / name).stat().st_size for name in names[1:])
    assert count_onnx_bytes(tmp_path / "outside.onnx") == size
    assert size >= 4 * (64 * 30 + 30 * 10)
    assert inside == count_onnx_bytes(tmp_path / "inside.onnx")
    loaded = onnx.load_model(tmp_path / "outside.onnx", load_external_data=False)
    assert list_external_files(loaded) == ("outside.onnx.data",)
    images = torch.randn(3, 1, 8, 8)
    first, second = (run_onnx(tmp_path / name, images) for name in names[:2])
    np.testing.assert_array_equal(first, second)


def test_refused_network_leaves_the_earlier_file(model: onnx.ModelProto, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"earlier")
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ExportError, match=r"onnx\.checker refuses the network"):
        save_onnx(model, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == b"earlier"
    assert len(list(tmp_path.iterdir())) == 1


def test_missing_folder_is_named(model: onnx.ModelProto, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"missing cannot be written: .*choose another folder"):
        save_onnx(model, tmp_path / "missing" / "model.onnx")
