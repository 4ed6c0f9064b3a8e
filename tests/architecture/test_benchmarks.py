"""Benchmarks are written as a user would: with the functions of the package, and few parts from within."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def imports_of_explorer(source: str) -> list[str]:
    """The modules of explorer that a program imports, once for each statement and name of a module."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] == "explorer"]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "explorer":
            found.append(node.module or "")
    return found


@pytest.mark.parametrize("name", ["quantiser.py", "finetune.py"])
def test_a_benchmark_needs_at_most_four_imports(name: str) -> None:
    found = imports_of_explorer((BENCHMARKS / name).read_text(encoding="utf-8"))
    assert 1 <= len(found) <= 4, found


def test_the_scan_counts_every_import() -> None:
    source = "import explorer, os\nfrom explorer.a import b, c\ndef late():\n    import explorer.d as e, explorer.f\n"
    assert imports_of_explorer(source) == ["explorer", "explorer.a", "explorer.d", "explorer.f"]
