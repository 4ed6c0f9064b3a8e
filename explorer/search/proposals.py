"""What a sampler proposes, and what it may know: an Optuna study in memory that is handed results in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any

import optuna
from optuna.distributions import IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection

from explorer.search.problem import STANDARD_ERROR
from explorer.search.space import SearchSpace, list_decided

Point = tuple[int, ...]
"""An index into the values of each axis of a space, in the order of its axes."""


class _Shared(dict[str, Any]):
    """What no one changes: copies, as Optuna makes of a trial that is told, would take more time than all else."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


class Proposals:
    """Trials in the order of their numbers: those whose results the sampler knows, and behind them pending ones.

    What is proposed follows from the trials before and from how many of their results were handed over: not from
    when these became known, nor from who evaluated them. A sampler finds finished trials as COMPLETE, with values and
    constraints, and those that are pending as RUNNING, with their parameters. It is a new one for every trial, drawing
    from a random state of its own, and has no other memory than these trials; so a search that was interrupted is gone
    on with by adding the points that it had proposed.
    """

    def __init__(
        self, space: SearchSpace, directions: Sequence[StudyDirection], make_sampler: Callable[[int], BaseSampler]
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._names = [axis.name for axis in space.axes]
        self._make_sampler = make_sampler
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(
            storage=self._storage, directions=list(directions), sampler=RandomSampler(seed=0)
        )
        self._study_id = self._storage.get_study_id_from_name(self._study.study_name)
        self._distributions = _Shared(
            {axis.name: IntDistribution(0, len(axis.values) - 1) for axis in list_decided(space)}
        )
        self._pending: deque[int] = deque()
        self.num_told = 0
        """Trials whose results the sampler knows."""

    def __len__(self) -> int:
        return self.num_told + len(self._pending)

    def ask(self) -> tuple[Point, float | None]:
        """Return the point of the next trial, proposed by a sampler made for its number.

        And what share it is expected to add to the hypervolume of the front, by a sampler that says so.
        """
        self._study.sampler = sampler = self._make_sampler(len(self))
        number = self._storage.create_new_trial(self._study_id)
        study, trial = self._study, self._storage.get_trial(number)
        sampler.before_trial(study, trial)
        found = sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
        trial = self._storage.get_trial(number)  # with what the sampler has noted
        chosen = {
            name: int(found[name]) if name in found else sampler.sample_independent(study, trial, name, distribution)
            for name, distribution in self._distributions.items()
        }
        return self._choose(number, chosen), getattr(sampler, "expected_gain", None)

    def add(self, point: Point) -> Point:
        """Add the next trial at a given point."""
        fixed = dict(zip(self._names, point, strict=True))
        return self._choose(
            self._storage.create_new_trial(self._study_id), {name: fixed[name] for name in self._distributions}
        )

    def tell(
        self, values: Sequence[float], constraints: Mapping[str, float], standard_error: float | None = None
    ) -> None:
        """Hand over the result of the first pending trial; a constraint above 0 is not kept.

        Args:
            standard_error: Of its score; None where it has none.
        """
        trial = self._storage.get_trial(self._pending.popleft())
        if standard_error is not None:
            trial.set_user_attr(STANDARD_ERROR, standard_error)
        for key, excess in constraints.items():
            trial.set_constraint(key, excess)
        self._study.tell(trial.number, list(values))
        self.num_told += 1

    def _choose(self, number: int, params: dict[str, int]) -> Point:
        """Set all parameters of a trial at once: the storage itself takes as long for each as for all before."""
        self._pending.append(number)
        trial = self._storage.get_trial(number)
        trial.params, trial.distributions = _Shared(params), self._distributions
        return tuple(map(params.get, self._names, repeat(0)))
