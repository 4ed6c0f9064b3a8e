"""House rules that a reader relies on: docstrings, and files that can be read in one sitting."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.tiers import THOROUGH

REPOSITORY = Path(__file__).parents[2]
LONGEST = 300
LONG: Mapping[str, str] = {}
"""Longer files, and why they are not split; one that is no longer long leaves."""


def sources() -> list[Path]:
    return sorted(path for package in ("explorer", "hwmodels") for path in (REPOSITORY / package).rglob("*.py"))


def without_docstring(node: ast.AST, where: str) -> Iterator[str]:
    """Public functions and classes, methods of public classes included, that have no docstring."""
    protocol = isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases)
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or child.name.startswith("_"):
            continue
        overload = any(ast.unparse(decorator) == "overload" for decorator in child.decorator_list)
        if ast.get_docstring(child) is None and not protocol and not overload:
            yield f"{where}: {child.name}"
        if isinstance(child, ast.ClassDef):
            yield from without_docstring(child, f"{where}: {child.name}")


def test_everything_public_has_a_docstring() -> None:
    missing = []
    for path in sources():
        name, tree = str(path.relative_to(REPOSITORY)), ast.parse(path.read_text(encoding="utf-8"))
        if ast.get_docstring(tree) is None:
            missing.append(f"{name}: module")
        missing.extend(without_docstring(tree, name))
    assert missing == []


def test_files_are_short() -> None:
    lengths = {str(p.relative_to(REPOSITORY)): len(p.read_text(encoding="utf-8").splitlines()) for p in sources()}
    too_long = {name for name, length in lengths.items() if length > LONGEST}
    assert too_long == set(LONG)


def test_every_name_among_the_thorough_tests_is_of_a_file() -> None:
    tests = Path(__file__).parents[1]
    assert [name for name in THOROUGH if not (tests / name).exists()] == []


def test_every_class_has_a_name_of_its_own() -> None:
    """One name, one meaning: who looks for a class finds one."""
    found: dict[str, list[str]] = {}
    for path in sorted((REPOSITORY / "explorer").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(f"{path.relative_to(REPOSITORY)}:{node.lineno}")
    assert {name: places for name, places in found.items() if len(places) > 1} == {}
