"""Integers round as the runtime's float32 does, for every sum that a filter can have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.arrays import Int64Array
from explorer.export.tflite.kernels import (
    Reach,
    effective_scales,
    find_breakpoints,
    find_scales,
    find_wide_scales,
    to_addition,
    to_fixed_point,
    to_wide_multipliers,
)
from explorer.export.tflite.windows import find_windows


def in_float32(sums: Int64Array, weights: float, source: float, target: float) -> Int64Array:
    """What a kernel computes of each sum: int32 to float32, times a scale, to the nearest integer, halves to even."""
    scale = np.float32(source) * np.float32(weights) / np.float32(target)
    codes: Int64Array = np.rint(sums.astype(np.int32).astype(np.float32) * scale).astype(np.int64)
    return codes


def check_filter(weights: float, source: float, target: float, base: int, step: int, largest: int) -> None:
    bounds = (-128, 127)
    reach = Reach(base=np.array([base]), step=np.array([step]), largest=np.array([largest]))
    found = find_scales(np.array([weights]), source, target, bounds, reach)
    assert abs(found[0] / weights - 1) < 2**-11
    fixed = to_fixed_point(effective_scales(found.astype(np.float32), source, target))
    count = largest // step
    numbers = np.linspace(-count, count, min(2 * count + 1, 400_001)).astype(np.int64)
    sums = base % step + step * numbers
    sums = sums[np.abs(sums) <= largest]
    multiplier, shift = int(fixed.multipliers[0]), int(fixed.shifts[0])
    integers = np.clip((sums * multiplier + (1 << (shift - 1))) >> shift, *bounds)
    assert (integers == np.clip(in_float32(sums, found[0], source, target), *bounds)).all()


@settings(max_examples=60, deadline=None)
@given(
    st.floats(1e-5, 1e-2),
    st.floats(1e-3, 1e-1),
    st.floats(1e-2, 10.0),
    st.integers(-(2**20), 2**20),
    st.sampled_from([1, 1, 15, 127]),
)
def test_no_sum_has_another_code_in_float32_than_in_integers(
    weights: float, source: float, target: float, base: int, step: int
) -> None:
    if 2**-22 < source * weights / target < 64:
        check_filter(weights, source, target, base, step, 2**21 * step)


@pytest.mark.parametrize("scale", [2.0**-8, 3 * 2.0**-10, 0.5])
def test_scales_with_exact_halves_are_moved_aside(scale: float) -> None:
    """Half-way sums go to even codes in float32, upwards in integers."""
    check_filter(scale, 1.0, 1.0, 0, 1, 2**16)


@settings(max_examples=200, deadline=None)
@given(st.floats(2.0**-28, 127.0) | st.integers(-20, 6).map(lambda power: 2.0**power), st.floats(1e-4, 1e-1))
def test_multipliers_of_15_bits_are_exact_and_their_neighbours_in_float32_the_same(
    wanted: float, target: float
) -> None:
    (scale,) = find_wide_scales(np.array([wanted * target]), 1.0, target).astype(np.float32)
    near = np.array([np.nextafter(scale, np.float32(0)), scale, np.nextafter(scale, np.float32(1e9))])
    fixed = to_wide_multipliers(near.astype(np.float64) / target)
    assert len({*zip(fixed.multipliers, fixed.shifts, strict=True)}) == 1
    assert 2**14 < fixed.multipliers[0] < 2**15
    assert int(fixed.multipliers[0]) / 2 ** int(fixed.shifts[0]) == pytest.approx(float(scale) / target, rel=1e-7)
    assert float(scale) / target == pytest.approx(wanted, rel=2.0**-13)


@pytest.mark.parametrize("scale", [0.0123, 2.0**-8, 0.75])
def test_breakpoints_are_where_float32_changes_its_code(scale: float) -> None:
    sums = np.arange(-(2**16), 2**16)
    places = find_breakpoints(np.float32(scale), (-100, 90), 2**16)
    codes = np.searchsorted(places, sums, side="right") - 100
    assert (codes == np.clip(in_float32(sums, scale, 1.0, 1.0), -100, 90)).all()


def test_the_larger_multiplier_of_an_addition_has_21_bits() -> None:
    for scales in ((0.02, 0.03, 0.05), (0.5, 0.001, 0.3), (1.0, 1.0, 1.0)):
        one, other, shift = to_addition(*scales)
        assert 2**20 <= max(one, other) <= 2**21
        assert (one / 2**shift, other / 2**shift) == pytest.approx((scales[0] / scales[2], scales[1] / scales[2]), 1e-3)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2), st.integers(5, 20))
def test_windows_of_a_pooling_are_found_from_what_they_cover(size: int, stride: int, before: int, length: int) -> None:
    count = (length + 2 * before - size) // stride + 1
    if before < size and count > 0:
        starts = [i * stride - before for i in range(count)]
        spans = tuple((max(start, 0), min(start + size, length)) for start in starts)
        found = find_windows(spans, length)
        assert found is not None
        again = [i * found.stride - found.before for i in range(count)]
        assert tuple((max(start, 0), min(start + found.size, length)) for start in again) == spans


def test_windows_of_different_sizes_are_none() -> None:
    assert find_windows(((0, 3), (3, 5), (5, 8)), 8) is None
