"""Bytes of weights whose zeros are left out: three formats that say in three ways where the others stand.

All counts broadcast; sizes are those of the packed layer, rounded up to whole bytes, without biases and scales.
"""

from __future__ import annotations

import numpy as np

from hwmodels.arrays import BoolArray, FloatArray, IntArray, IntLike
from hwmodels.checks import check_whole_number
from hwmodels.errors import LayerError
from hwmodels.workload.layer import MAXIMUM_BITS

RUN_BITS = range(1, 9)
"""Widths tried for a run of zeros. Han et al. (ICLR 2016) use 8 bits in convolutions and 5 in linear layers."""

ROW_POINTER_BITS = 32
"""Width of a row pointer: assumed (the 32-bit integers of common CSR libraries)."""

_ROUNDING = 1e-4
"""What a ratio of counts may be off by in floating point, in counts: 3 of 10 weights must not become 4."""


def count_nonzero(weights: IntLike, density: FloatArray | float) -> IntArray:
    """Return density * weights, rounded up to a whole number."""
    return round_up(np.asarray(density, dtype=np.float64) * weights)


def round_up(value: FloatArray) -> IntArray:
    """Return the next whole number, where the value may be off by rounding in floating point."""
    whole: IntArray = np.ceil(value - _ROUNDING).astype(np.int64)
    return whole


def whole_bytes(bits: IntArray) -> IntArray:
    """Return bits / 8, rounded up; by a shift, which takes a third of the time of a division."""
    size: IntArray = (bits + 7) >> 3
    return size


def bitmap_bytes(weights: IntLike, nonzero: IntLike, bits: IntLike) -> IntArray:
    """Return bytes for weights + nonzero * bits: one bit for each weight says whether its value follows.

    Example:
        >>> import hwmodels
        >>> int(hwmodels.bitmap_bytes(weights=1000, nonzero=250, bits=8))
        375
    """
    return whole_bytes(weights + nonzero * np.asarray(bits))


def csr_bytes(weights_per_channel: IntLike, channels: IntLike, nonzero: IntLike, bits: IntLike) -> IntArray:
    """Return bytes of compressed sparse rows; a row holds the weights of one output channel.

    nonzero * (bits + ceil(log2 weights_per_channel)) for values and columns, and channels + 1 pointers of 32 bits.
    """
    entries = nonzero * (index_bits(weights_per_channel) + bits)
    return whole_bytes(entries + (np.asarray(channels) + 1) * ROW_POINTER_BITS)


def index_bits(values: IntLike) -> IntArray:
    """Return ceil(log2 values), the width of an index into so many values; 0 for one value."""
    # The exponent of n - 1 is its number of binary digits: exact, where a logarithm might round.
    exponent = np.frexp(np.maximum(np.asarray(values), 1) - 1.0)[1]
    bits: IntArray = exponent.astype(np.int64)
    return bits


def relative_index_bytes(weights: IntLike, nonzero: IntLike, bits: IntLike) -> IntArray:
    """Return bytes of values with the run of zeros before each (Han et al., ICLR 2016), for zeros placed at random.

    An entry is a value of `bits` and a run of `g` bits, 0 to 2^g - 1 zeros. Where more zeros stand before a value,
    fillers are put in: entries of value zero, each of which takes 2^g positions (a full run and its own). A run of r
    zeros thus needs floor(r / 2^g) fillers. Where a share q of the weights is zero, at random, a run has at least r
    zeros with probability q^r, so that the fillers of one value are expected to be

        sum over j >= 1 of P(r >= j 2^g) = sum of q^(j 2^g) = Q / (1 - Q),  with Q = q^(2^g),

    and there are nonzero / (1 - Q) entries in all. In a layer of finite size the exact mean is a little smaller, as
    P(r >= s) is a product of s factors (zeros - i) / (weights - i), none above q. Of the widths 1..8 the one of
    the smallest size is taken.

    `0 <= nonzero <= weights` must hold; a layer without a nonzero weight takes 0 bytes.
    """
    nonzero = np.asarray(nonzero)
    values, bits = nonzero.astype(np.float64), np.asarray(bits, dtype=np.float64)
    long_run = np.where(nonzero > 0, 1.0 - values / np.maximum(weights, 1), 0.0)
    smallest = np.asarray(np.inf)
    for run_bits in RUN_BITS:
        long_run = long_run * long_run
        entries = np.ceil(values / (1.0 - long_run) - _ROUNDING)
        smallest = np.minimum(smallest, entries * (bits + run_bits))
    return whole_bytes(smallest.astype(np.int64))


def measure_relative_index_bytes(mask: BoolArray, bits: int) -> int:
    """Return the exact bytes in that format of one layer, whose `mask` is true where a weight is not zero.

    Weights are taken in the order of memory (the last axis varies fastest), one run leading over from one
    output channel to the next; zeros behind the last value need no entry, since the number of weights is known.

    Raises:
        LayerError: the mask is not of booleans, or `bits` is not a whole number from 1 to 32.

    Example:
        >>> import hwmodels
        >>> import numpy as np
        >>> mask = np.arange(1000) % 4 == 0
        >>> hwmodels.measure_relative_index_bytes(mask, bits=8)
        313
    """
    problems = check_whole_number("bits", bits, 1, MAXIMUM_BITS)
    mask = np.asarray(mask)
    if mask.dtype != np.bool_:
        problems.append(f"mask: expected booleans (true where a weight is not zero), received {mask.dtype}")
    if problems:
        raise LayerError(problems)
    positions = np.flatnonzero(mask)
    runs = np.diff(positions, prepend=-1) - 1
    sizes = [(positions.size + int((runs >> run_bits).sum())) * (bits + run_bits) for run_bits in RUN_BITS]
    return -(-min(sizes) // 8)
