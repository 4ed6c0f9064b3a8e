"""Every source file has a file of tests, or a line in tests/README.md that says what holds it instead."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
REPOSITORY = TESTS.parent
README = TESTS / "README.md"
ROW = re.compile(r"\| `((?:explorer|hwmodels)[\w/]*)` \| (`.*`) \| (`.*`) \|")


def sources() -> set[str]:
    """Every source file but the empty __init__.py."""
    paths = (path for package in ("explorer", "hwmodels") for path in (REPOSITORY / package).rglob("*.py"))
    return {str(path.relative_to(REPOSITORY)) for path in paths if path.name != "__init__.py"}


def has_tests_of_its_own(source: str) -> bool:
    folder, name = TESTS / Path(source).parent, Path(source).stem
    return (folder / f"test_{name}.py").is_file() or any(folder.glob(f"test_{name}_*.py"))


def rows() -> list[tuple[str, str]]:
    """(source file, file of tests) of every line of the table."""
    found = [ROW.fullmatch(line) for line in README.read_text(encoding="utf-8").splitlines()]
    return [
        (f"{row[1]}/{name}.py", test)
        for row in found
        if row is not None
        for name in re.findall(r"`(\w+)`", row[2])
        for test in re.findall(r"`([\w/.]+)`", row[3])
    ]


def test_every_source_file_has_tests_or_says_what_holds_it() -> None:
    named = {source for source, _ in rows()}
    without = {source for source in sources() if not has_tests_of_its_own(source)}
    missing, stale = ", ".join(sorted(without - named)), ", ".join(sorted(named - without))
    assert not missing, f"{missing}: add test_NAME.py in the mirror, or name what holds it in tests/README.md"
    assert not stale, f"{stale}: gone, or with tests of its own; take it out of the table in tests/README.md"


def test_what_holds_a_file_is_there() -> None:
    assert sorted({test for _, test in rows() if not (TESTS / test).is_file()}) == []
