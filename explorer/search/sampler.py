"""NSGA-II with its generations by the numbers of trials: the same however many are evaluated at once."""

from __future__ import annotations

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial, TrialState

DEPTH = 50
"""Generations that Optuna selects in one go, each from the one before, in as many nested calls (assumed)."""


class NumberedNSGAIISampler(NSGAIISampler):
    """NSGA-II whose generation g is the trials g * population to (g + 1) * population - 1.

    Optuna counts a trial to the generation whose parents it has. Where several are evaluated at once, those that
    finish after the next generation has begun are then never selected from: with 8 at once and a population of 20 that
    is a quarter of all. Here a trial is a child of the last generation that is finished when it is proposed, and each
    is selected from. It follows from numbers and results alone, so that a search that was interrupted goes on with the
    same children; one at a time, generations are Optuna's.

    It expects trials to be finished in the order of their numbers, as `Proposals` hands them to samplers.
    """

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """Return how many generations are finished: the trial's parents are selected from the last of them."""
        return len(_finished(study)) // (self.population_size or 1)

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the trials of a generation."""
        size = self.population_size or 1
        return _finished(study)[generation * size : (generation + 1) * size]

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the parents of a generation's children, in ascending order of their numbers."""
        for each in range(0, generation, DEPTH):  # so that they are kept, and Optuna goes back no further than to them
            super().get_parent_population(study, each)
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the axes with more than one value, once a trial is finished: all have the same, so the first tells.

        Optuna looks through all trials for the axes that they have in common, whenever a sampler is new, as it is for
        every trial.
        """
        axes = sorted(_finished(study)[0].distributions.items()) if _finished(study) else []
        return {name: distribution for name, distribution in axes if not distribution.single()}


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
