"""Evaluating in processes: the same results, whoever is killed, and no process that is left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.errors import NumericalError, SearchError
from explorer.evaluate.mean_score import MeanScore
from explorer.study.jobs import Evaluate, Here, Jobs, Processes, evaluate, started
from explorer.study.trials import TrialResult
from tests.support.scoring import right, scored_alone

CPU = torch.device("cpu")


def candidate(bits: int) -> Candidate:
    return Candidate(layers=(LayerChoice(layer="a", weight_bits=bits),), filter_keep_ratio=())


def score(given: Candidate) -> MeanScore:
    """Waits for ever at 2 bits; fails numerically at 3, and otherwise at 4."""
    bits = given.layers[0].weight_bits
    if bits == 2:
        time.sleep(1000)
    if bits == 3:
        raise NumericalError("not finite")
    if bits == 4:
        raise LookupError("a fault of the program")
    return right(bits)


def evaluated(given: Candidate, rival: str) -> TrialResult:
    return evaluate(scored_alone(score), lambda _: (), given, rival)


def collected(jobs: Jobs, count: int) -> dict[int, TrialResult | None]:
    found: dict[int, TrialResult | None] = {}
    while len(found) < count:
        found |= dict(jobs.collect(0.1))
    return found


@pytest.mark.parametrize("count", [1, 3])
def test_everything_that_was_started_comes_back(count: int) -> None:
    with started(evaluated, count, CPU) as jobs:
        assert isinstance(jobs, Here if count == 1 else Processes)
        found: dict[int, TrialResult | None] = {}
        for number, bits in enumerate((5, 3, 6, 7, 8)):
            while not jobs.free:
                found |= dict(jobs.collect(0.1))
            jobs.start(number, candidate(bits), "")
        found |= collected(jobs, 5 - len(found))
    assert {number: found[number] for number in (0, 2, 3, 4)} == {
        number: TrialResult(score=right(bits), entropies=()) for number, bits in ((0, 5), (2, 6), (3, 7), (4, 8))
    }
    assert found[1] == TrialResult(failure="not finite")


def test_a_killed_process_loses_its_candidate_and_is_replaced() -> None:
    with started(evaluated, 2, CPU) as jobs:
        assert isinstance(jobs, Processes)
        jobs.start(0, candidate(2), "")
        jobs.start(1, candidate(5), "")
        assert collected(jobs, 1) == {1: TrialResult(score=right(5), entropies=())}
        for child in jobs._children:  # the other one has nothing to do
            assert child.process.pid is not None
            os.kill(child.process.pid, signal.SIGKILL)
        assert collected(jobs, 1) == {0: None}
        assert jobs.free == 2
        jobs.start(2, candidate(6), "")
        jobs.start(3, candidate(7), "")
        found = collected(jobs, 2)
        lost = [number for number, result in found.items() if result is None]  # sent to the one that was dead
        assert len(lost) <= 1
        for number in lost:
            jobs.start(number, candidate(number + 4), "")
        assert found | (collected(jobs, len(lost)) if lost else {}) == {
            2: TrialResult(score=right(6), entropies=()),
            3: TrialResult(score=right(7), entropies=()),
        }


def test_an_error_of_the_program_is_raised_here() -> None:
    with started(evaluated, 2, CPU) as jobs:
        jobs.start(0, candidate(4), "")
        with pytest.raises(LookupError, match="a fault of the program"):
            collected(jobs, 1)


def test_none_evaluates_where_only_others_do() -> None:
    with started(evaluated, 0, CPU) as jobs:
        assert jobs.free == 0
        assert jobs.collect(0.01) == []


def test_processes_are_refused_for_a_gpu_where_they_could_not_open_the_study_anew() -> None:
    with pytest.raises(SearchError, match="expected 0 or 1 on cuda of this system, received 2; start explorer worker"):
        started(evaluated, 2, torch.device("cuda")).__enter__()


def opened_anew(known: frozenset[int]) -> Evaluate:
    """What new processes evaluate by; none can where nothing is known."""
    if not known:
        raise SearchError("holds the results of another study")
    return evaluated


def test_for_a_gpu_processes_are_new_ones_that_open_what_they_evaluate_by() -> None:
    """They share nothing with this one, in which no function of theirs is ever called."""
    with started(unused, 2, torch.device("cuda"), partial(opened_anew, frozenset({1}))) as jobs:
        assert isinstance(jobs, Processes)
        jobs.start(0, candidate(5), "")
        jobs.start(1, candidate(3), "")
        assert collected(jobs, 2) == {
            0: TrialResult(score=right(5), entropies=()),
            1: TrialResult(failure="not finite"),
        }


def test_where_nothing_can_be_forked_processes_are_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    real = multiprocessing.get_context

    def get_context(method: str | None = None) -> Any:
        if method == "fork":
            raise ValueError("cannot find context for 'fork'")
        return real(method)

    monkeypatch.setattr(multiprocessing, "get_context", get_context)
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    with started(unused, 2, torch.device("cpu"), partial(opened_anew, frozenset({1}))) as jobs:
        jobs.start(0, candidate(5), "")
        assert collected(jobs, 1) == {0: TrialResult(score=right(5), entropies=())}


def test_a_new_process_that_cannot_open_the_study_says_so_here() -> None:
    with started(unused, 2, torch.device("cuda"), partial(opened_anew, frozenset())) as jobs:
        jobs.start(0, candidate(5), "")
        with pytest.raises(SearchError, match="holds the results of another study"):
            collected(jobs, 1)


def unused(given: Candidate, rival: str) -> TrialResult:
    raise AssertionError("evaluated in the process of the run")


ABANDONED = """
import os, signal, torch
from explorer.study.jobs import started
from tests.explorer.study.test_jobs import candidate, evaluated
with started(evaluated, 2, torch.device("cpu")) as jobs:
    jobs.start(0, candidate(2), "")
    print(*(child.process.pid for child in jobs._children), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_end_with_the_one_that_was_killed() -> None:
    """Also the one that is at a candidate, which would take for ever."""
    root = Path(__file__).parents[3]
    ended = subprocess.run(
        [sys.executable, "-c", ABANDONED], cwd=root, stdout=subprocess.PIPE, text=True, check=False, timeout=600
    )
    assert ended.returncode == -signal.SIGKILL
    children = [int(pid) for pid in ended.stdout.split()]
    assert len(children) == 2
    while any(alive(pid) for pid in children):
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
