"""ONNX files: of one opset, and on disk written whole or not at all, and measured with their external data."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import onnx.shape_inference
from onnx import TensorProto, helper
from onnx.external_data_helper import uses_external_data

from explorer.errors import ExportError
from explorer.export.stored_bytes import StoredBytes, count_constants

OPSET = 21
"""The first opset with INT4 weights."""
QONNX = "qonnx.custom_op.general"
"""Domain of the nodes of QONNX."""
EXTERNAL_DATA_BYTES = 2**31 - 2**24
"""From so many bytes of tensors on these go to a second file: a protobuf message holds less than 2 GiB."""


def make_model(
    graph: onnx.GraphProto, opsets: Sequence[onnx.OperatorSetIdProto] = (helper.make_opsetid("", OPSET),)
) -> onnx.ModelProto:
    """Return the model of a graph, in the oldest file version that has its operator sets."""
    version = helper.find_min_ir_version_for([opsets[0]])
    return helper.make_model(graph, opset_imports=[*opsets], ir_version=version, producer_name="explorer")


def save_onnx(model: onnx.ModelProto, path: Path) -> int:
    """Check a model and write it to `path` by a temporary folder and a rename; returns the bytes written.

    A model with EXTERNAL_DATA_BYTES or more puts its tensors into `path` with ".data" appended.

    Raises:
        ExportError: When the checker refuses the model or the folder cannot be written; `path` then stays as it was.
    """
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            return _save(model, staging, path)
        finally:
            shutil.rmtree(staging)
    except OSError as error:
        where = f"export: {path.parent} cannot be written"
        raise ExportError(f"{where}: {error}; choose another folder, or make room") from error
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"export: onnx.checker refuses the network: {error}; please report this") from error


def _save(model: onnx.ModelProto, staging: Path, path: Path) -> int:
    staged = staging / path.name
    large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) >= EXTERNAL_DATA_BYTES
    onnx.save_model(model, staged, save_as_external_data=large, location=f"{path.name}.data")
    onnx.checker.check_model(staged, full_check=True)
    size = count_onnx_bytes(staged)
    for written in sorted(staging.iterdir(), reverse=True):  # the data before the model that points to it
        written.replace(path.parent / written.name)
    return size


def count_onnx_bytes(path: Path) -> int:
    """Return size of an ONNX file together with every external data file that it points to."""
    model = onnx.load_model(path, load_external_data=False)
    return path.stat().st_size + sum((path.parent / name).stat().st_size for name in list_external_files(model))


def count_stored(model: onnx.ModelProto, total: int, layers: Mapping[str, str] | None = None) -> StoredBytes:
    """Return what the initializers of a model are that takes `total` bytes; see `count_constants`."""
    return count_constants(((tensor.name, len(tensor.raw_data)) for tensor in model.graph.initializer), total, layers)


def list_external_files(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return names, relative to the model, of the external data files of its initializers."""
    names = {_location(tensor) for tensor in model.graph.initializer if uses_external_data(tensor)}
    return tuple(sorted(names))


def _location(tensor: TensorProto) -> str:
    return next(str(entry.value) for entry in tensor.external_data if entry.key == "location")
