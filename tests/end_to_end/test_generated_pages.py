"""What docs/ has of the study file and of devices is what the records say, and the schema allows what they read."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from docs import generate
from explorer.errors import StudyFileError
from explorer.settings.records import get_rules
from explorer.settings.rules import Rule
from explorer.study.names import NAMES
from explorer.study.study_file import COME_ALONG, SECTIONS, Heading

REPOSITORY = Path(__file__).parents[2]
SCHEMA = json.loads((generate.DOCS / "study.schema.json").read_text(encoding="utf-8"))
KINDS = {"study": Heading, **SECTIONS}
TRIED: tuple[Any, ...] = (
    *(-1, 0, 1, 2, 3, 9, 300, 10**7, 2**60, 0.25, 1.5, 1e20, -0.5, True, False, None),
    *("", " ", "x", "a b", "m:f", "none", "2:4", "4:2", "adam", "journal", "${X}", "deeplift", "a\nb", "é" * 5000),
    *([], [1], [2, 2], [0.5], ["none"], ["2:4"], [1, 2, 3], ["a"], [[1]], [True], {}, {"a": 1}),
)
LOOSE = {("objectives", "names"), ("relevance", "reference"), ("relevance", "target")}
"""What these may be depends on other keys or files, as n < m of a pattern depends on arithmetic: more is allowed."""


def keys() -> Iterator[tuple[str, str, Rule]]:
    for section, kind in KINDS.items():
        for key, rule in get_rules(kind).items():
            yield section, key, NAMES.get(section, {}).get(key, rule)


def test_the_pages_are_what_the_records_say() -> None:
    said = f"is not current; {generate.COMMAND} writes it anew"
    assert (generate.DOCS / "study_file.md").read_text(encoding="utf-8") == generate.write_reference(), said
    assert (generate.DOCS / "study.schema.json").read_text(encoding="utf-8") == generate.write_schema(), said
    page = (generate.DOCS / "devices.md").read_text(encoding="utf-8")
    assert page == generate.replace_table(page), said


def test_every_key_of_the_reference_is_explained() -> None:
    rows = [line for line in generate.write_reference().splitlines() if line.startswith("| `")]
    silent = [row for row in rows if row.split(" | ")[1].strip() == "" and "a table" not in row]
    assert silent == []
    assert len(rows) > sum(len(get_rules(kind)) for kind in KINDS.values())


@pytest.mark.parametrize(
    "file",
    [COME_ALONG / "digits.toml", *sorted((REPOSITORY / "studies").rglob("study.toml"))],
    ids=lambda file: file.parent.name,
)
def test_every_study_that_there_is_follows_the_schema(file: Path) -> None:
    Draft7Validator.check_schema(SCHEMA)
    errors = Draft7Validator(SCHEMA).iter_errors(tomllib.loads(file.read_text(encoding="utf-8")))
    assert [error.message for error in errors] == []


@pytest.mark.parametrize(
    ("section", "key", "rule"), [pytest.param(*each, id=".".join(each[:2])) for each in keys() if each[:2] not in LOOSE]
)
def test_the_schema_allows_what_is_read_and_nothing_else(section: str, key: str, rule: Rule) -> None:
    validator = Draft7Validator(SCHEMA["properties"][section]["properties"][key])
    for value in TRIED:
        try:
            rule.read(value, key)
            is_read = value is not None  # TOML has none
        except (StudyFileError, TypeError):
            is_read = False
        assert validator.is_valid(value) == is_read or "4:2" in str(value), (value, rule.expected)


def test_unknown_sections_and_keys_are_refused_and_a_score_may_have_any_name() -> None:
    study = tomllib.loads((COME_ALONG / "digits.toml").read_text(encoding="utf-8"))
    validator = Draft7Validator(SCHEMA)
    assert not validator.is_valid({**study, "serch": {}})
    assert not validator.is_valid({**study, "search": {"trails": 3}})
    assert not validator.is_valid({key: value for key, value in study.items() if key != "device"})
    assert validator.is_valid({**study, "budgets": {"iou": 0.7}})
