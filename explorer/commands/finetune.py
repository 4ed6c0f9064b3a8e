"""The command that trains a point of a finished run's front further."""

from __future__ import annotations

from typing import Annotated

import typer

from explorer.commands.options import Pick, RunFolder, whole_number
from explorer.commands.progress import resumable
from explorer.commands.terminal import command, say


def finetune(
    folder: RunFolder,
    pick: Pick = "knee",
    epochs: Annotated[
        int | None,
        typer.Option(
            parser=whole_number(1, 10_000), metavar="INTEGER", help="Instead of finetuning.epochs of the study."
        ),
    ] = None,
) -> None:
    """Train a point of the front further, as it will be deployed; after Ctrl-C the same command goes on."""
    from explorer.study.folder import read_outcome  # noqa: PLC0415
    from explorer.study.front import pick as pick_point  # noqa: PLC0415

    outcome = read_outcome(folder)
    point = pick_point(outcome.front, outcome.objectives, pick)
    with resumable(f"all finished epochs are kept in {folder}") as notify:
        from explorer.study.finetune import tune  # noqa: PLC0415  (imports torch)

        report = tune(outcome, point, folder, epochs, notify)
    say(report.summary())
    to = folder / "export"
    say(f"next:   {command('export', folder, '--pick', point.name, '--tuned', '--to', to)}")
