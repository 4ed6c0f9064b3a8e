"""What is wanted of a front: a point by its name, or what a network has to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from explorer.errors import ChoiceError
from explorer.objectives import SCORE, Objective, every_cost
from explorer.settings.limits import read_amount
from explorer.settings.rules import is_number, shown, suggestion

PICK, MAX_LOSS, MIN_SCORE, LEAST = "pick", "max_loss", "min_score", "least"
LIMITS = {cost.limit_key: cost for cost in every_cost()}
"""Costs by the keys of their limits."""
KEYS = (PICK, MAX_LOSS, MIN_SCORE, *LIMITS, LEAST)
"""All that can be wanted."""
POINTS = 100.0
"""In a score of 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """A point by its name, or requirements, all of which hold; with nothing stated the recommended network.

    `max_loss` is in points (1/100 of the score) below the float network on the search images, `min_score` a share in
    (0, 1], and `limits` are (name of a cost, limit in its unit). `least` names the cost that decides then.
    """

    pick: str | None = None
    max_loss: float | None = None
    min_score: float | None = None
    limits: tuple[tuple[str, float], ...] = ()
    least: str | None = None

    @classmethod
    def read(cls, given: Mapping[str, object], *, as_option: bool = False) -> Requirements:
        """Read values by KEYS; those that are None are not stated.

        A limit is a number in the unit of its cost, of Python or NumPy, or a text with a unit, such as "64KiB"; texts
        alone on the command line, whose options errors name where `as_option` is true.

        Raises:
            ExplorerError: An unknown key, a value out of range, or a point's name beside requirements.
        """
        stated = {key: _as_python(value) for key, value in given.items() if value is not None}
        name = {key: f"--{key.replace('_', '-')}" if as_option else key for key in KEYS}
        for key in stated:
            if key not in KEYS:
                raise ChoiceError(f"expected a requirement, received {shown(key)}: {suggestion(key, KEYS)}")
        if PICK in stated and len(stated) > 1:
            others = ", ".join(name[key] for key in stated if key != PICK)
            raise ChoiceError(f"expected {name[PICK]} alone or requirements alone, received {name[PICK]} and {others}")
        return cls(
            pick=None if PICK not in stated else str(stated[PICK]),
            max_loss=_read_loss(stated[MAX_LOSS], name[MAX_LOSS]) if MAX_LOSS in stated else None,
            min_score=_read_limit(stated[MIN_SCORE], SCORE, name[MIN_SCORE]) if MIN_SCORE in stated else None,
            limits=tuple(
                (cost.name, _read_limit(stated[key], cost, name[key])) for key, cost in LIMITS.items() if key in stated
            ),
            least=_read_cost(stated[LEAST], name[LEAST]) if LEAST in stated else None,
        )


def _as_python(value: Any) -> object:
    """Return a number of NumPy, as a table of pandas gives it, as one of Python, and anything else as it is."""
    return value.item() if hasattr(value, "item") else value


def _read_loss(value: object, name: str) -> float:
    try:
        points = float(value) if isinstance(value, str) else value
    except ValueError:
        points = math.nan
    if not isinstance(points, int | float) or not is_number(points) or abs(points) > POINTS:
        expected = "points below the float network, such as 1.0"
        raise ChoiceError(f"{name}: expected {expected}, received {shown(value)}")
    return float(points)


def _read_limit(value: object, objective: Objective, name: str) -> float:
    """Read a limit; a number is one in the unit of the objective."""
    if is_number(value):
        unit = "" if not objective.is_cost else objective.unit
        return read_amount(f"{value}{unit}", objective, name)
    if isinstance(value, str):
        return read_amount(value, objective, name)
    raise ChoiceError(f"{name}: expected a number or a text with its unit, received {shown(value)}")


def _read_cost(value: object, name: str) -> str:
    known = [cost.name for cost in every_cost()]
    if value not in known:
        raise ChoiceError(f"{name}: expected a cost, received {shown(value)}: {suggestion(str(value), known)}")
    return str(value)
