"""The notebook of the examples: its cells run, and its file holds what they show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

REPOSITORY = Path(__file__).parents[2]
NOTEBOOK = REPOSITORY / "examples" / "quickstart.ipynb"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


def shown(notebook: Any) -> list[tuple[str, tuple[str, ...]]]:
    """The kind and the forms of every output."""
    outputs = (output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)
    return [(output.output_type, tuple(sorted(output.get("data", {})))) for output in outputs]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")  # of the notebook's own machinery
def test_the_notebook_runs_and_shows_what_its_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:IProgress not found")  # of tqdm, where ipywidgets is not installed
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = read()
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    client.execute()  # raises where a cell does
    assert shown(notebook) == shown(read())


def test_the_file_holds_outputs_without_errors_or_paths_of_a_machine() -> None:
    notebook, text = read(), NOTEBOOK.read_text(encoding="utf-8")
    nbformat.validate(notebook)
    kinds = shown(notebook)
    assert len(kinds) >= 10
    assert "error" not in {kind for kind, _ in kinds}
    assert any("text/html" in forms for _, forms in kinds)
    assert "Plotly.newPlot" in text
    assert re.search(r"/(home|root|work|tmp|Users)/", text) is None
    assert len(text) < 200_000
