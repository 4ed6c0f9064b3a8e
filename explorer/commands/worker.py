"""The command that evaluates candidates of a run that another machine coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from explorer.commands.options import DeviceOption, SeedOption, StudyPath, apply_options
from explorer.commands.progress import resumable
from explorer.commands.terminal import from_here, say


def worker(
    study: StudyPath,
    storage: Annotated[str, typer.Option(metavar="URL", help="That of the run: a database, or Optuna's proxy of one.")],
    out: Annotated[
        Path | None,
        typer.Option(help="The run's folder, or a copy of it with the weights that the run has trained."),
    ] = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
) -> None:
    """Evaluate candidates of a run of the same study that goes on elsewhere, with one thread, until it ends."""
    from explorer.study.study_file import load_study  # noqa: PLC0415

    settings = apply_options(load_study(study), out=out, seed=seed, device=device, storage=storage)
    folder = out or from_here(settings.results_folder())
    with resumable("what this worker has finished is kept in the storage") as notify:
        notify("start", 0, 1)
        from explorer.study.worker import evaluate_for  # noqa: PLC0415  (torch takes seconds to import)

        notify("start", 1, 1)
        evaluated, ended = evaluate_for(settings, folder, notify)
    say(f"{evaluated} candidates evaluated; {ended}")
