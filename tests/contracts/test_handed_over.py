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
from explorer.compress.candidate import uniform
from explorer.errors import ExportError
from explorer.export.artefact import open_artefact
from explorer.export.formats import FORMATS, Deployment, Exported, FileTypes
from explorer.export.tflite.network import build
from explorer.files import refuse_foreign
from explorer.integer.interpret import run_program
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
HOLDS = {"coded", "scalesim"}
"""What nobody can run."""
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


def test_the_files_alone_give_the_outputs(
    written: tuple[str, Exported], deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    form, exported = written
    folder = exported.files[0].parent
    if not FORMATS[form].loader:
        with pytest.raises(ExportError, match="holds no network of an export"):
            open_artefact(folder)
        return
    artefact, table = open_artefact(folder), exported.details["bytes"]
    assert artefact.stored.by_kind() == {kind: table[kind][1] for kind in artefact.stored.by_kind()}
    if form in HOLDS:
        assert artefact.run is None
        return
    assert artefact.run is not None
    before = {path: path.read_bytes() for path in folder.iterdir()}
    received = artefact.run(deployment.images)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    with torch.no_grad():
        expected = deployment.model(deployment.images).numpy()
    assert received.dtype == np.float32
    assert received.shape == expected.shape
    assert np.abs(received - expected).max() <= 0.02 * np.ptp(expected)
    right = float((received.argmax(1) == deployment.targets.numpy()).mean())
    assert right == pytest.approx(exported.score.value)


@pytest.mark.parametrize(
    ("inputs", "outputs"), [("int8", "int8"), ("int8", "int16"), ("uint8", "float32"), ("float32", "uint8")]
)
def test_codes_below_a_narrow_grid_are_clipped_whatever_their_type(
    inputs: str, outputs: str, context: Callable[[str], CompressionContext], tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_litert")
    base = context("mixed")
    far = 3 * torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    deployment = make_deployment(base, far, uniform(base.graph, 8, 4))
    types = FileTypes(inputs=inputs, outputs=outputs)
    FORMATS["tflite"].load().write(replace(deployment, types=types), tmp_path)
    run, network = open_artefact(tmp_path).run, build(deployment.model, base, types=types)
    assert run is not None
    expected = run_program(network.program, (far.numpy(),)) * network.logits.scale
    assert np.allclose(run(far), expected, atol=1e-6)
