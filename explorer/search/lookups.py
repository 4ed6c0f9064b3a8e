"""What indices of many points stand for, for many things of a network at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from explorer.arrays import Int64Array


class Sums(NamedTuple):
    """Sums over a few columns of a table for each of n things: few x n, padded with factors of 0."""

    columns: Int64Array
    factors: Int64Array

    @classmethod
    def of(cls, things: Sequence[Sequence[tuple[int, int]]]) -> Sums:
        """Return the sums over (column, factor) of each thing."""
        padded = list(itertools.zip_longest(*things, fillvalue=(0, 0)))
        columns, factors = np.array(padded, dtype=np.int64).reshape(len(padded), len(things), 2).transpose(2, 0, 1)
        return cls(columns, factors)

    def add_up(self, table: Int64Array) -> Int64Array:
        """Return the sums of each row of a table (N x columns): N x n."""
        total = np.zeros((len(table), self.columns.shape[1]), dtype=np.int64)
        for columns, factors in zip(self.columns, self.factors, strict=True):
            total += np.take(table, columns, axis=1) * factors
        return total


class Chosen(NamedTuple):
    """What indices on one axis each stand for, of n things: n x values, padded, and the place of each one's axis."""

    places: Int64Array
    values: Int64Array

    @classmethod
    def of(cls, things: Sequence[tuple[int, Sequence[int]]]) -> Chosen:
        """Return what (place, values) of each thing say; a place of -1 is none, for a thing with one value."""
        values = np.zeros((len(things), max((len(each) for _, each in things), default=0)), dtype=np.int64)
        for row, (_, each) in zip(values, things, strict=True):
            row[: len(each)] = each
        return cls(np.array([place for place, _ in things], dtype=np.int64), values)

    def look_up(self, points: Int64Array) -> Int64Array:
        """Return the values at points (N x axes of indices): N x n."""
        indices = np.where(self.places < 0, 0, np.take(points, self.places, axis=1))
        return self.values[np.arange(len(self.places)), indices]


class Widest(NamedTuple):
    """For n activations the least width, and columns of widths (few x n, padded) of which the widest counts."""

    least: Int64Array
    columns: Int64Array

    def find(self, widths: Int64Array) -> Int64Array:
        """Return the widths at which activations are stored, by those of inputs (N x owners): N x n."""
        found = np.repeat(self.least[None], len(widths), 0)
        for columns in self.columns:
            np.maximum(found, np.where(columns < 0, 0, np.take(widths, columns, axis=1)), out=found)
        return found


def pad(columns: Sequence[Sequence[int]], *, repeated: bool = False) -> Int64Array:
    """Return columns of n things as few x n, filled up with -1, or with the first of each."""
    few = max(map(len, columns))
    rows = [[*each, *[each[0] if repeated else -1] * (few - len(each))] for each in columns]
    return np.array(rows, dtype=np.int64).reshape(len(rows), few).T
