"""Records from plain data by the types of their fields; everything else is refused with its place."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from explorer.study.typed import read_typed_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    name: str
    size: int
    share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    kind: Literal["a", "b"]
    ready: bool
    pair: tuple[str, float]
    parts: tuple[Part, ...]
    by_name: Mapping[str, int]
    anything: Any


SOUND: dict[str, Any] = {
    "kind": "a",
    "ready": True,
    "pair": ["x", 1],
    "parts": [{"name": "p", "size": 3}, {"name": "q", "size": 0, "share": 0.5}],
    "by_name": {"x": 1},
    "anything": [None],
}


def test_a_record_is_made_of_its_fields() -> None:
    assert read_typed_record(Whole, SOUND) == Whole(
        kind="a",
        ready=True,
        pair=("x", 1.0),
        parts=(Part(name="p", size=3), Part(name="q", size=0, share=0.5)),
        by_name={"x": 1},
        anything=[None],
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "c"}, 'kind: expected a or b, received "c"'),
        ({"kind": ["a"]}, "kind: expected a or b"),
        ({"ready": 1}, "ready: expected true or false, received 1"),
        ({"pair": ["x"]}, r"pair: expected a list of 2, received \["),
        ({"pair": "xy"}, "pair: expected a list of 2"),
        ({"pair": ["x", math.nan]}, r"pair\[1\]: expected a number that is not below 0, received NaN"),
        ({"pair": ["x", math.inf]}, r"pair\[1\]: expected a number"),
        ({"pair": ["x", 1e31]}, r"pair\[1\]: expected a number"),
        ({"pair": ["x", 10**400]}, r"pair\[1\]: expected a number"),
        ({"pair": ["x", True]}, r"pair\[1\]: expected a number"),
        ({"parts": {}}, "parts: expected a list"),
        ({"parts": [{"name": "p"}]}, r'parts\[0\]: "size" is missing'),
        ({"parts": [{"name": "p", "size": 1, "x": 1}]}, r'parts\[0\]: "x" is not known'),
        ({"parts": [{"name": "p", "size": 2**63}]}, r"parts\[0\]\.size: expected an integer that is not below 0"),
        ({"parts": [{"name": "p", "size": -1}]}, r"parts\[0\]\.size: expected an integer"),
        ({"parts": [{"name": None, "size": 1}]}, r"parts\[0\]\.name: expected a text, received null"),
        ({"parts": [3]}, r"parts\[0\]: expected an object, received 3"),
        ({"by_name": {"x": 1.5}}, r"by_name\.x: expected an integer"),
        ({"by_name": []}, "by_name: expected an object"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_typed_record(Whole, {**SOUND, **changes})


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(ValueError, match="the file: expected an object, received 3"):
        read_typed_record(Whole, 3)
