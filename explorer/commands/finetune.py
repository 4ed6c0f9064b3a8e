"""The command that trains a point of a finished run's front further."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from explorer.commands.terminal import command, console, errors, say

INTERRUPTED = 130


def _epochs(text: str) -> int:
    """A number of epochs, as in a study file."""
    if not text.strip().isdecimal() or not 1 <= int(text) <= 10_000:
        raise typer.BadParameter(f"expected a whole number in 1..10000, received {text!r}")
    return int(text)


def finetune(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    pick: Annotated[str, typer.Option(help="knee, accurate, cheapest, a point's name or digest.")] = "knee",
    epochs: Annotated[
        int | None, typer.Option(parser=_epochs, metavar="INTEGER", help="Instead of finetuning.epochs of the study.")
    ] = None,
) -> None:
    """Train a point of the front further, as it will be deployed; after Ctrl-C the same command goes on."""
    from explorer.commands.progress import ProgressDisplay  # noqa: PLC0415
    from explorer.study.folder import read_outcome  # noqa: PLC0415
    from explorer.study.front import pick as pick_point  # noqa: PLC0415

    outcome = read_outcome(folder)
    point = pick_point(outcome.front, outcome.objectives, pick)
    try:
        with ProgressDisplay(console) as notify:
            from explorer.study.finetune import tune  # noqa: PLC0415  (imports torch)

            report = tune(outcome, point, folder, epochs, notify)
    except KeyboardInterrupt:
        errors.print(f"interrupted: all finished epochs are kept in {folder}; the same command goes on")
        raise typer.Exit(INTERRUPTED) from None
    say(report.summary())
    to = folder / "export"
    say(f"next:   {command('export', folder, '--pick', point.name, '--tuned', '--to', to)}")
