"""The files that a finished run leaves in its folder: front.csv and report.html."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from explorer.files import PAGE_MARK, refuse_foreign
from explorer.objectives import SCORE

if TYPE_CHECKING:
    from explorer.study.choose import ChosenNetwork
    from explorer.study.record import Outcome

FRONT, REPORT = "front.csv", "report.html"


def refuse_foreign_pages(folder: Path, score: str = SCORE.name) -> None:
    """Raise ExportError where a file of the user has the name of one that a run writes, whose score is so called."""
    refuse_foreign({folder / REPORT: PAGE_MARK, folder / FRONT: f"name,{score}_search,".encode()})


def write_pages(outcome: Outcome, folder: Path, chosen: ChosenNetwork | None = None) -> None:
    """Write the table and the page of a run, which mark the chosen network, or the recommended one."""
    from explorer.report.front.page import write_report  # noqa: PLC0415  (takes numpy)
    from explorer.report.front.tables import write_front_csv  # noqa: PLC0415

    write_front_csv(outcome, folder / FRONT, chosen)
    write_report(outcome, folder / REPORT, chosen)
