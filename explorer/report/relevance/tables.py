"""The relevance of a network's layers as a terminal table, and of its filters as a CSV file."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.markup import escape
from rich.table import Table

from explorer.files import write_csv
from explorer.report.relevance.views import RelevanceView

COLUMNS = ("layer", "filter", "group", "score", "share")
"""Columns of the CSV file; `share` is that of the network's relevance, of |score|."""


def build_layer_table(view: RelevanceView) -> Table:
    """Return a row for each layer."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("\nlayer")
    for heading in ("\nfilters", "share of\nnetwork %", "highest\nscore", "mean\nscore", "in top\nquarter %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in view.layers:
        table.add_row(
            escape(layer.name),
            str(len(layer.scores)),
            f"{100 * layer.share:.1f}",
            f"{layer.highest:.4g}",
            f"{layer.mean:.4g}",
            f"{100 * layer.concentration:.0f}",
        )
    return table


def write_filters_csv(view: RelevanceView, path: Path) -> None:
    """Write a row for each filter, with the columns of `COLUMNS` and nine significant digits, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    total = sum(abs(score) for layer in view.layers for score in layer.scores)
    rows = (
        (layer.name, index, group, f"{score:.9g}", f"{abs(score) / total if total else 0.0:.9g}")
        for layer in view.layers
        for index, (score, group) in enumerate(zip(layer.scores, layer.groups, strict=True))
    )
    write_csv(path, COLUMNS, rows)
