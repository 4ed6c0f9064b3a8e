"""Limits as they are written on the command line: energy<=3uJ."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from explorer.errors import StudyFileError
from explorer.objectives import Objective, every_cost, score_named
from explorer.settings.rules import suggestion
from explorer.settings.search import BudgetSettings

UNITS: Mapping[str, Mapping[str, float]] = {
    "µJ": {"pJ": 1e-6, "nJ": 1e-3, "uJ": 1.0, "µJ": 1.0, "mJ": 1e3, "J": 1e6},
    "ms": {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3},
    "bytes": {"": 1, "B": 1, "bytes": 1, "kB": 1000, "KiB": 1024, "MB": 1000**2, "MiB": 1024**2},
    "%": {"": 1.0, "%": 0.01},
}
"""How much of an objective's unit each written unit is; of a score, of the share 1."""
NUMBER = r"([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(\S*)"
ROUNDING = 1e-6
"""Bytes by which a double takes 2.01 kB for less than 2,010 (assumed)."""
WRITTEN, AMOUNT = re.compile(rf"\s*(\w+)\s*(<=|>=)\s*{NUMBER}\s*"), re.compile(rf"\s*{NUMBER}\s*")


def read_limit(text: str, names: tuple[str, ...]) -> tuple[str, float]:
    """Return the key of a budget and its limit in the budget's unit.

    Args:
        text: A cost by its name or its key, <= and a number with its unit; or the score, >= and a share.
        names: The objectives of the study, by which its score is called.

    Raises:
        StudyFileError: Says what is expected.
    """
    where, match, score = f"--budget {text!r}", WRITTEN.fullmatch(text), score_named(names)
    if match is None:
        raise _refused(where, f'a limit such as "energy<=3uJ", "weight_memory<=64kB" or "{score.name}>=0.9"')
    named, sign, number, unit = match.groups()
    known = {key: objective for objective in (score, *every_cost()) for key in (objective.name, objective.key)}
    if named not in known:
        raise _refused(where, f"the name of an objective: {suggestion(named, known)}")
    objective = known[named]
    wanted = "<=" if objective.is_cost else ">="
    if sign != wanted:
        raise _refused(where, f"{wanted} behind {named}, which is to be {'small' if objective.is_cost else 'large'}")
    return _key(objective), _read(number, unit, objective, where, f" behind {wanted}")


def read_amount(text: str, objective: Objective, name: str) -> float:
    """Return a limit of an objective in its unit, of a number and a unit: "3uJ", "64KiB", of a score "97%" or "0.97".

    Raises:
        StudyFileError: Says what is expected of `name`.
    """
    where, match = f"{name} {text!r}", AMOUNT.fullmatch(text)
    if match is None:
        example = "97%" if not objective.is_cost else "64KiB" if objective.whole else f"3{objective.unit}"
        raise _refused(where, f'a number with its unit, such as "{example}"')
    return _read(match[1], match[2], objective, where)


def _read(number: str, unit: str, objective: Objective, where: str, behind: str = "") -> float:
    units, unit = UNITS[objective.unit], unit.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    if unit not in units:
        raise _refused(where, f"one of {', '.join(filter(None, units))} behind the number")
    try:
        value = float(number) * units[unit]
    except ValueError:
        raise _refused(where, f"a number{behind}") from None
    rule = BudgetSettings.key_rules()[_key(objective)]
    try:
        checked: float = rule.read(_count(value, units[unit]) if objective.whole else value, objective.key)
    except StudyFileError:
        raise _refused(where, f"{rule.expected} ({'a share' if not objective.is_cost else objective.unit})") from None
    return checked


def _count(value: float, of_unit: float) -> float:
    """Return the whole number that is at most a limit, which was written in a unit of so many; one of 1s stays."""
    if of_unit > 1.0 and math.isfinite(value):
        return math.floor(value + ROUNDING)
    return int(value) if value.is_integer() else value


def _key(objective: Objective) -> str:
    return objective.key if objective.is_cost else score_named(()).key


def _refused(where: str, expected: str) -> StudyFileError:
    return StudyFileError((f"{where}: expected {expected}",))
