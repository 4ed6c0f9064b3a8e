"""Where candidates are evaluated on this machine: in this process, or in several of one thread each."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

import torch

from explorer.arrays import Float64Array
from explorer.compress.candidate import Candidate
from explorer.compress.failures import NUMERICAL, describe_failure
from explorer.errors import SearchError
from explorer.evaluate.image_scores import pack_scores, unpack_scores
from explorer.evaluate.sampled import SampledScore
from explorer.study.trials import TrialResult

Evaluate = Callable[[Candidate, str], TrialResult]
"""Of a candidate and the packed scores of its rival, empty where it has none."""
OpenEvaluate = Callable[[], Evaluate]
ScoreCandidate = Callable[[Candidate, Float64Array | None], SampledScore]
"""Of a candidate and the scores of its rival on the first images of the sample (n)."""
ListEntropies = Callable[[Candidate], Sequence[float]]
"""Returns the entropy of the integers of each layer of a candidate, in bits a weight."""
PARENT_S = 0.2
"""How often a process looks whether the one that started it is still there (assumed)."""


def evaluate(
    score_candidate: ScoreCandidate, list_entropies: ListEntropies, candidate: Candidate, rival: str
) -> TrialResult:
    """Return what is found of a candidate; one that cannot be computed has the reason."""
    try:
        found = score_candidate(candidate, unpack_scores(rival) if rival else None)
        return TrialResult(
            score=found.mean,
            entropies=tuple(list_entropies(candidate)),
            images=pack_scores(found.scores) if len(found.scores) else "",
            beaten=found.beaten,
        )
    except NUMERICAL as error:
        return TrialResult(failure=describe_failure(error))


class Jobs(Protocol):
    """Evaluates candidates, a few at once."""

    @property
    def free(self) -> int:
        """How many candidates can be started."""

    def start(self, number: int, candidate: Candidate, rival: str) -> None:
        """Start the evaluation of a trial's candidate, beside the packed scores of its rival."""

    def collect(self, wait_s: float) -> list[tuple[int, TrialResult | None]]:
        """Return what is finished, waiting a while for the first; None for a trial that was lost with its process."""


class Here:
    """Evaluates one candidate after the other in this process."""

    def __init__(self, evaluate: Evaluate) -> None:
        self._evaluate = evaluate
        self._started: list[tuple[int, Candidate, str]] = []

    @property
    def free(self) -> int:
        """One, unless one is started."""
        return 1 - len(self._started)

    def start(self, number: int, candidate: Candidate, rival: str) -> None:
        """Take the candidate that is evaluated next."""
        self._started.append((number, candidate, rival))

    def collect(self, wait_s: float) -> list[tuple[int, TrialResult | None]]:
        """Evaluate what was started, however long it takes."""
        if not self._started:
            time.sleep(wait_s)
            return []
        number, candidate, rival = self._started.pop()
        return [(number, self._evaluate(candidate, rival))]


@dataclass(slots=True)
class _Child:
    """A process, the end of its pipe, and the trial that it evaluates; None where it has none."""

    process: BaseProcess
    connection: Connection
    number: int | None = None


class Processes:
    """Evaluates in processes of one thread each, forked from this one, whose network and images they share.

    Where `open_anew` is given they are new ones instead, which call it for what evaluates there. One that is killed
    loses the candidate that it was at, and another takes its place. An error that it raises is raised here.
    """

    def __init__(self, evaluate: Evaluate, count: int, open_anew: OpenEvaluate | None = None) -> None:
        self._evaluate, self._open_anew = evaluate, open_anew
        self._children = [self._begin() for _ in range(count)]

    @property
    def free(self) -> int:
        """How many processes have no candidate."""
        return sum(child.number is None for child in self._children)

    @property
    def children(self) -> tuple[int, ...]:
        """The ids of the processes."""
        return tuple(child.process.pid or 0 for child in self._children)

    def start(self, number: int, candidate: Candidate, rival: str) -> None:
        """Send a candidate to a process that has none."""
        child = next(child for child in self._children if child.number is None)
        child.number = number
        try:
            child.connection.send((candidate, rival))
        except OSError:
            return  # the process was killed while it had nothing to do: found out as any other, when it is collected

    def collect(self, wait_s: float) -> list[tuple[int, TrialResult | None]]:
        """Return what has come back, and what was lost."""
        ready = wait([child.connection for child in self._children], wait_s)
        found: list[tuple[int, TrialResult | None]] = []
        for index, child in enumerate(self._children):
            if child.connection not in ready:
                continue
            try:
                answer = child.connection.recv()
            except (EOFError, OSError):
                answer = None
                _end(child)
                self._children[index] = self._begin()
            if isinstance(answer, Exception):
                raise answer
            if child.number is not None:
                found.append((child.number, answer))
            child.number = None
        return found

    def close(self) -> None:
        """End the processes; what they were at is lost."""
        for child in self._children:
            _end(child)

    def _begin(self) -> _Child:
        ours, theirs = multiprocessing.Pipe()
        open_evaluate = self._open_anew or (lambda: self._evaluate)
        if self._open_anew:
            begin: Callable[..., BaseProcess] = multiprocessing.get_context("spawn").Process
        else:
            begin = multiprocessing.get_context("fork").Process
        process = begin(target=_serve, args=(open_evaluate, theirs, os.getpid()), daemon=True)
        with warnings.catch_warnings():
            # The child starts with a thread of its own and computes on it: it needs none of ours, nor their locks.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        return _Child(process, ours)


def can_fork(torch_device: torch.device) -> bool:
    """Return whether processes may be forked from one that has networks there."""
    return "fork" in multiprocessing.get_all_start_methods() and torch_device.type == "cpu"


@contextmanager
def started(
    evaluate: Evaluate, count: int, torch_device: torch.device, open_anew: OpenEvaluate | None = None
) -> Iterator[Jobs]:
    """Give what evaluates `count` candidates at once; 0 is for workers elsewhere alone.

    Args:
        open_anew: What new processes evaluate by, where this system cannot fork, or the network is on a GPU, which
            forked processes cannot use: each has the network and the images anew, on the same GPU.

    Raises:
        SearchError: Where it takes such processes, and there is no `open_anew`.
    """
    if count == 1:
        yield Here(evaluate)
        return
    forked = can_fork(torch_device)
    if count > 1 and not forked and open_anew is None:
        raise SearchError(
            f"--jobs: expected 0 or 1 on {torch_device.type} of this system, received {count}; start "
            "explorer worker for each other process"
        )
    processes = Processes(evaluate, count, None if forked or not count else open_anew)
    try:
        yield processes
    finally:
        processes.close()


def _serve(open_evaluate: OpenEvaluate, connection: Connection, parent: int) -> None:
    """Evaluate what comes through the pipe, until the process that sends it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all of us; the parent ends us then
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        evaluate = open_evaluate()
    except Exception as error:  # raised where it was asked for
        connection.send(_portable(error))
        return
    torch.set_num_threads(1)
    while True:
        try:
            candidate, rival = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer: TrialResult | Exception = evaluate(candidate, rival)
        except Exception as error:  # whatever it is, it is raised where the candidate came from
            answer = _portable(error)
        connection.send(answer)


def _portable(error: Exception) -> Exception:
    """Return an error that another process can read: the same, or one of its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an error of a user's code may hold anything
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_S)
    os.kill(os.getpid(), signal.SIGKILL)  # whatever it is at


def _end(child: _Child) -> None:
    child.connection.close()
    child.process.kill()
    child.process.join()
