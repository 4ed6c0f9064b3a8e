"""Samplers by name; importing them takes no optuna, making one does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from explorer.digests import digest

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from explorer.search.problem import SamplingProblem


def _bayes(problem: SamplingProblem, number: int) -> BaseSampler:
    from explorer.search.bayes import BayesSampler  # noqa: PLC0415

    return BayesSampler(problem, _seed(problem, number))


def _nsga2(problem: SamplingProblem, number: int) -> BaseSampler:
    from optuna.samplers.nsgaii import PolynomialMutation  # noqa: PLC0415

    from explorer.search.sampler import NumberedNSGAIISampler  # noqa: PLC0415

    # Polynomial mutation stays near a parent's widths and shares, which are ordered; the default draws them anew.
    return NumberedNSGAIISampler(
        problem.memory, population_size=problem.population, mutation=PolynomialMutation(), seed=_seed(problem, number)
    )


def _random(problem: SamplingProblem, number: int) -> BaseSampler:
    from optuna.samplers import RandomSampler  # noqa: PLC0415

    return RandomSampler(seed=_seed(problem, number))


def _tpe(problem: SamplingProblem, number: int) -> BaseSampler:
    from optuna.samplers import TPESampler  # noqa: PLC0415

    return TPESampler(seed=_seed(problem, number), multivariate=True, n_startup_trials=problem.population)


def _seed(problem: SamplingProblem, number: int) -> int:
    return int(digest(f"{problem.seed}/{number}")[:8], 16)


SAMPLERS: Mapping[str, Callable[[SamplingProblem, int], BaseSampler]] = {
    "bayes": _bayes,
    "nsga2": _nsga2,
    "random": _random,
    "tpe": _tpe,
}
"""Name in a study file to a function of (what it may know, number of the trial). A new one is an entry here."""


PREDICT_NO_GAIN = frozenset({"nsga2", "random", "tpe"})
"""Those that do not say what share a trial is expected to add to the hypervolume, which may end a search."""


def make_sampler(name: str, problem: SamplingProblem, number: int) -> BaseSampler:
    """Return a new sampler for a trial, without optuna's warning that parts of it are experimental.

    It draws from a random state of its own, set by the study's seed and the trial's number.
    """
    from optuna.exceptions import ExperimentalWarning  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SAMPLERS[name](problem, number)
