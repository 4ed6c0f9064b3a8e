"""Puts the tables of comparisons into the READMEs of their studies: python -m studies.tables [STUDY...].

They stand behind the heading "## Tables", for each folder of results, and for every scope and state of it, criteria by
level: percent of the search images right, and in parentheses how many points the focus is ahead (+) or behind (-),
with its standard error, bold where a 95 % interval tells it from 0.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

from explorer.files import replaced

HERE = Path(__file__).resolve().parent
STUDIES = ("pruning", "weight_sharing", "mixed_precision", "steps")
HEADING = "\n## Tables\n"

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
EXPLANATION = (
    "Percent of the search images right; in parentheses how many points the focus, in the first row, is ahead (+) or\n"
    "behind (-), with the standard error of that, bold where a 95 % interval tells it from 0. Columns are levels."
)
Row = dict[str, str]


def with_tables(text: str, results: Path) -> str:
    """Return the text of a README with the tables of all folders in `results`.

    Raises:
        ValueError: Where it has no place for them.
    """
    if HEADING not in text:
        raise ValueError(f"README.md of {results.parent.name}: there is no heading {HEADING.strip()!r}")
    folders = sorted(file.parent for file in results.glob("*/points.csv"))
    lines = [line for folder in folders for line in readme_tables(folder)]
    return "\n".join([text.partition(HEADING)[0] + HEADING, EXPLANATION, "", *lines]).rstrip() + "\n"


def readme_tables(folder: Path) -> list[str]:
    """Return the lines for a folder with points.csv and differences.csv, titles included."""
    points, differences = _rows(folder / "points.csv"), _rows(folder / "differences.csv")
    compared = {(row["scope"], row["state"], row["level"], row["criterion"]): row for row in differences}
    focus = differences[0]["focus"]
    whole = next(row for row in points if row["criterion"] == "float")
    given = f"In float {_cell(whole, None)} % of the {whole['images']} images are right."
    lines = [f"### {folder.name}", "", given, ""]
    places = tuple(dict.fromkeys((row["scope"], row["state"]) for row in points if row["scope"]))
    for scope, state in places:
        here = [row for row in points if (row["scope"], row["state"]) == (scope, state)]
        levels = list(dict.fromkeys(row["level"] for row in here))
        cells = {
            (row["criterion"], row["level"]): _cell(row, compared.get((scope, state, row["level"], row["criterion"])))
            for row in here
        }
        title = STATES[state] if len({scope for scope, _ in places}) == 1 else f"{SCOPES[scope]}, {STATES[state]}"
        lines += [f"{title[0].upper()}{title[1:]}:", ""]
        lines += [f"| criterion | {' | '.join(levels)} |", f"|{'---|' * (len(levels) + 1)}"]
        for criterion in _by_accuracy(here, focus):
            name = f"**{criterion}**" if criterion == focus else criterion
            lines.append(f"| {name} | {' | '.join(cells.get((criterion, level), '') for level in levels)} |")
        lines.append("")
    return lines


def _by_accuracy(rows: Sequence[Row], focus: str) -> list[str]:
    """Return the criteria of these rows, the focus first, then by falling mean accuracy."""
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
    """Put the tables into the READMEs of the studies that are named, all by default."""
    parser = argparse.ArgumentParser(description="Put the tables of comparisons into the READMEs of their studies.")
    parser.add_argument("studies", nargs="*", default=STUDIES, help=f"of {', '.join(STUDIES)}; all by default")
    for study in parser.parse_args().studies:
        readme = HERE / study / "README.md"
        text = with_tables(readme.read_text(encoding="utf-8"), HERE / study / "results")
        with replaced(readme) as file:
            file.write(text.encode())


if __name__ == "__main__":
    main()
