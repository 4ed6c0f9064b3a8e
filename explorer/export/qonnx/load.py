"""Open a QONNX file."""

from __future__ import annotations

from pathlib import Path

from qonnx.core.modelwrapper import ModelWrapper

from explorer.errors import ExportError, describe_error
from explorer.export.artefact import Artefact, Port
from explorer.export.onnx.file import count_onnx_bytes, count_stored
from explorer.export.qonnx.run import run_qonnx


def load(path: Path) -> Artefact:
    """Open a QONNX file.

    Raises:
        ExportError: qonnx cannot read it.
    """
    try:
        model = ModelWrapper(str(path))
        ports = {entry.name: _describe(model, entry.name) for entry in (*model.graph.input, *model.graph.output)}
        return Artefact(
            form="qonnx",
            network=path,
            inputs=tuple(ports[entry.name] for entry in model.graph.input),
            output=ports[model.graph.output[0].name],
            stored=count_stored(model.model, count_onnx_bytes(path)),
            run=lambda images: run_qonnx(path, images),
        )
    except Exception as error:  # of many kinds
        raise ExportError(f"{path}: qonnx cannot open it ({describe_error(error)}); write it again") from error


def _describe(model: ModelWrapper, name: str) -> Port:
    shape = model.get_tensor_shape(name)
    return Port(name=name, shape=None if shape is None else tuple(int(size) for size in shape[1:]))
