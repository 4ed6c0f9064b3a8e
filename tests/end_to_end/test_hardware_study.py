"""studies/hardware in small: a tiny network searched for two devices, and compared by the study's own script.

Also what studies/cost_models keeps of such searches.
"""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from explorer.comparison.devices import read_runs
from explorer.report.devices.tables import write_rows
from studies.cost_models.candidates import list_candidates, read_candidates
from studies.hardware.compare import compare

STUDY = Path(__file__).parents[2] / "studies" / "hardware"
DEVICES = ("bit_serial_16x16", "stm32h7a3", "ethos_u55_128")
SPACE = "[space]\nweight_bits = [3, 4, 8]\nactivation_bits = [8]\nfilter_keep_ratio = [0.5, 0.75, 1.0]\n[search]"
Row = dict[str, str]


@pytest.fixture
def results(home: Path, explorer: Callable[..., Any]) -> Path:
    """The folder with what the script makes of a run for each device."""
    file = home / "tiny" / "study.toml"
    text = file.read_text().replace('"weight_memory"', '"latency"').replace("[search]", SPACE)
    file.write_text(text.replace("trials = 6", "trials = 16").replace("seeds = 3", "seeds = 12"))
    for device in DEVICES:
        assert explorer("run", "tiny", "--device", device, "--out", f"runs/{device}").code == 0
    refused = explorer("run", "tiny", "--device", DEVICES[1], "--out", f"runs/{DEVICES[0]}")
    assert refused.code == 2
    assert "holds the results of another study (device.profile was" in refused.err
    compare(sorted((home / "runs").iterdir()), home / "results")
    return home / "results"


def rows(file: Path) -> list[Row]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def test_two_devices_are_compared(results: Path) -> None:
    chosen = {(row["device"], row["loss"]): row for row in rows(results / "choices.csv")}
    serial, micro, coded = (chosen[device, "0.03"] for device in DEVICES)
    assert float(serial["energy_ratio"]) < 1
    # Bits are time on one of them, and nothing on the other.
    assert float(serial["mean_weight_bits"]) < float(micro["mean_weight_bits"])
    assert float(coded["mean_weight_bits"]) < float(micro["mean_weight_bits"])
    saved = {(row["device"], row["change"]): float(row["energy_ratio"]) for row in rows(results / "levers.csv")}
    assert saved["bit_serial_16x16", "4-bit weights"] < 0.95
    assert saved["stm32h7a3", "4-bit weights"] > 0.99
    assert saved["ethos_u55_128", "4-bit weights"] < 0.95  # in bytes of 8 bits, but coded
    own = [row for row in rows(results / "transfers.csv") if row["chosen_for"] == row["run_on"]]
    assert {row["energy_ratio"] for row in own} == {"1"}
    assert all(float(row["energy_ratio"]) <= 1 for row in rows(results / "pool.csv"))
    layers = [row for row in rows(results / "layers.csv") if row["loss"] == "0.03"]
    assert len(layers) == 3 * 3
    names = {path.name for path in results.glob("*.svg")}
    assert names == {"fronts.svg", "transfers.svg", "choices_1.svg", "choices_3.svg"}
    for path in results.glob("*.svg"):
        shown = " ".join(element.text or "" for element in ET.parse(path).iter())
        assert "16x16" in shown, path.name


def test_every_network_that_was_scored_is_kept_once(results: Path) -> None:
    folders = sorted((results.parent / "runs").iterdir())
    runs = read_runs(folders, lambda *_: None)
    write_rows(list_candidates(folders), results / "candidates.csv")
    kept = read_candidates(results / "candidates.csv", runs.graph)
    scored = {
        item.candidate.digest(): item.score.value
        for run in runs.runs
        for item in run.outcome.evaluations
        if item.score is not None
    }
    assert len(kept) == len(scored) > 16
    assert {item.candidate.digest(): item.accuracy for item in kept} == pytest.approx(scored)
