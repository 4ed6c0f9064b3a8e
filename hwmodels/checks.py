"""Checks that say what was expected and what was received: a record reports all its faults at once."""

import difflib
from collections import Counter
from collections.abc import Collection, Sequence

from hwmodels.bounds import Span

LARGEST_WHOLE = 2**31 - 1
"""Sizes, counts and steps: the products of a few still are exact numbers."""
_SHOWN = 60


def shown(value: object) -> str:
    """Return a received value on one line of at most 60 characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes no integer of more than 4,300 digits, nor what is nested deep
        return f"a value of type {type(value).__name__} that is too long to show"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def suggest(name: str, known: Collection[str]) -> str:
    """Return "did you mean ...?" where a known name is close, else nothing."""
    closest = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {closest[0]!r}?" if closest else ""


def check_whole_number(name: str, value: object, minimum: int, maximum: int = LARGEST_WHOLE) -> list[str]:
    """Return a problem unless `value` is an int (no bool, no float) within `minimum`..`maximum`."""
    if isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum:
        return []
    return [f"{name}: expected a whole number from {minimum} to {maximum}, received {shown(value)}"]


def check_number(name: str, value: object, span: Span) -> list[str]:
    """Return a problem unless `value` is a number within its span; NaN and infinity never are."""
    if isinstance(value, int | float) and not isinstance(value, bool) and span.holds(value):
        return []
    return [f"{name}: expected a number {span}, received {shown(value)}"]


def check_choice(name: str, value: object, choices: Collection[str]) -> list[str]:
    """Return a problem unless `value` is one of `choices`."""
    if isinstance(value, str) and value in choices:
        return []
    return [f"{name}: expected one of {', '.join(choices)}, received {shown(value)}"]


def check_text(name: str, value: object) -> list[str]:
    """Return a problem unless `value` is a string with something in it."""
    if isinstance(value, str) and value.strip():
        return []
    return [f"{name}: expected a non-empty text, received {shown(value)}"]


def list_twice(names: Sequence[str]) -> list[str]:
    """Return the names that occur more than once."""
    return sorted(name for name, count in Counter(names).items() if count > 1)
