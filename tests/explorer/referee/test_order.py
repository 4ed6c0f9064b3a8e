"""Agreement of orders: by hand, against a count over all pairs, and at its borders."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.referee.order import OrderAgreement, compare_orders


def test_by_hand() -> None:
    """Of the pairs of four, (100, 104) is in another order, and (130, 130) is none of ours."""
    found = compare_orders([100, 104, 130, 130], [50, 49, 60, 61])
    assert (found.pairs, found.agreeing) == (6, 4)
    assert found.widest == pytest.approx(0.04)
    assert found.tau == pytest.approx((4 - 1) / math.sqrt(6 * 5))  # Kendall's tau-b, one tie on our side


def test_one_order_and_its_reverse() -> None:
    assert compare_orders([1, 2, 3], [4, 6, 9]) == OrderAgreement(tau=1.0, pairs=3, agreeing=3, widest=0.0)
    reverse = compare_orders([3, 2, 1], [4, 6, 9])
    assert (reverse.tau, reverse.agreeing, reverse.widest) == (-1.0, 0, 2.0)
    assert compare_orders([1, 0], [4, 6]).widest == math.inf


@pytest.mark.parametrize(("modelled", "measured"), [([5, 5], [1, 2]), ([1, 2], [7, 7]), ([4], [4]), ([], [])])
def test_without_an_order_there_is_no_tau(modelled: list[float], measured: list[float]) -> None:
    found = compare_orders(modelled, measured)
    assert found.tau is None
    assert found.agreeing == 0
    assert found.widest == 0.0


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=2, max_size=12))
def test_counts_are_those_of_all_pairs(figures: list[tuple[int, int]]) -> None:
    found = compare_orders(*([row[side] for row in figures] for side in (0, 1)))
    signs = [((a > c) - (a < c), (b > d) - (b < d), a, c) for (a, b), (c, d) in combinations(figures, 2)]
    same, other = sum(x * y > 0 for x, y, _, _ in signs), sum(x * y < 0 for x, y, _, _ in signs)
    assert found.pairs == sum(y != 0 for _, y, _, _ in signs)
    assert found.agreeing == same
    wrong = [max(a, c) / min(a, c) - 1 for x, y, a, c in signs if y and x != y]
    assert found.widest == pytest.approx(max(wrong, default=0.0))
    ours, theirs = (sum(sign[side] != 0 for sign in signs) for side in (0, 1))
    if ours and theirs:
        assert found.tau == pytest.approx((same - other) / math.sqrt(ours * theirs))
    else:
        assert found.tau is None
