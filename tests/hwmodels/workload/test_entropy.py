"""Entropies of integers, against their definition over counted shares."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels import LayerError, measure_entropy


@given(integers=st.lists(st.integers(-128, 127), min_size=1))
def test_an_entropy_is_that_of_the_shares(integers: list[int]) -> None:
    shares = [count / len(integers) for count in Counter(integers).values()]
    expected = -math.fsum(share * math.log2(share) for share in shares)
    assert measure_entropy(np.array(integers, dtype=np.int8)) == pytest.approx(expected, abs=1e-12)
    assert 0.0 <= measure_entropy(integers) <= math.log2(len(shares)) + 1e-12


@pytest.mark.parametrize(
    ("integers", "received"), [([], "0 of type float64"), ([0.5], "1 of type float64"), ([True], "1 of type bool")]
)
def test_what_is_no_integer_is_refused(integers: npt.ArrayLike, received: str) -> None:
    with pytest.raises(LayerError, match=f"integers: expected at least one integer, received {received}"):
        measure_entropy(integers)


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(LayerError, match=r"integers: expected an array, received rows of different lengths: put them"):
        measure_entropy([[1, 2], [3]])
