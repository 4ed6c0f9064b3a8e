"""The command that prints a finished run: its front, how far it can be trusted, and what may come next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.commands.options import RunFolder
from explorer.commands.terminal import command, console, say
from explorer.errors import SearchError
from explorer.export.formats import DEFAULT_FORMAT, list_installed

if TYPE_CHECKING:
    from explorer.study.recommend import Recommendation
    from explorer.study.record import Outcome


def front(
    folder: RunFolder,
    after_tuning: Annotated[
        bool, typer.Option("--after-tuning", help="By what an epoch of tuning would make of all that was evaluated.")
    ] = False,
) -> None:
    """Print the front of a finished run, next to the float and the uniform 8-bit network."""
    from explorer.study.folder import read_outcome  # noqa: PLC0415

    outcome = read_outcome(folder)
    if after_tuning:
        show_after_tuning(outcome, folder)
    else:
        show(outcome, folder)


def say_end(outcome: Outcome) -> bool:
    """Say why a search ended before its last trial; False where it did not."""
    ended = outcome.provenance.get("search ended")
    if ended:
        say(f"search ended {ended}")
    return bool(ended)


def show_after_tuning(outcome: Outcome, folder: Path) -> None:
    """Print the front of a run by scores after tuning, most of which are predicted."""
    from explorer.report.front.tables import MEASURED, build_after_tuning_table  # noqa: PLC0415
    from explorer.study.after_tuning import find_front_after_tuning  # noqa: PLC0415

    try:
        found = find_front_after_tuning(outcome)
    except SearchError as error:
        raise SearchError(f"{folder}: {error}") from None
    console.print(build_after_tuning_table(replace(outcome, front=found)))
    say(f"{MEASURED} was tuned for an epoch, and scored then; the others are predicted from these")
    say(f"costs are those before tuning; {outcome.provenance['beacons']}")


def show(outcome: Outcome, folder: Path) -> None:
    """Print the front of the run in `folder` next to its baselines, and what a reader could take wrongly."""
    show_front(outcome)
    show_tuned(outcome, folder)
    if not outcome.front:
        say("the front is empty: no candidate kept the budgets; relax [budgets] and run into another folder")


def show_front(outcome: Outcome) -> None:
    """Print a front next to its baselines, and what is to be said of it."""
    from explorer.report.front.tables import build_front_table  # noqa: PLC0415
    from explorer.report.front.views import MARKS, list_front_points, list_remarks  # noqa: PLC0415

    console.print(build_front_table(outcome))
    signs = "".join(point.mark for point in list_front_points(outcome))
    for sign, meaning in MARKS.items():
        if sign in signs:
            say(f"{sign} {meaning}")
    if outcome.front and all(point.held_out.num_images for point in outcome.front):
        console.print(_selection(outcome), highlight=False)
    for line in list_remarks(outcome):
        say(line)


def show_tuned(outcome: Outcome, folder: Path) -> None:
    """Print what fine-tuning made of members of the front, which network is recommended, and what may come next."""
    from explorer.report.front.tables import build_tuned_table  # noqa: PLC0415
    from explorer.study.front import knee  # noqa: PLC0415
    from explorer.study.recommend import compute_loss, recommend  # noqa: PLC0415

    if any(point.tuned is not None for point in outcome.front):
        console.print(build_tuned_table(outcome))
    say(f"report: {folder / 'report.html'}")
    best = recommend(outcome)
    if best is None:
        return
    middle = knee(outcome.front, outcome.objectives)
    say(f"knee:   {middle.name}, {tell_loss(compute_loss(outcome, middle))}")
    say(f"recommended: {best.name}, {tell_loss(best.loss)}: {_reason(best, folder)}")
    refused = {name for name, _ in outcome.refused_exports}
    works = [name for name in list_installed() if name not in refused]
    if works:
        form = () if works[0] == DEFAULT_FORMAT else ("--format", works[0])
        tuned = ("--tuned",) if best.tuned else ()
        say(f"next:   {command('export', folder, '--pick', best.point.name, *tuned, *form, '--to', folder / 'export')}")


def tell_loss(loss: float) -> str:
    """Return how far a score on search images is from the float network's, in words."""
    return f"{100.0 * abs(loss):.1f} points {'below' if loss >= 0 else 'above'} the float network on search images"


def _reason(best: Recommendation, folder: Path) -> str:
    if best.is_close:
        return "the cheapest that is within one point or a standard error of that"
    tune = command("finetune", folder, "--points", "8")
    return "the best, and none is within one point; training them further may help: " + tune


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
