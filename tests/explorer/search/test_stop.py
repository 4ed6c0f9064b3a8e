"""The end of a search by what is left to gain."""

from __future__ import annotations

from explorer.search.stop import MEAN_GAINS, add_little


def test_only_the_mean_of_many_known_gains_ends_a_search() -> None:
    low = [0.0009, 0.0010] * (MEAN_GAINS // 2)
    assert add_little(low, 0.001)
    assert not add_little(low, 0.0009)
    assert add_little([None, 1.0, *low], 0.001)
    assert not add_little([*low[1:], 0.01], 0.001)
    assert not add_little([*low[1:], None], 0.001), "seeds, whose gain nobody predicts, do not count"
    assert not add_little(low[1:], 0.001)
    assert not add_little([0.0] * 100, 0.0), "0 is a search that its number of trials ends"
