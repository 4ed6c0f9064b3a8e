"""Write a compressed or float network as an ONNX file whose quantisation is explicit (QDQ)."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from torch import fx

from explorer.export.onnx_builder import OnnxBuilder, refuse, shape_of
from explorer.export.onnx_file import save_onnx
from explorer.export.onnx_functions import write_function
from explorer.export.onnx_modules import write_module
from explorer.graph.symbolic import propagate_shapes

OPSET, IR_VERSION = 21, 10
"""The first opset with INT4 weights, and the file version that belongs to it."""
INPUT, OUTPUT = "images", "logits"


def export_onnx(model: fx.GraphModule, input_shape: tuple[int, ...], path: Path) -> int:
    """Write a canonical network to `path`; returns the bytes written, external data included.

    `model` is what `compress.apply` built, or a canonical float network; `input_shape` is C x H x W of one
    image. The file maps `images` (N x C x H x W, float32) to `logits` (N x classes), for any N. Weights with
    codes are INT4 where the codes fit, else INT8, with one scale per output channel; biases are INT32 on the
    grid of the sums; activations are UINT8, clipped to narrower widths. ExportError names a node that cannot
    be written; an existing file then stays as it was.
    """
    return save_onnx(build_onnx(model, input_shape), path)


def build_onnx(model: fx.GraphModule, input_shape: tuple[int, ...]) -> onnx.ModelProto:
    """The ONNX model of a canonical network, see `export_onnx`."""
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    propagate_shapes(model, torch.zeros((2, *input_shape), device=device))
    builder = OnnxBuilder()
    outputs: tuple[int, ...] = ()
    for node in model.graph.nodes:
        if node.op == "placeholder":
            builder.values[node] = INPUT
        elif node.op == "output":
            (source,) = node.all_input_nodes
            builder.node("Identity", (builder.values[source],), OUTPUT)
            outputs = shape_of(source)
        elif shape_of(node) is not None:
            builder.values[node] = _write(model, builder, node)
    graph = helper.make_graph(
        builder.nodes,
        "explorer",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", *input_shape])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", *outputs[1:]])],
        builder.initializers,
    )
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="explorer")


def _write(model: fx.GraphModule, builder: OnnxBuilder, node: fx.Node) -> str:
    if node.op == "call_module":
        return write_module(model.get_submodule(str(node.target)), builder, node)
    if node.op == "get_attr":
        raise refuse(node, "a parameter is used outside of a layer", "put it into a layer of torch.nn")
    return write_function(builder, node)
