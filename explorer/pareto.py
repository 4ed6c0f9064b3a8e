"""Which of many points no other one dominates; every objective is to be minimised."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from explorer.arrays import Float64Array

FEW = 10_000
"""Points up to which sorting all of them is quickest."""


def undominated(values: Float64Array, *, of_equal: Literal["all", "first"]) -> NDArray[np.bool_]:
    """Return which rows no other row dominates: is nowhere larger and somewhere smaller.

    A row with NaN is compared with none: it stays, and dominates nothing.

    Args:
        values: points x objectives.
        of_equal: which ones of undominated rows that are equal stay.
    """
    kept = np.ones(len(values), dtype=np.bool_)
    known = np.flatnonzero(~np.isnan(values).any(axis=1))
    if not known.size:
        return kept
    order = known[np.lexsort(values[known].T[::-1])]  # stable: the first of equal rows comes first
    ascending = values[order]
    first = np.concatenate(([True], (ascending[1:] != ascending[:-1]).any(axis=1)))
    find = _sweep if values.shape[1] <= 3 else _sift
    kept[order] = find(ascending[first])[np.cumsum(first) - 1] & (first if of_equal == "first" else True)
    return kept


def _sweep(distinct: Float64Array) -> NDArray[np.bool_]:
    """Return which rows of up to 3 columns no other dominates, in n log n steps (Kung, Luccio and Preparata, 1975).

    Rows are distinct and ascend. A row is dominated by earlier ones alone; of these it suffices to keep the front of
    the last two columns, of which one ascends as the other descends.
    """
    front = np.zeros(len(distinct), dtype=np.bool_)
    seconds: list[float] = []
    thirds: list[float] = []
    padded = np.pad(distinct, ((0, 0), (0, 3 - distinct.shape[1])))
    for row, (_, second, third) in enumerate(padded.tolist()):
        end = bisect_right(seconds, second)
        if end and thirds[end - 1] <= third:
            continue
        front[row] = True
        start = bisect_left(seconds, second)
        end = start
        while end < len(thirds) and thirds[end] >= third:
            end += 1
        seconds[start:end], thirds[start:end] = [second], [third]
    return front


def _sift(distinct: Float64Array) -> NDArray[np.bool_]:
    """Return which rows no other dominates, in as many passes over what is left as there are such.

    Rows are distinct and ascend: a row is dominated by earlier ones alone, so the first one left is on the front.
    """
    front = np.zeros(len(distinct), dtype=np.bool_)
    left = np.arange(len(distinct))
    while left.size:
        front[left[0]] = True
        left = left[(distinct[left] < distinct[left[0]]).any(axis=1)]
    return front


def ascending_front(costs: Float64Array, losses: Float64Array) -> NDArray[np.int64]:
    """Return the indices of the points that no other dominates in cost and loss, in ascending order of cost.

    Of equal points the first stays. Neither array holds NaN.
    """
    left = _unbeaten(costs, losses) if len(costs) > FEW else np.arange(len(costs))
    order = left[np.lexsort((losses[left], costs[left]))]
    best = np.minimum.accumulate(losses[order])
    strictly = np.ones(len(order), dtype=np.bool_)
    strictly[1:] = best[1:] < best[:-1]
    return order[strictly]


def _unbeaten(costs: Float64Array, losses: Float64Array) -> NDArray[np.int64]:
    """Return the indices of what no point of a cheaper step of cost beats: few of many are left to be sorted."""
    lowest, span = costs.min(), np.ptp(costs)
    steps = ((costs - lowest) * (len(costs) / span if span > 0 else 0.0)).astype(np.int64)
    least = np.full(int(steps.max()) + 2, np.inf)
    np.minimum.at(least, steps + 1, losses)
    return np.flatnonzero(losses < np.minimum.accumulate(least)[steps])
