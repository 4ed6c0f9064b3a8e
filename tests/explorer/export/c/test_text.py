"""No name of a layer changes what a compiler reads."""

from __future__ import annotations

import re

import numpy as np
import pytest

from explorer.export.c.text import Identifiers, make_array, make_comment, make_number

NAMES = [
    "conv1",
    "int",
    "",
    "3x3",
    "_reserved",
    "<img src=x onerror=alert(1)>",
    "*/ int x; /*",
    "größe",
    "a" * 90,
    "??/\n",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_becomes_an_identifier_and_a_harmless_comment(name: str) -> None:
    made = Identifiers().make(name, "weights")
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*_weights", made)
    assert len(made) < 60
    comment = make_comment(name)
    assert (comment[:3], comment[-3:]) == ("/* ", " */")
    assert not re.search(r"[*/?\\\n]|[^ -~]", comment[3:-3])


def test_no_two_identifiers_are_equal() -> None:
    identifiers = Identifiers()
    assert len({identifiers.make(name, "weights") for name in ("a.b", "a_b", "a-b", "a b")}) == 4


def test_numbers_are_read_as_they_were() -> None:
    assert "(-2147483647 - 1), 2147483647" in make_array("x", np.array([-(2**31), 2**31 - 1], dtype=np.int32))
    for value in (0.1, 1.0, 3e-9):
        assert np.float32(make_number(value).removesuffix("f")) == np.float32(value)
        assert re.fullmatch(r"\d\.\d*e[+-]\d+f", make_number(value))
