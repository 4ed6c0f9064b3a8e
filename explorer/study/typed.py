"""Plain data from a file as records, by the types that their fields state: whatever else stands there is refused."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from explorer.settings.rules import LARGEST, shown

LARGEST_NUMBER = 1e30
"""Of any cost or count that is not an integer (assumed: far beyond all, and sums stay finite)."""


def read_typed(kind: Any, value: Any, where: str) -> Any:
    """Return a value of the type `kind`, made of parsed JSON.

    Records are dataclasses, whose defaults may be missing, or classes with a `from_json`. Numbers are finite and not
    below 0, as all counts, shares and costs are. A list becomes a tuple.

    Raises:
        ValueError: Names the place for anything else.
    """
    origin, choices = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in {Union, types.UnionType}:
        (inner,) = (choice for choice in choices if choice is not types.NoneType)
        return None if value is None else read_typed(inner, value, where)
    if origin is Literal:
        return _checked(value, isinstance(value, str) and value in choices, " or ".join(choices), where)
    if origin is tuple:
        return _tuple(choices, value, where)
    if origin is not None and issubclass(origin, Mapping):
        _checked(value, isinstance(value, Mapping), "an object", where)
        return {str(key): read_typed(choices[1], each, f"{where}.{key}") for key, each in value.items()}
    if hasattr(kind, "from_json"):
        return kind.from_json(value)
    if is_dataclass(kind):
        return read_typed_record(kind, value, where)
    return _scalar(kind, value, where)


def _scalar(kind: type, value: Any, where: str) -> Any:
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LARGEST_NUMBER
        return float(_checked(value, number, "a number that is not below 0", where))
    if kind is int:
        integer = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST
        return _checked(value, integer, "an integer that is not below 0", where)
    return _checked(value, isinstance(value, kind), "true or false" if kind is bool else "a text", where)


def _tuple(choices: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    kinds = choices
    if choices[-1] is Ellipsis:
        _checked(value, isinstance(value, list | tuple), "a list", where)
        kinds = choices[:1] * len(value)
    _checked(value, isinstance(value, list | tuple) and len(value) == len(kinds), f"a list of {len(kinds)}", where)
    places = (f"{where}[{place}]" for place in range(len(kinds)))
    return tuple(read_typed(kind, each, place) for kind, each, place in zip(kinds, value, places, strict=True))


def read_typed_record(kind: Any, value: Any, where: str = "") -> Any:
    """Return a dataclass of an object with its fields.

    Raises:
        ValueError: Names the place for anything else.
    """
    _checked(value, isinstance(value, Mapping), "an object", where)
    stated = _fields(kind)
    unknown = [key for key in value if key not in stated]
    missing = [key for key, (_, required) in stated.items() if required and key not in value]
    if unknown or missing:
        what = f"{shown(missing[0])} is missing" if missing else f"{shown(unknown[0])} is not known"
        raise ValueError(f"{where or 'the file'}: {what}")
    return kind(**{key: read_typed(stated[key][0], each, f"{where}.{key}".lstrip(".")) for key, each in value.items()})


@cache
def _fields(kind: Any) -> Mapping[str, tuple[Any, bool]]:
    """Return type of each field of a record, and whether it must be given."""
    hints = get_type_hints(kind)
    return {each.name: (hints[each.name], _is_required(each)) for each in fields(kind) if each.init}


def _is_required(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _checked(value: Any, fits: bool, expected: str, where: str) -> Any:
    if not fits:
        raise ValueError(f"{where or 'the file'}: expected {expected}, received {shown(value)}")
    return value
