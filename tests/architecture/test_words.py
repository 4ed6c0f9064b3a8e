"""One word, one meaning: names that were replaced do not come back, and functions are called by verbs."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
REPLACED: Mapping[str, str] = {
    "Basis": "CompressionContext: it holds model, graph, orders and calibration",
    "Prepared": "PreparedStudy",
    "kept_weights": "weight_density: a share, no count",
    "kept_filters": "filter_keep_ratio: a share, no count",
    "says": "scores, or subjects",
    "quadratic": "is_loss",
    "comparable": "fill_missing",
    "Share": "GroupCount, or ratio for a fraction",
    "trades": "solve_knapsack",
    "Trades": "ParetoSolutions",
    "Options": "LayerOptions",
    "WeightOption": "LayerChoice",
    "LayerTableRow": "LayerSummary",
    "Connect": "Linear, as ONNX calls it",
    "Steps": "Threshold",
    "Spread": "Dilate",
    "Convolve": "Conv, as ONNX calls it",
    "Term": "ScaledTensor",
    "Real": "Affine",
    "Joined": "Concatenated",
    "conclude": "score_front",
    "settle": "validate",
    "Place": "ComparisonCell, LabelPosition",
    "Choice": "Selection, DeviceChoice, LayerChoice",
    "Pair": "HeightWidth, Paired",
    "Window": "CutRange, PendingPool",
    "Floats": "Float32Array, Float64Array: one alias had three dtypes",
    "study_folder": "Study.folder",
}
"""Names that no Python of this repository has, and what to say instead."""
PHRASES = frozenset({"one_of", "entry_of"})
"""Rules of settings, which read as a phrase where a key is annotated with them."""


@cache
def sources() -> tuple[Path, ...]:
    """Python that is tracked or about to be."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    try:
        names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a checkout of git")
    return tuple(path for name in names if name and (path := REPOSITORY / name).is_file())


def identifiers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(name, line) of all that is defined, imported, read or handed over by name."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name, line
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, line
            case ast.alias(name=name, asname=other):
                yield from ((part, line) for part in {*name.split("."), other or name})
            case ast.ImportFrom(module=str(module)):
                yield from ((part, line) for part in module.split("."))


def strays(text: str) -> list[tuple[str, int]]:
    return [(name, line) for name, line in identifiers(ast.parse(text)) if name in REPLACED]


def test_replaced_names_do_not_come_back() -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}: {name} is called {REPLACED[name]} now"
        for path in sources()
        for name, line in strays(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_functions_are_called_by_verbs() -> None:
    """A name that ends in _of or begins with put_ says neither what is done nor what comes of it."""
    found = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}: {node.name}"
        for path in sources()
        if path.relative_to(REPOSITORY).parts[0] in ("explorer", "hwmodels")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name not in PHRASES
        if node.name.endswith("_of") or node.name.lstrip("_").startswith("put_")
    ]
    assert not found, "\n".join(found)


def torch_devices_called_device(text: str) -> list[int]:
    """Lines where a device of torch has the name of the accelerator."""
    lines = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.arg(arg="device", annotation=kind) | ast.AnnAssign(target=ast.Name(id="device"), annotation=kind):
                torch = kind is not None and "torch.device" in ast.unparse(kind)
            case ast.FunctionDef(name="device", returns=kind):
                torch = kind is not None and "torch.device" in ast.unparse(kind)
            case ast.Assign(targets=[ast.Name(id="device")], value=value):
                torch = "torch.device" in (made := ast.unparse(value)) or made.endswith(".device")
            case _:
                torch = False
        if torch:
            lines.append(node.lineno)  # type: ignore[attr-defined]
    return lines


def test_a_device_is_the_accelerator_and_that_of_torch_a_torch_device() -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}"
        for path in sources()
        if path.relative_to(REPOSITORY).parts[0] == "explorer"
        for line in torch_devices_called_device(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "def f(device: torch.device): ...",
        "class A:\n    device: torch.device",
        "def device(self) -> torch.device: ...",
        "device = next(model.parameters()).device",
        "device = torch.device('cpu')",
    ],
)
def test_a_device_of_torch_is_found_by_its_name(text: str) -> None:
    assert len(torch_devices_called_device(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "class Basis: ...",
        "from rooms import conclude",
        "from rooms.settle import validate",
        "cost = model.kept_weights",
        "apply(kept_filters=0.5)",
        "def read(says): ...",
        "import rooms as Trades",
    ],
)
def test_a_replaced_name_is_found_wherever_it_stands(text: str) -> None:
    assert len(strays(text)) == 1
