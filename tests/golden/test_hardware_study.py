"""The tables of studies/hardware are in its README, and say what the README says of them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from studies.hardware.compare import readme_tables

STUDY = Path(__file__).parents[2] / "studies" / "hardware"
TABLES = ("levers", "choices", "layers", "transfers", "pool")
Tables = dict[str, list[dict[str, str]]]


@pytest.fixture(scope="module")
def tables() -> Tables:
    """The rows of results/*.csv."""
    found = {}
    for name in TABLES:
        with (STUDY / "results" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            found[name] = list(csv.DictReader(file))
    return found


def test_the_readme_has_the_tables_of_the_results(tables: Tables) -> None:
    readme = (STUDY / "README.md").read_text(encoding="utf-8").splitlines()
    for line in readme_tables(tables):
        assert line in readme


def test_every_choice_keeps_what_it_promises(tables: Tables) -> None:
    best = max(float(row["accuracy_search"]) for row in tables["choices"])
    for row in tables["choices"]:
        assert float(row["accuracy_search"]) >= best - float(row["loss"]) - 0.01
        assert float(row["energy_ratio"]) <= 1.0


def test_what_saves_depends_on_the_device(tables: Tables) -> None:
    """The reason for all differences: which change to the 8-bit network a device rewards."""
    saved = {(row["device"], row["change"]): float(row["energy_ratio"]) for row in tables["levers"]}
    assert 0.7 < saved["gap9_ne16", "4-bit weights"] < 0.8
    assert saved["gap9_ne16", "4-bit activations"] > 0.95
    assert saved["ethos_u55_128", "2-bit weights"] < 0.5 < saved["ethos_u55_128", "4-bit weights"] < 0.7
    assert saved["ethos_u55_128", "4-bit activations"] > 0.9
    assert saved["bitfusion", "4-bit activations"] < 0.7 < saved["bitfusion", "4-bit weights"]
    assert saved["stm32h7a3", "4-bit weights and activations"] > 0.999
    assert min(value for (device, _), value in saved.items() if device == "edge_tpu") > 0.97
    assert all(saved[device, "half of the filters"] < 0.65 for device in ("gap9_ne16", "ethos_u55_128", "stm32h7a3"))


def test_devices_choose_what_they_reward(tables: Tables) -> None:
    mean: dict[tuple[str, str], list[float]] = {}
    for row in tables["choices"]:
        for key in ("mean_weight_bits", "mean_activation_bits"):
            mean.setdefault((row["device"], key), []).append(float(row[key]))
    narrow_weights = max(*mean["gap9_ne16", "mean_weight_bits"], *mean["ethos_u55_128", "mean_weight_bits"])
    assert narrow_weights < min(mean["stm32h7a3", "mean_weight_bits"])
    others = {device for device, _ in mean} - {"bitfusion"}
    narrow_activations = max(mean["bitfusion", "mean_activation_bits"])
    assert narrow_activations < min(min(mean[device, "mean_activation_bits"]) for device in others)
