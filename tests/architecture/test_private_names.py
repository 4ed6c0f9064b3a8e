"""Names that torch and optuna keep to themselves: torch's stand in one file, optuna's nowhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ALLOWED = REPOSITORY / "explorer" / "graph" / "torch_private.py"
OF_TUPLES = {"_asdict", "_fields", "_make", "_replace"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def uses(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) of private names that others define: imported ones, and attributes of what is not one's own."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {ast.unparse(node.target) for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from ((node.lineno, part) for part in parts if is_private(part))
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            theirs = node.attr not in own | OF_TUPLES and ast.unparse(node.value) not in {"self", "cls"}
            yield from [(node.lineno, node.attr)] * theirs


def test_private_names_stand_in_one_file() -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}: {name}"
        for path in sorted((REPOSITORY / "explorer").rglob("*.py"))
        if path != ALLOWED
        for line, name in uses(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_the_scan_sees_what_it_should() -> None:
    text = """
from torch.utils._pytree import tree_flatten
from optuna.storages import _cached
class Own:
    _mine: int
    def get(self):
        return self._other, self._mine
def read(own, module, row):
    return own._mine, module._buffers, row._asdict(), module.__dict__
"""
    assert list(uses(ast.parse(text))) == [(2, "_pytree"), (3, "_cached"), (9, "_buffers")]
