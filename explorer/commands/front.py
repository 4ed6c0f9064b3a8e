"""The command that prints a finished run: its front, how far it can be trusted, and what may come next."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.commands.options import RunFolder, choosing
from explorer.commands.terminal import command, console, say
from explorer.errors import SearchError
from explorer.export.formats import DEFAULT_FORMAT, list_installed
from explorer.objectives import score_named
from explorer.study.requirements import Requirements

if TYPE_CHECKING:
    from explorer.study.choose import ChosenNetwork
    from explorer.study.record import Outcome


@choosing
def front(
    folder: RunFolder,
    wanted: Requirements,
    after_tuning: Annotated[
        bool, typer.Option("--after-tuning", help="By what an epoch of tuning would make of all that was evaluated.")
    ] = False,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Order by a column of front.csv, the best first: scores and marks descending."
        ),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the table of front.csv alone, as CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Print the front of a finished run, next to the float and the uniform 8-bit network.

    The network that is chosen is marked: without options the recommended one.
    """
    from explorer.study.folder import read_outcome  # noqa: PLC0415

    if as_csv and as_json:
        raise SearchError("expected one of --csv and --json, received both")
    outcome = read_outcome(folder)
    if after_tuning:
        outcome = tune_front(outcome, folder)
    if as_csv or as_json:
        print_table(outcome, wanted, sort, as_json=as_json)
    elif after_tuning:
        show_after_tuning(outcome, wanted, sort)
    else:
        show(outcome, folder, wanted, sort)


def print_table(outcome: Outcome, wanted: Requirements, sort: str | None, *, as_json: bool) -> None:
    """Print the table of front.csv and nothing else, for a pipe; its chosen network is the recommended one."""
    from explorer.report.front.tables import build_front_frame, format_csv, format_json, sort_front  # noqa: PLC0415
    from explorer.study.choose import choose  # noqa: PLC0415

    frame = build_front_frame(outcome, choose(outcome, wanted) if wanted != Requirements() else None)
    frame = frame if sort is None else sort_front(frame, sort, score_named(outcome.objectives).name)
    sys.stdout.write(f"{format_json(frame)}\n" if as_json else format_csv(frame))


def order_front(outcome: Outcome, sort: str | None) -> Outcome:
    """Return an outcome with its front in the order of a column, if any."""
    if sort is None:
        return outcome
    from explorer.report.front.tables import build_front_frame, sort_front  # noqa: PLC0415

    frame = sort_front(build_front_frame(outcome), sort, score_named(outcome.objectives).name)
    return replace(outcome, front=tuple(outcome.front[place] for place in frame.index))


def tune_front(outcome: Outcome, folder: Path) -> Outcome:
    """Return an outcome with the front that there would be after tuning."""
    from explorer.study.after_tuning import find_front_after_tuning  # noqa: PLC0415

    try:
        return replace(outcome, front=find_front_after_tuning(outcome))
    except SearchError as error:
        raise SearchError(f"{folder}: {error}") from None


def say_end(outcome: Outcome) -> bool:
    """Say why a search ended before its last trial; False where it did not."""
    ended = outcome.provenance.get("search ended")
    if ended:
        say(f"search ended {ended}")
    return bool(ended)


def show_after_tuning(outcome: Outcome, wanted: Requirements, sort: str | None) -> None:
    """Print the front of a run by scores after tuning, most of which are predicted."""
    from explorer.report.front.tables import MEASURED, build_after_tuning_table  # noqa: PLC0415
    from explorer.study.choose import choose  # noqa: PLC0415

    chosen = choose(outcome, wanted)
    console.print(build_after_tuning_table(order_front(outcome, sort)))
    say(f"{MEASURED} was tuned for an epoch, and scored then; the others are predicted from these")
    say(f"costs are those before tuning; {outcome.provenance['beacons']}")
    say(f"{chosen.called}: {chosen.describe()}")


def show(
    outcome: Outcome,
    folder: Path,
    wanted: Requirements = Requirements(),  # noqa: B008  (a value)
    sort: str | None = None,
) -> None:
    """Print the front of the run in `folder` next to its baselines, and what a reader could take wrongly."""
    from explorer.study.choose import choose  # noqa: PLC0415

    chosen = choose(outcome, wanted) if outcome.front or wanted != Requirements() else None
    show_front(order_front(outcome, sort), chosen)
    show_tuned(outcome, folder, chosen)
    if not outcome.front:
        say("the front is empty: no candidate kept the budgets; relax [budgets] and run into another folder")


def show_front(outcome: Outcome, chosen: ChosenNetwork | None) -> None:
    """Print a front next to its baselines, the chosen network marked, and what is to be said of it."""
    from explorer.report.front.marks import MARKS  # noqa: PLC0415
    from explorer.report.front.tables import build_front_table  # noqa: PLC0415
    from explorer.report.front.views import list_front_points, list_remarks  # noqa: PLC0415

    console.print(build_front_table(outcome, chosen))
    signs = "".join(point.mark for point in list_front_points(outcome, chosen))
    for sign, meaning in MARKS.items():
        if sign in signs:
            say(f"{sign} {meaning}")
    if outcome.front and all(point.held_out.num_images for point in outcome.front):
        console.print(_selection(outcome), highlight=False)
    for line in list_remarks(outcome):
        say(line)


def show_tuned(outcome: Outcome, folder: Path, chosen: ChosenNetwork | None) -> None:
    """Print what fine-tuning made of members of the front, which network is chosen, and what may come next."""
    from explorer.report.front.tables import build_tuned_table  # noqa: PLC0415
    from explorer.study.choose import KNEE, choose  # noqa: PLC0415

    if any(point.tuned is not None for point in outcome.front):
        console.print(build_tuned_table(outcome, chosen))
    say(f"report: {folder / 'report.html'}")
    if chosen is None:
        return
    middle = choose(outcome, Requirements(pick=KNEE))
    say(f"knee: {middle.name}, {middle.tell_loss()}")
    say(f"{chosen.called}: {chosen.describe()}")
    if not chosen.is_close:
        say(f"training further may help: {command('finetune', folder, '--points', '8')}")
    refused = {name for name, _ in outcome.refused_exports}
    works = [name for name in list_installed() if name not in refused]
    if works:
        form = () if works[0] == DEFAULT_FORMAT else ("--format", works[0])
        tuned = ("--tuned",) if chosen.tuned else ()
        name = chosen.point.name
        say(f"next:   {command('export', folder, '--pick', name, *tuned, *form, '--to', folder / 'export')}")


def _selection(outcome: Outcome) -> str:
    """Say how far the front owes its score to the images that chose it."""
    from explorer.study.front import selection_gap, still_undominated  # noqa: PLC0415

    stays = sum(still_undominated(outcome.front, outcome.objectives))
    gap = 100.0 * selection_gap(outcome.front, outcome.baselines)
    return (
        f"Compared with the float network, the front does {abs(gap):.1f} points {'better' if gap >= 0 else 'worse'} on "
        f"the search images, which chose it, than on the held-out ones; {stays} of {len(outcome.front)} points would "
        "also be on the front of the held-out images"
        f"{_tell_ties(sum(bool(point.tied_with) for point in outcome.front))}."
    )


def _tell_ties(count: int) -> str:
    return f", and {count} cost more than another without being shown to be better there" if count else ""
