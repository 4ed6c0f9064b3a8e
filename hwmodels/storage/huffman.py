"""Huffman codes of codebook indices: how long each code is, and what a coded layer takes in storage."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import numpy as np

from hwmodels.arrays import IntArray
from hwmodels.checks import check_whole_number
from hwmodels.errors import LayerError
from hwmodels.workload.layer import MAXIMUM_BITS

CODE_LENGTH_BITS = 8
"""Width of one entry of the code table: assumed. Lengths alone suffice, since a canonical code follows from them."""

Counts = Sequence[int] | IntArray
"""How often each index into the codebook occurs; 0 for one that no weight uses."""


def code_lengths(counts: Counts) -> tuple[int, ...]:
    """Return the length in bits of every index's code, 0 for an index that does not occur.

    An index that is the only one gets 1 bit, so that a decoder can count. Of equal counts the index is merged
    before a merged pair, and the lower or older one first: of all optimal codes this is one whose longest code
    is shortest (Schwartz, 1964), and the result is the same everywhere.

    Source: Huffman, "A method for the construction of minimum-redundancy codes", Proc. IRE 1952.

    Raises:
        LayerError: counts are not whole numbers of at least 0, or none is above 0.

    Example:
        >>> import hwmodels
        >>> hwmodels.code_lengths([8, 4, 2, 2, 0])
        (1, 2, 3, 3, 0)
    """
    checked = _checked(counts)
    used = [index for index, count in enumerate(checked) if count]
    lengths = [0] * len(checked)
    if len(used) == 1:
        lengths[used[0]] = 1
        return tuple(lengths)
    parent = _merge([checked[index] for index in used])
    depth = [0] * len(parent)
    # A pair is numbered after what it merges: from the root (the last) downwards every parent is known.
    for node in range(len(parent) - 2, -1, -1):
        depth[node] = depth[parent[node]] + 1
    for leaf, index in enumerate(used):
        lengths[index] = depth[leaf]
    return tuple(lengths)


def mean_code_bits(counts: Counts) -> float:
    """Return the mean length of a code in bits per weight: the sum of count * length over the sum of counts.

    At least the entropy of the counts, and less than the entropy + 1.

    Raises:
        LayerError: counts are not whole numbers of at least 0, or none is above 0.

    Example:
        >>> import hwmodels
        >>> hwmodels.mean_code_bits([8, 4, 2, 2])
        1.75
    """
    checked = _checked(counts)
    return _coded_bits(checked) / sum(checked)


def huffman_bytes(counts: Counts, value_bits: int) -> int:
    """Return the bytes of a layer's coded indices, its codebook and its code table, bit by bit without gaps.

    Every entry of the codebook takes `value_bits` and a code length of 8 bits, used or not. Equal to
    `hwmodels.storage.memory.codebook_huffman_bytes` of as many weights with their mean code length (Han et al., 2016).

    Raises:
        LayerError: counts are not whole numbers of at least 0, or none is above 0; or `value_bits` is not a
            whole number from 1 to 32.

    Example:
        >>> import hwmodels
        >>> hwmodels.huffman_bytes([800, 100, 60, 40], value_bits=8)
        171
    """
    problems = check_whole_number("value_bits", value_bits, 1, MAXIMUM_BITS)
    if problems:
        raise LayerError(problems)
    checked = _checked(counts)
    bits = _coded_bits(checked) + len(checked) * (value_bits + CODE_LENGTH_BITS)
    return -(-bits // 8)


def _checked(counts: Counts) -> list[int]:
    """Return the counts as plain numbers that do not overflow."""
    given = np.asarray(counts)
    if given.ndim != 1 or not given.size or not np.issubdtype(given.dtype, np.integer) or given.min() < 0:
        raise LayerError(
            "counts: expected whole numbers of at least 0, one for each entry of the codebook, "
            f"received {_shown(counts)}"
        )
    if not given.max():
        raise LayerError("counts: expected at least one above 0 (a code needs a weight to code), received only zeros")
    numbers: list[int] = given.tolist()
    return numbers


def _shown(counts: object) -> str:
    """Return the counts as text, cut off where it gets long."""
    text = repr(counts)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _coded_bits(counts: list[int]) -> int:
    """Return the bits of all coded indices."""
    return sum(count * length for count, length in zip(counts, code_lengths(counts), strict=True))


def _merge(counts: list[int]) -> list[int]:
    """Return each node's parent: leaves in the order given, then pairs in the order of merging, the root last."""
    heap = [(count, node) for node, count in enumerate(counts)]
    heapify(heap)
    parent = [0] * (2 * len(counts) - 1)
    for pair in range(len(counts), len(parent)):
        first, left = heappop(heap)
        second, right = heappop(heap)
        parent[left] = parent[right] = pair
        heappush(heap, (first + second, pair))
    return parent
