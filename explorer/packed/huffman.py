"""Canonical Huffman codes: whole numbers to bits packed in bytes, and back."""

from __future__ import annotations

from heapq import merge
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from explorer.arrays import Int64Array
from explorer.errors import ExportError
from hwmodels import code_lengths

MAXIMUM_LENGTH = 15
"""Bits of the longest code, so that a length takes 4 bits of a table (DEFLATE's limit, RFC 1951). The optimal code
is longer only where counts grow like Fibonacci's numbers up to 1,597 and more."""
MAXIMUM_ALPHABET = 2**MAXIMUM_LENGTH


class Coded(NamedTuple):
    """Coded symbols: the length of each symbol's code (0 for one that does not occur), and the codes one by one.

    `data` ends with zero bits up to a whole byte; `bits` does not count these.
    """

    lengths: tuple[int, ...]
    data: bytes
    bits: int


def encode(symbols: npt.ArrayLike) -> Coded:
    """Code whole numbers from 0 to MAXIMUM_ALPHABET - 1, of any shape, in the order of memory.

    The code is canonical (Schwartz and Kallick, 1964): of equal lengths the smaller symbol has the smaller code, so
    that the lengths, from symbol 0 to the largest, are all that a decoder needs. They are optimal
    (`hwmodels.code_lengths`), or the best of at most MAXIMUM_LENGTH bits. Nothing gives no table and no data.

    Raises:
        ValueError: For anything but such numbers.
    """
    flat = np.asarray(symbols).ravel()
    if not flat.size:
        return Coded((), b"", 0)
    if not np.issubdtype(flat.dtype, np.integer) or flat.min() < 0 or flat.max() >= MAXIMUM_ALPHABET:
        raise ValueError(f"symbols must be whole numbers from 0 to {MAXIMUM_ALPHABET - 1}, received {flat.dtype}")
    lengths = limit_lengths(np.bincount(flat.astype(np.int64)))
    table = np.array(lengths)
    widths = table[flat]
    ends = np.cumsum(widths)
    left = np.repeat(ends, widths) - np.arange(ends[-1]) - 1
    bits = np.repeat(_codes(table)[flat], widths) >> left & 1
    return Coded(lengths, np.packbits(bits.astype(np.uint8)).tobytes(), int(ends[-1]))


def decode(lengths: npt.ArrayLike, data: bytes, count: int) -> Int64Array:
    """Return the `count` symbols that `encode` made `data` of, given its table.

    Damage that gives another valid text is for a checksum to find.

    Raises:
        ExportError: Where the table is no code of at most MAXIMUM_LENGTH bits, or `data` is not exactly as long as
            `count` symbols and padded with zeros.
    """
    table = np.asarray(lengths, dtype=np.int64)
    _refuse_no_code(table, count)
    if count == 0:
        if data:
            raise ExportError(f"huffman: no symbols are coded, but {len(data)} bytes follow; the data are damaged")
        return np.zeros(0, dtype=np.int64)
    longest = int(table.max())
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if bits.size < count:
        raise ExportError(
            f"huffman: {count} symbols need at least as many bits, received {bits.size}; data are missing"
        )
    symbol_at, steps = _lookup(table, longest, bits)
    position, positions = 0, []
    try:
        for _ in range(count):
            positions.append(position)
            step = steps[position]
            if not step:
                raise ExportError(f"huffman: bit {position} starts no code of the table; the data are damaged")
            position += step
    except IndexError:
        raise ExportError(
            f"huffman: the data end after {len(positions) - 1} of {count} symbols; data are missing"
        ) from None
    if position > bits.size:
        raise ExportError(f"huffman: the data end within the last of {count} symbols; data are missing")
    if bits.size - position >= 8 or bits[position:].any():
        raise ExportError(f"huffman: {bits.size - position} bits follow the last symbol; the data are damaged")
    return symbol_at[positions].astype(np.int64)


def limit_lengths(counts: Int64Array) -> tuple[int, ...]:
    """Return code lengths of symbols that occur so often, at most MAXIMUM_LENGTH; as `code_lengths` wherever these are.

    Otherwise by package-merge, which is optimal under the limit (Larmore and Hirschberg, 1990).
    """
    lengths = code_lengths(counts)
    if max(lengths) <= MAXIMUM_LENGTH:
        return lengths
    coins = sorted((int(count), (symbol,)) for symbol, count in enumerate(counts) if count)
    packages: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(MAXIMUM_LENGTH):
        row = list(merge(coins, packages))
        packages = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(row[::2], row[1::2], strict=False)]
    limited = np.zeros(len(counts), dtype=np.int64)
    for _, symbols in packages[: len(coins) - 1]:
        np.add.at(limited, list(symbols), 1)
    return tuple(limited.tolist())


def _codes(lengths: Int64Array) -> Int64Array:
    """Return the canonical code of every symbol: codes of one length follow each other, longer ones behind them."""
    codes = np.zeros(len(lengths), dtype=np.int64)
    code = 0
    for length in range(1, int(lengths.max()) + 1):
        of_length = np.flatnonzero(lengths == length)
        codes[of_length] = code + np.arange(len(of_length))
        code = (code + len(of_length)) << 1
    return codes


def _lookup(lengths: Int64Array, longest: int, bits: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint16], bytes]:
    """Return (symbol, length) of the code that would start at every bit; length 0 where none does."""
    symbols, widths = np.zeros(1 << longest, dtype=np.uint16), np.zeros(1 << longest, dtype=np.uint8)
    for symbol, code in zip(np.flatnonzero(lengths), _codes(lengths)[lengths > 0], strict=True):
        free = longest - lengths[symbol]
        symbols[code << free : (code + 1) << free] = symbol
        widths[code << free : (code + 1) << free] = lengths[symbol]
    window: npt.NDArray[Any] = np.zeros(bits.size, dtype=np.uint16)
    padded = np.append(bits, np.zeros(longest, dtype=np.uint8)).astype(np.uint16)
    for place in range(longest):
        window = window << 1 | padded[place : place + bits.size]
    return symbols[window], widths[window].tobytes()


def _refuse_no_code(lengths: Int64Array, count: int) -> None:
    """Raise ExportError unless the lengths are those of a complete prefix code, or of a single symbol."""
    used = lengths[lengths > 0]
    if count == 0 and not len(lengths):
        return
    fits = lengths.ndim == 1 and len(lengths) <= MAXIMUM_ALPHABET and lengths.min(initial=0) >= 0
    if not fits or lengths.max(initial=0) > MAXIMUM_LENGTH or count < 1:
        raise ExportError(f"huffman: not a table of code lengths up to {MAXIMUM_LENGTH}; the data are damaged")
    filled = int((1 << (MAXIMUM_LENGTH - used)).sum())
    if filled != 1 << MAXIMUM_LENGTH and not (len(used) == 1 and used[0] == 1):
        raise ExportError("huffman: the code lengths of the table are those of no Huffman code; the data are damaged")
