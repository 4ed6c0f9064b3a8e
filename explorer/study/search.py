"""The search loop: ask, cost, reject over budget, apply, score, tell; interrupted anywhere, it goes on there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from explorer.compress.candidate import Candidate
from explorer.search.sampler import SAMPLERS, ask
from explorer.search.seeds import Seed
from explorer.search.space import SearchSpace
from explorer.settings import BudgetSettings, SearchSettings
from explorer.study.costing import accuracy_excess, cost_excesses
from explorer.study.front import objective_value
from explorer.study.record import Accuracy, Cost, Evaluation
from explorer.study.store import Store

CostOf = Callable[[Candidate], Cost]
CountCorrect = Callable[[Candidate], int]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a search is made of: records, and the functions that say what a candidate costs and is worth."""

    space: SearchSpace
    settings: SearchSettings
    seed: int
    seeds: Sequence[Seed]
    objectives: tuple[str, ...]
    images: int
    """Number of images that `count_correct` scores."""
    cost_of: CostOf
    count_correct: CountCorrect
    budgets: BudgetSettings


def search(task: Search, store: Store, progress: Progress) -> None:
    """Evaluate until the store holds `settings.trials` finished trials.

    Each trial draws from a random state of its own, set by the study's seed and the number of finished trials:
    an interrupted search therefore goes on exactly as it would have without the interruption. A candidate that
    was scored before is not scored again, and one over budget is not scored at all.
    """
    known = dict(store.salvaged)
    known |= {item.candidate.digest(): item.correct for item in store.stored() if item.correct is not None}
    trials = task.settings.trials
    done = store.count()
    progress(done, trials)
    while done < trials:
        store.study.sampler = SAMPLERS[task.settings.sampler](_trial_seed(task.seed, done), task.settings.population)
        seed = task.seeds[done] if done < len(task.seeds) else None
        queue = seed is not None and not store.waiting()
        trial, point = ask(
            store.study, task.space, task.space.point(seed.candidate) if seed is not None and queue else None
        )
        trial.set_user_attr("owner", store.owner)
        candidate = task.space.candidate(point)
        cost = task.cost_of(candidate)
        excesses = cost_excesses(cost, task.budgets)
        correct = None
        if all(excess <= 0 for _, excess in excesses):
            digest = candidate.digest()
            if digest not in known:
                known[digest] = task.count_correct(candidate)
            correct = known[digest]
        accuracy = 0.0 if correct is None else correct / task.images
        # Every trial needs every constraint: one that was not scored misses the accuracy by all of it.
        for key, excess in (*excesses, *accuracy_excess(accuracy, task.budgets)):
            trial.set_constraint(key, excess)
        values = [objective_value(name, cost, accuracy) for name in task.objectives]
        store.finish(trial, candidate, seed.origin if seed else task.settings.sampler, correct, values)
        done += 1
        progress(done, trials)


def evaluations(task: Search, store: Store) -> tuple[Evaluation, ...]:
    """Everything that was evaluated, with its cost computed anew."""
    found = []
    for item in store.stored():
        cost = task.cost_of(item.candidate)
        accuracy = None if item.correct is None else Accuracy(value=item.correct / task.images, images=task.images)
        excesses = cost_excesses(cost, task.budgets)
        if accuracy is not None:
            excesses += accuracy_excess(accuracy.value, task.budgets)
        found.append(
            Evaluation(
                number=item.number,
                origin=item.origin,
                candidate=item.candidate,
                cost=cost,
                accuracy=accuracy,
                violations=tuple((key, excess) for key, excess in excesses if excess > 0),
            )
        )
    return tuple(found)


def _trial_seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")
