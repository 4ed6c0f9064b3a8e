"""The table of formats: every entry is a format, and an entry beside its module is all that a new one takes."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from torch import fx
from typer.testing import CliRunner

from explorer.cli import app
from explorer.compress.apply import CompressionContext
from explorer.errors import ExportError
from explorer.export.deploy import deploy, deploy_uniform, find_all_refusals, find_format
from explorer.export.formats import FORMATS, Deployment, Exported, Exporter, FileTypes, Format
from explorer.export.onnx import package
from explorer.study.run import run
from explorer.study.study_file import load_study
from tests.support.tiny import quiet, write_tiny

REPOSITORY = Path(__file__).parents[3]
MEMBERS = ("list_marks", "write", "try_out")


@pytest.mark.parametrize("form", FORMATS)
def test_every_entry_is_a_module_with_the_functions_of_a_format(form: str) -> None:
    module = FORMATS[form].load()
    for name in MEMBERS:
        expected = inspect.signature(getattr(Format, name)).parameters
        assert list(inspect.signature(getattr(module, name)).parameters) == list(expected)[1:]


def copy_of_onnx() -> ModuleType:
    """A format of its own that writes what "onnx" does."""

    def write(deployment: Deployment, folder: Path) -> Exported:
        return replace(package.write(deployment, folder), lines=("written as mine",))

    def try_out(model: fx.GraphModule, context: CompressionContext, folder: Path) -> Path:
        raise ExportError("node 'conv1': mine has no rule for it")

    module = ModuleType("mine")
    vars(module).update(list_marks=package.list_marks, write=write, try_out=try_out)
    return module


def test_an_entry_is_all_that_a_new_format_takes_beside_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(write_tiny(tmp_path, "[search]"))
    outcome = run(study, tmp_path / "run", quiet, lambda network: ())
    with pytest.raises(ExportError, match="unknown format 'mine'; choose one of onnx, integer"):
        deploy(outcome, outcome.front[0], tmp_path / "run", tmp_path / "out", quiet, form="mine")
    monkeypatch.setitem(sys.modules, "mine", copy_of_onnx())
    monkeypatch.setitem(FORMATS, "mine", Exporter(summary="a copy", module="mine"))
    exported = deploy(outcome, outcome.front[0], tmp_path / "run", tmp_path / "out", quiet, form="mine")
    assert exported.summary() == "written as mine"
    assert exported.files[0].is_file()
    uniform = deploy_uniform(study, tmp_path / "run", tmp_path / "w8a8", quiet, form="mine")
    assert (uniform.point, uniform.summary()) == ("w8a8", "written as mine")
    assert {path.name for path in (tmp_path / "w8a8").iterdir()} == {"configuration.json", "model.onnx", "README.md"}


def test_a_new_format_is_foreseen_to_be_refused(
    context: Callable[[str], CompressionContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mine", copy_of_onnx())
    monkeypatch.setitem(FORMATS, "mine", Exporter(summary="a copy", module="mine"))
    assert find_all_refusals(context("lenet5_digits")) == (("mine", "node 'conv1': mine has no rule for it"),)


def test_types_that_a_format_does_not_take_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=r"format onnx has no choice of types; leave them out, or use --format tflite$"
    ):
        find_format("onnx", tmp_path, FileTypes(pack_int4=True))
    with pytest.raises(ExportError, match=r"export: inputs: expected one of int8, uint8, float32, received 'int16'$"):
        FileTypes(inputs="int16")


def test_an_unknown_type_is_one_line_before_anything_is_read(tmp_path: Path) -> None:
    arguments = ["export", str(tmp_path / "none"), "--to", str(tmp_path / "out"), "--outputs", "float"]
    done = CliRunner().invoke(app, arguments)
    assert "outputs: expected one of int8, uint8, int16, float32, received 'float'" in str(done.exception)


def test_the_help_says_every_format() -> None:
    said = " ".join(CliRunner().invoke(app, ["export", "--help"], env={"COLUMNS": "600"}).output.split())
    for name, exporter in FORMATS.items():
        assert f"{name}: {exporter.summary}" in said


def test_the_table_takes_no_torch() -> None:
    code = "import sys, explorer.export.formats; print({'torch', 'onnx', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
