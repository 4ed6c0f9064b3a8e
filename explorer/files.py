"""Write a file whole or not at all, and no text into it that what reads it would take for a command."""

from __future__ import annotations

import csv
import io
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from explorer.errors import ExportError

try:
    import fcntl
except ImportError:  # Windows: files of killed processes stay
    fcntl = None  # type: ignore[assignment]

UNFINISHED = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.part")
YOUNG_S = 60.0
"""An unfinished file of so many seconds is left alone: its process may be about to lock it."""
BEGINNING = 65_536
"""Bytes of a file in which its mark is looked for."""
CONTENT_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""Of every HTML page that we write: it loads nothing, and sends nothing."""
PAGE_MARK = CONTENT_POLICY.encode()
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters other than tab and line feed, and what changes the direction of writing."""


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends; a reader sees the old or the new one.

    It lies beside `path` meanwhile, and is removed when the block fails; those of processes that were killed are
    removed by the next one that writes into the folder.

    Raises:
        OSError: When the folder is missing, or the disk is full or read-only.
    """
    _remove_abandoned(path.parent)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with unfinished.open("wb") as file:
            _hold(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _remove_abandoned(folder: Path) -> None:
    """Remove the unfinished files that no process holds: it is gone, on whatever machine it ran."""
    if fcntl is None:
        return
    with suppress(OSError):  # the folder is missing, or cannot be read: writing into it says so
        for path in [path for path in folder.iterdir() if UNFINISHED.fullmatch(path.name)]:
            with suppress(OSError), path.open("rb") as file:  # it is held, or was renamed meanwhile
                if time.time() - path.stat().st_mtime > YOUNG_S:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


def _hold(file: BinaryIO) -> None:
    """Lock a file until it is closed, or its process dies; nothing where that cannot be done."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def refuse_foreign(marks: Mapping[Path, bytes | None]) -> None:
    """Raise ExportError when one of these files is there and no command of ours wrote it.

    What we write has its mark in its first bytes; a file of which we write none with a mark, None, may not be there.
    An empty file may be replaced.
    """
    for path, mark in marks.items():
        try:
            with path.open("rb") as file:
                start = file.read(BEGINNING)
        except OSError:
            continue  # there is none; or it cannot be read, and writing says so
        if start and (mark is None or mark not in start):
            raise ExportError(
                f"{path}: is there and was not written by this version of explorer; move it, or name another place"
            )


def without_controls(text: str) -> str:
    """Return a text with every control character, such as one that begins a terminal's command, replaced by a sign."""
    return CONTROLS.sub("\ufffd", text)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a table as CSV, whole or not at all: UTF-8, LF, None empty, texts as `csv_cell` gives them.

    Raises:
        OSError: When the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([csv_cell(value) for value in row] for row in rows)
    with replaced(path) as file:
        file.write(text.getvalue().encode())


def csv_cell(value: object) -> object:
    """Return what to write into a cell: a text that a spreadsheet would take for a formula gets an apostrophe first.

    Numbers stay numbers, also where they are written as text, and so do all other values.
    """
    if not isinstance(value, str):
        return value
    text = without_controls(value)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
