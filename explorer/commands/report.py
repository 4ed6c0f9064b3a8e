"""The command that writes a finished run's table and page again."""

from __future__ import annotations

from typing import Annotated

import typer

from explorer.commands.options import RunFolder
from explorer.commands.terminal import say
from explorer.objectives import score_named
from explorer.report.front.files import REPORT, refuse_foreign_pages, write_pages


def report(
    folder: RunFolder,
    pick: Annotated[str, typer.Option(help="Point to show first: knee, accurate, cheapest, or a name.")] = "knee",
) -> None:
    """Write front.csv and the standalone report.html of a finished run again."""
    from explorer.study.folder import read_outcome  # noqa: PLC0415

    outcome = read_outcome(folder)
    refuse_foreign_pages(folder, score_named(outcome.objectives).name)
    write_pages(outcome, folder, pick)
    say(f"report: {folder / REPORT}")
