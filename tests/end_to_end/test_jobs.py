"""A run with several processes finds what one finds, whichever of them is killed; and it stops when told."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from explorer import load_study, run
from explorer.study.folder import read_outcome

TRIALS = 60


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []


def front(folder: Path) -> bytes:
    return (folder / "front.csv").read_bytes()


def test_the_front_does_not_depend_on_how_many_evaluate_it(
    home: Path, explorer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor on whether they are forked, or new processes that open the study anew, as for a network on a GPU."""
    for jobs in (1, 2, 4):
        assert explorer("run", "tiny", "--trials", TRIALS, "--jobs", jobs, "--out", f"jobs{jobs}").code == 0
    study = load_study(home / "tiny")
    from_python = replace(study, search=replace(study.search, trials=TRIALS))
    assert len(run(from_python, home / "python", jobs=3).outcome.evaluations) == TRIALS
    for module in ("jobs", "run"):
        monkeypatch.setattr(f"explorer.study.{module}.can_fork", lambda torch_device: False)
    assert len(run(from_python, home / "anew", jobs=2).outcome.evaluations) == TRIALS
    assert front(home / "anew") == front(home / "jobs1")
    assert front(home / "jobs2") == front(home / "jobs1") == front(home / "jobs4") == front(home / "python")
    found = [read_outcome(home / f"jobs{jobs}") for jobs in (1, 2, 4)]
    assert found[0].evaluations == found[1].evaluations == found[2].evaluations
    assert len(found[0].evaluations) == TRIALS


def test_nor_on_which_of_them_are_killed(
    home: Path, start: Callable[..., Any], explorer: Callable[..., Any], journal: Callable[..., Any]
) -> None:
    """At random moments; then all at once, with the one that coordinates them, and the run goes on."""
    draw, command = random.Random(0), ("run", "tiny", "--trials", 250, "--out")
    process = start(*command, "killed", "--jobs", 2)
    for done in (5, 30, 60, 90, 120):
        process.wait_for(lambda done=done: len(journal(home / "killed")) >= done)
        for child in draw.sample(found := children(process.popen.pid), min(1, len(found))):
            os.kill(child, signal.SIGKILL)
    left = children(process.popen.pid)
    assert process.stop(signal.SIGKILL).code == -signal.SIGKILL
    end = time.monotonic() + 60
    while any(Path(f"/proc/{child}").exists() for child in left):
        assert time.monotonic() < end, "processes outlive the one that started them"
        time.sleep(0.05)
    before = journal(home / "killed")
    assert 120 <= len(before) < 250
    assert explorer(*command, "killed", "--jobs", 2).code == 0
    assert [trial for trial in journal(home / "killed") if trial in before] == before
    assert explorer(*command, "whole").code == 0
    assert front(home / "killed") == front(home / "whole")


def test_a_run_stops_after_so_many_minutes_and_goes_on(home: Path, explorer: Callable[..., Any]) -> None:
    command = ("run", "tiny", "--out", "run", "--trials", 30)
    said = explorer(*command, "--minutes", 1e-9)
    assert said.code == 0
    assert said.out.endswith("stopped after 1e-09 min: 0 of 30 candidates evaluated; the same command goes on\n"), (
        said.out
    )
    assert explorer(*command).code == 0
    assert explorer("run", "tiny", "--out", "whole", "--trials", 30).code == 0
    assert front(home / "run") == front(home / "whole")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--minutes", "0", "expected a number above 0, received '0'"),
        ("--minutes", "ten", "expected a number above 0, received 'ten'"),
        ("--jobs", "-1", "expected a whole number in 0..1000, received '-1'"),
        ("--storage", "nowhere", "search.storage: expected"),
    ],
)
def test_wrong_options_are_one_line(
    option: str, value: str, said: str, home: Path, explorer: Callable[..., Any]
) -> None:
    refused = explorer("run", "tiny", option, value)
    assert refused.code == 2
    assert said in refused.err
    assert refused.err.count("\n") == 1
