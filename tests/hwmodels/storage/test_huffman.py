"""Huffman code lengths by hand, against an exhaustive search, and as a code that can be decoded (Hypothesis)."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.errors import LayerError
from hwmodels.storage.huffman import code_lengths, huffman_bytes, mean_code_bits
from hwmodels.storage.memory import codebook_huffman_bytes

counts_of_several = st.lists(st.integers(0, 1000), min_size=2, max_size=64).filter(lambda c: np.count_nonzero(c) > 1)


def test_the_textbook_alphabet() -> None:
    # Cormen et al., "Introduction to Algorithms", figure 16.3: a to f with frequencies in thousands, 224 in all.
    counts = [45, 13, 12, 16, 9, 5]
    assert code_lengths(counts) == (1, 3, 3, 3, 4, 4)
    assert mean_code_bits(counts) == 2.24
    # 224 bits of indices, 6 values of 8 bits and 6 lengths of 8 bits: 320 bits.
    assert huffman_bytes(counts, 8) == 40


def test_of_codes_of_one_size_the_one_with_the_shortest_longest_code_is_taken() -> None:
    # (3, 3, 2, 1) takes 12 bits as well.
    assert code_lengths([1, 1, 2, 2]) == (2, 2, 2, 2)


def test_one_index_takes_a_bit_and_an_unused_one_none() -> None:
    assert code_lengths([7]) == (1,)
    assert code_lengths([0, 7, 0]) == (0, 1, 0)
    assert code_lengths([0, 1, 0, 1]) == (0, 1, 0, 1)
    # An unused value keeps its place in the codebook: 7 bits + 3 * (4 + 8).
    assert huffman_bytes([0, 7, 0], 4) == 6


def test_counts_may_be_an_array_and_exceed_32_bits() -> None:
    counts = np.array([2**40, 2**40, 2**40, 2**40], dtype=np.int64)
    assert code_lengths(counts) == (2, 2, 2, 2)
    assert huffman_bytes(counts, 8) == 2**40 + 8


@pytest.mark.parametrize("counts", [[], [[1, 2]], [1, -1], [0.5, 1.0], [True, False], list(range(-1, 100)), [2**70, 1]])
def test_wrong_counts_are_refused(counts: list[int]) -> None:
    for function in (code_lengths, mean_code_bits, lambda counts: huffman_bytes(counts, 8)):
        with pytest.raises(LayerError, match=r"counts: expected whole numbers of at least 0, one for each entry"):
            function(counts)


def test_a_code_without_weights_is_refused() -> None:
    with pytest.raises(LayerError, match=r"counts: expected at least one above 0 .* received only zeros"):
        code_lengths([0, 0])


def test_a_wrong_value_width_is_refused() -> None:
    with pytest.raises(LayerError, match=r"value_bits: expected a whole number from 1 to 32, received 33"):
        huffman_bytes([1, 2], 33)


@given(counts=counts_of_several)
def test_kraft_equality_and_entropy(counts: list[int]) -> None:
    lengths = code_lengths(counts)
    assert [length > 0 for length in lengths] == [count > 0 for count in counts]
    assert sum(Fraction(1, 2**length) for length in lengths if length) == 1
    share = np.array([count for count in counts if count]) / sum(counts)
    entropy = float(-(share * np.log2(share)).sum())
    assert entropy - 1e-9 <= mean_code_bits(counts) < entropy + 1


@given(counts=counts_of_several)
def test_lengths_are_those_of_a_prefix_code(counts: list[int]) -> None:
    codes, code, before = [], 0, 0
    for length in sorted(length for length in code_lengths(counts) if length):
        code <<= length - before
        codes.append(f"{code:0{length}b}")
        code, before = code + 1, length
    # Sorted as texts, a prefix of any code would stand right before one that it starts.
    assert not any(longer.startswith(shorter) for shorter, longer in pairwise(sorted(codes)))
    assert len(set(codes)) == np.count_nonzero(counts)


@given(counts=st.lists(st.integers(1, 30), min_size=2, max_size=5))
def test_no_prefix_code_is_shorter(counts: list[int]) -> None:
    bits = sum(count * length for count, length in zip(counts, code_lengths(counts), strict=True))
    possible = product(range(1, len(counts)), repeat=len(counts))
    prefix_codes = (lengths for lengths in possible if sum(2.0**-length for length in lengths) <= 1)
    assert bits == min(
        sum(count * length for count, length in zip(counts, lengths, strict=True)) for lengths in prefix_codes
    )


@given(counts=counts_of_several, scale=st.integers(1, 10**6), value_bits=st.integers(1, 32))
def test_bytes_follow_from_the_mean_length(counts: list[int], scale: int, value_bits: int) -> None:
    counts = [count * scale for count in counts]
    by_formula = codebook_huffman_bytes(sum(counts), value_bits, len(counts), mean_code_bits(counts))
    assert huffman_bytes(counts, value_bits) == int(by_formula)


@given(counts=counts_of_several)
def test_frequent_indices_never_have_longer_codes(counts: list[int]) -> None:
    used = sorted((count, -length) for count, length in zip(counts, code_lengths(counts), strict=True) if count)
    for (low, short), (high, long) in pairwise(used):
        assert low == high or short <= long
