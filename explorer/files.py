"""Write a file whole or not at all, and no text into it that what reads it would take for a command."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters other than tab and line feed, and what changes the direction of writing."""


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of `path` when the block ends; a reader sees the old or the new one.

    It lies beside `path` meanwhile, and is removed when the block fails. Raises OSError when the folder is missing, or
    the disk is full or read-only.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def without_controls(text: str) -> str:
    """Return a text with every control character, such as one that begins a terminal's command, replaced by a sign."""
    return CONTROLS.sub("\ufffd", text)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a table as CSV, whole or not at all: UTF-8, LF, None empty, texts as `csv_cell` gives them.

    Raises OSError when the file cannot be written.
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
