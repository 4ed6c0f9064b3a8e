"""The command line: its commands, and how it ends where a user's input is wrong."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

import explorer
from explorer.commands.check import check
from explorer.commands.compare import compare
from explorer.commands.compress import compress
from explorer.commands.cost import cost
from explorer.commands.devices import devices
from explorer.commands.export import export
from explorer.commands.finetune import finetune
from explorer.commands.front import front
from explorer.commands.proxy import proxy
from explorer.commands.referee import referee
from explorer.commands.relevance import relevance
from explorer.commands.report import report
from explorer.commands.retarget import retarget
from explorer.commands.run import run
from explorer.commands.terminal import errors, prepare_streams
from explorer.commands.verify import verify
from explorer.commands.worker import worker
from explorer.errors import ExplorerError, one_line
from hwmodels import HardwareModelError

BAD_INPUT = 2

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for each in (
    run,
    worker,
    proxy,
    front,
    retarget,
    report,
    export,
    verify,
    referee,
    check,
    finetune,
    compress,
    compare,
    relevance,
    cost,
):
    app.command()(each)
app.add_typer(devices, name="devices")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"explorer {explorer.__version__}")
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Explore pruned, weight-shared and mixed-precision variants of a PyTorch network for a device."""


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
