"""The command that trains members of a finished run's front further."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from explorer.commands.front import show_tuned
from explorer.commands.options import RunFolder, choosing, whole_number
from explorer.commands.progress import resumable
from explorer.commands.terminal import command, say
from explorer.errors import SearchError
from explorer.objectives import score_named
from explorer.report.front.files import refuse_foreign_pages, write_pages
from explorer.study.requirements import Requirements

if TYPE_CHECKING:
    from explorer.study.record import FrontPoint, Outcome


@choosing
def finetune(
    folder: RunFolder,
    wanted: Requirements,
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
    """Train members of the front further, as they will be deployed; after Ctrl-C the same command goes on.

    Without options that is the recommended one, by scores before tuning. A member that was tuned before keeps the
    tuning of less loss on the training images held aside; where that cannot be told, nothing is tuned.
    """
    from explorer.study.choose import recommend  # noqa: PLC0415
    from explorer.study.folder import read_outcome  # noqa: PLC0415

    outcome = read_outcome(folder)
    chosen = _choose(outcome, wanted, points, whole=whole)
    refuse_foreign_pages(folder, score_named(outcome.objectives).name)
    with resumable(f"all finished epochs are kept in {folder}") as notify:
        from explorer.study.finetune import tune  # noqa: PLC0415  (imports torch)

        reports = tune(outcome, chosen, folder, epochs, notify)
    for report in reports:
        say(report.summary())
    outcome = read_outcome(folder)
    write_pages(outcome, folder)
    if len(chosen) > 1:
        show_tuned(outcome, folder, recommend(outcome))
        return
    to = folder / "export"
    say(f"next:   {command('export', folder, '--pick', chosen[0].name, '--tuned', '--to', to)}")


def _choose(outcome: Outcome, wanted: Requirements, points: int | None, *, whole: bool) -> tuple[FrontPoint, ...]:
    from explorer.study.choose import choose  # noqa: PLC0415
    from explorer.study.front import spread  # noqa: PLC0415

    is_stated = wanted != Requirements()
    single = "requirements" if is_stated and wanted.pick is None else "--pick"
    stated = ((single, is_stated), ("--points", points is not None), ("--all", whole))
    given = [name for name, is_given in stated if is_given]
    if len(given) > 1:
        raise SearchError(f"expected one of {single}, --points and --all, received {' and '.join(given)}")
    front, objectives = outcome.front, outcome.objectives
    if is_stated or not given or not front:
        chosen = choose(outcome, wanted, tuned=False)
        say(f"chosen: {chosen.describe()}")
        return (chosen.point,)
    return front if points is None else spread(front, objectives, points)
