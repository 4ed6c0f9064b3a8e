"""Write an integer program as an ONNX network whose arithmetic is that of integers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from explorer.export.integer.steps import write_step
from explorer.export.onnx.builder import OnnxBuilder
from explorer.export.onnx.file import count_stored, make_model, save_onnx
from explorer.export.stored_bytes import StoredBytes
from explorer.integer.program import IntegerProgram


def export_integer_onnx(
    program: IntegerProgram, path: Path, layers: str = "", names: Mapping[str, str] | None = None
) -> StoredBytes:
    """Write `program` to `path`; returns what the bytes written are, external data included.

    The file maps the program's inputs (float32) to `logits` (N x classes, int32), for any N, and gives the very
    integers of `run_program`. QuantizeLinear, once for each input, is the only node that reads floating point. The
    scale of the logits is in its metadata, and so are the `layers` as they were costed (`hwmodels.write_jobs`), which
    do not follow from its operations. `names` are those of the layers by their sums (`name_layers`).

    Raises:
        ExportError: Where it cannot be written; an existing file then stays.
    """
    model = build_integer_onnx(program, layers)
    return count_stored(model, save_onnx(model, path), names)


def build_integer_onnx(program: IntegerProgram, layers: str = "") -> onnx.ModelProto:
    """Return the ONNX model of an integer program, see `export_integer_onnx`."""
    builder = OnnxBuilder([entry.name for entry in program.inputs], [program.output])
    for step in program.steps:
        write_step(step, builder, program)
    shape = program.tensor(program.output).shape
    graph = helper.make_graph(
        builder.nodes,
        "explorer",
        [helper.make_tensor_value_info(entry.name, TensorProto.FLOAT, ["N", *entry.shape]) for entry in program.inputs],
        [helper.make_tensor_value_info(program.output, TensorProto.INT32, ["N", *shape])],
        builder.initializers,
    )
    model = make_model(graph)
    properties = {"logits_scale": np.format_float_scientific(program.output_scale)}
    helper.set_model_props(model, properties | ({"layers": layers} if layers else {}))
    return model
