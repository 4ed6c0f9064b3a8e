"""The search: candidates are proposed in order, and each from results that do not depend on who evaluates them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from optuna.study import StudyDirection

from explorer.compress.candidate import Candidate
from explorer.errors import SearchError
from explorer.objectives import SCORE, costs_named, objectives_named, score_named
from explorer.progress import Progress
from explorer.search.problem import Estimates, SamplingProblem
from explorer.search.proposals import Point, Proposals
from explorer.search.samplers import make_sampler
from explorer.search.seeds import Seed
from explorer.search.space import SearchSpace
from explorer.search.stop import MEAN_GAINS, add_little
from explorer.settings import BudgetSettings, SearchSettings
from explorer.study.alive import Listener
from explorer.study.costing import cost_excesses, score_excess
from explorer.study.jobs import Here, Jobs, ListEntropies, ScoreCandidate, evaluate
from explorer.study.record import Cost
from explorer.study.rivals import Rivals
from explorer.study.store import OPEN, Store
from explorer.study.trials import Proposed, TrialResult

ComputeCost = Callable[[Candidate], Cost]
MOST_LOSSES = 5
"""A candidate whose process ended so often was not unlucky (assumed)."""
POLL_S = 0.2
"""How often a shared storage is asked what others have found (assumed)."""
NOT_BUILT = TrialResult()


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


@dataclass(slots=True)
class _Trial:
    candidate: Candidate
    own: str
    """Digest of the candidate."""
    cost: Cost
    excesses: tuple[tuple[str, float], ...]
    rival: int | None
    """The trial whose images it is compared on."""
    expected_gain: float | None = None
    """What share it is expected to add to the hypervolume, where the sampler says so."""


def search(
    task: Search,
    store: Store,
    progress: Progress,
    jobs: Jobs | None = None,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Evaluate until the store holds `settings.trials` finished trials, or `is_over`: then what was begun is finished.

    So is it once `settings.least_gain` is more than a trial is expected to add.

    Trial n is proposed from the results of trials 0 to n - lag, by a sampler with a random state of its own that is set
    by the study's seed and n. So trials are the same for any number of jobs and workers, and after any interruption.
    A candidate that was scored before is not scored again, and one over budget is not scored at all. One that cannot be
    computed is finished, too, with the reason: it is worse than all others, and not tried again.

    Args:
        jobs: Who evaluates on this machine; this process where it is None.

    Raises:
        SearchError: When a candidate has ended the process that evaluates it too often.
    """
    here = Here(partial(evaluate, task.score_candidate, task.list_entropies))
    _Coordinator(task, store).run(jobs or here, progress, is_over)


class _Coordinator:
    """Proposes trials, hands them out, and completes them; all that it knows follows from the store."""

    def __init__(self, task: Search, store: Store) -> None:
        self.task, self.store, self.listener = task, store, Listener()
        objectives = objectives_named(task.objectives)
        directions = [StudyDirection.MINIMIZE if one.is_cost else StudyDirection.MAXIMIZE for one in objectives]
        make = partial(make_sampler, task.settings.sampler, task.sampling())
        self.proposals = Proposals(task.space, directions, make)
        self.trials: list[_Trial] = []
        self.results: dict[int, TrialResult] = {}
        self.num_in_order = 0
        """Trials before the first that is not finished."""
        self.waiting: set[int] = set()
        """Trials that no one has claimed as far as is known."""
        self.here: set[int] = set()
        """Trials that are evaluated by this process and its children."""
        self.twins: dict[str, list[int]] = {}
        """Open trials by the digest of their candidate: the first is evaluated, the others will get its result."""
        self.losses: dict[int, int] = {}
        self.rivals, self.known = Rivals(), dict(store.salvaged)
        self._restore()

    def run(self, jobs: Jobs, progress: Progress, is_over: Callable[[], bool]) -> None:
        progress(len(self.results), self._total())
        while len(self.results) < self._total():
            if not is_over():
                self._propose()
                self._hand_out(jobs)
            elif not self.here:
                return
            if len(self.results) < self._total():
                found = jobs.collect(POLL_S)
                try:
                    if not is_over():
                        self._hand_out(jobs)  # so that none waits while results are written and candidates proposed
                finally:
                    for number, result in found:
                        self._take(number, result)
                if self.store.shared:
                    self._hear()
            progress(min(len(self.results), self._total()), self._total())

    def _total(self) -> int:
        """Return how many trials there are to be: those there are once a further one would add too little."""
        settings = self.task.settings
        over = add_little([trial.expected_gain for trial in self.trials[-MEAN_GAINS:]], settings.least_gain)
        return len(self.trials) if over else settings.trials

    def _restore(self) -> None:
        """Take up what the store holds; nothing that this process had claimed is evaluated any more."""
        for stored in self.store.trials():
            number, trial = stored.number, self._add(stored.candidate, stored.rival, stored.expected_gain)
            self.proposals.add(stored.point)
            if stored.result is not None:
                self._settle(number, stored.result, complete=stored.complete)
            elif trial.own in self.known:
                self._finish(number, self._completed(trial, self.known[trial.own]))
            elif not self._is_twin(number):
                if stored.running and (not self.store.shared or stored.worker.startswith(self.store.owner)):
                    self.store.release(number)
                self.waiting.add(number)

    def _propose(self) -> None:
        """Propose all trials that follow from what is known in order."""
        settings = self.task.settings
        while len(self.trials) < min(self._total(), self.num_in_order + settings.lag):
            number = len(self.trials)
            for told in range(self.proposals.num_told, number - settings.lag + 1):
                self._tell(told)
            seed = self.task.seeds[number] if number < len(self.task.seeds) else None
            if seed is None:
                (point, gain), origin = self.proposals.ask(), settings.sampler
            else:
                point, gain, origin = self.proposals.add(self._point(seed.candidate)), None, seed.origin
            trial = self._add(self._candidate(point), expected_gain=gain)
            trial.rival = self.rivals.find(self._costs(trial))
            proposed = Proposed(point, trial.candidate, origin, trial.cost.coded_bytes, trial.rival, gain)
            propose = partial(self.store.propose, number, proposed)
            result = NOT_BUILT if any(excess > 0 for _, excess in trial.excesses) else self.known.get(trial.own)
            if result is not None:
                result = self._completed(trial, result)
                propose(result=result, values=self._values(trial, result))
                self._settle(number, result, complete=True)
            elif self._is_twin(number):
                propose(held=True)
            else:
                propose()
                self.waiting.add(number)

    def _tell(self, number: int) -> None:
        """Let the sampler know a result, and candidates that cost no less be compared with it."""
        trial, result = self.trials[number], self.results[number]
        values, constraints = self._values(trial, result), dict(self._constraints(trial, result))
        self.proposals.tell(values, constraints, None if result.score is None else result.score.standard_error)
        kept = all(excess <= 0 for excess in constraints.values())
        if result.score is not None and result.images and not result.beaten and kept:
            self.rivals.add(number, self._costs(trial), result.score.value)

    def _hand_out(self, jobs: Jobs) -> None:
        """Start what waits where there is room."""
        while jobs.free and self.waiting:
            self.waiting.remove(number := min(self.waiting))
            if self.store.claim(number):
                self.here.add(number)
                trial = self.trials[number]
                jobs.start(number, trial.candidate, "" if trial.rival is None else self.results[trial.rival].images)

    def _take(self, number: int, result: TrialResult | None) -> None:
        """Keep what an evaluation here has found; None where it was lost with its process."""
        self.here.remove(number)
        if result is not None:
            self._finish(number, result)
            return
        self.losses[number] = self.losses.get(number, 0) + 1
        if self.losses[number] >= MOST_LOSSES:
            raise SearchError(
                f"candidate {number}: the process that evaluates it has ended {MOST_LOSSES} times; see whether memory "
                "suffices for so many --jobs"
            )
        self._release(number)

    def _hear(self) -> None:
        """Take what others have found, and let trials be claimed again whose worker is not heard of any more."""
        held = {number for numbers in self.twins.values() for number in numbers[1:]}
        for stored in self.store.trials(OPEN):
            if (number := stored.number) in self.here or number in self.results or number in held:
                continue
            if stored.result is not None:
                self._settle(number, stored.result)
            elif stored.running:
                self.waiting.discard(number)
                if self.listener.is_silent(number, stored.worker):
                    self._release(number)
            else:
                self.waiting.add(number)

    def _release(self, number: int) -> None:
        self.listener.forget(number)
        self.store.release(number)
        self.waiting.add(number)

    def _finish(self, number: int, result: TrialResult) -> None:
        self.store.record(number, self.trials[number].candidate, result)
        self._settle(number, result)

    def _settle(self, number: int, result: TrialResult, *, complete: bool = False) -> None:
        """Take a result that is recorded, for this trial and for its twins."""
        trial = self.trials[number]
        if not complete:
            self.store.complete(number, self._values(trial, result))
        self.results[number] = result
        self.waiting.discard(number)
        while self.num_in_order in self.results:
            self.num_in_order += 1
        if result != NOT_BUILT:
            self.known[trial.own] = result
        for twin in self.twins.pop(trial.own, [number])[1:]:
            self._finish(twin, result)

    def _is_twin(self, number: int) -> bool:
        """Note an open trial; return whether its candidate is that of another one before it."""
        same = self.twins.setdefault(self.trials[number].own, [])
        same.append(number)
        return len(same) > 1

    def _completed(self, trial: _Trial, result: TrialResult) -> TrialResult:
        """Return a known result with its entropies: one from elsewhere is a score alone."""
        if result.score is None or result.entropies is not None:
            return result
        return replace(result, entropies=tuple(self.task.list_entropies(trial.candidate)))

    def _add(self, candidate: Candidate, rival: int | None = None, expected_gain: float | None = None) -> _Trial:
        cost = self.task.price_candidate(candidate)
        excesses = cost_excesses(cost, self.task.budgets)
        self.trials.append(_Trial(candidate, candidate.digest(), cost, excesses, rival, expected_gain))
        return self.trials[-1]

    def _candidate(self, point: Point) -> Candidate:
        return self.task.space.candidate(dict(zip((axis.name for axis in self.task.space.axes), point, strict=True)))

    def _point(self, candidate: Candidate) -> Point:
        found = self.task.space.point(candidate)
        return tuple(found[axis.name] for axis in self.task.space.axes)

    def _values(self, trial: _Trial, result: TrialResult) -> list[float]:
        value = 0.0 if result.score is None else result.score.value
        objectives = objectives_named(self.task.objectives)
        return [one.worst if result.failure else one.value(trial.cost, value) for one in objectives]

    def _costs(self, trial: _Trial) -> list[float]:
        return [one.value(trial.cost, 0.0) for one in costs_named(self.task.objectives)]

    def _constraints(self, trial: _Trial, result: TrialResult) -> tuple[tuple[str, float], ...]:
        """Return by how much each budget is missed; the least score by all of it where there is no score."""
        value = 0.0 if result.score is None else result.score.value
        return (*trial.excesses, *score_excess(value, self.task.budgets, self.task.objectives))
