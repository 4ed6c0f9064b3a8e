"""Progress of long work on a terminal: bars with the time left, or plain lines where there is no terminal."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from explorer.commands.terminal import console, errors

LINE_INTERVAL_S = 10.0
"""Between the first two lines of a stage where there is no terminal; it doubles with every line."""
WHOLE = "whole run"
INTERRUPTED = 130
"""Exit code after a Ctrl-C."""


@dataclass(slots=True)
class _Stage:
    """When a stage began and with how much done, and when its next line is due."""

    began_s: float
    before: int
    interval_s: float = LINE_INTERVAL_S
    line_s: float = 0.0

    def left_s(self, now_s: float, done: int, total: int) -> float | None:
        """Return seconds that the rest takes at the pace so far; None while there is none."""
        if done <= self.before or done >= total:
            return 0.0 if done >= total else None
        return (now_s - self.began_s) / (done - self.before) * (total - done)


class ProgressDisplay:
    """Called with (stage, done, total); each stage gets a bar, or on a pipe a few lines.

    A stage of which 0 is done again is another one of its kind, and its time begins anew.

    Within it a Ctrl-C is never lost: Python drops a KeyboardInterrupt that strikes in a finaliser or in a callback of
    the garbage collector, so it is remembered and raised again at the next call.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._interrupted = False
        self._handler: Any = None
        # Braille does not reach every terminal.
        spinner = "dots" if console.encoding.lower().startswith("utf") else "line"
        self._bars = Progress(
            SpinnerColumn(spinner),
            TextColumn("{task.description:<18}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._stages: dict[str, _Stage] = {}
        self._expected_s: dict[str, float] = {}

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Tell how long the stages to come will take, about: the time left of the whole run follows from it."""
        self._expected_s = dict(seconds)

    def __enter__(self) -> ProgressDisplay:
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, self._interrupt)
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` steps of a stage are done; KeyboardInterrupt if one was lost before."""
        if self._interrupted:
            raise KeyboardInterrupt
        now_s = time.monotonic()
        if stage not in self._stages or done == 0:
            self._stages[stage] = _Stage(began_s=now_s, before=done)
            first = True
        else:
            first = False
        left_s = self._stages[stage].left_s(now_s, done, total)
        whole_s = None if left_s is None or not self._expected_s else left_s + self._to_come_s()
        if self._console.is_terminal:
            self._bar(stage, done, total, whole_s)
        else:
            self._line(stage, done, total, first, whole_s)

    def _to_come_s(self) -> float:
        """Return the seconds of the stages behind the last that has begun; what was skipped was done before."""
        expected = list(self._expected_s)
        begun = max((expected.index(stage) for stage in self._stages if stage in expected), default=-1)
        return sum(self._expected_s[stage] for stage in expected[begun + 1 :])

    def _bar(self, stage: str, done: int, total: int, whole_s: float | None) -> None:
        count = f"{done}/{total}"
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, completed=done, count=count)
        elif done == 0:
            self._bars.reset(self._tasks[stage])
        self._bars.update(self._tasks[stage], completed=done, total=total, count=count)
        if whole_s is None:
            return
        if WHOLE not in self._tasks:
            self._tasks[WHOLE] = self._bars.add_task(WHOLE, total=None, count="")
        self._bars.update(self._tasks[WHOLE], count=f"about {duration(whole_s)} left")

    def _line(self, stage: str, done: int, total: int, first: bool, whole_s: float | None) -> None:
        now_s, own = time.monotonic(), self._stages[stage]
        parts = [f"{done} of {total}"] if total > 1 else []
        if done >= total:
            parts.append(f"done in {duration(now_s - own.began_s)}")
        elif not first:
            if now_s - own.line_s < own.interval_s:
                return
            own.interval_s *= 2.0
            left_s = own.left_s(now_s, done, total)
            if left_s is not None:
                parts.append(f"about {duration(left_s)} left")
            if whole_s is not None:
                parts.append(f"{duration(whole_s)} of the whole run")
        self._console.print(": ".join(filter(None, (stage, ", ".join(parts)))), highlight=False)
        own.line_s = now_s


@contextmanager
def resumable(kept: str) -> Iterator[ProgressDisplay]:
    """Show the progress of work that goes on where it was; on Ctrl-C say what is kept, and exit with 130."""
    try:
        with ProgressDisplay(console) as display:
            yield display
    except KeyboardInterrupt:
        errors.print(f"interrupted: {kept}; the same command goes on")
        raise typer.Exit(INTERRUPTED) from None


def duration(seconds: float) -> str:
    """Return a time as one says it: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
