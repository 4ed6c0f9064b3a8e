"""The walk over a canonical network that writes it as an ONNX graph, in whatever dialect its quantisers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper
from torch import fx, nn

from explorer.errors import ExportError
from explorer.export.onnx.builder import Dialect, OnnxBuilder, refuse
from explorer.export.onnx.functions import write_function
from explorer.export.onnx.modules import write_module
from explorer.graph.inputs import OUTPUT, Shapes, example, name_inputs
from explorer.graph.names import Names
from explorer.graph.symbolic import gives_tensors, propagate_shapes
from explorer.graph.traced import get_shape


def build_graph(
    model: fx.GraphModule, input_shape: Shapes, dialect: Dialect, num_images: int | None = None
) -> onnx.GraphProto:
    """Return the ONNX graph of a canonical network whose quantisers are written in a dialect.

    `model` is what `compress.apply` built, or a canonical float network; `input_shape` is C x H x W of one image, or a
    tuple of such shapes for several inputs. It takes `num_images` at a time, any number where that is None.

    Raises:
        ExportError: Names a node that cannot be written.
    """
    propagate_shapes(model, example(model, input_shape))
    *_, last = model.graph.nodes
    inputs = {name: node for node, name in name_inputs(model).items()}
    names = Names(inputs)
    outputs = {names.free(name): node for name, node in _named_outputs(last.args[0])}
    builder = OnnxBuilder([*inputs], [*outputs], model.graph.nodes, dialect)
    builder.values.update({node: name for name, node in inputs.items()})
    for node in model.graph.nodes:
        if node.op not in {"placeholder", "output"} and gives_tensors(node):
            try:
                builder.values[node] = _write(model, builder, node)
            except ExportError:
                raise
            except Exception as error:  # a rule that did not expect these arguments
                raise refuse(node, f"{type(error).__name__}: {error}", "please report this") from error
    for name, node in outputs.items():
        builder.node("Identity", (builder.values[node],), name)
    batch = "N" if num_images is None else num_images
    return helper.make_graph(
        builder.nodes,
        "explorer",
        [_value_info(name, (batch, *get_shape(node)[1:])) for name, node in inputs.items()],
        [_value_info(name, (batch, *get_shape(node)[1:])) for name, node in outputs.items()],
        builder.initializers,
    )


def name_layers(model: fx.GraphModule) -> dict[str, str]:
    """Return the names of layers with weights by those of their nodes."""
    called = {node.name: str(node.target) for node in model.graph.nodes if node.op == "call_module"}
    return {node: name for node, name in called.items() if isinstance(model.get_submodule(name), nn.Conv2d | nn.Linear)}


def _value_info(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _named_outputs(returned: Any, inside: str = "") -> list[tuple[str, fx.Node]]:
    """Return what forward() returns, as (name, node): the first one is the logits, unless it has a name of its own.

    What is returned inside something else has the name of that in front of its own.
    """
    if isinstance(returned, fx.Node):
        return [(inside or OUTPUT, returned)]
    entries: list[tuple[str, Any]] = []
    if isinstance(returned, Mapping):
        entries = [(f"{inside}_{key}" if inside else str(key), entry) for key, entry in returned.items()]
    elif isinstance(returned, Sequence):
        names = [f"{inside or 'output'}_{index}" for index in range(len(returned))]
        entries = list(zip(names if inside else [OUTPUT, *names[1:]], returned, strict=False))
    return [found for name, entry in entries for found in _named_outputs(entry, name)]


def _write(model: fx.GraphModule, builder: OnnxBuilder, node: fx.Node) -> str:
    if get_shape(node) is None:
        raise refuse(node, "it gives several tensors at once", "write it as operations that give one tensor each")
    if node.op == "call_module":
        return write_module(model.get_submodule(str(node.target)), builder, node)
    if node.op == "get_attr":
        raise refuse(node, "a parameter is used outside of a layer", "put it into a layer of torch.nn")
    return write_function(builder, node)
