"""Each aggregation on a table small enough to do by hand."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.errors import RelevanceError
from explorer.relevance.aggregation import aggregate

SIGNED = np.array([[1.0, -2.0], [-3.0, -2.0]], dtype=np.float32)
UNSIGNED = np.array([[5.0, 2.0], [3.0, 4.0]], dtype=np.float32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mean_abs", [2.0, 2.0]),
        ("mean_elementwise_abs", [4.0, 3.0]),
        ("abs_mean", [1.0, 2.0]),
        ("mean", [-1.0, -2.0]),
        ("rms", [5.0**0.5, 2.0]),
        ("max_abs", [3.0, 2.0]),
    ],
)
def test_by_hand(name: str, expected: list[float]) -> None:
    assert aggregate(SIGNED, UNSIGNED, name).tolist() == pytest.approx(expected)


def test_unknown_names_and_tables_without_images_are_refused() -> None:
    with pytest.raises(RelevanceError, match=r"relevance\.aggregation: expected one of mean_abs.*received 'median'"):
        aggregate(SIGNED, UNSIGNED, "median")
    with pytest.raises(RelevanceError, match="not kept for each image"):
        aggregate(SIGNED[:0], UNSIGNED[:0], "mean")
