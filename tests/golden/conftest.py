"""Where published and simulated results are found."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import pytest

Rows = list[dict[str, str]]


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Rows]:
    """Reader of a table of golden data by its file name; tests skip, and say so, where it is not there."""
    repository = Path(__file__).parents[2]
    folder = Path(os.environ.get("EXPLORER_GOLDEN", repository / "../shared/golden"))

    def read(name: str) -> Rows:
        table = folder / name
        if not table.is_file():
            pytest.skip(f"no golden data at {table}: set EXPLORER_GOLDEN to the folder that holds {name}")
        with table.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(line for line in file if not line.startswith("#")))

    return read
