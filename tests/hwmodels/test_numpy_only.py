"""The package runs where only numpy is installed, and is a distribution of its own, on which explorer depends."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]

PROGRAM = """
import sys

for name in ("torch", "pandas", "optuna", "scipy", "sklearn", "onnx", "plotly", "captum", "explorer"):
    sys.modules[name] = None  # importing it raises ImportError

import hwmodels

shape = hwmodels.LayerShape(name="fc", kind="linear", in_channels=64, out_channels=10)
for device in hwmodels.names():
    assert hwmodels.evaluate([hwmodels.LayerJob(shape=shape)], hwmodels.load(device)).macs == 640
third_party = {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - before
print(sorted(name for name in third_party if sys.modules.get(name) is not None and not name.startswith("_")))
"""


def test_import_and_evaluation_need_numpy_alone() -> None:
    program = "import sys\nbefore = {name.split('.')[0] for name in sys.modules}\n" + PROGRAM
    run = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "['hwmodels', 'numpy']"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels of both distributions, built from a copy: setuptools leaves its files in the folder that it builds."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    for name in ("explorer", "hwmodels"):
        shutil.copytree(
            REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    for folder in (source, source / "hwmodels"):
        done = subprocess.run(
            [*wheel, "--wheel-dir", built, folder], capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
    return {file.name.partition("-")[0]: file for file in built.iterdir()}


def files_of(wheel: Path) -> set[str]:
    """The files of a wheel, those aside that describe it."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.mark.parametrize("name", ["explorer", "hwmodels"])
def test_each_wheel_holds_all_files_of_its_package_and_no_others(name: str, wheels: dict[str, Path]) -> None:
    kept = {".py", ".typed", ".toml", ".bib", ".html", ".css", ".js", ".c"}
    package = REPOSITORY / name
    expected = {f"{name}/{file.relative_to(package).as_posix()}" for file in package.rglob("*") if file.suffix in kept}
    assert files_of(wheels[name]) == expected - {"hwmodels/pyproject.toml"}


def test_explorer_depends_on_hwmodels_which_needs_numpy_alone() -> None:
    requirements = {
        folder: tomllib.loads((REPOSITORY / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for folder in ("", "hwmodels")
    }
    needed = [requirement.partition(">")[0] for requirement in requirements["hwmodels"]["dependencies"]]
    assert needed == ["numpy"]
    version = requirements["hwmodels"]["version"]
    assert f"hwmodels>={version.rpartition('.')[0]}" in requirements[""]["dependencies"]


def run_from(folders: list[Path], program: str, cwd: Path) -> str:
    """The output of a program for which packages are in these folders alone.

    With -S the site-packages of this environment, with its editable installations, stay out.
    """
    start = f"import sys\nsys.path.extend({list(map(str, folders))!r})\n"
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + program], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_wheel_of_hwmodels_prices_a_network_on_every_device(tmp_path: Path, wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels["hwmodels"]) as archive:
        archive.extractall(tmp_path / "installed")
    program = (
        "for name in ('torch', 'pandas', 'explorer', 'onnx'):\n    sys.modules[name] = None\n"
        "import hwmodels\n"
        "jobs = hwmodels.NETWORKS['mlperf_tiny_resnet8']().jobs()\n"
        "for device in hwmodels.names():\n    hwmodels.evaluate(jobs, hwmodels.load(device))\n"
        "print(hwmodels.__file__, len(hwmodels.names()))\n"
    )
    file, count = run_from([tmp_path / "installed", Path(np.__file__).parents[1]], program, tmp_path).split()
    assert Path(file).is_relative_to(tmp_path)
    assert int(count) >= 14


def test_explorer_runs_from_the_two_wheels(tmp_path: Path, wheels: dict[str, Path]) -> None:
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tmp_path / "installed")
    program = "from explorer.cli import main\nmain(['devices', 'show', 'bitfusion'])\n"
    out = run_from([tmp_path / "installed", Path(np.__file__).parents[1]], program, tmp_path)
    assert "bitfusion_isca2018" in out
