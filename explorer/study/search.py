"""The search loop: ask, cost, reject over budget, apply, score, tell; interrupted anywhere, it goes on there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from explorer.compress.candidate import Candidate
from explorer.compress.failures import NUMERICAL, describe_failure
from explorer.evaluate.mean_score import MeanScore
from explorer.objectives import SCORE, objectives_named, score_named
from explorer.progress import Progress
from explorer.search.problem import STANDARD_ERROR, Estimates, SamplingProblem
from explorer.search.sampler import ask
from explorer.search.samplers import make_sampler
from explorer.search.seeds import Seed
from explorer.search.space import SearchSpace
from explorer.settings import BudgetSettings, SearchSettings
from explorer.study.costing import cost_excesses, list_violations, score_excess
from explorer.study.record import Cost, Evaluation
from explorer.study.store import Store

ComputeCost = Callable[[Candidate], Cost]
ScoreCandidate = Callable[[Candidate], MeanScore]
ListEntropies = Callable[[Candidate], Sequence[float]]
"""Returns the entropy of the integers of each layer of a candidate, in bits a weight."""


class _Score(NamedTuple):
    """None where the candidate was not built, or cannot be computed, and why."""

    mean: MeanScore | None
    failure: str = ""


_NOT_BUILT = _Score(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a search is made of: records, and the functions that say what a candidate costs and is worth."""

    space: SearchSpace
    settings: SearchSettings
    seed: int
    seeds: Sequence[Seed]
    objectives: tuple[str, ...]
    price_candidate: ComputeCost
    score_candidate: ScoreCandidate
    list_entropies: ListEntropies
    budgets: BudgetSettings
    estimates: Estimates | None = None

    def sampling(self) -> SamplingProblem:
        """Return what a sampler may know."""
        return SamplingProblem(
            space=self.space,
            seed=self.seed,
            population=self.settings.population,
            score=self.objectives.index(score_named(self.objectives).name),
            least_score=self.budgets.limit(SCORE),
            estimates=self.estimates,
        )


def search(task: Search, store: Store, progress: Progress) -> None:
    """Evaluate until the store holds `settings.trials` finished trials.

    Each trial draws from a random state of its own, set by the study's seed and the number of finished trials:
    an interrupted search therefore goes on exactly as it would have without the interruption. A candidate that
    was scored before is not scored again, and one over budget is not scored at all. One that cannot be computed is
    finished, too, with the reason: it is worse than all others, and not tried again.
    """
    known = {own: _Score(score) for own, score in store.salvaged.items()}
    stored = [(item, _Score(item.score, item.failure)) for item in store.stored()]
    known |= {item.candidate.digest(): score for item, score in stored if score != _NOT_BUILT}
    trials, sampling = task.settings.trials, task.sampling()
    done = store.count()
    progress(done, trials)
    while done < trials:
        store.study.sampler = make_sampler(task.settings.sampler, sampling, done)
        seed = task.seeds[done] if done < len(task.seeds) else None
        queue = seed is not None and not store.waiting()
        trial, point = ask(
            store.study, task.space, task.space.point(seed.candidate) if seed is not None and queue else None
        )
        trial.set_user_attr("owner", store.owner)
        candidate = task.space.candidate(point)
        cost = task.price_candidate(candidate)
        excesses = cost_excesses(cost, task.budgets)
        score = _NOT_BUILT
        if all(excess <= 0 for _, excess in excesses):
            own = candidate.digest()
            if own not in known:
                known[own] = _scored(task, candidate)
            score = known[own]
        value = 0.0 if score.mean is None else score.mean.value
        if score.mean is not None:
            trial.set_user_attr(STANDARD_ERROR, score.mean.standard_error)
        # Every trial needs every constraint: one that was not scored misses the least score by all of it.
        for key, excess in (*excesses, *score_excess(value, task.budgets, task.objectives)):
            trial.set_constraint(key, excess)
        values = [
            objective.worst if score.failure else objective.value(cost, value)
            for objective in objectives_named(task.objectives)
        ]
        origin = seed.origin if seed else task.settings.sampler
        store.finish(
            trial,
            candidate,
            origin,
            score.mean,
            values,
            score.failure,
            entropies=None if score.mean is None else list(task.list_entropies(candidate)),
            coded_bytes=cost.coded_bytes,
        )
        done += 1
        progress(done, trials)


def evaluations(task: Search, store: Store) -> tuple[Evaluation, ...]:
    """Return everything that was evaluated, with its cost computed anew."""
    found = []
    for item in store.stored():
        cost = task.price_candidate(item.candidate)
        found.append(
            Evaluation(
                number=item.number,
                origin=item.origin,
                candidate=item.candidate,
                cost=cost,
                score=item.score,
                violations=list_violations(cost, item.score, task.budgets, task.objectives),
                failure=item.failure,
            )
        )
    return tuple(found)


def _scored(task: Search, candidate: Candidate) -> _Score:
    try:
        return _Score(task.score_candidate(candidate))
    except NUMERICAL as error:
        return _Score(None, describe_failure(error))
