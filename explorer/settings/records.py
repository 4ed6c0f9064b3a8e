"""Settings records: dataclasses whose annotated fields are the keys of a table in TOML or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import partial
from typing import Annotated, Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

from explorer.errors import StudyFileError
from explorer.settings.rules import JsonSchema, Rule, collect, dotted, refused, suggestion

Record = TypeVar("Record")
_RULES: dict[type, Mapping[str, Rule]] = {}
"""What get_rules has found: looking takes longer than all reading."""


class Named(Protocol):
    """A record that is the value of one entry in a table of named entries."""

    @property
    def layer(self) -> str:
        """The name of its entry."""
        ...


def get_rules(cls: type) -> Mapping[str, Rule]:
    """Return the keys of a settings record, in order: its `key_rules`, or its fields that are annotated with a Rule."""
    if hasattr(cls, "key_rules"):
        rules: Mapping[str, Rule] = cls.key_rules()
        return rules
    if cls not in _RULES:
        hints = get_type_hints(cls, include_extras=True)
        _RULES[cls] = {
            name: entry
            for name, hint in hints.items()
            if get_origin(hint) is Annotated
            for entry in get_args(hint)[1:]
            if isinstance(entry, Rule)
        }
    return _RULES[cls]


def table(cls: type) -> Rule:
    """Return the rule of a table (TOML) or object (JSON) with the keys of a settings record."""

    def read(value: Any, where: str) -> Any:
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise refused(where, f"a table [{where}]", value)
        return read_record(cls, value, where)

    return Rule(
        "a table",
        read,
        lambda record: None if record is None else write_record(record),
        schema=lambda: describe_record(cls),
    )


def named_tables(cls: type[Named]) -> Rule:
    """Return the rule of a table of named tables; becomes a tuple of records that carry their name as `layer`."""

    def read(value: Any, where: str) -> tuple[Any, ...]:
        if isinstance(value, tuple) and all(isinstance(entry, cls) for entry in value):
            return value
        if not isinstance(value, Mapping):
            raise refused(where, "a table of tables", value)
        readers = []
        for name, entry in value.items():
            path = dotted(where, str(name))
            if not isinstance(entry, Mapping):
                raise refused(path, f"a table [{path}]", entry)
            readers.append(partial(read_record, cls, entry, path, layer=str(name)))
        return tuple(collect(readers))

    return Rule(
        "a table of tables",
        read,
        lambda records: {entry.layer: write_record(entry) for entry in records},
        schema=lambda: {"type": "object", "additionalProperties": describe_record(cls)},
    )


def list_required(cls: type[Any]) -> list[str]:
    """Return the fields of a settings record that have no default."""
    return [each.name for each in fields(cls) if each.default is MISSING and each.default_factory is MISSING]


def describe_record(cls: type[Any]) -> JsonSchema:
    """Return the JSON Schema of a table with the keys of a settings record, without what one asks of another."""
    rules = get_rules(cls)
    return {
        "type": "object",
        "properties": {key: rule.schema() for key, rule in rules.items()},
        "required": [key for key in list_required(cls) if key in rules],
        "additionalProperties": False,
    }


def read_record(cls: type[Record], entries: Mapping[str, Any], where: str, **given: Any) -> Record:
    """Build a settings record from a table.

    Unknown keys are refused with a suggestion, and those of the record's RENAMED with their new name or,
    where it is dotted, their new section; None stands for an absent key. `given` are fields that are not keys of the
    file.

    Raises:
        StudyFileError: Holds every problem in it.
    """
    rules = get_rules(cls)
    present = {key: value for key, value in entries.items() if value is not None}
    renamed: Mapping[str, str] = getattr(cls, "RENAMED", {})
    problems = [
        f"{dotted(where, key)}: {_new_place(renamed[key])}"
        if key in renamed
        else f"{dotted(where, key)}: unknown key; {suggestion(key, rules)}"
        for key in entries
        if key not in rules
    ]
    for key in list_required(cls):
        if key in rules and key not in present:
            problems.append(f"{dotted(where, key)}: missing; expected {rules[key].expected}")
    readable = {key: value for key, value in present.items() if key in rules}
    values, refusals = _read_all(rules, readable, where)
    if problems or refusals:
        raise StudyFileError((*problems, *refusals))
    return cls(**given, **values)


def write_record(record: Any) -> dict[str, Any]:
    """Return a settings record as plain data, from which `read_record` builds an equal one."""
    return {key: rule.write(getattr(record, key)) for key, rule in get_rules(type(record)).items()}


def validate(record: Any, where: str) -> None:
    """Read every field of a new settings record through its rule.

    A None is left alone: that it is allowed follows from the type.

    Raises:
        StudyFileError: Holds every problem.
    """
    rules = get_rules(type(record))
    present = {key: value for key in rules if (value := getattr(record, key)) is not None}
    for key, value in read_values(rules, present, where).items():
        object.__setattr__(record, key, value)


def read_values(rules: Mapping[str, Rule], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Read each value by the rule of its key.

    Raises:
        StudyFileError: Holds every problem.
    """
    results, problems = _read_all(rules, values, where)
    if problems:
        raise StudyFileError(tuple(problems))
    return results


def _new_place(name: str) -> str:
    section, _, key = name.rpartition(".")
    return f"is {key} of [{section}] now; move the key there" if section else f"is called {name} now; rename the key"


def _read_all(rules: Mapping[str, Rule], values: Mapping[str, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    results: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in values.items():
        try:
            results[key] = rules[key].read(value, dotted(where, key))
        except StudyFileError as error:
            problems.extend(error.problems)
    return results, problems
