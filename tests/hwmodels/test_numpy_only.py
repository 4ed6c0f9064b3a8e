"""The package runs where only numpy is installed, and installs as a distribution of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np

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


def test_the_distribution_of_its_own_holds_everything_and_needs_numpy_alone(tmp_path: Path) -> None:
    # Built from a copy: setuptools leaves its files in the folder that it builds.
    source = tmp_path / "source"
    shutil.copytree(
        REPOSITORY / "hwmodels", source, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    )
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [requirement.partition(">")[0] for requirement in project["dependencies"]] == ["numpy"]
    target = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run(
        [*install, "--target", str(target), str(source)], capture_output=True, text=True, check=False, timeout=300
    )
    assert built.returncode == 0, built.stderr
    numpy_folder = Path(np.__file__).parents[1]
    program = (
        "import sys\n"
        f"sys.path[:0] = [{str(target)!r}]\n"
        f"sys.path.append({str(numpy_folder)!r})\n"
        "for name in ('torch', 'pandas', 'explorer', 'onnx'):\n    sys.modules[name] = None\n"
        "import hwmodels\n"
        "from hwmodels import NETWORKS\n"
        "jobs = NETWORKS['mlperf_tiny_resnet8']().jobs()\n"
        "for device in hwmodels.names():\n    hwmodels.evaluate(jobs, hwmodels.load(device))\n"
        "print(hwmodels.__file__, len(hwmodels.names()))\n"
    )
    # -S: the site-packages of this environment, with its editable installation, stay out.
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    file, count = run.stdout.split()
    assert Path(file).is_relative_to(target)
    assert int(count) >= 14
