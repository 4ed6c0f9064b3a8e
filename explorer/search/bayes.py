"""A sampler that predicts scores by the table and by what was evaluated, and proposes what adds most to the front."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import repeat
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from explorer.arrays import Float64Array, Int64Array
from explorer.search.evolution import evolve
from explorer.search.improvement import Attained, sort_undominated_first, spread_corners
from explorer.search.loss_terms import LossTerms, list_terms
from explorer.search.problem import STANDARD_ERROR, Estimates, SamplingProblem
from explorer.search.space import list_decided
from explorer.search.surrogate import FAILED, fit_surrogate
from explorer.search.tried import Tried

ROUND, EARLY = 16, 4
"""Trials between two fits of the model, and those up to the first: what is proposed meanwhile counts as pending
(assumed)."""
EVOLVED = 4
"""Draws of the posterior on each of which a population evolves, the mode among them (assumed)."""
POPULATION, GENERATIONS = 64, 12
"""Of that evolution (assumed)."""
DRAWS = 16
"""Draws over which the gain of a point is expected (assumed)."""
FITTED = 500
"""Trials that the model is fitted to; of more the undominated ones, and the latest (assumed)."""
OF_INTEREST = 0.2
"""Share of the way from the best score down to the worst that a network can have; scores below it are of no interest
where the study sets no limit (assumed)."""


class _Proposer:
    """What follows from the trials that are known: points that are worth evaluating, what they cost and may score."""

    def __init__(
        self,
        problem: SamplingProblem,
        estimates: Estimates,
        terms: LossTerms,
        tried: Tried,
    ) -> None:
        self._estimates, self._terms = estimates, terms
        known = tried.take_best(FITTED)
        random = np.random.default_rng([problem.seed, tried.num_scored])
        self._model = fit_surrogate(terms, known.points, known.scores, known.errors)
        self._draws = self._model.draw(DRAWS, random)
        scores, costs = self._model.smoothed, known.costs
        top, bottom = self._model.mode.parameters[0, -2:]
        self._least = top - OF_INTEREST * (top - bottom) if problem.least_score is None else problem.least_score
        order, num_undominated = sort_undominated_first(scores, costs)
        pool = self._evolve(known.points[order[:POPULATION]], random)
        priced = estimates.price_points(pool)
        self._pool, self._costs = pool[priced.fits], priced.values[priced.fits]
        expected = self._model.predict_with_sd(self._pool, self._draws)
        self._scores = expected.values + random.standard_normal(expected.values.shape) * expected.sd
        counted = costs[scores > self._least] if (scores > self._least).any() else costs
        low = np.minimum(counted.min(0), self._costs.min(0, initial=math.inf))
        self._front = Attained(spread_corners(low, counted.max(0)), self._least, DRAWS)
        front = order[:num_undominated]
        self._front.add(costs[front], np.broadcast_to(scores[front], (DRAWS, len(front))))
        self._gains = self._front.measure_gains(self._costs, self._scores)
        rows = zip(self._pool, self._costs, expected.values.T, strict=True)
        self._known = {point.tobytes(): (cost, score) for point, cost, score in rows}
        self._left = {point.tobytes(): place for place, point in enumerate(self._pool) if point not in tried}

    def pick(self, pending: Sequence[Int64Array]) -> tuple[Int64Array | None, float | None]:
        """Return the point that adds most to the front beside the pending ones, None where none is left.

        And what share of the front's hypervolume it is expected to add: nothing where none is left, so that what is
        drawn at random then is known or of no interest; None while there is no front.
        """
        front = self._front.copy()
        self._learn([point for point in pending if point.tobytes() not in self._known])
        for point in pending:
            cost, score = self._known[point.tobytes()]
            front.add(cost[None], score[:, None])
        begun = {point.tobytes() for point in pending}
        left = [place for point, place in self._left.items() if point not in begun]
        attained = float(front.best.mean()) - self._least
        if not left:
            return None, 0.0 if attained > 0 else None
        best, gain = front.find_best(self._costs[left], self._scores[:, left], self._gains[left])
        return self._pool[left[best]], gain / attained if attained > 0 else None

    def _evolve(self, start: Int64Array, random: np.random.Generator) -> Int64Array:
        """Return points that are good by some draw."""
        functions = (self._model.mode, *(self._draws.only(place) for place in range(EVOLVED - 1)))

        def evaluate(populations: Sequence[Int64Array]) -> list[Float64Array]:
            joined = np.concatenate(populations)
            costs, fits = self._estimates.price_points(joined)
            predicted = [
                self._model.predict(points, own)[0] for points, own in zip(populations, functions, strict=True)
            ]
            scores = np.concatenate(predicted)
            out = ~fits | (scores < self._least) | ~self._terms.is_possible(joined)
            values = np.column_stack((np.where(out, np.nan, -scores), costs))
            return np.split(values, np.cumsum([len(points) for points in populations])[:-1])

        found = evolve(start, self._terms.sizes, evaluate, len(functions), POPULATION, GENERATIONS, random)
        pool: Int64Array = np.unique(np.concatenate(found), axis=0)
        return pool

    def _learn(self, points: Sequence[Int64Array]) -> None:
        """Keep the costs of points that are not of the pool, and their scores by each draw.

        Each is predicted alone: what many at once give differs in its last digits by how many they are.
        """
        if points:
            costs = self._estimates.price_points(np.array(points)).values
            for point, cost in zip(points, costs, strict=True):
                self._known[point.tobytes()] = (cost, self._model.predict(point[None], self._draws)[:, 0])


class BayesSampler(BaseSampler):
    """Proposes what is expected to add most to the hypervolume of the front.

    Scores are predicted by a regression with the table as prior mean (`explorer.search.surrogate`), costs are known.
    Populations evolve by NSGA-II on draws of the posterior (Thompson sampling), and of their last generations the
    point is taken whose hypervolume improvement, expected over draws, is largest beside those that are pending.

    What it proposes follows from the study's seed and from the trials that are finished and pending, in the order of
    their numbers: it has no other memory. The model knows the results of a multiple of ROUND trials, at first of EARLY;
    later ones count as pending. It expects trials to be finished in the order of their numbers, as `Proposals` hands
    them to samplers.

    Attributes:
        expected_gain: The hypervolume that what it proposes is expected to add to the front, as a share of what that
            has; None where that is not known.
    """

    def __init__(self, problem: SamplingProblem, seed: int) -> None:
        """Start for one trial; `seed` is that of what is drawn while next to nothing is known."""
        if problem.estimates is None:
            raise ValueError("the sampler needs the costs of points and the table of losses, received neither")
        self.expected_gain: float | None = None
        self._problem, self._estimates = problem, problem.estimates
        if "axes" not in problem.memory:  # made anew for each trial they would take longer than what is drawn
            distributions = {axis.name: IntDistribution(0, len(axis.values) - 1) for axis in problem.space.axes}
            problem.memory["axes"] = distributions
        self._axes: dict[str, BaseDistribution] = problem.memory["axes"]
        self._num_decided = len(list_decided(problem.space))
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return all axes."""
        return self._axes

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the point to evaluate; nothing, so that it is drawn at random, before two scores are known."""
        if "fixed_params" in trial.system_attrs:
            return {}
        trials = study.get_trials(deepcopy=False)
        num_finished = bisect_left(trials, True, key=lambda each: each.state != TrialState.COMPLETE)
        every = ROUND if num_finished >= ROUND else EARLY
        num_known = num_finished // every * every
        found = self._propose_from(trials, num_known)
        if found is None:
            return {}
        pending = [
            self._point(each)
            for each in trials[num_known:]
            if each.number != trial.number and len(each.params) == self._num_decided
        ]
        point, self.expected_gain = found.pick(pending)
        return {} if point is None else dict(zip(self._axes, point.tolist(), strict=True))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return a value drawn at random."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _propose_from(self, trials: Sequence[FrozenTrial], num_known: int) -> _Proposer | None:
        """Return what follows from the first trials, from memory where it is the same as for the trial before."""
        memory = self._problem.memory
        if memory.get("known") != num_known:
            if "terms" not in memory:
                memory["terms"] = list_terms(self._problem.space, self._estimates.list_losses())
                memory["tried"] = Tried(self._problem.space, self._estimates.price_points)
            tried: Tried = memory["tried"]
            fresh, new = trials[tried.num_trials : num_known], None
            tried.add([self._point(each) for each in fresh], [self._result(each) for each in fresh])
            if tried.num_scored > 1:
                with threadpool_limits(1, "blas"):  # systems of hundreds: threads wait for each other longer
                    new = _Proposer(self._problem, self._estimates, memory["terms"], tried)
            memory |= {"known": num_known, "round": new}
        found: _Proposer | None = memory["round"]
        return found

    def _result(self, trial: FrozenTrial) -> tuple[float, float] | None:
        """Return what the model learns of a trial: its score, or FAILED where it cannot be computed."""
        if STANDARD_ERROR in trial.user_attrs:
            return trial.values[self._problem.score], trial.user_attrs[STANDARD_ERROR]
        return FAILED if any(math.isinf(value) for value in trial.values) else None

    def _point(self, trial: FrozenTrial) -> Int64Array:
        return np.fromiter(map(trial.params.get, self._axes, repeat(0)), np.int64, len(self._axes))
