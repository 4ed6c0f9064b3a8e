"""Closed forms of the systolic array, by hand (the simulator's rows are in tests/golden)."""

from __future__ import annotations

import numpy as np
import pytest

from hwmodels import HardwareModelError, systolic_counts


@pytest.mark.parametrize(
    ("dataflow", "cycles", "ifmap", "filters", "ofmap", "folds"),
    [
        # 10 x 20 x 6 on 4 x 4: os spreads 10 x 6, ws 20 x 6, is 20 x 10.
        ("os", 3 * 2 * (4 + 4 + 20 - 2), 10 * 20 * 2, 20 * 6 * 3, 10 * 6, (3, 2)),
        ("ws", 5 * 2 * (8 + 4 + 10 - 2), 10 * 20 * 2, 20 * 6, 10 * 6 * 5, (5, 2)),
        ("is", 5 * 3 * (8 + 4 + 6 - 2), 10 * 20, 20 * 6 * 3, 10 * 6 * 5, (5, 3)),
    ],
)
def test_counts_by_hand(
    dataflow: str, cycles: int, ifmap: int, filters: int, ofmap: int, folds: tuple[int, int]
) -> None:
    counts = systolic_counts(10, 20, 6, 4, 4, dataflow)
    assert int(counts.cycles) == cycles
    assert (int(counts.ifmap_sram_reads), int(counts.filter_sram_reads)) == (ifmap, filters)
    assert int(counts.ofmap_sram_writes) == ofmap
    assert (int(counts.row_folds), int(counts.column_folds)) == folds
    assert float(counts.utilisation) == pytest.approx(10 * 20 * 6 / (cycles * 16))


def test_groups_run_one_after_another() -> None:
    one, eight = systolic_counts(49, 9, 1, 4, 4, "ws"), systolic_counts(49, 9, 1, 4, 4, "ws", groups=8)
    assert int(eight.cycles) == 8 * int(one.cycles)
    assert int(eight.ofmap_sram_writes) == 8 * int(one.ofmap_sram_writes)
    assert float(eight.utilisation) == float(one.utilisation)


def test_groups_on_the_diagonal_of_the_array() -> None:
    # Blocks of 3 x 1 on 8 x 4: two fit in the rows, four in the columns; 5 groups take 3 folds instead of 5.
    turns, blocks = (systolic_counts(49, 3, 1, 8, 4, "ws", groups=5, diagonal_groups=each) for each in (False, True))
    assert int(blocks.cycles) * 5 == int(turns.cycles) * 3
    assert float(blocks.mapping_efficiency) == pytest.approx(5 * 3 / (3 * 32))
    assert int(blocks.ifmap_sram_reads) == int(turns.ifmap_sram_reads)
    # What fills more than half of the rows or of the columns runs in turn; os spreads positions, not k.
    for m, k, n, dataflow in ((49, 5, 1, "ws"), (49, 3, 3, "ws"), (3, 3, 1, "is"), (5, 3, 1, "os")):
        turns, blocks = (
            systolic_counts(m, k, n, 8, 4, dataflow, groups=5, diagonal_groups=each) for each in (False, True)
        )
        assert int(blocks.cycles) == int(turns.cycles)


def test_parallel_macs_widen_the_dot_product() -> None:
    counts = systolic_counts(10, 32, 4, 4, 4, "ws", parallel_macs=4)
    assert int(counts.row_folds) == 2
    assert float(counts.mapping_efficiency) == 1.0
    assert int(counts.ifmap_sram_reads) == 10 * 32
    assert int(systolic_counts(4, 32, 4, 4, 4, "os", parallel_macs=4).cycles) == 4 + 4 + 8 - 2


def test_serial_cycles_stretch_time() -> None:
    assert int(systolic_counts(4, 20, 4, 4, 4, "os", serial_cycles=3).cycles) == 4 + 4 + 60 - 2
    assert int(systolic_counts(10, 4, 4, 4, 4, "ws", serial_cycles=3).cycles) == 8 + 4 + 30 - 2


def test_pipelined_folds_hide_all_fills_but_one() -> None:
    folds = 5 * 2
    assert int(systolic_counts(10, 20, 6, 4, 4, "ws", pipelined_folds=True).cycles) == folds * 10 + 8 + 4 - 2
    # With fewer positions than rows, loading the next fold's weights is what takes the time.
    assert int(systolic_counts(1, 20, 6, 4, 4, "ws", pipelined_folds=True).cycles) == (folds - 1) * 4 + 11


def test_every_argument_broadcasts() -> None:
    rows = np.array([4, 8, 16]).reshape(3, 1)
    counts = systolic_counts(np.array([10, 50]), 20, 6, rows, 4, "os")
    for field in counts:
        assert field.shape == (3, 2)
    for i, size in enumerate((4, 8, 16)):
        assert int(counts.cycles[i, 1]) == int(systolic_counts(50, 20, 6, size, 4, "os").cycles)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(HardwareModelError, match=r"dataflow: expected one of os \(output stationary\).*'rs'"):
        systolic_counts(1, 1, 1, 1, 1, "rs")
    with pytest.raises(HardwareModelError, match=r"k: expected at least 1, received 0"):
        systolic_counts(1, np.array([3, 0]), 1, 1, 1, "os")
