"""The table of studies/deep_compression adds up, reaches what the study is for, and the README says what it says."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from explorer.study.study_file import load_study

STUDY = Path(__file__).parents[2] / "studies" / "deep_compression"
PARAMETERS = 61_706
"""Of LeNet-5 (LeCun et al., 1998, with full connections)."""


@pytest.fixture(scope="module")
def table() -> list[dict[str, str]]:
    """The rows of results/sizes.csv."""
    with (STUDY / "results" / "sizes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_file_is_35_times_smaller_with_everything_counted(table: list[dict[str, str]]) -> None:
    *parts, whole = table
    assert int(whole["float32_bytes"]) == 4 * PARAMETERS
    assert sum(int(row["bytes"]) for row in parts) == int(whole["bytes"])
    assert sum(int(row["float32_bytes"]) for row in parts) == 4 * PARAMETERS
    assert 4 * PARAMETERS / int(whole["bytes"]) >= 35


def test_layers_are_as_the_study_file_says(table: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORER_DATA", str(STUDY))
    settings = load_study(STUDY).deep_compression
    for row in table[:-2]:
        convolution = row["layer"].startswith("conv")
        assert int(row["clusters"]) <= settings.values(row["layer"], convolution)
        assert float(row["density"]) <= settings.kept(row["layer"], convolution) + 1 / int(row["weights"])


def test_the_readme_has_the_table_of_the_results(table: list[dict[str, str]]) -> None:
    readme = (STUDY / "README.md").read_text(encoding="utf-8")
    for row in table:
        assert f"| {int(row['bytes']):,} | {int(row['float32_bytes']):,} | {row['ratio']} |" in readme
