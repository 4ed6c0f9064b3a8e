"""Checks that say what was expected and what was received: a record reports all its faults at once."""

import math
from collections.abc import Collection


def whole_number(name: str, value: object, minimum: int, maximum: int | None = None) -> list[str]:
    """Return a problem unless `value` is an int (no bool, no float) within `minimum`..`maximum`."""
    if isinstance(value, int) and not isinstance(value, bool):
        fits = minimum <= value if maximum is None else minimum <= value <= maximum
        if fits:
            return []
    span = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
    return [f"`{name}` must be a whole number {span}, but got {value!r}"]


def number(name: str, value: object, minimum: float, *, above: bool = False, maximum: float = math.inf) -> list[str]:
    """Return a problem unless `value` is finite, from `minimum` (excluded with `above`) to `maximum`."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        fits = value > minimum if above else value >= minimum
        if fits and value <= maximum:
            return []
    span = f"{'above' if above else 'of at least'} {minimum:g}"
    span += "" if math.isinf(maximum) else f" and at most {maximum:g}"
    return [f"`{name}` must be a finite number {span}, but got {value!r}"]


def choice(name: str, value: object, choices: Collection[str]) -> list[str]:
    """Return a problem unless `value` is one of `choices`."""
    if isinstance(value, str) and value in choices:
        return []
    return [f"`{name}` must be one of {', '.join(choices)}, but got {value!r}"]


def text(name: str, value: object) -> list[str]:
    """Return a problem unless `value` is a string with something in it."""
    if isinstance(value, str) and value.strip():
        return []
    return [f"`{name}` must be a non-empty text, but got {value!r}"]
