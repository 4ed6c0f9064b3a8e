"""What tensors of integers stand for while a program is built: sums on grids, and what is still to be done to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch

from explorer.arrays import Float64Array
from explorer.integer.operations import HeightWidth, Sides

ElementwiseFunction = Callable[[torch.Tensor], torch.Tensor]

MULTIPLIER_BITS = 31
"""Magnitude bits of a multiplier: int32, as in Jacob et al. (2018)."""
LARGEST_SHIFT = 46
"""An int32 sum times the rounding error of a multiplier, 2^-47, is less than 2^-15 of a step."""
OFFSET_BITS = 60
"""Magnitude bits of an offset: beside a product of two int32 it stays within int64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledTensor:
    """gain * (tensor - zero_point); the gain, positive or not, broadcasts against the tensor's shape."""

    tensor: str
    zero_point: int
    gain: Float64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPool:
    """A max pooling that is done once the tensor holds codes, as maxima and rounding commute."""

    kernel: HeightWidth
    stride: HeightWidth
    padding: Sides
    dilation: HeightWidth
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Elementwise:
    """x -> clip(gain * x + offset, low, high), or a function that is no such map.

    `call` does the same to a tensor of values wherever the channel does not matter, else it is None. `rising` holds
    where a larger x never gives a smaller value.
    """

    gain: Float64Array
    offset: Float64Array
    low: float
    high: float
    is_function: bool
    call: ElementwiseFunction | None
    rising: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """A real tensor: functions(clip(sum of terms + offset, low, high)), then max-pooled by `pools`.

    `source` are the codes that all of it is computed from, through the elementwise maps `chain`; None where there are
    no codes, or where a map differs between channels. `shape` is that after the pools.
    """

    terms: tuple[ScaledTensor, ...]
    shape: tuple[int, ...]
    offset: Float64Array
    low: Float64Array
    high: Float64Array
    functions: tuple[ElementwiseFunction, ...] = ()
    source: ScaledTensor | None = None
    chain: tuple[ElementwiseFunction, ...] = ()
    pools: tuple[PendingPool, ...] = ()

    @property
    def codes(self) -> ScaledTensor | None:
        """The codes that this tensor is, on one grid; None where something is still to be done to them."""
        return self.source if not self.chain and not self.pools else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Concatenated:
    """Tensors behind each other along the channels, each on a grid of its own."""

    parts: tuple[Affine, ...]
    shape: tuple[int, ...]


def make_scalar(value: float) -> Float64Array:
    """Return an array that broadcasts against everything."""
    return np.array(value, dtype=np.float64)


def make_sum(*terms: ScaledTensor, shape: tuple[int, ...]) -> Affine:
    """Return the sum of `terms` with nothing done to it yet."""
    infinite = make_scalar(np.inf)
    return Affine(terms=terms, shape=shape, offset=make_scalar(0.0), low=-infinite, high=infinite)


def make_codes(term: ScaledTensor, shape: tuple[int, ...]) -> Affine:
    """Return a tensor of codes on one grid, with nothing done to it yet."""
    return replace(make_sum(term, shape=shape), source=term)


def map_elements(value: Affine, by: Elementwise) -> Affine | None:
    """Return `by` applied to every element; None where it cannot follow what is already to be done."""
    if value.pools and not by.rising:
        return None
    source, chain = (None, ()) if by.call is None else (value.source, (*value.chain, by.call))
    if value.functions or by.is_function:
        after = None if by.call is None else (*value.functions, by.call)
        return None if after is None else replace(value, functions=after, source=source, chain=chain)
    bounds = []
    for bound in (value.low, value.high):
        with np.errstate(invalid="ignore"):  # 0 times infinity
            bounds.append(np.where(by.gain == 0, by.offset, bound * by.gain + by.offset))
    low, high = np.minimum(*bounds), np.maximum(*bounds)
    return replace(
        value,
        terms=tuple(replace(term, gain=term.gain * by.gain) for term in value.terms),
        offset=value.offset * by.gain + by.offset,
        low=np.clip(low, by.low, by.high),
        high=np.clip(high, by.low, by.high),
        source=source,
        chain=chain,
    )


def find_fixed_point(
    factors: list[Float64Array], offset: Float64Array, reach: Float64Array
) -> tuple[list[Float64Array], Float64Array, Float64Array]:
    """Return (multipliers, offset, shift), integers as float64 arrays, such that multiplier / 2^shift is the factor.

    The shift of each entry is the largest at which multipliers are int32, and the offset, half a step added, and
    results up to `reach` are int64 before they are shifted; at most LARGEST_SHIFT. A factor of 2^31 or more
    saturates: any sum but 0 is clipped then, as long as the offset is far less.
    """
    exponent = np.frexp(reduce(np.maximum, (np.abs(factor) for factor in factors)))[1]
    room = OFFSET_BITS - np.frexp(np.maximum(np.abs(offset), reach))[1]
    shift = np.clip(np.minimum(MULTIPLIER_BITS - exponent, room), 1, LARGEST_SHIFT)
    limit, bound = 2.0**MULTIPLIER_BITS - 1, 2.0 ** (OFFSET_BITS + 1)
    multipliers = [np.clip(np.rint(np.ldexp(factor, shift)), -limit, limit) for factor in factors]
    return multipliers, np.clip(np.rint(np.ldexp(offset + 0.5, shift)), -bound, bound), shift.astype(np.float64)
