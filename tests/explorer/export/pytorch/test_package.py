"""network.pt and network.py: run where there is no explorer, as large as is said, and refused where they differ."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from explorer.compress.apply import CompressionContext
from explorer.errors import ExportError
from explorer.export.formats import Deployment, Exported
from explorer.export.pytorch import package
from explorer.files import refuse_foreign
from tests.support.deployments import make_deployment, mix_widths


@pytest.fixture(scope="module")
def deployment(context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]) -> Deployment:
    base = context("mixed")
    return make_deployment(base, images("mixed", 80), mix_widths(base))


@pytest.fixture(scope="module")
def exported(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return package.write(deployment, tmp_path_factory.mktemp("pt"))


def test_outputs_are_equal_where_there_is_no_explorer(exported: Exported, deployment: Deployment) -> None:
    folder = exported.files[0].parent
    assert {path.name for path in folder.iterdir()} == {"network.pt", "network.py", "summary.json", "README.md"}
    refuse_foreign(package.list_marks(folder))  # ours, which may be replaced
    assert exported.details["equal_outputs"] == 1.0
    assert exported.verification.agreement == 1.0
    assert "import explorer" not in (folder / "network.py").read_text()
    found = package.run_alone(folder, deployment.images[:3])
    with torch.no_grad():
        assert torch.equal(torch.from_numpy(found), deployment.model(deployment.images[:3]))


def test_the_byte_table_is_what_the_files_hold(exported: Exported) -> None:
    folder = exported.files[0].parent
    table = json.loads((folder / "summary.json").read_text())["bytes"]
    sizes = [(folder / name).stat().st_size for name in ("network.pt", "network.py")]
    assert table["total"][1] == sum(sizes) == exported.network_bytes
    assert table["total"][0] == exported.float32_bytes
    kinds = ("weights", "scales", "biases", "others", "layout")
    assert [sum(table[kind][place] for kind in kinds) for place in (0, 1)] == table["total"]
    with zipfile.ZipFile(folder / "network.pt") as archive:
        stored = sum(entry.file_size for entry in archive.infolist() if "/data/" in entry.filename)
    assert sum(table[kind][1] for kind in kinds[:-1]) == stored
    assert sum(after for _, after in table["weights_by_layer"].values()) == table["weights"][1]
    assert f"| all bytes | {exported.float32_bytes:,} | {sum(sizes):,} |" in (folder / "README.md").read_text()
    assert f"{table['weights'][1]:,}" in exported.summary()


def test_what_torch_alone_cannot_run_is_refused(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "write_source", lambda model, widths, title: "import explorer\n")
    with pytest.raises(ExportError, match=r"network\.py cannot be run with torch alone: .*explorer.*; choose another"):
        package.write(deployment, tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "network.pt").write_bytes(b"PK")
    with pytest.raises(ExportError, match=r"network\.pt: is there and was not written by this version"):
        refuse_foreign(package.list_marks(tmp_path))
