"""Limits as they are written on the command line: energy<=3uJ."""

from __future__ import annotations

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
WRITTEN = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(\S*)\s*")


def read_limit(text: str, names: tuple[str, ...]) -> tuple[str, float]:
    """Return the key of a budget and its limit in the budget's unit.

    Args:
        text: A cost by its name or its key, <= and a number with its unit; or the score, >= and a share.
        names: The objectives of the study, by which its score is called.

    Raises:
        StudyFileError: Says what is expected.
    """
    match, score = WRITTEN.fullmatch(text), score_named(names)
    if match is None:
        raise _refused(text, f'a limit such as "energy<=3uJ", "weight_memory<=64kB" or "{score.name}>=0.9"')
    named, sign, number, unit = match.groups()
    known = {key: objective for objective in (score, *every_cost()) for key in (objective.name, objective.key)}
    if named not in known:
        raise _refused(text, f"the name of an objective: {suggestion(named, known)}")
    objective = known[named]
    wanted, units = "<=" if objective.is_cost else ">=", UNITS[objective.unit]
    if sign != wanted:
        raise _refused(text, f"{wanted} behind {named}, which is to be {'small' if objective.is_cost else 'large'}")
    if unit not in units:
        raise _refused(text, f"one of {', '.join(filter(None, units))} behind the number")
    try:
        value = float(number) * units[unit]
    except ValueError:
        raise _refused(text, f"a number behind {wanted}") from None
    return _checked(text, objective, value)


def _checked(text: str, objective: Objective, value: float) -> tuple[str, float]:
    key = objective.key if objective.is_cost else score_named(()).key
    rule = BudgetSettings.key_rules()[key]
    try:
        return key, rule.read(int(value) if objective.whole and value == int(value) else value, key)
    except StudyFileError:
        raise _refused(text, f"{rule.expected} ({'a share' if not objective.is_cost else objective.unit})") from None


def _refused(text: str, expected: str) -> StudyFileError:
    return StudyFileError((f"--budget {text!r}: expected {expected}",))
