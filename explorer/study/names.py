"""The names that a study holds, checked against the tables of the stages that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from explorer.errors import StudyFileError
from explorer.models.reference import REFERENCE_NETWORKS
from explorer.relevance.aggregation import AGGREGATIONS
from explorer.relevance.criteria import CRITERIA
from explorer.relevance.references import REFERENCES
from explorer.relevance.targets import TARGETS
from explorer.search.samplers import PREDICT_NO_GAIN, SAMPLERS
from explorer.settings import ComparisonSettings, SearchSettings
from explorer.settings.rules import Rule, collect, entry_of, many, one_of, refused, suggestion
from explorer.settings.values import FUNCTION


def _reference() -> Rule:
    def read(value: Any, where: str) -> str:
        if value in REFERENCES or value.endswith(".npy"):
            return str(value)
        expected = f"{one_of(*REFERENCES).expected} or the path of a .npy file with one normalised image"
        raise refused(where, expected, value)

    return Rule(f"{one_of(*REFERENCES).expected} or a .npy file", read, schema=lambda: {"type": "string"})


def _target() -> Rule:
    def read(value: Any, where: str) -> str:
        return str((FUNCTION if ":" in value else entry_of(TARGETS)).read(value, where))

    return Rule(f"{one_of(*TARGETS).expected} or {FUNCTION.expected}", read, schema=lambda: {"type": "string"})


NAMES: Mapping[str, Mapping[str, Rule]] = {
    "model": {"reference": entry_of(REFERENCE_NETWORKS)},
    "space": {"filter_criteria": many(entry_of(CRITERIA))},
    "sharing": {"weighting": entry_of(CRITERIA, "plain", "relevance")},
    "relevance": {
        "method": entry_of(CRITERIA),
        "target": _target(),
        "reference": _reference(),
        "aggregation": entry_of(AGGREGATIONS),
    },
    "search": {"sampler": entry_of(SAMPLERS)},
}
"""For each section, the keys that hold names, whose own rules know no names."""


def check_names(record: Any) -> None:
    """Raise StudyFileError for the names of a section that no table has, a line for each."""
    rules = NAMES.get(record.SECTION, {})
    named = {key: value for key in rules if (value := getattr(record, key)) is not None}
    collect(partial(rules[key].read, value, f"{record.SECTION}.{key}") for key, value in named.items())
    if isinstance(record, ComparisonSettings):
        _check_compared(record)
    if isinstance(record, SearchSettings) and record.least_gain and record.sampler in PREDICT_NO_GAIN:
        expected = f'0 with sampler "{record.sampler}", which predicts no gain'
        raise refused("search.least_gain", expected, record.least_gain)


def compared_criteria(settings: ComparisonSettings) -> tuple[str, ...]:
    """Return the criteria of a comparison: those that it names, or all that are compared by default."""
    by_default = (name for name, criterion in CRITERIA.items() if criterion.by_default)
    return settings.criteria or (*by_default, *settings.of_case.rules)


def _check_compared(settings: ComparisonSettings) -> None:
    known = (*CRITERIA, *settings.of_case.rules)
    compared = compared_criteria(settings)
    problems = [
        f"comparison.criteria: case {settings.case!r} knows no {name!r}; {suggestion(name, known)}"
        for name in settings.criteria or ()
        if name not in known
    ]
    within = f"one of comparison.criteria ({', '.join(compared)})"
    if settings.focus not in compared:
        problems.append(str(refused("comparison.focus", within, settings.focus)))
    stray = [name for name in settings.tuned_criteria or () if name not in compared]
    if stray:
        problems.append(str(refused("comparison.tuned_criteria", within, stray)))
    if problems:
        raise StudyFileError(tuple(problems))
