"""Samplers by name; importing them takes no optuna, making one does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def _nsga2(seed: int, population: int) -> BaseSampler:
    from optuna.samplers.nsgaii import PolynomialMutation  # noqa: PLC0415

    from explorer.search.sampler import ResumableNSGAIISampler  # noqa: PLC0415

    # Polynomial mutation stays near a parent's widths and shares, which are ordered; the default draws them anew.
    return ResumableNSGAIISampler(population_size=population, mutation=PolynomialMutation(), seed=seed)


def _random(seed: int, population: int) -> BaseSampler:
    from optuna.samplers import RandomSampler  # noqa: PLC0415

    return RandomSampler(seed=seed)


def _tpe(seed: int, population: int) -> BaseSampler:
    from optuna.samplers import TPESampler  # noqa: PLC0415

    return TPESampler(seed=seed, multivariate=True, n_startup_trials=population)


SAMPLERS: Mapping[str, Callable[[int, int], BaseSampler]] = {"nsga2": _nsga2, "random": _random, "tpe": _tpe}
"""Name in a study file to a function of (random seed, population). A new one is an entry here."""


def make_sampler(name: str, seed: int, population: int) -> BaseSampler:
    """Return a new sampler without optuna's warning that parts of it are experimental."""
    from optuna.exceptions import ExperimentalWarning  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return SAMPLERS[name](seed, population)
