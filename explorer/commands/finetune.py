"""The command that trains members of a finished run's front further."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from explorer.commands.front import show_tuned
from explorer.commands.options import RunFolder, whole_number
from explorer.commands.progress import resumable
from explorer.commands.terminal import command, say
from explorer.errors import SearchError
from explorer.objectives import score_named
from explorer.report.front.files import refuse_foreign_pages, write_pages

if TYPE_CHECKING:
    from explorer.study.record import FrontPoint, Outcome


def finetune(
    folder: RunFolder,
    pick: Annotated[
        str | None,
        typer.Option(help="One member: knee, accurate, cheapest, a point's name or digest.", show_default="knee"),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(parser=whole_number(1), metavar="INTEGER", help="So many members, spread over the front."),
    ] = None,
    whole: Annotated[bool, typer.Option("--all", help="All members of the front.")] = False,
    epochs: Annotated[
        int | None,
        typer.Option(
            parser=whole_number(1, 10_000), metavar="INTEGER", help="Instead of finetuning.epochs of the study."
        ),
    ] = None,
) -> None:
    """Train members of the front further, as they will be deployed; after Ctrl-C the same command goes on."""
    from explorer.study.folder import read_outcome  # noqa: PLC0415

    outcome = read_outcome(folder)
    chosen = _choose(outcome, pick, points, whole=whole)
    refuse_foreign_pages(folder, score_named(outcome.objectives).name)
    with resumable(f"all finished epochs are kept in {folder}") as notify:
        from explorer.study.finetune import tune  # noqa: PLC0415  (imports torch)

        reports = tune(outcome, chosen, folder, epochs, notify)
    for report in reports:
        say(report.summary())
    outcome = read_outcome(folder)
    write_pages(outcome, folder)
    if pick is None and len(chosen) > 1:
        show_tuned(outcome, folder)
        return
    to = folder / "export"
    say(f"next:   {command('export', folder, '--pick', chosen[0].name, '--tuned', '--to', to)}")


def _choose(outcome: Outcome, pick: str | None, points: int | None, *, whole: bool) -> tuple[FrontPoint, ...]:
    from explorer.study.front import pick as pick_point  # noqa: PLC0415
    from explorer.study.front import spread  # noqa: PLC0415

    given = [
        name for name, value in (("--pick", pick), ("--points", points), ("--all", whole or None)) if value is not None
    ]
    if len(given) > 1:
        raise SearchError(f"expected one of --pick, --points and --all, received {' and '.join(given)}")
    front, objectives = outcome.front, outcome.objectives
    if not given or pick is not None or not front:
        return (pick_point(front, objectives, pick or "knee"),)
    return front if points is None else spread(front, objectives, points)
