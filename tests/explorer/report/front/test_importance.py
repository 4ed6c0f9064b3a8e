"""Importance of choices, beside values of which it is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from explorer.report.front.importance import FEWEST, Importance, measure_importance

DRAW = np.random.default_rng(0)
CHOICES = np.column_stack([DRAW.integers(0, 3, 400), DRAW.integers(0, 2, 400), DRAW.integers(0, 4, 400)])
COUNTS = (3, 2, 4)
FRONT = np.arange(20)


def test_shares_are_those_of_an_additive_value() -> None:
    values = np.array([-1.0, 0.0, 2.0])[CHOICES[:, 0]] + np.array([0.0, 0.5])[CHOICES[:, 1]]
    (found,) = _measure(CHOICES, COUNTS, values[:, None], FRONT)

    parts = [np.array([-1.0, 0.0, 2.0])[CHOICES[:, 0]], np.array([0.0, 0.5])[CHOICES[:, 1]], np.zeros(400)]
    expected = [np.cov(part, values)[0, 1] / values.var(ddof=1) for part in parts]
    assert found.shares == pytest.approx(expected, abs=0.01)
    assert found.explained == pytest.approx(1.0, abs=0.01)
    assert found.left_out == pytest.approx(1.0, abs=0.01)
    assert np.diff(found.effects[0]) == pytest.approx([1.0, 2.0], abs=0.02)
    assert [effect @ np.bincount(CHOICES[:, axis]) for axis, effect in enumerate(found.effects)] == pytest.approx(
        [0.0, 0.0, 0.0], abs=1e-9
    )


def test_chance_is_explained_by_nothing() -> None:
    noise = np.random.default_rng(1).normal(size=(400, 1))
    (found,) = _measure(CHOICES, COUNTS, noise, FRONT)
    assert found.left_out < 0.05
    assert found.shares.max() < 0.1


def test_a_choice_on_which_the_front_agrees_has_no_share_there() -> None:
    values = CHOICES[:, :1] + 0.5 * CHOICES[:, 1:2]
    front = np.flatnonzero(CHOICES[:, 0] == 2)
    (found,) = _measure(CHOICES, COUNTS, values.astype(float), front)
    assert found.shares[0] > 0.5
    assert found.front_shares[:2] == pytest.approx([0.0, 1.0], abs=0.01)


def test_several_values_are_told_apart_and_constants_have_no_shares() -> None:
    values = np.column_stack([CHOICES[:, 0], CHOICES[:, 2], np.ones(400)]).astype(float)
    first, second, constant = _measure(CHOICES, COUNTS, values, FRONT)
    assert [int(each.shares.argmax()) for each in (first, second)] == [0, 2]
    assert constant.shares.tolist() == [0.0, 0.0, 0.0]


def test_of_few_nothing_is_said() -> None:
    few = CHOICES[: FEWEST - 1]
    assert measure_importance(few, COUNTS, few[:, :1].astype(float), FRONT[:2]) is None
    assert measure_importance(CHOICES[:, :0], (), CHOICES[:, :1].astype(float), FRONT) is None


def _measure(*arguments: Any) -> list[Importance]:
    found = measure_importance(*arguments)
    assert found is not None
    return found
