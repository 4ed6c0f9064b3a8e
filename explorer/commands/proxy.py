"""The command that puts Optuna's gRPC proxy in front of a database, for many workers."""

from __future__ import annotations

import warnings
from typing import Annotated

import typer

from explorer.commands.options import whole_number
from explorer.commands.progress import INTERRUPTED
from explorer.commands.terminal import say
from explorer.errors import SearchError

PORT = 13000
"""That of Optuna."""


def proxy(
    storage: Annotated[str, typer.Option(metavar="URL", help="The database.")],
    host: Annotated[str, typer.Option(help="Address to listen at; it asks no one for a password.")] = "localhost",
    port: Annotated[
        int | None,
        typer.Option(parser=whole_number(1, 65_535), metavar="INTEGER", help=f"Port to listen at, by default {PORT}."),
    ] = None,
) -> None:
    """Serve a database to workers as grpc://host:port, until Ctrl-C."""
    from optuna.exceptions import ExperimentalWarning  # noqa: PLC0415
    from optuna.storages import run_grpc_proxy_server  # noqa: PLC0415

    from explorer.study.storage import PACKAGES, connect  # noqa: PLC0415

    opened, number = connect(storage), PORT if port is None else port
    say(f"serves grpc://{host}:{number}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            run_grpc_proxy_server(opened, host=host, port=number)
    except ImportError as error:
        needs = f"explorer proxy needs a package that is not installed ({error}); {PACKAGES['grpc']}"
        raise SearchError(needs) from error
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
