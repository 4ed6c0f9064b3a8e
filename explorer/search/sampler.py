"""NSGA-II with its generations by the numbers of trials: the same however many are evaluated at once."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import NSGAIISampler
from optuna.samplers.nsgaii import BaseMutation
from optuna.trial import FrozenTrial, TrialState


class NumberedNSGAIISampler(NSGAIISampler):
    """NSGA-II whose generation g is the trials g * population to (g + 1) * population - 1.

    Optuna counts a trial to the generation whose parents it has. Where several are evaluated at once, those that
    finish after the next generation has begun are then never selected from: with 8 at once and a population of 20 that
    is a quarter of all. Here a trial is a child of the last generation that is finished when it is proposed, and each
    is selected from. It follows from numbers and results alone, so that a search that was interrupted goes on with the
    same children; one at a time, generations are Optuna's.

    It expects trials to be finished in the order of their numbers, as `Proposals` hands them to samplers.

    `memory` holds the parents of each generation, which follow from the trials, for the samplers of one study.
    """

    def __init__(
        self, memory: dict[str, Any], *, population_size: int, seed: int, mutation: BaseMutation | None = None
    ) -> None:
        super().__init__(population_size=population_size, seed=seed, mutation=mutation)
        self._parents: list[list[FrozenTrial]] = memory.setdefault("parents", [[]])

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """Return how many generations are finished: the trial's parents are selected from the last of them."""
        trials = study.get_trials(deepcopy=False)
        num_finished = bisect_left(trials, True, key=lambda each: each.state != TrialState.COMPLETE)
        return num_finished // (self.population_size or 1)

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the trials of a generation, of the last one those that are finished."""
        size = self.population_size or 1
        trials = study.get_trials(deepcopy=False)[generation * size : (generation + 1) * size]
        return [trial for trial in trials if trial.state == TrialState.COMPLETE]

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the parents of a generation's children, in ascending order of their numbers."""
        while len(self._parents) <= generation:
            parents = self.select_parent(study, len(self._parents))
            self._parents.append(sorted(parents, key=lambda trial: trial.number))
        return self._parents[generation]

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the axes with more than one value, once a generation is finished: all trials have the same.

        Optuna looks through all trials for the axes that they have in common, whenever a sampler is new, as it is for
        every trial.
        """
        parents = self.get_parent_population(study, self.get_trial_generation(study, trial))
        axes = sorted(parents[0].distributions.items()) if parents else []
        return {name: distribution for name, distribution in axes if not distribution.single()}
