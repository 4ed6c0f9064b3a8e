"""An export of C is complete, checked on all images, and leaves nothing behind when it fails."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from explorer.compress.apply import CompressionContext, apply
from explorer.compress.candidate import uniform
from explorer.errors import ExportError
from explorer.evaluate.mean_score import MeanScore
from explorer.evaluate.score import ACCURACY
from explorer.export import verify
from explorer.export.c import compiled, package
from explorer.export.deploy import find_refusals
from explorer.export.formats import Deployment, Exported
from explorer.files import refuse_foreign
from explorer.integer.interpret import run_program
from explorer.integer.lower import lower_program
from explorer.study.record import Evaluation, FrontPoint
from tests.support.compiled_c import needs_cc
from tests.support.costs import make_cost

NAMES = ["README.md", "main.c", "net.c", "net.h", "summary.json"]


@pytest.fixture
def write(
    context: Callable[[str], CompressionContext], images: Callable[[str, int], Tensor]
) -> Callable[[Path], Exported]:
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
    return lambda folder: package.write(deployment, folder)


@needs_cc
def test_the_files_compile_and_do_as_they_say(
    write: Callable[[Path], Exported],
    context: Callable[[str], CompressionContext],
    images: Callable[[str, int], Tensor],
    tmp_path: Path,
) -> None:
    exported, folder = write(tmp_path / "new" / "out"), tmp_path / "new" / "out"
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    refuse_foreign(package.list_marks(folder))  # ours, which may be replaced
    header, summary = (folder / "net.h").read_text(), json.loads((folder / "summary.json").read_text())
    defined = dict(re.findall(r"#define (NET_\w+) (\S+)", header))
    scale, zero_point, low, high = (
        float(defined[f"NET_INPUT_{key}"].removesuffix("f")) for key in ("SCALE", "ZERO_POINT", "LOW", "HIGH")
    )
    x = images("mixed", 6).numpy()
    codes = np.clip(np.rint(x / np.float32(scale)) + zero_point, low, high).astype(np.uint8)
    given = np.ascontiguousarray(codes.transpose(0, 2, 3, 1))
    assert given[0].size == int(defined["NET_INPUT_SIZE"])
    subprocess.run(["cc", "-std=c99", "net.c", "main.c", "-o", "net"], cwd=folder, check=True)
    done = subprocess.run([folder / "net"], input=given.tobytes(), capture_output=True, check=True)
    program = lower_program(apply(context("mixed"), uniform(context("mixed").graph, 4, 6)), x.shape[1:])
    expected = run_program(program, x)
    assert np.array_equal(np.frombuffer(done.stdout, np.int32).reshape(6, -1), expected)
    assert float(defined["NET_OUTPUT_SCALE"].removesuffix("f")) == np.float32(program.output_scale)
    assert (summary["arena_bytes"], summary["images_with_equal_integers"]) == (int(defined["NET_ARENA_SIZE"]), 80)
    assert exported.network_bytes == summary["constant_bytes"] > summary["weight_bytes"] > 0
    assert "all integers of 80 images are the integer program's" in exported.summary()


@needs_cc
def test_other_integers_are_refused_and_nothing_is_left(
    write: Callable[[Path], Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(verify, "run_program", lambda program, x: run_program(program, x) + 1)
    with pytest.raises(ExportError, match=r"net\.c gives the integers of the program on 0 of 80 images alone; please"):
        write(tmp_path / "out")
    monkeypatch.setattr(compiled, "FLAGS", (*compiled.FLAGS, "-DNET_RUN", "-Werror=traditional"))
    with pytest.raises(ExportError, match=r"cc refuses the source: .*; please report this") as refused:
        write(tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_without_a_compiler_one_line_says_so(
    write: Callable[[Path], Exported],
    context: Callable[[str], CompressionContext],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match=r"there is no C compiler `cc` here; install one \(gcc or clang\), or choose"):
        write(tmp_path / "out")
    assert find_refusals(context("mixed"), "c") == (str(_catch(write, tmp_path)),)
    assert list(tmp_path.iterdir()) == []


def _catch(write: Callable[[Path], Exported], folder: Path) -> ExportError:
    with pytest.raises(ExportError) as refused:
        write(folder / "out")
    return refused.value
