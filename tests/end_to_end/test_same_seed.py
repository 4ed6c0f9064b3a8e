"""Equal seeds give equal bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_equal_seeds_give_equal_fronts(home: Path, explorer: Callable[..., Any]) -> None:
    for folder, seed in (("a", 5), ("b", 5), ("c", 6)):
        assert explorer("run", "tiny", "--out", folder, "--seed", seed, "--trials", 15).code == 0
    a, b, c = ((home / folder / "front.csv").read_bytes() for folder in "abc")
    assert a == b
    assert a != c
    assert a.count(b"\n") >= 2


@pytest.mark.slow
def test_a_folder_of_its_own_changes_nothing(home: Path, explorer: Callable[..., Any]) -> None:
    assert explorer("run", home / "tiny" / "study.toml", "--out", "a").code == 0
    (home / "tiny").rename(home / "my tiny study")
    assert explorer("run", "my tiny study", "--out", "a b/c").code == 0
    assert (home / "a" / "front.csv").read_bytes() == (home / "a b" / "c" / "front.csv").read_bytes()
