"""The command that takes a run to another device, or other budgets, by the scores that it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.commands.options import whole_number
from explorer.commands.terminal import command, console, say
from explorer.errors import SearchError

if TYPE_CHECKING:
    from explorer.study.propose import Proposal
    from explorer.study.record import Outcome
    from explorer.study.retarget import Retargeted
    from explorer.study.stored_run import StoredRun
    from explorer.study.study_file import Study

SHOWN = 12
"""Members that are named of those that enter or leave."""


def retarget(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, finished or interrupted.")],
    device: Annotated[
        str | None, typer.Option(help="Device profile: a name, or a .toml file; by default the run's own.")
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option(help='A limit, such as "energy<=3uJ" or "accuracy>=0.9"; may be repeated.')
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(parser=whole_number(1), metavar="INTEGER", help="Go on with a search of so many more candidates,"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="in this new folder.")] = None,
) -> None:
    """Print the front of a run on another device from its scores: no candidate is evaluated but with --trials."""
    from explorer.settings.limits import read_limit  # noqa: PLC0415
    from explorer.study.retarget import make_study  # noqa: PLC0415
    from explorer.study.retarget import retarget as retarget_run  # noqa: PLC0415
    from explorer.study.stored_run import read_run  # noqa: PLC0415

    if (trials is None) != (out is None):
        raise SearchError(f"expected --trials with --out, received {'--out' if trials is None else '--trials'} alone")
    run = read_run(folder)
    profile = str(Path(device).absolute()) if device is not None and device.endswith(".toml") else device
    study = make_study(run.study, profile, dict(read_limit(text, run.study.objectives.names) for text in budget or ()))
    if trials is not None and out is not None:
        _search(run, study, folder, trials, out)
        return
    found = retarget_run(run, study)
    _show(found, run, study)
    options = [each for text in budget or () for each in ("--budget", text)]
    options += [] if device is None else ["--device", device]
    say(f"next:   {command('retarget', folder, *options, '--trials', 50, '--out', f'{folder}-{found.outcome.device}')}")


def _search(run: StoredRun, study: Study, source: Path, trials: int, folder: Path) -> None:
    """Go on with a search, from what is known of the run in `source`."""
    from explorer.commands.front import say_end, show  # noqa: PLC0415
    from explorer.commands.progress import resumable  # noqa: PLC0415
    from explorer.report.front.files import refuse_foreign_pages, write_pages  # noqa: PLC0415
    from explorer.study.retarget import retarget as retarget_run  # noqa: PLC0415

    refuse_foreign_pages(folder, study.score.called)
    found = retarget_run(run, study, count=min(trials, study.search.population))
    say(f"{len(found.outcome.front)} members of the front are known, results in {folder}")
    with resumable(f"all finished evaluations are kept in {folder}") as notify:
        from explorer.study.go_on import go_on  # noqa: PLC0415  (torch takes seconds to import)

        outcome = go_on(source, run, found, study, trials, folder, notify)
    write_pages(outcome, folder)
    show(outcome, folder)
    say_end(outcome)


def _show(found: Retargeted, run: StoredRun, study: Study) -> None:
    from explorer.commands.front import show_front  # noqa: PLC0415
    from explorer.study.choose import recommend  # noqa: PLC0415

    outcome, former = found.outcome, run.study.device.profile
    say(f"{outcome.device_title}, by the scores of a search for {former}: {len(outcome.evaluations)} candidates priced")
    say(f"budgets: {_describe_limits(study)}{_describe_dropped(run.study, study)}")
    show_front(outcome, recommend(outcome))
    if found.unpriced:
        say(f"{found.unpriced} candidates are left out: over the former budgets, they have no weights to be priced by")
    if found.entered is None or found.left is None:
        say("the run was interrupted: it has no front to compare with, and no held-out scores")
    else:
        say(f"enter the front: {_list(found.entered)}")
        say(f"leave the front, by their names in the run: {_list(found.left)}")
    if not outcome.front:
        say("the front is empty: no candidate that was scored keeps the budgets; relax them with --budget")
    _show_proposals(found.proposals, outcome)


def _show_proposals(proposals: Sequence[Proposal], outcome: Outcome) -> None:
    """Print the candidates that would be evaluated next, and the rule."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from explorer.objectives import costs_named, score_named  # noqa: PLC0415
    from explorer.study.propose import RULE  # noqa: PLC0415

    if not proposals:
        return
    axes, score = costs_named(outcome.objectives), score_named(outcome.objectives).name
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    table.add_column("Would be evaluated next")
    for heading in (f"{score} %, expected", "gain", *(f"{axis.heading}, {axis.unit}" for axis in axes)):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in proposals:
        costs = (axis.value(each.cost, 0.0) for axis in axes)
        cells = [each.origin, f"{100 * each.score:.1f} ±{100 * each.deviation:.1f}", f"{100 * each.gain:.2f}"]
        cells += [f"{cost:,.0f}" if axis.whole else f"{cost:.4g}" for axis, cost in zip(axes, costs, strict=True)]
        table.add_row(*map(Text, cells))
    console.print(table)
    say(f"chosen {RULE}")


def _describe_limits(study: Study) -> str:
    from explorer.objectives import every_cost  # noqa: PLC0415

    limits = study.budgets.limits
    keys = {cost.key for cost in every_cost()}
    parts = [f"{key} <= {limit:g}" if key in keys else f"{study.score.called} >= {limit:g}" for key, limit in limits]
    return ", ".join(parts) or "none"


def _describe_dropped(before: Study, study: Study) -> str:
    kept = dict(study.budgets.limits)
    dropped = [key for key, _ in before.budgets.limits if key not in kept]
    if not dropped:
        return ""
    return f" (those of the run for {', '.join(dropped)} were for {before.device.profile}; state others with --budget)"


def _list(names: Sequence[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(names[:SHOWN]) or "none") + more
