"""Rules for single settings: what a key may hold, how it is read, and the one line that refuses it."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from explorer.errors import StudyFileError

Read = Callable[[Any, str], Any]
"""(value, dotted key) -> the value in its final form; raises StudyFileError, one line for each problem."""
JsonSchema = dict[str, Any]
"""What a value may be, in the words of JSON Schema (draft 7), for editors."""


def plain(value: Any) -> Any:
    """Return tuples as lists, for JSON."""
    return [plain(entry) for entry in value] if isinstance(value, tuple) else value


LONGEST_TEXT = 4096
"""Characters of a text: those of the longest path of Linux."""
LARGEST = 2**63 - 1
"""Largest integer that TOML files are sure to hold, and largest number of an argument."""
SIMILAR = 0.7
"""How alike (difflib's ratio) a name must be to be suggested: gpu and cpu, at 0.67, are not."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a key may hold, in words; how it is read from TOML or JSON; how it is written to JSON."""

    expected: str
    read: Read
    write: Callable[[Any], Any] = plain
    affects_results: bool = True
    """False where the results of a search are the same whatever the key holds."""
    schema: Callable[[], JsonSchema] = dict
    """Gives the same in JSON Schema; {} is anything."""


def shown(value: object) -> str:
    """Return a received value on one line of at most 60 characters, as it stands in the file."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        # Python writes no integer of more than 4,300 digits, and nothing that is nested very deep.
        return f"a value of type {type(value).__name__} that is too long to show"
    return text if len(text) <= 60 else f"{text[:57]}..."


def dotted(where: str, key: str) -> str:
    """Return the path of a key as it is written in TOML."""
    name = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
    return f"{where}.{name}" if where else name


def refused(where: str, expected: str, value: object) -> StudyFileError:
    """Return the error for a value that does not follow its rule."""
    return StudyFileError((f"{where}: expected {expected}, received {shown(value)}",))


def similar(name: str, known: Iterable[str]) -> str:
    """Return 'did you mean ...?' where a known name is close, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=SIMILAR)
    return f"did you mean {close[0]!r}?" if close else ""


def suggestion(name: str, known: Iterable[str], noun: str = "known") -> str:
    """Return 'did you mean ...?' where a known name is close, else the list of known names."""
    names = list(known)
    return similar(name, names) or f"{noun} are {', '.join(names)}"


def boolean() -> Rule:
    """Return the rule of true or false."""
    return _scalar("true or false", lambda value: isinstance(value, bool), {"type": "boolean"})


def integer(lowest: int, highest: int) -> Rule:
    """Return the rule of an integer in lowest..highest; a boolean is none."""
    return _scalar(
        f"an integer in {lowest}..{highest}",
        lambda value: is_integer(value) and lowest <= value <= highest,
        {"type": "integer", "minimum": lowest, "maximum": highest},
    )


def number(lowest: float, highest: float, *, above: bool = False) -> Rule:
    """Return the rule of a number from `lowest`, or `above` it, to `highest`; integers become floats, NaN is none."""
    expected = f"a number {'above' if above else 'of at least'} {lowest:g} and of at most {highest:g}"

    def read(value: Any, where: str) -> float:
        if is_number(value) and lowest <= value <= highest and not (above and value == lowest):
            return float(value)
        raise refused(where, expected, value)

    least = {"exclusiveMinimum" if above else "minimum": lowest}
    return Rule(expected, read, schema=lambda: {"type": "number", **least, "maximum": highest})


def text(expected: str = "a text", pattern: str = r"[\s\S]*\S[\s\S]*") -> Rule:
    """Return the rule of a string of at most 4,096 characters that matches the pattern; by default not a blank one."""
    return _scalar(
        expected,
        lambda value: (
            isinstance(value, str) and len(value) <= LONGEST_TEXT and re.fullmatch(pattern, value) is not None
        ),
        {"type": "string", "maxLength": LONGEST_TEXT, "pattern": f"^(?:{pattern})$"},
    )


def one_of(*names: str) -> Rule:
    """Return the rule of one of these names."""
    expected = " or ".join(f'"{name}"' for name in names)

    def read(value: Any, where: str) -> str:
        if isinstance(value, str) and value in names:
            return value
        hint = similar(value, names) if isinstance(value, str) else ""
        raise refused(where, expected + (f" ({hint})" if hint else ""), value)

    return Rule(expected, read, schema=lambda: {"enum": list(names)})


def entry_of(entries: Mapping[str, object], *others: str) -> Rule:
    """Return the rule of the name of an entry of a table, as it is when the name is read, or one of the others."""
    return Rule(
        one_of(*others, *entries).expected,
        lambda value, where: one_of(*others, *entries).read(value, where),
        schema=lambda: {"enum": [*others, *entries]},
    )


def many(rule: Rule, *, length: int | None = None, distinct: bool = False, ordered: bool = False) -> Rule:
    """Return the rule of a list of at least one value (or of exactly `length`); `ordered` sorts it, None last."""
    size = "a list" if length is None else f"a list of {length}"
    expected = f"{size}{' without repetition' if distinct else ''}, each {rule.expected}"

    def read(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or not value or (length is not None and len(value) != length):
            raise refused(where, expected, value)
        entries = tuple(collect(partial(rule.read, e, f"{where}[{i}]") for i, e in enumerate(value)))
        if distinct and len(set(entries)) < len(entries):
            raise refused(where, expected, value)
        return tuple(sorted(entries, key=lambda e: (e is None, e or 0))) if ordered else entries

    sizes = {"minItems": 1} if length is None else {"minItems": length, "maxItems": length}
    return Rule(
        expected, read, schema=lambda: {"type": "array", "items": rule.schema(), **sizes, "uniqueItems": distinct}
    )


def or_none(rule: Rule) -> Rule:
    """Return the rule that allows what this one does, or the word "none" (null in JSON)."""
    expected = f'{rule.expected} or "none"'

    def read(value: Any, where: str) -> Any:
        if value is None or value == "none":
            return None
        try:
            return rule.read(value, where)
        except StudyFileError:
            raise refused(where, expected, value) from None

    return Rule(expected, read, schema=lambda: {"anyOf": [rule.schema(), {"enum": ["none"]}]})


def arguments() -> Rule:
    """Return the rule of a table of arguments: texts, booleans, finite numbers, or lists of them; becomes pairs."""
    expected = "a table whose values are texts, booleans, finite numbers of at most 64 bits, or lists of them"

    def freeze(value: Any, where: str) -> Any:
        if isinstance(value, list | tuple):
            return tuple(freeze(entry, where) for entry in value)
        if isinstance(value, str | bool) or is_number(value):
            return value
        raise refused(where, expected, value)

    def read(value: Any, where: str) -> tuple[tuple[str, Any], ...]:
        pairs = value.items() if isinstance(value, Mapping) else value
        if not isinstance(value, Mapping | tuple) or not all(_is_pair(pair) for pair in pairs):
            raise refused(where, expected, value)
        return tuple(sorted((key, freeze(entry, dotted(where, key))) for key, entry in pairs))

    return Rule(
        expected, read, lambda pairs: {key: plain(value) for key, value in pairs}, schema=lambda: {"type": "object"}
    )


def without_effect(rule: Rule) -> Rule:
    """Return the rule of a key that changes no result: where a search runs, how long, how it is called."""
    return replace(rule, affects_results=False)


def collect(readers: Iterable[Callable[[], Any]]) -> list[Any]:
    """Return results of all readers.

    Raises:
        StudyFileError: With the problems of all of them.
    """
    results: list[Any] = []
    problems: list[str] = []
    for reader in readers:
        try:
            results.append(reader())
        except StudyFileError as error:
            problems.extend(error.problems)
    if problems:
        raise StudyFileError(tuple(problems))
    return results


def is_integer(value: object) -> bool:
    """Return True for an int that is no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Return True for a finite float, or an int of at most 64 bits that is no bool."""
    return (isinstance(value, float) and math.isfinite(value)) or (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST
    )


def _scalar(expected: str, allowed: Callable[[Any], bool], schema: JsonSchema) -> Rule:
    def read(value: Any, where: str) -> Any:
        if allowed(value):
            return value
        raise refused(where, expected, value)

    return Rule(expected, read, schema=lambda: schema)


def _is_pair(pair: object) -> bool:
    return isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)
