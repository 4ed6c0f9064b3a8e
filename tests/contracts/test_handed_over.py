"""What every format leaves in a folder says of itself what it is, and runs from its files alone."""

from __future__ import annotations

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


def test_the_files_alone_give_the_outputs(written: tuple[str, Exported], deployment: Deployment) -> None:
    form, exported = written
    folder, module = exported.files[0].parent, FORMATS[form].load()
    if form == "coded":
        with pytest.raises(ExportError, match=r"network\.bin: holds weights to store, and no network to run; export"):
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
