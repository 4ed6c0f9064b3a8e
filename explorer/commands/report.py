"""The command that writes a finished run's table and page again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.commands.options import RunFolder
from explorer.commands.terminal import say
from explorer.files import PAGE_MARK, refuse_foreign

if TYPE_CHECKING:
    from explorer.study.record import Outcome

FRONT, REPORT = "front.csv", "report.html"


def report(
    folder: RunFolder,
    pick: Annotated[str, typer.Option(help="Point to show first: knee, accurate, cheapest, or a name.")] = "knee",
) -> None:
    """Write front.csv and the standalone report.html of a finished run again."""
    from explorer.study.folder import read_outcome  # noqa: PLC0415

    refuse_foreign_pages(folder)
    write_pages(read_outcome(folder), folder, pick)
    say(f"report: {folder / REPORT}")


def refuse_foreign_pages(folder: Path) -> None:
    """Raise ExportError where a file of the user has the name of one that a run writes."""
    refuse_foreign({folder / REPORT: PAGE_MARK, folder / FRONT: b"name,accuracy_search,"})


def write_pages(outcome: Outcome, folder: Path, pick: str = "knee") -> None:
    """Write the table and the page of a run, which shows the picked point first."""
    from explorer.report.front.page import write_report  # noqa: PLC0415  (imports plotly)
    from explorer.report.front.tables import write_front_csv  # noqa: PLC0415
    from explorer.study.front import pick as pick_point  # noqa: PLC0415

    wanted = outcome.front or pick != "knee"  # an empty front has a report, too, but no point to pick
    chosen = pick_point(outcome.front, outcome.objectives, pick).name if wanted else None
    write_front_csv(outcome, folder / FRONT)
    write_report(outcome, folder / REPORT, chosen)
