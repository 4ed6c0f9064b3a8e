"""Workers: each candidate is evaluated once, but where the one that was at it is killed; and nothing is lost."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage, run_grpc_proxy_server
from optuna.trial import TrialState

from explorer.compress.candidate import Candidate
from explorer.errors import SearchError
from explorer.evaluate.mean_score import MeanScore
from explorer.study import alive, worker
from explorer.study.alive import Listener, coordinating, saying
from explorer.study.jobs import Processes, evaluate
from explorer.study.search import Search, search
from explorer.study.storage import connect, is_coordinated, join_store, naming_faults, open_store
from explorer.study.store import Store
from explorer.study.trials import Proposed, TrialResult
from explorer.study.worker import FINISHED, SILENT, serve
from tests.explorer.study.test_search import Scorer, found, silent, task_of
from tests.support.scoring import right, scored_alone

OBJECTIVES, IDENTITY = ("accuracy", "energy"), {"study": "1"}
FORK = multiprocessing.get_context("fork")
EXACT = Scorer()


class Log:
    """Which process has begun and ended the evaluation of which candidate, kept in a file."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path, self.seconds = path, seconds

    def score(self, candidate: Candidate) -> MeanScore:
        own = candidate.digest()
        self._write("began", own)
        time.sleep(self.seconds)
        score = right(EXACT(candidate))
        self._write("ended", own)
        return score

    def _write(self, what: str, own: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{what} {own} {os.getpid()}\n")

    def counts(self, what: str) -> Counter[str]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return Counter(line.split()[1] for line in lines if line.startswith(what))


def task(log: Log, trials: int) -> Search:
    return task_with(log.score, trials)


def task_with(score: Callable[[Candidate], MeanScore], trials: int) -> Search:
    return replace(task_of(EXACT, trials=trials), score_candidate=scored_alone(score))


def no_entropies(_: Candidate) -> tuple[float, ...]:
    return ()


def expected(folder: Path, trials: int) -> list[object]:
    """What a search without interruption finds."""
    folder.mkdir()
    store = open_store(folder, "journal", "whole", OBJECTIVES, IDENTITY)
    search(task_with(lambda candidate: right(EXACT(candidate)), trials), store, silent)
    return list(found(store))


@pytest.mark.parametrize("jobs", [2, 5])
def test_processes_find_what_one_finds(jobs: int, tmp_path: Path) -> None:
    """Some of them killed at random moments."""
    log, draw = Log(tmp_path / "log", 0.002), random.Random(jobs)
    own = task(log, 120)
    processes = Processes(partial(evaluate, own.score_candidate, own.list_entropies), jobs)
    told: list[int] = []

    def killing(done: int, total: int) -> None:
        if done // 15 > len(told):
            told.append(done)
            pid = draw.choice(processes._children).process.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)

    try:
        store = open_store(tmp_path, "journal", "s", OBJECTIVES, IDENTITY)
        search(own, store, killing, processes)
    finally:
        processes.close()
    assert found(store) == expected(tmp_path / "whole", 120)
    assert len(told) >= 7
    again = log.counts("began") - Counter(dict.fromkeys(log.counts("began"), 1))
    assert sum(again.values()) <= len(told)


def test_a_candidate_that_ends_every_process_is_named(tmp_path: Path) -> None:
    def kills(_: Candidate) -> MeanScore:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    processes = Processes(partial(evaluate, scored_alone(kills), no_entropies), 1)
    try:
        store = open_store(tmp_path, "journal", "s", OBJECTIVES, IDENTITY)
        with pytest.raises(SearchError, match="candidate 0: the process that evaluates it has ended 5 times"):
            search(task_with(kills, 20), store, silent, processes)
    finally:
        processes.close()


def test_twenty_kills_of_the_one_that_coordinates_lose_nothing(tmp_path: Path) -> None:
    """Each result that is in the journal stays, and only what it was at is evaluated again."""
    log, draw, trials = Log(tmp_path / "log", 0.004), random.Random(1), 200

    def coordinate() -> None:
        search(task(log, trials), open_store(tmp_path, "journal", "s", OBJECTIVES, IDENTITY), silent)

    before: list[Any] = []
    for _ in range(20):
        process = FORK.Process(target=coordinate)
        process.start()
        time.sleep(draw.uniform(0.01, 0.12))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        now = list(found(open_store(tmp_path, "journal", "s", OBJECTIVES, IDENTITY)))
        assert [item for item in now if item in before] == before
        before = now
    coordinate()
    assert found(open_store(tmp_path, "journal", "s", OBJECTIVES, IDENTITY)) == expected(tmp_path / "whole", trials)
    ended = log.counts("ended")
    twice = sum(ended.values()) - len(ended)
    assert twice <= 20  # killed after it had ended, before it was recorded
    assert sum(log.counts("began").values()) - len(ended) <= 20


@pytest.fixture(params=["postgresql", "grpc"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database, and Optuna's proxy in front of it."""
    database = os.environ.get("EXPLORER_TEST_POSTGRESQL")
    if not database:
        pytest.skip("no PostgreSQL server; set EXPLORER_TEST_POSTGRESQL to its URL, postgresql+psycopg://...")
    if request.param == "postgresql":
        yield database
        return
    pytest.importorskip("grpc", reason="needs grpcio: pip install grpcio")
    port = 20_000 + os.getpid() % 20_000
    process = FORK.Process(target=proxy, args=(database, port), daemon=True)
    process.start()
    yield f"grpc://127.0.0.1:{port}"
    process.kill()
    process.join()


def proxy(database: str, port: int) -> None:
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    run_grpc_proxy_server(optuna.storages.get_storage(database), host="127.0.0.1", port=port)


def close(storage: BaseStorage) -> None:
    engine = getattr(getattr(storage, "_backend", None), "engine", None)
    if engine is not None:
        engine.dispose()
    gc.collect()


def clear(store: Store) -> None:
    store._storage.delete_study(store._study_id)
    close(store._storage)


def join(url: str, name: str, log: Log) -> None:
    """A worker in a process of its own."""
    storage = connect(url)
    while not is_coordinated(storage, name):
        time.sleep(0.02)
    store = join_store(storage, name, f"worker {os.getpid()}", IDENTITY)
    serve([(store, partial(evaluate, scored_alone(log.score), no_entropies))], lambda count: None)
    os.kill(os.getpid(), signal.SIGKILL)  # no clearing up of what the test's process has open


@pytest.mark.postgresql
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_four_workers_of_which_two_are_killed(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alive, "BEAT_S", 0.2)
    monkeypatch.setattr(alive, "SILENT_S", 2.0)
    monkeypatch.setattr(worker, "POLL_S", 0.1)
    log, name, trials, draw = Log(tmp_path / "log", 0.02), f"test-{os.getpid()}-{tmp_path.name}", 200, random.Random(3)
    workers = [FORK.Process(target=join, args=(url, name, log)) for _ in range(4)]
    for each in workers:
        each.start()
    store = open_store(tmp_path, url, name, OBJECTIVES, IDENTITY)
    moments = [draw.randint(30, 80), draw.randint(90, 150)]

    def killing(done: int, total: int) -> None:
        if moments and done >= moments[0]:
            moments.pop(0)
            victim = workers.pop()
            assert victim.pid is not None
            os.kill(victim.pid, signal.SIGKILL)
            victim.join()

    nobody = Processes(partial(evaluate, scored_alone(log.score), no_entropies), 0)
    with coordinating(store):
        search(task(log, trials), store, killing, nobody)
    for each in workers:
        each.join()
    states = Counter(trial.state for trial in store._storage.get_all_trials(store._study_id))
    assert states == {TrialState.COMPLETE: trials}
    assert found(store) == expected(tmp_path / "whole", trials)
    began, ended = log.counts("began"), log.counts("ended")
    assert max(ended.values()) <= 2
    assert sum(began.values()) - len(began) <= 2, "evaluated twice, but what the killed were at"
    assert not moments
    clear(store)


@pytest.mark.postgresql
def test_a_worker_of_another_study_is_refused(url: str, tmp_path: Path) -> None:
    name = f"test-{os.getpid()}-{tmp_path.name}"
    storage = connect(url)
    assert not is_coordinated(storage, name)
    store = open_store(tmp_path, url, name, OBJECTIVES, IDENTITY)
    assert not is_coordinated(storage, name)
    with coordinating(store):
        assert is_coordinated(storage, name)
    assert not is_coordinated(storage, name)
    assert join_store(storage, name, "w", IDENTITY).count() == 0
    with pytest.raises(SearchError, match=rf"study {name}: holds the results of another study \(study was 1, is 2\)"):
        join_store(storage, name, "w", {"study": "2"})
    clear(store)
    close(storage)


class Pretended:
    """A store with nothing to do, whose coordinator says what it is told to."""

    shared = True

    def __init__(self, *words: str) -> None:
        self.words = list(words)

    def trials(self, states: object) -> tuple[object, ...]:
        return ()

    def say_coordinating(self, times: int | None) -> None:
        self.heard = times

    def coordinator(self) -> str:
        return self.words.pop(0) if len(self.words) > 1 else self.words[0]


def test_a_worker_ends_with_the_run_or_when_it_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "POLL_S", 0.01)
    monkeypatch.setattr(alive, "SILENT_S", 0.2)
    for words, ends in ((("a 0", "a 1", ""), FINISHED), (("a 0", "a 1"), SILENT)):
        store: Store = Pretended(*words)  # type: ignore[assignment]
        assert serve([(store, lambda candidate, rival: TrialResult())], lambda count: None) == (0, ends)


def test_a_worker_evaluates_trials_of_two_kinds_each_in_its_own_way(tmp_path: Path) -> None:
    store = open_store(tmp_path, "journal", "s", OBJECTIVES, IDENTITY)
    with pytest.raises(KeyError):
        store.beside("/others")
    others = store.beside("/others", create=True)
    same = task_of(EXACT).space.candidate({axis.name: 0 for axis in task_of(EXACT).space.axes})
    for each in (store, others):
        each.propose(0, Proposed(point=(), candidate=same, origin="seed"))
    store.say_coordinating(0)

    def end(candidate: Candidate, rival: str) -> TrialResult:
        store.say_coordinating(None)
        return TrialResult(score=right(70))

    assert serve([(store, lambda *_: TrialResult(score=right(60))), (others, end)], lambda _: None) == (2, FINISHED)
    (of_one,), (of_other,) = store.trials(), store.beside("/others").trials()
    assert (of_one.candidate, of_one.score) == (same, right(60))
    assert (of_other.candidate, of_other.score) == (same, right(70))


def test_a_second_run_is_refused_while_the_first_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alive, "BEAT_S", 0.01)
    there: Store = Pretended("/runs/a 4", "/runs/a 5")  # type: ignore[assignment]
    with pytest.raises(SearchError, match="another run proposes candidates of this study, in /runs/a; wait for it"):
        coordinating(there).__enter__()
    gone = Pretended("/runs/a 4")
    with coordinating(gone):  # type: ignore[arg-type]
        assert gone.heard is not None
    assert gone.heard is None


class StorageInternalFault(optuna.exceptions.StorageInternalError):
    """As Optuna raises where a database fails."""


@pytest.mark.parametrize("error", [StorageInternalFault("gone\nfor good"), RuntimeError("a fault of the program")])
def test_a_storage_that_fails_is_one_line(error: Exception) -> None:
    ours = isinstance(error, RuntimeError)
    with pytest.raises(RuntimeError if ours else SearchError) as caught, naming_faults("postgresql://u:secret@host/db"):
        raise error
    if not ours:
        text = "search.storage: postgresql://***@host/db has failed: gone; what was recorded is kept"
        assert str(caught.value).startswith(text)


def test_who_says_something_new_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    listener = Listener()
    heard = []
    for said, at in (("a", 0.0), ("a", 60.0), ("b", 61.0), ("b", 120.0), ("b", 122.0)):
        now[0] = at
        heard.append(listener.is_silent(7, said))
    assert heard == [False, False, False, False, True]
    listener.forget(7)
    assert not listener.is_silent(7, "b")


def test_saying_ends_with_the_work_and_with_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alive, "BEAT_S", 0.001)
    said: list[int] = []

    def say(times: int) -> None:
        said.append(times)
        if times == 3:
            raise ConnectionError("gone")

    with saying(say):
        while len(said) < 3:
            time.sleep(0.001)
    time.sleep(0.01)
    assert said == [1, 2, 3]
