"""What the runtime's default kernels do behind a sum, and scales for which integers alone do the same.

The default kernels turn a sum into float32, multiply it with a float32 scale and round halves to even; an integer
program multiplies, adds and shifts. Both give the same code for every sum that can occur where the scale is chosen
well, since only sums next to a boundary between two codes can differ: some float32 beside the wanted one is such.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from explorer.arrays import Float32Array, Float64Array, Int64Array

MANTISSA_BITS = 24
"""Of a float32."""
PRODUCT_BITS = 31
"""Bits of a product that kernels round away which round twice."""
TRIES = 4096
"""Neighbouring float32 that are tried: within 2^-11 of the wanted scale (assumed to be next to nothing)."""
LARGEST_SCALE, LARGEST_WIDE_SCALE = 256.0, 128.0
"""Of a sum in steps of the output, that the default kernels take, and those of 16 bits."""
WIDE_BITS = 15
"""Of the multipliers of kernels that give 16 bits."""
SMALLEST_SCALE = 2.0**-28
"""The same; below it, multiplier and offset would not fit into 64 bits."""
ADDITION_BITS = 20
"""Of the larger multiplier of an addition, beside its leading one."""
ADDITION_RATIOS = (2.0**-10, 2.0**8)
"""Scales of a summand in steps of the sum that the default kernels take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which sums a filter has: `base` + any multiple of `step`, of magnitude `largest` at most; one entry each."""

    base: Int64Array
    step: Int64Array
    largest: Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPoint:
    """Multipliers (M) and shifts (s): code = (sum * M + 2^(s - 1)) >> s, halves up, before the zero point."""

    multipliers: Int64Array
    shifts: Int64Array


def effective_scales(weights: Float32Array, source: float, target: float) -> Float32Array:
    """Return what the kernels multiply sums with: scales of weights and input over that of the output, in float32."""
    return np.float32(source) * weights / np.float32(target)


def find_scales(
    wanted: Float64Array, source: float, target: float, bounds: tuple[int, int], reach: Reach
) -> Float64Array:
    """Return scales of weights, float32 next to those that are wanted, that suit integers as well as float32.

    Args:
        wanted: One for each filter.
        source: Scale of the input.
        target: Scale of the output.
        bounds: The least and the largest code, zero point subtracted.
        reach: The sums of each filter.
    """
    start = wanted.astype(np.float32)
    best, least = start.copy(), np.full(len(start), np.iinfo(np.int64).max)
    left = np.arange(len(start))
    for number in range(TRIES):
        away = np.int32((number + 1) // 2 * (-1 if number % 2 else 1))
        tried = (start[left].view(np.int32) + away).view(np.float32)
        own = Reach(base=reach.base[left], step=reach.step[left], largest=reach.largest[left])
        faults = _count_differences(effective_scales(tried, source, target), bounds, own)
        at_once = (source * tried.astype(np.float64) / target).astype(np.float32)  # other runtimes may round once
        faults += at_once != effective_scales(tried, source, target)
        better = faults < least[left]
        best[left[better]], least[left[better]] = tried[better], faults[better]
        left = left[least[left] > 0]
        if left.size == 0:
            break
    return best.astype(np.float64)


def to_fixed_point(scales: Float32Array) -> FixedPoint:
    """Return float32 scales as integers, exactly."""
    mantissas, exponents = np.frexp(scales.astype(np.float64))
    return FixedPoint(
        multipliers=np.ldexp(mantissas, MANTISSA_BITS).astype(np.int64),
        shifts=(MANTISSA_BITS - exponents).astype(np.int64),
    )


def to_multipliers(scales: Float64Array) -> FixedPoint:
    """Return multipliers of 31 bits and shifts to the right behind them, as kernels have that round twice.

    The product leaves a rounded integer, of its upper 32 bits, which the shift rounds again, halves up.
    """
    mantissas, exponents = np.frexp(scales)
    multipliers = np.minimum(np.rint(np.ldexp(mantissas, PRODUCT_BITS)), 2.0**PRODUCT_BITS - 1)
    return FixedPoint(multipliers=multipliers.astype(np.int64), shifts=-exponents.astype(np.int64))


def find_wide_scales(wanted: Float64Array, source: float, target: float) -> Float64Array:
    """Return scales of weights, float32 next to those that are wanted, whose multipliers of 15 bits are exact.

    Powers of two are left out: a float32 next to one may be below it, where multipliers are half as fine.
    """
    mantissas, exponents = np.frexp(source * wanted / target)
    whole = np.clip(np.rint(np.ldexp(mantissas, WIDE_BITS)), 2.0 ** (WIDE_BITS - 1) + 1, 2.0**WIDE_BITS - 1)
    scales: Float64Array = np.ldexp(whole, exponents - WIDE_BITS) * target / source
    return scales.astype(np.float32).astype(np.float64)


def to_wide_multipliers(scales: Float64Array) -> FixedPoint:
    """Return what kernels multiply sums of 64 bits with: multipliers of 31 bits, rounded to 15, and their shifts.

    Source: MultiplyByQuantizedMultiplier of TensorFlow Lite for int64, which rounds once, halves up.
    """
    fixed, spare = to_multipliers(scales), PRODUCT_BITS - WIDE_BITS
    multipliers = np.minimum((fixed.multipliers + (1 << (spare - 1))) >> spare, 2**WIDE_BITS - 1)
    return FixedPoint(multipliers=multipliers, shifts=fixed.shifts + WIDE_BITS)


def round_sums(sums: Int64Array, scales: Float32Array | np.float32) -> Int64Array:
    """Return the codes of sums as the default kernels compute them, before zero point and clipping."""
    codes: Int64Array = np.rint(sums.astype(np.float32) * scales).astype(np.int64)
    return codes


def find_breakpoints(scale: np.float32, bounds: tuple[int, int], largest: int) -> Int64Array:
    """Return for each code behind the least one the first sum that has it, as the default kernels compute it."""
    codes = np.arange(bounds[0] + 1, bounds[1] + 1)
    near = np.clip(np.rint((codes - 0.5) / float(scale)), -largest - 1, largest + 1).astype(np.int64)
    sums = near[:, None] + np.arange(-2, 3)
    reached = round_sums(sums, scale) >= codes[:, None]
    places: Int64Array = np.where(reached.any(1), sums[np.arange(len(codes)), reached.argmax(1)], near + 3)
    return places


def to_addition(first: float, second: float, target: float) -> tuple[int, int, int]:
    """Return two multipliers and a shift with which the default kernels add codes of scales `first` and `second`."""
    ratios = [float(np.float32(scale) / np.float32(target)) for scale in (first, second)]
    shift = ADDITION_BITS + 1 - int(np.frexp(max(ratios))[1])
    one, other = (int(np.rint(np.ldexp(ratio, shift))) for ratio in ratios)
    return one, other, shift


def _count_differences(scales: Float32Array, bounds: tuple[int, int], reach: Reach) -> Int64Array:
    """Return how many boundaries between two codes float32 and integers see at different sums, for each filter."""
    fixed = to_fixed_point(scales)
    codes = np.arange(bounds[0] + 1, bounds[1] + 1, dtype=np.int64)
    numerators = (2 * codes - 1) << (fixed.shifts[:, None] - 1)
    exact = -(-numerators // fixed.multipliers[:, None])
    base, step, largest = reach.base[:, None], reach.step[:, None], reach.largest[:, None]
    first = base - (base - exact) // step * step  # of the sums that occur, the first behind the boundary
    late = (round_sums(first, scales[:, None]) < codes) & (np.abs(first) <= largest)
    early = (round_sums(first - step, scales[:, None]) >= codes) & (np.abs(first - step) <= largest)
    differences: Int64Array = (late | early).sum(1)
    return differences
