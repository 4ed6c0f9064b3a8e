"""Knobs and axes: one table for all that can be decided, and what is no value of an axis."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from explorer.compress.candidate import Candidate, LayerChoice
from explorer.errors import SearchError
from explorer.search.axes import (
    ACTIVATION_BITS,
    CODEBOOK_SIZE,
    FILTER_KEEP_RATIO,
    FILTERS_BY,
    LAYER_KNOBS,
    PATTERN,
    REMOVED_BLOCKS,
    STEP_OFFSET,
    STEPS,
    WEIGHT_BITS,
    WEIGHT_DENSITY,
    WEIGHT_KNOBS,
    Axis,
    Knob,
)
from explorer.settings import LayerSpace, SpaceSettings
from explorer.settings.records import get_rules

KNOBS: tuple[Knob[Any], ...] = (*LAYER_KNOBS, STEP_OFFSET, FILTER_KEEP_RATIO, FILTERS_BY, STEPS, REMOVED_BLOCKS)


def test_every_choice_for_a_layer_has_a_knob_of_its_name_and_rule() -> None:
    """What a codebook belongs to is one setting of the study, [sharing] granularity; steps are one of the network."""
    rules = dict(get_rules(LayerChoice))
    del rules["codebook_granularity"]
    assert rules.pop(STEPS.name) == STEPS.rule
    assert {knob.name: knob.rule for knob in LAYER_KNOBS} == rules
    assert [knob for knob in LAYER_KNOBS if knob not in WEIGHT_KNOBS] == [ACTIVATION_BITS]
    assert {FILTER_KEEP_RATIO.name, FILTERS_BY.name, REMOVED_BLOCKS.name} < {field.name for field in fields(Candidate)}


def test_every_knob_has_its_values_in_the_study_and_those_of_a_layer_too() -> None:
    settings = {knob.setting for knob in KNOBS}
    assert settings | {"layers", "block_criterion"} == set(get_rules(SpaceSettings))
    assert settings - {FILTERS_BY.setting, STEPS.setting, REMOVED_BLOCKS.setting} == set(get_rules(LayerSpace))


def test_the_numbers_in_the_search_storage_stay() -> None:
    """A search that goes on draws its axes in the order of their names."""
    assert {knob.name: knob.number for knob in KNOBS} == {
        "activation_bits": 0,
        "codebook_size": 1,
        "filters_by": 2,
        "filter_keep_ratio": 3,
        "weight_density": 4,
        "pattern": 5,
        "weight_bits": 6,
        "step_offset": 7,
        "step": 8,
        "removed_blocks": 9,
    }


def test_the_values_of_a_study_ascend() -> None:
    space = SpaceSettings(weight_bits=(8, 2, 4), codebook_sizes=(16, None, 4), patterns=("2:4", None, "1:4"))
    assert WEIGHT_BITS.values(space) == (2, 4, 8)
    assert CODEBOOK_SIZE.values(space) == (None, 4, 16)
    assert PATTERN.values(space) == ("1:4", "2:4", None)
    stepped = SpaceSettings(steps=(0.01, None, 0.002, 0.05), step_offsets=(1, -1, 0))
    assert STEPS.values(stepped) == (0.05, 0.01, 0.002, None)
    assert STEP_OFFSET.values(stepped) == (1.0, 0.0, -1.0)


@pytest.mark.parametrize(
    ("knob", "values", "text"),
    [
        (WEIGHT_BITS, (2, None), "axis '6 weight_bits/a': expected an integer in 1..8, received null"),
        (ACTIVATION_BITS, (None,), "axis '0 activation_bits/a': expected an integer in 2..8, received null"),
        (WEIGHT_BITS, (4.0,), "received 4.0"),
        (WEIGHT_DENSITY, (0.5, None), "expected a number above 0 and of at most 1, received null"),
        (FILTER_KEEP_RATIO, (None, 1.0), "expected a number above 0 and of at most 1, received null"),
        (FILTER_KEEP_RATIO, (0.0, 1.0), "received 0.0"),
        (CODEBOOK_SIZE, (None, 1), 'expected an integer in 2..256 or "none", received 1'),
        (PATTERN, (None, "4:2"), "received .4:2."),
        (FILTERS_BY, (None, 3), 'expected the name of a criterion or "none", received 3'),
        (WEIGHT_BITS, (), "axis '6 weight_bits/a': expected at least one value, received none"),
    ],
)
def test_what_a_knob_does_not_take_is_no_value_of_its_axis(knob: Knob[Any], values: tuple[Any, ...], text: str) -> None:
    """A None was a width of 0 where it was missed."""
    with pytest.raises(SearchError, match=text):
        Axis(knob=knob, of="a", values=values)
