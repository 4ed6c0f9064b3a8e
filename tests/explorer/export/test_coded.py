"""Export to one coded file: read back to the very network, its bytes an objective of the search before."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from explorer.cli import app
from explorer.errors import ExportError
from explorer.export.deploy import deploy
from explorer.packed.file import read_packed
from explorer.report.front.tables import write_front_csv
from explorer.study.run import run
from explorer.study.study_file import load_study
from tests.support.tiny import quiet, write_tiny


@pytest.mark.parametrize("quantizer", ["", '[quantizer]\nrounding = "adaptive"\ncompensation = "static"\n'])
def test_a_searched_point_is_stored_in_the_bytes_that_the_front_says(quantizer: str, tmp_path: Path) -> None:
    file = write_tiny(
        tmp_path,
        f'"coded_bytes"]\n[budgets]\ncoded_bytes = 1_000_000\n{quantizer}[space]\nsteps = [0.01, 0.1, "none"]',
        '"weight_memory"]',
    )
    outcome = run(load_study(file), tmp_path / "run", quiet)
    assert outcome.objectives[-1] == "coded_bytes"
    steps = {choice.step for item in outcome.evaluations for choice in item.candidate.layers}
    assert len(steps) > 1
    point = outcome.front[0]
    exported = deploy(outcome, point, tmp_path / "run", tmp_path / "out", quiet, form="coded")
    size = (tmp_path / "out" / "network.bin").stat().st_size
    assert exported.network_bytes == size == point.evaluation.cost.coded_bytes
    assert exported.verification.agreement == 1.0
    assert "the file was read back: equal integers" in exported.summary()
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["coded_bytes"] == size
    write_front_csv(outcome, tmp_path / "front.csv")
    row = next(csv.DictReader((tmp_path / "front.csv").read_text().splitlines()))
    assert int(row["coded_bytes"]) == size
    assert 0 < float(row["coded_bytes_ratio"]) < 2
    content = (tmp_path / "out" / "network.bin").read_bytes()
    (tmp_path / "out" / "network.bin").write_bytes(content[:-9])
    with pytest.raises(ExportError, match=r"network\.bin: its checksum .*; write the network again"):
        read_packed(tmp_path / "out" / "network.bin")
    done = CliRunner().invoke(
        app, ["export", str(tmp_path / "run"), "--to", str(tmp_path / "out"), "--format", "coded"]
    )
    assert done.exit_code == 0
    assert read_packed(tmp_path / "out" / "network.bin").layers
