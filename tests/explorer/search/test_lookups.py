"""Lookups of many things at once give what a loop over the things gives."""

from __future__ import annotations

import numpy as np

from explorer.search.lookups import Chosen, Sums, Widest, pad

TABLE = np.random.default_rng(0).integers(0, 3, (6, 4))


def test_sums_are_those_of_each_thing() -> None:
    things = [[(0, 2), (3, 5)], [], [(2, 1)], [(1, 1), (2, 1), (3, 7)]]
    expected = [[sum(row[column] * factor for column, factor in each) for each in things] for row in TABLE.tolist()]
    assert Sums.of(things).add_up(TABLE).tolist() == expected
    assert Sums.of([[], []]).add_up(TABLE).tolist() == [[0, 0]] * 6


def test_indices_stand_for_the_values_of_their_own_axis() -> None:
    things = [(2, (10, 20, 30)), (-1, (7,)), (0, (1, 2, 3))]
    expected = [[values[row[place]] if place >= 0 else values[0] for place, values in things] for row in TABLE.tolist()]
    assert Chosen.of(things).look_up(TABLE).tolist() == expected


def test_the_widest_counts_and_no_less_than_the_least() -> None:
    least, things = [1, 2, 0], [[0, 3], [], [1]]
    expected = [
        [max([lowest, *(row[column] for column in each)]) for lowest, each in zip(least, things, strict=True)]
        for row in TABLE.tolist()
    ]
    assert Widest(np.array(least), pad(things)).find(TABLE).tolist() == expected


def test_columns_are_filled_up_with_none_or_with_the_first() -> None:
    assert pad([[4, 5], [], [6]]).tolist() == [[4, -1, 6], [5, -1, -1]]
    assert pad([[4, 5], [6]], repeated=True).tolist() == [[4, 6], [5, 6]]
