"""The range coder gives back what it was given, in about as many bits as its symbols' entropy."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from explorer.errors import ExportError
from explorer.packed.range_coding import PRIOR_TOTAL, Prior, Reader, Writer, fit_prior

WHOLE = 2**32 - 1
FIXED = (
    "50e7fe92732968eb588a66a7bb7efa9804b1a88214d12f6daa7deb4e5961bdfdac111ccf92c2394f348edcd6b99ccb1e4570"
    "15c36d8eea4784079866e1510d8079d8add500000000"
)


@given(
    arrays.arrays(np.int8, st.integers(0, 300), elements=st.integers(-127, 127)),
    st.lists(st.integers(-WHOLE, WHOLE), max_size=90),
    st.integers(0, 255),
    st.integers(0, 255),
)
def test_what_is_written_is_read(weights: np.ndarray, numbers: list[int], spread: int, bend: int) -> None:
    limit = int(np.abs(weights.astype(int)).max(initial=0))
    prior = Prior(limit=limit, spread=spread, bend=bend)
    writer = Writer()
    writer.bell(weights, prior)
    writer.numbers(np.array(numbers, dtype=np.int64))
    writer.bell(weights[::-1], prior)
    reader = Reader(writer.data())
    assert reader.bell(np.zeros_like(weights), prior).tolist() == weights.tolist()
    assert reader.numbers(len(numbers)).tolist() == numbers
    assert reader.bell(np.zeros_like(weights), prior).tolist() == weights[::-1].tolist()


@given(st.integers(0, 2**32 - 1), st.integers(200, 9000), st.floats(0.2, 40.0), st.sampled_from(["normal", "laplace"]))
def test_weights_take_little_more_than_their_entropy(seed: int, count: int, width: float, kind: str) -> None:
    drawn = getattr(np.random.default_rng(seed), kind)(scale=width, size=count)
    weights = np.clip(np.round(drawn), -127, 127).astype(np.int8)
    _, occurs = np.unique(weights, return_counts=True)
    entropy = -float((occurs * np.log2(occurs / count)).sum())
    writer = Writer()
    writer.bell(weights, fit_prior(weights))
    # What is learnt about each value that occurs takes half of the logarithm of the count (Rissanen, 1978), at most.
    assert 8 * len(writer.data()) <= 1.01 * entropy + 0.5 * len(occurs) * np.log2(count) + 96


def test_a_prior_is_the_recurrence_that_it_states() -> None:
    """Rounded down at each step: the same in exact fractions is a little more."""
    for limit, spread, bend in ((3, 8, 0), (20, 100, 60), (127, 255, 0), (5, 0, 255), (40, 60, 30)):
        counts = Prior(limit=limit, spread=spread, bend=bend).counts()
        assert len(counts) == 2 * limit + 1
        assert counts.min() >= 1
        assert counts.tolist() == counts[::-1].tolist()
        weight, ratio, exact = Fraction(1), Fraction(spread, spread + 8), [Fraction(1)]
        for _ in range(limit):
            weight *= ratio
            ratio *= 1 - Fraction(bend, 256) ** 2
            exact.append(weight)
        total = exact[0] + 2 * sum(exact[1:])
        for place, share in enumerate(exact):
            assert counts[limit + place] == pytest.approx(float(PRIOR_TOTAL * share / total) + 1, rel=0.02, abs=1.5)


def test_the_bytes_of_a_file_stay() -> None:
    """A file of an earlier version, or of another machine, has to be read with the same probabilities."""
    writer = Writer()
    writer.bell(np.array([0, 1, -1, 0, 0, 2, -5, 0, 1, 0] * 20), Prior(limit=5, spread=9, bend=77))
    writer.numbers(np.array([0, 7, -70000, 2**31, 1, 1]))
    assert writer.data().hex() == FIXED


def test_numbers_beyond_32_bits_and_words_cut_in_two_are_refused() -> None:
    with pytest.raises(ValueError, match=r"within 32 bits, received 4294967296"):
        Writer().numbers(np.array([2**32]))
    with pytest.raises(ExportError, match="5 bytes of coded numbers are no whole words"):
        Reader(b"12345")
