"""Open an ONNX file: quantised (QDQ or QONNX), of integers only, or any other that onnxruntime runs."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from explorer.errors import ExportError, describe_error
from explorer.export.artefact import Artefact, Port
from explorer.export.formats import FORMATS
from explorer.export.onnx.file import QONNX, count_onnx_bytes, count_stored
from explorer.export.verify import open_session, run_onnx

SCALE, LAYERS = "logits_scale", "layers"
"""Properties of a file of integers: what an integer of the output stands for, and the layers as they were costed."""
TYPES = {"tensor(float)": "float32", "tensor(int32)": "int32"}
BATCH = 256


def load(path: Path) -> Artefact:
    """Open an ONNX file; weights are told by layer where they are called as an export calls them.

    Raises:
        ExportError: It cannot be read, or onnxruntime refuses it.
    """
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf raises of many kinds
        raise _refuse(path, error) from error
    if any(entry.domain == QONNX for entry in model.opset_import):
        return _open_qonnx(path)
    try:
        session = open_session(path)
        stored = count_stored(model, count_onnx_bytes(path))
        properties = {entry.key: entry.value for entry in model.metadata_props}
        scale = float(properties.get(SCALE, "1"))
    except Exception as error:  # onnxruntime raises of many kinds
        raise _refuse(path, error) from error
    fixed = session.get_inputs()[0].shape[0]
    batch = fixed if isinstance(fixed, int) else BATCH
    return Artefact(
        form="integer" if SCALE in properties else "onnx",
        network=path,
        inputs=tuple(_describe(entry) for entry in session.get_inputs()),
        output=_describe(session.get_outputs()[0]),
        stored=stored,
        run=lambda images: (run_onnx(path, images, batch) * scale).astype(np.float32),
        layers=properties.get(LAYERS, ""),
    )


def _refuse(path: Path, error: Exception) -> ExportError:
    return ExportError(
        f"{path}: onnxruntime {onnxruntime.__version__} cannot open it ({describe_error(error)}); write it again"
    )


def _open_qonnx(path: Path) -> Artefact:
    if not FORMATS["qonnx"].is_installed:
        raise ExportError(f"{path}: takes qonnx, which is not installed; install it with: pip install qonnx")
    artefact: Artefact = importlib.import_module(FORMATS["qonnx"].loader).load(path)
    return artefact


def _describe(entry: onnxruntime.NodeArg) -> Port:
    sizes = entry.shape[1:]
    known = all(isinstance(size, int) for size in sizes)
    return Port(name=entry.name, shape=tuple(sizes) if known else None, type=TYPES.get(entry.type, entry.type))
