"""Bits that layers keep: by hand, and why they are not known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.report.front.information import (
    MOST_BITS,
    InformationView,
    LayerInformation,
    build_information_view,
    count_bits,
)
from explorer.study.kept_losses import LOSSES, KeptLosses
from explorer.study.record import Outcome

WIDE, NARROW = (LayerChoice(layer="a", weight_bits=bits) for bits in (8, 2))
VIEW = InformationView(
    method="deeplift",
    layers=(LayerInformation(layer="a", group="g", signal=15.0, finest=0.25, relevance_kept=((0.5, 0.8), (1.0, 1.0))),),
    losses=KeptLosses(
        method="perturbation",
        weights={"a": {WIDE: 0.25, NARROW: math.inf}},
        activations={"a": {4: 0.5, 8: 0.0}},
        filters={"g": {0.5: 0.25, 1.0: 0.0}},
    ),
)


def _candidate(choice: LayerChoice, ratio: float = 1.0) -> Candidate:
    return Candidate(layers=(choice,), filter_keep_ratio=(("g", ratio),))


def test_the_capacity_is_shannons() -> None:
    assert count_bits(15.0, 1.0) == 2.0
    assert count_bits(3.0, 1.0) == 1.0
    assert (count_bits(0.0, 1.0), count_bits(1.0, 0.0), count_bits(1.0, 1e-300)) == (0.0, MOST_BITS, MOST_BITS)


def test_errors_of_weights_inputs_and_filters_add_up() -> None:
    coarse = _candidate(replace(WIDE, activation_bits=4), 0.5)
    assert VIEW.find_error(coarse, 0) == 1.0
    assert VIEW.bits_kept(coarse) == (2.0,)
    assert VIEW.bits_kept(_candidate(WIDE)) == pytest.approx((0.5 * math.log2(61.0),))


def test_what_the_table_does_not_have_is_not_known() -> None:
    assert VIEW.bits_kept(_candidate(NARROW)) == (None,)
    assert VIEW.bits_kept(_candidate(replace(WIDE, activation_bits=6))) == (None,)
    assert VIEW.bits_kept(_candidate(WIDE, 0.75)) == (None,)
    assert VIEW.bits_kept(Candidate(layers=(), filter_keep_ratio=())) == (None,)


def test_why_there_is_none_is_said(outcome: Outcome, tmp_path: Path) -> None:
    assert "kept no table" in str(build_information_view(outcome, tmp_path))
    (tmp_path / LOSSES).write_text('{"method": "measured_kl", "weights": {}, "activations": {}, "filters": {}}')
    assert "divergences" in str(build_information_view(outcome, tmp_path))
    (tmp_path / LOSSES).write_text('{"method": "perturbation", "weights": {}, "activations": {}, "filters": {}}')
    assert "no relevance by" in str(build_information_view(outcome, tmp_path))
    (tmp_path / LOSSES).write_text("{")
    assert "cannot be read" in str(build_information_view(outcome, tmp_path))
