"""The search loop: interrupted anywhere it goes on as if nothing had happened, and scores nothing in vain."""

from __future__ import annotations

import contextlib
import gc
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from explorer.arrays import Int64Array
from explorer.compress.candidate import Candidate
from explorer.errors import NumericalError
from explorer.search.axes import ACTIVATION_BITS, CODEBOOK_SIZE, WEIGHT_BITS, WEIGHT_DENSITY, Axis
from explorer.search.problem import Estimates, PointCosts
from explorer.search.proposals import Point
from explorer.search.seeds import Seed
from explorer.search.sensitivity import Sensitivity
from explorer.search.space import SearchSpace
from explorer.search.stop import MEAN_GAINS, add_little
from explorer.settings import BudgetSettings, SearchSettings
from explorer.study.evaluated import evaluations
from explorer.study.front import front
from explorer.study.record import Cost
from explorer.study.search import Search, search
from explorer.study.storage import open_store
from explorer.study.store import Store
from explorer.study.trials import Proposed, StoredTrial, TrialResult
from tests.support.costs import make_cost
from tests.support.scoring import right, scored_alone
from tests.support.tiers import thinned

LAYERS = ("a", "b", "c")
IMAGES = 100
BUDGET = 50.0
Open = Callable[[], Store]
Found = tuple[int, str, Point, TrialResult | None]


class BrokenOffError(Exception):
    """Stands for a kill while a candidate is being scored."""


def space_of(widths: int) -> SearchSpace:
    """Widths of weights and activations for three layers."""
    return SearchSpace(
        layers=LAYERS,
        axes=tuple(
            Axis(knob=knob, of=layer, values=values)
            for layer in LAYERS
            for knob, values in (
                (WEIGHT_BITS, tuple(range(2, 2 + widths))),
                (ACTIVATION_BITS, (4, 8)),
                (WEIGHT_DENSITY, (1.0,)),
                (CODEBOOK_SIZE, (None,)),
            )
        ),
    )


def price_candidate(candidate: Candidate) -> Cost:
    bits = sum(c.weight_bits * 2 + c.activation_bits for c in candidate.layers)
    return make_cost(energy_uj=float(bits), weight_bytes=bits)


class Scorer:
    """Counts images right by a formula, remembers what it was asked, and breaks off at a given call."""

    def __init__(self, breaks_at: int | None = None) -> None:
        self.asked: list[str] = []
        self.breaks_at = breaks_at

    def __call__(self, candidate: Candidate) -> int:
        if len(self.asked) == self.breaks_at:
            raise BrokenOffError
        self.asked.append(candidate.digest())
        return 40 + sum(3 * c.weight_bits + c.activation_bits for c in candidate.layers) // 2 % 57


def task_of(scorer: Scorer, sampler: str = "nsga2", trials: int = 24, widths: int = 7) -> Search:
    space = space_of(widths)
    points = [dict.fromkeys((a.name for a in space.axes), 0), {a.name: len(a.values) - 1 for a in space.axes}]
    points.append({**points[0], "weight_bits/a": 1})
    return Search(
        space=space,
        settings=SearchSettings(trials=trials, population=6, seeds=3, sampler=sampler),
        seed=5,
        seeds=tuple(Seed(candidate=space.candidate(p), origin=f"seed {i}") for i, p in enumerate(points)),
        objectives=("accuracy", "energy"),
        price_candidate=price_candidate,
        score_candidate=scored_alone(lambda candidate: right(scorer(candidate), IMAGES)),
        list_entropies=lambda candidate: (),
        budgets=BudgetSettings(energy_uj=BUDGET),
        estimates=estimates_of(space),
    )


def estimates_of(space: SearchSpace) -> Estimates:
    """The very costs, and losses that fall with the widths."""

    def price_points(points: Int64Array) -> PointCosts:
        named = [dict(zip((axis.name for axis in space.axes), point, strict=True)) for point in points.tolist()]
        values = [price_candidate(space.candidate(point)).energy_uj for point in named]
        costs = np.array(values, dtype=np.float64).reshape(-1, 1)
        return PointCosts(costs, costs[:, 0] <= BUDGET)

    table = Sensitivity(
        weights={
            layer: {choice: 0.5**choice.weight_bits for choice in space.weight_choices(layer)} for layer in LAYERS
        },
        activations={layer: {4: 0.1, 8: 0.01} for layer in LAYERS},
        filters={},
    )
    return Estimates(price_points=price_points, list_losses=lambda: table)


@pytest.fixture
def open_(storage: tuple[str, str], tmp_path: Path) -> Iterator[Open]:
    """Opens the same store again and again."""
    opened: list[Store] = []

    def open_again() -> Store:
        opened.append(open_store(tmp_path, storage[0], storage[1], ("accuracy", "energy"), {"study": "1"}))
        return opened[-1]

    yield open_again
    for store in opened:
        engine = getattr(getattr(store._storage, "_backend", None), "engine", None)
        if engine is not None:
            engine.dispose()
    gc.collect()


def silent(done: int, total: int) -> None:
    """No progress is shown."""


def found(store: Store) -> list[Found]:
    return [(s.number, s.origin, s.point, s.result) for s in store.stored()]


def is_scored(item: StoredTrial) -> bool:
    return item.result is not None and item.result.score is not None


@pytest.fixture
def whole(tmp_path: Path) -> Callable[[str], list[Found]]:
    """What an uninterrupted search finds, in a journal of its own."""

    def run(sampler: str) -> list[Found]:
        folder = tmp_path / f"whole-{sampler}"
        folder.mkdir()
        store = open_store(folder, "journal", "whole", ("accuracy", "energy"), {"study": "1"})
        search(task_of(Scorer(), sampler), store, silent)
        return found(store)

    return run


@pytest.mark.parametrize("sampler", ["bayes", "nsga2", "random", "tpe"])
def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(
    sampler: str, open_: Open, whole: Callable[[str], list[Found]]
) -> None:
    """Broken off at the first seed, the last seed, within and after the first generation, in turn."""
    for calls in (0, 1, 0, 4, 2, 0):
        with pytest.raises(BrokenOffError):
            search(task_of(Scorer(calls), sampler), open_(), silent)
    store = open_()
    assert 0 < store.count() < 24
    search(task_of(Scorer(), sampler), store, silent)
    assert store.count() == 24
    assert found(store) == whole(sampler)


def test_a_search_broken_off_at_every_single_evaluation_is_the_same(
    open_: Open, whole: Callable[[str], list[Found]]
) -> None:
    """So also at the first child of each generation, where the sampler has stored its parents already."""
    for _ in range(200):
        store = open_()
        if store.count() >= 24:
            break
        with contextlib.suppress(BrokenOffError):
            search(task_of(Scorer(0)), store, silent)  # breaks off at the first candidate that is new
        store = open_()
        with contextlib.suppress(BrokenOffError):
            search(task_of(Scorer(1)), store, silent)
    assert found(open_()) == whole("nsga2")


def test_a_seed_that_was_proposed_when_the_process_died_is_taken_once(
    open_: Open, whole: Callable[[str], list[Found]]
) -> None:
    store, task = open_(), task_of(Scorer())
    seed = task.seeds[0]
    store.propose(0, Proposed(tuple(task.space.point(seed.candidate).values()), seed.candidate, seed.origin))
    search(task, open_(), silent)
    assert found(open_()) == whole("nsga2")


def test_a_finished_search_does_nothing_and_a_longer_one_goes_on(open_: Open) -> None:
    search(task_of(Scorer(), trials=10), open_(), silent)
    first = found(open_())
    scorer, told = Scorer(), []
    search(task_of(scorer, trials=10), open_(), lambda done, total: told.append((done, total)))
    assert (scorer.asked, told) == ([], [(10, 10)])
    search(task_of(scorer, trials=13), open_(), lambda done, total: told.append((done, total)))
    assert found(open_())[:10] == first
    assert told[1:] == sorted(set(told[1:]))
    assert (told[1], told[-1]) == ((10, 13), (13, 13))


def test_a_search_ends_where_little_is_left_to_gain_and_no_interruption_moves_that(tmp_path: Path) -> None:
    stores = []
    for name, breaks in (("whole", [None]), ("broken", [1, 20, 3, 0, 7, None])):
        (tmp_path / name).mkdir()
        for breaks_at in breaks:
            task = task_of(Scorer(breaks_at), "bayes", trials=300)
            task = replace(task, settings=replace(task.settings, least_gain=0.01))
            stores.append(open_store(tmp_path / name, "journal", "s", ("accuracy", "energy"), {"study": "1"}))
            with contextlib.suppress(BrokenOffError):
                search(task, stores[-1], silent)
    assert found(stores[0]) == found(stores[-1])
    gains = [each.expected_gain for each in stores[0].trials()]
    assert MEAN_GAINS < len(gains) < 300
    assert all(add_little(gains[:number], 0.01) == (number == len(gains)) for number in range(len(gains) + 1))
    told: list[tuple[int, int]] = []
    search(task_of(Scorer(0), "bayes", trials=len(gains)), stores[0], lambda *done: told.append(done))
    assert told == [(len(gains), len(gains))]


def test_a_search_ends_where_all_that_it_would_propose_is_known(open_: Open) -> None:
    task = task_of(Scorer(), "bayes", trials=300, widths=2)
    search(replace(task, settings=replace(task.settings, least_gain=0.001)), open_(), silent)
    assert MEAN_GAINS < len(open_().stored()) < 150


def test_seeds_come_first_with_their_origins(open_: Open) -> None:
    task = task_of(Scorer(), trials=6)
    search(task, open_(), silent)
    items: tuple[StoredTrial, ...] = open_().stored()
    assert [item.origin for item in items] == ["seed 0", "seed 1", "seed 2", "nsga2", "nsga2", "nsga2"]
    assert [item.candidate for item in items[:3]] == [seed.candidate for seed in task.seeds]


def test_over_budget_is_never_scored_and_never_on_the_front(open_: Open) -> None:
    scorer = Scorer()
    task = task_of(scorer)
    search(task, open_(), silent)
    items = open_().stored()
    costs = [price_candidate(item.candidate).energy_uj or 0.0 for item in items]
    over = [item for item, energy_uj in zip(items, costs, strict=True) if energy_uj > BUDGET]
    assert 2 <= len(over) < len(items)
    assert not {item.candidate.digest() for item in over} & set(scorer.asked)
    assert [is_scored(item) for item in items] == [item not in over for item in items]
    results = evaluations(task, open_())
    assert [not result.feasible for result in results] == [item in over for item in items]
    assert all(result.score is None for result in results if not result.feasible)
    for item, result in zip(items, results, strict=True):
        assert result.score == (item.result.score if item.result else None)
    store = open_()
    trials = store._storage.get_all_trials(store._study_id)
    assert [trial.values for trial in trials] == [
        [result.score.value if result.score else 0.0, energy_uj]
        for result, energy_uj in zip(results, costs, strict=True)
    ]


def test_nothing_is_scored_twice(open_: Open) -> None:
    """On 64 points, of which 3 x 8 trials repeat some, before and after an interruption."""
    scorer = Scorer()
    search(task_of(scorer, trials=40, widths=2), open_(), silent)
    search(task_of(scorer, trials=60, widths=2), open_(), silent)
    items = open_().stored()
    repeated = [item for item in items if [i.point for i in items].count(item.point) > 1]
    assert repeated
    assert len(scorer.asked) == len(set(scorer.asked))
    for one, other in itertools.combinations(repeated, 2):
        assert one.point != other.point or one.result == other.result


def test_the_seed_of_the_study_decides(tmp_path: Path) -> None:
    results = []
    for index, seed in enumerate((5, 5, 6)):
        folder = tmp_path / str(index)
        folder.mkdir()
        store = open_store(folder, "journal", "s", ("accuracy", "energy"), {})
        search(replace(task_of(Scorer(), "random"), seed=seed), store, silent)
        results.append(found(store))
    assert results[0] == results[1]
    assert results[0][:3] == results[2][:3]
    assert results[0][3:] != results[2][3:]


class Failing(Scorer):
    """Fails for every second candidate, numerically or not."""

    def __init__(self, error: Exception, breaks_at: int | None = None) -> None:
        super().__init__(breaks_at)
        self.error = error

    def __call__(self, candidate: Candidate) -> int:
        correct = super().__call__(candidate)
        if int(candidate.digest(), 16) % 2:
            raise self.error
        return correct


@thinned(
    "sampler error",
    3,
    ["nsga2", "random", "tpe"],
    [
        NumericalError("layer 'a': its moments are\nnot finite"),
        FloatingPointError("overflow"),
        np.linalg.LinAlgError("Singular matrix"),
        torch.linalg.LinAlgError("the input is not positive-definite"),  # type: ignore[attr-defined]
    ],
)
def test_a_candidate_that_cannot_be_computed_is_finished_with_the_reason(
    error: Exception, sampler: str, open_: Open
) -> None:
    scorer = Failing(error)
    task, store = task_of(scorer, sampler), open_()
    search(task, store, silent)
    search(task_of(Failing(error, breaks_at=0), sampler), open_(), silent)  # nothing is left to do
    assert len(scorer.asked) == len(set(scorer.asked))
    failed = [item for item in evaluations(task, store) if item.failure]
    assert {item.failure for item in failed} == {" ".join(str(error).split())}
    assert all(int(item.candidate.digest(), 16) % 2 and item.score is None and not item.feasible for item in failed)
    assert {item.candidate.digest() for item in failed} == {d for d in scorer.asked if int(d, 16) % 2}
    assert not {item.number for item in front(evaluations(task, store), task.objectives)} & {i.number for i in failed}


def test_with_failures_too_an_interrupted_search_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    error = NumericalError("no")
    stores = []
    for name, breaks in (("whole", [None]), ("broken", [0, 1, 3, 2, None])):
        (tmp_path / name).mkdir()
        for breaks_at in breaks:
            stores.append(open_store(tmp_path / name, "journal", "s", ("accuracy", "energy"), {"study": "1"}))
            with contextlib.suppress(BrokenOffError):
                search(task_of(Failing(error, breaks_at)), stores[-1], silent)
    assert found(stores[0]) == found(stores[-1])
    assert stores[0].count() == 24
    assert any(item.result and item.result.failure for item in stores[0].stored())


@pytest.mark.parametrize("error", [TypeError("a"), IndexError("b"), RuntimeError("c"), ValueError("d")])
def test_an_error_of_the_program_ends_the_search(error: Exception, open_: Open) -> None:
    with pytest.raises(type(error), match=str(error)):
        search(task_of(Failing(error)), open_(), silent)
