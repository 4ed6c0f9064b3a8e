"""The journal of a search: Optuna's operations, one a line, each with a checksum that goes on from the line before."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from explorer.digests import DIGITS, digest
from explorer.files import replaced

SUM_DIGITS = DIGITS
"""Hexadecimal digits that are kept of SHA-256."""
FINISHED = 1
"""Optuna's number of the state of a finished trial."""
Log = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """The first line of a journal that is not what was written, and the finished trials before it and behind."""

    line: int
    kept: int
    lost: int


class Journal(BaseJournalBackend):
    """A journal file of one process at a time, which holds a lock on its folder.

    A line is Optuna's JSON with "sum", a checksum over it and all lines before: one that is changed, lost, repeated or
    moved is found out when the file is opened. It and what follows is then put aside in a file beside it, so that the
    journal is what it was at that line, as though the process had been killed there. An unfinished last line, as a
    process leaves that is killed while it writes, is dropped without a word.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = 0
        text = path.read_bytes() if path.exists() else b""
        lines = _lines(text)
        self._unread, self._sum = _intact(lines)
        intact = b"".join(lines[: len(self._unread)])
        self.damage: Damage | None = None
        if len(self._unread) < len(lines):
            lost = sum(_finishes(log) for line in lines[len(self._unread) :] for log in _readable(line))
            self.damage = Damage(
                line=len(self._unread) + 1, kept=sum(_finishes(log) for log in self._unread), lost=lost
            )
            with replaced(_aside(path)) as file:
                file.write(text)
        if intact != text:
            with replaced(path) as file:
                file.write(intact)

    def read_logs(self, log_number_from: int) -> Iterator[Log]:
        """Return operations from a number on; those before it have been read, and are not asked for again."""
        del self._unread[: log_number_from - self._start]
        self._start = log_number_from
        return iter(tuple(self._unread))

    def append_logs(self, logs: list[Log]) -> None:
        """Write operations; the end of a trial, and what holds for all, outlive a loss of power once this returns.

        What a full disk or an interruption lets through in part is taken back, so that the next line fits the last.
        """
        lines, total = [], self._sum
        size = self._path.stat().st_size if self._path.exists() else 0
        for log in logs:
            line, total = _line(log, total)
            lines.append(line)
        try:
            with self._path.open("ab") as file:
                file.write(b"".join(lines))
                file.flush()
                if any("trial_id" not in log or _finishes(log) for log in logs):
                    os.fsync(file.fileno())
        except BaseException:
            if self._path.exists():
                os.truncate(self._path, size)
            raise
        self._sum = total
        self._unread.extend(log for line in lines for log in _readable(line))


def surviving(path: Path) -> list[Log]:
    """Return operations of the journal put aside whose lines fit what the line before says; none without one."""
    aside = _aside(path)
    lines = _lines(aside.read_bytes()) if aside.exists() else []
    found = (_checked(line, _stated(before)) for before, line in itertools.pairwise([b"", *lines]))
    return [log for log in found if log is not None]


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")


def _lines(text: bytes) -> list[bytes]:
    """Return finished lines."""
    return [line + b"\n" for line in text.split(b"\n")[:-1]]


def _intact(lines: Sequence[bytes]) -> tuple[list[Log], bytes]:
    """Return the operations up to the first line that does not fit its checksum, and the last checksum."""
    logs, total = [], b""
    for line in lines:
        log = _checked(line, total)
        if log is None:
            break
        logs.append(log)
        total = _stated(line)
    return logs, total


def _line(log: Log, before: bytes) -> tuple[bytes, bytes]:
    """Return an operation as a line, and its checksum."""
    return _with_sum(json.dumps(log, separators=(",", ":")).encode()[:-1], before)


def _with_sum(body: bytes, before: bytes) -> tuple[bytes, bytes]:
    total = digest(before, body).encode()
    return b'%s,"sum":"%s"}\n' % (body, total), total


def _stated(line: bytes) -> bytes:
    """Return the checksum at the end of a line."""
    return line[-3 - SUM_DIGITS : -3]


def _checked(line: bytes, before: bytes) -> Log | None:
    """Return the operation in a line; None where it does not fit its checksum."""
    body = line[: -len(b',"sum":""}\n') - SUM_DIGITS]
    return dict(json.loads(body + b"}")) if _with_sum(body, before)[0] == line else None


def _readable(line: bytes) -> list[Log]:
    """Return the operation in a line, checksum or not, if it is JSON."""
    try:
        log = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return [log] if isinstance(log, dict) else []


def _finishes(log: Log) -> bool:
    return bool(log.get("state") == FINISHED)
