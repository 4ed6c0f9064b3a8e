"""Parts that cost the same: numbered as a dictionary of all that they depend on would."""

import numpy as np

from explorer.arrays import Int64Array
from explorer.evaluate.parts import Facts, number_distinct

NETWORKS, PARTS = 7, 5


def draw(largest: int) -> Facts:
    random = np.random.default_rng(0)
    return Facts(*(random.integers(0, largest + 1, (NETWORKS, PARTS)) for _ in Facts._fields))


def rows(facts: Facts) -> list[tuple[int, ...]]:
    """The place in the network and all facts of each part, row by row."""
    columns: list[Int64Array] = [np.tile(np.arange(PARTS), NETWORKS), *(each.ravel() for each in facts)]
    return list(zip(*(each.tolist() for each in columns), strict=True))


def test_parts_are_of_one_kind_whose_place_and_facts_are_equal() -> None:
    facts = draw(1)
    facts.codes[3:], facts.inputs[3:], facts.read_bits[3:] = facts.codes[0], facts.inputs[0], facts.read_bits[0]
    found = number_distinct(facts)
    assert found is not None
    places, kinds = found
    listed = rows(facts)
    assert len(places) == len(set(listed)) < len(listed)
    assert [listed[places[kind]] for kind in kinds.ravel()] == listed
    assert kinds.flags.c_contiguous


def test_none_are_numbered_that_whole_numbers_cannot_tell_apart() -> None:
    assert number_distinct(draw(2**10 - 2)) is not None
    assert number_distinct(draw(2**11)) is None
