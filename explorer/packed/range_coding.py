"""Whole numbers through a range coder whose probabilities are learnt from what was coded before, equally on both sides.

All counts are whole numbers below 2^24, which floating point holds exactly; `constriction` scales them to fixed point
by additions, multiplications and one division, each of which IEEE 754 rounds in one way. No function that differs
between machines takes part, so that what one has written any other reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from explorer.arrays import Int64Array
from explorer.errors import ExportError

PRIOR_TOTAL = 1 << 16
"""Sum of the counts that a prior begins with, about."""
SEEN = 256
"""What a symbol that was coded adds to its count: a prior weighs as much as 256 symbols."""
LARGEST_TOTAL = 1 << 23
"""Sum of counts beyond which all are halved."""
FIRST_CHUNK, CHUNKS = 64, 1024
"""Symbols after which counts are brought up to date, and how often at most that is done."""
CLASSES = 33
"""Of numbers by their length in bits: 0 to 32."""
_RAW_BITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """A bell over the whole numbers -limit..limit, before any is seen: two whole numbers in 0..255 give its shape.

    With w(0) = 1, w(k + 1) = w(k) r(k) and r(k + 1) = r(k) q: r(0) = spread / (spread + 8) says how wide it is, and
    q = 1 - (bend / 256)^2 how fast it falls far out; geometric at a bend of 0, Gaussian where q is r(0)^2.
    """

    limit: int
    spread: int
    bend: int

    def counts(self) -> Int64Array:
        """Return a count of at least 1 for each number."""
        found: Int64Array = _list_counts(self.limit, [(self.spread, self.bend)])[0]
        return found


def fit_prior(values: NDArray[Any]) -> Prior:
    """Return the prior under which whole numbers have the shortest code, nearly: a grid, and a finer one around it."""
    limit = int(np.abs(values.astype(np.int64)).max(initial=0))
    occurs = np.bincount(values.astype(np.int64).ravel() + limit, minlength=2 * limit + 1)

    def shortest(shapes: list[tuple[int, int]]) -> tuple[int, int]:
        counts = _list_counts(limit, shapes)
        lengths = -(occurs * np.log2(counts / counts.sum(1, keepdims=True))).sum(1)
        return shapes[int(lengths.argmin())]

    best = shortest([(spread, bend) for spread in range(0, 256, 15) for bend in range(0, 256, 15)])
    for reach in (8, 4, 2, 1):
        near = [(best[0] + a, best[1] + b) for a in (-reach, 0, reach) for b in (-reach, 0, reach)]
        best = shortest([shape for shape in near if min(shape) >= 0 and max(shape) <= 255])
    return Prior(limit=limit, spread=best[0], bend=best[1])


def _list_counts(limit: int, shapes: Sequence[tuple[int, int]]) -> Int64Array:
    """Return the counts of priors, of (spread, bend) each (shapes x 2 limit + 1)."""
    spread, bend = np.array(shapes, dtype=np.int64).T
    weight, ratio = np.full(len(shapes), 1 << 24), (spread << 16) // (spread + 8)
    tail = np.empty((limit, len(shapes)), dtype=np.int64)
    for place in range(limit):
        weight = weight * ratio >> 16
        ratio = ratio * ((1 << 16) - bend**2) >> 16
        tail[place] = weight
    weights = np.concatenate([tail[::-1], np.full((1, len(shapes)), 1 << 24), tail]).T.copy()
    counts: Int64Array = weights * PRIOR_TOTAL // weights.sum(1, keepdims=True) + 1
    return counts


class Writer:
    """Codes whole numbers one after the other."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    @property
    def num_bits(self) -> int:
        """Bits so far."""
        return int(self._coder.num_bits())

    def bell(self, values: NDArray[Any], prior: Prior) -> NDArray[Any]:
        """Code numbers in -limit..limit, of any shape, in the order of memory, and return them."""
        if not prior.limit:  # one symbol alone takes nothing
            return values
        flat = values.ravel().astype(np.int32) + np.int32(prior.limit)
        counts = _Counts(prior.counts())
        for part in _chunks(flat.size):
            self._coder.encode(flat[part], counts.model())
            counts.add(flat[part])
        return values

    def symbols(self, counts: Int64Array, values: Int64Array) -> Int64Array:
        """Code numbers 0.. under counts of at least 1, and return them."""
        self._coder.encode(values.astype(np.int32), _Counts(counts).model())
        return values

    def numbers(self, values: NDArray[Any]) -> None:
        """Code numbers of up to 32 bits and a sign: how long each is, and its bits."""
        whole = values.ravel().astype(np.int64)
        sizes = np.abs(whole)
        lengths = _lengths(sizes)
        counts = _Counts(np.full(CLASSES, SEEN // 8, dtype=np.int64))
        for part in _chunks(whole.size):
            self._coder.encode(lengths[part].astype(np.int32), counts.model())
            counts.add(lengths[part])
        left = lengths > 0
        raw = 2 * (sizes[left] - (1 << (lengths[left] - 1))) + (whole[left] < 0)
        for shift, bits in _raw_parts(lengths[left]):
            chosen = bits > 0
            symbols = raw[chosen] >> shift & ((1 << bits[chosen]) - 1)
            if symbols.size:
                self._coder.encode(symbols.astype(np.int32), _UNIFORM, (1 << bits[chosen]).astype(np.int32))

    def data(self) -> bytes:
        """Return what was coded: 32-bit words."""
        return bytes(self._coder.get_compressed().astype("<u4").tobytes())


class Reader:
    """Reads what a `Writer` coded, by the same calls.

    Damage gives other numbers, which is for a checksum to find; ExportError where it gives none.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) % 4:
            raise ExportError(f"{len(data)} bytes of coded numbers are no whole words; the data are damaged")
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))

    def bell(self, values: NDArray[Any], prior: Prior) -> Int64Array:
        """Return as many numbers in -limit..limit as `values` has, in its shape."""
        found, counts = np.zeros(values.size, dtype=np.int64), _Counts(prior.counts())
        if prior.limit:
            for part in _chunks(values.size):
                found[part] = self._decode(counts.model(), part.stop - part.start)
                counts.add(found[part])
        return (found - prior.limit).reshape(values.shape)

    def symbols(self, counts: Int64Array, values: Int64Array) -> Int64Array:
        """Return as many numbers as `values` has."""
        return self._decode(_Counts(counts).model(), len(values))

    def numbers(self, count: int) -> Int64Array:
        """Return so many numbers with their signs."""
        lengths, counts = np.zeros(count, dtype=np.int64), _Counts(np.full(CLASSES, SEEN // 8, dtype=np.int64))
        for part in _chunks(count):
            lengths[part] = self._decode(counts.model(), part.stop - part.start)
            counts.add(lengths[part])
        left = lengths > 0
        raw = np.zeros(int(left.sum()), dtype=np.int64)
        for shift, bits in _raw_parts(lengths[left]):
            chosen = bits > 0
            if chosen.any():
                raw[chosen] |= self._decode(_UNIFORM, (1 << bits[chosen]).astype(np.int32)) << shift
        values = np.zeros(count, dtype=np.int64)
        values[left] = ((raw >> 1) + (1 << (lengths[left] - 1))) * np.where(raw & 1, -1, 1)
        return values

    def _decode(self, model: Any, of: Any) -> Int64Array:
        try:
            return np.asarray(self._coder.decode(model, of)).astype(np.int64)
        except (AssertionError, ValueError) as error:
            raise ExportError(f"coded numbers cannot be read ({error}); the data are damaged") from error


_UNIFORM = constriction.stream.model.Uniform()


class _Counts:
    """How often each symbol is expected."""

    def __init__(self, counts: Int64Array) -> None:
        self._counts = counts
        self._limit()

    def model(self) -> Any:
        return constriction.stream.model.Categorical(self._counts.astype(np.float64), perfect=False)

    def add(self, symbols: NDArray[Any]) -> None:
        self._counts += SEEN * np.bincount(symbols, minlength=len(self._counts))
        self._limit()

    def _limit(self) -> None:
        while self._counts.sum() > LARGEST_TOTAL:
            self._counts = (self._counts + 1) // 2


def _chunks(count: int) -> list[slice]:
    size = FIRST_CHUNK + count // CHUNKS
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _lengths(sizes: Int64Array) -> Int64Array:
    """Return the number of bits of whole numbers that are not negative."""
    lengths = np.zeros(sizes.shape, dtype=np.int64)
    for bit in range(CLASSES - 1):
        lengths += sizes >= 1 << bit
    if sizes.size and int(sizes.max()) >= 1 << (CLASSES - 1):
        raise ValueError(f"numbers must lie within 32 bits, received {int(sizes.max())}")
    return lengths


def _raw_parts(lengths: Int64Array) -> list[tuple[int, Int64Array]]:
    """Return (place of the lowest bit, bits) of the parts in which numbers of so many bits are coded as they are."""
    return [
        (0, np.minimum(lengths, _RAW_BITS)),
        (_RAW_BITS, np.clip(lengths - _RAW_BITS, 0, _RAW_BITS)),
    ]
