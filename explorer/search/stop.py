"""When a search has found what there is to find."""

from __future__ import annotations

from collections.abc import Sequence

MEAN_GAINS = 32
"""Trials whose expected gains are averaged: those of one alone vary by a factor of three (assumed)."""


def add_little(gains: Sequence[float | None], least: float) -> bool:
    """Return whether the last MEAN_GAINS trials were expected to add less than `least` to the front, on average.

    Args:
        gains: What each trial was expected to add, as a share of the hypervolume; None where that is not known.
        least: 0 for a search that only its number of trials ends.
    """
    known = [gain for gain in gains[-MEAN_GAINS:] if gain is not None]
    return len(known) == MEAN_GAINS and sum(known) < least * MEAN_GAINS
