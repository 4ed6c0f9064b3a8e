"""An evolutionary sampler that can be interrupted, and how a seed really enters its population."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import NSGAIISampler
from optuna.trial import TrialState

from explorer.search.space import SearchSpace


class ResumableNSGAIISampler(NSGAIISampler):
    """NSGA-II whose parents always come in the order of their trials.

    Optuna hands them out in the order of selection when a generation begins, and in the order of trials whenever it
    reads them back from the storage: a process killed while it scored the first child of a generation would go on
    with other children than an uninterrupted one. It also looks through all trials for the axes that they have in
    common, whenever a sampler is new, as it is here for every trial.
    """

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[optuna.trial.FrozenTrial]:
        """Return parents of a generation, in ascending order of their numbers."""
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the axes with more than one value, once a trial is finished: all have the same, so the first tells."""
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        axes = sorted(finished[0].distributions.items()) if finished else []
        return {name: distribution for name, distribution in axes if not distribution.single()}


def ask(
    study: optuna.Study, space: SearchSpace, seed_point: Mapping[str, int] | None
) -> tuple[optuna.Trial, dict[str, int]]:
    """Ask for the next point, or run the given seed as a trial of its own.

    A trial whose parameters are all fixed never makes NSGA-II assign it a generation, so it would stay outside
    the population; reading `relative_params` first makes the sampler assign one.
    """
    if seed_point is not None:
        study.enqueue_trial(dict(seed_point))
    trial = study.ask()
    _ = trial.relative_params
    point = {axis.name: trial.suggest_int(axis.name, 0, len(axis.values) - 1) for axis in space.axes}
    return trial, point
