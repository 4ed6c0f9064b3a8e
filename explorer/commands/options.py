"""Arguments and options that several commands have, and how their values are read."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from explorer.errors import StudyFileError
from explorer.study.requirements import KEYS, LEAST, LIMITS, MAX_LOSS, MIN_SCORE, PICK, Requirements

if TYPE_CHECKING:
    from explorer.study.study_file import Study

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
StudyPath = Annotated[Path, typer.Argument(metavar="STUDY", help="A study.toml, its folder, or digits.")]

EthosProfile = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="An Ethos-U profile, or a .toml file of one; by default the run's device, else ethos_u55_128.",
    ),
]


def integer(text: str) -> int:
    """Read an integer; the records of the study file check its range."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"expected an integer, received {text!r}") from None


SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed",
        parser=integer,
        metavar="INTEGER",
        help="Seed of training and search, from 0; equal ones give equal results on one kind of machine.",
    ),
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="Device profile: a name, or a .toml file.")]


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return what reads a whole number of at most nine digits from `low`, to `high` where there is one."""
    expected = f"expected a whole number {f'from {low}' if high is None else f'in {low}..{high}'}"

    def read(text: str) -> int:
        number = int(text) if re.fullmatch(r"[0-9]{1,9}", text.strip()) else -1
        if number < low or (high is not None and number > high):
            raise typer.BadParameter(f"{expected}, received {text!r}")
        return number

    return read


def positive(text: str) -> float:
    """Read a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise typer.BadParameter(f"expected a number above 0, received {text!r}")
    return number


def apply_options(
    study: Study,
    *,
    out: Path | None = None,
    trials: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    storage: str | None = None,
) -> Study:
    """Return the study with the command line's options put in."""
    with checking_command_line():
        if trials is not None:
            study = replace(study, search=replace(study.search, trials=trials))
        if storage is not None:
            study = replace(study, search=replace(study.search, storage=storage))
        if seed is not None:
            study = replace(study, heading=replace(study.heading, seed=seed))
    if device is not None:
        profile = str(Path(device).absolute()) if device.endswith(".toml") else device
        study = replace(study, device=replace(study.device, profile=profile))
    if out is not None:
        study = replace(study, output=replace(study.output, folder=str(out.absolute())))
    return study


@contextmanager
def checking_command_line() -> Iterator[None]:
    """Say of what is wrong with a study's setting that the command line put it in."""
    try:
        yield
    except StudyFileError as error:
        raise StudyFileError(tuple(f"command line: {problem}" for problem in error.problems)) from None


EXAMPLES = {"µJ": "3uJ", "ms": "2ms", "bytes": "64KiB"}
"""Of a limit, by the unit of its cost."""
HELP = {
    PICK: "A point: recommended, knee, accurate, cheapest, its name, or how its digest begins.",
    MAX_LOSS: "Or of all networks that lose, a standard error included, at most so many points against the float one "
    "on the search images, 1.0 for one, or that lose nothing.",
    MIN_SCORE: "That score at least so much: 0.97 or 97%.",
    **{key: f"{cost.title} of at most so much: {EXAMPLES[cost.unit]}." for key, cost in LIMITS.items()},
    LEAST: "The cost that is least among all that keep these; by default the first of the search's objectives, and "
    "the best score where costs alone are limited.",
}


def choosing(run: Callable[..., None]) -> Callable[..., None]:
    """Return a command with the options that choose a network of a front, which it gets as `wanted`."""
    signature = inspect.signature(run, eval_str=True)
    kept = [parameter for parameter in signature.parameters.values() if parameter.name != "wanted"]
    added = [
        inspect.Parameter(
            key,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, typer.Option(help=HELP[key], rich_help_panel="Which network")],
        )
        for key in KEYS
    ]

    @functools.wraps(run)
    def choose_and_run(**given: Any) -> None:
        wanted = Requirements.read({key: given.pop(key) for key in KEYS}, as_option=True)
        run(**given, wanted=wanted)

    signature = signature.replace(parameters=[*kept, *added])
    choose_and_run.__signature__ = signature  # type: ignore[attr-defined]
    choose_and_run.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
    return choose_and_run
