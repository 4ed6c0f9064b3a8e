"""The command that writes a finished run's table and page again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from explorer.commands.options import RunFolder, choosing
from explorer.commands.terminal import say
from explorer.objectives import score_named
from explorer.report.front.files import REPORT, refuse_foreign_pages, write_pages
from explorer.study.requirements import Requirements


@choosing
def report(
    folder: RunFolder,
    wanted: Requirements,
    optuna: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write all evaluations for Optuna's dashboard, choices as parameters, too."),
    ] = None,
) -> None:
    """Write front.csv and the standalone report.html of a finished run again.

    Both mark the network that is chosen, on which the page opens: without options the recommended one.
    """
    from explorer.study.choose import choose  # noqa: PLC0415
    from explorer.study.folder import read_outcome  # noqa: PLC0415

    outcome = read_outcome(folder)
    refuse_foreign_pages(folder, score_named(outcome.objectives).name)
    opened = choose(outcome, wanted) if outcome.front or wanted != Requirements() else None
    if optuna is not None:
        from explorer.report.front.optuna_study import write_optuna_study  # noqa: PLC0415  (imports optuna)

        write_optuna_study(outcome, optuna)
    write_pages(outcome, folder, opened)
    if opened is not None:
        say(f"opens on: {opened.describe()}")
    say(f"report: {folder / REPORT}")
    if optuna is not None:
        say(f"next:   optuna-dashboard {shlex.quote(str(optuna))}")
