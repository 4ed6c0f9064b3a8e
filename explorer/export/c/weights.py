"""How the weights of a layer are stored: a byte each, or as packed indices, into a codebook or of their own width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explorer.arrays import Int64Array
from explorer.integer.program import Integers

BYTE = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredWeights:
    """Bytes of a layer's weights.

    Attributes:
        values: int8, the weights of each filter one behind the other; or the codebook, of one row or one for each
            filter; None where the indices are weights less the smallest that `bits` hold.
        packed: uint8, indices of `bits` each, None where `values` are the weights; each filter begins with a byte.
        bits: Of an index, or of a weight.
        codebook_step: From the codebook of a filter to the next.
    """

    values: Integers | None
    packed: Integers | None
    bits: int
    codebook_step: int = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of both arrays."""
        return sum(array.size for array in (self.values, self.packed) if array is not None)


def store_weights(weight: Integers) -> StoredWeights:
    """Return the smallest form of weights (filters x weights of each, int8); of equal ones the first.

    In this order: bytes, their own width, a codebook for all filters, one for each.
    """
    rows = weight.astype(np.int64)
    options = [StoredWeights(values=weight.astype(np.int8), packed=None, bits=BYTE)]
    own = max(1, int(max(rows.max(), -rows.min() - 1)).bit_length() + 1)
    if own < BYTE:
        options.append(StoredWeights(values=None, packed=_pack(rows + (1 << (own - 1)), own), bits=own))
    shared, found = np.unique(rows, return_inverse=True)
    options += _with_codebook(shared[None], found.reshape(rows.shape))
    tables = [np.unique(row) for row in rows]
    longest = max(len(table) for table in tables)
    books = np.stack([np.pad(table, (0, longest - len(table)), mode="edge") for table in tables])
    options += _with_codebook(books, np.stack([np.searchsorted(t, row) for t, row in zip(tables, rows, strict=True)]))
    return min(options, key=lambda option: option.size_bytes)


def _with_codebook(books: Int64Array, indices: Int64Array) -> list[StoredWeights]:
    """Return the form with one codebook (1 x size), or one for each filter; none where an index takes a byte."""
    bits = max(1, (books.shape[1] - 1).bit_length())
    if bits >= BYTE:
        return []
    step = books.shape[1] if len(books) > 1 else 0
    packed = _pack(indices, bits)
    return [StoredWeights(values=books.astype(np.int8), packed=packed, bits=bits, codebook_step=step)]


def _pack(indices: Int64Array, bits: int) -> Integers:
    """Return indices (filters x weights) as bits, the lowest first, each filter from a whole byte on."""
    split = (indices[..., None] >> np.arange(bits)) & 1
    return np.packbits(split.reshape(len(indices), -1).astype(np.uint8), axis=1, bitorder="little")
