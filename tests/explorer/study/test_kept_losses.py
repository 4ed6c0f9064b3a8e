"""The table of losses that a run keeps: read back as it was, and found for a candidate's layer."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.errors import SearchError
from explorer.search.sensitivity import Sensitivity
from explorer.study.kept_losses import LOSSES, keep_losses, read_losses

WIDE, NARROW = (LayerChoice(layer="a", weight_bits=bits) for bits in (8, 2))
TABLE = Sensitivity(
    weights={"a": {WIDE: 0.25, NARROW: math.inf}},
    activations={"a": {4: 1.5, 8: 0.5}},
    filters={"g": {0.5: 2.0, 1.0: 0.0}},
)


def test_it_is_read_back_as_it_was(tmp_path: Path) -> None:
    assert keep_losses(tmp_path, "perturbation", TABLE) is TABLE
    found = read_losses(tmp_path)
    assert found is not None
    assert (found.method, found.weights, found.activations, found.filters) == (
        "perturbation",
        TABLE.weights,
        TABLE.activations,
        TABLE.filters,
    )


def test_a_candidates_losses_are_found_whatever_its_inputs(tmp_path: Path) -> None:
    keep_losses(tmp_path, "perturbation", TABLE)
    found = read_losses(tmp_path)
    assert found is not None
    candidate = Candidate(layers=(LayerChoice(layer="a", activation_bits=4),), filter_keep_ratio=())
    assert found.find(candidate, "a") == (0.25, 1.5)
    other = Candidate(layers=(LayerChoice(layer="a", weight_bits=3, activation_bits=6),), filter_keep_ratio=())
    assert found.find(other, "a") == (None, None)


def test_none_was_kept_or_it_is_damaged(tmp_path: Path) -> None:
    assert read_losses(tmp_path) is None
    (tmp_path / LOSSES).write_text('{"method": "perturbation", "weights": {"a": [[{"weight_bits": 99}, 1]]}}')
    with pytest.raises(SearchError, match=r"losses\.json: cannot be read \(.*a new run writes it anew"):
        read_losses(tmp_path)
