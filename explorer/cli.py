"""The command line: run a study, look at its front, export a configuration, price networks, look at devices."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from explorer.commands.check import announced, check
from explorer.commands.compare import compare
from explorer.commands.compress import compress
from explorer.commands.cost import cost
from explorer.commands.devices import devices
from explorer.commands.finetune import finetune
from explorer.commands.front import show
from explorer.commands.relevance import relevance
from explorer.commands.terminal import console, errors, from_here, one_line, prepare_streams, say
from explorer.errors import ExplorerError, SearchError, StudyFileError
from explorer.files import PAGE_MARK, refuse_foreign
from hwmodels import HardwareModelError

if TYPE_CHECKING:
    from explorer.study.record import Outcome
    from explorer.study.study_file import Study

DEFAULT_STUDY = Path("studies/digits")
FRONT, REPORT = "front.csv", "report.html"
INTERRUPTED = 130
BAD_INPUT = 2

app = typer.Typer(
    help="Explore pruned, weight-shared and mixed-precision variants of a PyTorch network for a device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(devices, name="devices")

Folder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]


@app.command()
def run(
    study: Annotated[
        Path | None, typer.Argument(metavar="[STUDY]", help="A study.toml or its folder.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; a run found there goes on.")] = None,
    trials: Annotated[
        int | None, typer.Option(parser=_integer, metavar="INTEGER", help="Candidates to evaluate in all, from 1.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            parser=_integer,
            metavar="INTEGER",
            help="Seed of training and search, from 0; equal ones give equal results on one kind of machine.",
        ),
    ] = None,
    device: Annotated[str | None, typer.Option(help="Device profile: a name, or a .toml file.")] = None,
) -> None:
    """Search the Pareto front of a study; Ctrl-C keeps what was done, and the same command goes on."""
    from explorer.commands.progress import ProgressDisplay  # noqa: PLC0415

    settings = _study(study, out, trials, seed, device)
    folder = out or from_here(settings.output.path)
    _refuse_foreign(folder)
    before = _evaluated(folder)
    say(f"study {settings.name}, results in {folder}")
    try:
        with ProgressDisplay(console) as notify:
            notify("start", 0, 1)
            from explorer.study.run import run as run_study  # noqa: PLC0415  (torch takes seconds to import)

            notify("start", 1, 1)
            outcome = run_study(settings, folder, notify, announced(settings, folder, notify))
    except KeyboardInterrupt:
        errors.print(f"interrupted: all finished evaluations are kept in {folder}; the same command goes on")
        raise typer.Exit(INTERRUPTED) from None
    _write(outcome, folder)
    show(outcome, folder)
    if "failed" in outcome.provenance:
        say(f"failed: {outcome.provenance['failed']}")
    if before == len(outcome.evaluations):
        say(f"nothing was left to search: all {before} candidates had been evaluated; a higher --trials goes on")


@app.command()
def front(folder: Folder) -> None:
    """Print the front of a finished run, next to the float and the uniform 8-bit network."""
    show(_outcome(folder), folder)


@app.command()
def report(
    folder: Folder,
    pick: Annotated[str, typer.Option(help="Point to show first: knee, accurate, cheapest, or a name.")] = "knee",
) -> None:
    """Write front.csv and the standalone report.html of a finished run again."""
    _refuse_foreign(folder)
    outcome = _outcome(folder)
    _write(outcome, folder, pick)
    say(f"report: {folder / 'report.html'}")


@app.command()
def export(
    folder: Folder,
    to: Annotated[Path, typer.Option(help="Folder to write to.")],
    pick: Annotated[str, typer.Option(help="knee, accurate, cheapest, a point's name or digest.")] = "knee",
    tuned: Annotated[bool, typer.Option("--tuned", help="What explorer finetune made of the point.")] = False,
    form: Annotated[str, typer.Option("--format", help="onnx: quantised (QDQ); integer: integers only.")] = "onnx",
) -> None:
    """Write a point of the front as a configuration (JSON) and an ONNX QDQ file, and check its predictions."""
    from explorer.commands.progress import ProgressDisplay  # noqa: PLC0415
    from explorer.study.front import pick as pick_point  # noqa: PLC0415

    outcome = _outcome(folder)
    point = pick_point(outcome.front, outcome.objectives, pick)
    with ProgressDisplay(console) as notify:
        from explorer.export.deploy import deploy  # noqa: PLC0415  (imports torch)

        exported = deploy(outcome, point, folder, to, notify, tuned=tuned, form=form)
    say(exported.summary())


app.command()(check)
app.command()(finetune)
app.command()(compress)
app.command()(compare)
app.command()(relevance)
app.command()(cost)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what a user can cause is one line for each problem, and exit code 2."""
    prepare_streams()
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    try:
        return int(app(arguments, standalone_mode=False, prog_name="explorer") or 0)
    except (ExplorerError, HardwareModelError) as error:
        for problem in getattr(error, "problems", None) or [str(error)]:
            errors.print(f"error: {one_line(problem)}")
    except TyperException as error:
        message = one_line(error.format_message()).removesuffix(".")
        if message:  # none where there was no command, and the help was printed
            errors.print(f"error: {message}; see explorer --help")
    except OSError as error:  # a full disk or a folder without permission, found out on writing
        file = error.filename2 or error.filename
        what = f"{file}: {error.strerror}" if file else str(error)
        errors.print(f"error: {one_line(what)}; check that the disk has room and the folder can be written")
    return BAD_INPUT


def _integer(text: str) -> int:
    """An option's value as an integer; the records of the study file check its range."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"expected an integer, received {text!r}") from None


def _study(path: Path | None, out: Path | None, trials: int | None, seed: int | None, device: str | None) -> Study:
    """The study file with the command line's options put in."""
    from explorer.study.study_file import load_study  # noqa: PLC0415

    study = load_study(path or _default_study())
    try:
        if trials is not None:
            study = replace(study, search=replace(study.search, trials=trials))
        if seed is not None:
            study = replace(study, seed=seed)
    except StudyFileError as error:
        raise StudyFileError(tuple(f"command line: {problem}" for problem in error.problems)) from None
    if device is not None:
        profile = str(Path(device).absolute()) if device.endswith(".toml") else device
        study = replace(study, device=replace(study.device, profile=profile))
    if out is not None:
        study = replace(study, output=replace(study.output, folder=str(out.absolute())))
    return study


def _default_study() -> Path:
    """The embedded default: in the current folder, or beside the package in a checkout."""
    checkout = Path(__file__).parent.parent / DEFAULT_STUDY
    for path in (DEFAULT_STUDY, checkout):
        if path.is_dir():
            return path
    raise SearchError(f"{DEFAULT_STUDY}: the default study is not here; name a study: explorer run STUDY")


def _outcome(folder: Path) -> Outcome:
    from explorer.study.folder import read_outcome  # noqa: PLC0415

    return read_outcome(folder)


def _evaluated(folder: Path) -> int:
    """How many evaluations the outcome in a folder holds; 0 where there is none that can be read."""
    try:
        return len(_outcome(folder).evaluations)
    except ExplorerError:
        return 0


def _refuse_foreign(folder: Path) -> None:
    """Raise ExportError where a file of the user has the name of one that a run writes."""
    refuse_foreign({folder / REPORT: PAGE_MARK, folder / FRONT: b"name,accuracy_search,"})


def _write(outcome: Outcome, folder: Path, pick: str = "knee") -> None:
    from explorer.report.front.page import write_report  # noqa: PLC0415
    from explorer.report.front.tables import write_front_csv  # noqa: PLC0415
    from explorer.study.front import pick as pick_point  # noqa: PLC0415

    wanted = outcome.front or pick != "knee"  # an empty front has a report, too, but no point to pick
    chosen = pick_point(outcome.front, outcome.objectives, pick).name if wanted else None
    write_front_csv(outcome, folder / FRONT)
    write_report(outcome, folder / REPORT, chosen)
