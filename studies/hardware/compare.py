"""The tables and drawings of this study, from a folder with one finished run for each device and seed.

python -m studies.hardware.compare RUNS --to studies/hardware/results

Prints the README's tables to standard output.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from explorer.comparison.devices import choose_networks, find_levers, pool_choices, price_transfers, read_runs
from explorer.errors import ExplorerError
from explorer.files import replaced
from explorer.report.devices import charts, tables
from explorer.report.devices.tables import Row
from explorer.report.svg import draw_grids, draw_plots

LOSSES = (0.01, 0.03)
"""Shares of the search images by which a choice may be worse than the float network."""


def compare(folders: Sequence[Path], to: Path) -> dict[str, list[Row]]:
    """Read the runs, write every table and drawing to a folder, which is created, and return the tables by name."""
    runs = read_runs(folders, lambda *_: None)
    chosen = choose_networks(runs.runs, LOSSES)
    moved = price_transfers(runs, chosen)
    pools = [(device, loss, ratio) for loss in LOSSES for device, ratio in pool_choices(runs, loss).items()]
    written: dict[str, list[Row]] = {
        "levers": tables.list_levers(find_levers(runs)),
        "choices": tables.list_choices(chosen),
        "layers": tables.list_layers(chosen),
        "transfers": tables.list_transfers(moved),
        "pool": [{"device": device, "loss": loss, "energy_ratio": ratio} for device, loss, ratio in pools],
    }
    drawings = {
        "fronts": draw_plots(charts.plot_fronts(runs.runs), "What each device's search found"),
        "transfers": draw_grids(
            charts.build_transfer_grids(moved),
            "Energy of the network chosen for one device (rows) on another (columns), relative to that one's own",
        ),
    }
    for loss in LOSSES:
        of_loss = [choice for choice in chosen if choice.loss == loss]
        caption = f"The cheapest network of each front, {charts.describe_allowance(loss)}"
        drawings[f"choices_{100 * loss:g}"] = draw_grids(charts.build_decision_grids(of_loss), caption)
    to.mkdir(parents=True, exist_ok=True)
    for name, rows in written.items():
        tables.write_rows(rows, to / f"{name}.csv")
    for name, text in drawings.items():
        with replaced(to / f"{name}.svg") as file:
            file.write(text.encode())
    return written


def readme_tables(tables: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return the lines of the README's tables, from rows as they are or as they are read from their files."""
    chosen = [
        *("loss", "device", "seed", "accuracy_search", "accuracy_held_out", "energy_ratio", "latency_ratio"),
        *("weight_ratio", "macs_ratio", "mean_weight_bits", "mean_activation_bits", "filter_keep_ratio"),
    ]
    return [
        *_crossed(tables["levers"], ["change"], "device"),
        "",
        *_lines([[_cell(row, name) for name in chosen] for row in tables["choices"]], chosen),
        "",
        *_crossed(tables["transfers"], ["loss", "chosen_for", "seed"], "run_on"),
    ]


def _crossed(rows: Sequence[Row], keys: Sequence[str], across: str) -> list[str]:
    """Return energy and latency with a line for each value of the keys, and a column for each value of `across`."""
    columns = list(dict.fromkeys(str(row[across]) for row in rows))
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        pair = f"{_cell(row, 'energy_ratio')}, {_cell(row, 'latency_ratio')}"
        found.setdefault(tuple(_cell(row, key) for key in keys), {})[str(row[across])] = pair
    return _lines(
        [[*key, *(pairs.get(name, "") for name in columns)] for key, pairs in found.items()], [*keys, *columns]
    )


def _lines(cells: Sequence[Sequence[str]], columns: Sequence[str]) -> list[str]:
    head = [f"| {' | '.join(name.removesuffix('_ratio').replace('_', ' ') for name in columns)} |"]
    return [*head, f"|{'---|' * len(columns)}", *(f"| {' | '.join(row)} |" for row in cells)]


def _cell(row: Row, name: str) -> str:
    value = row[name]
    form = next((form for part, form in FORMS.items() if part in name), str)
    return form(value) if value not in {None, ""} else ""


def _percent(value: object) -> str:
    return f"{100 * float(str(value)):.0f} %"


FORMS: dict[str, Callable[[object], str]] = {
    "loss": lambda value: f"{100 * float(str(value)):g}",
    "accuracy": lambda value: f"{100 * float(str(value)):.1f}",
    "ratio": _percent,
    "kept": _percent,
    "mean": lambda value: f"{float(str(value)):.1f}",
}
"""Part of a column's name -> how its values are written."""


def main() -> None:
    """Read the command line; what is wrong with the runs is one line, and exit code 2."""
    parser = argparse.ArgumentParser(description="Compare the runs of several devices.")
    parser.add_argument("runs", metavar="RUNS", type=Path, help="folder, each folder in which is a finished run")
    parser.add_argument("--to", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    try:
        tables = compare(sorted(path for path in arguments.runs.glob("*") if path.is_dir()), arguments.to)
    except ExplorerError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print("\n".join(readme_tables(tables)))


if __name__ == "__main__":
    main()
