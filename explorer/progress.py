"""Progress of long work on a terminal: bars with the time left, or plain lines where there is no terminal."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_INTERVAL_S = 10.0


class ProgressDisplay:
    """Called with (stage, done, total); each stage gets a bar, or on a pipe a line now and then.

    A stage of which 0 is done again is another one of its kind, and its time begins anew.

    Within it a Ctrl-C is never lost: Python drops a KeyboardInterrupt that strikes in a finaliser or in a callback of
    the garbage collector, so it is remembered and raised again at the next call.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._interrupted = False
        self._handler: Any = None
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<18}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, tuple[float, int]] = {}
        self._printed = 0.0

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
        if self._console.is_terminal:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total, completed=done)
            elif done == 0:
                self._bars.reset(self._tasks[stage])
            self._bars.update(self._tasks[stage], completed=done, total=total)
        else:
            self._line(stage, done, total)

    def _line(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        first = stage not in self._started
        if done == 0:
            self._started[stage] = (now, 0)
        start, before = self._started.setdefault(stage, (now, done))
        parts = [f"{done} of {total}"] if total > 1 else []
        if done >= total:
            parts.append(f"done in {_duration(now - start)}")
        elif not first:
            if now - self._printed < LINE_INTERVAL_S:
                return
            if done > before:
                left = (now - start) / (done - before) * (total - done)
                parts.append(f"about {_duration(left)} left")
        self._console.print(": ".join(filter(None, (stage, ", ".join(parts)))), highlight=False)
        self._printed = now


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
