"""What every format leaves in a folder says of itself what it is, and runs from its files alone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.compress.apply import CompressionContext
from explorer.errors import ExportError
from explorer.export.formats import FORMATS, Deployment, Exported, FileTypes
from explorer.files import refuse_foreign
from tests.support.deployments import make_deployment, mix_widths

TAKES = {"c": "cc"}
"""Programs that a format takes, beside packages."""


@pytest.fixture(scope="module")
def deployment(context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]) -> Deployment:
    base = context("mixed")
    return make_deployment(base, images("mixed", 60), mix_widths(base))


@pytest.fixture(scope="module", params=FORMATS)
def written(
    request: pytest.FixtureRequest, deployment: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Exported]:
    form = request.param
    if not FORMATS[form].is_installed or (form in TAKES and shutil.which(TAKES[form]) is None):
        pytest.skip(f"{form} takes what is not installed")
    return form, FORMATS[form].load().write(deployment, tmp_path_factory.mktemp(form))


COUNTED = {
    "onnx": ("model.onnx",),
    "integer": ("integer.onnx",),
    "qonnx": ("network.onnx",),
    "pt": ("network.pt", "network.py"),
    "pt2": ("network.pt2",),
    "coded": ("network.bin",),
    "tflite": ("model.tflite",),
    "scalesim": ("topology.csv",),
}
"""The files whose bytes are in the table; that of C has the constants once they are compiled."""
HOLDS = {"coded": r"network\.bin: holds weights to store", "scalesim": r"topology\.csv: holds sizes for a simulator"}
"""What a format that nobody can run has."""
ROW = re.compile(r"\| (.+) \| ([\d,]*) \| ([\d,]*) \|")


def test_the_table_and_the_readme_say_the_bytes_of_the_files(written: tuple[str, Exported]) -> None:
    form, exported = written
    folder, table, readme = exported.files[0].parent, exported.details["bytes"], exported.files[-1].read_text()
    assert {path.name for path in exported.files} == {path.name for path in folder.iterdir()}
    refuse_foreign(FORMATS[form].load().list_marks(folder))  # ours, which may be replaced
    if form == "c":
        assert table["total"][1] == exported.details["constant_bytes"]
        assert 0 < table["weights"][1] <= exported.details["weight_bytes"]
    else:
        assert table["total"][1] == sum((folder / name).stat().st_size for name in COUNTED[form])
    assert table["total"] == [exported.float32_bytes, exported.network_bytes]
    kinds = ("weights", "scales", "biases", "others", "layout")
    assert [sum(table[kind][place] for kind in kinds) for place in (0, 1)] == table["total"]
    assert min(min(table[kind]) for kind in kinds) >= 0
    assert [sum(pair[place] for pair in table["weights_by_layer"].values()) for place in (0, 1)] == table["weights"]
    least = 0 if form in HOLDS else 1  # equal weights take no bits there
    same = int(form == "qonnx")  # whose weights are float32
    assert all(least <= after < before + same for before, after in table["weights_by_layer"].values())
    for name, size in exported.details["files"].items():
        assert size == (folder / name).stat().st_size
        assert re.search(rf"\| `{re.escape(name)}` \| .+ \| {size:,} \|", readme)
    assert all(f"`{path.name}`" in readme for path in exported.files)
    for what, before, after in (row.groups() for row in ROW.finditer(readme[readme.index("## Bytes") :])):
        key = "total" if what == "all bytes" else what
        assert [int(number.replace(",", "")) for number in (before, after)] == table[key]
    assert f"{exported.float32_bytes:,} bytes in float32, {exported.network_bytes:,} exported" in exported.summary()


def test_the_files_alone_give_the_outputs(written: tuple[str, Exported], deployment: Deployment) -> None:
    form, exported = written
    folder, module = exported.files[0].parent, FORMATS[form].load()
    if form in HOLDS:
        with pytest.raises(ExportError, match=rf"{HOLDS[form]}, and no network to run; export the same point in"):
            module.run_files(folder, deployment.images)
        return
    before = {path: path.read_bytes() for path in folder.iterdir()}
    received = module.run_files(folder, deployment.images)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    with torch.no_grad():
        expected = deployment.model(deployment.images).numpy()
    assert received.dtype == np.float32
    assert received.shape == expected.shape
    assert np.abs(received - expected).max() <= 0.02 * np.ptp(expected)
    right = float((received.argmax(1) == deployment.targets.numpy()).mean())
    assert right == pytest.approx(exported.score.value)


def test_what_is_not_there_is_one_line(written: tuple[str, Exported], deployment: Deployment, tmp_path: Path) -> None:
    with pytest.raises(ExportError) as refused:
        FORMATS[written[0]].load().run_files(tmp_path, deployment.images)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("inputs", "outputs"), [("uint8", "float32"), ("float32", "uint8")])
def test_a_file_of_other_types_is_read_as_its_summary_says(
    inputs: str, outputs: str, deployment: Deployment, tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_litert")
    form = FORMATS["tflite"].load()
    form.write(replace(deployment, types=FileTypes(inputs=inputs, outputs=outputs)), tmp_path / "other")
    form.write(deployment, tmp_path / "int8")
    received, expected = (form.run_files(tmp_path / name, deployment.images) for name in ("other", "int8"))
    assert np.allclose(received, expected, atol=1e-6)
