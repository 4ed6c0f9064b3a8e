"""What is shown while one waits: bars on a terminal, lines with the time left on a pipe."""

import io
import re
import signal
import sys

import pytest
from rich.console import Console

from explorer.commands import progress
from explorer.commands.progress import ProgressDisplay


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the display."""
    own = Clock()
    monkeypatch.setattr(progress, "time", own)
    return own


def pipe() -> tuple[io.StringIO, Console]:
    """A console that is no terminal, and what it got."""
    file = io.StringIO()
    return file, Console(file=file, force_terminal=False, width=110)


def test_lines_with_the_time_left(clock: Clock) -> None:
    file, console = pipe()
    with ProgressDisplay(console) as notify:
        notify("search", 0, 400)
        for done in range(1, 401):
            clock.now += 0.5
            notify("search", done, 400)
    assert file.getvalue().splitlines() == [
        "search: 0 of 400",
        "search: 20 of 400, about 3 min left",
        "search: 60 of 400, about 3 min left",
        "search: 140 of 400, about 2 min left",
        "search: 300 of 400, about 50 s left",
        "search: 400 of 400, done in 3 min",
    ]


def test_a_day_is_a_few_lines(clock: Clock) -> None:
    file, console = pipe()
    with ProgressDisplay(console) as notify:
        for done in range(24 * 3600 + 1):
            notify("search", done, 24 * 3600)
            clock.now += 1.0
    assert len(file.getvalue().splitlines()) <= 16


def test_the_time_left_of_the_whole_run(clock: Clock) -> None:
    file, console = pipe()
    with ProgressDisplay(console) as notify:
        notify("train", 0, 10)
        notify.expect({"train": 20.0, "relevance": 7.0, "search": 100.0, "held-out images": 30.0})
        clock.now += 15
        notify("train", 5, 10)
        notify("train", 10, 10)
        notify("search", 0, 100)  # relevance was found, and does not begin
        clock.now += 50
        notify("search", 50, 100)
    lines = [line for line in file.getvalue().splitlines() if "left" in line]
    assert lines == [
        "train: 5 of 10, about 15 s left, 3 min of the whole run",  # 15 + 7 + 100 + 30
        "search: 50 of 100, about 50 s left, 80 s of the whole run",
    ]


def test_the_whole_run_on_a_terminal() -> None:
    file = io.StringIO()
    with ProgressDisplay(Console(file=file, force_terminal=True, width=110)) as notify:
        notify.expect({"search": 1.0, "held-out images": 36000.0})
        for done in range(4):
            notify("search", done, 3)
    assert re.search(r"whole run .*about 10\.0 h left", file.getvalue())


def test_a_stage_that_begins_again_has_its_own_time(clock: Clock) -> None:
    file, console = pipe()
    with ProgressDisplay(console) as notify:
        for _ in range(2):
            notify("relevance", 0, 64)
            clock.now += 5
            notify("relevance", 64, 64)
            clock.now += 300
    assert file.getvalue().splitlines() == [
        "relevance: 0 of 64",
        "relevance: 64 of 64, done in 5 s",
        "relevance: 0 of 64",
        "relevance: 64 of 64, done in 5 s",
    ]


def test_the_time_left_of_what_goes_on_counts_the_new_steps_only(clock: Clock) -> None:
    file, console = pipe()
    with ProgressDisplay(console) as notify:
        notify("search", 900, 1000)
        clock.now += 20
        notify("search", 910, 1000)
    assert file.getvalue().splitlines()[-1] == "search: 910 of 1000, about 3 min left"


def test_a_stage_of_one_step_has_no_count(clock: Clock) -> None:
    file, console = pipe()
    with ProgressDisplay(console) as notify:
        notify("load data", 0, 1)
        clock.now += 2
        notify("load data", 1, 1)
        notify("held-out images", 1, 1)
    assert file.getvalue().splitlines() == ["load data", "load data: done in 2 s", "held-out images: done in 0 s"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (36000, "10.0 h")]
)
def test_durations(seconds: float, text: str, clock: Clock) -> None:
    file, console = pipe()
    with ProgressDisplay(console) as notify:
        notify("search", 0, 1)
        clock.now += seconds
        notify("search", 1, 1)
    assert file.getvalue().endswith(f"search: done in {text}\n")


def test_no_control_codes_on_a_pipe() -> None:
    file, console = pipe()
    with ProgressDisplay(console) as notify:
        for done in range(4):
            notify("search", done, 3)
    assert re.fullmatch(r"[ -~\n]+", file.getvalue())


def test_bars_on_a_terminal() -> None:
    file = io.StringIO()
    with ProgressDisplay(Console(file=file, force_terminal=True, width=110)) as notify:
        notify("load data", 1, 1)
        for done in range(4):
            notify("search", done, 3)
    shown = file.getvalue()
    assert "\x1b[" in shown
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).split("\r")[-1]
    assert re.search(r"load data +━+ 1/1 .*left", last)
    assert re.search(r"search +━+ 3/3 .*left", last)


@pytest.mark.parametrize("terminal", [True, False])
def test_an_error_ends_the_display(terminal: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=110)

    def interrupted() -> None:
        with ProgressDisplay(console) as notify:
            notify("search", 1, 3)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    console.print("next")
    assert file.getvalue().endswith("next\n")
    assert ("\x1b[?25h" in file.getvalue()) == terminal  # the cursor is shown again


def test_a_ctrl_c_that_a_callback_swallowed_is_raised_at_the_next_step() -> None:
    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    seen = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda event: seen.append(event.exc_type)
    try:
        with ProgressDisplay(Console(file=io.StringIO())) as notify:
            dying = Dying()
            del dying
            assert seen == [KeyboardInterrupt]
            with pytest.raises(KeyboardInterrupt):
                notify("search", 1, 2)
    finally:
        sys.unraisablehook = hook
    assert signal.getsignal(signal.SIGINT) is before
