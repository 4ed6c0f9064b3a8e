"""NSGA-II on models whose calls are cheap: generations as arrays, and a population for each of several models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from explorer.arrays import Float64Array, Int64Array

FAR = 0.2
"""Share of mutations that draw a value anew; the others move to a neighbour (assumed)."""
MUTATIONS = 2.0
"""Axes that mutate in a child, on average (assumed)."""
CROSSED = 0.7
"""Share of children with two parents (assumed)."""
Evaluate = Callable[[Sequence[Int64Array]], Sequence[Float64Array]]
"""Points of each population (N x axes) to their values (N x objectives), all to be minimised.

NaN in the first stands for what must not be.
"""


class _Population(NamedTuple):
    """Points from the best to the worst, by their fronts and by how crowded they are there."""

    points: Int64Array
    values: Float64Array


def evolve(
    start: Int64Array,
    sizes: Int64Array,
    evaluate: Evaluate,
    populations: int,
    size: int,
    generations: int,
    random: np.random.Generator,
) -> list[Int64Array]:
    """Return the last generation of each population, at most `size` points, all different.

    Args:
        start: N x axes, at least one point; each population starts with them.
        sizes: How many values each axis has.
    """
    points = start[_find_distinct(start)]
    found = [_select(points, values, size) for values in evaluate([points] * populations)]
    for _ in range(generations):
        fresh = []
        for each in found:
            children = _mutate(_cross(each.points, size, random), sizes, random)
            merged = np.concatenate((each.points, children))
            kept = _find_distinct(merged)
            fresh.append(merged[kept[kept >= len(each.points)]])
        found = [
            _select(np.concatenate((each.points, new)), np.concatenate((each.values, values)), size)
            for each, new, values in zip(found, fresh, evaluate(fresh), strict=True)
        ]
    return [each.points for each in found]


def rank(values: Float64Array) -> Int64Array:
    """Return the places of N rows from the best to the worst (Deb et al., 2002).

    Rows on an earlier front come first, and of those on the same the ones in the less crowded regions. Rows whose first
    value is NaN are on the last front.
    """
    left = np.flatnonzero(~np.isnan(values[:, 0]))
    known = values[left]
    below = np.ones((len(left), len(left)), dtype=np.bool_)
    for column in known.T:
        below &= column[:, None] <= column
    dominates = below & ~below.T
    counts = dominates.sum(0)
    fronts = np.full(len(values), len(values))
    crowding = np.zeros(len(values))
    active = np.ones(len(left), dtype=np.bool_)
    level = 0
    while active.any():
        front = np.flatnonzero(active & (counts == 0))
        fronts[left[front]] = level
        crowding[left[front]] = _measure_crowding(known[front])
        active[front] = False
        counts -= dominates[front].sum(0)
        level += 1
    return np.lexsort((-crowding, fronts))


def _select(points: Int64Array, values: Float64Array, size: int) -> _Population:
    order = rank(values)[:size]
    return _Population(points[order], values[order])


def _measure_crowding(values: Float64Array) -> Float64Array:
    found = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        found[order[[0, -1]]] = np.inf
        if span > 0:
            found[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return found


def _cross(points: Int64Array, size: int, random: np.random.Generator) -> Int64Array:
    """Return children: each axis from one of two parents, each the better of two drawn."""
    first, second = random.integers(0, len(points), (2, 2, size)).min(1)
    second = np.where(random.random(size) < CROSSED, second, first)
    crossed: Int64Array = np.where(random.random((size, points.shape[1])) < 0.5, points[first], points[second])
    return crossed


def _mutate(points: Int64Array, sizes: Int64Array, random: np.random.Generator) -> Int64Array:
    """Return points some of whose axes have another value; each draws as many numbers as there are axes, for each."""
    chosen, up, place, is_far = random.random((4, *points.shape))
    at = np.nonzero(chosen < MUTATIONS / max(1, int((sizes > 1).sum())))
    old, size = points[at], sizes[at[1]]
    near = old + np.where(up[at] < 0.5, 1, -1)
    near = np.where((near < 0) | (near >= size), 2 * old - near, near)
    moved = np.where(is_far[at] < FAR, (place[at] * size).astype(np.int64), near)
    varied = points.copy()
    varied[at] = np.clip(moved, 0, size - 1)
    return varied


def _find_distinct(points: Int64Array) -> Int64Array:
    """Return the places of rows that equal none before, ascending."""
    rows = np.ascontiguousarray(points)
    packed = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    return np.sort(np.unique(packed, return_index=True)[1])
