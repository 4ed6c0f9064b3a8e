"""Which network a candidate has to be as good as to be worth scoring: the best of those that cost no more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Rivals:
    """Scored networks by their numbers that none beats, which are looked through for each candidate."""

    def __init__(self) -> None:
        self._numbers = np.empty(0, dtype=np.int64)
        self._scores = np.empty(0)
        self._costs = np.empty((0, 0))

    def add(self, number: int, costs: Sequence[float], score: float) -> None:
        """Add a network with all its costs that are objectives; one that another beats is none, nor any more."""
        best, own = self._best(costs), np.array([costs])
        if best is None or self._scores[best] < score:
            stay = (self._costs.reshape(-1, own.size) < own).any(1) | (self._scores >= score)
            self._numbers = np.append(self._numbers[stay], number)
            self._scores = np.append(self._scores[stay], score)
            self._costs = np.concatenate((self._costs.reshape(-1, own.size)[stay], own))

    def find(self, costs: Sequence[float]) -> int | None:
        """Return the number of the network with the best score, the first of equals, of those that cost no more."""
        best = self._best(costs)
        return None if best is None else int(self._numbers[best])

    def _best(self, costs: Sequence[float]) -> int | None:
        cheaper = np.flatnonzero((self._costs <= costs).all(1)) if len(self._numbers) else ()
        return int(cheaper[self._scores[cheaper].argmax()]) if len(cheaper) else None
