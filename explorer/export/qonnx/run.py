"""Compute a QONNX file in qonnx's own executor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from explorer.arrays import Float32Array
from explorer.errors import ExportError, describe_error
from explorer.export.interface import to_arrays
from explorer.graph.inputs import Inputs, batches, count_images


def run_qonnx(path: Path, images: Inputs, batch: int = 256) -> Float32Array:
    """Return the outputs (N x ...) of a QONNX file for `batch` images at once.

    Raises:
        ExportError: Where it cannot be loaded or run.
    """
    try:
        model, prepared = ModelWrapper(str(path)), 0
        names, output = [entry.name for entry in model.graph.input], model.graph.output[0].name
        parts = []
        for part in batches(images, batch):
            if (count := count_images(part)) != prepared:
                model, prepared = _resize_batch(model, count), count
            feeds = dict(zip(names, to_arrays(part), strict=True))
            parts.append(execute_onnx(model, feeds)[output])
        outputs: Float32Array = np.concatenate(parts).astype(np.float32)
    except Exception as error:  # of many kinds
        raise ExportError(
            f"verify: qonnx cannot run {path.name}: {describe_error(error)}; choose another --format"
        ) from error
    return outputs


def _resize_batch(model: ModelWrapper, count: int) -> ModelWrapper:
    """Return the network for another number of images; qonnx's own transformation takes any reshape for one of them."""
    for entry in (*model.graph.input, *model.graph.output):
        entry.type.tensor_type.shape.dim[0].dim_value = count
    del model.graph.value_info[:]
    return model.transform(InferShapes())
