"""The tables of a comparison's README, from its CSV files: python studies/tables.py studies/pruning/results/*

For every scope and state a table of criteria by level: percent of the search images right, and in parentheses how many
points the focus is ahead (+) or behind (-), with its standard error, bold where that is more than two of them.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

STATES = {
    "uncorrected": "not corrected",
    "recalibrated": "batch norms recalibrated",
    "fine_tuned": "fine-tuned",
}
SCOPES = {
    "layer": "the same share of every layer",
    "global": "one ranking of all layers",
    "global_normalised": "one ranking of all layers, normalised",
}
Row = dict[str, str]


def readme_tables(folder: Path) -> list[str]:
    """The lines for a folder with points.csv and differences.csv, titles included."""
    points, differences = _rows(folder / "points.csv"), _rows(folder / "differences.csv")
    compared = {(row["scope"], row["state"], row["level"], row["criterion"]): row for row in differences}
    focus = differences[0]["focus"]
    lines: list[str] = []
    for scope, state in dict.fromkeys((row["scope"], row["state"]) for row in points if row["scope"]):
        here = [row for row in points if (row["scope"], row["state"]) == (scope, state)]
        levels = list(dict.fromkeys(row["level"] for row in here))
        cells = {
            (row["criterion"], row["level"]): _cell(row, compared.get((scope, state, row["level"], row["criterion"])))
            for row in here
        }
        lines += [f"{SCOPES[scope][0].upper()}{SCOPES[scope][1:]}, {STATES[state]}:", ""]
        lines += [f"| criterion | {' | '.join(levels)} |", f"|{'---|' * (len(levels) + 1)}"]
        for criterion in _by_accuracy(here, focus):
            name = f"**{criterion}**" if criterion == focus else criterion
            lines.append(f"| {name} | {' | '.join(cells.get((criterion, level), '') for level in levels)} |")
        lines.append("")
    return lines


def _by_accuracy(rows: Sequence[Row], focus: str) -> list[str]:
    """The criteria of these rows, the focus first, then by falling mean accuracy."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["criterion"], []).append(float(row["accuracy"]))
    return sorted(found, key=lambda name: (name != focus, -sum(found[name]) / len(found[name])))


def _cell(point: Row, difference: Row | None) -> str:
    accuracy = f"{100 * float(point['accuracy']):.1f}"
    if difference is None:
        return f"{accuracy} ±{100 * float(point['standard_error']):.1f}"
    ahead = f"{100 * float(difference['difference']):+.1f} ±{100 * float(difference['standard_error']):.1f}"
    return f"{accuracy} ({ahead})" if difference["verdict"] == "ties" else f"{accuracy} (**{ahead}**)"


def _rows(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Print the tables of the folders that are named."""
    parser = argparse.ArgumentParser(description="Print the tables of a comparison's README.")
    parser.add_argument("results", nargs="+", type=Path, help="folders with points.csv and differences.csv")
    for folder in parser.parse_args().results:
        print(f"### {folder.name}\n")
        print("\n".join(readme_tables(folder)))


if __name__ == "__main__":
    main()
