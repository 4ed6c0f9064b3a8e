"""Canonical Huffman codes: what is coded comes back, and damage is found or gives another valid text, never a hang."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.errors import ExportError
from explorer.packed.huffman import MAXIMUM_ALPHABET, MAXIMUM_LENGTH, decode, encode, limit_lengths
from hwmodels import code_lengths, mean_code_bits

texts = st.lists(st.integers(0, 40), max_size=300) | st.lists(st.sampled_from([0, 0, 0, 0, 7, 7, 300]), max_size=300)


@given(text=texts)
def test_what_is_coded_comes_back(text: list[int]) -> None:
    coded = encode(np.array(text, dtype=np.int64))
    assert decode(coded.lengths, coded.data, len(text)).tolist() == text
    assert len(coded.data) == -(-coded.bits // 8)


@given(text=texts.filter(bool))
def test_lengths_and_bits_are_those_of_the_cost_model(text: list[int]) -> None:
    coded, counts = encode(np.array(text)), np.bincount(text)
    assert coded.lengths == code_lengths(counts)
    assert coded.bits == round(mean_code_bits(counts) * len(text))


def test_codes_by_hand() -> None:
    # Lengths 1, 2, 3, 3; codes 0, 10, 110, 111.
    coded = encode([0, 0, 0, 0, 1, 1, 2, 3])
    assert coded.lengths == (1, 2, 3, 3)
    assert coded.bits == 4 + 4 + 6
    assert coded.data == bytes([0b00001010, 0b11011100])


def test_a_single_symbol_takes_a_bit_each() -> None:
    coded = encode([5] * 9)
    assert (coded.lengths, coded.data, coded.bits) == ((0, 0, 0, 0, 0, 1), b"\0\0", 9)
    assert decode(coded.lengths, coded.data, 9).tolist() == [5] * 9


def test_nothing_is_no_table_and_no_data() -> None:
    assert encode([]) == ((), b"", 0)
    assert decode((), b"", 0).tolist() == []


def test_a_layer_of_weights_comes_back() -> None:
    symbols = np.minimum(np.random.default_rng(0).geometric(0.3, 50_000) - 1, 30).reshape(100, 500)
    coded = encode(symbols)
    assert np.array_equal(decode(coded.lengths, coded.data, symbols.size), symbols.ravel())


def fibonacci(count: int) -> np.ndarray:
    numbers = [1, 1]
    while len(numbers) < count:
        numbers.append(numbers[-1] + numbers[-2])
    return np.array(numbers)


def test_codes_are_never_longer_than_the_limit() -> None:
    counts = fibonacci(22)
    assert max(code_lengths(counts)) == 21
    lengths = limit_lengths(counts)
    assert max(lengths) == MAXIMUM_LENGTH
    assert sum(2 ** (MAXIMUM_LENGTH - length) for length in lengths) == 2**MAXIMUM_LENGTH
    bits, unlimited = (int(counts @ np.array(of)) for of in (lengths, code_lengths(counts)))
    assert unlimited < bits < unlimited * 1.002
    text = np.repeat(np.arange(20), fibonacci(20))
    coded = encode(text)
    assert max(coded.lengths) == MAXIMUM_LENGTH
    assert np.array_equal(decode(coded.lengths, coded.data, text.size), text)


@pytest.mark.parametrize("symbols", [[-1], [0.5], [MAXIMUM_ALPHABET], ["a"]])
def test_other_symbols_are_refused(symbols: list[object]) -> None:
    with pytest.raises(ValueError, match="symbols must be whole numbers from 0 to 32767"):
        encode(symbols)  # type: ignore[arg-type]


@given(text=texts.filter(bool), data=st.data())
def test_damage_is_found_or_gives_a_text_of_the_same_length(text: list[int], data: st.DataObject) -> None:
    coded = encode(np.array(text))
    spoilt = bytearray(coded.data)
    spoilt[data.draw(st.integers(0, len(spoilt) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(ExportError):
        found = decode(coded.lengths, bytes(spoilt), len(text))
        assert len(found) == len(text)
        assert set(found.tolist()) <= set(text)


@given(text=texts.filter(bool))
def test_missing_and_surplus_bytes_are_found(text: list[int]) -> None:
    coded = encode(np.array(text))
    with pytest.raises(ExportError, match="data are missing"):
        decode(coded.lengths, coded.data[:-1], len(text))
    with pytest.raises(ExportError, match="bits follow the last symbol; the data are damaged"):
        decode(coded.lengths, coded.data + b"\0", len(text))


@pytest.mark.parametrize(
    ("lengths", "count", "message"),
    [
        ((1, 1, 1), 3, "those of no Huffman code"),
        ((2, 2, 2), 3, "those of no Huffman code"),
        ((0, 2), 3, "those of no Huffman code"),
        ((0, 0), 3, "those of no Huffman code"),
        ((1, 16), 3, "not a table of code lengths up to 15"),
        ((1, -1), 3, "not a table of code lengths up to 15"),
        ((1, 1), 0, "not a table of code lengths up to 15"),
        ((), 3, "those of no Huffman code"),
    ],
)
def test_no_code_is_refused(lengths: tuple[int, ...], count: int, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        decode(lengths, b"\0", count)


def test_bits_that_start_no_code_are_found() -> None:
    with pytest.raises(ExportError, match="bit 2 starts no code of the table"):
        decode((0, 1), b"\x20", 8)
    with pytest.raises(ExportError, match="no symbols are coded, but 1 bytes follow"):
        decode((), b"\0", 0)
