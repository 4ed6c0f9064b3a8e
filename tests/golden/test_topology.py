"""Shapes read from a topology file against the matrix products that the SCALE-Sim v3 simulator derives."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from hwmodels import read_topology

ROWS = 773
HEADER = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
COLUMNS = ("ifmap_h", "ifmap_w", "filter_h", "filter_w", "channels", "num_filters", "stride")


@pytest.fixture(scope="module")
def simulated() -> list[dict[str, str]]:
    """Every simulated layer: its row of the topology, and M, K and N."""
    repository = Path(__file__).parents[2]
    folder = Path(os.environ.get("EXPLORER_GOLDEN", repository / "../shared/golden"))
    table = folder / "scalesim.csv"
    if not table.is_file():
        pytest.skip(f"no golden data at {table}: set EXPLORER_GOLDEN to the folder that holds scalesim.csv")
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_matrix_products_are_the_simulators(simulated: list[dict[str, str]], tmp_path: Path) -> None:
    lines = [", ".join([row["layer"], *(row[column] for column in COLUMNS)]) + "," for row in simulated]
    (tmp_path / "all.csv").write_text("\n".join([HEADER, *lines]))
    layers = read_topology(tmp_path / "all.csv").layers
    assert len(layers) == ROWS
    theirs = [tuple(int(row[key]) for key in ("M", "K", "N")) for row in simulated]
    assert [(layer.m, layer.k, layer.n) for layer in layers] == theirs
