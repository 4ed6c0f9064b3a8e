"""Formats that leave out zeros: by hand, against a literal encoder, and against every mask of a small layer."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hwmodels.errors import LayerError
from hwmodels.storage.sparse import (
    bitmap_bytes,
    count_nonzero,
    csr_bytes,
    index_bits,
    measure_relative_index_bytes,
    relative_index_bytes,
)

Mask = npt.NDArray[np.bool_]


def mask_of(weights: int, nonzero: tuple[int, ...]) -> Mask:
    mask = np.zeros(weights, dtype=np.bool_)
    mask[list(nonzero)] = True
    return mask


def entries_written(mask: Mask, run_bits: int) -> int:
    """Walk over the weights and write an entry for each value, and a filler where its run would overflow."""
    entries = run = 0
    pending = 0
    for kept in mask.ravel().tolist():
        if kept:
            entries += pending + 1
            run = pending = 0
        elif run == 2**run_bits - 1:
            pending, run = pending + 1, 0
        else:
            run += 1
    return entries


def test_index_bits_are_exact() -> None:
    assert index_bits(np.array([1, 2, 3, 4, 5, 256, 257, 2**40, 2**40 + 1])).tolist() == [0, 1, 2, 2, 3, 8, 9, 40, 41]


def test_nonzero_weights_round_up_but_not_for_floating_point() -> None:
    # 0.07 * 100 is a little more than 7.
    assert count_nonzero(100, 0.07) == 7
    assert count_nonzero(np.array([10, 10, 10]), np.array([0.0, 0.25, 1.0])).tolist() == [0, 3, 10]


def test_bitmap() -> None:
    assert bitmap_bytes(1000, 250, 8) == (1000 + 250 * 8) // 8
    assert bitmap_bytes(30, 3, 8) == 7


def test_csr() -> None:
    # 50 values of 8 bits with columns of 7 bits (0..99), and 11 pointers: 750 + 352 = 1102 bits.
    assert csr_bytes(100, 10, 50, 8) == 138
    # One weight per channel needs no column.
    assert csr_bytes(1, 10, 5, 8) == (5 * 8 + 352) // 8


def test_relative_index_takes_the_best_width_of_a_run() -> None:
    # A tenth of 1000: 0.9^16 = 0.1853 needs 123 entries of 12 bits, 0.9^32 = 0.0343 104 of 13, 0.9^64 101 of 14.
    assert relative_index_bytes(1000, 100, 8) == 104 * 13 // 8
    # Long runs, and the widest count of them: 0.999^256 = 0.774 needs 443 entries of 16 bits.
    assert relative_index_bytes(100_000, 100, 8) == 443 * 16 // 8
    # Nothing is left out: the narrowest run, and no fillers.
    assert relative_index_bytes(1000, 1000, 8) == 1000 * 9 // 8
    assert relative_index_bytes(1000, 0, 8) == 0
    assert relative_index_bytes(0, 0, 8) == 0
    sizes = relative_index_bytes(np.array([[1000, 0]]), np.array([[100, 0], [0, 0], [1000, 0]]), np.array([8, 4]))
    assert sizes.tolist() == [[169, 0], [0, 0], [1125, 0]]


def test_relative_index_of_a_mask() -> None:
    # Runs of 3 and 11 zeros: runs of 1 to 4 bits need 6, 2, 1 and 0 fillers, so 72, 40, 33 and 24 bits.
    assert measure_relative_index_bytes(mask_of(20, (3, 15)), 8) == 3
    assert measure_relative_index_bytes(mask_of(20, (3, 15)).reshape(4, 5), 8) == 3
    assert measure_relative_index_bytes(mask_of(20, ()), 8) == 0
    assert measure_relative_index_bytes(np.ones((3, 3), dtype=np.bool_), 8) == 11


def test_a_wrong_mask_is_refused() -> None:
    with pytest.raises(LayerError, match=r"mask: expected booleans \(true where .*\), received float64"):
        measure_relative_index_bytes(np.ones(4), 8)  # type: ignore[arg-type]
    with pytest.raises(LayerError, match=r"bits: expected a whole number from 1 to 32, received 0"):
        measure_relative_index_bytes(np.ones(4, dtype=np.bool_), 0)


@given(mask=arrays(np.bool_, array_shapes(max_dims=3, max_side=12)), bits=st.integers(1, 32))
def test_a_literal_encoder_writes_as_much(mask: Mask, bits: int) -> None:
    written = min(entries_written(mask, run_bits) * (bits + run_bits) for run_bits in range(1, 9))
    assert measure_relative_index_bytes(mask, bits) == -(-written // 8)


@pytest.mark.parametrize(("weights", "nonzero"), [(12, 1), (12, 2), (12, 6), (12, 11), (12, 12)])
@pytest.mark.parametrize("bits", [1, 4])
def test_the_expectation_is_not_below_the_mean_of_all_masks(weights: int, nonzero: int, bits: int) -> None:
    masks = combinations(range(weights), nonzero)
    exact = [measure_relative_index_bytes(mask_of(weights, chosen), bits) for chosen in masks]
    assert len(exact) == comb(weights, nonzero)
    assert relative_index_bytes(weights, nonzero, bits) >= np.floor(np.mean(exact))


@pytest.mark.parametrize("density", [0.005, 0.02, 0.1, 0.3, 0.8])
def test_a_large_random_layer_takes_what_is_expected(density: float) -> None:
    mask = np.random.default_rng(3).random(200_000) < density
    expected = int(relative_index_bytes(mask.size, int(np.count_nonzero(mask)), 8))
    assert measure_relative_index_bytes(mask, 8) == pytest.approx(expected, rel=0.01)


@given(weights=st.integers(1, 10**6), data=st.data(), bits=st.integers(1, 31))
def test_sizes_grow_with_the_weights_that_are_kept_and_with_their_width(
    weights: int, data: st.DataObject, bits: int
) -> None:
    fewer, more = sorted(data.draw(st.lists(st.integers(0, weights), min_size=2, max_size=2)))
    for size in (bitmap_bytes, relative_index_bytes):
        assert size(weights, fewer, bits) <= size(weights, more, bits) <= size(weights, more, bits + 1)
    assert (
        csr_bytes(weights, 1, fewer, bits) <= csr_bytes(weights, 1, more, bits) <= csr_bytes(weights, 1, more, bits + 1)
    )
