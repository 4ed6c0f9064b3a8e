"""The rival of a candidate is the best network that costs no more by any objective."""

from __future__ import annotations

import random

from explorer.study.rivals import Rivals


def test_it_is_what_a_look_at_all_networks_finds() -> None:
    draw, rivals = random.Random(0), Rivals()
    known: list[tuple[int, tuple[int, int], float]] = []
    for number in range(200):
        costs = (draw.randrange(9), draw.randrange(9))
        cheaper = [each for each in known if each[1][0] <= costs[0] and each[1][1] <= costs[1]]
        found, best = rivals.find(costs), max((score for _, _, score in cheaper), default=None)
        assert (found is None) == (best is None)
        if found is not None:
            assert best == {of: score for of, _, score in known}[found]
            assert found == min(of for of, _, score in cheaper if score == best)
        known.append((number, costs, draw.randrange(30) / 30))
        rivals.add(*known[-1])


def test_one_that_is_no_better_than_a_cheaper_one_is_never_found() -> None:
    rivals = Rivals()
    rivals.add(0, (1.0, 1.0), 0.8)
    rivals.add(1, (2.0, 1.0), 0.8)
    assert (rivals.find((3.0, 3.0)), rivals.find((0.5, 3.0))) == (0, None)
