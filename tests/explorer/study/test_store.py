"""The store: what survives, what is dropped, and what is refused."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.errors import SearchError
from explorer.evaluate.mean_score import MeanScore
from explorer.search.proposals import Point
from explorer.study import storage
from explorer.study.storage import open_store
from explorer.study.store import Store
from explorer.study.trials import Proposed, TrialResult
from tests.support.scoring import pack_right, right

OBJECTIVES = ("accuracy", "energy")
IDENTITY = {"study": "1", "weights": "a"}
Open = Callable[..., Store]


@pytest.fixture
def open_(storage: tuple[str, str], tmp_path: Path) -> Iterator[Open]:
    """Opens the same store again and again."""
    opened: list[Store] = []

    def open_again(identity: dict[str, str] = IDENTITY) -> Store:
        url, name = storage
        opened.append(open_store(tmp_path, url, name, OBJECTIVES, identity))
        return opened[-1]

    yield open_again
    for store in opened:
        engine = getattr(getattr(store._storage, "_backend", None), "engine", None)
        if engine is not None:
            engine.dispose()
    gc.collect()


def point(bits: int) -> Point:
    return (bits, 0, 1)


def candidate(bits: int) -> Candidate:
    layer = LayerChoice(layer="a.b", weight_bits=bits, weight_density=0.1, codebook_size=2 if bits > 2 else None)
    return Candidate(layers=(layer,), filter_keep_ratio=(("a.b", 0.3),))


def finish(store: Store, bits: int, correct: int | None) -> None:
    """Propose, claim, record and complete the next trial."""
    number = len(store.trials())
    store.propose(number, Proposed(point(bits), candidate(bits), "seed widest"))
    assert store.claim(number)
    store.record(number, candidate(bits), TrialResult(score=None if correct is None else right(correct)))
    store.complete(number, (0.1 * bits, 5.0))


def scores(store: Store) -> list[MeanScore | None]:
    return [item.result.score if item.result else None for item in store.stored()]


def states(store: Store) -> list[TrialState]:
    return [trial.state for trial in store._storage.get_all_trials(store._study_id)]


def test_what_was_finished_is_found_again(open_: Open) -> None:
    store = open_()
    assert (store.count(), store.stored()) == (0, ())
    finish(store, 2, 37)
    finish(store, 3, None)
    failed = TrialResult(failure="no")
    store.propose(2, Proposed(point(4), candidate(4), "nsga2"), result=failed, values=(0.0, math.inf))
    for again in (store, open_()):
        assert [(item.number, item.origin, item.point, item.result) for item in again.stored()] == [
            (0, "seed widest", point(2), TrialResult(score=right(37))),
            (1, "seed widest", point(3), TrialResult()),
            (2, "nsga2", point(4), TrialResult(failure="no")),
        ]
        assert [item.candidate for item in again.stored()] == [candidate(2), candidate(3), candidate(4)]
        assert (again.count(), again.count(None)) == (3, 3)
        assert [again.latest(most) for most in (2, 9)] == [again.stored()[1:], again.stored()]
        trials = again._storage.get_all_trials(again._study_id)
        assert [trial.values for trial in trials] == [[0.2, 5.0], [pytest.approx(0.3), 5.0], [0.0, math.inf]]
        directions = again._storage.get_study_directions(again._study_id)
        assert [direction.name for direction in directions] == ["MAXIMIZE", "MINIMIZE"]


def test_a_trial_is_claimed_once_until_it_is_released(open_: Open) -> None:
    store = open_()
    store.propose(0, Proposed(point(2), candidate(2), "nsga2"))
    store.propose(1, Proposed(point(3), candidate(3), "nsga2"), held=True)
    assert states(store) == [TrialState.WAITING, TrialState.RUNNING]
    assert store.claim(0)
    assert not store.claim(0)
    assert [(item.running, item.worker.startswith(store.owner)) for item in open_().trials()] == [(True, True)] * 2
    store.release(0)
    assert store.claim(0)
    store.record(0, candidate(2), TrialResult(score=right(5)))
    assert [(item.number, item.complete, item.result) for item in open_().trials()] == [
        (0, False, TrialResult(score=right(5))),
        (1, False, None),
    ]
    store.complete(0, (0.5, 1.0))
    store.record(0, candidate(2), TrialResult(score=right(6)))  # comes too late
    store.say_alive(0, 3)
    assert not store.claim(0)
    assert scores(open_()) == [right(5)]


def test_a_second_run_that_proposes_is_found_out(storage: tuple[str, str], open_: Open) -> None:
    if storage[0] == "journal":
        return  # its folder is locked
    store, other = open_(), open_()
    store.propose(0, Proposed(point(2), candidate(2), "nsga2"))
    with pytest.raises(SearchError, match="another run proposes candidates of this study"):
        other.propose(0, Proposed(point(2), candidate(2), "nsga2"))


def test_scores_are_remembered(open_: Open) -> None:
    store = open_()
    assert store.image_scores() == {}
    store.remember_score("search/float", pack_right(30))
    store.remember_score("held_out/float", pack_right(29))
    assert open_().image_scores() == {"search/float": pack_right(30), "held_out/float": pack_right(29)}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the refused connection is dropped
def test_results_of_another_study_are_refused_with_what_differs(open_: Open) -> None:
    open_()
    with pytest.raises(SearchError, match=r"another study \(weights was a, is b\); choose another folder"):
        open_({"study": "1", "weights": "b"})
    text = r"\(device was None, is x; study was 1, is 2\)"
    with pytest.raises(SearchError, match=text):
        open_({"study": "2", "weights": "a", "device": "x"})
    assert open_().count() == 0


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal file with three finished trials."""
    store = open_store(tmp_path, "journal", "s", OBJECTIVES, IDENTITY)
    for bits in (2, 3, 4):
        finish(store, bits, bits)
    return tmp_path / "search.journal"


def reopened(journal: Path) -> Store:
    return open_store(journal.parent, "journal", "s", OBJECTIVES, IDENTITY)


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_dropped(journal: Path, cut: int) -> None:
    """The end of the last trial is lost with it, so that this one is given up; nothing else is."""
    journal.write_bytes(journal.read_bytes()[:-cut])
    store = reopened(journal)
    assert scores(store) == [
        right(n)
        for n in (
            2,
            3,
        )
    ]
    finish(store, 5, 9)
    assert scores(reopened(journal)) == [
        right(n)
        for n in (
            2,
            3,
            9,
        )
    ]
    assert all(json.loads(line) for line in journal.read_text().splitlines())


def test_a_torn_line_of_another_process_hides_nothing_before_it(journal: Path) -> None:
    with journal.open("ab") as file:
        file.write(b'{"op_code": 4, "wor')
    assert scores(reopened(journal)) == [
        right(n)
        for n in (
            2,
            3,
            4,
        )
    ]


def test_what_follows_a_corrupt_line_is_lost_and_told(journal: Path) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    second = [number for number, line in enumerate(lines) if b'"state":1' in line][1]
    whole = b"".join([*lines[:second], b"\x00\x01garbage\n", *lines[second:]])
    journal.write_bytes(whole)
    for store in (reopened(journal), reopened(journal)):
        assert scores(store) == [right(n) for n in (2,)]
        assert store.damage().startswith(
            f"line {second + 1} was not what had been written there: evaluation 2 and those after it (2 of them were "
            "found) are made again"
        )
    assert store.salvaged == {candidate(bits).digest(): TrialResult(score=right(bits)) for bits in (2, 3, 4)}
    assert (journal.parent / "search.journal.damaged").read_bytes() == whole


def test_a_database_that_cannot_be_opened_is_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match=r"search\.storage: .*nosuch") as caught:
        open_store(tmp_path, "nosuch://user:secret@host/db", "s", OBJECTIVES, IDENTITY)
    assert "secret" not in str(caught.value)


def test_a_database_whose_tables_others_are_creating_is_opened_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = ['relation "studies" already exists', "duplicate key value violates unique constraint"]

    def open_or_fail(url: str) -> InMemoryStorage:
        if faults:
            raise RuntimeError(faults.pop())
        return InMemoryStorage()

    monkeypatch.setattr(storage, "get_storage", open_or_fail)
    monkeypatch.setattr(storage, "READY_S", 0.0)
    assert isinstance(storage.connect("postgresql+psycopg://nowhere/explorer"), InMemoryStorage)
    faults.append("password authentication failed")
    with pytest.raises(SearchError, match=r"cannot open .*: password authentication failed"):
        storage.connect("postgresql+psycopg://nowhere/explorer")
