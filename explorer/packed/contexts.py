"""Weights of convolutions, each coded under what those before it say of its size and of its sign.

The places of a kernel are coded one after the other, row by row, of all filters and inputs at a time. How large a
weight is follows its filter, its input and its own kernel so far; what it is about, the four neighbours in its kernel
that are known, as in lossless coding of images (Weinberger et al., 2000, LOCO-I): their sum, weighted by four numbers
for the layer, gives a sign, under which it is coded, and a level. Weights of one class of size and one level share
counts. Whole numbers alone, so that both sides come to the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from explorer.arrays import Int64Array
from explorer.packed.range_coding import SEEN, Prior, Reader, Writer

CLASSES = 8
"""Of sizes, of equally many weights (this, and the constants below, assumed: half or twice as much is 0.3 % longer)."""
LEVELS = (1, 4, 8, 14, 21, 32)
"""Of what a weight is about, in sixteenths of the mean magnitude: those below which a level ends."""
MOST = 127
"""Largest coefficient, in sixteenths."""
MEAN_WEIGHT, PRIOR_WEIGHT = 4, 16
"""What is assumed before anything is seen: of a size so many mean ones, of a distribution so many symbols."""
NEIGHBOUR = SEEN // 2
"""What a symbol adds to the counts of the next class or level."""
CHUNKS, LEAST_CHUNK = 4, 32
"""Parts in which the symbols of one place, class and level are coded, counts brought up to date between them."""
NEIGHBOURS = ((0, -1), (-1, 0), (-1, -1), (-1, 1))
"""Left, above, and above to the left and right: those of a place in a kernel that are coded before it."""

Coefficients = tuple[int, ...]
"""Of each of NEIGHBOURS, in sixteenths."""


class _Class(NamedTuple):
    """The weights of one place of the kernel that share counts: of which size and level, and where (flat) they are."""

    size: int
    level: int
    places: Int64Array


def has_kernels(shape: tuple[int, ...]) -> bool:
    """Return whether weights of this shape (out_channels x in_channels x ...) have neighbours in a kernel."""
    return math.prod(shape[2:]) > 1


def is_valid(coefficients: Sequence[int]) -> bool:
    """Return whether these are coefficients."""
    return len(coefficients) == len(NEIGHBOURS) and all(abs(value) <= MOST for value in coefficients)


def fit_coefficients(codes: NDArray[Any]) -> Coefficients:
    """Return the coefficients of least squared error for weights that have kernels."""
    planes = _planes(codes)
    known = [np.stack(_neighbours(planes, codes.shape, place)).reshape(len(NEIGHBOURS), -1) for place in _later(planes)]
    inputs = np.concatenate(known, axis=1).astype(np.float64)
    found = np.linalg.lstsq(inputs @ inputs.T, inputs @ planes[1:].ravel().astype(np.float64), rcond=None)[0]
    return tuple(int(value) for value in np.clip(np.round(16 * found), -MOST, MOST))


def transfer_kernels(codes: Int64Array, prior: Prior, coefficients: Coefficients, coder: Writer | Reader) -> Int64Array:
    """Write codes (out_channels x in_channels x ..., within the limit of `prior`), and return them.

    With a reader as many are read, whatever those given are.
    """
    planes = _planes(codes)
    planes[0] = coder.bell(planes[0], prior)
    own = prior.counts()
    seen = np.zeros((CLASSES, len(LEVELS) + 1, len(own)), dtype=np.int64)
    overall = own + SEEN * _count(planes[0], prior.limit)
    for place in _later(planes):
        about = sum(
            factor * plane for factor, plane in zip(coefficients, _neighbours(planes, codes.shape, place), strict=True)
        )
        signs = np.where(about < 0, -1, 1).ravel()
        start = overall + overall[::-1]
        start = start * (PRIOR_WEIGHT * SEEN) // start.sum() + 1
        flat = planes[place].ravel()
        for size, level, places in _classify(planes[:place], np.abs(about)):
            length = max(LEAST_CHUNK, len(places) // CHUNKS)
            for part in (places[first : first + length] for first in range(0, len(places), length)):
                symbols = signs[part] * flat[part] + prior.limit
                symbols = coder.symbols(start + _around(seen, size, level), symbols)
                seen[size, level] += np.bincount(symbols, minlength=len(own))
                flat[part] = signs[part] * (symbols - prior.limit)
        planes[place] = flat.reshape(planes[place].shape)
        overall += SEEN * _count(planes[place], prior.limit)
    rebuilt: Int64Array = planes.transpose(1, 2, 0).reshape(codes.shape)
    return rebuilt


def _planes(codes: NDArray[Any]) -> Int64Array:
    """Return a copy with the places of the kernel first (places x out_channels x in_channels)."""
    whole = codes.astype(np.int64).reshape(*codes.shape[:2], -1)
    return np.ascontiguousarray(whole.transpose(2, 0, 1))


def _later(planes: Int64Array) -> range:
    return range(1, len(planes))


def _neighbours(planes: Int64Array, shape: tuple[int, ...], place: int) -> list[Int64Array]:
    """Return the planes of the neighbours of a place; zeros beyond the kernel's edge."""
    width = shape[-1]
    row, column = divmod(place, width)
    inside = [0 <= column + right < width and row + down >= 0 for down, right in NEIGHBOURS]
    nothing = np.zeros_like(planes[0])
    return [
        planes[place + down * width + right] if known else nothing
        for known, (down, right) in zip(inside, NEIGHBOURS, strict=True)
    ]


def _classify(before: Int64Array, about: Int64Array) -> Iterator[_Class]:
    """Yield the weights of the next place by the size that those `before` make likely, and by `about`."""
    sizes = np.abs(before)
    total, count = int(sizes.sum()), sizes.size
    mean = 16 * MEAN_WEIGHT * total // count + 1
    likely = 16 * sizes.sum((0, 2))[:, None] + mean  # the product may wrap around, equally on both sides
    likely = likely * (16 * sizes.sum((0, 1)) + mean) * (16 * sizes.sum(0) + mean)
    order = np.argsort(likely.ravel(), kind="stable")
    levels = np.searchsorted(np.array(LEVELS) * total, (about * count).ravel())
    for size, places in enumerate(np.array_split(order, CLASSES)):
        for level in range(len(LEVELS) + 1):
            yield _Class(size, level, places[levels[places] == level])


def _around(seen: Int64Array, size: int, level: int) -> Int64Array:
    """Return counts of a class and level, with part of those of the next ones."""
    found: Int64Array = SEEN * seen[size, level]
    for other, at in ((size - 1, level), (size + 1, level), (size, level - 1), (size, level + 1)):
        if 0 <= other < seen.shape[0] and 0 <= at < seen.shape[1]:
            found += NEIGHBOUR * seen[other, at]
    return found


def _count(plane: Int64Array, limit: int) -> Int64Array:
    counts: Int64Array = np.bincount(plane.ravel() + limit, minlength=2 * limit + 1)
    return counts
