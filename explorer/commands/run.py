"""The command that searches the front of a study."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.commands.check import announced
from explorer.commands.front import show
from explorer.commands.options import checking_command_line, integer
from explorer.commands.progress import resumable
from explorer.commands.terminal import from_here, say
from explorer.errors import ExplorerError, SearchError
from explorer.report.front.files import refuse_foreign_pages, write_pages

if TYPE_CHECKING:
    from explorer.study.study_file import Study

DEFAULT_STUDY = Path("studies/digits")


def run(
    study: Annotated[
        Path | None, typer.Argument(metavar="[STUDY]", help="A study.toml or its folder.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; a run found there goes on.")] = None,
    trials: Annotated[
        int | None, typer.Option(parser=integer, metavar="INTEGER", help="Candidates to evaluate in all, from 1.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            parser=integer,
            metavar="INTEGER",
            help="Seed of training and search, from 0; equal ones give equal results on one kind of machine.",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Device profile: a name, or a .toml file.")] = None,
) -> None:
    """Search the Pareto front of a study; Ctrl-C keeps what was done, and the same command goes on."""
    settings = _study(study, out, trials, seed, device)
    folder = out or from_here(settings.results_folder())
    refuse_foreign_pages(folder, settings.score.called)
    before = _num_evaluated(folder)
    say(f"study {settings.name}, results in {folder}")
    with resumable(f"all finished evaluations are kept in {folder}") as notify:
        notify("start", 0, 1)
        from explorer.study.run import run as run_study  # noqa: PLC0415  (torch takes seconds to import)

        notify("start", 1, 1)
        outcome = run_study(settings, folder, notify, announced(settings, folder, notify))
    write_pages(outcome, folder)
    show(outcome, folder)
    if "failed" in outcome.provenance:
        say(f"failed: {outcome.provenance['failed']}")
    if before == len(outcome.evaluations):
        say(f"nothing was left to search: all {before} candidates had been evaluated; a higher --trials goes on")


def _study(path: Path | None, out: Path | None, trials: int | None, seed: int | None, device: str | None) -> Study:
    """Return the study file with the command line's options put in."""
    from explorer.study.study_file import load_study  # noqa: PLC0415

    study = load_study(path or _default_study())
    with checking_command_line():
        if trials is not None:
            study = replace(study, search=replace(study.search, trials=trials))
        if seed is not None:
            study = replace(study, heading=replace(study.heading, seed=seed))
    if device is not None:
        profile = str(Path(device).absolute()) if device.endswith(".toml") else device
        study = replace(study, device=replace(study.device, profile=profile))
    if out is not None:
        study = replace(study, output=replace(study.output, folder=str(out.absolute())))
    return study


def _default_study() -> Path:
    """Return the embedded default: in the current folder, or beside the package in a checkout."""
    checkout = Path(__file__).parents[2] / DEFAULT_STUDY
    for path in (DEFAULT_STUDY, checkout):
        if path.is_dir():
            return path
    raise SearchError(f"{DEFAULT_STUDY}: the default study is not here; name a study: explorer run STUDY")


def _num_evaluated(folder: Path) -> int:
    """Return how many evaluations the outcome in a folder holds; 0 where there is none that can be read."""
    from explorer.study.folder import read_outcome  # noqa: PLC0415

    try:
        return len(read_outcome(folder).evaluations)
    except ExplorerError:
        return 0
