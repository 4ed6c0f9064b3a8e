"""An array with the bits of weights in its columns, fold by fold; `tests/golden` has its published cycles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels import LayerJob, LayerShape, evaluate, load

DEVICE = load("haq_bit_serial")


def _cycles(channels: int, filters: int, kernel: int, bits: tuple[int, int], groups: int = 1) -> int:
    shape = LayerShape(
        name="conv",
        kind="conv",
        in_channels=channels,
        out_channels=filters,
        kernel_h=kernel,
        kernel_w=kernel,
        in_h=kernel + 4,
        in_w=kernel + 4,
        out_h=5,
        out_w=5,
        groups=groups,
    )
    job = LayerJob(shape=shape, weight_bits=bits[0], input_bits=bits[1])
    return evaluate([job], DEVICE).layers[0].compute_cycles


@given(
    channels=st.integers(1, 400),
    filters=st.integers(1, 400),
    kernel=st.sampled_from((1, 3)),
    bits=st.tuples(st.integers(1, 8), st.integers(1, 8)),
)
def test_dense_kernels_fold_by_fold(channels: int, filters: int, kernel: int, bits: tuple[int, int]) -> None:
    # Rows fill with elements of a dot product, columns with bits: one fold for each rectangle of both.
    folds = sum(1 for _ in range(0, channels * kernel**2, 192)) * sum(1 for _ in range(0, filters * bits[0], 256))
    assert _cycles(channels, filters, kernel, bits) == 25 * bits[1] * folds


@pytest.mark.parametrize(
    ("kernel", "weight_bits", "together"),
    [(3, 8, 16), (3, 1, 16), (5, 8, 7), (9, 8, 2), (13, 8, 1)],
)
def test_depthwise_channels_share_rows(kernel: int, weight_bits: int, together: int) -> None:
    # 16 at most, and no more than 192 rows hold kernels of.
    assert _cycles(33, 33, kernel, (weight_bits, 4), groups=33) == 25 * 4 * -(-33 // together)


def test_both_widths_are_time_where_columns_are_full() -> None:
    assert _cycles(192, 256, 1, (8, 8)) == 8 * _cycles(192, 256, 1, (1, 8)) == 64 * _cycles(192, 256, 1, (1, 1))
    # Few filters leave columns empty: narrow weights gain nothing then.
    assert _cycles(192, 32, 1, (8, 8)) == _cycles(192, 32, 1, (1, 8))
