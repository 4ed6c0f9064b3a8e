"""The command that searches the front of a study."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated

import typer

from explorer.allocator import keep_imports
from explorer.commands.check import announced
from explorer.commands.front import say_end, show
from explorer.commands.options import DeviceOption, SeedOption, apply_options, integer, positive, whole_number
from explorer.commands.progress import resumable
from explorer.commands.terminal import from_here, say
from explorer.errors import ExplorerError
from explorer.report.front.files import refuse_foreign_pages, write_pages

DEFAULT_STUDY = "digits"


def run(
    study: Annotated[
        Path | None,
        typer.Argument(metavar="[STUDY]", help="A study.toml or its folder; digits by default.", show_default=False),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; a run found there goes on.")] = None,
    trials: Annotated[
        int | None, typer.Option(parser=integer, metavar="INTEGER", help="Candidates to evaluate in all, from 1.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            parser=positive, metavar="NUMBER", help="Stop the search after so long; the same command goes on."
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            parser=whole_number(0, 1000),
            metavar="INTEGER",
            help="Processes that evaluate, one thread each, by default 1; 0 leaves that to explorer worker.",
        ),
    ] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="A database or its proxy, where workers join; not a journal file.")
    ] = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
) -> None:
    """Search the Pareto front of a study; Ctrl-C keeps what was done, and the same command goes on."""
    from explorer.study.study_file import load_study  # noqa: PLC0415

    until_s = math.inf if minutes is None else time.monotonic() + 60.0 * minutes
    settings = apply_options(
        load_study(study or DEFAULT_STUDY), out=out, trials=trials, seed=seed, device=device, storage=storage
    )
    folder = out or from_here(settings.results_folder())
    refuse_foreign_pages(folder, settings.score.called)
    before = _num_evaluated(folder)
    say(f"study {settings.name}, results in {folder}")
    if (jobs or 1) > settings.search.lag:
        say(f"no more than {settings.search.lag} of {jobs} jobs have work at once: that is search.lag of the study")
    with resumable(f"all finished evaluations are kept in {folder}") as notify:
        notify("start", 0, 1)
        with keep_imports():
            from explorer.study.run import Effort  # noqa: PLC0415  (torch takes seconds to import)
            from explorer.study.run import run as run_study  # noqa: PLC0415

        notify("start", 1, 1)
        effort = Effort(jobs=1 if jobs is None else jobs, until_s=until_s)
        inspect = announced(settings, folder, notify, effort.jobs, minutes)
        outcome = run_study(settings, folder, notify, inspect, effort)
    write_pages(outcome, folder)
    show(outcome, folder)
    if "failed" in outcome.provenance:
        say(f"failed: {outcome.provenance['failed']}")
    done, wanted = len(outcome.evaluations), settings.search.trials
    if say_end(outcome):
        return
    if minutes is not None and done < wanted:
        say(f"stopped after {minutes:g} min: {done} of {wanted} candidates evaluated; the same command goes on")
    elif before == done:
        say(f"nothing was left to search: all {before} candidates had been evaluated; a higher --trials goes on")


def _num_evaluated(folder: Path) -> int:
    """Return how many evaluations the outcome in a folder holds; 0 where there is none that can be read."""
    from explorer.study.folder import read_outcome  # noqa: PLC0415

    try:
        return len(read_outcome(folder).evaluations)
    except ExplorerError:
        return 0
