"""The command that prints a finished run: its front, how far it can be trusted, and what may come next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from explorer.commands.options import RunFolder
from explorer.commands.terminal import command, console, say
from explorer.export.formats import DEFAULT_FORMAT, list_installed

if TYPE_CHECKING:
    from explorer.study.record import Outcome


def front(folder: RunFolder) -> None:
    """Print the front of a finished run, next to the float and the uniform 8-bit network."""
    from explorer.study.folder import read_outcome  # noqa: PLC0415

    show(read_outcome(folder), folder)


def show(outcome: Outcome, folder: Path) -> None:
    """Print the front of the run in `folder` next to its baselines, and what a reader could take wrongly."""
    from explorer.report.front.tables import build_front_table  # noqa: PLC0415
    from explorer.report.front.views import MARKS, list_front_points, list_remarks  # noqa: PLC0415
    from explorer.study.front import knee  # noqa: PLC0415

    console.print(build_front_table(outcome))
    signs = "".join(point.mark for point in list_front_points(outcome))
    for sign, meaning in MARKS.items():
        if sign in signs:
            say(f"{sign} {meaning}")
    if outcome.front:
        console.print(_selection(outcome), highlight=False)
    for line in list_remarks(outcome):
        say(line)
    say(f"report: {folder / 'report.html'}")
    if outcome.front:
        say(f"knee:   {knee(outcome.front, outcome.objectives).name}")
        refused = {name for name, _ in outcome.refused_exports}
        works = [name for name in list_installed() if name not in refused]
        if works:
            form = () if works[0] == DEFAULT_FORMAT else ("--format", works[0])
            say(f"next:   {command('export', folder, '--pick', 'knee', *form, '--to', folder / 'export')}")
    else:
        say("the front is empty: no candidate kept the budgets; relax [budgets] and run into another folder")


def _selection(outcome: Outcome) -> str:
    """Say how far the front owes its score to the images that chose it."""
    from explorer.study.front import selection_gap, still_undominated  # noqa: PLC0415

    stays = sum(still_undominated(outcome.front, outcome.objectives))
    gap = 100.0 * selection_gap(outcome.front, outcome.baselines)
    return (
        f"Compared with the float network, the front does {abs(gap):.1f} points {'better' if gap >= 0 else 'worse'} on "
        f"the search images, which chose it, than on the held-out ones; {stays} of {len(outcome.front)} points would "
        "also be on the front of the held-out images."
    )
