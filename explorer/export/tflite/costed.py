"""What a TensorFlow Lite file was costed as: the layers, and which of them each of its operators is of."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from torch import fx

from explorer.evaluate.hardware import list_parts
from explorer.export.formats import Deployment
from explorer.export.record import describe_layers
from explorer.export.tflite.file import load_litert
from explorer.export.tflite.names import WEIGHT, find_layer
from explorer.graph.inputs import OUTPUT
from explorer.graph.layers import ModelGraph
from explorer.integer.builder import name_tensors


def describe_costed(deployment: Deployment, content: bytes) -> dict[str, Any]:
    """Return plain data: the jobs and activations of `hwmodels.read_jobs`, and the layer of tensors of the file.

    `layer_of` has the outputs of its operators, and its weights.
    """
    graph, candidate = deployment.context.graph, deployment.point.evaluation.candidate
    return {
        "device": deployment.device,
        "sha256": hashlib.sha256(content).hexdigest(),
        **json.loads(describe_layers(deployment.model, graph, candidate)),
        "layer_of": find_layers(content, deployment.model, graph),
    }


def find_layers(content: bytes, model: fx.GraphModule, graph: ModelGraph) -> dict[str, str]:
    """Return the layer or operation that each operator of a file is of, by the tensor that it writes, or its weights.

    What works in place, or is folded, is of the layer that it follows; a border of zeros, and a narrower input, of the
    layer that reads it. A concatenation is of none.
    """
    layer_of = _find_layers_of_values(model, graph)
    (file,) = load_litert("schema_py_generated").ModelT.InitFromPackedBuf(content).subgraphs
    names = [tensor.name.decode() for tensor in file.tensors]
    found: dict[str, str] = {}
    for operator in file.operators:
        (output,) = operator.outputs
        weights = [names[number] for number in operator.inputs if names[number].endswith(WEIGHT)]
        for name in weights:
            layer = find_layer(name, layer_of)
            found.update({} if layer is None else {name: layer, names[output]: layer})
        layer = find_layer(names[output], layer_of)
        if layer is not None:
            found.setdefault(names[output], layer)
    return found


def _find_layers_of_values(model: fx.GraphModule, graph: ModelGraph) -> dict[str, str]:
    """Return the layer of tensors of the integer program, as these are called."""
    first: dict[str, str] = {}
    for part in list_parts(graph):
        first.setdefault(part.target, part.name)
    targets = {layer.name: layer.target for layer in graph.layers}
    others = {activation.name for activation in graph.activations} - set(first)  # inputs, and what is concatenated
    own = name_tensors(model)
    found: dict[fx.Node, str] = {}
    for node in reversed(model.graph.nodes):
        called = str(node.target) if node.op == "call_module" else node.name
        activation = targets.get(called, called.removesuffix("_quantizer"))
        following = [found[user] for user in node.users if user in found]
        if activation in first or node.name in first:
            found[node] = first.get(activation) or first[node.name]
        elif following and not others & {activation, node.name}:
            found[node] = following[0]
    (output,) = (node for node in model.graph.nodes if node.op == "output")
    ends = [found[node] for node in output.all_input_nodes if node in found]
    return {**{own[node]: found[node] for node in model.graph.nodes if node in found}, **dict.fromkeys([OUTPUT], *ends)}
