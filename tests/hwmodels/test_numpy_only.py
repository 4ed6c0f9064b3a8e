"""The package runs where only numpy is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
