"""Open an ONNX file: quantised (QDQ), of integers only, or any other that onnxruntime runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from explorer.errors import ExportError, describe_error
from explorer.export.artefact import Artefact, Port
from explorer.export.onnx.file import count_onnx_bytes, count_stored
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
        session = open_session(path)
        stored = count_stored(model, count_onnx_bytes(path))
        properties = {entry.key: entry.value for entry in model.metadata_props}
        scale = float(properties.get(SCALE, "1"))
    except Exception as error:  # protobuf and onnxruntime raise of many kinds
        raise ExportError(
            f"{path}: onnxruntime {onnxruntime.__version__} cannot open it ({describe_error(error)}); write it again"
        ) from error
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


def _describe(entry: onnxruntime.NodeArg) -> Port:
    sizes = entry.shape[1:]
    known = all(isinstance(size, int) for size in sizes)
    return Port(name=entry.name, shape=tuple(sizes) if known else None, type=TYPES.get(entry.type, entry.type))
