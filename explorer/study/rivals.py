"""Which network a candidate has to be as good as to be worth scoring: the best of those that cost no more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Rivals:
    """Scored networks by their numbers; the lists grow, and looking through them takes time in proportion."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._costs: list[Sequence[float]] = []
        self._scores: list[float] = []

    def add(self, number: int, costs: Sequence[float], score: float) -> None:
        """Add a network with all its costs that are objectives; one that another beats is none."""
        best = self._best(costs)
        if best is None or self._scores[best] < score:
            self._numbers.append(number)
            self._costs.append(costs)
            self._scores.append(score)

    def find(self, costs: Sequence[float]) -> int | None:
        """Return the number of the network with the best score, the first of equals, of those that cost no more."""
        best = self._best(costs)
        return None if best is None else self._numbers[best]

    def _best(self, costs: Sequence[float]) -> int | None:
        if not self._numbers:
            return None
        cheaper = np.flatnonzero((np.array(self._costs) <= np.array(costs)).all(1))
        return int(cheaper[np.array(self._scores)[cheaper].argmax()]) if len(cheaper) else None
