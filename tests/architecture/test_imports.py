"""Which part may import which, and what starts without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
LEVELS = {
    **dict.fromkeys(("errors", "settings", "threads", "files", "npz", "arrays", "digests", "pareto", "progress"), 0),
    **dict.fromkeys(("objectives", "dotted", "user_code", "allocator"), 0),
    **dict.fromkeys(("graph", "models", "data"), 1),
    **dict.fromkeys(("relevance", "compress"), 2),
    "search": 3,
    "integer": 3,
    "packed": 3,
    "evaluate": 4,
    "training": 4,
    "study": 5,
    **dict.fromkeys(("export", "comparison"), 6),
    **dict.fromkeys(("report", "referee"), 7),
    **dict.fromkeys(("session", "api"), 8),
    **dict.fromkeys(("commands", "cli", "__main__"), 9),
}
"""A part imports its own level or a lower one."""
APART = {2, 6}
"""Levels whose parts do not import each other."""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import in a file, wherever it stands."""
    package = path.relative_to(REPOSITORY).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (start, node.module) if part)
            yield node.lineno, base
            if base == "explorer":
                yield from ((node.lineno, f"explorer.{alias.name}") for alias in node.names)


def part_of(module: str) -> str:
    """The part of the package that a module belongs to, "" for one outside or the package itself."""
    parts = module.split(".")
    return parts[1] if parts[0] == "explorer" and len(parts) > 1 else ""


def offences(path: Path) -> list[str]:
    own = part_of(".".join(path.relative_to(REPOSITORY).with_suffix("").parts))
    found = []
    for line, module in imports(path):
        other = part_of(module)
        if not other or own in {other, "__init__"}:
            continue
        upward = LEVELS[other] > LEVELS[own]
        sideways = LEVELS[other] == LEVELS[own] and LEVELS[own] in APART
        if upward or sideways:
            found.append(f"{path.relative_to(REPOSITORY)}:{line}: {own} imports {module}")
    return found


def sources(package: str) -> list[Path]:
    return sorted((REPOSITORY / package).rglob("*.py"))


def test_every_part_has_a_level() -> None:
    parts = {path.stem if path.is_file() else path.name for path in (REPOSITORY / "explorer").iterdir()}
    assert parts - {"__init__", "__pycache__", "py"} == set(LEVELS)


def test_imports_go_down() -> None:
    assert [offence for path in sources("explorer") for offence in offences(path)] == []


def test_the_scan_sees_what_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "REPOSITORY", tmp_path)
    folder = tmp_path / "explorer" / "compress"
    folder.mkdir(parents=True)
    (folder / "bad.py").write_text(
        "from explorer import study, errors\n"
        "from explorer.graph.layers import Layer\n"
        "def late():\n    import explorer.relevance.scores\n"
        "from ..search import space\n"
    )
    assert offences(folder / "bad.py") == [
        "explorer/compress/bad.py:1: compress imports explorer.study",
        "explorer/compress/bad.py:5: compress imports explorer.search",
        "explorer/compress/bad.py:4: compress imports explorer.relevance.scores",
    ]


def test_the_hardware_models_need_numpy_alone() -> None:
    allowed = {*sys.stdlib_module_names, "numpy", "hwmodels"}
    used = {(path.name, module.split(".")[0]) for path in sources("hwmodels") for _, module in imports(path)}
    # Only who reads an ONNX file needs onnx; test_onnx_network.py runs without it.
    assert {entry[1] for entry in used if entry[1] not in allowed} == {"onnx"}
    assert all(name.startswith("onnx_") for name, package in used if package == "onnx")


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=600
    )


def test_the_hardware_models_import_where_there_is_no_torch() -> None:
    result = run("import sys; sys.modules['torch'] = None; import hwmodels; print(len(hwmodels.names()) > 2)")
    assert (result.returncode, result.stdout) == (0, "True\n"), result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--help"], "Usage: explorer"),
        (["devices", "list"], "bitfusion"),
        (["cost", "resnet20", "--device", "bitfusion"], "energy: "),
    ],
)
def test_the_command_line_answers_without_torch(arguments: list[str], text: str) -> None:
    heavy = "{'torch', 'optuna', 'captum', 'sklearn', 'onnx', 'onnxruntime', 'plotly', 'pandas'}"
    program = (
        "import sys\n"
        "from explorer.cli import main\n"
        f"try:\n    main({arguments!r})\n"
        "except SystemExit as end:\n"
        f"    print('code', end.code, sorted({heavy} & set(sys.modules)))\n"
    )
    result = run(program)
    assert text in result.stdout, result.stderr
    assert result.stdout.splitlines()[-1] == "code 0 []"


def test_costs_and_candidates_need_no_torch() -> None:
    """What rejects a candidate over budget in microseconds."""
    program = (
        "import sys; sys.modules['torch'] = None; sys.modules['optuna'] = None\n"
        "import explorer.compress.plan, explorer.evaluate.hardware, explorer.search.space, explorer.graph.layers\n"
        "import explorer.study.record, explorer.study.costing, explorer.search.knapsack, explorer.relevance.scores\n"
    )
    result = run(program)
    assert result.returncode == 0, result.stderr


def test_the_package_offers_its_functions_without_torch() -> None:
    """`import explorer` is for everybody: torch comes with the first function that is used."""
    heavy = "{'torch', 'numpy', 'optuna', 'pandas', 'plotly', 'onnx', 'sklearn', 'hwmodels'}"
    program = (
        f"import sys\nimport explorer\nheavy = {heavy}\n"
        "print({'open', 'search', 'load'} <= set(dir(explorer)), sorted(heavy & set(sys.modules)))\n"
        "print(callable(explorer.search), sorted(heavy & set(sys.modules)))\n"
        "import explorer.search.knapsack\nprint(callable(explorer.search))\n"
        "print(explorer.open.__name__, 'torch' in sys.modules)\n"
    )
    result = run(program)
    assert result.stdout.splitlines() == ["True []", "True []", "True", "open True"], result.stderr
