"""Weights are stored in the fewest bytes, and read as the very same integers."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.export.c.weights import StoredWeights, store_weights


def read_weights(stored: StoredWeights, filters: int, count: int) -> list[list[int]]:
    """Bit by bit, as the comment in weights.c says."""
    if stored.packed is None:
        assert stored.values is not None
        return [[int(value) for value in row] for row in stored.values.reshape(filters, count)]
    size = (count * stored.bits + 7) // 8
    rows = []
    for number in range(filters):
        row, bits = (
            [],
            "".join(f"{byte:08b}"[::-1] for byte in stored.packed.reshape(-1)[number * size :][:size].tolist()),
        )
        for start in range(0, count * stored.bits, stored.bits):
            index = int(bits[start : start + stored.bits][::-1], 2)
            if stored.values is None:
                row.append(index - 2 ** (stored.bits - 1))
            else:
                row.append(int(stored.values.reshape(-1)[number * stored.codebook_step + index]))
        rows.append(row)
    return rows


@pytest.mark.parametrize(
    ("values", "form"),
    [
        (np.arange(-128, 128), (8, False, 0)),
        (np.arange(-8, 8), (4, False, 0)),
        (np.arange(-7, 8), (4, False, 0)),
        (np.arange(-1, 2), (2, False, 0)),
        (np.array([0, -1]), (1, False, 0)),
        (np.array([-100, 3, 90]), (2, True, 0)),
        (np.array([-90, 50]), (1, True, 0)),
    ],
)
def test_the_smallest_form_is_chosen(values: np.ndarray, form: tuple[int, bool, int]) -> None:
    rows = np.random.default_rng(0).choice(values, (6, 301)).astype(np.int8)
    rows[0, : len(values)] = values
    stored = store_weights(rows)
    assert (stored.bits, stored.bits < 8 and stored.values is not None, stored.codebook_step) == form
    assert read_weights(stored, 6, 301) == rows.tolist()
    table = 0 if not form[1] else len(values)
    assert stored.size_bytes == 6 * -(-301 * form[0] // 8) + table


def test_a_codebook_for_each_filter() -> None:
    rows = np.stack([np.random.default_rng(n).choice([17 * n - 100, 3 * n, 20 + n], 200) for n in range(12)])
    stored = store_weights(rows.astype(np.int8))
    assert (stored.bits, stored.codebook_step, stored.size_bytes) == (2, 3, 12 * (50 + 3))
    assert read_weights(stored, 12, 200) == rows.tolist()
