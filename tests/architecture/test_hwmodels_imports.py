"""Which room of hwmodels may import which; no two of its files import each other."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

from tests.architecture.test_imports import REPOSITORY, imports, sources

LEVELS = {
    **dict.fromkeys(("arrays", "bounds", "checks", "errors"), 0),
    "workload": 1,
    "storage": 2,
    "device": 3,
    "cost": 4,
}
"""A room imports its own level or a lower one; bounds and checks are the ground that all stand on."""


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def imported(file: Path) -> set[str]:
    """The files of hwmodels that a file imports, at run time or for types alone, wherever the import stands."""
    files = {module_of(source) for source in sources("hwmodels")}
    named = {module for _, module in imports(file)}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and not node.level:
            named |= {f"{node.module}.{alias.name}" for alias in node.names}
    found = named & files
    return found - {package for package in found if any(other.startswith(f"{package}.") for other in found)}


def room_of(module: str) -> str:
    return module.split(".")[1]


def test_every_room_has_a_level() -> None:
    assert {room_of(module_of(file)) for file in sources("hwmodels") if module_of(file) != "hwmodels"} == set(LEVELS)


def test_imports_go_down() -> None:
    upward = [
        f"{module_of(file)} imports {module}"
        for file in sources("hwmodels")
        if module_of(file) != "hwmodels"
        for module in imported(file)
        if module == "hwmodels" or LEVELS[room_of(module)] > LEVELS[room_of(module_of(file))]
    ]
    assert upward == []


def test_no_files_import_each_other() -> None:
    graph = {module_of(file): imported(file) for file in sources("hwmodels")}
    assert sum(map(len, graph.values())) > 150  # what a scan that saw nothing would not find
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the files


def test_the_scan_sees_what_it_should() -> None:
    assert imported(REPOSITORY / "hwmodels" / "device" / "accelerator.py") >= {
        "hwmodels.bounds",
        "hwmodels.workload.layer",
        "hwmodels.device.dataflows",
    }
    assert "hwmodels.cost.explain_cycles" in imported(REPOSITORY / "hwmodels" / "cost" / "explain.py")
    assert "hwmodels.workload.onnx_constants" in imported(REPOSITORY / "hwmodels" / "workload" / "onnx_graph.py")
